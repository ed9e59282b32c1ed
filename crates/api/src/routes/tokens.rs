//! Personal tokens: for programs that act for somebody. Shown once, revocable, and no stronger than their scopes say.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use kanvoy_domain::SessionId;
use kanvoy_domain::session::{Scope, SessionKind, TOKEN_PREFIX};
use kanvoy_engine::{By, NewSession};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::sessions_page;
use crate::app::Api;
use crate::auth::{Principal, hashed, new_secret};
use crate::body::Post;
use crate::idempotency::{Answered, Kept, once};
use crate::params::Id;
use crate::problem::Problem;
use crate::shapes::List;
use crate::shapes::people::{NewToken, ScopeName, SessionView};

const LASTS_DAYS: u32 = 365;
const MOST_DAYS: u32 = 3_650;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "nightly build", "scopes": ["read", "write"], "expires_in_days": 90}))]
struct CreateToken {
    /// What it is for.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(min_items = 1, max_items = 3)]
    scopes: Vec<ScopeName>,
    /// A year when left out.
    #[schema(minimum = 1, maximum = 3_650)]
    expires_in_days: Option<u32>,
}

/// Lists one's own personal tokens, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "tokens", responses((status = 200, body = List<SessionView>)))]
async fn list(State(api): State<Arc<Api>>, who: Principal) -> Result<Answered, Problem> {
    sessions_page(&who, &api.own_sessions(&who, SessionKind::Token).await?)
}

/// Makes a personal token. This is the only time that it is shown.
#[utoipa::path(
    post,
    path = "/tokens",
    tag = "tokens",
    request_body = CreateToken,
    responses((status = 201, body = NewToken), (status = 409, body = Problem, description = "`taken`: there are too many.")),
)]
async fn create(
    State(api): State<Arc<Api>>,
    who: Principal,
    Post { body, claim }: Post<CreateToken>,
) -> Result<Response, Problem> {
    let scope = body.scopes.iter().map(|scope| Scope::from(*scope)).max();
    let scope = scope.ok_or_else(|| Problem::body("/scopes", "names none; a token that may do nothing is none"))?;
    let days = body.expires_in_days.unwrap_or(LASTS_DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(Problem::body("/expires_in_days", format!("must be from 1 to {MOST_DAYS}")));
    }
    let token = format!("{TOKEN_PREFIX}{}", new_secret()?);
    let new = NewSession {
        kind: SessionKind::Token,
        person: who.person.to_string(),
        hash: hashed(&token),
        refresh: None,
        name: Some(body.name),
        scope,
        lasts: TimeDelta::days(days.into()),
    };
    let engine = api.engine.clone();
    let by = By::person(&who.person);
    once(&api, &who, claim, Kept::InMemory, move |_| async move {
        let made = engine.begin_session(&by, new).await?;
        let shown = NewToken { token: &token, session: SessionView::new(&made, None) };
        Answered::json(StatusCode::CREATED, &shown)
    })
    .await
}

/// Revokes one of one's own personal tokens, and closes its streams.
#[utoipa::path(
    delete,
    path = "/tokens/{id}",
    tag = "tokens",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 204, description = "It is good no more.")),
)]
async fn revoke(State(api): State<Arc<Api>>, who: Principal, Id(id): Id) -> Result<Response, Problem> {
    let missing = || Problem::not_found("token", &id);
    let wanted: SessionId = id.parse().map_err(|_| missing())?;
    let own = api.own_sessions(&who, SessionKind::Token).await?;
    let found = own.into_iter().find(|session| session.id == wanted).ok_or_else(missing)?;
    api.end_logins(&By::person(&who.person), &[found], "revoked").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
