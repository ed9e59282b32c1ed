//! Agents as plain processes of the daemon's user, for machines without an engine. **Not a cage**: nothing of what the record
//! asks for is enforced, and everything that shows such an agent says so.
//!
//! The keeper is the same as in a cage. It listens on a socket and has a session of its own, so that neither Ctrl-C nor the
//! daemon's end reaches the agent. What is known of an instance lies in a directory of its own, for the daemon's next life.

mod members;
mod socket;

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::attached::{Attached, Grip, StderrTail};
use crate::cage::{Cage, LABEL_INSTALLATION};
use crate::docker::digest;
use crate::error::RuntimeError;
use crate::process::members::Leader;
use crate::runtime::{
    Created, EngineEvent, EngineFacts, Exit, ExitCause, Found, FoundKind, Happening, Instance, InstanceId, Keep, Kind,
    Launch, Progress, Runtime, Secrets, State, Stats, UnixNanos,
};

/// Between two looks at a process that is not our child.
const LOOK: Duration = Duration::from_millis(50);
const TAIL_BYTES: u64 = 16 * 1024;

/// How a [`ProcessRuntime`] is set up. Nothing is read from the environment here.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Ours alone. Short, because sockets in it have names of at most 107 bytes.
    pub dir: PathBuf,
    pub installation: String,
    /// The keeper for this machine; it is put into `dir`.
    pub keeper: Bytes,
    /// The agents' `PATH`. They get nothing else of the daemon's environment.
    pub path: String,
}

pub struct ProcessRuntime {
    config: ProcessConfig,
    children: Mutex<HashMap<InstanceId, Child>>,
    /// Values that must not lie on a disk, between creation and start.
    secrets: Mutex<HashMap<InstanceId, Secrets>>,
    held: Mutex<HashMap<InstanceId, Grip>>,
}

impl ProcessRuntime {
    pub fn new(config: ProcessConfig) -> Self {
        Self { config, children: Mutex::default(), secrets: Mutex::default(), held: Mutex::default() }
    }

    /// For [`crate::cage::Facts::keeper`].
    pub fn keeper_digest(&self) -> String {
        digest(&self.config.keeper)
    }

    fn home(&self, instance: &InstanceId) -> PathBuf {
        self.config.dir.join(instance.as_str())
    }

    fn keeper(&self) -> PathBuf {
        self.config.dir.join(format!("keeper-{}", &self.keeper_digest()[..16]))
    }

