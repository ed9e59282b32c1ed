//! Streams of events, over WebSocket or as server-sent events: from any `seq` on, then live, without gap or double.
//!
//! A stream is a cursor ([`reader`], [`every`]): it listens to the feed first, reads the store up to now, and then follows.
//! [`ws`] and [`sse`] only carry what a reader gives.

mod every;
mod kinds;
mod reader;
mod sse;
mod upgrade;
mod ws;

use std::fmt::Write as _;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use bytes::Bytes;
pub(crate) use every::{EveryReader, Named, cursor_text, parse_cursor};
use kanvoy_domain::{BoardId, Log, Seq, TaskId, Timestamp};
use kanvoy_store::StoreError;
pub(crate) use kinds::kinds;
pub(crate) use reader::LogReader;
pub(crate) use upgrade::Wanted;

use crate::app::Api;
use crate::auth::Principal;
use crate::problem::Problem;

pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// One event, ready to be sent.
pub(crate) struct Line {
    pub log: Log,
    pub seq: Seq,
    pub text: Bytes,
}

/// Some events, in order, and whether these were the last.
#[derive(Default)]
pub(crate) struct Lines {
    pub lines: Vec<Line>,
    pub over: bool,
}

/// Where a stream's events come from.
pub(crate) enum Source {
    One(LogReader),
    Every(EveryReader),
}

impl Source {
    /// The next events; waits until there are some. May be dropped while it waits, and asked again: nothing is lost.
    pub async fn next(&mut self) -> Result<Lines, StoreError> {
        match self {
            Self::One(reader) => reader.next().await,
            Self::Every(reader) => reader.next().await,
        }
    }

    /// Whether there is still something to read from: a board may be gone for good without a last word.
    pub async fn still_there(&self) -> bool {
        match self {
            Self::One(reader) => reader.still_there().await,
            Self::Every(_) => true,
        }
    }
}

/// A stream that is about to begin.
pub(crate) struct Stream {
    pub source: Source,
    pub who: Principal,
    /// The board that it is about, unless it is about all.
    pub board: Option<BoardId>,
    /// The first frame.
    pub ready: Bytes,
}

pub(crate) fn begin(api: &Arc<Api>, wanted: Wanted, stream: Stream) -> Response {
    match wanted {
        Wanted::Socket(upgrade) => upgrade.begin(Arc::clone(api), stream),
        Wanted::EventSource => sse::begin(api, stream),
    }
}

/// What begins every stream. It is no event: it has no `seq`.
pub(crate) struct Ready {
    pub at: Timestamp,
    pub board: Option<BoardId>,
    pub task: Option<TaskId>,
    pub head: Option<Seq>,
    pub cursor: Option<String>,
}

impl Ready {
    pub fn text(&self) -> Bytes {
        let mut text = format!("{{\"type\":\"stream.ready\",\"timestamp\":\"{}\"", self.at);
        // Writing to a String cannot fail; none of these needs escaping.
        if let Some(board) = self.board {
            let _ = write!(text, ",\"board_id\":\"{board}\"");
        }
        if let Some(task) = self.task {
            let _ = write!(text, ",\"task_id\":\"{task}\"");
        }
        text.push_str(",\"data\":{");
        if let Some(head) = self.head {
            let _ = write!(text, "\"head_seq\":{head}");
        }
        if let Some(cursor) = &self.cursor {
            let _ = write!(text, "{}\"cursor\":\"{cursor}\"", if self.head.is_some() { "," } else { "" });
        }
        text.push_str("}}");
        Bytes::from(text)
    }
}

/// Where to go on from: the header, which a browser sends by itself when it comes back, wins over the parameter.
pub(crate) fn after<'a>(headers: &'a HeaderMap, param: Option<&'a str>) -> Option<(&'static str, &'a str)> {
    let header = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
    match (header, param) {
        (Some(id), _) => Some(("Last-Event-ID", id)),
        (None, Some(after)) => Some(("after", after)),
        (None, None) => None,
    }
}

/// A client that has seen more than there is was connected to another database: it must not wait for ever.
pub(crate) fn not_ahead(name: &'static str, after: Seq, head: Seq) -> Result<Seq, Problem> {
    if after <= head {
        return Ok(after);
    }
    let detail = format!("is {after}, which is ahead of the log, whose head is {head}");
    Err(Problem::parameter(name, detail))
}

pub(crate) fn seq(name: &'static str, text: &str) -> Result<Seq, Problem> {
    let parsed = text.parse::<Seq>().ok().filter(|seq| *seq < 1 << 53);
    parsed.ok_or_else(|| Problem::parameter(name, "must be the seq of an event: a number from 0 on"))
}
