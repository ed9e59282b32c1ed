//! What a place to run agents must be able to do, in plain types.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::attached::Attached;
use crate::cage::Cage;
use crate::error::RuntimeError;

/// A place where agents run.
///
/// **Order.** `prepare` → `create` → `attach` → `start`, and at the end `stop` → `remove`. `attach` comes before `start`: what an
/// agent prints in its first millisecond would otherwise be lost. [`crate::launch`] makes the four calls in order.
///
/// **Twice.** Every call may be made again. `prepare` finds what is there. `create` finds the instance by its deterministic
/// name and adopts it, so an answer that was lost on the way costs nothing and never makes a second one. `start` of a running
/// instance, `stop` of a stopped or absent one, `remove` of an absent one, `pause` of a paused one all succeed. A second `attach`
/// first drops the attachment that this runtime holds: two would both get all output, and their input would interleave.
///
/// **After a cancelled call** (its future dropped) or a failed one the engine may or may not have done it. Nothing leaks that
/// carries no label: calling again, or `stop` and `remove`, brings the instance to a known end. Both are safe at any moment,
/// after half a launch too: cleaning up is their purpose.
///
/// **Time.** Every call has a deadline of its own; none waits for ever on a hung engine. A deadline says nothing about the
/// instance: an engine that does not answer is not an agent that has died.
///
/// **Removing.** Only what carries this installation's label is ever removed, and only after the engine has positively said so.
#[async_trait]
pub trait Runtime: Send + Sync {
    fn kind(&self) -> Kind;

    /// Asks the engine who it is. `EngineAbsent` says where we looked, why nobody answers and what to do about it.
    async fn facts(&self) -> Result<EngineFacts, RuntimeError>;

    /// Makes everything ready that an instance needs before it is made: its image (pulled if it is missing), the keeper, the
    /// volumes with their owners. The slow part of a launch; it may run beside other work, such as a clone. Progress is told
    /// with `try_send`: a slow listener misses steps and never slows a pull.
    async fn prepare(&self, launch: &Launch, progress: &mpsc::Sender<Progress>) -> Result<(), RuntimeError>;

    /// Makes the instance without starting it, or adopts the one of the same name that is ours.
    async fn create(&self, launch: &Launch) -> Result<Created, RuntimeError>;

    /// The two byte streams of an instance's first process. Must be read to the end or dropped: an unread stream freezes the agent
    /// after about a megabyte, and blocks every later attachment.
    async fn attach(&self, instance: &InstanceId) -> Result<Attached, RuntimeError>;

    /// Starts a created instance. At most a few starts are in flight at a time; the rest wait here.
    async fn start(&self, instance: &InstanceId) -> Result<(), RuntimeError>;

    /// Asks the instance to end, and after `grace` makes it. `None` when there is no such instance. Safe to call again, and safe
    /// if a launch failed half-way.
    async fn stop(&self, instance: &InstanceId, grace: Duration) -> Result<Option<Exit>, RuntimeError>;

    /// Removes the instance and all that belongs to it alone. Attachments that are held here are dropped first, since an
    /// unread one makes the removal wait for ever. What is shared with later instances of a task (home, workspace) stays;
    /// see [`Runtime::remove_store`].
    async fn remove(&self, instance: &InstanceId, keep: Keep) -> Result<(), RuntimeError>;

    /// What the engine says about an instance now. `None` is a positive answer: there is none.
    async fn inspect(&self, instance: &InstanceId) -> Result<Option<Instance>, RuntimeError>;

    /// Waits until the instance has ended. Survives a restart of the engine; ends only with an exit, an absence or when dropped.
    async fn wait(&self, instance: &InstanceId) -> Result<Option<Exit>, RuntimeError>;

    /// Everything that carries this installation's label. An error means that nothing is known, never that nothing is there.
    async fn list_ours(&self) -> Result<Vec<Found>, RuntimeError>;

