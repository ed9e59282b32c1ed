//! The connection that writes.
//!
//! Several processes may write to one database, so nothing of it is remembered: every group begins by locking the rows of
//! the logs that it counts on or writes to, in the order of their keys, and reads there how far they have come. The locks
//! are held until the commit, so whoever numbers next has seen these numbers, and no reader sees a number before a lower one.

use std::time::Duration;

use async_trait::async_trait;
use kanvoy_domain::event::Log;
use kanvoy_domain::{BoardId, TaskId};
use kanvoy_store::{Commit, StoreError};
use kanvoy_store_sql::plan::{logs_of, makes_boards};
use kanvoy_store_sql::{Counter, Ledger, Pen, Script, Standing, Stop};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool, Row};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use uuid::Uuid;

use crate::error::broken;
use crate::open::{answered, connect};
use crate::script::{self, Failed, Texts, failed};

/// Rows that are removed at a time of what nobody can reach any more: a few milliseconds of the writer.
const LEFTOVER_ROWS: i64 = 1_000;

/// How often a group is tried that the server has turned away for reasons that pass.
const TRIES: u32 = 3;

/// How long the server is asked what became of a commit that it did not answer. A restart takes a few seconds.
const FATE_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct ServerPen {
    options: PgConnectOptions,
    /// `None` after a failure of which nothing is known but that it happened: the next group begins afresh.
    connection: Option<PgConnection>,
    /// The number that the server knows the open transaction by.
    transaction: String,
    /// The last failure is likely to pass, and has left nothing behind.
    passing: bool,
    texts: Texts,
    readers: PgPool,
}

impl ServerPen {
    pub fn new(connection: PgConnection, options: PgConnectOptions, readers: PgPool) -> Self {
        Self {
            options,
            connection: Some(connection),
            transaction: String::new(),
            passing: false,
            texts: Texts::default(),
            readers,
        }
    }

