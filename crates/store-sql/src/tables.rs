//! The tables that take many rows at once, and what their rows are made of.

use std::borrow::Cow;

use kanvoy_domain::event::{EventKind, Seq};
use kanvoy_domain::session::Session;
use kanvoy_domain::{Board, Column, State, Task, TaskId, TaskNumber, Timestamp};
use kanvoy_store::{Claim, StoreError};
use serde::Serialize;
use uuid::Uuid;

use crate::damaged;
use crate::script::Kind::{Blob, Id, Int, Text};
use crate::script::{Rows, Value, int, maybe_text, text};

pub static EVENT: Rows = Rows {
    head: "INSERT INTO event (log, seq, task, kind, at, body)",
    columns: &[Int, Int, Id, Text, Int, Text],
    tail: "",
};

pub static TASK: Rows = Rows {
    head: "INSERT INTO task (board, id, number, title, state, column_id, rank, priority, agent_type, repository_url,
        branch, labels, parent_id, external_ref, attempts, failure, created_at, updated_at, archived_at, deleted_at,
        version, rev, description, search)",
    columns: &[
        Int, Id, Int, Text, Text, Id, Text, Text, Text, Text, Text, Text, Id, Text, Int, Text, Int, Int, Int, Int, Int,
        Int, Text, Text,
    ],
    tail: "",
};

pub static BLOCKER: Rows =
    Rows { head: "INSERT INTO blocker (task, blocker)", columns: &[Id, Id], tail: "ON CONFLICT DO NOTHING" };

pub static COLUMN: Rows = Rows {
    head: "INSERT INTO board_column (id, board, name, position, wip_limit)",
    columns: &[Id, Int, Text, Int, Int],
    tail: "ON CONFLICT (id) DO UPDATE SET name = excluded.name, position = excluded.position,
        wip_limit = excluded.wip_limit WHERE board_column.board = excluded.board",
};

pub static COLUMN_STATE: Rows = Rows {
    head: "INSERT INTO column_state (board, column_id, state, place)",
    columns: &[Int, Id, Text, Int],
    tail: "ON CONFLICT (board, column_id, state) DO UPDATE SET place = excluded.place",
};

pub static SESSION: Rows = Rows {
    head: "INSERT INTO session (hash, person, created_at, expires_at)",
    columns: &[Blob, Text, Int, Int],
    tail: "",
};

pub static CLAIM: Rows =
    Rows { head: "INSERT INTO claim (person, key, fingerprint, at)", columns: &[Text, Text, Blob, Int], tail: "" };

pub static ANSWER: Rows = Rows {
    head: "INSERT INTO claim (person, key, fingerprint, at, status, body)",
    columns: &[Text, Text, Blob, Int, Int, Blob],
    tail: "ON CONFLICT (person, key) DO UPDATE SET status = excluded.status, body = excluded.body
        WHERE claim.fingerprint = excluded.fingerprint",
};

/// Where the logs of a group have come to.
pub static STANDS: Rows = Rows {
    head: "UPDATE log SET head_seq = now.column2, next_number = now.column3 FROM (",
    columns: &[Int, Int, Int],
    tail: ") AS now WHERE log.id = now.column1",
};

pub fn event_row<'m>(
    log: i64,
    seq: Seq,
    task: Option<TaskId>,
    kind: EventKind,
    at: Timestamp,
    body: Cow<'m, str>,
) -> Vec<Value<'m>> {
    vec![
        Value::Int(log),
        int(seq),
        maybe_id(task.map(TaskId::uuid)),
        text(kind.as_str()),
        Value::Int(at.millis()),
        Value::Text(body),
    ]
}

/// A task as it is inserted. `parent` and `deleted` apart, since only an import brings them along.
pub fn task_row<'m>(
    log: i64,
    task: &'m Task,
    number: TaskNumber,
    parent: Option<TaskId>,
    deleted: Option<Timestamp>,
) -> Result<Vec<Value<'m>>, StoreError> {
    Ok(vec![
        Value::Int(log),
        Value::Id(*task.id.uuid().as_bytes()),
        int(number),
        text(&task.title),
        text(task.state.as_str()),
        Value::Id(*task.column_id.uuid().as_bytes()),
        text(task.rank.as_str()),
        text(task.priority.as_str()),
        maybe_text(task.agent_type.as_ref().map(|name| name.as_str())),
        maybe_text(task.repository_url.as_ref().map(|url| url.as_str())),
        maybe_text(task.branch.as_ref().map(|branch| branch.as_str())),
        Value::Text(Cow::Owned(joined_labels(&task.labels))),
        maybe_id(parent.map(TaskId::uuid)),
        maybe_text(task.external_ref.as_deref()),
        int(task.attempts.into()),
        failure(task)?,
        Value::Int(task.created_at.millis()),
        Value::Int(task.updated_at.millis()),
        maybe_time(task.archived_at),
        maybe_time(deleted),
        int(task.version),
        int(task.rev),
        text(&task.description),
        Value::Text(Cow::Owned(task.search_text())),
    ])
}

