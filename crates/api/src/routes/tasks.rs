//! Tasks.

use std::sync::Arc;

use axum::extract;
use axum::http::StatusCode;
use axum::response::Response;
use kanvoy_domain::task::TaskEdit;
use kanvoy_domain::{BoardId, ColumnId, NewTask, Priority, State, TaskId};
use kanvoy_engine::{Beside, By, Engine, MoveTo, Removal, Written};
use kanvoy_store::TaskRow;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::search::{query, tasks_page};
use crate::app::Api;
use crate::auth::Principal;
use crate::body::{Json, Post, clearable, given};
use crate::idempotency::{Answered, Kept, once};
use crate::params::{Id, Params};
use crate::problem::Problem;
use crate::shapes::{List, PriorityName, StateName, TaskView, Write};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
        .routes(routes!(set_state))
        .routes(routes!(move_card))
}

/// What a new task is told. It begins ready (`TODO`) or parked (`BACKLOG`).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"title": "Teach the parser about tabs", "labels": ["parser"], "priority": "high"}))]
pub(crate) struct CreateTask {
    #[schema(min_length = 1, max_length = 500)]
    title: String,
    #[schema(max_length = 100_000)]
    description: Option<String>,
    #[schema(max_length = 64)]
    agent_type: Option<String>,
    #[schema(max_length = 2_000)]
    repository_url: Option<String>,
    #[schema(max_length = 200)]
    branch: Option<String>,
    #[schema(value_type = Option<PriorityName>)]
    priority: Option<Priority>,
    #[schema(value_type = Option<StateName>)]
    state: Option<State>,
    #[schema(max_items = 64)]
    labels: Option<Vec<String>>,
    /// Tasks of the same board that must be done first.
    #[schema(value_type = Option<Vec<uuid::Uuid>>, max_items = 100)]
    blocked_by: Option<Vec<TaskId>>,
    #[schema(value_type = Option<uuid::Uuid>)]
    parent_id: Option<TaskId>,
    /// Unique on its board.
    #[schema(max_length = 500)]
    external_ref: Option<String>,
}

/// What changes; what is left out stays, and null clears.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"priority": "urgent", "agent_type": null, "version": 7}))]
pub(crate) struct EditTask {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 500)]
    title: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, max_length = 100_000)]
    description: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<PriorityName>, nullable = false)]
    priority: Option<Priority>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, max_length = 64)]
    agent_type: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, max_length = 2_000)]
    repository_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, max_length = 200)]
    branch: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, max_items = 64)]
    labels: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<uuid::Uuid>>, nullable = false, max_items = 100)]
    blocked_by: Option<Vec<TaskId>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<uuid::Uuid>)]
    parent_id: Option<Option<TaskId>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, max_length = 500)]
    external_ref: Option<Option<String>>,
    /// True archives, false takes back.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    archived: Option<bool>,
    /// The version that the change was made of; a stale one is refused.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 0)]
    version: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"state": "IN_PROGRESS", "reason": "started by hand"}))]
pub(crate) struct SetState {
    #[schema(value_type = StateName)]
    state: State,
    #[schema(max_length = 500)]
    reason: Option<String>,
    #[schema(minimum = 0)]
    version: Option<u64>,
}

/// Where the card is dropped: in a column, and there before or after another card, or at the end.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"column_id": "0193452c-7a7b-7cc4-8a4e-0a4b2c3d4e5f"}))]
pub(crate) struct MoveCard {
    #[schema(value_type = Option<uuid::Uuid>)]
    column_id: Option<ColumnId>,
    #[schema(value_type = Option<uuid::Uuid>)]
    before: Option<TaskId>,
    #[schema(value_type = Option<uuid::Uuid>)]
    after: Option<TaskId>,
    #[schema(minimum = 0)]
    version: Option<u64>,
}

/// Lists the tasks of a board.
#[utoipa::path(
    get,
    path = "/boards/{id}/tasks",
    tag = "tasks",
    params(("id" = String, Path, description = "The board's id, or its key."), super::search::TaskFilter),
    responses((status = 200, body = List<TaskView>)),
)]
pub(crate) async fn list(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    params: Params,
) -> Result<Answered, Problem> {
    let mut query = query(&params)?;
    query.board = Some(api.board_row(&who, &id).await?.board.id);
    tasks_page(&api, &query).await
}

/// Makes a task.
#[utoipa::path(
    post,
    path = "/boards/{id}/tasks",
    tag = "tasks",
    params(("id" = String, Path, description = "The board's id, or its key.")),
    request_body = CreateTask,
    responses((status = 201, body = TaskView)),
)]
pub(crate) async fn create(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Post { body, claim }: Post<CreateTask>,
) -> Result<Response, Problem> {
    let board = api.board_id(&who, &id).await?;
    let new = NewTask {
        title: body.title,
        description: body.description.unwrap_or_default(),
        state: body.state,
        priority: body.priority.unwrap_or_default(),
        agent_type: body.agent_type,
        repository_url: body.repository_url,
        branch: body.branch,
        labels: body.labels.unwrap_or_default(),
        blocked_by: body.blocked_by.unwrap_or_default(),
        parent_id: body.parent_id,
        external_ref: body.external_ref,
    };
    let engine = api.engine.clone();
    once(&api, &who, claim, Kept::InStore, move |by| made(engine, by, board, new)).await
}

