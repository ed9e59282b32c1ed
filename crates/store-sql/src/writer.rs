//! The write door. One task owns the one connection of this process that writes; it takes what waits and commits it together.
//!
//! Each member of a group stands or falls alone, as if it had come alone: see [`Writer::in_one_go`] for the way that nearly
//! every group takes, and [`Writer::behind_savepoints`] for the others. What one group decides is durable before anybody hears of
//! it, and heard of by the feed before the members are answered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use kanvoy_domain::event::{self, Log};
use kanvoy_domain::{TaskId, TaskNumber};
use kanvoy_store::{Change, Commit, Committed, Restored, StoreError, StoredEvent, Tell};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::ledger::Ledger;
use crate::plan::{Plan, only_adds, plan};
use crate::script::{Expect, Missed, Script, Stop, Value, int};
use crate::tables::{self, event_row};

pub enum Ask {
    Commit(Commit, oneshot::Sender<Result<Committed, StoreError>>),
    Ready(oneshot::Sender<Result<(), StoreError>>),
    Close,
}

/// Members of one group at most.
pub const GROUP: usize = 256;

/// The connection that writes. Only one transaction is open at a time, and nobody but the [`Writer`] calls.
#[async_trait]
pub trait Pen: Send + 'static {
    /// Connects where there is no connection, and brings `ledger` to where the logs of these commits stand. From here to
    /// the end of the transaction, nobody else can write to those logs. What the script begins with may be what opens the
    /// transaction.
    async fn begin(&mut self, commits: &[Commit], ledger: &mut Ledger) -> Result<Script<'static>, StoreError>;

    /// Ends at the first statement that did not do what was expected of it, or soon after.
    async fn run(&mut self, script: Script<'_>) -> Result<(), Stop>;

    /// Runs the script and commits. All of it is durable when this returns `Ok`.
    async fn commit(&mut self, script: Script<'_>) -> Result<(), Stop>;

    /// Statements that cannot be refused.
    async fn step(&mut self, sql: &'static str) -> Result<(), StoreError>;

    /// Whether there is such a task that was not deleted.
    async fn has_task(&mut self, task: TaskId) -> Result<bool, StoreError>;

    /// A write all the way to the disk, of which nothing is left to see.
    async fn try_to_write(&mut self, ledger: &mut Ledger) -> Result<(), StoreError>;

    /// Removes one piece of what nobody can reach any more, so that commits need not wait for all of it. Whether more may
    /// be left.
    async fn remove_leftovers(&mut self, ledger: &mut Ledger) -> Result<bool, StoreError>;

    /// Ends a transaction of which nothing is known: what is in the database is then the truth, and `begin` connects anew.
    fn begin_afresh(&mut self);

    /// Asked after a failure that left nothing behind, and after [`Self::begin_afresh`]: whether the same group may well
    /// succeed now, having been tried so many times.
    fn try_again(&mut self, tried: u32) -> bool {
        let _ = tried;
        false
    }

    /// Nothing will be written any more.
    async fn close(self);
}

pub struct Writer<P> {
    pen: P,
    ledger: Ledger,
    tell: Arc<dyn Tell>,
    /// Events may be waiting to be removed.
    leftovers: bool,
    purged: Purged,
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

impl<P: Pen> Writer<P> {
    pub fn new(pen: P, ledger: Ledger, tell: Arc<dyn Tell>) -> Self {
        Self { pen, ledger, tell, leftovers: true, purged: Purged::default() }
    }

    /// Until the queue is closed, by [`Ask::Close`] or because the store was dropped. A panic ends what it met, whose askers
    /// are told so, and the next group begins afresh.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Ask>) {
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
        self.pen.close().await;
    }

    async fn serve(&mut self, waiting: &mut Vec<Ask>, queue: &mut mpsc::Receiver<Ask>) {
        let mut group = Vec::with_capacity(waiting.len());
        let mut asked = Vec::new();
        for ask in waiting.drain(..) {
            match ask {
                Ask::Commit(commit, reply) => group.push(Member { commit, reply }),
                Ask::Ready(reply) => asked.push(reply),
                Ask::Close => queue.close(),
            }
        }
        if !group.is_empty() {
            self.write(group).await;
        }
        if !asked.is_empty() {
            let ready = self.pen.try_to_write(&mut self.ledger).await;
            if ready.is_err() {
                self.pen.begin_afresh();
            }
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
        let outcomes = match self.written_in_the_end(&commits).await {
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

    async fn written_in_the_end<'m>(&mut self, commits: &'m [Commit]) -> Result<(Vec<Outcome<'m>>, Told), StoreError> {
        let mut tried = 0;
        loop {
            match self.written(commits).await {
                Ok(written) => return Ok(written),
                Err(failure) => {
                    self.ledger.undo_to(0);
                    self.pen.begin_afresh();
                    tried += 1;
                    if !self.pen.try_again(tried) {
                        return Err(failure);
                    }
                    warn!(error = %failure, "{} commits are tried once more", commits.len());
                }
            }
        }
    }

    /// All that the group changes is durable when this returns. `Err` when nothing is.
    async fn written<'m>(&mut self, commits: &'m [Commit]) -> Result<(Vec<Outcome<'m>>, Told), StoreError> {
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
        let mut script = self.pen.begin(commits, &mut self.ledger).await?;
        let mut outcomes = Vec::with_capacity(commits.len());
        for commit in commits {
            outcomes.push(self.plan(commit).map(|plan| {
                let (rows, done) = split(plan);
                script.append(rows);
                done
            }));
        }
        if outcomes.iter().all(Result::is_err) {
            return self.take_back(script).await.map(|()| Some((outcomes, Vec::new())));
        }
        let told = self.finish(commits, &mut outcomes, &mut script);
        match self.pen.commit(script).await {
            Ok(()) => Ok(Some((outcomes, told))),
            Err(Stop::Broken(error)) => Err(error),
            Err(Stop::Refused(_) | Stop::Missed(_)) => {
                self.ledger.undo_to(0);
                self.pen.step("ROLLBACK").await?;
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
        let mut script = self.pen.begin(commits, &mut self.ledger).await?;
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
            return self.take_back(script).await.map(|()| (outcomes, Vec::new()));
        }
        let told = self.finish(commits, &mut outcomes, &mut script);
        match self.pen.commit(script).await {
            Ok(()) => Ok((outcomes, told)),
            Err(stop) => Err(unexpected(stop)),
        }
    }

    /// Where nothing was begun, there is nothing to take back: what begins it is still in the script.
    async fn take_back(&mut self, mut script: Script<'_>) -> Result<(), StoreError> {
        script.step("ROLLBACK", vec![], Expect::Anything);
        self.pen.run(script).await.map_err(unexpected)
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
        match self.pen.run(std::mem::take(script)).await {
            Ok(()) => {
                script.step("RELEASE member", vec![], Expect::Anything);
                Ok(Ok(()))
            }
            Err(Stop::Broken(error)) => Err(error),
            Err(stop) => {
                self.ledger.undo_to(mark);
                self.pen.step("ROLLBACK TO member; RELEASE member").await?;
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
        told
    }

    /// Whether a row is gone or was only changed is worth a look, once it is known that one of the two is so.
    async fn explained(&mut self, stop: Stop) -> Result<StoreError, StoreError> {
        Ok(match stop {
            Stop::Refused(error) | Stop::Broken(error) => error,
            Stop::Missed(Missed::Gone) => StoreError::NotFound,
            Stop::Missed(Missed::Changed) => StoreError::Conflict,
            Stop::Missed(Missed::Task(task)) => {
                if self.pen.has_task(task).await? {
                    StoreError::Conflict
                } else {
                    StoreError::NotFound
                }
            }
        })
    }

    fn get_up(&mut self) {
        error!("the writer has failed over what it was asked; it goes on with a new connection");
        self.ledger.undo_to(0);
        self.pen.begin_afresh();
    }

    async fn remove_leftovers(&mut self) {
        self.leftovers = match self.pen.remove_leftovers(&mut self.ledger).await {
            Ok(more) => more,
            Err(error) => {
                warn!(%error, "events that retention has removed still take room; they go later");
                self.pen.begin_afresh();
                false
            }
        };
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
