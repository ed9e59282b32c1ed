//! Builds the daemon from its rooms, by hand and from the bottom up: the one place where they all meet.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kanvoy_api::{Access, Api, HealthCheck, Parts};
use kanvoy_engine::{BoardCache, Clock, Engine, Feed, SystemClock, Told};
use kanvoy_store::Store;
use kanvoy_store_sqlite::{OpenError, SqliteStore};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::serving::Runtime;
use crate::engine_check::ContainerEngine;

/// Everything that outlives a request.
pub struct Rooms {
    pub store: Arc<dyn Store>,
    pub engine: Engine,
    feed: Arc<Feed>,
    clock: Arc<dyn Clock>,
}

impl Rooms {
    /// The caller holds the lock of the data directory.
    pub async fn open(database: &Path) -> Result<Self, OpenError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let boards = Arc::new(BoardCache::default());
        let feed = Arc::new(Feed::new());
        let told = Told { boards: Arc::clone(&boards), feed: Arc::clone(&feed) };
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(database, Arc::new(told)).await?);
        let engine = Engine::new(Arc::clone(&store), boards, Arc::clone(&clock));
        Ok(Self { store, engine, feed, clock })
    }

    pub fn doors(
        &self,
        config: &Config,
        access: Access,
        token: String,
        listen: SocketAddr,
        shutdown: CancellationToken,
        ready: Arc<AtomicBool>,
    ) -> Arc<Api> {
        Api::new(Parts {
            store: Arc::clone(&self.store),
            engine: self.engine.clone(),
            feed: Arc::clone(&self.feed),
            clock: Arc::clone(&self.clock),
            admin_token: token,
            allowed_hosts: config.allowed_hosts.value.iter().map(ToString::to_string).collect(),
            public_url: config.public_url.value.as_ref().map(ToString::to_string),
            listen,
            shutdown,
            ready,
            checks: checks(config),
            access,
        })
    }
}

/// The container engine is asked for only where agents will need it.
fn checks(config: &Config) -> Vec<Arc<dyn HealthCheck>> {
    match config.runtime.value {
        Runtime::Docker => vec![Arc::new(ContainerEngine::new(config.docker_host.value.clone()))],
        Runtime::Process => Vec::new(),
    }
}
