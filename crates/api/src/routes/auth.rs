//! Logging in and out, and finding out who one is.

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kanvoy_domain::session::{Scope, SessionKind};
use kanvoy_domain::{SessionId, Timestamp, people};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{Api, header};
use crate::auth::link::LoginLink;
use crate::auth::login::Tokens;
use crate::auth::ticket::Ticket;
use crate::auth::{Principal, proxy, session};
use crate::body::{Json, Nothing, Post};
use crate::idempotency::{self, Answered, Kept, once};
use crate::params::Id;
use crate::problem::{Code, Problem};
use crate::shapes::people::{RoleName, ScopeName};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(new_ticket))
        .routes(routes!(new_link))
        .routes(routes!(with_password))
        .routes(routes!(refresh))
        .routes(routes!(rotate_keys))
        .routes(routes!(logout))
        .routes(routes!(me))
}

pub fn login_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(login))
}

/// Somebody who is logged in.
#[derive(Serialize, ToSchema)]
struct Me<'a> {
    /// As events name them.
    #[schema(example = "local")]
    id: &'a str,
    /// What they log in with.
    name: &'a str,
    display_name: &'a str,
    role: RoleName,
    /// What this login may be used for, within what the role allows.
    scopes: Vec<ScopeName>,
    /// The login that this request came by; null for the machine's token, and through a proxy.
    #[schema(value_type = Option<String>, format = Uuid, required = true)]
    session_id: Option<SessionId>,
    /// When this login ends by itself; null for the machine's token, and through a proxy.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ada", "password": "correct horse battery staple"}))]
struct Login {
    #[schema(max_length = 64)]
    name: String,
    #[schema(max_length = 1_024, format = Password)]
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

/// The keys that are believed now; the first signs.
#[derive(Serialize, ToSchema)]
struct Keys {
    keys: Vec<KeyView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SigningKey)]
struct KeyView {
    kid: String,
    #[schema(value_type = String, format = DateTime)]
    made_at: Timestamp,
}

/// Logs somebody in: a cookie for browsers, and a pair of tokens for programs.
#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "auth",
    security(()),
    request_body = Login,
    responses((status = 200, body = Tokens), (status = 401, body = Problem, description = "No login has this name and password.")),
)]
async fn with_password(State(api): State<Arc<Api>>, mut request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    request.headers_mut().remove(idempotency::HEADER);
    let from = proxy::peer(request.extensions());
    let Json(body) = Json::<Login>::from_request(request, &api).await?;
    if body.password.len() > people::MAX_PASSWORD {
        return Err(Problem::body("/password", "is longer than any password here"));
    }
    let person = api.by_password(&body.name, body.password, from).await?;
    let who = Principal::user(&person, Scope::Admin, None);
    // Whose it is, and that the password is right, is known by now; it is no part of what is remembered.
    let claim = idempotency::claim(&headers, &who, "/auth/login", &[], api.clock.now())?;
    let (shared, set) = (Arc::clone(&api), Arc::new(Mutex::new(None)));
    let to_set = Arc::clone(&set);
    let answered = once(&api, &who, claim, Kept::InMemory, move |_| async move {
        let (tokens, cookie) = shared.begin_login(&person).await?;
        *to_set.lock() = Some(shared.cookie(&cookie));
        Answered::json(StatusCode::OK, &tokens)
    });
    let mut response = answered.await?;
    let cookie = set.lock().take();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Gives the next pair of tokens for a refresh token, which is good once: shown again, it ends its login. With an
/// `Idempotency-Key`, the same request is answered again for some minutes.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    tag = "auth",
    security(()),
    request_body = Refresh,
    responses((status = 200, body = Tokens), (status = 401, body = Problem, description = "Not good any more.")),
)]
async fn refresh(State(api): State<Arc<Api>>, mut request: Request) -> Result<Response, Problem> {
    // Whose it is, is known only from the body.
    let headers = request.headers().clone();
    request.headers_mut().remove(idempotency::HEADER);
    let from = proxy::peer(request.extensions());
    let Json(body) = Json::<Refresh>::from_request(request, &api).await?;
    let found = api.by_refresh_token(&body.refresh_token).await?;
    let Some((who, claims)) = found else {
        // Counted as a try, so that nobody guesses at length.
        api.limits.login("", from)?;
        let detail = "the refresh token is not good any more; log in again";
        return Err(Problem::new(Code::Unauthenticated, detail).with_try("kanvoy auth login"));
    };
    api.limits.request(&who.person)?;
    let now = api.clock.now();
    let claim = idempotency::claim(&headers, &who, "/auth/refresh", body.refresh_token.as_bytes(), now)?;
    let (shared, holder) = (Arc::clone(&api), who.clone());
    once(&api, &who, claim, Kept::InMemory, move |_| async move {
        Answered::json(StatusCode::OK, &shared.refreshed(&holder, &claims).await?)
    })
    .await
}

