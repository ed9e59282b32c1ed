//! The processes of an instance: its keeper and everybody in the keeper's session, as the kernel tells.

use std::io;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::runtime::Stats;

/// A keeper, told from a later process of the same number by the moment it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    pid: u32,
    began: u64,
}

struct Stat {
    pid: u32,
    state: u8,
    session: u32,
    ticks: u64,
    began: u64,
    pages: u64,
}

impl Leader {
    pub fn of(pid: u32) -> Self {
        Self { pid, began: stat(pid).map_or(0, |stat| stat.began) }
    }

    pub fn read(file: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(file).ok()?;
        let (pid, began) = text.split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, began: began.parse().ok()? })
    }

    pub fn write(&self, file: &Path) -> io::Result<()> {
        let beside = file.with_extension("new");
        std::fs::write(&beside, format!("{} {}", self.pid, self.began))?;
        std::fs::rename(beside, file)
    }

    pub fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.began == self.began && !matches!(stat.state, b'Z' | b'X'))
    }

    /// Everybody but the keeper stands still. Who waits for a stopped child to begin (`D`) cannot be stopped, and does nothing.
    pub fn is_frozen(&self) -> bool {
        let members = self.members();
        let stopped = |member: &Stat| matches!(member.state, b'T' | b't');
        members.iter().any(stopped) && members.iter().all(|member| stopped(member) || member.state == b'D')
    }

    pub fn signal(&self, signal: Signal) {
        if self.lives() {
            send(self.pid, signal);
        }
    }

    /// To everybody in the session but the keeper, who must go on reading and keeping.
    pub fn signal_members(&self, signal: Signal) {
        // Twice, for those that were born meanwhile.
        for _ in 0..2 {
            self.members().iter().for_each(|member| send(member.pid, signal));
        }
    }

    pub fn stats(&self) -> Stats {
        let all: Vec<_> = self.members().into_iter().chain(stat(self.pid)).collect();
        let page = rustix::param::page_size() as u64;
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        Stats {
            memory_bytes: all.iter().map(|member| member.pages * page).sum(),
            memory_limit_bytes: 0,
            cpu_nanos: all.iter().map(|member| member.ticks * (1_000_000_000 / ticks)).sum(),
            pids: all.len() as u64,
            rx_bytes: 0,
            tx_bytes: 0,
        }
    }

    fn members(&self) -> Vec<Stat> {
        // The keeper's own session: its number is the keeper's. One that has not made it yet has no members.
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != self.pid)
            .filter_map(stat)
            .filter(|stat| stat.session == self.pid && stat.began >= self.began && stat.state != b'Z')
            .collect()
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, brackets and spaces too, so what counts comes after the last bracket.
    let (_, rest) = text.rsplit_once(") ")?;
    let words: Vec<_> = rest.split(' ').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    Some(Stat {
        pid,
        state: *words.first()?.as_bytes().first()?,
        session: u32::try_from(number(3)?).ok()?,
        ticks: number(11)? + number(12)?,
        began: number(19)?,
        pages: number(21)?,
    })
}

pub fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|total| total.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}
