//! The smallest client that can load a server: prepared requests over kept connections, answers read by their length.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::report::percentile;

pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(16 << 10) })
    }

    /// Sends one request and reads its answer: status and body.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        self.stream.write_all(request).await?;
        let (head, length) = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break (end + 4, content_length(&self.read[..end])?);
            }
            self.more().await?;
        };
        while self.read.len() < head + length {
            self.more().await?;
        }
        let status = std::str::from_utf8(&self.read[9..12]).ok().and_then(|code| code.parse().ok());
        let body = self.read[head..head + length].to_vec();
        self.read.drain(..head + length);
        Ok((status.ok_or_else(|| broken("no status"))?, body))
    }

    /// For an answer of unknown length: its body, until the server closes.
    pub async fn ask_until_closed(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(request).await?;
        self.stream.read_to_end(&mut self.read).await?;
        let head = find(&self.read, b"\r\n\r\n").ok_or_else(|| broken("no answer"))?;
        Ok(self.read.split_off(head + 4))
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(broken("the server closed the connection")),
            _ => Ok(()),
        }
    }
}

fn content_length(head: &[u8]) -> io::Result<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).ok_or_else(|| broken("no content-length"))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn broken(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

pub fn request(method: &str, path: &str, host: SocketAddr, token: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

pub struct Load {
    pub per_second: f64,
    pub p99: Duration,
}

/// The same request again and again by so many clients for so long.
pub async fn load(to: SocketAddr, clients: usize, lasting: Duration, request: &[u8], status: u16) -> Load {
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..clients {
        let request = request.to_vec();
        tasks.spawn(async move {
            let mut connection = Connection::open(to).await.expect("connects");
            let mut took = Vec::with_capacity(1 << 14);
            while begin.elapsed() < lasting {
                let asked = Instant::now();
                let (got, body) = connection.ask(&request).await.expect("answers");
                assert_eq!(got, status, "{}", String::from_utf8_lossy(&body));
                took.push(asked.elapsed());
            }
            took
        });
    }
    let mut took: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let per_second = took.len() as f64 / begin.elapsed().as_secs_f64();
    took.sort_unstable();
    Load { per_second, p99: percentile(&took, 0.99) }
}
