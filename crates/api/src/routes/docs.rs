//! The description of the API, for programs and for people. The page brings all it needs: it works without the internet.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Api;
use crate::idempotency::Answered;
use crate::openapi;
use crate::problem::Problem;

/// The page sets styles from its script, and draws its icons from `data:`.
const CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(openapi::json()));

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(document))
}

/// This description. Needs a login unless the server is reached from its own machine only.
#[utoipa::path(get, path = "/openapi.json", tag = "docs", responses((status = 200, body = Object)))]
async fn document() -> Answered {
    Answered { status: StatusCode::OK, body: DOCUMENT.clone() }
}

/// Not described: it is the description.
pub fn pages() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/docs", get(|| async { Redirect::permanent("docs/") }))
        .route("/api/docs/", get(|| async { file("") }))
        .route("/api/docs/{*file}", get(|Path(path): Path<String>| async move { file(&path) }))
}

const ITS_TITLE: &str = "<title>Swagger UI</title>";

fn file(path: &str) -> Response {
    let config = utoipa_swagger_ui::Config::from("../v1/openapi.json").try_it_out_enabled(false);
    let found = match utoipa_swagger_ui::serve(path, Arc::new(config)) {
        Ok(Some(found)) => found,
        Ok(None) => return Problem::not_found("file", path).into_response(),
        Err(error) => return Problem::internal(error).into_response(),
    };
    let kind = HeaderValue::from_str(&found.content_type);
    let gzipped = found.gzpipped;
    let mut bytes = found.bytes.into_owned();
    if let Some(page) = std::str::from_utf8(&bytes).ok().filter(|page| path.is_empty() && page.contains(ITS_TITLE)) {
        bytes = page.replacen(ITS_TITLE, "<title>Kanvoy API</title>", 1).into_bytes();
    }
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    headers.insert(header::CONTENT_SECURITY_POLICY, CSP);
    if gzipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
