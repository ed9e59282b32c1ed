//! Lines to the agent: made durable first, written second, one after the other.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::reply::ReplyId;

/// One line to the agent, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Without a hole, beginning with [`Settings::next_line`](crate::Settings::next_line).
    pub number: u64,
    pub bytes: Bytes,
    pub what: Sent,
}

/// What a line to the agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// `id` is what the answer will carry. For a prompt it is the turn's own name.
    Request {
        method: &'static str,
        id: String,
    },
    Notification {
        method: &'static str,
    },
    /// The answer to something the agent asked.
    Answer {
        to: ReplyId,
    },
    /// The refusal of a request: unknown, unreadable, too many, or withdrawn. `line` is the one that made us say so.
    Error {
        method: String,
        code: i64,
        line: u64,
    },
}

impl Outgoing {
    /// The method this line asks for, or of the request it answers.
    pub fn method(&self) -> &str {
        match &self.what {
            Sent::Request { method, .. } | Sent::Notification { method } => method,
            Sent::Answer { to } => to.ask.method(),
            Sent::Error { method, .. } => method,
        }
    }
}

/// Why a line was not kept, in words for the log. It is then not written either, and the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Where lines to the agent go. Called by one task: for each line first `keep`, then `write`, in the order of the numbers.
/// Both are given up after the deadlines in [`Settings`](crate::Settings).
#[async_trait]
pub trait Outlet: Send + 'static {
    /// Makes the line durable. Only what was kept is written, so that after a crash we know everything the agent may have
    /// read.
    async fn keep(&mut self, line: &Outgoing) -> Result<(), Refused>;

    /// Hands the line, and a newline, to the agent.
    async fn write(&mut self, line: &Outgoing) -> io::Result<()>;

    /// There will be no more lines from this connection. A plain pipe is closed here, which tells the agent to go.
    async fn end(&mut self) {}
}

/// A plain writer that keeps nothing: tests, benchmarks, a pipe.
#[derive(Debug)]
pub struct WriteTo<W>(pub W);

#[async_trait]
impl<W: AsyncWrite + Send + Unpin + 'static> Outlet for WriteTo<W> {
    async fn keep(&mut self, _: &Outgoing) -> Result<(), Refused> {
        Ok(())
    }

    async fn write(&mut self, line: &Outgoing) -> io::Result<()> {
        self.0.write_all(&line.bytes).await?;
        self.0.write_all(b"\n").await?;
        self.0.flush().await
    }

    async fn end(&mut self) {
        self.0.shutdown().await.ok();
    }
}