    /// Removes those of ours that `chosen` picks from a fresh, complete inventory. When the inventory fails nothing is removed.
    /// Returns what is gone; what could not be removed is left for the next time.
    async fn remove_ours(
        &self,
        chosen: &(dyn for<'a> Fn(&'a Found) -> bool + Send + Sync),
    ) -> Result<Vec<Found>, RuntimeError>;

    /// Removes a home or workspace volume that is ours. Absent is fine; one in use is an error.
    async fn remove_store(&self, name: &str) -> Result<(), RuntimeError>;

    /// Freezes all processes of an instance where they are.
    async fn pause(&self, instance: &InstanceId) -> Result<(), RuntimeError>;
    async fn unpause(&self, instance: &InstanceId) -> Result<(), RuntimeError>;

    /// What happens to our instances, from now or from `since` on. Never ends: it reconnects by itself, and says with
    /// [`Happening::Reconnected`] that events may have been missed and instances should be inspected.
    fn events(&self, since: Option<UnixNanos>) -> BoxStream<'static, EngineEvent>;

    /// The last bytes of what the instance's first process wrote on its own stderr, as far as this runtime has seen them. The
    /// agent's stderr is kept by the keeper; this is for an instance whose keeper never spoke.
    async fn tail(&self, instance: &InstanceId) -> Result<Vec<u8>, RuntimeError>;

    async fn stats(&self, instance: &InstanceId) -> Result<Stats, RuntimeError>;

    /// Starts the keeper of an ended instance again, so that what it journalled and nobody stored can be read. A keeper that finds
    /// a journal with a run in it serves that and runs nothing; without a keeper this is refused. A journal that outlived
    /// its instance is read with [`Runtime::fetch_tree`].
    async fn revive(&self, instance: &InstanceId) -> Result<Attached, RuntimeError>;

    /// Fills a volume from a tar stream. The entries' owners are kept. Only where [`EngineFacts::local`] is false is this the
    /// way to deliver a workspace.
    async fn send_tree(
        &self,
        volume: &str,
        tar: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> Result<(), RuntimeError>;

    /// Reads a volume as a tar stream. What comes back was written by an agent: unpack it with
    /// [`crate::docker::unpack_untrusted`], never with a plain `tar`.
    async fn fetch_tree(&self, volume: &str)
    -> Result<BoxStream<'static, Result<Bytes, std::io::Error>>, RuntimeError>;
}

/// Nanoseconds since 1970 by the engine's clock: a position in its event stream, not a time of ours.
pub type UnixNanos = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Docker,
    /// A plain process of the daemon's user: not a cage.
    Process,
}

impl Kind {
    pub const fn is_cage(self) -> bool {
        matches!(self, Self::Docker)
    }
}

/// The name of an instance: lower-case letters, digits and `-`, as in a UUID. It becomes part of names in the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(String);

impl InstanceId {
    pub fn parse(text: &str) -> Result<Self, RuntimeError> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(RuntimeError::Local { what: "not an instance's id", detail: format!("{text:?}") })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The container's name, and the stem of everything else's. The same id gives the same name, so that a lost answer can be
    /// found again.
    pub fn container(&self) -> String {
        format!("kanvoy-{}", self.0)
    }

    pub fn journal_volume(&self) -> String {
        format!("kanvoy-run-{}", self.0)
    }

