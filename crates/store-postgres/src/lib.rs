//! The store in a PostgreSQL database that several processes share: in each of them one writer that takes what waits and
//! commits it together, and a few readers.
//!
//! Knows nothing of HTTP, and of no other store.
//!
//! Start reading at [`kanvoy_store_sql::writer`] (how a commit becomes durable) and at the migrations (what is kept).

mod backup;
mod boards;
mod check;
mod error;
mod events;
mod open;
mod pen;
mod script;
mod sessions;
mod tasks;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
pub use backup::dump_command;
use kanvoy_domain::event::{Log, Seq};
use kanvoy_domain::session::{SecretHash, Session};
use kanvoy_domain::text::BoardKey;
use kanvoy_domain::{Board, BoardId, ColumnId, Rank, Task, TaskId, TaskNumber, Timestamp};
use kanvoy_store::{
    Answer, BoardRow, Claim, Commit, Committed, Edge, EventQuery, Events, Page, Store, StoreError, TaskQuery, TaskRow,
};
use kanvoy_store_sql::Ask;
pub use open::OpenError;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::error::{closed, interrupted, too_slow};
use crate::open::{ALIVE, READ_WITHIN};

/// Cloning is not needed: callers share it in an `Arc<dyn Store>`.
pub struct PostgresStore {
    readers: PgPool,
    writer: mpsc::Sender<Ask>,
    /// The writer, and commits that found the writer's queue full.
    tasks: TaskTracker,
    options: PgConnectOptions,
    doubts: Doubts,
}

/// While there are any, a reader's connection is tried before it is used.
type Doubts = Arc<AtomicU32>;

struct Doubt(Doubts);

impl Doubt {
    fn begin(doubts: &Doubts) -> Self {
        doubts.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(doubts))
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PostgresStore {
    /// Hands over to the writer in such a way that dropping the caller's future changes nothing any more.
    async fn ask<T>(&self, ask: Ask, answer: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        match self.writer.try_send(ask) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(closed()),
            Err(mpsc::error::TrySendError::Full(ask)) => {
                let writer = self.writer.clone();
                // A closed queue drops the ask, and with it the sender that the answer is waited for from.
                self.tasks.spawn(async move { writer.send(ask).await.ok() });
            }
        }
        answer.await.map_err(|_| if self.writer.is_closed() { closed() } else { interrupted() })?
    }

    /// A read that fails at once has probably come upon a connection that the server has ended: it is done again, on one
    /// that is known to be alive. And a read has an end, also when the server is no longer there.
    async fn read<T, F>(&self, reading: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let begun = Instant::now();
        match timeout(READ_WITHIN, reading()).await {
            Ok(Err(StoreError::Unavailable(_))) if begun.elapsed() < ALIVE => {
                let _doubt = Doubt::begin(&self.doubts);
                timeout(READ_WITHIN, reading()).await.unwrap_or_else(|_| Err(too_slow()))
            }
            Ok(read) => read,
            Err(_) => Err(too_slow()),
        }
    }
}

/// What is wrong with the database at this address. Daemons may be at work on it.
pub async fn check(url: &str) -> Result<Vec<String>, StoreError> {
    let options = open::address(url).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    check::check(&options).await
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Commit(commit, reply), answer).await
    }

    async fn board(&self, id: BoardId) -> Result<Option<BoardRow>, StoreError> {
        self.read(|| boards::board(&self.readers, id)).await
    }

    async fn board_by_key(&self, key: &BoardKey) -> Result<Option<BoardRow>, StoreError> {
        self.read(|| boards::board_by_key(&self.readers, key)).await
    }

    async fn deleted_board(&self, id: BoardId) -> Result<Option<Board>, StoreError> {
        self.read(|| boards::deleted_board(&self.readers, id)).await
    }

    async fn deleted_board_by_key(&self, key: &BoardKey) -> Result<Option<Board>, StoreError> {
        self.read(|| boards::deleted_board_by_key(&self.readers, key)).await
    }

    async fn boards(&self, after: Option<&str>, limit: u32, archived: bool) -> Result<Page<BoardRow>, StoreError> {
        self.read(|| boards::boards(&self.readers, after, limit, archived)).await
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.read(|| boards::keys(&self.readers)).await
    }

    async fn board_of_column(&self, column: ColumnId) -> Result<Option<BoardRow>, StoreError> {
        self.read(|| boards::board_of_column(&self.readers, column)).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.read(|| tasks::task(&self.readers, id)).await
    }

    async fn deleted_task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        self.read(|| tasks::deleted_task(&self.readers, id)).await
    }

    async fn task_numbered(&self, board: BoardId, number: TaskNumber) -> Result<Option<TaskRow>, StoreError> {
        self.read(|| tasks::task_numbered(&self.readers, board, number)).await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Page<TaskRow>, StoreError> {
        self.read(|| tasks::tasks(&self.readers, query)).await
    }

    async fn known_tasks(&self, board: BoardId, ids: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
        self.read(|| tasks::known_tasks(&self.readers, board, ids)).await
    }

    async fn lie_of(&self, column: ColumnId) -> Result<Vec<(TaskId, Rank)>, StoreError> {
        self.read(|| tasks::lie_of(&self.readers, column)).await
    }

    async fn last_rank(&self, column: ColumnId) -> Result<Option<Rank>, StoreError> {
        self.read(|| tasks::last_rank(&self.readers, column)).await
    }

    async fn tasks_in_column(&self, column: ColumnId) -> Result<Vec<Task>, StoreError> {
        self.read(|| tasks::tasks_in_column(&self.readers, column)).await
    }

    async fn edges(&self, board: BoardId) -> Result<(Vec<Edge>, u64), StoreError> {
        self.read(|| tasks::edges(&self.readers, board)).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Events, StoreError> {
        self.read(|| events::events(&self.readers, query)).await
    }

    async fn head(&self, log: Log) -> Result<Seq, StoreError> {
        self.read(|| events::head(&self.readers, log)).await
    }

    async fn seq_before(&self, log: Log, moment: Timestamp) -> Result<Seq, StoreError> {
        self.read(|| events::seq_before(&self.readers, log, moment)).await
    }

    async fn heads(&self) -> Result<Vec<(Log, Seq)>, StoreError> {
        self.read(|| events::heads(&self.readers)).await
    }

    async fn session(&self, hash: SecretHash) -> Result<Option<Session>, StoreError> {
        self.read(|| sessions::session(&self.readers, hash)).await
    }

    async fn answer(&self, claim: &Claim) -> Result<Option<Answer>, StoreError> {
        self.read(|| sessions::answer(&self.readers, claim)).await
    }

    async fn export_tasks(
        &self,
        board: BoardId,
        after: TaskNumber,
        limit: u32,
    ) -> Result<Vec<(Task, bool)>, StoreError> {
        self.read(|| tasks::export_tasks(&self.readers, board, after, limit)).await
    }

    async fn half_imported(&self) -> Result<Vec<BoardId>, StoreError> {
        self.read(|| boards::half_imported(&self.readers)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Ready(reply), answer).await
    }

    async fn backup(&self, to: &Path) -> Result<PathBuf, StoreError> {
        backup::refused(&self.options, to)
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        check::check(&self.options).await
    }

    async fn close(&self) {
        // When the queue is closed already, somebody else is closing: waiting is all that is left.
        self.writer.send(Ask::Close).await.ok();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
