//! What the doors share, and the table of routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::from_fn_with_state;
use kanvoy_domain::BoardId;
use kanvoy_engine::{Clock, Engine, Feed};
use kanvoy_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::guard::guard;
use crate::auth::keys::KeyRing;
use crate::auth::limits::Limits;
use crate::auth::link::Links;
use crate::auth::live::{People, Sessions};
use crate::auth::password::Passwords;
use crate::auth::proxy::TrustedProxy;
use crate::auth::ticket::Tickets;
use crate::auth::token::AdminToken;
use crate::auth::{Access, Hosts, Principal};
use crate::idempotency::Flights;
use crate::measure::Meter;
use crate::problem::{Code, Problem};
use crate::routes;

/// What the doors are made from. Nothing here is read from the environment.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub engine: Engine,
    /// The feed that the store's teller rings.
    pub feed: Arc<Feed>,
    pub clock: Arc<dyn Clock>,
    /// The secret in the data directory's token file.
    pub admin_token: String,
    /// Names, besides those of loopback, that this server goes by.
    pub allowed_hosts: Vec<String>,
    /// How the world reaches it, if not directly: `https://kanvoy.example`.
    pub public_url: Option<String>,
    pub listen: SocketAddr,
    /// Cancelled once, when the server shall stop.
    pub shutdown: CancellationToken,
    /// False until everything is there, and again as soon as it shall stop.
    pub ready: Arc<AtomicBool>,
    /// What `/readyz` asks besides the store.
    pub checks: Vec<Arc<dyn HealthCheck>>,
    /// How people come in.
    pub access: Access,
}

/// Everything a request can reach.
pub struct Api {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: Engine,
    pub(crate) feed: Arc<Feed>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) admin: AdminToken,
    pub(crate) sessions: Sessions,
    pub(crate) people: People,
    pub(crate) keys: KeyRing,
    pub(crate) proxy: Option<TrustedProxy>,
    pub(crate) limits: Limits,
    pub(crate) passwords: Passwords,
    pub(crate) links: Links,
    pub(crate) tickets: Tickets,
    pub(crate) hosts: Hosts,
    pub(crate) public_url: Option<String>,
    pub(crate) listen: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) checks: Vec<Arc<dyn HealthCheck>>,
    pub(crate) flights: Flights,
    pub(crate) meter: Meter,
    /// Connections, sockets and work that outlives its request: stopping waits for them.
    pub(crate) connections: TaskTracker,
}

impl Api {
    pub fn new(parts: Parts) -> Arc<Self> {
        let public_url = parts.public_url.map(|url| url.trim_end_matches('/').to_owned());
        Arc::new(Self {
            hosts: Hosts::new(&parts.allowed_hosts, public_url.as_deref(), parts.listen),
            store: parts.store,
            engine: parts.engine,
            feed: parts.feed,
            clock: parts.clock,
            admin: AdminToken::new(&parts.admin_token),
            sessions: Sessions::default(),
            people: People::default(),
            keys: parts.access.keys,
            proxy: parts.access.proxy,
            limits: parts.access.limits,
            passwords: Passwords::default(),
            links: Links::default(),
            tickets: Tickets::default(),
            public_url,
            listen: parts.listen,
            shutdown: parts.shutdown,
            ready: parts.ready,
            checks: parts.checks,
            flights: Flights::default(),
            meter: Meter::install(),
            connections: TaskTracker::new(),
        })
    }

    /// Only this machine can come in: then the reference and the numbers need no login.
    pub(crate) fn is_local(&self) -> bool {
        self.listen.ip().is_loopback() && self.public_url.is_none()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.shutdown.is_cancelled()
    }

    /// Where a browser finds the board.
    pub(crate) fn base_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.clone(),
            // Nobody can go to `0.0.0.0`.
            None if self.listen.ip().is_unspecified() => format!("http://localhost:{}", self.listen.port()),
            None => format!("http://{}", self.listen),
        }
    }

    /// The one seam of who may see which board.
    #[expect(clippy::unused_self, reason = "everybody asks here, whatever it is that knows")]
    pub(crate) fn may_see(&self, who: &Principal, board: BoardId) -> bool {
        who.sees(board)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Ok,
    /// Something is missing, yet the board serves.
    Degraded,
    /// The board itself cannot serve.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Checked {
    pub status: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Something that `/readyz` asks about. Must answer within a second or two; later counts as failed.
#[async_trait]
pub trait HealthCheck: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    async fn check(&self) -> Checked;
}

/// All routes, behind the guards. The description of them is made from the same table: see [`crate::openapi`].
pub fn router(api: Arc<Api>) -> Router {
    let (described, _) = routes::described().split_for_parts();
    described
        .merge(routes::docs::pages())
        .merge(routes::web::pages())
        .fallback(routes::web::anything_else)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api)
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!("{} is not a method of this route; the header Allow has those that are", request.method());
    Problem::new(Code::MethodNotAllowed, detail)
}

pub(crate) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
