//! What events look like. They are never built from these types: this only describes what the log holds.
#![expect(dead_code, reason = "describes what the engine writes as text")]

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::shapes::StateName;

/// Something that happened. `data` depends on `type`: see the schemas whose names begin with `Data`.
#[derive(ToSchema)]
#[schema(example = json!({
    "seq": 118, "type": "task.state_changed", "timestamp": "2026-11-20T07:00:00.123Z",
    "board_id": "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111", "task_id": "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a222",
    "actor": {"kind": "person", "id": "local"},
    "data": {"from": "TODO", "to": "IN_PROGRESS", "reason": "moved",
             "column_id": "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a333", "rank": "n", "version": 2}
}))]
pub struct Event {
    /// Its place in its log, from 1 and without holes. `stream.ready`, which begins a stream and is no event, has none.
    #[schema(minimum = 1)]
    seq: u64,
    /// More may come: pass over those that you do not know.
    #[schema(example = "task.created")]
    r#type: String,
    #[schema(format = DateTime)]
    timestamp: String,
    /// The log it is in; absent in the system's.
    #[schema(nullable = false)]
    board_id: Option<Uuid>,
    #[schema(nullable = false)]
    task_id: Option<Uuid>,
    #[schema(nullable = false)]
    run_id: Option<Uuid>,
    /// The instance that it came from.
    #[schema(nullable = false)]
    agent_id: Option<String>,
    #[schema(nullable = false)]
    actor: Option<Actor>,
    /// The `seq`, in the same log, of what led to this.
    #[schema(nullable = false, minimum = 1)]
    cause: Option<u64>,
    data: Value,
}

/// Who did it.
#[derive(ToSchema)]
pub struct Actor {
    kind: ActorKind,
    #[schema(nullable = false)]
    id: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ActorKind {
    Person,
    Agent,
    Engine,
    Rule,
}

/// Of `board.created`: the board as it was made.
#[derive(ToSchema)]
pub struct DataBoardCreated {
    board: Value,
}

/// Of `board.updated` and `task.updated`: the fields that changed, with their new values.
#[derive(ToSchema)]
pub struct DataUpdated {
    changed: Value,
    version: u64,
}

/// Of `board.deleted`, in the board's log and in the system's.
#[derive(ToSchema)]
pub struct DataBoardDeleted {
    id: Uuid,
    key: String,
    name: String,
    purged: bool,
}

/// Of `board.imported`: what the file held.
#[derive(ToSchema)]
pub struct DataBoardImported {
    tasks: u64,
    events: u64,
    key: String,
}

/// Of `board.pruned`: what retention removed.
#[derive(ToSchema)]
pub struct DataBoardPruned {
    from: u64,
    to: u64,
}

/// Of `board.member_added` and `board.member_removed`.
#[derive(ToSchema)]
pub struct DataMember {
    user_id: Uuid,
    name: String,
}

/// Of `user.created`, in the system's log.
#[derive(ToSchema)]
pub struct DataUserCreated {
    user: Value,
}

/// Of `user.updated` (with the fields that changed and their new values) and `user.password_set`.
#[derive(ToSchema)]
pub struct DataUser {
    user_id: Uuid,
    name: String,
    #[schema(nullable = false)]
    changed: Option<Value>,
    #[schema(nullable = false)]
    version: Option<u64>,
}

/// Of `user.logged_in`, `user.token_created` and `user.session_ended`.
#[derive(ToSchema)]
pub struct DataUserSession {
    /// Their id, or `local`.
    user_id: String,
    session_id: Uuid,
    #[schema(example = "login")]
    kind: String,
    name: Option<String>,
    scope: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// Why it has ended.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// Of `task.created`: the task as it was made.
#[derive(ToSchema)]
pub struct DataTaskCreated {
    task: Value,
}

/// Of `task.state_changed`.
#[derive(ToSchema)]
pub struct DataTaskStateChanged {
    from: StateName,
    to: StateName,
    reason: String,
    column_id: Uuid,
    rank: String,
    version: u64,
}

/// Of `task.deleted` and `task.purged`.
#[derive(ToSchema)]
pub struct DataTaskDeleted {
    number: u64,
    purged: bool,
}

/// Of `stream.gap`: what is no longer there to be shown, both ends included.
#[derive(ToSchema)]
pub struct DataStreamGap {
    from: u64,
    to: u64,
    #[schema(example = "retention")]
    reason: String,
}

/// Of `stream.ready`: where the log, or every log, stands.
#[derive(ToSchema)]
pub struct DataStreamReady {
    #[schema(nullable = false)]
    head_seq: Option<u64>,
    #[schema(nullable = false)]
    cursor: Option<String>,
}

/// Of `daemon.started`.
#[derive(ToSchema)]
pub struct DataDaemonStarted {
    version: String,
}

pub(super) fn data_schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    fn add<T: ToSchema + PartialSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
    add::<DataBoardCreated>(schemas);
    add::<DataUpdated>(schemas);
    add::<DataBoardDeleted>(schemas);
    add::<DataBoardImported>(schemas);
    add::<DataBoardPruned>(schemas);
    add::<DataMember>(schemas);
    add::<DataUserCreated>(schemas);
    add::<DataUser>(schemas);
    add::<DataUserSession>(schemas);
    add::<DataTaskCreated>(schemas);
    add::<DataTaskStateChanged>(schemas);
    add::<DataTaskDeleted>(schemas);
    add::<DataStreamGap>(schemas);
    add::<DataStreamReady>(schemas);
    add::<DataDaemonStarted>(schemas);
}
