//! A real keeper with a real command, in a directory of its own, and what a daemon keeps of it.
#![allow(clippy::allow_attributes, dead_code, reason = "each test file uses its share")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kanvoy_runtime::keeper::{Deadlines, Handle, KeeperError, Lines, Nonce, Output, Resume, attach};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio_util::task::TaskTracker;

pub const KEEPER: &str = env!("CARGO_BIN_EXE_kanvoy-keeper");

/// Nothing here takes so long; what does is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cage {
    pub place: TempDir,
    pub keeper: Child,
    pub tasks: TaskTracker,
}

/// The program in `examples/agent.rs`, built along with the tests.
pub fn agent() -> PathBuf {
    let target = Path::new(KEEPER).parent().expect("a directory");
    target.join("examples").join("agent")
}

/// A command line of the agent.
pub fn acts(line: &str) -> Vec<String> {
    let agent = agent().to_str().expect("a path").to_owned();
    std::iter::once(agent).chain(line.split(' ').map(str::to_owned)).collect()
}

impl Cage {
    /// Listens on a socket.
    pub fn new(options: &str, command: &[String]) -> Self {
        Self::within(tempfile::tempdir().expect("a directory"), options, command)
    }

    /// In a place where an earlier one has been.
    pub fn within(place: TempDir, options: &str, command: &[String]) -> Self {
        let socket = place.path().join("socket");
        let keeper = keeper(place.path(), options, command)
            .args(["--socket".as_ref(), socket.as_os_str()])
            .arg("--")
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a keeper");
        Self { place, keeper, tasks: TaskTracker::new() }
    }

    /// Speaks on its own stdin and stdout, which are still to be taken from the child.
    pub fn on_stdio(options: &str, command: &[String]) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let keeper = keeper(place.path(), options, command)
            .arg("--")
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a keeper");
        Self { place, keeper, tasks: TaskTracker::new() }
    }

    pub fn journal(&self) -> PathBuf {
        self.place.path().join("journal")
    }

    pub fn pid(&self) -> u32 {
        self.keeper.id().expect("a running keeper")
    }

    pub async fn connect(&self) -> UnixStream {
        let socket = self.place.path().join("socket");
        let start = Instant::now();
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => return stream,
                Err(error) if start.elapsed() > PATIENCE => panic!("no keeper at {}: {error}", socket.display()),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    pub async fn attach(&self, resume: Resume) -> (Lines, Handle) {
        self.attach_over(self.connect().await, resume).await.expect("attached")
    }

    pub async fn attach_over<S>(&self, io: S, resume: Resume) -> Result<(Lines, Handle), KeeperError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        attach(io, Nonce::random().expect("a nonce"), resume, Deadlines::default(), &self.tasks).await
    }

    /// Kills the keeper as nobody can prepare for, and keeps the place.
    pub async fn killed(mut self) -> TempDir {
        self.keeper.kill().await.expect("killed");
        self.place
    }

    /// The code that the keeper ends with.
    pub async fn code(&mut self) -> Option<i32> {
        within(self.keeper.wait()).await.expect("its end").code()
    }

    /// The most memory the keeper ever had, in KiB.
    pub fn most_memory(&self) -> u64 {
        status(self.pid(), "VmHWM:").and_then(|value| value.split(' ').next()?.parse().ok()).expect("a number")
    }
}

fn keeper(place: &Path, options: &str, command: &[String]) -> Command {
    assert!(agent().exists() || !command[0].ends_with("agent"), "examples are built with the tests");
    let mut keeper = Command::new(KEEPER);
    keeper.arg("--journal").arg(place.join("journal"));
    keeper.args(options.split(' ').filter(|option| !option.is_empty())).kill_on_drop(true);
    keeper
}

/// Everything up to the exit, acknowledged as it is stored.
pub async fn to_the_end(lines: &mut Lines, handle: &Handle) -> Vec<Output> {
    let mut told = Vec::new();
    loop {
        let output = within(lines.next()).await.expect("output");
        if let Some(number) = output.number() {
            handle.ack(number);
        }
        let over = matches!(output, Output::Exit { .. });
        told.push(output);
        if over {
            return told;
        }
    }
}

/// In few words: lines as they are, the rest by its name.
pub fn brief(told: &[Output]) -> Vec<String> {
    told.iter()
        .filter_map(|output| match output {
            Output::Line { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
            Output::Oversize { length, checksum, head, .. } => {
                Some(format!("oversize {length} {checksum:x} head {}", head.len()))
            }
            Output::Gap { from, to, cause } => Some(format!("gap {from}..{to} {cause:?}")),
            Output::Exit { exit, .. } => Some(format!("exit {exit}")),
            Output::Stderr { .. } => None,
        })
        .collect()
}

pub async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("it takes too long")
}

/// Looks again and again until it is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn is_alive(pid: u32) -> bool {
    status(pid, "State:").is_some_and(|state| !state.starts_with('Z'))
}

fn status(pid: u32, key: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
}

pub struct Random(u64);

impl Random {
    /// Prints its seed, by which a failure can be had again.
    pub fn new() -> Self {
        let seed = Nonce::random().expect("randomness").0 as u64 | 1;
        println!("seed {seed:#x}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }
}
