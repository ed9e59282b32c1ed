//! What things look like outside. One shape for a thing wherever it is shown; answers to writes carry `seq` besides.

pub mod people;

use kanvoy_domain::board::{Board, Column, Retention, Review, Settings};
use kanvoy_domain::task::{Failure, Priority};
use kanvoy_domain::{BoardId, ColumnId, Rank, Seq, State, TaskId, Timestamp};
use kanvoy_engine::{Reason, waiting};
use kanvoy_store::{BoardRow, TaskRow};
use serde::Serialize;
use utoipa::ToSchema;

/// A board with its columns, in their order.
#[derive(Serialize, ToSchema)]
#[schema(as = Board)]
pub struct BoardView<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: BoardId,
    /// What its tasks are numbered with: the `KAN` of `KAN-12`.
    #[schema(example = "KAN", min_length = 2, max_length = 10)]
    key: &'a str,
    #[schema(example = "Kanvoy", max_length = 200)]
    name: &'a str,
    description: &'a str,
    #[schema(required = true)]
    repository_url: Option<&'a str>,
    #[schema(required = true)]
    default_branch: Option<&'a str>,
    columns: Vec<ColumnView<'a>>,
    /// The `seq` of its newest event.
    #[schema(minimum = 0)]
    head_seq: Seq,
    settings: SettingsView<'a>,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    archived_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    #[schema(minimum = 1)]
    version: u64,
    #[serde(flatten)]
    #[schema(inline)]
    write: Write,
}

/// What an answer to a write carries besides the thing.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Write {
    /// Of a write: the `seq` of the last event that it led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, nullable = false)]
    seq: Option<Seq>,
    /// Of a removal: it is out of sight.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    deleted: Option<bool>,
    /// Of a removal: it is gone for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    purged: Option<bool>,
}

impl Write {
    pub const NONE: Self = Self { seq: None, deleted: None, purged: None };

    pub const fn made(seq: Seq) -> Self {
        Self { seq: Some(seq), ..Self::NONE }
    }

    pub const fn removed(seq: Seq, purged: bool) -> Self {
        Self { seq: Some(seq), deleted: Some(true), purged: if purged { Some(true) } else { None } }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Column)]
pub struct ColumnView<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: ColumnId,
    #[schema(example = "In progress")]
    name: &'a str,
    /// The states that its cards may be in; the first is what a card takes on that is moved here.
    #[schema(value_type = Vec<StateName>)]
    states: &'a [State],
    #[schema(required = true, minimum = 1)]
    wip_limit: Option<u32>,
}

/// The answer to a write of a column.
#[derive(Serialize, ToSchema)]
#[schema(as = ColumnWritten)]
pub struct ColumnWritten<'a> {
    #[serde(flatten)]
    column: ColumnView<'a>,
    #[schema(value_type = String, format = Uuid)]
    board_id: BoardId,
    /// The board's: its columns are part of it.
    #[schema(minimum = 1)]
    version: u64,
    #[schema(minimum = 0)]
    seq: Seq,
}

impl<'a> ColumnWritten<'a> {
    pub fn new(board: &'a Board, id: ColumnId, seq: Seq) -> Option<Self> {
        let column = board.column(id)?;
        Some(Self { column: column_view(column), board_id: board.id, version: board.version, seq })
    }
}

/// How a board behaves.
#[derive(Serialize, ToSchema)]
#[schema(as = Settings)]
pub struct SettingsView<'a> {
    /// Who looks at work before it is done.
    #[schema(value_type = ReviewName)]
    review: Review,
    verify: bool,
    /// The agent type that plans.
    #[schema(required = true)]
    planner: Option<&'a str>,
    /// The agent type that a new card is offered with.
    #[schema(required = true)]
    default_agent_type: Option<&'a str>,
    retention: RetentionView,
}

/// How much of the log is kept. Null keeps everything.
#[derive(Serialize, ToSchema)]
#[schema(as = Retention)]
pub struct RetentionView {
    #[schema(required = true, minimum = 1)]
    max_events: Option<u64>,
    #[schema(required = true, minimum = 1)]
    max_age_days: Option<u32>,
}

impl<'a> BoardView<'a> {
    pub fn new(board: &'a Board, head_seq: Seq, write: Write) -> Self {
        Self {
            id: board.id,
            key: board.key.as_str(),
            name: &board.name,
            description: &board.description,
            repository_url: board.repository_url.as_ref().map(|url| url.as_str()),
            default_branch: board.default_branch.as_ref().map(|branch| branch.as_str()),
            columns: board.columns.iter().map(column_view).collect(),
            head_seq,
            settings: settings_view(&board.settings),
            archived_at: board.archived_at,
            created_at: board.created_at,
            updated_at: board.updated_at,
            version: board.version,
            write,
        }
    }

    pub fn of(row: &'a BoardRow) -> Self {
        Self::new(&row.board, row.head_seq, Write::NONE)
    }
}

fn column_view(column: &Column) -> ColumnView<'_> {
    ColumnView { id: column.id, name: &column.name, states: &column.states, wip_limit: column.wip_limit }
}

