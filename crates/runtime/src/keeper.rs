//! The daemon's side of the keeper: an agent's lines, each once and in order, and lines to it, each once, across any number of
//! connections. What is spoken: [`kanvoy_keeper::frames`] and [`kanvoy_keeper::words`], shared with the keeper itself.
//!
//! [`Lines`] reads when it is asked and holds nothing beyond one read, so that a slow consumer slows the keeper and, at its
//! journal's bound, the agent. Everything that goes the other way waits in one bounded place, [`Handle`] puts it there and one
//! task writes it. Confirmations arrive among the lines: whoever waits for one has somebody else read [`Lines`] meanwhile.

mod lines;
mod outgoing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use kanvoy_keeper::words::{AgentState, Cause, End, Exit, Welcome};
pub use lines::Lines;
pub use outgoing::Handle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

use crate::keeper::outgoing::Outgoing;

/// Where an earlier session ended. All zero for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The last number of [`Output`] that is stored. The keeper forgets everything up to it.
    pub received: u64,
    /// The last line for the agent that is believed sent.
    pub sent: u64,
    /// The last line of stderr seen.
    pub stderr: u64,
}

/// Tells this session from every other. Nobody may guess it, for it proves that an answer is one to us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub u128);

/// How long each wait may last.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the keeper's answer to our hello.
    pub welcome: Duration,
    /// For one write to go through.
    pub write: Duration,
    /// For a line to be delivered to the agent, once it was handed over.
    pub delivery: Duration,
    /// For a request to be confirmed.
    pub answer: Duration,
    /// Without a byte from the keeper: until it is asked whether it is there.
    pub ping: Duration,
    /// And until it is given up after that.
    pub pong: Duration,
}

/// What an agent's keeper tells, in the order of its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Without its newline.
    Line { number: u64, bytes: Bytes },
    /// A line that was too long, or that found no space: its length, CRC-32 and first bytes.
    Oversize { number: u64, length: u64, checksum: u32, no_space: bool, head: Bytes },
    /// These lines cannot be had.
    Gap { from: u64, to: u64, cause: Cause },
    /// The agent has ended; nothing with a number comes after it. When it is acknowledged the keeper ends too.
    Exit { number: u64, exit: Exit },
    /// Beside the numbers: a line of stderr, and how many were dropped before it.
    Stderr { number: u64, dropped: u64, bytes: Bytes },
}

impl Output {
    /// What [`Handle::ack`] and [`Resume::received`] are told once this is stored. None for stderr.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Line { number, .. } | Self::Oversize { number, .. } | Self::Exit { number, .. } => Some(*number),
            Self::Gap { to, .. } => Some(*to),
            Self::Stderr { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError {
    #[error("the keeper did not answer our hello in {0:?}")]
    NoWelcome(Duration),
    #[error("the connection to the keeper is closed")]
    Closed,
    #[error("the connection to the keeper failed: {0}")]
    Io(Arc<str>),
    #[error("the keeper has been silent for {0:?}")]
    Silent(Duration),
    #[error("nothing could be written to the keeper for {0:?}")]
    Stuck(Duration),
    #[error("another daemon has taken the keeper over")]
    Displaced,
    #[error("the keeper knows {known} lines, and {stored} are stored: it keeps another run")]
    Foreign { known: u64, stored: u64 },
    #[error("the keeper said what it must not: {0}")]
    Protocol(Arc<str>),
    #[error("the agent's stdin is closed; line {number} will not be delivered")]
    Deaf { number: u64 },
    /// It may still be delivered: the number must not be given to another line.
    #[error("the agent did not take line {number} in {after:?}")]
    NotTaken { number: u64, after: Duration },
    #[error("line {number} is out of order, {expected} is the next")]
    OutOfOrder { number: u64, expected: u64 },
    #[error("a line of {0} bytes is too long, or holds a newline")]
    NotALine(usize),
    #[error("the keeper did not confirm a request in {0:?}")]
    NoAnswer(Duration),
}

/// Attaches to the keeper that listens at the other end of `io`, whatever was sent there before. Cancelling it is safe.
///
/// Lines come first from where `resume` says. The writing task ends with [`Lines`].
pub async fn attach<S>(
    io: S,
    nonce: Nonce,
    resume: Resume,
    deadlines: Deadlines,
    tasks: &TaskTracker,
) -> Result<(Lines, Handle), KeeperError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(io);
    let outgoing = Arc::new(Outgoing::new(nonce, resume, deadlines));
    let writing = outgoing.clone();
    tasks.spawn(async move { writing.write_to(write).await });
    let mut lines = Lines::new(Box::new(read), outgoing.clone(), resume);
    let welcome = lines.welcome(nonce).await?;
    if welcome.last + 1 < resume.received {
        return Err(KeeperError::Foreign { known: welcome.last, stored: resume.received });
    }
    outgoing.begin(&welcome);
    Ok((lines, Handle::new(outgoing, welcome)))
}

impl Nonce {
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(u128::from_ne_bytes(bytes)))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:032x}", self.0)
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            welcome: Duration::from_secs(10),
            write: Duration::from_secs(30),
            delivery: Duration::from_secs(60),
            answer: Duration::from_secs(10),
            ping: Duration::from_secs(10),
            pong: Duration::from_secs(20),
        }
    }
}

impl From<std::io::Error> for KeeperError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string().into())
    }
}
