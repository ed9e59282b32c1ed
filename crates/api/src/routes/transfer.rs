//! A board as a file, out and in: one JSON object a line, streamed both ways.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt;
use kanvoy_domain::BoardId;
use kanvoy_engine::{By, Export, Import, ImportAs, MAX_LINE};
use kanvoy_store::Claim;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{Api, header};
use crate::auth::Principal;
use crate::body;
use crate::idempotency::{self, Answered, Fingerprint, Kept};
use crate::params::{Id, Params};
use crate::problem::{Code, Problem};
use crate::shapes::{BoardView, Write};

/// The one route that takes bodies of any size.
pub const IMPORT: &str = "/api/v1/boards/import";
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// A sender that falls silent for so long has gone.
const NEXT_WITHIN: Duration = Duration::from_secs(60);

/// So long, and so often, one import looks whether another of the same board and key has come to its end.
const OTHER_WITHIN: Duration = Duration::from_secs(30);
const LOOKS_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Seconds after which a file that met another of its kind may be sent again.
const RETRY_AFTER: u32 = 2;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(export)).routes(routes!(import))
}

/// Gives the board with its tasks and its log, as a file.
#[utoipa::path(
    get,
    path = "/boards/{id}/export",
    tag = "transfer",
    params(("id" = String, Path, description = "Its id, or its key.")),
    responses((status = 200, body = String, content_type = "application/x-ndjson", description = "One JSON object a line.")),
)]
async fn export(State(api): State<Arc<Api>>, who: Principal, Id(id): Id) -> Result<Response, Problem> {
    let board = api.board_row(&who, &id).await?.board;
    let pieces = stream::unfold(Some(api.engine.export(board.id)), next_piece);
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, NDJSON);
    let name = format!("attachment; filename=\"{}.kanvoy.ndjson\"", board.key);
    headers.insert(header::CONTENT_DISPOSITION, header(&name));
    Ok(response)
}

async fn next_piece(export: Option<Export>) -> Option<(Result<Bytes, std::io::Error>, Option<Export>)> {
    let mut export = export?;
    match export.next().await {
        Ok(piece) => piece.map(|piece| (Ok(piece), Some(export))),
        Err(error) => {
            // The file ends without its last line, and the connection without its end: nobody takes it for whole.
            tracing::warn!("an export was cut off: {error}");
            Some((Err(std::io::Error::other(error)), None))
        }
    }
}

/// Takes such a file and makes the board of it, with its log and its numbers.
#[utoipa::path(
    post,
    path = "/boards/import",
    tag = "transfer",
    params(
        ("key" = Option<String>, Query, description = "What its tasks shall be numbered with here."),
        ("name" = Option<String>, Query, description = "What it shall be called here."),
    ),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 201, body = BoardView)),
)]
async fn import(
    State(api): State<Arc<Api>>,
    who: Principal,
    params: Params,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, mut body) = request.into_parts();
    let tracker = api.connections.clone();
    // Apart from the request: however its connection ends, what was read of a file that was not taken is removed again.
    let done = tracker.spawn(async move {
        match taken(&api, &who, &parts, &params, &mut body).await {
            Ok(response) => Ok(response),
            Err(problem) => {
                body::drain(&api, body);
                Err(problem)
            }
        }
    });
    done.await.unwrap_or_else(|error| Err(Problem::internal(error)))
}

