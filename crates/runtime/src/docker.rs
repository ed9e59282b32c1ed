//! Cages made by a Docker engine, near or far, through its API.
//!
//! Reads from here down: [`address`] finds the engine, `call` gives every request its deadline and every error its meaning, `image`
//! gets images, `storage` makes volumes and moves trees, `create` turns a cage into what the engine is told, `exit` turns
//! what the engine says into causes, `events` keeps the stream of them alive.

pub mod address;
mod call;
mod create;
mod events;
mod exit;
mod facts;
mod found;
mod image;
mod life;
mod storage;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use address::{Address, AddressError, TlsFiles};
use async_trait::async_trait;
use bollard::Docker;
use bytes::Bytes;
pub use create::body;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore, mpsc};
pub use tree::{TreeLimits, pack, unpack_untrusted};

use crate::attached::{Attached, Grip, StderrTail};
use crate::error::RuntimeError;
use crate::runtime::{
    Created, EngineEvent, EngineFacts, Exit, Found, Instance, InstanceId, Keep, Kind, Launch, Progress, Runtime, Stats,
    UnixNanos,
};

/// How a [`DockerRuntime`] is set up. Everything is given: nothing is read from the environment here.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    pub address: Address,
    pub installation: String,
    /// The keeper for the engine's processor. `None` only in tests: then agents are first processes themselves.
    pub keeper: Option<Bytes>,
    /// More than about four at a time start none the sooner: the engine starts some nine a second whatever is asked.
    pub starts_in_flight: usize,
    /// An attachment whose reader has not come back for this long is dropped before the instance is stopped.
    pub wedged_after: Duration,
}

