//! A connection to a keeper that may not listen yet: attaching comes before starting.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

type Connecting = Pin<Box<dyn Future<Output = io::Result<UnixStream>> + Send>>;

/// Connects when it is first read or written, and waits for the socket to appear. Whoever cannot wait drops it.
pub struct Later {
    state: Link,
    waiting: Arc<Waiting>,
}

enum Link {
    Connecting(Connecting),
    Connected(UnixStream),
}

/// The reader and the writer are different tasks, and both wait for the one connection.
#[derive(Default)]
struct Waiting {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

impl Later {
    pub fn new(path: PathBuf) -> Self {
        let connecting = Box::pin(async move {
            let mut pause = Duration::from_millis(1);
            loop {
                match UnixStream::connect(&path).await {
                    // Nothing there, or the socket of a keeper that is gone.
                    Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_millis(100));
                    }
                    other => return other,
                }
            }
        });
        Self { state: Link::Connecting(connecting), waiting: Arc::default() }
    }

    fn connected(&mut self) -> Poll<io::Result<Pin<&mut UnixStream>>> {
        if let Link::Connecting(connecting) = &mut self.state {
            let both = Waker::from(Arc::clone(&self.waiting));
            match ready!(connecting.as_mut().poll(&mut Context::from_waker(&both))) {
                Ok(stream) => self.state = Link::Connected(stream),
                Err(e) => {
                    // A future that is done is not asked again; the next call says the same.
                    let kind = e.kind();
                    self.state = Link::Connecting(Box::pin(async move { Err(kind.into()) }));
                    return Poll::Ready(Err(e));
                }
            }
            both.wake();
        }
        match &mut self.state {
            Link::Connected(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Link::Connecting(_) => Poll::Pending,
        }
    }

    fn for_reading(&mut self, cx: &Context<'_>) -> Poll<io::Result<Pin<&mut UnixStream>>> {
        self.waiting.reader.register(cx.waker());
        self.connected()
    }

    fn for_writing(&mut self, cx: &Context<'_>) -> Poll<io::Result<Pin<&mut UnixStream>>> {
        self.waiting.writer.register(cx.waker());
        self.connected()
    }
}

impl AsyncRead for Later {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.for_reading(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Later {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.for_writing(cx))?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.for_writing(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.for_writing(cx))?.poll_shutdown(cx)
    }
}
