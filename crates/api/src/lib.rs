//! The doors of Kanvoy: HTTP, WebSocket and server-sent events, with their guards, their shapes and their description.
//!
//! Reads go to the store, changes go to the engine; nothing is decided here but who may come in. Knows nothing of SQL,
//! containers or agents.
//!
//! Start reading at [`app`] (the state and the table of routes), then [`auth::guard`] (what every request passes) and
//! [`routes`] (one noun, one file). Streams are in [`live`].

pub mod app;
pub mod auth;
mod body;
mod idempotency;
mod live;
mod measure;
pub mod openapi;
mod params;
mod problem;
mod request_id;
mod routes;
mod rpc;
pub mod serve;
mod shapes;
mod vitals;

pub use app::{Api, Checked, Health, HealthCheck, Parts, router};
pub use auth::link::LoginLink;
pub use problem::{Code, Problem};
pub use serve::serve;
