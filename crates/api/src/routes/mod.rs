//! The table of routes: one noun, one file, one line here.

pub mod auth;
mod boards;
mod columns;
pub mod docs;
mod events;
mod health;
mod members;
mod metrics;
mod reach;
pub mod search;
mod streams;
mod tasks;
mod tokens;
pub mod transfer;
mod users;
pub mod web;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::app::Api;
use crate::openapi;

/// Every route that the description of the API names.
pub fn described() -> OpenApiRouter<Arc<Api>> {
    let v1 = OpenApiRouter::new()
        .merge(boards::routes())
        .merge(columns::routes())
        .merge(tasks::routes())
        .merge(search::routes())
        .merge(events::routes())
        .merge(streams::routes())
        .merge(transfer::routes())
        .merge(auth::routes())
        .merge(users::routes())
        .merge(tokens::routes())
        .merge(members::routes())
        .merge(docs::routes());
    OpenApiRouter::with_openapi(openapi::head())
        .nest("/api/v1", v1)
        .merge(auth::login_routes())
        .merge(health::routes())
        .merge(metrics::routes())
}
