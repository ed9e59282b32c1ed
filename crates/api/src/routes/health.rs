//! Is it alive, and can it serve? Asked by supervisors, which have no login.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{Api, Checked, Health};
use crate::idempotency::Answered;
use crate::problem::Problem;

const CHECKED_WITHIN: Duration = Duration::from_secs(2);

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

#[derive(Serialize, ToSchema)]
struct Alive {
    status: Health,
}

#[derive(Serialize, ToSchema)]
struct Readiness {
    status: Health,
    checks: BTreeMap<&'static str, Checked>,
}

/// Says that the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Alive)))]
async fn alive() -> Result<Answered, Problem> {
    Answered::json(StatusCode::OK, &Alive { status: Health::Ok })
}

/// Says whether the board can serve.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses(
        (status = 200, body = Readiness, description = "It serves; `degraded` when something beside the board is missing."),
        (status = 503, body = Readiness, description = "It does not serve: it is starting, stopping, or cannot write."),
    ),
)]
async fn ready(State(api): State<Arc<Api>>) -> Result<Answered, Problem> {
    let mut checks = BTreeMap::new();
    let serving = match (api.shutdown.is_cancelled(), api.is_ready()) {
        (true, _) => failed("it is stopping"),
        (false, false) => failed("it is starting or stopping"),
        (false, true) => Checked { status: Health::Ok, detail: None },
    };
    checks.insert("serving", serving);
    checks.insert("store", within_time(store(&api)).await);
    for check in &api.checks {
        checks.insert(check.name(), within_time(check.check()).await);
    }
    let worst = |health| checks.values().any(|checked| checked.status == health);
    let (code, status) = if worst(Health::Failed) {
        (StatusCode::SERVICE_UNAVAILABLE, Health::Failed)
    } else if worst(Health::Degraded) {
        (StatusCode::OK, Health::Degraded)
    } else {
        (StatusCode::OK, Health::Ok)
    };
    Answered::json(code, &Readiness { status, checks })
}

async fn store(api: &Api) -> Checked {
    match api.store.ready().await {
        Ok(()) => Checked { status: Health::Ok, detail: None },
        Err(error) => {
            // The reason names files, and whoever asks here is not logged in.
            tracing::warn!("the store is not ready: {error}");
            failed("it cannot be written; the log says why")
        }
    }
}

async fn within_time(check: impl Future<Output = Checked>) -> Checked {
    tokio::time::timeout(CHECKED_WITHIN, check).await.unwrap_or_else(|_| failed("it did not answer in time"))
}

fn failed(detail: &str) -> Checked {
    Checked { status: Health::Failed, detail: Some(detail.to_owned()) }
}