fn settings_view(settings: &Settings) -> SettingsView<'_> {
    let Retention { max_events, max_age_days } = settings.retention;
    SettingsView {
        review: settings.review,
        verify: settings.verify,
        planner: settings.planner.as_ref().map(|name| name.as_str()),
        default_agent_type: settings.default_agent_type.as_ref().map(|name| name.as_str()),
        retention: RetentionView { max_events, max_age_days },
    }
}

/// A piece of work.
#[derive(Serialize, ToSchema)]
#[schema(as = Task)]
pub struct TaskView<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: TaskId,
    #[schema(value_type = String, format = Uuid)]
    board_id: BoardId,
    /// The `12` of `KAN-12`.
    #[schema(minimum = 1, example = 12)]
    number: u64,
    #[schema(example = "Teach the parser about tabs", max_length = 500)]
    title: &'a str,
    description: &'a str,
    #[schema(value_type = StateName)]
    state: State,
    #[schema(value_type = String, format = Uuid)]
    column_id: ColumnId,
    /// Its place in the column: cards lie in the order of this text, then of their numbers.
    #[schema(value_type = String)]
    rank: &'a Rank,
    #[schema(value_type = PriorityName)]
    priority: Priority,
    #[schema(required = true)]
    agent_type: Option<&'a str>,
    #[schema(required = true)]
    repository_url: Option<&'a str>,
    #[schema(required = true)]
    branch: Option<&'a str>,
    labels: &'a [String],
    /// The tasks that must be done first.
    #[schema(value_type = Vec<uuid::Uuid>)]
    blocked_by: &'a [TaskId],
    #[schema(value_type = Option<uuid::Uuid>, required = true)]
    parent_id: Option<TaskId>,
    #[schema(required = true)]
    external_ref: Option<&'a str>,
    /// Why nobody is at work on it, in the order in which one would mend it.
    #[schema(value_type = Vec<ReasonView>)]
    waiting: Vec<Reason>,
    live: Live,
    #[schema(value_type = Option<uuid::Uuid>, required = true)]
    current_run_id: Option<&'a str>,
    #[schema(minimum = 0)]
    open_requests: u32,
    #[schema(minimum = 0)]
    attempts: u32,
    #[schema(value_type = Option<FailureView>, required = true)]
    failure: Option<&'a Failure>,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    archived_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    #[schema(minimum = 1)]
    version: u64,
    #[serde(flatten)]
    #[schema(inline)]
    write: Write,
}

/// What a card shows while an agent is at work on it.
#[derive(Default, Serialize, ToSchema)]
pub struct Live {
    #[schema(required = true)]
    note: Option<String>,
    #[schema(required = true)]
    percent: Option<f64>,
    #[schema(required = true)]
    cost: Option<f64>,
}

impl<'a> TaskView<'a> {
    pub fn new(row: &'a TaskRow, write: Write) -> Self {
        let task = &row.task;
        Self {
            id: task.id,
            board_id: task.board_id,
            number: task.number,
            title: &task.title,
            description: &task.description,
            state: task.state,
            column_id: task.column_id,
            rank: &task.rank,
            priority: task.priority,
            agent_type: task.agent_type.as_ref().map(|name| name.as_str()),
            repository_url: task.repository_url.as_ref().map(|url| url.as_str()),
            branch: task.branch.as_ref().map(|branch| branch.as_str()),
            labels: &task.labels,
            blocked_by: &task.blocked_by,
            parent_id: task.parent_id,
            external_ref: task.external_ref.as_deref(),
            waiting: waiting(row),
            live: Live::default(),
            current_run_id: None,
            open_requests: 0,
            attempts: task.attempts,
            failure: task.failure.as_ref(),
            archived_at: task.archived_at,
            created_at: task.created_at,
            updated_at: task.updated_at,
            version: task.version,
            write,
        }
    }
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct List<T> {
    pub items: Vec<T>,
    /// Ask for the next page with `cursor=` this; null on the last page.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// Where a task stands.
#[derive(ToSchema)]
#[schema(as = State, rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(dead_code, reason = "describes the domain's State, which knows nothing of OpenAPI")]
pub enum StateName {
    Backlog,
    Todo,
    Planning,
    InProgress,
    Review,
    Verify,
    Completed,
    Failed,
    Cancelled,
}

#[derive(ToSchema)]
#[schema(as = Priority, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the domain's Priority, which knows nothing of OpenAPI")]
pub enum PriorityName {
    Urgent,
    High,
    Normal,
    Low,
}

#[derive(ToSchema)]
#[schema(as = Review, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the domain's Review, which knows nothing of OpenAPI")]
pub enum ReviewName {
    Nobody,
    Person,
}

/// A code to branch on and a sentence to read.
#[derive(ToSchema)]
#[schema(as = Reason)]
#[expect(dead_code, reason = "describes the engine's Reason, which knows nothing of OpenAPI")]
pub struct ReasonView {
    #[schema(example = "blocked")]
    code: String,
    detail: String,
}

/// Why a task failed.
#[derive(ToSchema)]
#[schema(as = Failure)]
#[expect(dead_code, reason = "describes the domain's Failure, which knows nothing of OpenAPI")]
pub struct FailureView {
    code: String,
    detail: String,
    #[schema(nullable = false)]
    exit_code: Option<i64>,
    #[schema(nullable = false)]
    oom: Option<bool>,
    #[schema(nullable = false)]
    stderr_tail: Option<String>,
}
