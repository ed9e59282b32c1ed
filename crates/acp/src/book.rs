//! What a connection has to remember: what we asked, what we were asked, the turn, and the lines that wait to be written.
//! Both tasks and every handle share one of these; nothing is awaited while it is locked.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::envelope::{self, AgentError, Json, REQUEST_CANCELLED};
use crate::incoming::{CloseReason, During};
use crate::outgoing::Sent;
use crate::peer::{RequestError, SendError, Settings};
use crate::reply::{Answer, AnswerError, Ask, ReplyId};

pub(crate) struct Shared {
    pub settings: Settings,
    pub book: Mutex<Book>,
    /// A line waits to be written, or there will be none.
    pub wake_writer: Notify,
    /// A line was written.
    pub written: Notify,
    /// The reader stops where it is; the writer finishes what waits.
    pub stop: CancellationToken,
    /// Nothing can be written any more. The reader goes on for a moment: what the agent said before it fell silent counts.
    pub mute: CancellationToken,
    /// The writer has ended.
    pub drained: CancellationToken,
}

#[derive(Default)]
pub(crate) struct Book {
    next_request: u64,
    pub next_line: u64,
    pub pending: HashMap<String, Pending>,
    pub open: HashMap<String, ReplyId>,
    /// Answered before a restart of ours, by lines that will be handed to us once more.
    pub answered: HashSet<ReplyId>,
    /// Requests up to this line were refused before a restart.
    pub refused: u64,
    pub turn: Option<Turn>,
    pub session: Option<Arc<str>>,
    /// A session/load is under way.
    pub loading: bool,
    pub outbox: VecDeque<Draft>,
    pub closed: Option<CloseReason>,
    pub detached: bool,
}

pub(crate) struct Pending {
    pub method: &'static str,
    /// None for a prompt, whose answer ends a turn and is told in order with everything else.
    pub waiter: Option<oneshot::Sender<Result<Json, RequestError>>>,
}

pub(crate) struct Turn {
    pub id: String,
    pub cancelling: bool,
}

pub(crate) struct Refusal<'a> {
    pub method: &'a str,
    pub code: i64,
    pub why: &'a str,
}

/// A line without its number.
pub(crate) struct Draft {
    pub bytes: Bytes,
    pub what: Sent,
}

impl Book {
    pub fn during(&self) -> During {
        match &self.turn {
            Some(turn) if turn.cancelling => During::Cancelling,
            Some(_) => During::Turn,
            None if self.loading => During::Replay,
            None if self.session.is_none() => During::Connecting,
            None => During::Idle,
        }
    }

    pub fn usable(&self) -> Result<(), SendError> {
        if self.closed.is_some() || self.detached { Err(SendError::Closed) } else { Ok(()) }
    }

    fn push(&mut self, bytes: serde_json::Result<Bytes>, what: Sent) -> Result<(), SendError> {
        let bytes = bytes.map_err(|error| SendError::Unwritable(error.to_string()))?;
        self.outbox.push_back(Draft { bytes, what });
        Ok(())
    }
}

impl Shared {
    pub fn new(settings: Settings) -> Arc<Self> {
        let book = Book { next_line: settings.next_line, ..Book::default() };
        Arc::new(Self {
            settings,
            book: Mutex::new(book),
            wake_writer: Notify::new(),
            written: Notify::new(),
            stop: CancellationToken::new(),
            mute: CancellationToken::new(),
            drained: CancellationToken::new(),
        })
    }

    /// Queues a request and remembers that it has to be answered. Without an id of the caller's, makes one that no other
    /// generation of this connection can have made.
    pub fn request<P: Serialize>(
        &self,
        id: Option<&str>,
        method: &'static str,
        params: P,
        waiter: Option<oneshot::Sender<Result<Json, RequestError>>>,
    ) -> Result<String, SendError> {
        let mut book = self.book.lock();
        self.request_with(&mut book, id, method, params, waiter)
    }

    pub fn request_with<P: Serialize>(
        &self,
        book: &mut Book,
        id: Option<&str>,
        method: &'static str,
        params: P,
        waiter: Option<oneshot::Sender<Result<Json, RequestError>>>,
    ) -> Result<String, SendError> {
        self.room(book)?;
        if book.pending.len() >= self.settings.pending {
            return Err(SendError::Busy);
        }
        let id = id.map_or_else(
            || {
                book.next_request += 1;
                format!("k{}-{}", self.settings.generation, book.next_request)
            },
            str::to_owned,
        );
        if book.pending.contains_key(&id) {
            return Err(SendError::IdTaken(id));
        }
        let raw = serde_json::value::to_raw_value(&id).map_err(|error| SendError::Unwritable(error.to_string()))?;
        book.push(envelope::request(&raw, method, params), Sent::Request { method, id: id.clone() })?;
        book.pending.insert(id.clone(), Pending { method, waiter });
        self.wake_writer.notify_one();
        Ok(id)
    }

