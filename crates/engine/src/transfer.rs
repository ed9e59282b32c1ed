//! A board with its log as a file: one JSON object a line, so that both ends hold only a page of it at a time.
//!
//! ```text
//! {"kanvoy_board":1,"board":{…}}    again, when the board itself changed meanwhile: the file begins anew with it
//! {"task":{…},"deleted":false}      by number; a task that changed while the file was written comes again, newer
//! {"gone":"…"}                      a task that was purged while the file was written
//! {"event":{"seq":1,…}}             as they are kept
//! {"end":{"tasks":2,"events":9,"head_seq":9,"next_number":3}}
//! ```
//!
//! The tasks are those of the moment of `head_seq`, whatever is written meanwhile; and no event is later.

mod export;
mod import;
mod rules;

use kanvoy_domain::{Actor, Board, BoardId, Invalid, Seq, Task, TaskId, TaskNumber, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use export::Export;
pub use import::{Import, ImportAs, Imported};

use crate::EngineError;

/// The only layout there has been.
const LAYOUT: u32 = 1;

/// A line longer than this is no line of ours: the longest holds one event, and an event one agent's line.
pub const MAX_LINE: usize = 64 << 20;

/// So much is written, or restored, in one piece.
const PIECE_ITEMS: u32 = 500;
const PIECE_BYTES: usize = 1 << 20;

/// So often an export begins anew because the board itself was changed, and so many pages of changed tasks it follows, before
/// it gives up on a board that does not come to rest.
const MOST_BEGINNINGS: u32 = 16;
const MOST_ROUNDS: u32 = 1_000;

/// What an import remembers of the tasks that it has read, to hold them to the rules, is bounded by these.
const MOST_TASKS: usize = 1_000_000;
const MOST_ARROWS: usize = 4_000_000;

/// Numbers from here on are not exact in every reader of JSON.
const TOO_HIGH: u64 = 1 << 53;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kanvoy_board: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    board: Option<Board>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<Task>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<TaskId>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// Counts the lines since the last board.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    tasks: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    gone: u64,
    events: u64,
    head_seq: Seq,
    next_number: TaskNumber,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What an event's text says of itself that the store keeps beside it, or that must be sound in every event.
#[derive(Deserialize)]
struct Envelope<'a> {
    seq: Seq,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "timestamp")]
    _timestamp: Timestamp,
    board_id: BoardId,
    #[serde(default)]
    task_id: Option<TaskId>,
    #[serde(rename = "actor")]
    _actor: Actor,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The data of a `stream.gap`.
#[derive(Deserialize)]
struct Gap {
    from: Seq,
    to: Seq,
    reason: String,
}

/// The data of a `task.purged`, whose event is not about the task any more.
#[derive(Deserialize)]
struct Purged {
    id: TaskId,
}

#[derive(Deserialize)]
struct With<T> {
    data: T,
}

fn lies_in(board: &Board, task: &Task) -> bool {
    board.column(task.column_id).is_some_and(|column| column.holds(task.state))
}

fn wrong_at(line: u64, detail: &str) -> EngineError {
    Invalid::new("file", format!("line {line}: {detail}")).into()
}