    async fn connect(&mut self) -> Result<&mut PgConnection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.options).await.map_err(|error| broken(&error))?);
        }
        self.connection.as_mut().ok_or_else(gone)
    }

    fn note(&mut self, error: &sqlx::Error) -> StoreError {
        self.passing = failed(error).passing;
        broken(error)
    }

    async fn lock(&mut self, commits: &[Commit]) -> Result<Ledger, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        // A transaction's number is all that is left to ask for when its commit is not answered.
        let begun = answered(sqlx::raw_sql("BEGIN; SELECT pg_current_xact_id()::text").fetch_all(&mut *connection));
        self.transaction = begun.await?.first().map(|row| row.get(0)).unwrap_or_default();

        let (logs, makes_boards) = (logs_of(commits), makes_boards(commits));
        let mut entries = Vec::with_capacity(logs.len());
        let mut next_log = 0;
        // The system's row has the lowest key. Whoever makes a board holds it too, and so takes the next key alone.
        if makes_boards || logs.contains(&Log::System) {
            let system = sqlx::query("SELECT id, head_seq, next_number FROM log WHERE id = 0 FOR UPDATE");
            for row in answered(system.fetch_all(&mut *connection)).await? {
                entries.push((Log::System, counter(&row, Standing::Seen)));
            }
        }
        let boards: Vec<Uuid> = logs.iter().filter_map(|log| log.board()).map(BoardId::uuid).collect();
        if !boards.is_empty() {
            // The board's row too, or what is read of it could be older than what is read of its log.
            let locked = sqlx::query(
                "SELECT l.id, l.head_seq, l.next_number, b.id, b.deleted_at IS NOT NULL, b.importing = 1
                 FROM board b JOIN log l ON l.id = b.log WHERE b.id = ANY($1) ORDER BY l.id FOR UPDATE",
            );
            for row in answered(locked.bind(boards).fetch_all(&mut *connection)).await? {
                let standing = match (row.get(4), row.get(5)) {
                    (true, _) => Standing::Deleted,
                    (false, true) => Standing::Importing,
                    (false, false) => Standing::Seen,
                };
                entries.push((Log::Board(BoardId::from_uuid(row.get(3))), counter(&row, standing)));
            }
        }
        if makes_boards {
            // A number whose events are still being removed is not given out again.
            let next =
                sqlx::query_scalar("SELECT greatest((SELECT max(id) FROM log), (SELECT max(log) FROM leftover)) + 1");
            next_log = answered(next.fetch_one(connection)).await?;
        }
        let mut ledger = Ledger::begin(next_log);
        for (log, counter) in entries {
            ledger.enter(log, counter);
        }
        Ok(ledger)
    }

    /// Whether the transaction was committed whose commit was not answered; `None` when nobody can tell.
    async fn fate(&mut self) -> Option<bool> {
        let until = Instant::now() + FATE_WITHIN;
        while Instant::now() < until {
            let asked = async {
                let mut connection = connect(&self.options).await?;
                let status = sqlx::query_scalar::<_, Option<String>>("SELECT pg_xact_status($1::text::xid8)");
                let status = answered(status.bind(&self.transaction).fetch_one(&mut connection)).await?;
                Ok::<_, sqlx::Error>((connection, status))
            };
            match asked.await {
                Ok((connection, status)) => {
                    self.connection = Some(connection);
                    match status.as_deref() {
                        Some("committed") => return Some(true),
                        Some("aborted") => return Some(false),
                        // Its end of the connection has not noticed yet.
                        Some(_) => {}
                        None => return None,
                    }
                }
                Err(error) => warn!(%error, "the database is asked what became of a commit, and does not answer yet"),
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    async fn remove_some_leftovers(&mut self) -> Result<bool, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        let mut transaction = answered(connection.begin()).await?;
        // What another process is removing is left to it.
        let leftover = sqlx::query_as::<_, (i64, i64)>(
            "SELECT log, through FROM leftover ORDER BY log LIMIT 1 FOR UPDATE SKIP LOCKED",
        );
        let Some((log, through)) = answered(leftover.fetch_optional(&mut *transaction)).await? else {
            answered(transaction.rollback()).await?;
            return Ok(false);
        };
        let removed = sqlx::query(
            "DELETE FROM event WHERE log = $1 AND seq IN
                (SELECT seq FROM event WHERE log = $1 AND seq <= $2 ORDER BY seq LIMIT $3)",
        );
        let removed = removed.bind(log).bind(through).bind(LEFTOVER_ROWS).execute(&mut *transaction);
        if answered(removed).await?.rows_affected() < LEFTOVER_ROWS.unsigned_abs() {
            let done = sqlx::query("DELETE FROM leftover WHERE log = $1").bind(log);
            answered(done.execute(&mut *transaction)).await?;
        }
        answered(transaction.commit()).await?;
        Ok(true)
    }
}

#[async_trait]
impl Pen for ServerPen {
    async fn begin(&mut self, commits: &[Commit], ledger: &mut Ledger) -> Result<Script<'static>, StoreError> {
        self.passing = false;
        self.connect().await?;
        *ledger = self.lock(commits).await.map_err(|error| self.note(&error))?;
        Ok(Script::default())
    }

    async fn run(&mut self, script: Script<'_>) -> Result<(), Stop> {
        let connection = self.connection.as_mut().ok_or_else(|| Stop::Broken(gone()))?;
        script::run(script, connection, &mut self.texts).await.map_err(|Failed { stop, passing }| {
            self.passing = passing;
            stop
        })
    }

    /// When the server does not answer the commit, it is asked what became of it: then all that was kept is told and
    /// answered as kept, and the rest is tried again. Only if it cannot be asked either, the callers hear that the
    /// database is unavailable and must find out: by their claim, or by the `rev` that has moved on.
    async fn commit(&mut self, script: Script<'_>) -> Result<(), Stop> {
        self.run(script).await?;
        let connection = self.connection.as_mut().ok_or_else(|| Stop::Broken(gone()))?;
        let Err(error) = answered(sqlx::raw_sql("COMMIT").execute(connection)).await else { return Ok(()) };
        self.connection = None;
        match self.fate().await {
            Some(true) => {
                info!(%error, "a commit was not answered, but it was kept");
                Ok(())
            }
            Some(false) => {
                self.passing = true;
                Err(Stop::Broken(broken(&error)))
            }
            None => Err(Stop::Broken(StoreError::Unavailable(format!("nobody knows whether it was kept: {error}")))),
        }
    }

    async fn step(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        let done = answered(sqlx::raw_sql(sql).execute(connection)).await;
        done.map(drop).map_err(|error| self.note(&error))
    }

    async fn has_task(&mut self, task: TaskId) -> Result<bool, StoreError> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        let there = sqlx::query("SELECT 1 FROM task WHERE id = $1 AND deleted_at IS NULL").bind(task.uuid());
        let there = answered(there.fetch_optional(connection)).await;
        there.map(|row| row.is_some()).map_err(|error| self.note(&error))
    }

    /// Arrows between tasks of no board are counted by nobody.
    async fn try_to_write(&mut self, _: &mut Ledger) -> Result<(), StoreError> {
        const WRITE: &str = "UPDATE log SET arrows = arrows + 1 WHERE id = 0";
        let connected = self.connection.is_some();
        self.connect().await?;
        match self.step(WRITE).await {
            // The server may have been started anew since the last commit.
            Err(_) if connected && self.passing => {
                self.connection = None;
                self.connect().await?;
                self.step(WRITE).await
            }
            tried => tried,
        }
    }

    async fn remove_leftovers(&mut self, _: &mut Ledger) -> Result<bool, StoreError> {
        self.connect().await?;
        self.remove_some_leftovers().await.map_err(|error| broken(&error))
    }

    fn begin_afresh(&mut self) {
        self.connection = None;
    }

    fn try_again(&mut self, tried: u32) -> bool {
        std::mem::take(&mut self.passing) && tried < TRIES
    }

    async fn close(mut self) {
        self.readers.close().await;
        if let Some(connection) = self.connection.take()
            && let Err(error) = answered(connection.close()).await
        {
            warn!(%error, "the connection was not closed in order; nothing is lost");
        }
    }
}

fn counter(row: &sqlx::postgres::PgRow, standing: Standing) -> Counter {
    let number = |column: usize| row.get::<i64, _>(column).unsigned_abs();
    Counter { log: row.get(0), head: number(1), next_number: number(2), standing }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the connection to the database was lost".into())
}
