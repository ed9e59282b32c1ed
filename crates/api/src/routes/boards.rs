//! Boards.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kanvoy_domain::NewBoard;
use kanvoy_domain::board::{BoardEdit, Settings};
use kanvoy_engine::{By, Engine, Removal};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::auth::Principal;
use crate::body::{Json, Post, clearable, given, given_object};
use crate::idempotency::{Answered, Kept, once};
use crate::params::{Id, Params, cursor};
use crate::problem::Problem;
use crate::shapes::{BoardView, List, ReviewName, Write};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, edit, remove))
}

/// What a new board is told. Without a key it gets one made from its name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Kanvoy", "repository_url": "https://github.com/user/repo"}))]
struct CreateBoard {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(max_length = 100_000)]
    description: Option<String>,
    #[schema(max_length = 2_000)]
    repository_url: Option<String>,
    #[schema(max_length = 200)]
    default_branch: Option<String>,
    /// 2 to 10 capital letters or digits, a letter first. Never used twice.
    #[schema(pattern = "^[A-Z][A-Z0-9]{1,9}$")]
    key: Option<String>,
}

/// What changes; what is left out stays, and null clears.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Kanvoy 2", "settings": {"review": "person"}, "version": 3}))]
struct EditBoard {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, max_length = 100_000)]
    description: Option<String>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, max_length = 2_000)]
    repository_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, max_length = 200)]
    default_branch: Option<Option<String>>,
    #[serde(default, deserialize_with = "given_object")]
    #[schema(nullable = false)]
    settings: Option<EditSettings>,
    /// True archives, false takes back.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    archived: Option<bool>,
    /// The version that the change was made of; a stale one is refused.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 0)]
    version: Option<u64>,
}

/// What changes of the settings; what is left out stays, and null clears.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EditSettings {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<ReviewName>, nullable = false)]
    review: Option<kanvoy_domain::board::Review>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    verify: Option<bool>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, max_length = 64)]
    planner: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, max_length = 64)]
    default_agent_type: Option<Option<String>>,
    #[serde(default, deserialize_with = "given_object")]
    #[schema(nullable = false)]
    retention: Option<EditRetention>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EditRetention {
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u64>, minimum = 1)]
    max_events: Option<Option<u64>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    max_age_days: Option<Option<u32>>,
}

impl EditSettings {
    fn of(self, now: &Settings) -> Result<Settings, Problem> {
        let mut settings = now.clone();
        let named = |field: &str, name: Option<String>| {
            let parsed = name.map(|name| name.parse()).transpose();
            parsed.map_err(|error: kanvoy_domain::Invalid| Problem::body(format!("/settings/{field}"), error.detail))
        };
        if let Some(review) = self.review {
            settings.review = review;
        }
        if let Some(verify) = self.verify {
            settings.verify = verify;
        }
        if let Some(planner) = self.planner {
            settings.planner = named("planner", planner)?;
        }
        if let Some(agent_type) = self.default_agent_type {
            settings.default_agent_type = named("default_agent_type", agent_type)?;
        }
        if let Some(retention) = self.retention {
            if let Some(max_events) = retention.max_events {
                settings.retention.max_events = max_events;
            }
            if let Some(max_age_days) = retention.max_age_days {
                settings.retention.max_age_days = max_age_days;
            }
        }
        Ok(settings)
    }
}

/// Lists boards in the order of their making.
#[utoipa::path(
    get,
    path = "/boards",
    tag = "boards",
    params(
        ("archived" = Option<bool>, Query, description = "Archived boards too."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before."),
    ),
    responses((status = 200, body = List<BoardView>)),
)]
async fn list(State(api): State<Arc<Api>>, who: Principal, params: Params) -> Result<Answered, Problem> {
    let limit = params.limit()?;
    let archived = params.flag("archived")?;
    let after = params.cursor()?;
    let (seen, next) = api.boards_seen(&who, after, limit, archived).await?;
    let items = seen.iter().map(BoardView::of).collect();
    Answered::json(StatusCode::OK, &List { items, next_cursor: next.as_deref().map(cursor) })
}