impl DockerConfig {
    pub fn new(address: Address, installation: &str) -> Self {
        Self {
            address,
            installation: installation.to_owned(),
            keeper: None,
            starts_in_flight: 4,
            wedged_after: Duration::from_secs(30),
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct DockerRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    /// Made by the first call that finds the socket: the client cannot be made for one that is not there yet.
    client: Mutex<Option<Docker>>,
    config: DockerConfig,
    keeper: Option<Keeper>,
    starts: Semaphore,
    held: Mutex<HashMap<InstanceId, Held>>,
    /// The engine's processor, asked once.
    arch: OnceCell<String>,
    /// Made by us and not started yet, with image and command for a start that fails.
    fresh: Mutex<HashMap<InstanceId, (String, String)>>,
}

/// What is remembered of an attachment.
struct Held {
    grip: Grip,
    stderr: StderrTail,
}

struct Keeper {
    binary: Bytes,
    digest: String,
    /// Serialises filling; true once this process has seen the volume filled.
    filled: tokio::sync::Mutex<bool>,
}

impl DockerRuntime {
    /// Needs no engine to be there: the first call finds out.
    pub fn new(config: DockerConfig) -> Self {
        let keeper = config.keeper.clone().map(|binary| Keeper {
            digest: digest(&binary),
            binary,
            filled: tokio::sync::Mutex::new(false),
        });
        let starts = Semaphore::new(config.starts_in_flight.max(1));
        let inner = Inner {
            client: Mutex::new(None),
            config,
            keeper,
            starts,
            held: Mutex::new(HashMap::new()),
            arch: OnceCell::new(),
            fresh: Mutex::new(HashMap::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// For [`crate::cage::Facts::keeper`].
    pub fn keeper_digest(&self) -> Option<&str> {
        self.inner.keeper.as_ref().map(|keeper| keeper.digest.as_str())
    }

    /// Places for starts that are free now; when none is, the next start waits for one.
    pub fn free_starts(&self) -> usize {
        self.inner.starts.available_permits()
    }

    /// Attachments whose reader has been away for longer than `for_at_least` with something in its hands. Each of them
    /// is freezing its agent.
    pub fn wedged(&self, for_at_least: Duration) -> Vec<InstanceId> {
        let held = self.inner.held.lock();
        let behind = |held: &Held| held.grip.unread_for().is_some_and(|unread| unread >= for_at_least);
        held.iter().filter(|(_, held)| behind(held)).map(|(instance, _)| instance.clone()).collect()
    }

    /// Drops the attachment of an instance, whoever holds its ends. The instance runs on.
    pub fn drop_attachment(&self, instance: &InstanceId) {
        if let Some(held) = self.inner.held.lock().get(instance) {
            held.grip.drop_now();
        }
    }

    /// Does the engine see the same file at the same path? Proves that binds deliver this machine's directories, which a daemon in a
    /// container of its own must be sure of. `file` must exist; it is read through a container that never starts.
    pub async fn canary(&self, file: &std::path::Path) -> Result<bool, RuntimeError> {
        self.inner.canary(file).await
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn kind(&self) -> Kind {
        Kind::Docker
    }

    async fn facts(&self) -> Result<EngineFacts, RuntimeError> {
        self.inner.facts().await
    }

    async fn prepare(&self, launch: &Launch, progress: &mpsc::Sender<Progress>) -> Result<(), RuntimeError> {
        self.inner.image_present(&launch.cage.image, &launch.pull, progress).await?;
        self.inner.keeper_present(launch.cage.keeper.as_deref(), progress).await?;
        self.inner.storage_ready(&launch.cage, progress).await
    }

    async fn create(&self, launch: &Launch) -> Result<Created, RuntimeError> {
        self.inner.create(launch).await
    }

    async fn attach(&self, instance: &InstanceId) -> Result<Attached, RuntimeError> {
        self.inner.attach(instance).await
    }

    async fn start(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        self.inner.start(instance).await
    }

    async fn stop(&self, instance: &InstanceId, grace: Duration) -> Result<Option<Exit>, RuntimeError> {
        self.inner.stop(instance, grace).await
    }

    async fn remove(&self, instance: &InstanceId, keep: Keep) -> Result<(), RuntimeError> {
        self.inner.remove(instance, keep).await
    }

    async fn inspect(&self, instance: &InstanceId) -> Result<Option<Instance>, RuntimeError> {
        self.inner.inspect(instance).await
    }

    async fn wait(&self, instance: &InstanceId) -> Result<Option<Exit>, RuntimeError> {
        self.inner.wait(instance).await
    }

    async fn list_ours(&self) -> Result<Vec<Found>, RuntimeError> {
        self.inner.list_ours().await
    }

    async fn remove_ours(
        &self,
        chosen: &(dyn for<'a> Fn(&'a Found) -> bool + Send + Sync),
    ) -> Result<Vec<Found>, RuntimeError> {
        self.inner.remove_ours(chosen).await
    }

    async fn remove_store(&self, name: &str) -> Result<(), RuntimeError> {
        self.inner.remove_volume_of_ours(name).await
    }

    async fn pause(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        self.inner.pause(instance).await
    }

    async fn unpause(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        self.inner.unpause(instance).await
    }

    fn events(&self, since: Option<UnixNanos>) -> BoxStream<'static, EngineEvent> {
        events::stream(Arc::clone(&self.inner), since)
    }

    async fn tail(&self, instance: &InstanceId) -> Result<Vec<u8>, RuntimeError> {
        Ok(self.inner.held.lock().get(instance).map(|held| held.stderr.bytes()).unwrap_or_default())
    }

    async fn stats(&self, instance: &InstanceId) -> Result<Stats, RuntimeError> {
        self.inner.stats(instance).await
    }

    async fn revive(&self, instance: &InstanceId) -> Result<Attached, RuntimeError> {
        self.inner.revive(instance).await
    }

    async fn send_tree(
        &self,
        volume: &str,
        tar: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> Result<(), RuntimeError> {
        self.inner.send_tree(volume, tar).await
    }

    async fn fetch_tree(
        &self,
        volume: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, std::io::Error>>, RuntimeError> {
        self.inner.fetch_tree(volume).await
    }
}
