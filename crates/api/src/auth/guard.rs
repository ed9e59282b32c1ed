//! What every request passes, whatever it asks for, in this order: is the name it was sent to ours, does another site write
//! through somebody's browser, who is it, is its body too large. Then it is answered, measured, and its answer sealed.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::needs::{Need, need};
use super::{Principal, jwt, not_logged_in, proxy, session};
use crate::app::Api;
use crate::body;
use crate::problem::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// An answer of the API is data: a browser that is talked into showing it must find nothing to run.
const CSP: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

pub async fn guard(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match admit(&api, &mut request).await {
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => Problem::internal(format!("a handler panicked: {}", said(&panic))).into_response(),
        },
        Err(problem) => {
            turn_away(&api, request);
            problem.into_response()
        }
    };
    seal(response.headers_mut());
    api.meter.answered(&method, route.as_ref(), response.status(), began.elapsed());
    response
}

async fn admit(api: &Arc<Api>, request: &mut Request) -> Result<(), Problem> {
    let headers = request.headers();
    let Some(host) = api.hosts.asked(headers, request.uri()) else {
        let detail = "this server does not answer to that Host; name it with --allowed-host or --public-url";
        return Err(Problem::new(Code::HostNotAllowed, detail));
    };
    let own_origin = own_origin(api, headers, host);
    if !request.method().is_safe() {
        let cross_site = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
        if cross_site || own_origin == Some(false) {
            return Err(cross_site_problem());
        }
    }
    let peer = proxy::peer(request.extensions());
    let who = authenticated(api, request.headers(), request.uri().query(), own_origin, peer).await;
    match who {
        Ok(who) => {
            if who.live.is_some() {
                api.limits.request(&who.person)?;
            }
            if let Some(route) = request.extensions().get::<MatchedPath>()
                && let Need::Deed(deed) = need(request.method(), route.as_str())
            {
                who.require(deed)?;
            }
            request.extensions_mut().insert(who);
        }
        Err(problem) if needs_login(api, request.uri().path()) => return Err(problem),
        Err(_) => {}
    }
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let too_large =
        announced.and_then(|length| length.parse::<u64>().ok()).is_some_and(|n| n > body::MOST_BYTES as u64);
    if too_large && request.uri().path() != crate::routes::transfer::IMPORT {
        return Err(body::too_large());
    }
    Ok(())
}

/// `None` when the request does not say which page it comes from.
fn own_origin(api: &Api, headers: &HeaderMap, host: &str) -> Option<bool> {
    let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
    origins.peek()?;
    Some(origins.all(|origin| origin.to_str().is_ok_and(|origin| api.hosts.is_own_origin(origin, host))))
}

async fn authenticated(
    api: &Api,
    headers: &HeaderMap,
    query: Option<&str>,
    own_origin: Option<bool>,
    peer: Option<IpAddr>,
) -> Result<Principal, Problem> {
    // Whoever shows a token is judged by it alone: a wrong one is not made good by a cookie.
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).unwrap_or_default();
        return by_token(api, token).await?.ok_or_else(|| {
            Problem::new(
                Code::Unauthenticated,
                "the token in Authorization is not one of this server's, or its time is over, or its login was ended",
            )
            .with_try("kanvoy auth login")
        });
    }
    let is_socket = is_websocket(headers);
    if is_socket && let Some(ticket) = ticket(query) {
        let refused =
            || Problem::new(Code::Unauthenticated, "the ticket was used before, is too old, or never was one");
        return api.by_ticket(ticket).ok_or_else(refused);
    }
    // Both are sent by a browser whichever page asks it to.
    let who = match api.by_proxy(headers, peer).await? {
        Some(who) => Some(who),
        None => match session::sent(headers) {
            Some(secret) => Some(api.by_cookie(secret).await?.ok_or_else(not_logged_in)?),
            None => None,
        },
    };
    if let Some(who) = who {
        // A socket is not held to the rules of fetching: any page could open one with somebody's cookie.
        if is_socket && own_origin != Some(true) {
            return Err(cross_site_problem());
        }
        return Ok(who);
    }
    Err(not_logged_in())
}

async fn by_token(api: &Api, token: &str) -> Result<Option<Principal>, Problem> {
    if let Some(owner) = api.admin.owner(token) {
        return Ok(Some(owner));
    }
    if jwt::looks_like_one(token) {
        return api.by_jwt(token).await;
    }
    api.by_personal_token(token).await
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Made of letters that need no escaping.
fn ticket(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("ticket=")).filter(|ticket| !ticket.is_empty())
}

fn needs_login(api: &Api, path: &str) -> bool {
    let under = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if matches!(path, "/api/v1/auth/login" | "/api/v1/auth/refresh") {
        return false;
    }
    if path == "/api/v1/openapi.json" || path == "/metrics" || under("/api/docs") {
        return !api.is_local();
    }
    under("/api") || under("/rpc")
}

fn cross_site_problem() -> Problem {
    Problem::new(
        Code::CrossSite,
        "the request comes from a page of another site; if the page is this server's own, start it with --public-url",
    )
}

/// The sender may look for the answer only when all is sent. Who waits for a word before sending gets it: the answer.
fn turn_away(api: &Arc<Api>, request: Request) {
    let waits = request.headers().contains_key(header::EXPECT);
    let body = request.into_body();
    if !waits && !body.is_end_stream() {
        body::drain(api, body);
    }
}

fn seal(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, CSP);
    }
}

fn said(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