async fn made(engine: Engine, by: By, board: BoardId, new: NewTask) -> Result<Answered, Problem> {
    written(StatusCode::CREATED, &engine.create_task(&by, board, new).await?)
}

/// Shows a task.
#[utoipa::path(
    get,
    path = "/tasks/{id}",
    tag = "tasks",
    params(("id" = String, Path, description = "Its id, or `KAN-12`.")),
    responses((status = 200, body = TaskView)),
)]
pub(crate) async fn show(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
) -> Result<Answered, Problem> {
    let row = api.task_row(&who, &id).await?;
    Answered::json(StatusCode::OK, &TaskView::new(&row, Write::NONE))
}

/// Changes a task.
#[utoipa::path(
    patch,
    path = "/tasks/{id}",
    tag = "tasks",
    params(("id" = String, Path, description = "Its id, or `KAN-12`.")),
    request_body = EditTask,
    responses(
        (status = 200, body = TaskView),
        (status = 409, body = Problem, description = "`stale_version`, `dependency_cycle`, `external_ref_taken`, `board_archived`."),
    ),
)]
pub(crate) async fn edit(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Json(body): Json<EditTask>,
) -> Result<Answered, Problem> {
    let task = api.task_row(&who, &id).await?.task.id;
    let edit = TaskEdit {
        title: body.title,
        description: body.description,
        priority: body.priority,
        agent_type: body.agent_type,
        repository_url: body.repository_url,
        branch: body.branch,
        labels: body.labels,
        blocked_by: body.blocked_by,
        parent_id: body.parent_id,
        external_ref: body.external_ref,
        archived: body.archived,
    };
    let by = By::person(&who.person);
    written(StatusCode::OK, &api.engine.update_task(&by, task, edit, body.version).await?)
}

/// Puts a task out of sight, or removes it for good and leaves a tombstone for each of its events.
#[utoipa::path(
    delete,
    path = "/tasks/{id}",
    tag = "tasks",
    params(
        ("id" = String, Path, description = "Its id, or `KAN-12`."),
        ("purge" = Option<bool>, Query, description = "For good; also a task that was deleted before."),
    ),
    responses((status = 200, body = TaskView), (status = 409, body = Problem, description = "`has_dependents`.")),
)]
async fn remove(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    params: Params,
) -> Result<Answered, Problem> {
    let purge = params.flag("purge")?;
    let (task, how) = if purge {
        (api.task_kept(&who, &id).await?.id, Removal::Purge)
    } else {
        (api.task_row(&who, &id).await?.task.id, Removal::Hide)
    };
    let by = By::person(&who.person);
    let gone = api.engine.delete_task(&by, task, how).await?;
    let row = TaskRow { task: gone.object, blockers: Vec::new() };
    Answered::json(StatusCode::OK, &TaskView::new(&row, Write::removed(gone.seq, purge)))
}

/// Moves a task to another state, as far as its lifecycle allows; its card goes to where that state is at home.
#[utoipa::path(
    patch,
    path = "/tasks/{id}/state",
    tag = "tasks",
    params(("id" = String, Path, description = "Its id, or `KAN-12`.")),
    request_body = SetState,
    responses(
        (status = 200, body = TaskView),
        (status = 409, body = Problem, description = "`illegal_transition`, `stale_version`, `board_archived`."),
    ),
)]
pub(crate) async fn set_state(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Json(body): Json<SetState>,
) -> Result<Answered, Problem> {
    let reason = body.reason.map(|reason| kanvoy_domain::text::line("reason", &reason, 500)).transpose()?;
    let task = api.task_row(&who, &id).await?.task.id;
    let by = By::person(&who.person);
    let state = body.state;
    written(StatusCode::OK, &api.engine.set_state(&by, task, state, reason, body.version).await?)
}

/// Moves a card. To a column that holds its state it is only moved; to another it goes by that column's first legal state.
#[utoipa::path(
    post,
    path = "/tasks/{id}/move",
    tag = "tasks",
    params(("id" = String, Path, description = "Its id, or `KAN-12`.")),
    request_body = MoveCard,
    responses((status = 200, body = TaskView)),
)]
pub(crate) async fn move_card(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Post { body, claim }: Post<MoveCard>,
) -> Result<Response, Problem> {
    let beside = match (body.before, body.after) {
        (None, None) => None,
        (Some(task), None) => Some(Beside::Before(task)),
        (None, Some(task)) => Some(Beside::After(task)),
        (Some(_), Some(_)) => return Err(Problem::body("/after", "a card lies before another or after one, not both")),
    };
    if body.column_id.is_none() && beside.is_none() {
        return Err(Problem::body("/column_id", "say where to: column_id, before or after"));
    }
    let to = MoveTo { column: body.column_id, beside };
    let (mover, shared) = (who.clone(), Arc::clone(&api));
    once(&api, &who, claim, Kept::InStore, move |by| moved(shared, mover, by, id, to, body.version)).await
}

/// The task is looked for under the claim: a replay is answered although the task may be gone by now.
async fn moved(
    api: Arc<Api>,
    who: Principal,
    by: By,
    id: String,
    to: MoveTo,
    version: Option<u64>,
) -> Result<Answered, Problem> {
    let task = api.task_row(&who, &id).await?.task.id;
    written(StatusCode::OK, &api.engine.move_task(&by, task, to, version).await?)
}

fn written(status: StatusCode, written: &Written<TaskRow>) -> Result<Answered, Problem> {
    Answered::json(status, &TaskView::new(&written.object, Write::made(written.seq)))
}