    fn install_keeper(&self) -> std::io::Result<()> {
        let keeper = self.keeper();
        if std::fs::metadata(&keeper).is_ok_and(|meta| meta.len() == self.config.keeper.len() as u64) {
            return Ok(());
        }
        make_dir(&self.config.dir)?;
        // Renamed into place: one that runs cannot be written to.
        let beside = keeper.with_extension(format!("{}", std::process::id()));
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&beside)?;
        std::fs::write(&beside, &self.config.keeper)?;
        std::fs::rename(beside, keeper)
    }

    fn cage(&self, instance: &InstanceId) -> Result<Option<Cage>, RuntimeError> {
        let read = match std::fs::read(self.home(instance).join("cage.json")) {
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(local("reading an instance", &e)),
        };
        let cage: Cage = serde_json::from_slice(&read).map_err(|e| local("reading an instance", &e))?;
        if cage.installation() == self.config.installation {
            Ok(Some(cage))
        } else {
            Err(RuntimeError::NameTaken { name: instance.container() })
        }
    }

    fn known(&self, instance: &InstanceId) -> Result<Cage, RuntimeError> {
        self.cage(instance)?.ok_or_else(|| RuntimeError::NoSuchInstance { instance: instance.to_string() })
    }

    fn look(&self, instance: &InstanceId) -> Result<Option<Instance>, RuntimeError> {
        let Some(cage) = self.cage(instance)? else { return Ok(None) };
        let home = self.home(instance);
        let (state, exit) = match Leader::read(&home.join("pid")) {
            None => (State::Created, None),
            Some(leader) if leader.lives() && leader.is_frozen() => (State::Paused, None),
            Some(leader) if leader.lives() => (State::Running, None),
            Some(_) => {
                // Only now: one that dies between being asked and being looked at would have no code.
                self.reap(instance);
                (State::Exited, Some(read_exit(&home)))
            }
        };
        Ok(Some(Instance {
            engine_id: instance.container(),
            state,
            labels: cage.labels,
            image: cage.image,
            started_at: None,
            exit,
        }))
    }

    /// Only our own children tell how they ended.
    fn reap(&self, instance: &InstanceId) {
        let mut children = self.children.lock();
        if let Some(child) = children.get_mut(instance)
            && let Ok(Some(status)) = child.try_wait()
        {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            std::fs::write(self.home(instance).join("exit"), code.to_string()).ok();
            children.remove(instance);
        }
    }

    fn leader(&self, instance: &InstanceId) -> Result<Leader, RuntimeError> {
        self.known(instance)?;
        Leader::read(&self.home(instance).join("pid"))
            .filter(Leader::lives)
            .ok_or_else(|| RuntimeError::NotRunning { instance: instance.to_string() })
    }

    fn attach_unasked(&self, instance: &InstanceId) -> Attached {
        self.drop_held(instance);
        let (read, write) = tokio::io::split(socket::Later::new(self.home(instance).join("s")));
        let attached = Attached::new(write, read, StderrTail::default());
        self.held.lock().insert(instance.clone(), attached.grip.clone());
        attached
    }

    fn drop_held(&self, instance: &InstanceId) {
        if let Some(grip) = self.held.lock().remove(instance) {
            grip.drop_now();
        }
    }

    async fn until_ended(&self, instance: &InstanceId, most: Duration) -> Result<Option<Option<Exit>>, RuntimeError> {
        let until = Instant::now() + most;
        loop {
            match self.look(instance)? {
                None => return Ok(Some(None)),
                Some(found) if matches!(found.state, State::Exited | State::Created) => return Ok(Some(found.exit)),
                Some(_) if Instant::now() >= until => return Ok(None),
                Some(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    fn instances(&self) -> Result<Vec<InstanceId>, RuntimeError> {
        let entries = match std::fs::read_dir(&self.config.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(local("listing instances", &e)),
        };
        let mut instances = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| local("listing instances", &e))?;
            let named = entry.file_name().to_str().and_then(|name| InstanceId::parse(name).ok());
            if let Some(instance) = named.filter(|_| entry.path().join("cage.json").exists()) {
                instances.push(instance);
            }
        }
        instances.sort();
        Ok(instances)
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn kind(&self) -> Kind {
        Kind::Process
    }

    async fn facts(&self) -> Result<EngineFacts, RuntimeError> {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX));
        Ok(EngineFacts {
            kind: Kind::Process,
            address: "this machine, no cage".to_owned(),
            local: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_version: String::new(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpus,
            memory_bytes: members::machine_memory(),
            cgroup_version: 0,
            rootless: false,
            seccomp: false,
            apparmor: false,
            limits_memory: false,
            limits_swap: false,
            limits_pids: false,
            limits_cpu: false,
            live_restore: true,
            warnings: vec!["agents run as plain processes of the daemon's user: not a cage".to_owned()],
        })
    }

    async fn prepare(&self, launch: &Launch, progress: &mpsc::Sender<Progress>) -> Result<(), RuntimeError> {
        if launch.cage.runtime != Kind::Process {
            return Err(RuntimeError::Unsupported { what: "a cage" });
        }
        self.install_keeper().map_err(|e| local("installing the keeper", &e))?;
        progress.try_send(Progress::StorageReady).ok();
        Ok(())
    }

    async fn create(&self, launch: &Launch) -> Result<Created, RuntimeError> {
        let instance = &launch.cage.instance;
        let created =
            |adopted, state| Created { engine_id: instance.container(), adopted, state, warnings: Vec::new() };
        self.secrets.lock().insert(instance.clone(), launch.secrets.clone());
        if let Some(found) = self.look(instance)? {
            return Ok(created(true, found.state));
        }
        let home = self.home(instance);
        let write = || -> std::io::Result<()> {
            make_dir(&home.join("journal"))?;
            let record = serde_json::to_vec(&launch.cage)?;
            // Renamed into place: half a record would be no instance and no absence either.
            std::fs::write(home.join("cage.json.new"), record)?;
            std::fs::rename(home.join("cage.json.new"), home.join("cage.json"))
        };
        write().map_err(|e| local("making an instance", &e))?;
        Ok(created(false, State::Created))
    }

    async fn attach(&self, instance: &InstanceId) -> Result<Attached, RuntimeError> {
        match self.look(instance)?.map(|found| found.state) {
            None => Err(RuntimeError::NoSuchInstance { instance: instance.to_string() }),
            Some(State::Exited) => Err(RuntimeError::NotRunning { instance: instance.to_string() }),
            Some(_) => Ok(self.attach_unasked(instance)),
        }
    }

    async fn start(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        let cage = self.known(instance)?;
        let home = self.home(instance);
        if self.leader(instance).is_ok() {
            return Ok(());
        }
        let secrets = self.secrets.lock().remove(instance).unwrap_or_default();
        let secret = |name: &String| secrets.reveal(name).map(|value| (name.clone(), value.to_owned()));
        let stderr = std::fs::File::options().create(true).append(true).mode(0o600).open(home.join("stderr"));
        let stderr = stderr.map_err(|e| local("starting an instance", &e))?;
        std::fs::remove_file(home.join("exit")).ok();
        let child = Command::new(self.keeper())
            .arg("--socket")
            .arg(home.join("s"))
            .arg("--journal")
            .arg(home.join("journal"))
            .arg("--")
            .args(&cage.command)
            .env_clear()
            .env("PATH", &self.config.path)
            .envs(&cage.env)
            .envs(cage.secret_env.iter().filter_map(secret))
            .current_dir(&cage.working_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn();
        let child = child.map_err(|e| local("starting the keeper", &e))?;
        let pid = child.id().unwrap_or_default();
        self.children.lock().insert(instance.clone(), child);
        Leader::of(pid).write(&home.join("pid")).map_err(|e| local("starting an instance", &e))
    }

    async fn stop(&self, instance: &InstanceId, grace: Duration) -> Result<Option<Exit>, RuntimeError> {
        let leader = match self.leader(instance) {
            Ok(leader) => leader,
            Err(RuntimeError::NoSuchInstance { .. }) => return Ok(None),
            Err(RuntimeError::NotRunning { .. }) => return Ok(self.look(instance)?.and_then(|found| found.exit)),
            Err(error) => return Err(error),
        };
        // A frozen process hears no request.
        leader.signal_members(Signal::CONT);
        leader.signal(Signal::TERM);
        if let Some(ended) = self.until_ended(instance, grace).await? {
            leader.signal_members(Signal::KILL);
            return Ok(ended);
        }
        leader.signal_members(Signal::KILL);
        leader.signal(Signal::KILL);
        let after = Duration::from_secs(10);
        self.until_ended(instance, after).await?.ok_or(RuntimeError::Deadline { call: "stop", after })
    }

    async fn remove(&self, instance: &InstanceId, keep: Keep) -> Result<(), RuntimeError> {
        self.drop_held(instance);
        self.secrets.lock().remove(instance);
        if self.cage(instance)?.is_none() {
            return Ok(());
        }
        self.stop(instance, Duration::ZERO).await?;
        if keep == Keep::Journal {
            return Ok(());
        }
        match std::fs::remove_dir_all(self.home(instance)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(local("removing an instance", &e)),
            _ => Ok(()),
        }
    }

    async fn inspect(&self, instance: &InstanceId) -> Result<Option<Instance>, RuntimeError> {
        self.look(instance)
    }

    async fn wait(&self, instance: &InstanceId) -> Result<Option<Exit>, RuntimeError> {
        loop {
            match self.look(instance)? {
                None => return Ok(None),
                Some(found) if found.exit.is_some() => return Ok(found.exit),
                Some(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn list_ours(&self) -> Result<Vec<Found>, RuntimeError> {
        let mut found = Vec::new();
        for instance in self.instances()? {
            let now = match self.look(&instance) {
                Ok(Some(now)) => now,
                Ok(None) | Err(RuntimeError::NameTaken { .. }) => continue,
                Err(error) => return Err(error),
            };
            found.push(Found {
                what: FoundKind::Instance,
                name: instance.to_string(),
                labels: now.labels,
                created_at: None,
                state: Some(now.state),
            });
        }
        Ok(found)
    }

    async fn remove_ours(
        &self,
        chosen: &(dyn for<'a> Fn(&'a Found) -> bool + Send + Sync),
    ) -> Result<Vec<Found>, RuntimeError> {
        let mut gone = Vec::new();
        for found in self.list_ours().await?.into_iter().filter(|found| chosen(found)) {
            debug_assert_eq!(found.labels.get(LABEL_INSTALLATION), Some(&self.config.installation));
            match self.remove(&InstanceId::parse(&found.name)?, Keep::Nothing).await {
                Ok(()) => gone.push(found),
                Err(error) => tracing::warn!("instance {} stays: {error}", found.name),
            }
        }
        Ok(gone)
    }

    async fn remove_store(&self, _name: &str) -> Result<(), RuntimeError> {
        Err(RuntimeError::Unsupported { what: "a volume" })
    }

    async fn pause(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        self.leader(instance)?.signal_members(Signal::STOP);
        Ok(())
    }

    async fn unpause(&self, instance: &InstanceId) -> Result<(), RuntimeError> {
        self.leader(instance)?.signal_members(Signal::CONT);
        Ok(())
    }

    /// There is nobody to tell, so the processes are looked at.
    fn events(&self, _since: Option<UnixNanos>) -> BoxStream<'static, EngineEvent> {
        let watcher = Self::new(self.config.clone());
        let state = (watcher, None::<BTreeMap<InstanceId, State>>, Vec::new());
        stream::unfold(state, |(watcher, mut before, mut ready)| async move {
            loop {
                if let Some(event) = ready.pop() {
                    return Some((event, (watcher, before, ready)));
                }
                let now: BTreeMap<_, _> = watcher
                    .instances()
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|instance| {
                        let state = watcher.look(&instance).ok().flatten()?.state;
                        Some((instance, state))
                    })
                    .collect();
                if let Some(before) = &before {
                    ready = changes(before, &now);
                    ready.reverse();
                }
                before = Some(now);
                tokio::time::sleep(LOOK * 4).await;
            }
        })
        .boxed()
    }

    async fn tail(&self, instance: &InstanceId) -> Result<Vec<u8>, RuntimeError> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(self.home(instance).join("stderr"))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut tail = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut tail)?;
            Ok(tail)
        };
        match read() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|e| local("reading stderr", &e)),
        }
    }

    async fn stats(&self, instance: &InstanceId) -> Result<Stats, RuntimeError> {
        Ok(self.leader(instance)?.stats())
    }

    async fn revive(&self, instance: &InstanceId) -> Result<Attached, RuntimeError> {
        self.known(instance)?;
        let attached = self.attach_unasked(instance);
        self.start(instance).await?;
        Ok(attached)
    }

    async fn send_tree(
        &self,
        _volume: &str,
        _tar: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> Result<(), RuntimeError> {
        Err(RuntimeError::Unsupported { what: "a volume" })
    }

    async fn fetch_tree(
        &self,
        _volume: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, std::io::Error>>, RuntimeError> {
        Err(RuntimeError::Unsupported { what: "a volume" })
    }
}

fn changes(before: &BTreeMap<InstanceId, State>, now: &BTreeMap<InstanceId, State>) -> Vec<EngineEvent> {
    let event = |instance: &InstanceId, what| EngineEvent { at: 0, instance: Some(instance.clone()), what };
    let mut events = Vec::new();
    for (instance, state) in now {
        let was = before.get(instance);
        if was.is_none() {
            events.push(event(instance, Happening::Created));
        }
        match (was, state) {
            (Some(State::Paused), State::Running) => events.push(event(instance, Happening::Unpaused)),
            (was, State::Running) if was != Some(&State::Running) => events.push(event(instance, Happening::Started)),
            (was, State::Paused) if was != Some(&State::Paused) => events.push(event(instance, Happening::Paused)),
            (was, State::Exited) if was != Some(&State::Exited) => {
                events.push(event(instance, Happening::Died { code: None }));
            }
            _ => {}
        }
    }
    let gone = before.keys().filter(|instance| !now.contains_key(*instance));
    events.extend(gone.map(|instance| event(instance, Happening::Removed)));
    events
}

fn read_exit(home: &Path) -> Exit {
    let code = std::fs::read_to_string(home.join("exit")).ok().and_then(|text| text.parse().ok());
    let cause = match code {
        // It was the child of an earlier daemon, which is who was told.
        None => ExitCause::Unknown,
        Some(code @ 129..=192) => ExitCause::Killed { signal: i32::try_from(code - 128).unwrap_or_default() },
        Some(code) => ExitCause::Exited { code },
    };
    Exit { code: code.unwrap_or(-1), oom: false, cause, finished_at: None }
}

fn make_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn local(what: &'static str, error: &dyn std::fmt::Display) -> RuntimeError {
    RuntimeError::Local { what, detail: error.to_string() }
}