    pub fn notify_with<P: Serialize>(&self, book: &mut Book, method: &'static str, params: P) -> Result<(), SendError> {
        self.room(book)?;
        book.push(envelope::notification(method, params), Sent::Notification { method })?;
        self.wake_writer.notify_one();
        Ok(())
    }

    fn room(&self, book: &Book) -> Result<(), SendError> {
        book.usable()?;
        if book.outbox.len() >= self.settings.outgoing { Err(SendError::Busy) } else { Ok(()) }
    }

    pub fn is_open(&self, id: &ReplyId) -> bool {
        let book = self.book.lock();
        book.usable().is_ok() && book.open.get(&id.rpc) == Some(id)
    }

    /// Answers are always taken: there are never more of them than requests that may be open.
    pub fn answer(&self, id: &ReplyId, answer: &Answer) -> Result<(), AnswerError> {
        let result = answer.result_for(id.ask)?;
        let mut book = self.book.lock();
        if book.usable().is_err() || book.open.get(&id.rpc) != Some(id) {
            return Err(AnswerError::NotOpen);
        }
        book.open.remove(&id.rpc);
        let raw = RawValue::from_string(id.rpc.clone()).map_err(|error| SendError::Unwritable(error.to_string()))?;
        book.push(envelope::result(&raw, result), Sent::Answer { to: id.clone() })?;
        drop(book);
        self.wake_writer.notify_one();
        Ok(())
    }

    /// The one place where everything open is answered "cancelled": a cancelled turn, one that ended, an agent that goes.
    pub fn cancel_open(&self, book: &mut Book) -> Vec<ReplyId> {
        let mut open: Vec<ReplyId> = book.open.drain().map(|(_, id)| id).collect();
        open.sort_by_key(|id| id.line);
        for id in &open {
            let Ok(raw) = RawValue::from_string(id.rpc.clone()) else { continue };
            let Ok(result) = Answer::Cancelled.result_for(id.ask) else { continue };
            // Serialising a value we made ourselves does not fail.
            book.push(envelope::result(&raw, result), Sent::Answer { to: id.clone() }).ok();
        }
        self.wake_writer.notify_one();
        open
    }

    /// Refuses a request of the agent.
    pub fn refuse(&self, book: &mut Book, line: u64, id: &RawValue, refusal: Refusal<'_>) {
        if line <= book.refused {
            return;
        }
        let Refusal { method, code, why } = refusal;
        book.push(envelope::error(id, code, why), Sent::Error { method: method.to_owned(), code, line }).ok();
        self.wake_writer.notify_one();
    }

    /// Ends a request of the agent that it has withdrawn itself.
    pub fn withdraw(&self, book: &mut Book, line: u64, rpc: &str) -> Option<ReplyId> {
        let id = book.open.remove(rpc)?;
        let raw = RawValue::from_string(rpc.to_owned()).ok()?;
        let refusal = Refusal { method: id.ask.method(), code: REQUEST_CANCELLED, why: "withdrawn" };
        self.refuse(book, line, &raw, refusal);
        Some(id)
    }

    /// Remembers a request of the agent. `Err` when as many are open as may be.
    pub fn opened(&self, book: &mut Book, rpc: &str, line: u64, ask: Ask) -> Result<ReplyId, ()> {
        let id = ReplyId { rpc: rpc.to_owned(), line, ask };
        if book.answered.remove(&id) {
            return Ok(id);
        }
        if book.open.len() >= self.settings.open_requests {
            return Err(());
        }
        book.open.insert(rpc.to_owned(), id.clone());
        Ok(id)
    }

    /// Nothing can be said any more, for the first reason there was.
    pub fn mute(&self, why: CloseReason) {
        self.book.lock().closed.get_or_insert(why);
        self.mute.cancel();
        self.written.notify_waiters();
    }

    /// Fails everyone who waits.
    pub fn fail_pending(&self, book: &mut Book) {
        for (_, pending) in book.pending.drain() {
            if let Some(waiter) = pending.waiter {
                waiter.send(Err(RequestError::Closed)).ok();
            }
        }
    }
}

impl Pending {
    pub fn resolve(self, outcome: &Result<Json, AgentError>) {
        let Some(waiter) = self.waiter else { return };
        // Nobody waits any more if the caller gave up meanwhile.
        waiter
            .send(match outcome {
                Ok(result) => Ok(result.clone()),
                Err(error) if error.auth_required() => Err(RequestError::AuthRequired(error.clone())),
                Err(error) => Err(RequestError::Refused(error.clone())),
            })
            .ok();
    }
}
