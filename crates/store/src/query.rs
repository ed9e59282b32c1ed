//! What is asked of a store and what it gives back.

use bytes::Bytes;
use kanvoy_domain::event::{EventKind, Log, Seq};
use kanvoy_domain::{Board, BoardId, ColumnId, Priority, State, Task, TaskId, TaskNumber};

/// A board with what its log says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardRow {
    pub board: Board,
    pub head_seq: Seq,
    /// The oldest event that retention has left.
    pub first_seq: Seq,
    /// The number that the next task gets.
    pub next_number: TaskNumber,
}

/// A task with what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    pub task: Task,
    /// One for each of `task.blocked_by`, in the same order.
    pub blockers: Vec<Blocker>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    pub id: TaskId,
    pub number: TaskNumber,
    pub state: State,
}

/// One page of a list, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The position to ask for next as `after`; `None` at the end.
    pub next: Option<String>,
}

/// `from` waits for `to`, or `from` is part of `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub kind: EdgeKind,
    pub from: TaskId,
    pub to: TaskId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    WaitsFor,
    PartOf,
}

#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    /// All boards that can be seen, when not given.
    pub board: Option<BoardId>,
    /// Only on these boards, when given: what the caller may see.
    pub within: Option<Vec<BoardId>>,
    pub states: Vec<State>,
    pub priorities: Vec<Priority>,
    /// Must carry all of them.
    pub labels: Vec<String>,
    pub column: Option<ColumnId>,
    pub agent_type: Option<String>,
    pub parent: Option<TaskId>,
    pub external_ref: Option<String>,
    /// Folded words, all of which must occur in [`Task::search_text`](kanvoy_domain::Task::search_text).
    pub words: Vec<String>,
    pub archived: WhichTasks,
    pub order: Order,
    /// A [`Page::next`] of the same query.
    pub after: Option<String>,
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhichTasks {
    #[default]
    Unarchived,
    Archived,
    All,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By the time of making, boards mixed: the same as by number on one board.
    #[default]
    Oldest,
    Newest,
    /// Changed last, first.
    Updated,
    /// As the cards lie: by column, rank and number.
    Lie,
}

#[derive(Clone, Debug)]
pub struct EventQuery {
    pub log: Log,
    /// Only what is later than this.
    pub after: Seq,
    /// Only what concerns this task.
    pub task: Option<TaskId>,
    pub kinds: Kinds,
    pub limit: u32,
    /// Stop early when this many bytes of text are together; at least one event is given.
    pub max_bytes: usize,
}

/// One page of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    pub events: Vec<StoredEvent>,
    /// The log holds more of what was asked for, behind the last of these.
    pub more: bool,
}

/// Which kinds of event are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kinds {
    #[default]
    All,
    Only(Vec<EventKind>),
    AllBut(Vec<EventKind>),
}

impl Kinds {
    /// A gap is no event of its own but the lack of some: it is shown whatever was asked for.
    pub fn wants(&self, kind: EventKind) -> bool {
        match self {
            _ if kind == EventKind::StreamGap => true,
            Self::All => true,
            Self::Only(kinds) => kinds.contains(&kind),
            Self::AllBut(kinds) => !kinds.contains(&kind),
        }
    }
}

/// An event as it is kept and as it is sent: its whole text, and what a reader filters by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub seq: Seq,
    pub kind: EventKind,
    pub task: Option<TaskId>,
    /// The whole JSON object, `seq` included. Shared, not copied, by all who send it.
    pub text: Bytes,
}
