//! The connection that writes to the file, and what it keeps at hand for it.

use std::fs::File;
use std::path::PathBuf;

use async_trait::async_trait;
use kanvoy_domain::TaskId;
use kanvoy_store::{Commit, StoreError};
use kanvoy_store_sql::{Expect, Ledger, Pen, Script, Stop};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use tracing::warn;

use crate::error::broken;
use crate::ledger;
use crate::script::{self, Texts};

/// Rows that are removed at a time of what nobody can reach any more: a few milliseconds of the writer.
const LEFTOVER_ROWS: i64 = 1_000;

pub(crate) struct FilePen {
    /// `None` after a failure of which nothing is known but that it happened: the next group begins afresh.
    connection: Option<SqliteConnection>,
    texts: Texts,
    path: PathBuf,
    readers: SqlitePool,
    /// Held as long as anything may be written.
    _lock: File,
}

impl FilePen {
    pub fn new(connection: SqliteConnection, path: PathBuf, readers: SqlitePool, lock: File) -> Self {
        Self { connection: Some(connection), texts: Texts::default(), path, readers, _lock: lock }
    }

    /// Nobody else writes to the file, so what the ledger says stays true for as long as the connection does.
    async fn connect(&mut self, ledger: &mut Ledger) -> Result<&mut SqliteConnection, StoreError> {
        if self.connection.is_none() {
            let mut connection = crate::open::writer(&self.path).connect().await.map_err(|error| broken(&error))?;
            *ledger = ledger::load(&mut connection).await?;
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or_else(gone)
    }
}

#[async_trait]
impl Pen for FilePen {
    async fn begin(&mut self, commits: &[Commit], ledger: &mut Ledger) -> Result<Script<'static>, StoreError> {
        self.connect(ledger).await?;
        #[cfg(test)]
        if commits.iter().any(tests::is_a_fall) {
            self.step("BEGIN IMMEDIATE; UPDATE log SET head_seq = 99").await?;
            panic!("as the test has asked");
        }
        #[cfg(not(test))]
        let _ = commits;
        let mut script = Script::default();
        script.step("BEGIN IMMEDIATE", vec![], Expect::Anything);
        Ok(script)
    }

    async fn run(&mut self, script: Script<'_>) -> Result<(), Stop> {
        let connection = self.connection.as_mut().ok_or_else(|| Stop::Broken(gone()))?;
        script::run(script, connection, &mut self.texts).await
    }

    async fn commit(&mut self, mut script: Script<'_>) -> Result<(), Stop> {
        script.step("COMMIT", vec![], Expect::Anything);
        self.run(script).await
    }

    async fn step(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(|error| broken(&error))
    }

    async fn has_task(&mut self, task: TaskId) -> Result<bool, StoreError> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        let there = sqlx::query("SELECT 1 FROM task WHERE id = ? AND deleted_at IS NULL")
            .bind(task.uuid().as_bytes().to_vec())
            .fetch_optional(connection)
            .await
            .map_err(|error| broken(&error))?;
        Ok(there.is_some())
    }

    /// SQLite spares itself a write that changes nothing, so something must: arrows between tasks of no board are counted
    /// by nobody.
    async fn try_to_write(&mut self, ledger: &mut Ledger) -> Result<(), StoreError> {
        self.connect(ledger).await?;
        self.step("UPDATE log SET arrows = arrows + 1 WHERE id = 0").await
    }

    async fn remove_leftovers(&mut self, ledger: &mut Ledger) -> Result<bool, StoreError> {
        let connection = self.connect(ledger).await?;
        let leftover = sqlx::query_as::<_, (i64, i64)>("SELECT log, through FROM leftover ORDER BY log LIMIT 1");
        let Some((log, through)) = leftover.fetch_optional(&mut *connection).await.map_err(|error| broken(&error))?
        else {
            return Ok(false);
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
        Ok(true)
    }

    fn begin_afresh(&mut self) {
        self.connection = None;
    }

    /// The last connection to close moves the write-ahead log into the file, and only a writer can.
    async fn close(mut self) {
        self.readers.close().await;
        if let Some(mut connection) = self.connection.take() {
            let last =
                sqlx::raw_sql("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);").execute(&mut connection).await;
            if let Err(error) = last.and(connection.close().await) {
                warn!(%error, "the database was not closed in order; nothing is lost");
            }
        }
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the connection to the database was lost".into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::join_all;
    use kanvoy_domain::event::{EventKind, Log, NewEvent};
    use kanvoy_domain::{Actor, Timestamp};
    use kanvoy_store::{Change, Claim, Store, StoredEvent, Tell};

    use super::*;
    use crate::SqliteStore;

    /// Panics in the middle of a transaction.
    const FALL: &str = "fall";

    pub(super) fn is_a_fall(commit: &Commit) -> bool {
        commit.changes.iter().any(|change| matches!(change, Change::Claim(claim) if claim.key == FALL))
    }

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
            let falls =
                Claim { person: "ada".into(), key: FALL.into(), fingerprint: [1; 32], at: Timestamp::from_millis(1) };
            let falls = store.commit(Commit::new(vec![Change::Claim(falls)], vec![]));
            let (before, after) = tokio::join!(store.commit(note()), falls);
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
