//! `/rpc`: the same verbs for programs that speak JSON-RPC 2.0, over HTTP and over a WebSocket.
//!
//! What is asked is carried out by the handlers of [`crate::routes`], so that a call and its route are validated, refused
//! and answered alike. `jsonrpsee` keeps the table of methods ([`methods`]), the subscriptions and the words of the envelope
//! ([`envelope`]); the socket is ours ([`socket`]), so there is one set of guards and one way with slow readers.
//!
//! Its `RpcModule::raw_json_request` is not used: that takes every caller for the same connection and counts no
//! subscriptions, so that one socket could end another's. The callbacks are called as it calls them, with the connection
//! they belong to.

mod envelope;
mod errors;
mod fields;
mod methods;
mod socket;
mod subscriptions;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::auth::Principal;
use crate::live::Wanted;
use crate::problem::{Code, Problem};
use crate::{body, idempotency};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(call, open))
}

/// Who asks, and over which socket, if it is one.
#[derive(Clone)]
struct Caller {
    api: Arc<Api>,
    who: Principal,
    line: Option<Arc<socket::Line>>,
}

/// A call, or several that are carried out one after the other.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(example = json!({"jsonrpc": "2.0", "id": 1, "method": "task.create", "params": {"board": "KAN", "title": "Teach it about tabs"}}))]
#[expect(dead_code, reason = "describes what `envelope` reads")]
enum RpcBody {
    One(RpcCall),
    Batch(Vec<RpcCall>),
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `envelope` reads")]
struct RpcCall {
    #[schema(pattern = "^2\\.0$")]
    jsonrpc: String,
    /// A number from 0 on or a text; comes back with the answer. Without it nothing is answered.
    #[schema(value_type = Option<RpcId>)]
    id: Value,
    #[schema(example = "task.get")]
    method: String,
    /// By name: an object.
    #[schema(value_type = Option<Object>, nullable = false)]
    params: Value,
}

#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what `envelope` reads")]
enum RpcId {
    Number(u64),
    Text(String),
}

#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what `envelope` writes")]
enum RpcAnswers {
    One(RpcAnswer),
    Batch(Vec<RpcAnswer>),
}

/// Either `result` or `error`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `envelope` writes")]
struct RpcAnswer {
    #[schema(pattern = "^2\\.0$")]
    jsonrpc: String,
    /// Null where the call had none that could be read.
    #[schema(value_type = Option<RpcId>, required = true)]
    id: Value,
    /// What the method's route answers.
    #[schema(value_type = Option<Object>, nullable = false)]
    result: Value,
    #[schema(nullable = false)]
    error: Option<RpcError>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `errors` writes")]
struct RpcError {
    /// `-32700` to `-32600` as JSON-RPC has them (`-32602` for what is a 400 or 422 elsewhere, `-32603` for a 500), `-32006`
    /// for one subscription too many, `-32010` and `-32011` for too large a batch; else the HTTP status, such as `404`.
    #[schema(example = 404)]
    code: i32,
    message: String,
    data: Problem,
}

/// Carries out JSON-RPC 2.0 calls: those of `docs/rpc.md`.
///
/// What a call is refused with is in its answer, with the problem document as `data`; the status is 200 all the same. With an
/// `Idempotency-Key` each call of the body has a key of its own, made of this one and its place; `idempotency_key` among a
/// call's params goes before it.
#[utoipa::path(
    post,
    path = "/rpc",
    tag = "rpc",
    request_body = RpcBody,
    responses(
        (status = 200, body = RpcAnswers, description = "An answer for each call that has an `id`."),
        (status = 204, description = "No call had an `id`."),
    ),
)]
async fn call(State(api): State<Arc<Api>>, who: Principal, request: Request) -> Result<Response, Problem> {
    let (headers, bytes) = body::read(request, &api).await?;
    body::must_be_json(&headers)?;
    let key = idempotency::key(&headers)?;
    let caller = Caller { api, who, line: None };
    let Some(answer) = Box::pin(envelope::answer(&caller, &bytes, key)).await else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let mut response = (StatusCode::OK, answer).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Opens a WebSocket for JSON-RPC 2.0 calls, one message a text frame, and for subscriptions to events.
#[utoipa::path(
    get,
    path = "/rpc",
    tag = "rpc",
    params(("ticket" = Option<String>, Query, description = "A ticket from `POST /auth/ticket`, where no header can be set.")),
    responses(
        (status = 101, description = "A WebSocket: one call, batch, answer or notification a text frame."),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "Not a handshake."),
        (status = 426, body = Problem, content_type = "application/problem+json", description = "No WebSocket was asked for."),
    ),
)]
async fn open(
    State(api): State<Arc<Api>>,
    who: Principal,
    wanted: Result<Wanted, Problem>,
) -> Result<Response, Problem> {
    let elsewhere = || Problem::new(Code::UpgradeRequired, "open it as a WebSocket, or POST calls to it");
    match wanted {
        Ok(Wanted::Socket(upgrade)) => {
            let shared = Arc::clone(&api);
            Ok(upgrade.held(&shared, socket::sized, |socket| socket::run(api, who, socket)))
        }
        Ok(Wanted::EventSource) => Err(elsewhere()),
        Err(problem) if problem.is(Code::UpgradeRequired) => Err(elsewhere()),
        Err(problem) => Err(problem),
    }
}
