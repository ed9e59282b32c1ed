//! The agent's process: how it is started, signalled, and how it ended.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use kanvoy_keeper::words::{End, Exit};

use crate::sys::{self, Ended};

/// Room for what the agent writes while we are busy; the kernel may give less.
const PIPE: i32 = 256 * 1024;

pub struct Agent {
    /// Its process, and the group of all that did not leave it. None when it did not start.
    pid: Option<u32>,
    exit: Option<Exit>,
    sent: Option<i32>,
    out_of_memory: u64,
}

pub struct Pipes {
    pub stdin: File,
    pub stdout: File,
    pub stderr: File,
}

impl Agent {
    /// A command that cannot be started is an agent that ended.
    pub fn start(command: &[OsString]) -> (Self, Option<Pipes>) {
        let mut agent = Self { pid: None, exit: None, sent: None, out_of_memory: out_of_memory() };
        match spawn(command) {
            Ok((pid, pipes)) => {
                agent.pid = Some(pid);
                (agent, Some(pipes))
            }
            Err(error) => {
                agent.exit = Some(Exit::of(End::Failed(error.raw_os_error().unwrap_or_default())));
                (agent, None)
            }
        }
    }

    /// One that an earlier keeper ran.
    pub fn left(exit: Option<Exit>) -> Self {
        let exit = Some(exit.unwrap_or(Exit::of(End::Lost)));
        Self { pid: None, exit, sent: None, out_of_memory: 0 }
    }

    pub fn pid(&self) -> u32 {
        self.pid.unwrap_or_default()
    }

    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// To it and everything in its group.
    pub fn signal(&mut self, signal: i32) {
        let Some(pid) = self.pid else { return };
        // 0 only asks whether somebody is there.
        if self.exit.is_none() && signal > 0 {
            self.sent = Some(signal);
        }
        sys::kill_group(pid, signal);
    }

    /// Ends what it left behind: a run's processes do not outlive the run. Those in its group, and those that were given to
    /// us because their parent is gone.
    pub fn sweep(&mut self) {
        if let Some(pid) = self.pid.filter(|_| self.exit.is_some()) {
            sys::kill_group(pid, sys::SIGKILL);
        }
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).for_each(|pid| sys::kill(pid, sys::SIGKILL));
    }

    /// Takes what ended, the agent's own process among it.
    pub fn reap(&mut self) {
        while let Some((pid, ended)) = sys::reap() {
            if Some(pid) == self.pid && self.exit.is_none() {
                let end = match ended {
                    Ended::Code(code) => End::Code(code),
                    Ended::Signal(signal) => End::Signal(signal),
                };
                let out_of_memory = out_of_memory().saturating_sub(self.out_of_memory);
                self.exit = Some(Exit { end, sent: self.sent, out_of_memory, held: false });
            }
        }
    }
}

/// What the keeper itself ends with.
pub fn code(exit: &Exit) -> i32 {
    match exit.end {
        End::Code(code) => code,
        End::Signal(signal) => 128 + signal,
        End::Failed(libc::ENOENT) => 127,
        End::Failed(_) => 126,
        End::Lost => 255,
    }
}

fn spawn(command: &[OsString]) -> io::Result<(u32, Pipes)> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    sys::as_agent(&mut command);
    let mut child = command.spawn()?;
    let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
    let ours = |fd: OwnedFd| {
        let file = File::from(fd);
        sys::nonblocking(&file).map(|()| file)
    };
    let stdin = ours(child.stdin.take().ok_or_else(missing)?.into())?;
    let stdout = ours(child.stdout.take().ok_or_else(missing)?.into())?;
    let stderr = ours(child.stderr.take().ok_or_else(missing)?.into())?;
    sys::widen(&stdout, PIPE);
    Ok((child.id(), Pipes { stdin, stdout, stderr }))
}

/// How often the kernel killed for want of memory in our cgroup, where we can see it.
fn out_of_memory() -> u64 {
    let files = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
    let text = files.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or_default()
}
