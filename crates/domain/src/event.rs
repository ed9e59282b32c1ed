//! What happened, as it is kept for ever: the envelope, the kinds, and how the text of an event is put together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::actor::Actor;
use crate::ids::{BoardId, RunId, TaskId};
use crate::task::{Task, TaskNumber};
use crate::time::Timestamp;

/// Counts the events of one log, from 1 and without holes.
pub type Seq = u64;

/// Which log an event is in: every board has one of its own; what belongs to no board is in the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    System,
    Board(BoardId),
}

impl Log {
    pub const fn board(self) -> Option<BoardId> {
        match self {
            Self::System => None,
            Self::Board(board) => Some(board),
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Board(board) => board.fmt(f),
        }
    }
}

macro_rules! kinds {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// Every kind of event there is, spelled as the API spells it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind { $($name),+ }

        impl EventKind {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

kinds! {
    BoardCreated = "board.created",
    BoardUpdated = "board.updated",
    BoardDeleted = "board.deleted",
    BoardImported = "board.imported",
    BoardPruned = "board.pruned",
    BoardMemberAdded = "board.member_added",
    BoardMemberRemoved = "board.member_removed",
    TaskCreated = "task.created",
    TaskUpdated = "task.updated",
    TaskStateChanged = "task.state_changed",
    TaskDeleted = "task.deleted",
    TaskPurged = "task.purged",
    TaskWaiting = "task.waiting",
    UserCreated = "user.created",
    UserUpdated = "user.updated",
    UserPasswordSet = "user.password_set",
    UserLoggedIn = "user.logged_in",
    UserSessionEnded = "user.session_ended",
    UserTokenCreated = "user.token_created",
    DaemonStarted = "daemon.started",
    DaemonRepaired = "daemon.repaired",
    StreamGap = "stream.gap",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of event")]
pub struct NotAKind;

impl FromStr for EventKind {
    type Err = NotAKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(NotAKind)
    }
}

/// An event before it is kept: everything but its `seq`.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub log: Log,
    pub kind: EventKind,
    pub at: Timestamp,
    pub task: Option<TaskId>,
    pub run: Option<RunId>,
    /// The instance that the event came from.
    pub agent: Option<String>,
    pub actor: Actor,
    /// The `seq`, in the same log, of what led to this.
    pub cause: Option<Seq>,
    pub data: EventData,
}

/// What the event says.
#[derive(Clone, Debug)]
pub enum EventData {
    /// JSON, ready: an agent's own line is spliced in as it is and never reshaped.
    Json(String),
    /// A task that is made in this very commit: its number is known only to the store.
    Created(Box<Task>),
}

impl NewEvent {
    pub fn new(log: Log, kind: EventKind, at: Timestamp, actor: Actor, data: &impl Serialize) -> Self {
        // What we serialise ourselves are plain structs with text keys: there is nothing that could fail.
        let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
        Self { log, kind, at, task: None, run: None, agent: None, actor, cause: None, data: EventData::Json(data) }
    }

    pub fn created(task: &Task, at: Timestamp, actor: Actor) -> Self {
        Self {
            log: Log::Board(task.board_id),
            kind: EventKind::TaskCreated,
            at,
            task: Some(task.id),
            run: None,
            agent: None,
            actor,
            cause: None,
            data: EventData::Created(Box::new(task.clone())),
        }
    }

    pub fn about(mut self, task: TaskId) -> Self {
        self.task = Some(task);
        self
    }

    /// The text of the event without its `seq`: what is kept in the row. [`with_seq`] puts the `seq` before it.
    pub fn body(&self, number_of: impl Fn(TaskId) -> Option<TaskNumber>) -> String {
        let mut body = String::with_capacity(256);
        body.push_str(",\"type\":\"");
        body.push_str(self.kind.as_str());
        body.push_str("\",\"timestamp\":\"");
        body.push_str(&self.at.to_string());
        body.push('"');
        push_text(&mut body, "board_id", self.log.board());
        push_text(&mut body, "task_id", self.task);
        push_text(&mut body, "run_id", self.run);
        push_json(&mut body, "agent_id", self.agent.as_ref());
        push_json(&mut body, "actor", Some(&self.actor));
        if let Some(cause) = self.cause {
            push_json(&mut body, "cause", Some(&cause));
        }
        body.push_str(",\"data\":");
        match &self.data {
            EventData::Json(json) => body.push_str(json),
            EventData::Created(task) => {
                let mut task = task.as_ref().clone();
                task.number = number_of(task.id).unwrap_or(task.number);
                // Not by way of a `Value`: this is on the way of every task that is made.
                body.push_str("{\"task\":");
                body.push_str(&serde_json::to_string(&task).unwrap_or_else(|_| "null".to_owned()));
                body.push('}');
            }
        }
        body.push('}');
        body
    }
}

/// The whole text of an event: one JSON object.
pub fn with_seq(seq: Seq, body: &str) -> String {
    let mut text = String::with_capacity(body.len() + 28);
    text.push_str("{\"seq\":");
    text.push_str(&seq.to_string());
    text.push_str(body);
    text
}

/// What stands where events have been removed: everything from `from` to `to`, both included. It takes the place, and the
/// `seq`, of the last of them, so that a reader's cursor moves on.
pub fn gap(log: Log, from: Seq, to: Seq, reason: &str, at: Timestamp) -> String {
    with_seq(to, &gap_body(log, from, to, reason, at))
}

/// The body of a tombstone row, or of a [`gap`] made up for a reader.
pub fn gap_body(log: Log, from: Seq, to: Seq, reason: &str, at: Timestamp) -> String {
    let data = json!({ "from": from, "to": to, "reason": reason });
    NewEvent::new(log, EventKind::StreamGap, at, Actor::engine(), &data).body(|_| None)
}

/// Ids and the like, which need no escaping.
fn push_text(body: &mut String, name: &str, value: Option<impl fmt::Display>) {
    use fmt::Write;
    if let Some(value) = value {
        // Writing to a String cannot fail.
        let _ = write!(body, ",\"{name}\":\"{value}\"");
    }
}

fn push_json(body: &mut String, name: &str, value: Option<&impl Serialize>) {
    if let Some(json) = value.and_then(|value| serde_json::to_string(value).ok()) {
        body.push_str(",\"");
        body.push_str(name);
        body.push_str("\":");
        body.push_str(&json);
    }
}

/// The data of `task.state_changed`, which invariants read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChanged {
    pub from: crate::State,
    pub to: crate::State,
    pub reason: String,
    pub column_id: crate::ColumnId,
    pub rank: crate::Rank,
    pub version: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_event_is_one_object_with_its_seq_first() {
        let board = BoardId::from_uuid(Uuid::from_u128(1));
        let at = Timestamp::from_millis(1_795_158_000_123);
        let event =
            NewEvent::new(Log::Board(board), EventKind::TaskUpdated, at, Actor::person("a\"b"), &json!({"x": 1}))
                .about(TaskId::from_uuid(Uuid::from_u128(2)));
        let text = with_seq(118, &event.body(|_| None));
        assert!(text.starts_with("{\"seq\":118,\"type\":\"task.updated\","), "{text}");
        let value: Value = serde_json::from_str(&text).expect("is JSON");
        assert_eq!(value["timestamp"], "2026-11-20T07:00:00.123Z");
        assert_eq!(value["board_id"], board.to_string());
        assert_eq!(value["actor"], json!({"kind": "person", "id": "a\"b"}));
        assert_eq!(value["data"], json!({"x": 1}));
        assert!(value.get("cause").is_none() && value.get("run_id").is_none());
    }

    #[test]
    fn a_gap_names_its_bounds_and_takes_the_last_place() {
        let text = gap(Log::System, 3, 9, "retention", Timestamp::from_millis(0));
        let value: Value = serde_json::from_str(&text).expect("is JSON");
        assert_eq!((value["seq"].as_u64(), value["data"]["from"].as_u64()), (Some(9), Some(3)));
        assert!(value.get("board_id").is_none());
    }

    #[test]
    fn kinds_read_themselves_back() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
    }
}
