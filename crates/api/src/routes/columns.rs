//! Columns: part of a board, whose version they share.

use std::sync::Arc;

use axum::extract;
use axum::http::StatusCode;
use axum::response::Response;
use kanvoy_domain::board::ColumnEdit;
use kanvoy_domain::{Board, ColumnId, State};
use kanvoy_engine::{By, Written};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::auth::Principal;
use crate::body::{Json, Post, clearable, given};
use crate::idempotency::{Answered, Kept, once};
use crate::params::Id;
use crate::problem::Problem;
use crate::shapes::{BoardView, ColumnWritten, StateName, Write};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(edit, remove))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Waiting for release", "states": ["COMPLETED"], "position": 4}))]
struct CreateColumn {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(value_type = Vec<StateName>, min_items = 1)]
    states: Vec<State>,
    #[schema(minimum = 1)]
    wip_limit: Option<u32>,
    /// Its place among the columns, from 0; the end when left out.
    position: Option<u32>,
}

/// What changes; what is left out stays, and null clears.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"wip_limit": 3}))]
struct EditColumn {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<StateName>>, nullable = false, min_items = 1)]
    states: Option<Vec<State>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    wip_limit: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    position: Option<u32>,
    /// The board's version that the change was made of; a stale one is refused.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 0)]
    version: Option<u64>,
}

fn place(position: Option<u32>) -> Option<usize> {
    position.map(|at| usize::try_from(at).unwrap_or(usize::MAX))
}

/// Adds a column.
#[utoipa::path(
    post,
    path = "/boards/{id}/columns",
    tag = "columns",
    params(("id" = String, Path, description = "The board's id, or its key.")),
    request_body = CreateColumn,
    responses((status = 201, body = ColumnWritten)),
)]
async fn create(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Post { body, claim }: Post<CreateColumn>,
) -> Result<Response, Problem> {
    let new = ColumnEdit {
        name: Some(body.name),
        states: Some(body.states),
        wip_limit: Some(body.wip_limit),
        position: place(body.position),
    };
    let (maker, shared) = (who.clone(), Arc::clone(&api));
    once(&api, &who, claim, Kept::InStore, move |by| made(shared, maker, by, id, new)).await
}

/// As with a task: the board is looked for under the claim.
async fn made(api: Arc<Api>, who: Principal, by: By, id: String, new: ColumnEdit) -> Result<Answered, Problem> {
    let board = api.board_id(&who, &id).await?;
    written(StatusCode::CREATED, &api.engine.add_column(&by, board, new).await?)
}

/// Changes a column. Cards whose state it no longer holds go to that state's home.
#[utoipa::path(
    patch,
    path = "/columns/{id}",
    tag = "columns",
    params(("id" = uuid::Uuid, Path)),
    request_body = EditColumn,
    responses(
        (status = 200, body = ColumnWritten),
        (status = 409, body = Problem, description = "`last_column_of_state`, `stale_version`."),
    ),
)]
async fn edit(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Json(body): Json<EditColumn>,
) -> Result<Answered, Problem> {
    let column = column(&api, &who, &id).await?;
    let edit =
        ColumnEdit { name: body.name, states: body.states, wip_limit: body.wip_limit, position: place(body.position) };
    let by = By::person(&who.person);
    let changed = api.engine.update_column(&by, column, edit, body.version).await?;
    written(StatusCode::OK, &changed)
}

/// Removes a column; its cards go to the homes of their states. Answers the board.
#[utoipa::path(
    delete,
    path = "/columns/{id}",
    tag = "columns",
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = BoardView),
        (status = 409, body = Problem, description = "`last_column_of_state`."),
    ),
)]
async fn remove(
    extract::State(api): extract::State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
) -> Result<Answered, Problem> {
    let column = column(&api, &who, &id).await?;
    let by = By::person(&who.person);
    let changed = api.engine.remove_column(&by, column).await?;
    Answered::json(StatusCode::OK, &BoardView::new(&changed.object, changed.seq, Write::made(changed.seq)))
}

async fn column(api: &Api, who: &Principal, id: &str) -> Result<ColumnId, Problem> {
    let missing = || Problem::not_found("column", id);
    let column: ColumnId = id.parse().map_err(|_| missing())?;
    let board = api.store.board_of_column(column).await?.ok_or_else(missing)?;
    if api.may_see(who, board.board.id) { Ok(column) } else { Err(missing()) }
}

fn written(status: StatusCode, made: &Written<(Board, ColumnId)>) -> Result<Answered, Problem> {
    let (board, column) = &made.object;
    let missing = || Problem::internal("the column is not on the board that was written");
    Answered::json(status, &ColumnWritten::new(board, *column, made.seq).ok_or_else(missing)?)
}
