//! The cage: what an agent type asks for, compiled by a pure function into one explicit record. The record is stored, shown to
//! people, and is all that the engine is told; what it does not say is not done.

mod compile;
mod paths;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use compile::{compile, keeper_volume};
pub use paths::check_sources;
pub use refusal::Refusal;
use serde::{Deserialize, Serialize};

use crate::runtime::{EngineFacts, InstanceId, Kind};

pub const LABEL_INSTANCE: &str = "kanvoy.instance";
pub const LABEL_INSTALLATION: &str = "kanvoy.installation";
pub const LABEL_VERSION: &str = "kanvoy.version";

pub const WORKSPACE: &str = "/workspace";
pub const HOME: &str = "/home/agent";
pub const KEEPER_DIR: &str = "/kanvoy";
pub const KEEPER: &str = "/kanvoy/keeper";
pub const JOURNAL: &str = "/kanvoy-run";
pub const SECRETS: &str = "/run/secrets";

/// Who runs in the cage when the daemon is root: nobody's number, and the same everywhere.
pub const AGENT_UID: u32 = 10_001;

/// What is asked for one instance. Nothing in it is trusted.
#[derive(Clone, Debug)]
pub struct CageSpec {
    pub instance: InstanceId,
    /// Of this installation: two daemons may share an engine and must not touch each other's instances.
    pub installation: String,
    pub version: String,
    /// More labels, without the `kanvoy.` in front: run, board, task.
    pub labels: BTreeMap<String, String>,
    pub image: String,
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Names whose values are in `Launch::secrets` and become variables. A person with access to the engine can read them there.
    pub secret_env: BTreeSet<String>,
    /// Names whose values become files below [`SECRETS`], in memory only. Not available until the keeper takes them.
    pub secret_files: BTreeSet<String>,
    pub user: UserPolicy,
    pub limits: Limits,
    pub network: Network,
    pub workspace: Place,
    /// Belongs to the task: later instances find there what earlier ones left.
    pub home: Place,
    /// Belongs to the instance.
    pub journal: Place,
    pub tmpfs: Vec<TmpfsAsk>,
    pub mounts: Vec<MountAsk>,
    pub host_mounts: BTreeSet<HostMount>,
    /// Tokens from the daemon's own environment, by name. Delivered as `secret_env`, and marked loudly.
    pub host_env: BTreeSet<String>,
}

impl CageSpec {
    /// The least that can be asked: everything else at its default.
    pub fn new(instance: InstanceId, installation: &str, image: &str, command: &[&str], workspace: Place) -> Self {
        Self {
            home: Place::Volume { name: format!("kanvoy-home-{instance}") },
            journal: Place::Volume { name: instance.journal_volume() },
            instance,
            installation: installation.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: BTreeMap::new(),
            image: image.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            secret_env: BTreeSet::new(),
            secret_files: BTreeSet::new(),
            user: UserPolicy::Auto,
            limits: Limits::default(),
            network: Network::None,
            workspace,
            tmpfs: Vec::new(),
            mounts: Vec::new(),
            host_mounts: BTreeSet::new(),
            host_env: BTreeSet::new(),
        }
    }
}

/// Who the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserPolicy {
    /// The daemon's own uid and gid, so that files in a bound workspace belong to the same person; [`AGENT_UID`] when the daemon is
    /// root.
    Auto,
    /// This one. Root is refused.
    Id { uid: u32, gid: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub memory_mb: u64,
    pub cpus: f64,
    pub pids: u32,
    pub nofile: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_mb: 2048, cpus: 2.0, pids: 512, nofile: 65_536 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    None,
    /// A network of its own, with the way out open.
    Open,
    Allowlist(Vec<String>),
}

/// Where something that must outlast a process is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A directory of this machine, made and given to the agent's user by the caller. Costs a start nothing; needs an engine
    /// that sees the same paths.
    Bind { path: PathBuf },
    /// A volume of the engine's. Works with a remote engine; giving it an owner costs a launch some 70 ms.
    Volume { name: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmpfsAsk {
    pub target: PathBuf,
    pub size_mb: u64,
    pub exec: bool,
}

/// A path of the host, asked for by an agent type. Only below one of `Facts::mount_roots`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountAsk {
    pub source: PathBuf,
    pub target: PathBuf,
    pub read_only: bool,
}

/// A person's own files, each an opt-in of an agent type, always read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostMount {
    Ssh,
    Gitconfig,
    GitCredentials,
}

impl HostMount {
    pub const fn file(self) -> &'static str {
        match self {
            Self::Ssh => ".ssh",
            Self::Gitconfig => ".gitconfig",
            Self::GitCredentials => ".git-credentials",
        }
    }
}

/// What compiling needs to know of the world, so that it can be a pure function.
#[derive(Clone, Debug)]
pub struct Facts {
    pub engine: EngineFacts,
    pub daemon_uid: u32,
    pub daemon_gid: u32,
    /// The keeper's digest. Without a keeper (only in tests) the agent itself is the first process.
    pub keeper: Option<String>,
    /// Which of the opt-in files exist, and where.
    pub host_files: BTreeMap<HostMount, PathBuf>,
    pub mount_roots: Vec<PathBuf>,
}

/// The compiled cage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cage {
    pub instance: InstanceId,
    pub runtime: Kind,
    /// Every rule below is enforced. False where any is not, and always false for a plain process.
    pub enforced: bool,
    /// One line for a person.
    pub summary: String,
    pub labels: BTreeMap<String, String>,
    pub image: String,
    /// What the agent type asked for; the keeper runs it.
    pub command: Vec<String>,
    pub keeper: Option<String>,
    pub working_dir: String,
    pub uid: u32,
    pub gid: u32,
    pub env: BTreeMap<String, String>,
    /// Names only.
    pub secret_env: BTreeSet<String>,
    pub secret_files: BTreeSet<String>,
    pub memory_bytes: u64,
    pub nano_cpus: u64,
    pub pids: u32,
    pub nofile: u32,
    pub network: Network,
    pub mounts: Vec<Mount>,
    pub rules: Vec<Rule>,
    pub warnings: Vec<Warning>,
}

impl Cage {
    pub fn installation(&self) -> &str {
        self.labels.get(LABEL_INSTALLATION).map_or("", String::as_str)
    }

    /// The volumes that the agent writes, with nothing of the keeper's.
    pub fn written_volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            Source::Volume { name } if !mount.read_only => Some(name.as_str()),
            _ => None,
        })
    }

    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.rule == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub target: String,
    pub source: Source,
    pub read_only: bool,
    pub why: MountWhy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Bind { path: PathBuf },
    Volume { name: String },
    Tmpfs { bytes: u64, mode: u32, exec: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountWhy {
    Workspace,
    Home,
    Journal,
    Keeper,
    Scratch,
    Secrets,
    /// The agent type asked for it.
    Asked,
    /// A person's own file, by opt-in.
    HostMount,
}

/// One thing that the cage holds the agent to, and whether this engine really does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub rule: String,
    pub value: String,
    pub enforced: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// A hole in the cage that somebody asked for, or that the engine leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub code: String,
    pub detail: String,
}