    pub fn network(&self) -> String {
        format!("kanvoy-net-{}", self.0)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for InstanceId {
    type Error = RuntimeError;

    fn try_from(text: String) -> Result<Self, RuntimeError> {
        Self::parse(&text)
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}

/// What to run: the compiled cage, which may be shown, and beside it the values, which may not.
#[derive(Clone, Debug)]
pub struct Launch {
    pub cage: Cage,
    pub secrets: Secrets,
    pub pull: Pull,
}

/// Values of the names in `Cage::secret_env`. Never printed, never serialised.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    pub fn new(values: BTreeMap<String, String>) -> Self {
        Self(values)
    }

    pub fn reveal(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Clone, Debug)]
pub struct Pull {
    pub when: PullWhen,
    /// How often a pull is tried at most, and how long after the first try another may still begin. Only an unreachable or
    /// stalled registry is tried again.
    pub tries: u32,
    pub within: Duration,
    /// How long a pull may go without a word from the registry.
    pub stall: Duration,
    pub login: Option<Login>,
}

impl Default for Pull {
    fn default() -> Self {
        Self {
            when: PullWhen::Missing,
            tries: 3,
            within: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            login: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullWhen {
    Missing,
    Never,
    Always,
}

/// A login at a registry.
#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A step on the way to an instance, for the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Progress {
    PullStarted {
        image: String,
        attempt: u32,
    },
    /// `current` and `total` are bytes over the layers that are known so far; `total` is 0 while nothing is known.
    Pulling {
        image: String,
        status: String,
        layers: usize,
        layers_done: usize,
        current: u64,
        total: u64,
    },
    PullFailed {
        image: String,
        attempt: u32,
        fault: crate::error::ImageFault,
        detail: String,
        again: bool,
    },
    Pulled {
        image: String,
    },
    KeeperInstalled {
        volume: String,
    },
    StorageReady,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The engine's own id.
    pub engine_id: String,
    /// It was there already, made by an earlier call or an earlier life of the daemon.
    pub adopted: bool,
    pub state: State,
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Created,
    Running,
    Paused,
    Exited,
    /// The engine is at work on it, or cannot mend it.
    Other,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub engine_id: String,
    pub state: State,
    pub labels: BTreeMap<String, String>,
    pub image: String,
    pub started_at: Option<String>,
    pub exit: Option<Exit>,
}

/// How an instance ended, as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exit {
    pub code: i64,
    /// Some process inside ran out of memory: not necessarily the agent, and not necessarily the reason for the end.
    pub oom: bool,
    pub cause: ExitCause,
    pub finished_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum ExitCause {
    Exited {
        code: i64,
    },
    /// Killed for memory: the first process, or the agent as its keeper reports it.
    OutOfMemory,
    /// It ended with a code of its own after another process in the same instance had run out of memory.
    ChildOutOfMemory {
        code: i64,
    },
    /// By somebody's signal. SIGKILL without memory trouble is a person, a stop that had to insist, or an engine that was stopped.
    Killed {
        signal: i32,
    },
    CommandNotFound {
        detail: String,
    },
    NotExecutable {
        detail: String,
    },
    /// It ended while nobody was there to be told; the keeper's journal may know.
    Unknown,
    /// It never ran: the engine could not start it.
    NotStarted {
        detail: String,
    },
}

/// What stays when an instance is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// The journal has lines that are not acknowledged yet.
    Journal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub what: FoundKind,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub created_at: Option<String>,
    pub state: Option<State>,
}

impl Found {
    pub fn instance(&self) -> Option<&str> {
        self.labels.get(crate::cage::LABEL_INSTANCE).map(String::as_str)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundKind {
    Instance,
    /// A container that never starts, left behind by a call that was cut short.
    Helper,
    Volume,
    Network,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    pub at: UnixNanos,
    /// `None` for what concerns the engine itself.
    pub instance: Option<InstanceId>,
    pub what: Happening,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    Created,
    Started,
    Paused,
    Unpaused,
    /// A process inside ran out of memory.
    OutOfMemory,
    /// Somebody sent a signal through the engine.
    Signalled {
        signal: i32,
    },
    Died {
        code: Option<i64>,
    },
    Removed,
    /// The connection to the engine is gone. Instances may well be running.
    EngineLost {
        detail: String,
    },
    /// The engine answers again. Events may be missing: inspect what should be running.
    Reconnected,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub memory_bytes: u64,
    pub memory_limit_bytes: u64,
    /// Processor time used so far, in nanoseconds.
    pub cpu_nanos: u64,
    pub pids: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// What an engine says of itself; what it cannot enforce is said in the compiled cage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineFacts {
    pub kind: Kind,
    /// Where it was reached.
    pub address: String,
    /// Paths of this machine are paths of the engine's machine.
    pub local: bool,
    pub version: String,
    pub api_version: String,
    pub os: String,
    pub arch: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    pub cgroup_version: u32,
    pub rootless: bool,
    pub seccomp: bool,
    pub apparmor: bool,
    pub limits_memory: bool,
    pub limits_swap: bool,
    pub limits_pids: bool,
    pub limits_cpu: bool,
    /// Agents survive a restart of the engine.
    pub live_restore: bool,
    pub warnings: Vec<String>,
}
