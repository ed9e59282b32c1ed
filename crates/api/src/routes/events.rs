//! The logs, page by page. For what comes next there are streams.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use kanvoy_domain::{Log, Seq, TaskId};
use kanvoy_store::{EventQuery, Events};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::auth::Principal;
use crate::idempotency::Answered;
use crate::live;
use crate::openapi::Event;
use crate::params::{Id, Params};
use crate::problem::Problem;
use crate::shapes::List;

/// An answer holds no more than this, whatever its events weigh; its cursor says where to go on.
const MOST_BYTES: usize = 4 << 20;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(of_task)).routes(routes!(of_board)).routes(routes!(of_system))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `page` reads")]
struct EventFilter {
    /// Only what is later than this `seq`; the `next_cursor` of the page before.
    #[param(minimum = 0)]
    after: Option<u64>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Only these types, or all but these with a leading `!`: `task.*`, `!task.updated`.
    types: Option<Vec<String>>,
}

/// Lists what happened to a task.
#[utoipa::path(
    get,
    path = "/tasks/{id}/events",
    tag = "events",
    params(("id" = String, Path, description = "Its id, or `KAN-12`; by id also when it was deleted."), EventFilter),
    responses((status = 200, body = List<Event>)),
)]
async fn of_task(State(api): State<Arc<Api>>, who: Principal, Id(id): Id, params: Params) -> Result<Answered, Problem> {
    let task = api.task_kept(&who, &id).await?;
    page(&api, Log::Board(task.board_id), Some(task.id), &params).await
}

/// Lists what happened on a board.
#[utoipa::path(
    get,
    path = "/boards/{id}/events",
    tag = "events",
    params(("id" = String, Path, description = "Its id, or its key."), EventFilter),
    responses((status = 200, body = List<Event>)),
)]
async fn of_board(
    State(api): State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    params: Params,
) -> Result<Answered, Problem> {
    let row = api.board_row(&who, &id).await?;
    page(&api, Log::Board(row.board.id), None, &params).await
}

/// Lists what happened beside all boards.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(EventFilter),
    responses((status = 200, body = List<Event>)),
)]
async fn of_system(State(api): State<Arc<Api>>, _: Principal, params: Params) -> Result<Answered, Problem> {
    page(&api, Log::System, None, &params).await
}

async fn page(api: &Api, log: Log, task: Option<TaskId>, params: &Params) -> Result<Answered, Problem> {
    let after: Seq = match (params.text("cursor"), params.text("after")) {
        (Some(cursor), _) => live::seq("cursor", cursor)?,
        (None, Some(after)) => live::seq("after", after)?,
        (None, None) => 0,
    };
    let limit = params.limit()?;
    let kinds = live::kinds(params)?;
    let query = EventQuery { log, after, task, kinds, limit, max_bytes: MOST_BYTES };
    let Events { events, more } = api.store.events(&query).await?;
    let bytes: usize = events.iter().map(|event| event.text.len()).sum();
    let next = events.last().filter(|_| more).map(|last| last.seq);

    // Put together by hand: the events are JSON already, and are not to be reshaped.
    let mut body = Vec::with_capacity(bytes + events.len() + 64);
    body.extend_from_slice(b"{\"items\":[");
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&event.text);
    }
    body.extend_from_slice(b"],\"next_cursor\":");
    match next {
        Some(seq) => body.extend_from_slice(format!("\"{seq}\"}}").as_bytes()),
        None => body.extend_from_slice(b"null}"),
    }
    Ok(Answered { status: StatusCode::OK, body: Bytes::from(body) })
}