/// What a change of a task writes, in the order of its `UPDATE`.
pub fn task_change<'m>(task: &'m Task) -> Result<Vec<Value<'m>>, StoreError> {
    Ok(vec![
        text(&task.title),
        text(task.state.as_str()),
        Value::Id(*task.column_id.uuid().as_bytes()),
        text(task.rank.as_str()),
        text(task.priority.as_str()),
        maybe_text(task.agent_type.as_ref().map(|name| name.as_str())),
        maybe_text(task.repository_url.as_ref().map(|url| url.as_str())),
        maybe_text(task.branch.as_ref().map(|branch| branch.as_str())),
        Value::Text(Cow::Owned(joined_labels(&task.labels))),
        maybe_id(task.parent_id.map(TaskId::uuid)),
        maybe_text(task.external_ref.as_deref()),
        int(task.attempts.into()),
        failure(task)?,
        Value::Int(task.updated_at.millis()),
        maybe_time(task.archived_at),
        int(task.version),
        text(&task.description),
        Value::Text(Cow::Owned(task.search_text())),
    ])
}

fn failure(task: &Task) -> Result<Value<'static>, StoreError> {
    let failure = task.failure.as_ref().map(json).transpose()?;
    Ok(failure.map_or(Value::Null, |failure| Value::Text(Cow::Owned(failure))))
}

pub fn column_row(log: i64, position: usize, column: &Column) -> Vec<Value<'_>> {
    vec![
        Value::Id(*column.id.uuid().as_bytes()),
        Value::Int(log),
        text(&column.name),
        int(position as u64),
        column.wip_limit.map_or(Value::Null, |limit| int(limit.into())),
    ]
}

pub fn column_state_row(log: i64, column: &Column, place: usize, state: State) -> Vec<Value<'_>> {
    vec![Value::Int(log), Value::Id(*column.id.uuid().as_bytes()), text(state.as_str()), int(place as u64)]
}

pub fn session_row(session: &Session) -> Vec<Value<'_>> {
    vec![
        Value::Blob(&session.hash),
        text(&session.person),
        Value::Int(session.created_at.millis()),
        Value::Int(session.expires_at.millis()),
    ]
}

pub fn claim_row(claim: &Claim) -> Vec<Value<'_>> {
    vec![text(&claim.person), text(&claim.key), Value::Blob(&claim.fingerprint), Value::Int(claim.at.millis())]
}

/// What both making and changing a board writes: name, repository, branch, settings, version, change, archiving and
/// description.
pub fn board_fields<'m>(board: &'m Board) -> Result<Vec<Value<'m>>, StoreError> {
    Ok(vec![
        text(&board.name),
        maybe_text(board.repository_url.as_ref().map(|url| url.as_str())),
        maybe_text(board.default_branch.as_ref().map(|branch| branch.as_str())),
        Value::Text(Cow::Owned(json(&board.settings)?)),
        int(board.version),
        Value::Int(board.updated_at.millis()),
        maybe_time(board.archived_at),
        text(&board.description),
    ])
}

/// `\nbug\nui\n`: a label holds no line break, so one can be found between two of them.
pub fn joined_labels(labels: &[String]) -> String {
    if labels.is_empty() { String::new() } else { format!("\n{}\n", labels.join("\n")) }
}

pub fn split_labels(joined: &str) -> Vec<String> {
    joined.split('\n').filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

pub fn maybe_time(time: Option<Timestamp>) -> Value<'static> {
    time.map_or(Value::Null, |time| Value::Int(time.millis()))
}

pub fn maybe_id(id: Option<Uuid>) -> Value<'static> {
    id.map_or(Value::Null, |id| Value::Id(*id.as_bytes()))
}

pub fn uuid(bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|error| damaged("an id", error))
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| damaged("a value", error))
}
