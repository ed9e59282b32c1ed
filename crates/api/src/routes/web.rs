//! The web board: the files that the build of `frontend/` left, taken into the binary by `build.rs`. Without a build, a page
//! that says so.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::app::{Api, header};
use crate::problem::Problem;

struct File {
    path: &'static str,
    /// Tells one content from another.
    tag: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web.rs"));

const FALLBACK: &str = include_str!("../../../../frontend/fallback/index.html");
const BASE: &str = "<base href=\"./\"";

/// Nothing inline runs, and nothing leaves the machine.
const PAGE_CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
     manifest-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
);

/// The fallback page runs nothing, and its one style sheet is known by its hash: whatever might be slipped in does nothing.
static FALLBACK_CSP: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = FALLBACK.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let hash = style.map(|(style, _)| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(style.as_bytes()))));
    header(&format!(
        "default-src 'self'; script-src 'self'; style-src 'self'{}; img-src 'self' data:; object-src 'none'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        hash.unwrap_or_default()
    ))
});

pub fn pages() -> Router<Arc<Api>> {
    Router::new().route("/", get(page))
}

/// Whatever is neither the API nor a file is a place in the page: somebody follows a link, or loads it anew.
pub(crate) async fn anything_else(request: Request) -> Result<Response, Problem> {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let reserved = below("/api") || below("/rpc") || below("/metrics") || below("/healthz") || below("/readyz");
    if !is_read || reserved || FILES.is_empty() {
        return Err(Problem::not_found("route", path).with_try("open /api/docs for all routes"));
    }
    if let Some(file) = FILES.iter().find(|file| path.strip_prefix('/') == Some(file.path)) {
        return Ok(sent(file, request.headers()));
    }
    // A file of an older build is missing, and not the page: that is how an open page learns that there is a newer one.
    let is_file = below("/assets") || path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    if is_file {
        return Err(Problem::not_found("file", path));
    }
    Ok(page(request).await)
}

async fn page(request: Request) -> Response {
    let Some(index) = FILES.iter().find(|file| file.path == "index.html") else {
        return document(FALLBACK.into(), FALLBACK_CSP.clone());
    };
    let html = String::from_utf8_lossy(index.plain);
    // Its own files are named from where it lies, so that it works below any path and behind any proxy.
    let depth = request.uri().path().matches('/').count().saturating_sub(1);
    let up = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    let html = html.replacen(BASE, &format!("<base href=\"{up}\""), 1);
    document(html, PAGE_CSP)
}

fn document(html: String, csp: HeaderValue) -> Response {
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    let mut response = ([kind, (header::CACHE_CONTROL, "no-store")], html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, csp);
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

fn sent(file: &File, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", file.tag);
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).any(|value| value.trim().trim_start_matches("W/") == tag);
    // The build names its assets by their content.
    let cache = if file.path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let common = [
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::ETAG, header(&tag)),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::CONTENT_SECURITY_POLICY, PAGE_CSP),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind_of(file.path)));
    match file.gzip.filter(|_| takes_gzip(asked)) {
        Some(gzip) => {
            let packed = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            (common, [kind, packed], gzip).into_response()
        }
        None => (common, [kind], file.plain).into_response(),
    }
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let encodings = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    encodings.flat_map(|value| value.split(',')).any(|encoding| {
        let mut parts = encoding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|part| part == "q=0")
    })
}

fn kind_of(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("json" | "webmanifest") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
