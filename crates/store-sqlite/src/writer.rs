//! The write door. One task owns the one connection that writes; it takes what waits and commits it together.
//!
//! Each member of a group stands or falls alone, as if it had come alone: see [`Writer::in_one_go`] for the way that nearly
//! every group takes, and [`Writer::behind_savepoints`] for the others. What one group decides is durable before anybody hears of
//! it, and heard of by the feed before the members are answered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use kanvoy_domain::event::{self, Log};
use kanvoy_domain::{TaskId, TaskNumber};
use kanvoy_store::{Change, Commit, Committed, Restored, StoreError, StoredEvent, Tell};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::error::broken;
use crate::ledger::Ledger;
use crate::plan::{Plan, only_adds, plan};
use crate::script::{Expect, Missed, Script, Stop, Texts, Value, int};
use crate::tables::{self, event_row};

pub(crate) enum Ask {
    Commit(Commit, oneshot::Sender<Result<Committed, StoreError>>),
    Ready(oneshot::Sender<Result<(), StoreError>>),
    Close,
    /// Panics in the middle of a transaction.
    #[cfg(test)]
    Fall,
}

/// Members of one group at most.
pub(crate) const GROUP: usize = 256;

/// Rows that are removed at a time of what nobody can reach any more: a few milliseconds of the writer.
const LEFTOVER_ROWS: i64 = 1_000;

pub(crate) struct Writer {
    /// `None` after a failure of which nothing is known but that it happened: the next group begins afresh.
    connection: Option<SqliteConnection>,
    ledger: Ledger,
    texts: Texts,
    tell: Arc<dyn Tell>,
    path: PathBuf,
    /// Events may be waiting to be removed.
    leftovers: bool,
    purged: Purged,
    /// Held as long as anything may be written.
    _lock: File,
}

/// A commit on its way, and what became of it.
struct Member {
    commit: Commit,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
}

type Outcome<'m> = Result<Done<'m>, StoreError>;

/// What a member was given; its rows are written, its events are not yet.
struct Done<'m> {
    /// What runs after the group's events.
    afterwards: Script<'m>,
    numbers: Vec<TaskNumber>,
    number_of: HashMap<TaskId, TaskNumber>,
    seqs: Vec<(i64, event::Seq)>,
}

impl Writer {
    pub fn new(connection: SqliteConnection, ledger: Ledger, tell: Arc<dyn Tell>, path: PathBuf, lock: File) -> Self {
        Self {
            connection: Some(connection),
            ledger,
            texts: Texts::default(),
            tell,
            path,
            leftovers: true,
            purged: Purged::default(),
            _lock: lock,
        }
    }

