//! The web board. What is built under `frontend/` is embedded here; until there is a build, a page says so.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::app::{Api, header};

const FALLBACK: &str = include_str!("../../../../frontend/fallback/index.html");

/// The page runs nothing, and its one style sheet is known by its hash: whatever might be slipped in does nothing.
static CSP: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = FALLBACK.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let hash = style.map(|(style, _)| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(style.as_bytes()))));
    header(&format!(
        "default-src 'self'; script-src 'self'; style-src 'self'{}; img-src 'self' data:; object-src 'none'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        hash.unwrap_or_default()
    ))
});

/// The files of a built web board go here, beside the page: `/assets/{*file}`, cached for ever by their hashed names.
pub fn pages() -> Router<Arc<Api>> {
    Router::new().route("/", get(board))
}

async fn board() -> Response {
    let mut response = Html(FALLBACK).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CSP.clone());
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}
