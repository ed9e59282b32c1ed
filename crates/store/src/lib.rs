//! The one trait behind which everything durable lies, and the story that every store must pass.
//!
//! There is one write door, [`Store::commit`]: new rows and their history go in together or not at all, and nothing is told
//! ([`Tell`]) that was not kept. Knows nothing of SQL dialects or HTTP.

mod commit;
mod query;
#[cfg(feature = "story")]
pub mod story;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
pub use commit::{Answer, Change, Claim, Commit, Committed, Restored, UNANSWERED_FOR_HOURS};
use kanvoy_domain::event::{Log, Seq};
use kanvoy_domain::people::LoginName;
use kanvoy_domain::session::{SecretHash, Session};
use kanvoy_domain::text::BoardKey;
use kanvoy_domain::{
    Board, BoardId, ColumnId, Membership, Rank, SessionId, Task, TaskId, TaskNumber, Timestamp, User, UserId,
};
pub use query::{
    Blocker, BoardRow, Edge, EdgeKind, EventQuery, Events, Kinds, Order, Page, StoredEvent, TaskQuery, TaskRow,
    WhichTasks,
};

/// Keeps everything. Every method is one transaction of its own; reads see only what is committed.
///
/// Contract, held by [`story`]:
/// - `commit` returns after the commit is durable: what it returned survives a crash in the next instant.
/// - Commits of several callers may share a transaction, yet each stands or falls alone.
/// - Numbers are given inside the commit: `seq` per log and `number` per board grow by one, without holes, also when
///   commits fail in between; a number that a reader has seen is never followed by a lower one that it has not.
/// - The teller hears of every commit once, after it is durable, in the order of `seq` for each log.
/// - A row that was deleted (not purged) is found by no read but the export and the checks.
/// - Cancelling a call's future does not cancel the commit.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError>;

    async fn board(&self, id: BoardId) -> Result<Option<BoardRow>, StoreError>;
    async fn board_by_key(&self, key: &BoardKey) -> Result<Option<BoardRow>, StoreError>;
    /// A board that was deleted and not purged.
    async fn deleted_board(&self, id: BoardId) -> Result<Option<Board>, StoreError>;
    async fn deleted_board_by_key(&self, key: &BoardKey) -> Result<Option<Board>, StoreError>;
    /// In the order of their making, behind the position `after`, which outlives the board that it was given out for. Archived
    /// ones only when asked for.
    async fn boards(&self, after: Option<&str>, limit: u32, archived: bool) -> Result<Page<BoardRow>, StoreError>;
    /// Every key ever used, by boards that are deleted too.
    async fn keys(&self) -> Result<Vec<String>, StoreError>;
    async fn board_of_column(&self, column: ColumnId) -> Result<Option<BoardRow>, StoreError>;

    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError>;
    /// A task that was deleted and not purged.
    async fn deleted_task(&self, id: TaskId) -> Result<Option<Task>, StoreError>;
    async fn task_numbered(&self, board: BoardId, number: TaskNumber) -> Result<Option<TaskRow>, StoreError>;
    async fn tasks(&self, query: &TaskQuery) -> Result<Page<TaskRow>, StoreError>;
    /// Which of these ids are tasks of the board that can be seen.
    async fn known_tasks(&self, board: BoardId, ids: &[TaskId]) -> Result<Vec<TaskId>, StoreError>;
    /// The cards of a column as they lie, archived ones included: `(task, rank)`.
    async fn lie_of(&self, column: ColumnId) -> Result<Vec<(TaskId, Rank)>, StoreError>;
    /// The rank of the column's last card.
    async fn last_rank(&self, column: ColumnId) -> Result<Option<Rank>, StoreError>;
    /// The tasks in a column as they lie, whatever else they are, to be moved before the column changes.
    async fn tasks_in_column(&self, column: ColumnId) -> Result<Vec<Task>, StoreError>;
    /// Every arrow of the board (who waits for whom, who is part of whom), with the count that guards them.
    async fn edges(&self, board: BoardId) -> Result<(Vec<Edge>, u64), StoreError>;

    /// Events of one log in order of `seq`, at most `query.limit`, and whether there are more. What retention removed is shown
    /// as one `stream.gap`.
    async fn events(&self, query: &EventQuery) -> Result<Events, StoreError>;
    /// The last `seq` of a log; 0 when it is empty or unknown.
    async fn head(&self, log: Log) -> Result<Seq, StoreError>;
    /// The last `seq` of a log among the events older than this moment; 0 when there is none.
    async fn seq_before(&self, log: Log, moment: Timestamp) -> Result<Seq, StoreError>;
    /// The last `seq` of every log there is, those of deleted boards left out.
    async fn heads(&self) -> Result<Vec<(Log, Seq)>, StoreError>;

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;
    async fn user_named(&self, name: &LoginName) -> Result<Option<User>, StoreError>;
    /// In the order of their names, disabled ones too. `after` is a name.
    async fn users(&self, after: Option<&str>, limit: u32) -> Result<Page<User>, StoreError>;
    /// Of a board that can be seen, in the order of their names.
    async fn members(&self, board: BoardId) -> Result<Vec<(Membership, User)>, StoreError>;
    /// The boards, of those that can be seen, that they are a member of.
    async fn boards_of(&self, user: UserId) -> Result<Vec<BoardId>, StoreError>;

    /// By the hash of the cookie, or of the personal token.
    async fn session(&self, hash: SecretHash) -> Result<Option<Session>, StoreError>;
    async fn session_by_id(&self, id: SessionId) -> Result<Option<Session>, StoreError>;
    /// All of a person, in the order of their ids, those that have run out and were not swept yet too.
    async fn sessions_of(&self, person: &str) -> Result<Vec<Session>, StoreError>;
    async fn answer(&self, claim: &Claim) -> Result<Option<Answer>, StoreError>;

    /// Everything of the board that an export holds, page by page: tasks by number, deleted ones included.
    async fn export_tasks(
        &self,
        board: BoardId,
        after: TaskNumber,
        limit: u32,
    ) -> Result<Vec<(Task, bool)>, StoreError>;
    /// Boards whose import was cut off.
    async fn half_imported(&self) -> Result<Vec<BoardId>, StoreError>;

    /// Can it write, now? Cheap; asked by `/readyz`.
    async fn ready(&self) -> Result<(), StoreError>;
    /// A whole, consistent copy of everything in a new file.
    async fn backup(&self, to: &Path) -> Result<PathBuf, StoreError>;
    /// What is wrong with what is kept: nothing, when all is well. Slow on a large store.
    async fn check(&self) -> Result<Vec<String>, StoreError>;
    /// Everything that waits is written, then the store closes. Later calls fail.
    async fn close(&self);
}

/// Hears what has just become durable. Called on the store's writer, so it must not block and must not fail.
pub trait Tell: Send + Sync + 'static {
    /// `events` follow one another in `seq` and follow what was told of this log before.
    fn told(&self, log: Log, events: &[StoredEvent]);
}

/// A teller for those who do not listen.
impl Tell for () {
    fn told(&self, _: Log, _: &[StoredEvent]) {}
}

/// Seven, because callers do seven things: ask anew, say what is taken, say what is missing, answer from memory, refuse the
/// question, wait, give up.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A row was changed by somebody else since it was read; or the places that the commit counted on are gone. Read
    /// again, decide again.
    #[error("somebody else changed it meanwhile")]
    Conflict,
    /// Something that must be unique is in use: the field, by its name outside.
    #[error("{0} is taken")]
    Taken(&'static str),
    /// The row to be changed is not there.
    #[error("not found")]
    NotFound,
    /// The commit's [`Claim`] was made before: see [`Store::answer`].
    #[error("the idempotency key was used before")]
    Claimed,
    /// The position to go on from was not given out by this store for this query.
    #[error("not a position of this list")]
    BadCursor,
    /// Nothing could be written or read: the disk is full or read-only, or the database does not answer.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// What is kept cannot be understood.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}
