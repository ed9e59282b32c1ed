//! A real daemon in a folder of its own, and the real command line beside it. Nothing of the machine's own configuration
//! reaches either.
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part of this")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kanvoy_client::{Client, ClientOptions, Url};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub const BINARY: &str = env!("CARGO_BIN_EXE_kanvoy");

/// Long enough for a machine that compiles beside the tests; a daemon is there in a hundredth of it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that stays when its test fails, with its name on stderr.
pub struct Room {
    dir: Option<TempDir>,
    path: PathBuf,
}

impl Room {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("kanvoy-test-").tempdir().expect("a folder can be made");
        let path = dir.path().to_owned();
        Self { dir: Some(dir), path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// `kanvoy …` in this room, with nothing in its environment but what it needs.
    pub fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command
            .env_clear()
            .env("HOME", &self.path)
            .env("TZ", "UTC")
            .env("KANVOY_DATA_DIR", self.data())
            // No engine of this machine has a part in the tests.
            .env("KANVOY_RUNTIME", "process")
            .current_dir(&self.path)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command().args(args).output().expect("kanvoy can be started").into()
    }

    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kanvoy can be started");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(input.as_bytes()).expect("stdin is read");
        drop(stdin);
        child.wait_with_output().expect("kanvoy ends").into()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("what the test left is in {}", dir.keep().display());
        }
    }
}

pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

pub struct Daemon {
    child: Child,
    pub room: Room,
    pub url: String,
    /// From the start of the process until it was ready.
    pub took: Duration,
}

impl Daemon {
    pub fn start() -> Self {
        Self::start_in(Room::new(), &[])
    }

    pub fn start_in(room: Room, args: &[&str]) -> Self {
        let address = free_address();
        let listen = if args.contains(&"--listen") { vec![] } else { vec!["--listen", &address] };
        let began = Instant::now();
        let mut child = spawn(&room, &[&listen, args].concat());
        let url = ready(&room, &mut child);
        Self { child, room, url, took: began.elapsed() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub fn token(&self) -> String {
        fs::read_to_string(self.room.data().join("token")).expect("the token is there").trim().to_owned()
    }

    /// What it has logged in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.room.path().join("stderr")).unwrap_or_default()
    }

    pub fn greeting(&self) -> String {
        fs::read_to_string(self.room.path().join("stdout")).unwrap_or_default()
    }

    /// A client that waits for a daemon that is being started again.
    pub fn client(&self) -> Client {
        let url = Url::parse(&self.url).expect("is a URL");
        Client::new(ClientOptions { url, token: Some(self.token()), patience: PATIENCE }).expect("a client is made")
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.room.run(args)
    }

    pub fn signal(&self, signal: Signal) {
        tell(&self.child, signal);
    }

    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the daemon can be waited for") {
                return status;
            }
            assert!(began.elapsed() < within, "it has not ended within {within:?}; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(PATIENCE)
    }

    /// SIGKILL: it learns nothing of it.
    pub fn kill(&mut self) {
        self.child.kill().expect("the daemon can be killed");
        self.child.wait().expect("the daemon can be waited for");
    }

    /// On the same address and the same data, after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub fn start_again(&mut self) {
        let address = self.address().to_owned();
        self.child = spawn(&self.room, &["--listen", &address]);
        let url = ready(&self.room, &mut self.child);
        assert_eq!(url, self.url);
    }

    /// One request over a connection of its own, in exactly these words; the answer until the connection ends.
    pub fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("is set");
        stream.write_all(request.as_bytes()).expect("is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("is answered");
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn get(&self, path: &str) -> String {
        let host = self.address();
        let token = self.token();
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        ))
    }

    /// Kilobytes of memory that are its own now.
    pub fn memory_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the kernel says");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel says");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("is a number")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Below the ports that the kernel gives to clients: a daemon that is gone for a moment must find its own again.
fn free_address() -> String {
    let mut bytes = [0; 2];
    loop {
        getrandom::fill(&mut bytes).expect("there is randomness");
        let port = 12_000 + u16::from_le_bytes(bytes) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// A command that goes on, and what it has said so far on both of its outputs.
pub struct Piped {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Piped {
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kanvoy can be started");
        let said = Arc::new(Mutex::new(String::new()));
        let read = |mut from: Box<dyn Read + Send>| {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(read @ 1..) = from.read(&mut piece) {
                    said.lock().expect("is whole").push_str(&String::from_utf8_lossy(&piece[..read]));
                }
            })
        };
        let stdout = read(Box::new(child.stdout.take().expect("stdout is piped")));
        let stderr = read(Box::new(child.stderr.take().expect("stderr is piped")));
        Self { child, said, readers: vec![stdout, stderr] }
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("is whole").clone()
    }

    #[track_caller]
    pub fn until(&mut self, expected: &str) {
        let began = Instant::now();
        while !self.said().contains(expected) {
            assert!(began.elapsed() < PATIENCE, "{expected:?} has not come: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn interrupt(&self) {
        tell(&self.child, Signal::INT);
    }

    /// How it ended, and all that it said.
    pub fn end(mut self) -> (i32, String) {
        let status = self.child.wait().expect("it can be waited for");
        for reader in self.readers.drain(..) {
            reader.join().expect("is read to its end");
        }
        (status.code().unwrap_or(-1), self.said())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tell(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("is a pid")).expect("is a pid");
    kill_process(pid, signal).expect("it can be told");
}

/// `kanvoy serve` with its output in files of the room.
fn spawn(room: &Room, args: &[&str]) -> Child {
    let file = |name: &str| {
        let path = room.path().join(name);
        Stdio::from(fs::OpenOptions::new().create(true).append(true).open(path).expect("a file can be made"))
    };
    let mut command = room.command();
    command.arg("serve").args(args).stdout(file("stdout")).stderr(file("stderr"));
    command.spawn().expect("kanvoy can be started")
}

/// Waits until this very process says where it listens, and answers there.
fn ready(room: &Room, child: &mut Child) -> String {
    let began = Instant::now();
    let file = room.data().join("server.json");
    loop {
        if let Ok(text) = fs::read(&file)
            && let Ok(said) = serde_json::from_slice::<serde_json::Value>(&text)
            && said["pid"] == child.id()
        {
            let url = said["url"].as_str().expect("is a text").to_owned();
            if is_ready(url.trim_start_matches("http://")) {
                return url;
            }
        }
        let log = || fs::read_to_string(room.path().join("stderr")).unwrap_or_default();
        if let Some(status) = child.try_wait().expect("the daemon can be waited for") {
            panic!("the daemon ended with {status} before it was ready:\n{}", log());
        }
        assert!(began.elapsed() < PATIENCE, "the daemon is not ready:\n{}", log());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// Random numbers that can be had again: SplitMix64.
pub struct Random(u64);

impl Random {
    /// Prints its seed; `KANVOY_TEST_SEED` gives one back.
    #[expect(clippy::disallowed_methods, reason = "only tests are steered by it")]
    pub fn seeded() -> Self {
        let seed = std::env::var("KANVOY_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).expect("there is randomness");
            u64::from_le_bytes(bytes)
        });
        println!("KANVOY_TEST_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Another one, whose numbers are its own.
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }
}
