//! A stream as server-sent events: for browsers without a socket, and for `curl`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use kanvoy_domain::{BoardId, Log, Seq};
use metrics::Gauge;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::every::cursor_text;
use super::{Line, Lines, Source, Stream};
use crate::app::Api;
use crate::auth::Principal;

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
const RETRY_MILLIS: u64 = 2_000;

pub(super) fn begin(api: &Arc<Api>, stream: Stream) -> Response {
    let cursor = match &stream.source {
        Source::One(_) => None,
        Source::Every(reader) => Some(reader.position().clone()),
    };
    api.meter.event_sources.increment(1.0);
    let mut first = format!("retry: {RETRY_MILLIS}\n").into_bytes();
    put_data(&mut first, &stream.ready);
    let follower = Follower {
        api: Arc::clone(api),
        who: stream.who,
        board: stream.board,
        source: stream.source,
        cursor,
        first: Some(Bytes::from(first)),
        over: false,
        _open: Open(api.meter.event_sources.clone()),
        _token: api.connections.token(),
    };
    let body = stream::unfold(Box::new(follower), |mut follower| async move {
        let piece = follower.next().await?;
        Some((Ok::<_, Infallible>(piece), follower))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // A proxy that collects before it passes on would hold the stream back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Follower {
    api: Arc<Api>,
    who: Principal,
    board: Option<BoardId>,
    source: Source,
    /// Of a stream of every log: where each stands after the last event that was written.
    cursor: Option<BTreeMap<Log, Seq>>,
    first: Option<Bytes>,
    over: bool,
    _open: Open,
    _token: TaskTrackerToken,
}

/// Counts itself out however the stream ends.
struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Follower {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if self.over {
            return None;
        }
        let lines = tokio::select! {
            biased;
            () = self.api.shutdown.cancelled() => return None,
            _ = self.who.must_go(self.board) => return None,
            lines = tokio::time::timeout(KEEP_ALIVE_EVERY, self.source.next()) => lines,
        };
        match lines {
            Ok(Ok(lines)) => Some(self.written(&lines)),
            Ok(Err(error)) => {
                tracing::warn!("a stream ended because the store failed: {error}");
                None
            }
            Err(_) if self.who.session.as_ref().is_some_and(|it| it.expires_at() <= self.api.clock.now()) => None,
            Err(_) if self.source.still_there().await => Some(Bytes::from_static(b":\n\n")),
            Err(_) => None,
        }
    }

    fn written(&mut self, lines: &Lines) -> Bytes {
        self.over = lines.over;
        self.api.meter.events_sent.increment(lines.lines.len() as u64);
        let size = lines.lines.iter().map(|line| line.text.len() + 40).sum();
        let mut piece = Vec::with_capacity(size);
        for line in &lines.lines {
            self.put_id(&mut piece, line);
            put_data(&mut piece, &line.text);
        }
        Bytes::from(piece)
    }

    fn put_id(&mut self, piece: &mut Vec<u8>, line: &Line) {
        // Writing to memory cannot fail.
        match &mut self.cursor {
            None => {
                let _ = writeln!(piece, "id: {}", line.seq);
            }
            Some(cursor) => {
                cursor.insert(line.log, line.seq);
                let _ = writeln!(piece, "id: {}", cursor_text(cursor));
            }
        }
    }
}

/// A line break within the data, which JSON allows between its tokens, would end the field.
fn put_data(piece: &mut Vec<u8>, text: &[u8]) {
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty()) {
        piece.extend_from_slice(b"data: ");
        piece.extend_from_slice(line);
        piece.push(b'\n');
    }
    piece.push(b'\n');
}
