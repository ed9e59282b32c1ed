//! What goes through the write door.

use bytes::Bytes;
use kanvoy_domain::event::{NewEvent, Seq};
use kanvoy_domain::session::{SecretHash, Session};
use kanvoy_domain::{Board, BoardId, Membership, SessionId, Task, TaskId, TaskNumber, Timestamp, User, UserId};

use crate::query::StoredEvent;

/// Rows and their history, written together or not at all, in the order given.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub changes: Vec<Change>,
    pub events: Vec<NewEvent>,
}

impl Commit {
    pub fn new(changes: Vec<Change>, events: Vec<NewEvent>) -> Self {
        Self { changes, events }
    }
}

/// One row, or one set of rows that belong together, after the change.
#[derive(Clone, Debug)]
pub enum Change {
    /// With its columns. [`StoreError::Taken`](crate::StoreError::Taken) when the key is in use.
    NewBoard(Board),
    /// With all its columns as they shall be; columns that are not named go. `Conflict` unless the row still has the
    /// `rev` that `board` carries (the store raises it), or when a card lies in a column or state that goes.
    Board(Board),
    /// Hides the board and all its tasks. Fenced as `Board`.
    DeleteBoard(Board),
    /// Removes the board with all that belongs to it, its log too, for good.
    PurgeBoard(BoardId),
    /// `number` is given by the store. `Conflict` when its column does not hold its state.
    NewTask(Task),
    /// `Conflict` unless the row still has the `rev` that `task` carries (the store raises it), or when the column does
    /// not hold the state.
    Task(Task),
    /// Hides the task. Fenced as `Task`.
    DeleteTask(Task),
    /// Removes the task for good, however it was changed since it was read, and leaves a tombstone in place of each of its
    /// events. What is still on its way about the task is refused: `NotFound`.
    PurgeTask {
        task: TaskId,
        board: BoardId,
        at: Timestamp,
    },
    /// Goes with every change of `blocked_by` or `parent_id`: `Conflict` unless the board's arrows are still the ones
    /// that were counted when they were read.
    Arrows {
        board: BoardId,
        counted: u64,
    },
    /// Removes the board's events up to and including `through`. Readers who ask for them see one gap.
    Prune {
        board: BoardId,
        through: Seq,
    },
    /// [`StoreError::Taken`](crate::StoreError::Taken) when the name is, or was, somebody's.
    NewUser(User),
    /// `Conflict` unless the row still has the `rev` that `user` carries (the store raises it). The name stays.
    User(User),
    /// Nothing happens when they are a member already. `NotFound` when the board cannot be seen.
    NewMember(Membership),
    /// Nothing happens when they are none.
    EndMember {
        board: BoardId,
        user: UserId,
    },
    NewSession(Session),
    /// Another refresh token takes the place of the last. `Conflict` unless the last one is still `from`.
    RefreshSession {
        id: SessionId,
        from: SecretHash,
        to: SecretHash,
        expires_at: Timestamp,
    },
    /// Nothing happens when it has ended already.
    EndSession(SessionId),
    /// Sessions and answers that ended before this moment go.
    Sweep {
        before: Timestamp,
    },
    /// `Claimed` when this key was claimed before.
    Claim(Claim),
    /// What the claim's first asker was told.
    Answer {
        claim: Claim,
        answer: Answer,
    },
    /// One piece of a board that is being imported.
    Restore(Restored),
}

/// Pieces of an import, in this order. The board is hidden until it is finished. `Damaged` when a seq, number or version is
/// 2^53 or more: nobody could count on from there.
#[derive(Clone, Debug)]
pub enum Restored {
    Board(Box<Board>),
    /// With its old number; the flag says that it was deleted. A task given again replaces the earlier one, and tasks may
    /// refer to others that come later.
    Tasks(Vec<(Task, bool)>),
    /// With their old numbers, one log, rising.
    Events {
        board: BoardId,
        events: Vec<StoredEvent>,
    },
    /// Shows the board. From here on `seq` and `number` go on after the highest ones restored, and not below `head`:
    /// the exporter may have kept only the end of its log.
    Finished {
        board: BoardId,
        head: Seq,
        next_number: TaskNumber,
    },
}

/// An idempotency key, as one caller used it for one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub person: String,
    pub key: String,
    /// Of method, path and body: the same key with another is a mistake of the caller.
    pub fingerprint: SecretHash,
    pub at: Timestamp,
}

/// What a claim was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub fingerprint: SecretHash,
    /// `None` when the daemon ended between doing it and answering it.
    pub said: Option<(u16, Bytes)>,
}

/// Claims and answers are kept this long.
pub const UNANSWERED_FOR_HOURS: i64 = 24;

/// What a commit was given.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// One for each event of the commit, in their order.
    pub seqs: Vec<Seq>,
    /// One for each `NewTask`, in their order.
    pub numbers: Vec<TaskNumber>,
}

impl Committed {
    /// The last `seq` that the commit wrote.
    pub fn seq(&self) -> Seq {
        self.seqs.last().copied().unwrap_or_default()
    }
}
