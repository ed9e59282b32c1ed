//! Clones, branches, diffs, merges: the only room that runs git. Knows nothing of tasks, databases or containers.
//!
//! One rule shapes everything: **git never runs in a tree that an agent can write.** A tree's configuration runs programs
//! (`core.fsmonitor`, filters, hooks, …), no set of flags closes that, and even `git fetch` from it follows its
//! `alternates` into other repositories. So what an agent made is carried out by our own hands, name by name and without
//! following links (`inside`, `gather`, `snapshot`), into repositories beside it that are ours, and git reads there.
//!
//! Start reading at `create`, then `standing`.

mod access;
mod commits;
mod create;
mod diff;
mod error;
mod gather;
mod git;
mod home;
mod hosts;
mod inside;
mod merge;
mod names;
mod places;
mod push;
mod remove;
mod snapshot;
mod standing;
mod tidy;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use access::{Access, Secret};
pub use commits::{CommitInfo, Commits, PatchKind};
pub use create::{Created, Spec};
pub use diff::{Diff, FileChange, FileDiff, Range, Status};
pub use error::Error;
pub use hosts::Hosts;
pub use merge::{Conflict, Include, MergeSpec, Merged, Side};
pub use names::{Branch, Commit, Id, Invalid, RelPath, Signature, Url};
pub use push::{PushSpec, Pushed, What};
pub use remove::{Confirm, Removed};
pub use standing::{Elsewhere, Standing};
pub use walk::{Skipped, Why};

/// Where a workspace's code comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Remote(Url),
    /// A repository on this machine. Taken only below one of [`Config::local`]; its own hooks do not run for us.
    Local(PathBuf),
    /// A repository that we keep ourselves, under this name: what a board without a repository has. Made when first asked
    /// for, with an empty first commit on `main`.
    Kept(Id),
}

/// The user that works in the clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// 10001:10001 if the daemon is root, else the daemon's own.
    pub fn usual() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid == 0 { Self { uid: 10001, gid: 10001 } } else { Self { uid, gid } }
    }
}

/// What the daemon decides; the defaults suit a machine of a developer.
#[derive(Clone, Debug)]
pub struct Config {
    pub git: PathBuf,
    pub ssh: PathBuf,
    /// `PATH` for git and its helpers.
    pub path: String,
    pub owner: Owner,
    pub hosts: Hosts,
    /// Directories below which [`Source::Local`] may lie. Empty: nowhere.
    pub local: Vec<PathBuf>,
    pub proxy: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub known_hosts: Option<PathBuf>,
    /// How many gits run at a time here, and as many again that talk to hosts.
    pub parallel: usize,
    /// Address space of one git, in bytes.
    pub memory: u64,
    pub network_timeout: Duration,
    pub local_timeout: Duration,
    pub limits: Limits,
}

/// Bounds on what an agent can make us read, keep and show.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A changed file larger than this is named, not read.
    pub file: u64,
    /// Bytes of changed files read for one look.
    pub files_total: u64,
    /// Names looked at in one look.
    pub entries: usize,
    pub depth: usize,
    /// How long one look may walk.
    pub walk: Duration,
    /// An object or pack larger than this is not carried out of the clone.
    pub object: u64,
    pub objects_total: u64,
    pub objects: usize,
    pub refs: usize,
    /// Text of one file in a diff, and of a diff.
    pub diff_file: usize,
    pub diff_total: usize,
    pub diff_files: usize,
    pub commits: usize,
    pub patch: usize,
    pub conflict_side: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file: 32 << 20,
            files_total: 512 << 20,
            entries: 500_000,
            depth: 128,
            walk: Duration::from_secs(60),
            object: 1 << 30,
            objects_total: 4 << 30,
            objects: 500_000,
            refs: 5_000,
            diff_file: 256 << 10,
            diff_total: 4 << 20,
            diff_files: 3_000,
            commits: 500,
            patch: 32 << 20,
            conflict_side: 256 << 10,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            git: "git".into(),
            ssh: "ssh".into(),
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            owner: Owner::usual(),
            hosts: Hosts::default(),
            local: Vec::new(),
            proxy: None,
            ca_file: None,
            known_hosts: None,
            parallel: 4,
            memory: 6 << 30,
            network_timeout: Duration::from_secs(900),
            local_timeout: Duration::from_secs(120),
            limits: Limits::default(),
        }
    }
}

/// All workspaces below one root. Cheap to clone. One daemon at a time works in a root.
#[derive(Clone)]
pub struct Workspaces {
    inner: Arc<Inner>,
}

struct Inner {
    places: places::Places,
    config: Config,
    gits: Arc<git::Gits>,
    locks: places::Locks,
}

impl Workspaces {
    /// Makes what is missing below `root`, and takes away what a daemon that was stopped left half-made or half-removed.
    pub fn new(root: impl Into<PathBuf>, config: Config) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io("preparing the workspace directory", &error);
        let root = std::path::absolute(root.into()).map_err(failed)?;
        let places = places::Places::new(root.clone()).map_err(failed)?;
        let gits = Arc::new(git::Gits::new(&root, &config).map_err(failed)?);
        let workspaces = Self { inner: Arc::new(Inner { places, config, gits, locks: places::Locks::default() }) };
        workspaces.inner.clear_leftovers().map_err(failed)?;
        Ok(workspaces)
    }

    /// git's version; an error says what is missing. For `doctor` and the start of the daemon.
    pub async fn check(&self) -> Result<String, Error> {
        self.inner.gits.version(&self.inner.places.root).await
    }

    /// The ids of all workspaces.
    pub fn list(&self) -> Result<Vec<Id>, Error> {
        let tasks = std::fs::read_dir(self.inner.places.root.join("tasks"));
        let tasks = tasks.map_err(|error| Error::io("listing the workspaces", &error))?;
        let mut ids: Vec<Id> = tasks.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        ids.sort();
        Ok(ids)
    }

    /// The clone to give to the agent. A bind mount of it is all that an agent gets to see.
    pub fn path(&self, id: &Id) -> Result<PathBuf, Error> {
        let task = self.inner.places.task(id);
        task.read()?;
        Ok(task.work())
    }
}

impl Inner {
    fn clear_leftovers(&self) -> std::io::Result<()> {
        for area in ["tasks", "cache"] {
            for entry in std::fs::read_dir(self.places.root.join(area))? {
                let entry = entry?;
                let name = entry.file_name();
                if [".making", ".removing"].iter().any(|end| name.to_string_lossy().ends_with(end)) {
                    inside::clear(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    async fn hold(&self, id: &Id) -> tokio::sync::OwnedMutexGuard<()> {
        self.locks.hold(format!("task {id}")).await
    }

    async fn hold_home(&self, key: &str) -> tokio::sync::OwnedMutexGuard<()> {
        self.locks.hold(format!("home {key}")).await
    }
}

/// Runs what touches many files off the async threads.
async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Failed { what: what.to_owned(), detail: error.to_string() }),
    }
}