    /// Until the queue is closed, by [`Ask::Close`] or because the store was dropped. A panic ends what it met, whose askers
    /// are told so, and the next group begins afresh.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Ask>, readers: SqlitePool) {
        let mut waiting = Vec::with_capacity(GROUP);
        loop {
            tokio::select! {
                biased;
                taken = queue.recv_many(&mut waiting, GROUP) => {
                    if taken == 0 {
                        break;
                    }
                    if AssertUnwindSafe(self.serve(&mut waiting, &mut queue)).catch_unwind().await.is_err() {
                        self.get_up();
                    }
                }
                () = std::future::ready(()), if self.leftovers => {
                    if AssertUnwindSafe(self.remove_leftovers()).catch_unwind().await.is_err() {
                        self.leftovers = false;
                        self.get_up();
                    }
                }
            }
        }
        // The last connection to close moves the write-ahead log into the file, and only a writer can.
        readers.close().await;
        if let Some(mut connection) = self.connection.take() {
            let last =
                sqlx::raw_sql("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);").execute(&mut connection).await;
            if let Err(error) = last.and(connection.close().await) {
                warn!(%error, "the database was not closed in order; nothing is lost");
            }
        }
    }

    async fn serve(&mut self, waiting: &mut Vec<Ask>, queue: &mut mpsc::Receiver<Ask>) {
        let mut group = Vec::with_capacity(waiting.len());
        let mut asked = Vec::new();
        for ask in waiting.drain(..) {
            match ask {
                Ask::Commit(commit, reply) => group.push(Member { commit, reply }),
                Ask::Ready(reply) => asked.push(reply),
                Ask::Close => queue.close(),
                #[cfg(test)]
                Ask::Fall => {
                    self.run_step("BEGIN IMMEDIATE; UPDATE log SET head_seq = 99").await.ok();
                    panic!("as the test has asked");
                }
            }
        }
        if !group.is_empty() {
            self.write(group).await;
        }
        if !asked.is_empty() {
            let ready = self.try_to_write().await;
            for reply in asked {
                // Whoever asked may be gone.
                reply.send(ready.as_ref().copied().map_err(again)).ok();
            }
        }
    }

    async fn write(&mut self, mut group: Vec<Member>) {
        // Those who only add come first, so that they can be written together. Nobody can tell: none of the group has been
        // answered yet, so none of them is known to be before another.
        group.sort_by_key(|member| !only_adds(&member.commit));
        let (commits, replies): (Vec<Commit>, Vec<_>) =
            group.into_iter().map(|member| (member.commit, member.reply)).unzip();
        let outcomes = match self.written(&commits).await {
            Ok((outcomes, told)) => {
                self.ledger.settle();
                self.leftovers |= commits.iter().any(leaves_over);
                for (commit, outcome) in commits.iter().zip(&outcomes) {
                    if outcome.is_ok() {
                        self.purged.heed(commit);
                    }
                }
                for (log, events) in &told {
                    // It is durable whatever becomes of its hearer, and the next one hears of it all the same.
                    if catch_unwind(AssertUnwindSafe(|| self.tell.told(*log, events))).is_err() {
                        error!("whoever was told of {} events of {log} has failed over them", events.len());
                    }
                }
                outcomes
            }
            Err(failure) => {
                error!(error = %failure, "{} commits could not be written", commits.len());
                self.begin_afresh();
                commits.iter().map(|_| Err(again(&failure))).collect()
            }
        };
        for (outcome, reply) in outcomes.into_iter().zip(replies) {
            let committed = outcome
                .map(|done| Committed { seqs: done.seqs.iter().map(|(_, seq)| *seq).collect(), numbers: done.numbers });
            // Whoever asked may be gone; it is written all the same.
            reply.send(committed).ok();
        }
    }

    /// All that the group changes is durable when this returns. `Err` when nothing is.
    async fn written<'m>(&mut self, commits: &'m [Commit]) -> Result<(Vec<Outcome<'m>>, Told), StoreError> {
        self.connect().await?;
        let adders = commits.partition_point(only_adds);
        if adders < commits.len() {
            return self.behind_savepoints(commits, adders).await;
        }
        match self.in_one_go(commits).await? {
            Some(done) => Ok(done),
            None => self.behind_savepoints(commits, 0).await,
        }
    }

    /// The common case, with as few statements as there can be: nothing depends on what is there, so all rows and events
    /// travel together and no member needs a savepoint. `None`, and nothing written, when a row was refused.
    async fn in_one_go<'m>(&mut self, commits: &'m [Commit]) -> Result<Option<(Vec<Outcome<'m>>, Told)>, StoreError> {
        let mut script = Script::default();
        script.step("BEGIN IMMEDIATE", vec![], Expect::Anything);
        let mut outcomes = Vec::with_capacity(commits.len());
        for commit in commits {
            outcomes.push(self.plan(commit).map(|plan| {
                let (rows, done) = split(plan);
                script.append(rows);
                done
            }));
        }
        if outcomes.iter().all(Result::is_err) {
            return Ok(Some((outcomes, Vec::new())));
        }
        let told = self.finish(commits, &mut outcomes, &mut script);
        match self.run_script(script).await {
            Ok(()) => Ok(Some((outcomes, told))),
            Err(Stop::Broken(error)) => Err(error),
            Err(Stop::Refused(_) | Stop::Missed(_)) => {
                self.ledger.undo_to(0);
                self.run_step("ROLLBACK").await?;
                Ok(None)
            }
        }
    }

    /// The first members behind one savepoint, as long as none of them is refused, and each of the others behind its own.
    async fn behind_savepoints<'m>(
        &mut self,
        commits: &'m [Commit],
        together: usize,
    ) -> Result<(Vec<Outcome<'m>>, Told), StoreError> {
        let mut script = Script::default();
        script.step("BEGIN IMMEDIATE", vec![], Expect::Anything);
        let mut outcomes = self.all_or_none(&commits[..together], &mut script).await?;
        for commit in &commits[outcomes.len()..] {
            let mark = self.ledger.mark();
            let outcome = match self.plan(commit) {
                Ok(plan) => {
                    let (rows, done) = split(plan);
                    match self.behind_savepoint(&mut script, rows, mark).await? {
                        Ok(()) => Ok(done),
                        Err(stop) => Err(self.explained(stop).await?),
                    }
                }
                Err(error) => Err(error),
            };
            outcomes.push(outcome);
        }
        if outcomes.iter().all(Result::is_err) {
            // Where nothing was begun, there is nothing to take back: the script's first step is still in it.
            script.step("ROLLBACK", vec![], Expect::Anything);
            return match self.run_script(script).await {
                Ok(()) => Ok((outcomes, Vec::new())),
                Err(stop) => Err(unexpected(stop)),
            };
        }
        let told = self.finish(commits, &mut outcomes, &mut script);
        match self.run_script(script).await {
            Ok(()) => Ok((outcomes, told)),
            Err(stop) => Err(unexpected(stop)),
        }
    }

    /// What became of them when all went well; nothing when one was refused, who is found when they go alone.
    async fn all_or_none<'m>(
        &mut self,
        commits: &'m [Commit],
        script: &mut Script<'m>,
    ) -> Result<Vec<Outcome<'m>>, StoreError> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let mark = self.ledger.mark();
        let mut all = Script::default();
        let mut outcomes = Vec::with_capacity(commits.len());
        for commit in commits {
            outcomes.push(self.plan(commit).map(|plan| {
                let (rows, done) = split(plan);
                all.append(rows);
                done
            }));
        }
        Ok(match self.behind_savepoint(script, all, mark).await? {
            Ok(()) => outcomes,
            Err(_) => Vec::new(),
        })
    }

    /// Runs what waits in `script`, and `rows` behind a savepoint. Leaves in `script` what must go along with whatever comes
    /// next. When the rows are refused, they and what was drawn since `mark` are taken back.
    async fn behind_savepoint<'m>(
        &mut self,
        script: &mut Script<'m>,
        rows: Script<'m>,
        mark: usize,
    ) -> Result<Result<(), Stop>, StoreError> {
        script.step("SAVEPOINT member", vec![], Expect::Anything);
        script.append(rows);
        match self.run_script(std::mem::take(script)).await {
            Ok(()) => {
                script.step("RELEASE member", vec![], Expect::Anything);
                Ok(Ok(()))
            }
            Err(Stop::Broken(error)) => Err(error),
            Err(stop) => {
                self.ledger.undo_to(mark);
                self.run_step("ROLLBACK TO member; RELEASE member").await?;
                Ok(Err(stop))
            }
        }
    }

    fn plan<'m>(&mut self, commit: &'m Commit) -> Result<Plan<'m>, StoreError> {
        if self.purged.is_named_by(commit) {
            return Err(StoreError::NotFound);
        }
        let mark = self.ledger.mark();
        plan(commit, &mut self.ledger).inspect_err(|_| self.ledger.undo_to(mark))
    }

    /// The events of all members that stand, what must see them, where the logs have come to, and the commit.
    fn finish<'m>(&self, commits: &'m [Commit], outcomes: &mut [Outcome<'m>], script: &mut Script<'m>) -> Told {
        let mut told = Told::new();
        let mut place: HashMap<Log, usize> = HashMap::new();
        for (commit, outcome) in commits.iter().zip(&*outcomes) {
            let Ok(done) = outcome else { continue };
            for (event, (log, seq)) in commit.events.iter().zip(&done.seqs) {
                let body = event.body(|task| done.number_of.get(&task).copied());
                let at = *place.entry(event.log).or_insert_with(|| {
                    told.push((event.log, Vec::new()));
                    told.len() - 1
                });
                told[at].1.push(StoredEvent {
                    seq: *seq,
                    kind: event.kind,
                    task: event.task,
                    text: event::with_seq(*seq, &body).into(),
                });
                script.row(&tables::EVENT, event_row(*log, *seq, event.task, event.kind, event.at, body.into()));
            }
        }
        for done in outcomes.iter_mut().flatten() {
            script.append(std::mem::take(&mut done.afterwards));
        }
        for counter in self.ledger.touched() {
            script.row(&tables::STANDS, vec![Value::Int(counter.log), int(counter.head), int(counter.next_number)]);
        }
        script.step("COMMIT", vec![], Expect::Anything);
        told
    }

    /// Whether a row is gone or was only changed is worth a look, once it is known that one of the two is so.
    async fn explained(&mut self, stop: Stop) -> Result<StoreError, StoreError> {
        Ok(match stop {
            Stop::Refused(error) | Stop::Broken(error) => error,
            Stop::Missed(Missed::Gone) => StoreError::NotFound,
            Stop::Missed(Missed::Changed) => StoreError::Conflict,
            Stop::Missed(Missed::Task(task)) => {
                let connection = self.connection.as_mut().ok_or_else(gone)?;
                let there = sqlx::query("SELECT 1 FROM task WHERE id = ? AND deleted_at IS NULL")
                    .bind(task.uuid().as_bytes().to_vec())
                    .fetch_optional(connection)
                    .await
                    .map_err(|error| broken(&error))?;
                if there.is_some() { StoreError::Conflict } else { StoreError::NotFound }
            }
        })
    }

    async fn run_script(&mut self, script: Script<'_>) -> Result<(), Stop> {
        let connection = self.connection.as_mut().ok_or_else(|| Stop::Broken(gone()))?;
        script.run(connection, &mut self.texts).await
    }

    async fn run_step(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(|error| broken(&error))
    }

    /// A write all the way to the disk. SQLite spares itself one that changes nothing, so something must: arrows between
    /// tasks of no board are counted by nobody.
    async fn try_to_write(&mut self) -> Result<(), StoreError> {
        self.connect().await?;
        let tried = self.run_step("UPDATE log SET arrows = arrows + 1 WHERE id = 0").await;
        if tried.is_err() {
            self.begin_afresh();
        }
        tried
    }

    /// One piece, so that commits need not wait for all of it.
    async fn remove_leftovers(&mut self) {
        if let Err(error) = self.remove_some_leftovers().await {
            warn!(%error, "events that retention has removed still take room; they go later");
            self.leftovers = false;
            self.begin_afresh();
        }
    }

    async fn remove_some_leftovers(&mut self) -> Result<(), StoreError> {
        self.connect().await?;
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        let leftover = sqlx::query_as::<_, (i64, i64)>("SELECT log, through FROM leftover ORDER BY log LIMIT 1");
        let Some((log, through)) = leftover.fetch_optional(&mut *connection).await.map_err(|error| broken(&error))?
        else {
            self.leftovers = false;
            return Ok(());
        };
        let removed = sqlx::query(
            "DELETE FROM event WHERE log = ? AND seq IN
                (SELECT seq FROM event WHERE log = ? AND seq <= ? ORDER BY seq LIMIT ?)",
        )
        .bind(log)
        .bind(log)
        .bind(through)
        .bind(LEFTOVER_ROWS)
        .execute(&mut *connection)
        .await
        .map_err(|error| broken(&error))?;
        if removed.rows_affected() < LEFTOVER_ROWS.unsigned_abs() {
            let done = sqlx::query("DELETE FROM leftover WHERE log = ? AND through = ?").bind(log).bind(through);
            done.execute(connection).await.map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    fn get_up(&mut self) {
        error!("the writer has failed over what it was asked; it goes on with a new connection");
        self.begin_afresh();
    }

    /// Whatever the transaction has come to, closing the connection ends it; what is in the file is then the truth.
    fn begin_afresh(&mut self) {
        self.connection = None;
    }

    async fn connect(&mut self) -> Result<(), StoreError> {
        if self.connection.is_none() {
            let mut connection = crate::open::writer(&self.path).connect().await.map_err(|error| broken(&error))?;
            self.ledger = Ledger::load(&mut connection).await?;
            self.connection = Some(connection);
        }
        Ok(())
    }
}

/// Tasks that were purged last. Whoever was about to tell something of one of them is refused: what is told after the
/// purge would stay.
#[derive(Default)]
struct Purged {
    known: HashSet<TaskId>,
    in_order: VecDeque<TaskId>,
}

/// So many purges later, nobody is still on the way with an event of before.
const PURGED: usize = 10_000;

impl Purged {
    fn heed(&mut self, commit: &Commit) {
        for change in &commit.changes {
            if let Change::PurgeTask { task, .. } = change {
                self.add(*task);
            } else if let Change::Restore(Restored::Tasks(tasks)) = change {
                // An import may bring back what was purged.
                tasks.iter().for_each(|(task, _)| self.forget(task.id));
            }
        }
    }

    fn add(&mut self, task: TaskId) {
        self.known.insert(task);
        self.in_order.push_back(task);
        if self.in_order.len() > PURGED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn forget(&mut self, task: TaskId) {
        if self.known.remove(&task) {
            self.in_order.retain(|purged| *purged != task);
        }
    }

    fn is_named_by(&self, commit: &Commit) -> bool {
        !self.known.is_empty()
            && commit.events.iter().any(|event| event.task.is_some_and(|task| self.known.contains(&task)))
    }
}

fn leaves_over(commit: &Commit) -> bool {
    commit.changes.iter().any(|change| matches!(change, Change::Prune { .. } | Change::PurgeBoard(_)))
}

/// By log, in the order of `seq`.
type Told = Vec<(Log, Vec<StoredEvent>)>;

fn split(plan: Plan<'_>) -> (Script<'_>, Done<'_>) {
    let Plan { script, afterwards, numbers, number_of, seqs, .. } = plan;
    (script, Done { afterwards, numbers, number_of, seqs })
}

/// For every member its own.
fn again(failure: &StoreError) -> StoreError {
    match failure {
        StoreError::Damaged(why) => StoreError::Damaged(why.clone()),
        other => StoreError::Unavailable(match other {
            StoreError::Unavailable(why) => why.clone(),
            other => other.to_string(),
        }),
    }
}

/// Of events, counters and the commit itself, none can be refused while the ledger is right.
fn unexpected(stop: Stop) -> StoreError {
    match stop {
        Stop::Broken(error) | Stop::Refused(error) => error,
        Stop::Missed(_) => StoreError::Damaged("a log has lost its row".into()),
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the connection to the database was lost".into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::join_all;
    use kanvoy_domain::event::{EventKind, NewEvent};
    use kanvoy_domain::{Actor, Timestamp};
    use kanvoy_store::Store;

    use super::*;
    use crate::SqliteStore;

    fn note() -> Commit {
        let at = Timestamp::from_millis(1_795_158_000_123);
        Commit::new(vec![], vec![NewEvent::new(Log::System, EventKind::DaemonRepaired, at, Actor::engine(), &"noted")])
    }

    async fn open(path: &Path, tell: Arc<dyn Tell>) -> SqliteStore {
        SqliteStore::open(path, tell).await.expect("opens")
    }

    /// On one thread, so that all of them are one group.
    #[tokio::test]
    async fn a_writer_that_falls_gets_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder.path().join("kanvoy.db"), Arc::new(())).await;
        assert_eq!(store.commit(note()).await.expect("is kept").seq(), 1);
        for fall in 0..3 {
            let fallen = async {
                store.writer.send(Ask::Fall).await.ok();
                store.ready().await.map(|()| Committed::default())
            };
            let (before, after) = tokio::join!(store.commit(note()), fallen);
            for answer in [before, after] {
                assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
            }
            store.ready().await.expect("can write again");
            assert_eq!(store.commit(note()).await.expect("is kept").seq(), fall + 2, "no number was lost");
        }
        assert_eq!(store.check().await.expect("is checked"), Vec::<String>::new());
        store.close().await;
    }

    /// Fails over its second piece of news.
    #[derive(Default)]
    struct Shaky {
        calls: AtomicU64,
        heard: AtomicU64,
    }

    impl Tell for Shaky {
        fn told(&self, _: Log, events: &[StoredEvent]) {
            assert_ne!(self.calls.fetch_add(1, Ordering::Relaxed), 1, "shaky");
            self.heard.fetch_add(events.len() as u64, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_hearer_that_fails_harms_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let shaky = Arc::new(Shaky::default());
        let store = open(&folder.path().join("kanvoy.db"), Arc::clone(&shaky) as Arc<dyn Tell>).await;
        for round in 0..3_u64 {
            let answers = join_all((0..5).map(|_| store.commit(note()))).await;
            let seqs: Vec<_> = answers.into_iter().map(|answer| answer.expect("is kept").seq()).collect();
            assert_eq!(seqs, (round * 5 + 1..=round * 5 + 5).collect::<Vec<_>>());
        }
        store.close().await;
        assert_eq!(shaky.heard.load(Ordering::Relaxed), 10, "all but what it failed over");
    }

    #[tokio::test]
    async fn one_try_answers_all_who_ask_whether_it_is_ready() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kanvoy.db");
        let store = open(&path, Arc::new(())).await;
        let answers = join_all((0..100).map(|_| store.ready())).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let tries = sqlx::query_scalar::<_, i64>("SELECT arrows FROM log WHERE id = 0").fetch_one(&store.readers);
        assert_eq!(tries.await.expect("reads"), 1);
        store.close().await;
    }
}
