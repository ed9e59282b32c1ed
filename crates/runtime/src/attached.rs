//! The byte streams of an instance's first process, and the grip that lets them go.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How much of the first process's own stderr is kept.
const TAIL_BYTES: usize = 16 * 1024;

/// Both directions of an instance. Dropping it closes the connection, not the instance.
pub struct Attached {
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: StderrTail,
    pub grip: Grip,
}

impl Attached {
    /// Wraps two halves so that a grip can take them away from whoever holds them.
    pub fn new<W, R>(stdin: W, stdout: R, stderr: StderrTail) -> Self
    where
        W: AsyncWrite + Send + Unpin + 'static,
        R: AsyncRead + Send + Unpin + 'static,
    {
        let wire = Arc::new(Wire {
            write: Mutex::new(Some(Box::new(stdin))),
            read: Mutex::new(Reading { stream: Some(Box::new(stdout)), unread_since: None }),
            writer: AtomicWaker::new(),
            reader: AtomicWaker::new(),
        });
        Self {
            stdin: Box::new(WriteEnd(Arc::clone(&wire))),
            stdout: Box::new(ReadEnd(Arc::clone(&wire))),
            stderr,
            grip: Grip(wire),
        }
    }
}

impl Attached {
    /// Both ends as one stream, as [`crate::keeper::attach`] takes it. Keep the grip.
    pub fn into_io(self) -> (impl AsyncRead + AsyncWrite + Send + Unpin + 'static, StderrTail, Grip) {
        (tokio::io::join(self.stdout, self.stdin), self.stderr, self.grip)
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("grip", &self.grip).finish_non_exhaustive()
    }
}

/// A hold on an attachment by somebody who neither reads nor writes it. An attachment that nobody reads blocks the agent, every
/// later attachment and the removal of the instance, so there must be a way to end it that does not need its reader.
#[derive(Clone)]
pub struct Grip(Arc<Wire>);

impl Grip {
    /// Closes the connection now, whoever holds its ends. Their next read or write fails with `ConnectionAborted`.
    pub fn drop_now(&self) {
        // The streams are dropped outside the locks: closing a socket may wake a task that wants the same lock.
        let write = self.0.write.lock().take();
        let read = self.0.read.lock().stream.take();
        drop((write, read));
        self.0.writer.wake();
        self.0.reader.wake();
    }

    pub fn is_dropped(&self) -> bool {
        self.0.read.lock().stream.is_none()
    }

    /// For how long the reader has not come back although it got something the last time. A reader that waits for more is not
    /// behind, however long it waits.
    pub fn unread_for(&self) -> Option<Duration> {
        let reading = self.0.read.lock();
        reading.stream.as_ref()?;
        reading.unread_since.map(|since| since.elapsed())
    }
}

impl fmt::Debug for Grip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grip").field("dropped", &self.is_dropped()).finish()
    }
}

struct Wire {
    write: Mutex<Option<Box<dyn AsyncWrite + Send + Unpin>>>,
    read: Mutex<Reading>,
    writer: AtomicWaker,
    reader: AtomicWaker,
}

struct Reading {
    stream: Option<Box<dyn AsyncRead + Send + Unpin>>,
    unread_since: Option<Instant>,
}

fn dropped() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "the attachment was dropped")
}

struct ReadEnd(Arc<Wire>);

impl AsyncRead for ReadEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        // Registered before looking, so that a drop between the two still wakes us.
        self.0.reader.register(cx.waker());
        let mut reading = self.0.read.lock();
        let Some(stream) = reading.stream.as_mut() else {
            return Poll::Ready(Err(dropped()));
        };
        let polled = Pin::new(stream).poll_read(cx, buf);
        reading.unread_since = polled.is_ready().then(Instant::now);
        polled
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        // Nobody will read again, and an unread attachment freezes the agent. The writing end goes with it: what is asked over
        // a connection whose answers nobody sees is worth nothing.
        Grip(Arc::clone(&self.0)).drop_now();
    }
}

struct WriteEnd(Arc<Wire>);

impl WriteEnd {
    fn with<T>(
        &self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut (dyn AsyncWrite + Send + Unpin)>, &mut Context<'_>) -> Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        self.0.writer.register(cx.waker());
        match self.0.write.lock().as_mut() {
            Some(stream) => act(Pin::new(stream.as_mut()), cx),
            None => Poll::Ready(Err(dropped())),
        }
    }
}

impl AsyncWrite for WriteEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.with(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.with(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.with(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

/// The last of what the first process wrote on stderr, with a bound.
#[derive(Clone, Default)]
pub struct StderrTail(Arc<Mutex<VecDeque<u8>>>);

impl StderrTail {
    pub fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock();
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let over = (tail.len() + bytes.len()).saturating_sub(TAIL_BYTES);
        tail.drain(..over);
        tail.extend(bytes);
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().iter().copied().collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl fmt::Debug for StderrTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StderrTail").field(&self.text()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn a_grip_ends_a_wedged_attachment_without_its_reader() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        let (read, write) = tokio::io::split(ours);
        let mut attached = Attached::new(write, read, StderrTail::default());
        assert_eq!(attached.grip.unread_for(), None);
        theirs.write_all(b"hello").await.unwrap();
        let mut buf = [0; 5];
        attached.stdout.read_exact(&mut buf).await.unwrap();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(attached.grip.unread_for(), Some(Duration::from_secs(9)));

        attached.grip.drop_now();
        assert_eq!(theirs.read(&mut buf).await.unwrap(), 0, "the other side sees the end");
        assert_eq!(attached.stdout.read(&mut buf).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
        assert!(attached.stdin.write_all(b"x").await.is_err());
        assert_eq!(attached.grip.unread_for(), None);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_a_drop_and_is_never_behind() {
        let (_theirs, ours) = tokio::io::duplex(64);
        let (read, write) = tokio::io::split(ours);
        let mut attached = Attached::new(write, read, StderrTail::default());
        let grip = attached.grip.clone();
        let mut buf = [0; 5];
        let (got, ()) = tokio::join!(attached.stdout.read(&mut buf), async {
            tokio::task::yield_now().await;
            assert_eq!(grip.unread_for(), None);
            grip.drop_now();
        });
        assert_eq!(got.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn the_tail_keeps_the_end() {
        let tail = StderrTail::default();
        for n in 0..5000 {
            tail.push(format!("line {n}\n").as_bytes());
        }
        assert!(tail.bytes().len() <= TAIL_BYTES);
        assert!(tail.text().ends_with("line 4999\n"));
        tail.push(&vec![b'x'; 3 * TAIL_BYTES]);
        assert_eq!(tail.bytes(), vec![b'x'; TAIL_BYTES]);
    }
}