async fn taken(
    api: &Arc<Api>,
    who: &Principal,
    parts: &Parts,
    params: &Params,
    body: &mut Body,
) -> Result<Response, Problem> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !["application/x-ndjson", "application/ndjson"].iter().any(|taken| kind.eq_ignore_ascii_case(taken)) {
        let detail = "send the file that an export gave, as Content-Type: application/x-ndjson";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let mut print = Fingerprint::of(&target);
    let key = idempotency::key(&parts.headers)?;
    let now = api.clock.now();
    if let Some(key) = key {
        let unknown = Claim { person: who.person.to_string(), key: key.to_owned(), fingerprint: [0; 32], at: now };
        if let Some(answer) = api.store.answer(&unknown).await? {
            rest(api, body, &mut print).await?;
            return idempotency::recalled(&print.claim(who, key, now), answer);
        }
    }
    let how = ImportAs { key: params.text("key").map(str::to_owned), name: params.text("name").map(str::to_owned) };
    let mut import = api.engine.import(&By::person(&who.person), how);
    if let Err(problem) = lines(api, body, &mut import, &mut print).await {
        import.abandon().await;
        return match (key, import.beside()) {
            (Some(key), Some(board)) => {
                rest(api, body, &mut print).await?;
                after_the_other(api, &print.claim(who, key, now), board).await
            }
            (None, Some(_)) => Err(problem.retry_after(RETRY_AFTER)),
            (_, None) => Err(problem),
        };
    }
    let claim = key.map(|key| print.claim(who, key, now));
    let row = import.finish(claim.clone()).await?.board;
    api.joined(who).await?;
    let view = BoardView::new(&row.board, row.head_seq, Write::made(row.head_seq));
    let answered = Answered::json(StatusCode::CREATED, &view)?;
    if let Some(claim) = &claim {
        idempotency::keep(api, claim, Kept::InStore, &answered).await;
    }
    Ok(answered.into_response())
}

/// Another request is importing this very board; if it has this request's key, its answer is this one's too.
async fn after_the_other(api: &Arc<Api>, claim: &Claim, board: BoardId) -> Result<Response, Problem> {
    let until = Instant::now() + OTHER_WITHIN;
    loop {
        // Asked before the store is: what ends in between has left its claim.
        let under_way = api.store.half_imported().await?.contains(&board);
        match api.store.answer(claim).await? {
            Some(answer) if answer.said.is_some() || answer.fingerprint != claim.fingerprint => {
                return idempotency::recalled(claim, answer);
            }
            // It is done; its answer is about to be kept.
            Some(_) => {}
            None if under_way => {}
            None => return Err(still_beside()),
        }
        if Instant::now() > until || api.shutdown.is_cancelled() {
            return Err(still_beside());
        }
        tokio::time::sleep(LOOKS_AGAIN_AFTER).await;
    }
}

fn still_beside() -> Problem {
    let detail = "another import of this very board was under way; send the file again when that is done";
    Problem::new(Code::Contended, detail).retry_after(RETRY_AFTER)
}

/// What is left of the file counts for what it is, not for what is in it.
async fn rest(api: &Api, body: &mut Body, print: &mut Fingerprint) -> Result<(), Problem> {
    while let Some(piece) = came(api, body).await? {
        print.take(&piece);
    }
    Ok(())
}

async fn lines(api: &Api, body: &mut Body, import: &mut Import, print: &mut Fingerprint) -> Result<(), Problem> {
    let mut begun = BytesMut::new();
    while let Some(mut data) = came(api, body).await? {
        print.take(&data);
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            let line = data.split_to(end + 1);
            if begun.is_empty() {
                import.line(&line[..end]).await?;
            } else {
                begun.extend_from_slice(&line[..end]);
                import.line(&begun).await?;
                begun.clear();
            }
        }
        begun.extend_from_slice(&data);
        if begun.len() > MAX_LINE {
            return Err(Problem::new(Code::TooLarge, format!("a line of the file is longer than {MAX_LINE} bytes")));
        }
    }
    if !begun.is_empty() {
        import.line(&begun).await?;
    }
    Ok(())
}

/// The file as it comes, piece by piece; `None` at its end. Stopping does not wait for a long file.
async fn came(api: &Api, body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = tokio::select! {
            frame = tokio::time::timeout(NEXT_WITHIN, body.frame()) => frame,
            () = api.shutdown.cancelled() => {
                let detail = "the server stops; send the file again when it is back";
                return Err(Problem::new(Code::Unavailable, detail).retry_after(RETRY_AFTER));
            }
        };
        let Ok(frame) = frame else {
            return Err(Problem::new(Code::BadRequest, "the file stopped coming"));
        };
        let Some(frame) = frame else { return Ok(None) };
        let cut_off = |_| Problem::new(Code::BadRequest, "the file was cut off on its way");
        if let Ok(data) = frame.map_err(cut_off)?.into_data() {
            return Ok(Some(data));
        }
    }
}
