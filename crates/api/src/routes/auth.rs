//! Logging in and out, and finding out who one is.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use kanvoy_domain::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{Api, header};
use crate::auth::link::LoginLink;
use crate::auth::ticket::Ticket;
use crate::auth::{Principal, Role};
use crate::body::{Nothing, Post};
use crate::idempotency::{Answered, Kept, once};
use crate::params::Id;
use crate::problem::{Code, Problem};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(new_ticket))
        .routes(routes!(new_link))
        .routes(routes!(logout))
        .routes(routes!(me))
}

pub fn login_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(login))
}

/// Somebody who is logged in.
#[derive(Serialize, ToSchema)]
struct Me<'a> {
    #[schema(example = "local")]
    id: &'a str,
    name: &'a str,
    role: Role,
    /// When this login ends by itself; null for a token.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    expires_at: Option<Timestamp>,
}

/// Gives a ticket for one stream, good for seconds.
#[utoipa::path(
    post,
    path = "/auth/ticket",
    tag = "auth",
    request_body = Option<Nothing>,
    responses((status = 201, body = Ticket)),
)]
async fn new_ticket(
    State(api): State<Arc<Api>>,
    who: Principal,
    Post { claim, .. }: Post<Nothing>,
) -> Result<Response, Problem> {
    let (shared, holder) = (Arc::clone(&api), who.clone());
    once(&api, &who, claim, Kept::InMemory, move |_| async move {
        Answered::json(StatusCode::CREATED, &shared.new_ticket(&holder)?)
    })
    .await
}

/// Gives a link that logs a browser in, once.
#[utoipa::path(
    post,
    path = "/auth/link",
    tag = "auth",
    request_body = Option<Nothing>,
    responses((status = 201, body = LoginLink)),
)]
async fn new_link(
    State(api): State<Arc<Api>>,
    who: Principal,
    Post { claim, .. }: Post<Nothing>,
) -> Result<Response, Problem> {
    let shared = Arc::clone(&api);
    once(&api, &who, claim, Kept::InMemory, move |_| async move {
        Answered::json(StatusCode::CREATED, &shared.login_link()?)
    })
    .await
}

/// Ends the browser's login and closes its streams. A token stays good: there is no login to end.
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "auth",
    request_body = Option<Nothing>,
    responses((status = 204, description = "Logged out.")),
)]
async fn logout(
    State(api): State<Arc<Api>>,
    who: Principal,
    Post { claim, .. }: Post<Nothing>,
) -> Result<Response, Problem> {
    let (shared, session) = (Arc::clone(&api), who.session.clone());
    let ended = once(&api, &who, claim, Kept::InMemory, move |_| async move {
        if let Some(session) = session {
            shared.end_session(&session).await?;
        }
        Ok(Answered { status: StatusCode::NO_CONTENT, body: Bytes::new() })
    });
    let mut response = ended.await?;
    if who.session.is_some() {
        response.headers_mut().insert(header::SET_COOKIE, api.no_cookie());
    }
    Ok(response)
}

/// Says who the caller is.
#[utoipa::path(get, path = "/auth/me", tag = "auth", responses((status = 200, body = Me)))]
async fn me(who: Principal) -> Result<Answered, Problem> {
    let expires_at = who.session.as_ref().map(|session| session.expires_at);
    Answered::json(StatusCode::OK, &Me { id: &who.person, name: &who.name, role: who.role, expires_at })
}

/// For a person who followed a link that is good no more.
const USED_UP: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Kanvoy</title>\
    <h1>This link is good no more</h1>\
    <p>It was opened before, is too old, or never was one. In a terminal, <code>kanvoy auth link</code> makes another.</p>\
    </html>";

/// Logs a browser in by its one-time link, and goes on to the board.
#[utoipa::path(
    get,
    path = "/login/{code}",
    tag = "auth",
    params(("code" = String, Path)),
    security(()),
    responses((status = 303, description = "Logged in; the board is at `/`.")),
)]
async fn login(
    State(api): State<Arc<Api>>,
    Id(code): Id,
    method: axum::http::Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Programs that look at links before people open them ask with HEAD: that must not use the link up.
    let opens = method == axum::http::Method::GET;
    let cookie = if opens && api.open_link(&code) { Some(api.begin_session().await?) } else { None };
    let logged_in = match (&cookie, api.sessions.sent(&headers)) {
        (Some(_), _) => true,
        // The link was opened before, in this very browser.
        (None, Some(secret)) => api.by_cookie(secret).await?.is_some(),
        (None, None) => false,
    };
    if !logged_in {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/html") {
            let plain = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_SECURITY_POLICY, "default-src 'none'")];
            return Ok((StatusCode::NOT_FOUND, plain, Html(USED_UP)).into_response());
        }
        let detail = "this link was opened before, is too old, or never was one; ask for another";
        return Err(Problem::new(Code::NotFound, detail).with_try("kanvoy auth link"));
    }
    let mut response = StatusCode::SEE_OTHER.into_response();
    let home = api.public_url.as_deref().map_or_else(|| "/".to_owned(), |url| format!("{url}/"));
    response.headers_mut().insert(header::LOCATION, header(&home));
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
