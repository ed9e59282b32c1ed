//! The agent of these tests: looks at its cage from inside and misbehaves on request. Built static by `world.rs`, alone in its image.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Command, exit};
use std::time::Duration;

unsafe extern "C" {
    fn signal(signum: i32, handler: usize) -> usize;
    fn getuid() -> u32;
    fn getgid() -> u32;
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    match args.first().map(String::as_str) {
        Some("cat") => cat(),
        Some("report") => report(),
        Some("forks") => forks(),
        Some("eat") => eat(number(1)),
        Some("eat-child") => {
            let ended = Command::new("/probe").args(["eat", &args[1]]).status();
            say(&format!("child={ended:?}"));
            exit(number(2) as i32);
        }
        Some("ignore-term") => {
            // SAFETY: SIG_IGN is a valid disposition for SIGTERM.
            unsafe { signal(15, 1) };
            say("ready");
            sleep(3600);
        }
        Some("sleep") => {
            say("ready");
            sleep(number(1));
        }
        Some("flood") => loop {
            say(&"x".repeat(1000));
        },
        Some("count") => {
            for n in 0..number(1) {
                say(&format!("line {n}"));
            }
        }
        Some("connect") => say(&format!("connect={:?}", connect(&args[1]))),
        Some("stderr") => eprintln!("{}", args[1]),
        Some("abort") => std::process::abort(),
        Some("secret") => say(&format!("secret={}", std::env::var("TOKEN").unwrap_or_default())),
        Some("exit") => exit(number(1) as i32),
        other => {
            eprintln!("the probe does not know {other:?}");
            exit(64);
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        exit(74);
    }
}

fn sleep(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

fn cat() {
    let mut buf = [0; 65536];
    loop {
        match std::io::stdin().read(&mut buf) {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                let mut out = std::io::stdout().lock();
                if out.write_all(&buf[..n]).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        }
    }
}

fn connect(to: &str) -> Result<(), String> {
    let to = to.to_socket_addrs().map_err(|e| e.kind().to_string())?.next().ok_or("no address")?;
    TcpStream::connect_timeout(&to, Duration::from_secs(3)).map(|_| ()).map_err(|e| e.kind().to_string())
}

fn report() {
    // SAFETY: these have no preconditions.
    let (uid, gid) = unsafe { (getuid(), getgid()) };
    say(&format!("uid={uid}"));
    say(&format!("gid={gid}"));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups"] {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("?");
        say(&format!("{name}={}", value.trim()));
    }
    for dir in ["/", "/etc", "/usr", "/kanvoy", "/tmp", "/run", "/workspace", "/home/agent", "/dev/shm", "/proc/sys/kernel"] {
        say(&format!("write {dir}={}", write(dir)));
    }
    say(&format!("home={}", std::env::var("HOME").unwrap_or_default()));
    say(&format!("cwd={}", std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default()));
    let nets = fs::read_dir("/sys/class/net").map(|dir| {
        let mut names: Vec<_> = dir.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.join(",")
    });
    say(&format!("interfaces={}", nets.unwrap_or_default()));
    say(&format!("memory={}", cgroup(&["memory/memory.limit_in_bytes", "memory.max"])));
    say(&format!("memsw={}", cgroup(&["memory/memory.memsw.limit_in_bytes", "memory.swap.max"])));
    say(&format!("pids={}", cgroup(&["pids/pids.max", "pids.max"])));
    say(&format!("cpu={}", cgroup(&["cpu/cpu.cfs_quota_us", "cpu.max"])));
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let nofile = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    say(&format!("nofile={}", nofile.split_whitespace().nth(3).unwrap_or_default()));
    let core = limits.lines().find(|line| line.starts_with("Max core")).unwrap_or_default();
    say(&format!("core={}", core.split_whitespace().nth(4).unwrap_or_default()));
    say(&format!("oom_score_adj={}", fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default().trim()));
    say(&format!("init={}", fs::read_to_string("/proc/1/comm").unwrap_or_default().trim()));
    for socket in ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"] {
        say(&format!("exists {socket}={}", fs::metadata(socket).is_ok()));
    }
    for dir in ["/tmp", "/run", "/workspace", "/home/agent"] {
        say(&format!("exec {dir}={}", exec_in(dir)));
    }
    for (name, _) in std::env::vars() {
        say(&format!("env={name}"));
    }
    say("done");
}

fn write(dir: &str) -> String {
    match fs::write(format!("{dir}/.probe"), "x") {
        Ok(()) => {
            fs::remove_file(format!("{dir}/.probe")).ok();
            "yes".to_owned()
        }
        Err(e) => format!("no ({})", e.kind()),
    }
}

fn exec_in(dir: &str) -> String {
    let copy = format!("{dir}/.probe-copy");
    if let Err(e) = fs::copy("/probe", &copy) {
        return format!("no copy ({})", e.kind());
    }
    let ran = Command::new(&copy).args(["exit", "0"]).status();
    fs::remove_file(&copy).ok();
    match ran {
        Ok(_) => "yes".to_owned(),
        Err(e) => format!("no ({})", e.kind()),
    }
}

fn cgroup(names: &[&str]) -> String {
    let read = |name: &&str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    names.iter().find_map(read).unwrap_or_default().trim().to_owned()
}

fn forks() {
    let mut children = Vec::new();
    let error = loop {
        match Command::new("/probe").args(["sleep", "30"]).stdout(std::process::Stdio::null()).spawn() {
            Ok(child) => children.push(child),
            Err(error) => break error.kind().to_string(),
        }
        if children.len() > 5000 {
            break "none".to_owned();
        }
    };
    say(&format!("children={} error={error}", children.len()));
    for mut child in children {
        child.kill().ok();
        child.wait().ok();
    }
}

fn eat(megabytes: u64) {
    let mut eaten = Vec::new();
    for _ in 0..megabytes {
        // Touched, or the kernel only promises it.
        let mut piece = vec![0u8; 1 << 20];
        piece.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        eaten.push(piece);
    }
    say(&format!("ate={}", eaten.len()));
}