/// Signs with a new key from now on; what the last one signed is believed until the next time.
#[utoipa::path(
    post,
    path = "/auth/rotate-keys",
    tag = "auth",
    request_body = Option<Nothing>,
    responses((status = 200, body = Keys)),
)]
async fn rotate_keys(
    State(api): State<Arc<Api>>,
    who: Principal,
    Post { claim, .. }: Post<Nothing>,
) -> Result<Response, Problem> {
    let shared = Arc::clone(&api);
    once(&api, &who, claim, Kept::InMemory, move |_| async move {
        let now = shared.clock.now();
        let rotated = tokio::task::spawn_blocking(move || shared.keys.rotate(now)).await.map_err(Problem::internal)?;
        let keys = rotated.map_err(Problem::internal)?;
        let keys = keys.into_iter().map(|(kid, made_at)| KeyView { kid, made_at }).collect();
        Answered::json(StatusCode::OK, &Keys { keys })
    })
    .await
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
    let (shared, person) = (Arc::clone(&api), Arc::clone(&who.person));
    once(&api, &who, claim, Kept::InMemory, move |_| async move {
        Answered::json(StatusCode::CREATED, &shared.login_link_of(&person)?)
    })
    .await
}

/// Ends the login, its tokens with it, and closes its streams. A personal token, or the machine's, stays good.
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "auth",
    request_body = Option<Nothing>,
    responses((status = 204, description = "Logged out.")),
)]
async fn logout(State(api): State<Arc<Api>>, who: Principal, _: Post<Nothing>) -> Result<Response, Problem> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(session) = who.session.as_ref().filter(|session| session.kind == SessionKind::Login) {
        let cookie = api.end_session(&who, session).await?;
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Says who the caller is.
#[utoipa::path(get, path = "/auth/me", tag = "auth", responses((status = 200, body = Me)))]
async fn me(who: Principal) -> Result<Answered, Problem> {
    let session = who.session.as_ref();
    let known = who.live.as_ref().map(|person| person.known());
    Answered::json(
        StatusCode::OK,
        &Me {
            id: &who.person,
            name: known.as_ref().map_or(&*who.name, |known| known.user.name.as_str()),
            display_name: &who.name,
            role: who.role().into(),
            scopes: ScopeName::within(who.scope),
            session_id: session.map(|session| session.id),
            expires_at: session.map(|session| session.expires_at()),
        },
    )
}

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
    let made_by = if opens { api.open_link(&code) } else { None };
    let cookie = match made_by {
        Some(person) => Some(api.begin_session(&person).await?),
        None => None,
    };
    let logged_in = match (&cookie, session::sent(&headers)) {
        (Some(_), _) => true,
        // The link was opened before, in this very browser.
        (None, Some(secret)) => api.by_cookie(secret).await?.is_some(),
        (None, None) => false,
    };
    if !logged_in {
        let detail = "this link was opened before, is too old, or never was one; ask for another";
        return Err(Problem::new(Code::NotFound, detail).with_try("kanvoy open"));
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