/// Makes a board with the usual columns.
#[utoipa::path(
    post,
    path = "/boards",
    tag = "boards",
    request_body = CreateBoard,
    responses((status = 201, body = BoardView)),
)]
async fn create(
    State(api): State<Arc<Api>>,
    who: Principal,
    Post { body, claim }: Post<CreateBoard>,
) -> Result<Response, Problem> {
    let engine = api.engine.clone();
    let new = NewBoard {
        name: body.name,
        description: body.description.unwrap_or_default(),
        key: body.key,
        repository_url: body.repository_url,
        default_branch: body.default_branch,
    };
    let (shared, maker) = (Arc::clone(&api), who.clone());
    let make = move |by| async move {
        let answered = made(engine, by, new).await?;
        shared.joined(&maker).await?;
        Ok(answered)
    };
    once(&api, &who, claim, Kept::InStore, make).await
}

async fn made(engine: Engine, by: By, new: NewBoard) -> Result<Answered, Problem> {
    let made = engine.create_board(&by, new).await?;
    Answered::json(StatusCode::CREATED, &BoardView::new(&made.object, made.seq, Write::made(made.seq)))
}

/// Shows a board.
#[utoipa::path(
    get,
    path = "/boards/{id}",
    tag = "boards",
    params(("id" = String, Path, description = "Its id, or its key.")),
    responses((status = 200, body = BoardView)),
)]
async fn show(State(api): State<Arc<Api>>, who: Principal, Id(id): Id) -> Result<Answered, Problem> {
    let row = api.board_row(&who, &id).await?;
    Answered::json(StatusCode::OK, &BoardView::of(&row))
}

/// Changes a board.
#[utoipa::path(
    patch,
    path = "/boards/{id}",
    tag = "boards",
    params(("id" = String, Path, description = "Its id, or its key.")),
    request_body = EditBoard,
    responses((status = 200, body = BoardView), (status = 409, body = Problem, description = "`stale_version`.")),
)]
async fn edit(
    State(api): State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    Json(body): Json<EditBoard>,
) -> Result<Answered, Problem> {
    let row = api.board_row(&who, &id).await?;
    let mut version = body.version;
    let settings = match body.settings {
        None => None,
        Some(settings) => {
            // Only some of the settings are given: the others are taken from this very version, or the edit is refused.
            version = version.or(Some(row.board.version));
            Some(settings.of(&row.board.settings)?)
        }
    };
    let edit = BoardEdit {
        name: body.name,
        description: body.description,
        repository_url: body.repository_url,
        default_branch: body.default_branch,
        settings,
        archived: body.archived,
    };
    let by = By::person(&who.person);
    let changed = api.engine.update_board(&by, row.board.id, edit, version).await?;
    Answered::json(StatusCode::OK, &BoardView::new(&changed.object, changed.seq, Write::made(changed.seq)))
}

/// Puts a board out of sight, or removes it with its log for good.
#[utoipa::path(
    delete,
    path = "/boards/{id}",
    tag = "boards",
    params(
        ("id" = String, Path, description = "Its id, or its key."),
        ("purge" = Option<bool>, Query, description = "For good, with its tasks and its log; also one that is deleted already."),
    ),
    responses((status = 200, body = BoardView), (status = 409, body = Problem, description = "`has_dependents`.")),
)]
async fn remove(State(api): State<Arc<Api>>, who: Principal, Id(id): Id, params: Params) -> Result<Answered, Problem> {
    let purge = params.flag("purge")?;
    let board = if purge { api.board_kept(&who, &id).await? } else { api.board_id(&who, &id).await? };
    let how = if purge { Removal::Purge } else { Removal::Hide };
    let by = By::person(&who.person);
    let gone = api.engine.delete_board(&by, board, how).await?;
    Answered::json(StatusCode::OK, &BoardView::new(&gone.object, gone.seq, Write::removed(gone.seq, purge)))
}
