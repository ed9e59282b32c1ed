//! Where streams begin: of a task, of a board, of everything. What they do then is in [`crate::live`].

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use kanvoy_domain::{BoardId, Log, Seq, TaskId};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::auth::Principal;
use crate::live::{self, EveryReader, LogReader, Named, Ready, Source, Stream, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(of_task)).routes(routes!(of_board)).routes(routes!(of_everything))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handlers read")]
struct StreamFilter {
    /// Only these types, or all but these with a leading `!`: `task.*`, `!task.updated`.
    types: Option<Vec<String>>,
    /// Of a WebSocket: a ticket from `POST /auth/ticket`, where no header can be set.
    ticket: Option<String>,
}

/// Streams what happens to a task, from its beginning or from `after` on.
///
/// Open it as a WebSocket: one event a text frame, `stream.ready` first. With `Accept: text/event-stream` the same comes as
/// server-sent events, whose ids are the `seq`s; `Last-Event-ID` goes before `after`.
#[utoipa::path(
    get,
    path = "/orchestrator/tasks/{id}/stream",
    tag = "streams",
    params(
        ("id" = String, Path, description = "Its id, or `KAN-12`."),
        ("after" = Option<u64>, Query, minimum = 0, description = "Only what is later than this `seq`."),
        ("Last-Event-ID" = Option<String>, Header, description = "As `after`; sent by browsers that come back."),
        StreamFilter,
    ),
    responses(
        (status = 200, description = "Server-sent events.", body = String, content_type = "text/event-stream"),
        (status = 101, description = "A WebSocket: one `Event` a text frame."),
        (status = 426, body = Problem, content_type = "application/problem+json", description = "Neither was asked for."),
    ),
)]
async fn of_task(
    State(api): State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    headers: HeaderMap,
    params: Params,
    wanted: Result<Wanted, Problem>,
) -> Result<Response, Problem> {
    let task = api.task_row(&who, &id).await?.task;
    let at = live::after(&headers, params.text("after")).or(Some(("after", "0")));
    one(&api, who, task.board_id, Some(task.id), at, &params, wanted).await
}

/// Streams what happens on a board: from now on, or from `after` on. As a task's stream otherwise.
#[utoipa::path(
    get,
    path = "/boards/{id}/stream",
    tag = "streams",
    params(
        ("id" = String, Path, description = "Its id, or its key."),
        ("after" = Option<u64>, Query, minimum = 0, description = "Only what is later than this `seq`; live only without."),
        ("Last-Event-ID" = Option<String>, Header, description = "As `after`; sent by browsers that come back."),
        StreamFilter,
    ),
    responses(
        (status = 200, description = "Server-sent events.", body = String, content_type = "text/event-stream"),
        (status = 101, description = "A WebSocket: one `Event` a text frame."),
        (status = 426, body = Problem, content_type = "application/problem+json", description = "Neither was asked for."),
    ),
)]
async fn of_board(
    State(api): State<Arc<Api>>,
    who: Principal,
    Id(id): Id,
    headers: HeaderMap,
    params: Params,
    wanted: Result<Wanted, Problem>,
) -> Result<Response, Problem> {
    let board = api.board_row(&who, &id).await?.board.id;
    one(&api, who, board, None, live::after(&headers, params.text("after")), &params, wanted).await
}

async fn one(
    api: &Arc<Api>,
    who: Principal,
    board: BoardId,
    task: Option<TaskId>,
    after: Option<(&'static str, &str)>,
    params: &Params,
    wanted: Result<Wanted, Problem>,
) -> Result<Response, Problem> {
    let log = Log::Board(board);
    let kinds = live::kinds(params)?;
    let after = after.map(|(name, text)| live::seq(name, text).map(|seq| (name, seq))).transpose()?;
    // Before the head is asked for: what is written in between is heard.
    let watch = api.feed.watch(log);
    let head = api.store.head(log).await?;
    let at = match after {
        Some((name, after)) => live::not_ahead(name, after, head)?,
        None => head,
    };
    let wanted = wanted?;
    let ready = Ready { at: api.clock.now(), board: Some(board), task, head: Some(head), cursor: None };
    let source = Source::One(LogReader::new(api, watch, log, task, kinds, at));
    Ok(live::begin(api, wanted, Stream { source, who, board: Some(board), ready: ready.text() }))
}

/// Streams everything that the caller may see: every board's log and the system's.
///
/// Each frame names its log (`board_id`, or none for the system's) and its `seq` there. `after` is a cursor with a place in
/// each log, `<board>:<seq>,system:<seq>`; `stream.ready` begins with the whole cursor.
#[utoipa::path(
    get,
    path = "/stream",
    tag = "streams",
    params(
        ("after" = Option<String>, Query, description =
            "`<board id or key>:<seq>,…,system:<seq>`; logs that are not named begin at their beginning, and `0` names none. \
             Live only without.", example = "KAN:118,system:4"),
        ("Last-Event-ID" = Option<String>, Header, description = "As `after`; sent by browsers that come back."),
        StreamFilter,
    ),
    responses(
        (status = 200, description = "Server-sent events, whose ids are whole cursors.", body = String, content_type = "text/event-stream"),
        (status = 101, description = "A WebSocket: one `Event` a text frame."),
        (status = 426, body = Problem, content_type = "application/problem+json", description = "Neither was asked for."),
    ),
)]
async fn of_everything(
    State(api): State<Arc<Api>>,
    who: Principal,
    headers: HeaderMap,
    params: Params,
    wanted: Result<Wanted, Problem>,
) -> Result<Response, Problem> {
    let kinds = live::kinds(&params)?;
    let every = api.feed.watch_every_log();
    let heads = api.store.heads().await?.into_iter();
    let heads: BTreeMap<Log, Seq> =
        heads.filter(|(log, _)| log.board().map_or(who.sees_system(), |board| api.may_see(&who, board))).collect();
    let at = match live::after(&headers, params.text("after")) {
        None => heads.clone(),
        Some((name, text)) => from_cursor(&api, &who, name, text, &heads).await?,
    };
    let wanted = wanted?;
    let cursor = Some(live::cursor_text(&heads));
    let ready = Ready { at: api.clock.now(), board: None, task: None, head: None, cursor };
    let source = Source::Every(EveryReader::new(Arc::clone(&api), who.clone(), every, kinds, at, &heads));
    Ok(live::begin(&api, wanted, Stream { source, who, board: None, ready: ready.text() }))
}

/// Where each log is to begin. A log that is gone since the cursor was given out is passed over: it ended with its board.
async fn from_cursor(
    api: &Api,
    who: &Principal,
    name: &'static str,
    text: &str,
    heads: &BTreeMap<Log, Seq>,
) -> Result<BTreeMap<Log, Seq>, Problem> {
    let mut at: BTreeMap<Log, Seq> = heads.keys().map(|log| (*log, 0)).collect();
    for (named, seq) in live::parse_cursor(name, text)? {
        let log = match named {
            Named::Log(log) => log,
            Named::Key(key) => match api.board_row(who, &key).await {
                Ok(row) => Log::Board(row.board.id),
                Err(_) => return Err(Problem::parameter(name, format!("names {key:.40}, which is no board"))),
            },
        };
        if let (Some(place), Some(head)) = (at.get_mut(&log), heads.get(&log)) {
            *place = live::not_ahead(name, seq, *head)?;
        }
    }
    Ok(at)
}
