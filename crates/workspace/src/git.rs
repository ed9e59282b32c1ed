//! The one place where git is started. Whatever runs here runs in a repository of ours, with an environment of ours, for a
//! limited time, with a limited output, and dies with everything it started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc};

use crate::error::{Error, from_git};
use crate::{Config, places};

/// Which transports a call may open. Most open none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    None,
    /// Another repository of ours on this disk, or one that the configuration allows.
    Disk,
    /// `https` and `ssh`.
    Net,
}

pub(crate) struct Gits {
    git: PathBuf,
    /// Given to every call; nothing of the daemon's own environment gets through.
    env: Vec<(&'static str, OsString)>,
    /// Reading what is here never waits for a host that is slow: each kind has places of its own.
    places: Semaphore,
    net_places: Semaphore,
    memory: u64,
    quick: Duration,
}

/// Settings that no repository's own configuration may override: they go on every command line.
const ALWAYS: [(&str, &str); 9] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("protocol.ext.allow", "never"),
    ("protocol.fd.allow", "never"),
    ("http.followRedirects", "false"),
    ("submodule.recurse", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
];

/// `GIT_CONFIG_GLOBAL`: the only configuration file outside the repositories that git reads. The small file threshold keeps
/// memory flat: a larger blob is streamed, and is binary to a diff. The fsck lines let pass what old, honest histories hold.
const GLOBAL: &str = "\
[core]
	bigFileThreshold = 8m
	packedGitWindowSize = 64m
	packedGitLimit = 512m
	deltaBaseCacheLimit = 64m
	protectHFS = true
	protectNTFS = true
	pager = cat
	attributesFile = /dev/null
	excludesFile = /dev/null
	askPass =
[credential]
	helper =
[pack]
	threads = 2
	windowMemory = 128m
[diff]
	renameLimit = 1000
	external =
	noprefix = false
	mnemonicPrefix = false
[transfer]
	bundleURI = false
	advertiseSID = false
[fetch]
	recurseSubmodules = false
	writeCommitGraph = false
	fsckObjects = true
[fetch \"fsck\"]
	zeroPaddedFilemode = ignore
	badTimezone = ignore
	missingSpaceBeforeDate = ignore
	missingEmail = ignore
	missingNameBeforeEmail = ignore
	missingSpaceBeforeEmail = ignore
	multipleAuthors = ignore
	nullSha1 = ignore
	gitmodulesParse = ignore
[push]
	recurseSubmodules = no
	followTags = false
	gpgSign = false
[commit]
	gpgSign = false
[init]
	defaultBranch = main
	templateDir =
[advice]
	detachedHead = false
";

impl Gits {
    pub(crate) fn new(root: &Path, config: &Config) -> io::Result<Self> {
        let home = root.join("home");
        places::private_dir(&home)?;
        let global = root.join("git.config");
        std::fs::write(&global, GLOBAL)?;
        let env = vec![
            ("PATH", config.path.clone().into()),
            ("HOME", home.clone().into_os_string()),
            ("XDG_CONFIG_HOME", home.into_os_string()),
            ("LC_ALL", "C".into()),
            ("TZ", "UTC".into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", global.into_os_string()),
            ("GIT_ATTR_NOSYSTEM", "1".into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("GIT_OPTIONAL_LOCKS", "0".into()),
            ("GIT_NO_LAZY_FETCH", "1".into()),
            ("GIT_NO_REPLACE_OBJECTS", "1".into()),
            ("GIT_LFS_SKIP_SMUDGE", "1".into()),
            ("GIT_PAGER", "cat".into()),
            ("GIT_EDITOR", "false".into()),
            ("GIT_PROTOCOL_FROM_USER", "0".into()),
        ];
        Ok(Self {
            git: config.git.clone(),
            env,
            places: Semaphore::new(config.parallel.max(1)),
            net_places: Semaphore::new(config.parallel.max(1)),
            memory: config.memory,
            quick: config.local_timeout,
        })
    }

    /// A call in the bare repository `repo`.
    pub(crate) fn at(self: &Arc<Self>, repo: &Path) -> Git {
        self.call(repo, repo)
    }

    /// A call with `repo` as git's directory that starts in `cwd`.
    pub(crate) fn call(self: &Arc<Self>, repo: &Path, cwd: &Path) -> Git {
        let mut env: BTreeMap<OsString, OsString> =
            self.env.iter().map(|(name, value)| (OsString::from(name), value.clone())).collect();
        env.insert("GIT_DIR".into(), repo.into());
        Git {
            gits: Arc::clone(self),
            cwd: cwd.to_owned(),
            env,
            config: Vec::new(),
            args: Vec::new(),
            wire: Wire::None,
            timeout: self.quick,
            cap: 64 << 20,
            stdin: Input::Nothing,
            remote: None,
            secrets: Vec::new(),
        }
    }

    /// git's version, or why there is none that can be used.
    pub(crate) async fn version(self: &Arc<Self>, root: &Path) -> Result<String, Error> {
        let output = self.call(root, root).arg("--version").ok("asking git for its version").await?;
        let text = output.text();
        let version = text.trim().strip_prefix("git version ").unwrap_or(text.trim()).to_owned();
        let mut numbers = version.split(['.', ' ', '-']).map_while(|part| part.parse::<u32>().ok());
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if (major, minor) < (2, 38) { Err(Error::NoGit(format!("found {version}"))) } else { Ok(version) }
    }
}

pub(crate) enum Input {
    Nothing,
    Bytes(Vec<u8>),
    /// The first piece, and those that follow until the sender is gone.
    Stream(Vec<u8>, mpsc::Receiver<Vec<u8>>),
}

/// One call of git, being put together.
pub(crate) struct Git {
    gits: Arc<Gits>,
    cwd: PathBuf,
    env: BTreeMap<OsString, OsString>,
    config: Vec<(String, String)>,
    args: Vec<OsString>,
    wire: Wire,
    timeout: Duration,
    cap: usize,
    stdin: Input,
    remote: Option<(String, &'static str)>,
    secrets: Vec<String>,
}

pub(crate) struct Output {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// There was more; git was stopped.
    pub truncated: bool,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Git {
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub(crate) fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.push((key.into(), value.into()));
        self
    }

    pub(crate) fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn cap(mut self, cap: usize) -> Self {
        self.cap = cap;
        self
    }

    pub(crate) fn stdin(mut self, input: Input) -> Self {
        self.stdin = input;
        self
    }

    /// Lets failures be read as answers of that host; `act` is what was asked of it.
    pub(crate) fn remote(mut self, host: &str, act: &'static str) -> Self {
        self.remote = Some((host.to_owned(), act));
        self
    }

    /// Exact texts that must never be seen in an error.
    pub(crate) fn secrets(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        self.secrets.extend(secrets.into_iter().filter(|secret| secret.len() > 3));
        self
    }

    /// Success, or what git's failure means.
    pub(crate) async fn ok(self, what: &str) -> Result<Output, Error> {
        let remote = self.remote.clone();
        let output = self.run(what).await?;
        if output.code == Some(0) || output.truncated {
            return Ok(output);
        }
        let remote = remote.as_ref().map(|(host, act)| (host.as_str(), *act));
        Err(from_git(what, remote, &output.stderr))
    }

    /// The first line of what a successful call printed.
    pub(crate) async fn line(self, what: &str) -> Result<String, Error> {
        Ok(self.ok(what).await?.text().lines().next().unwrap_or_default().to_owned())
    }

    /// Runs to its end, or until more than `cap` bytes have come.
    pub(crate) async fn run(self, what: &str) -> Result<Output, Error> {
        let cap = self.cap;
        let mut stdout = Vec::new();
        let mut take = |bytes: &[u8]| {
            let room = cap - stdout.len();
            stdout.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if bytes.len() > room { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut output = self.each(what, &mut take).await?;
        output.stdout = stdout;
        Ok(output)
    }

    /// Gives the output away piece by piece; `Break` stops git.
    pub(crate) async fn each(
        mut self,
        what: &str,
        take: &mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send),
    ) -> Result<Output, Error> {
        let gits = Arc::clone(&self.gits);
        let (timeout, secrets) = (self.timeout, std::mem::take(&mut self.secrets));
        // Waiting for a place is not git's time: those before have a bound of their own.
        let places = if self.wire == Wire::Net { &gits.net_places } else { &gits.places };
        let _place = places.acquire().await.map_err(|_| Error::Refused("the daemon is stopping".into()))?;
        let work = async {
            let mut running = self.start().map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::NoGit("it was not found; install git".into()),
                _ => Error::io("starting git", &error),
            })?;
            let input = std::mem::replace(&mut self.stdin, Input::Nothing);
            running.talk(input, take).await.map_err(|error| Error::io(what, &error))
        };
        let Ok(done) = tokio::time::timeout(timeout, work).await else {
            return Err(Error::Timeout { what: what.to_owned(), after: timeout });
        };
        let mut output = done?;
        output.stderr = redacted(&output.stderr, &secrets);
        if output.code != Some(0) && !output.truncated {
            tracing::debug!(git.code = ?output.code, "git ended with {:?} while {what}: {}", output.code, output.stderr);
        }
        Ok(output)
    }

    fn start(&self) -> io::Result<Running> {
        let mut command = Command::new(&self.gits.git);
        for (key, value) in ALWAYS {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        for (key, value) in &self.config {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        let allowed = match self.wire {
            Wire::None => "none",
            Wire::Disk => "file",
            Wire::Net => "https:ssh",
        };
        command
            .args(&self.args)
            .current_dir(&self.cwd)
            .env_clear()
            .envs(&self.env)
            .env("GIT_ALLOW_PROTOCOL", allowed)
            .stdin(if matches!(self.stdin, Input::Nothing) { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = group {
            // A pack of a few kilobytes can ask for gigabytes. git then fails instead of the machine.
            for (what, most) in [(Resource::As, self.gits.memory), (Resource::Core, 0)] {
                let _ = rustix::process::prlimit(Some(pid), what, Rlimit { current: Some(most), maximum: Some(most) });
            }
        }
        Ok(Running { group, child })
    }
}

/// Dropped in whatever way, it leaves no process behind: git starts helpers, and they are in its group. The leader stays
/// unreaped until then, so the group's number cannot have become somebody else's.
struct Running {
    group: Option<Pid>,
    child: Child,
}

impl Running {
    async fn talk(
        &mut self,
        input: Input,
        take: &mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send),
    ) -> io::Result<Output> {
        let stdin = self.child.stdin.take();
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let write = async {
            let Some(mut stdin) = stdin else { return };
            // A git that stops reading says why on its way out; the broken pipe is no news.
            match input {
                Input::Nothing => {}
                Input::Bytes(bytes) => drop(stdin.write_all(&bytes).await),
                Input::Stream(first, mut pieces) => {
                    if stdin.write_all(&first).await.is_err() {
                        return;
                    }
                    while let Some(piece) = pieces.recv().await {
                        if stdin.write_all(&piece).await.is_err() {
                            break;
                        }
                    }
                }
            }
        };
        let read = async {
            let Some(mut stdout) = stdout else { return Ok(false) };
            let mut piece = vec![0; 64 << 10];
            loop {
                let read = stdout.read(&mut piece).await?;
                if read == 0 {
                    return Ok::<_, io::Error>(false);
                }
                if take(&piece[..read]).is_break() {
                    return Ok(true);
                }
            }
        };
        let complain = async {
            let mut kept = Vec::new();
            let Some(mut stderr) = stderr else { return kept };
            let mut piece = vec![0; 8 << 10];
            while let Ok(read) = stderr.read(&mut piece).await {
                if read == 0 {
                    break;
                }
                let room = (32usize << 10).saturating_sub(kept.len());
                kept.extend_from_slice(&piece[..read.min(room)]);
            }
            kept
        };
        // A reader that has enough ends the whole conversation, or git would wait for it for ever.
        let group = self.group;
        let read = async {
            let full = read.await;
            if !matches!(full, Ok(false)) {
                kill(group);
            }
            full
        };
        let ((), truncated, stderr) = tokio::join!(write, read, complain);
        let truncated = truncated?;
        kill_rest(group, &mut self.child).await;
        self.group = None;
        let status = self.child.wait().await?;
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(Output { code: status.code(), stdout: Vec::new(), stderr, truncated })
    }
}

/// Both pipes are at their end, so git is done or nearly; what it left running has closed them and is not waited for.
async fn kill_rest(group: Option<Pid>, child: &mut Child) {
    let Some(pid) = group else { return };
    for _ in 0..2_000 {
        // Peek, do not reap: see `Running`.
        let flags = rustix::process::WaitIdOptions::EXITED
            | rustix::process::WaitIdOptions::NOWAIT
            | rustix::process::WaitIdOptions::NOHANG;
        match rustix::process::waitid(rustix::process::WaitId::Pid(pid), flags) {
            Ok(None) => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => break,
        }
        if child.id().is_none() {
            return;
        }
    }
    kill(group);
}

fn kill(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill(self.group);
    }
}

/// Takes out the given secrets and whatever stands before an `@` in a URL.
pub(crate) fn redacted(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c == '/' || c == '\'' || c == '"' || c.is_whitespace()).unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(user) => {
                shown.push_str("***");
                rest = &after[user..];
            }
            None => rest = after,
        }
    }
    shown.push_str(rest);
    shown
}

/// For the one option whose value git hands to a shell.
pub(crate) fn quoted(path: &Path) -> OsString {
    let mut quoted = b"'".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    OsStr::from_bytes(&quoted).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let said = "fatal: unable to access 'https://ada:hunter22@git.example/r.git/': hunter22 https://x/y@z";
        let shown = redacted(said, &["hunter22".into()]);
        assert_eq!(shown, "fatal: unable to access 'https://***@git.example/r.git/': *** https://x/y@z");
    }

    #[test]
    fn quotes_hold() {
        assert_eq!(quoted(Path::new("/a b/it's")), OsString::from("'/a b/it'\\''s'"));
    }
}
