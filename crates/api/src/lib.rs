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
mod routes;
pub mod serve;
mod shapes;

pub use app::{Api, Checked, Health, HealthCheck, Parts, router};
pub use auth::Access;
pub use auth::keys::KeyRing;
pub use auth::limits::{Limits, Often, Pace};
pub use auth::link::LoginLink;
pub use auth::password;
pub use auth::proxy::{self, TrustedProxy};
pub use problem::{Code, Problem};
pub use serve::serve;
