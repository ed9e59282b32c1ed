//! The smallest subscriber: says hello by hand and counts the frames that come.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
    /// So many of the next bytes belong to a frame that was counted.
    skip: usize,
}

impl Socket {
    /// Comes back when the first frame, which says that the stream is ready, was read.
    pub async fn open(to: SocketAddr, path: &str, token: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(to).await?;
        let hello = format!(
            "GET {path} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {token}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(hello.as_bytes()).await?;
        let mut read = Vec::with_capacity(1 << 10);
        let head = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        if !read.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(String::from_utf8_lossy(&read).into_owned()));
        }
        read.drain(..head);
        let mut socket = Self { stream, read, skip: 0 };
        socket.frames(1).await?;
        Ok(socket)
    }

    /// Reads until so many text frames have come; gives their bytes.
    pub async fn frames(&mut self, wanted: usize) -> io::Result<usize> {
        let (mut seen, mut bytes) = (0, 0);
        loop {
            let mut at = 0;
            while at < self.read.len() {
                if self.skip > 0 {
                    let step = self.skip.min(self.read.len() - at);
                    self.skip -= step;
                    at += step;
                    continue;
                }
                let rest = &self.read[at..];
                let (head, length) = match rest {
                    [_, short, ..] if *short < 126 => (2, usize::from(*short)),
                    [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
                    [_, 127, long @ ..] if long.len() >= 8 => {
                        let long: [u8; 8] = long[..8].try_into().expect("eight bytes");
                        (10, u64::from_be_bytes(long) as usize)
                    }
                    _ => break,
                };
                if rest[0] & 0x0f == 1 {
                    seen += 1;
                    bytes += length;
                }
                self.skip = length;
                at += head;
            }
            self.read.drain(..at);
            if seen >= wanted && self.skip == 0 {
                return Ok(bytes);
            }
            if self.read.capacity() < (64 << 10) && wanted > 1 {
                self.read.reserve(64 << 10);
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
