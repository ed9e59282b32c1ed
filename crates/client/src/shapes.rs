//! What the server says and takes, as far as a client has to understand it. What is not named here is kept in `rest`, so
//! that printing an answer as JSON shows all of it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ClientError;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Board {
    pub id: Uuid,
    pub key: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub repository_url: Option<String>,
    #[serde(default)]
    pub default_branch: Option<String>,
    #[serde(default)]
    pub columns: Vec<Column>,
    #[serde(default)]
    pub head_seq: u64,
    #[serde(default)]
    pub settings: Value,
    #[serde(default)]
    pub archived_at: Option<String>,
    #[serde(default)]
    pub version: u64,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    pub id: Uuid,
    pub name: String,
    #[serde(default)]
    pub states: Vec<String>,
    #[serde(default)]
    pub wip_limit: Option<u32>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub id: Uuid,
    pub board_id: Uuid,
    pub number: u64,
    pub title: String,
    #[serde(default)]
    pub description: String,
    pub state: String,
    pub column_id: Uuid,
    #[serde(default)]
    pub priority: String,
    #[serde(default)]
    pub agent_type: Option<String>,
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default)]
    pub blocked_by: Vec<Uuid>,
    #[serde(default)]
    pub parent_id: Option<Uuid>,
    #[serde(default)]
    pub external_ref: Option<String>,
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    #[serde(default)]
    pub failure: Option<Value>,
    #[serde(default)]
    pub created_at: String,
    #[serde(default)]
    pub updated_at: String,
    #[serde(default)]
    pub archived_at: Option<String>,
    #[serde(default)]
    pub version: u64,
    /// The last event that a write left behind; only in answers to writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Why a task does not go on by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub code: String,
    #[serde(default)]
    pub detail: String,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// An event: what a client sorts by, and the whole text as the server sent it.
#[derive(Clone, Debug)]
pub struct Event {
    pub seq: u64,
    pub kind: String,
    pub timestamp: String,
    pub board_id: Option<Uuid>,
    pub task_id: Option<Uuid>,
    /// Kind and id.
    pub actor: Option<(String, Option<String>)>,
    pub cause: Option<u64>,
    pub data: Value,
    pub text: Box<str>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    board_id: Option<Uuid>,
    #[serde(default)]
    task_id: Option<Uuid>,
    #[serde(default)]
    actor: Option<Actor>,
    #[serde(default)]
    cause: Option<u64>,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct Actor {
    kind: String,
    #[serde(default)]
    id: Option<String>,
}

impl Event {
    /// `seq` is 0 for a frame that is no event, such as `stream.ready`.
    pub fn read(text: &str) -> Result<Self, ClientError> {
        let envelope: Envelope = serde_json::from_str(text)
            .map_err(|error| ClientError::Protocol(format!("an event that cannot be read: {error}")))?;
        Ok(Self {
            seq: envelope.seq,
            kind: envelope.kind,
            timestamp: envelope.timestamp,
            board_id: envelope.board_id,
            task_id: envelope.task_id,
            actor: envelope.actor.map(|actor| (actor.kind, actor.id)),
            cause: envelope.cause,
            data: envelope.data,
            text: text.into(),
        })
    }
}

#[derive(Clone, Debug)]
pub struct EventPage {
    pub items: Vec<Event>,
    pub next_cursor: Option<String>,
}

impl TryFrom<Page<Box<RawValue>>> for EventPage {
    type Error = ClientError;

    fn try_from(page: Page<Box<RawValue>>) -> Result<Self, ClientError> {
        let items = page.items.iter().map(|raw| Event::read(raw.get())).collect::<Result<_, _>>()?;
        Ok(Self { items, next_cursor: page.next_cursor })
    }
}

/// A one-time link for a browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    pub url: String,
    #[serde(default)]
    pub expires_at: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Who the server takes us for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Me {
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct NewBoard {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
}

/// Absent leaves a member as it is; `Some(None)` clears it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BoardEdit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_url: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// A column, new or changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ColumnEdit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wip_limit: Option<Option<u32>>,
    /// Its place among the columns, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct NewTask {
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<String>,
}

/// Absent leaves a member as it is; `Some(None)` clears it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TaskEdit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_url: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Vec<Uuid>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Option<Uuid>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Where a card goes: to a column, beside another card, or both.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Move {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Which tasks a list shows. What is empty does not filter.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    pub states: Vec<String>,
    pub labels: Vec<String>,
    pub priorities: Vec<String>,
    pub words: Option<String>,
    pub column_id: Option<Uuid>,
    pub agent_type: Option<String>,
    pub parent_id: Option<Uuid>,
    pub external_ref: Option<String>,
    /// `false`, `true` or `all`.
    pub archived: Option<&'static str>,
    pub order: Option<&'static str>,
}

impl TaskFilter {
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        let mut many = |name, values: &[String]| {
            if !values.is_empty() {
                query.push((name, values.join(",")));
            }
        };
        many("state", &self.states);
        many("priority", &self.priorities);
        // A label may hold a comma, so each goes by itself.
        query.extend(self.labels.iter().map(|label| ("label", label.clone())));
        let one = [
            ("q", self.words.clone()),
            ("column_id", self.column_id.map(|id| id.to_string())),
            ("agent_type", self.agent_type.clone()),
            ("parent_id", self.parent_id.map(|id| id.to_string())),
            ("external_ref", self.external_ref.clone()),
            ("archived", self.archived.map(str::to_owned)),
            ("order", self.order.map(str::to_owned)),
        ];
        query.extend(one.into_iter().filter_map(|(name, value)| Some((name, value?))));
        query
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_newer_server_adds_is_kept() {
        let said = json!({"id": Uuid::nil(), "key": "KAN", "name": "Kanvoy", "novel": [1, 2], "seq": 3});
        let board: Board = serde_json::from_value(said).expect("is a board");
        let again = serde_json::to_value(&board).expect("is JSON");
        assert_eq!((&again["novel"], &again["seq"]), (&json!([1, 2]), &json!(3)));
    }

    #[test]
    fn an_edit_says_only_what_changes_and_null_clears() {
        let edit = TaskEdit { title: Some("b".into()), parent_id: Some(None), ..TaskEdit::default() };
        assert_eq!(serde_json::to_value(&edit).expect("is JSON"), json!({"title": "b", "parent_id": null}));
    }

    #[test]
    fn an_event_keeps_its_text() {
        let text = r#"{"seq":7,"type":"acp.message","timestamp":"t","data":{"message":{"z":1,"a":1.0}},"new":1}"#;
        let event = Event::read(text).expect("is an event");
        assert_eq!((event.seq, event.kind.as_str(), &*event.text), (7, "acp.message", text));
    }
}
