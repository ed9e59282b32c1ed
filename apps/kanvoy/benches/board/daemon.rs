//! The processes under load: the real daemon with its real defaults, and the floor, which is this program again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{Connection, request};

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub token: String,
    _dir: tempfile::TempDir,
}

impl Server {
    pub async fn ours() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let child = Command::new(env!("CARGO_BIN_EXE_kanvoy"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let server: Value = wait_for(&dir.path().join("server.json")).await;
        let address = server["url"].as_str().and_then(|url| url.strip_prefix("http://")).expect("a url");
        let address = address.trim_end_matches('/').parse().expect("an address");
        let token = std::fs::read_to_string(dir.path().join("token")).expect("a token").trim().to_owned();
        Self { child, address, token, _dir: dir }
    }

    pub async fn floor() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("server.json");
        let child = Command::new(std::env::current_exe().expect("this program"))
            .arg("floor")
            .arg(&file)
            .spawn()
            .expect("starts");
        let server: Value = wait_for(&file).await;
        let address = server["url"].as_str().expect("a url").parse().expect("an address");
        Self { child, address, token: "none".into(), _dir: dir }
    }

    /// One request, with the answer's JSON.
    pub async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let mut connection = Connection::open(self.address).await.expect("connects");
        let (status, answer) =
            connection.ask(&request(method, path, self.address, &self.token, body)).await.expect("answers");
        assert!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    /// Makes a board and gives its id.
    pub async fn board(&self, name: &str) -> String {
        let body = serde_json::json!({ "name": name }).to_string();
        let board = self.ask("POST", "/api/v1/boards", body.as_bytes()).await;
        board["id"].as_str().expect("an id").to_owned()
    }

    /// Memory that is really in use, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.split_whitespace().next().and_then(|size| size.parse::<u64>().ok()).expect("a number") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn wait_for(file: &Path) -> Value {
    let begin = Instant::now();
    loop {
        if let Some(value) = std::fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return value;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{} does not come", file.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
