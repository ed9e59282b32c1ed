//! The two tasks of a connection: one reads lines and hands each on with its meaning, the other keeps and writes lines.
//!
//! Everything has a bound. A slow listener fills the queue, then the reader stops, then the pipe fills and the agent waits.
//! An agent that does not read is given up after a deadline; what it said until then is still handed on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::book::Shared;
use crate::envelope::{AgentError, Json};
use crate::incoming::{AgentMessage, CloseReason, Closed, Received};
use crate::lines::Incoming;
use crate::outgoing::{Outgoing, Outlet};
use crate::reply::{Answer, AnswerError, ReplyId};
use crate::understand::{Reader, Waiter};

/// Bounds and deadlines of one connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Part of the ids of our requests. Must differ from every earlier connection to the same agent process, so that a late
    /// answer from before a restart cannot be taken for one to us.
    pub generation: u64,
    /// The number of the first line to the agent.
    pub next_line: u64,
    /// Received lines that may wait for the listener, and their bytes. A single longer line waits alone.
    pub queue: usize,
    pub queue_bytes: usize,
    /// Lines to the agent that may wait; beyond it requests are refused as [`SendError::Busy`].
    pub outgoing: usize,
    /// Requests of ours that may be unanswered.
    pub pending: usize,
    /// Requests of the agent that may be unanswered; more are refused.
    pub open_requests: usize,
    pub keep_deadline: Duration,
    pub write_deadline: Duration,
    /// How long we listen on after the agent could no longer be written to: per read, and in all.
    pub last_words: (Duration, Duration),
    /// For agents of the older shape that never answer a prompt: their stop reason ends the turn.
    pub legacy_turn_end: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            generation: 1,
            next_line: 1,
            queue: 1024,
            queue_bytes: 40 << 20,
            outgoing: 256,
            pending: 64,
            open_requests: 64,
            keep_deadline: Duration::from_secs(30),
            write_deadline: Duration::from_secs(30),
            last_words: (Duration::from_secs(2), Duration::from_secs(30)),
            legacy_turn_end: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the connection to the agent is closed")]
    Closed,
    #[error("too much waits to be said to the agent already")]
    Busy,
    #[error("a request {0} is unanswered already")]
    IdTaken(String),
    #[error("could not be written as JSON: {0}")]
    Unwritable(String),
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the agent wants a login: {0}")]
    AuthRequired(AgentError),
    #[error("the agent refused: {0}")]
    Refused(AgentError),
    #[error("the agent did not answer {method} within {after:?}")]
    Deadline { method: &'static str, after: Duration },
    #[error("the connection to the agent closed before it answered")]
    Closed,
    #[error(transparent)]
    Send(#[from] SendError),
}

/// One agent's two streams. Cheap to clone; the tasks end when the agent's output ends, or with [`detach`](Self::detach).
#[derive(Clone)]
pub struct Connection {
    pub(crate) shared: Arc<Shared>,
}

/// What the agent says, in the order of its lines.
///
/// Somebody has to keep taking from it while anything is awaited: an answer stands behind everything said before it.
pub struct Messages {
    inbox: mpsc::Receiver<Received>,
    bytes: Arc<Semaphore>,
    budget: usize,
}

impl Connection {
    /// Starts the reader and the writer. `lines` may come from a journal (numbered there) or from
    /// [`read_lines`](crate::read_lines).
    pub fn open<L, O>(lines: L, outlet: O, settings: Settings, tasks: &TaskTracker) -> (Self, Messages)
    where
        L: Stream<Item = io::Result<Vec<Incoming>>> + Send + Unpin + 'static,
        O: Outlet,
    {
        Self::open_with(lines, outlet, settings, tasks, |_| {})
    }

    /// `prepare` is done before the first line is read.
    pub(crate) fn open_with<L, O>(
        lines: L,
        outlet: O,
        settings: Settings,
        tasks: &TaskTracker,
        prepare: impl FnOnce(&Shared),
    ) -> (Self, Messages)
    where
        L: Stream<Item = io::Result<Vec<Incoming>>> + Send + Unpin + 'static,
        O: Outlet,
    {
        let shared = Shared::new(settings);
        prepare(&shared);
        let (inbox, receiver) = mpsc::channel(shared.settings.queue.max(1));
        // Permits are counted in u32 where several are taken at once.
        let budget = shared.settings.queue_bytes.clamp(1, u32::MAX as usize);
        let bytes = Arc::new(Semaphore::new(budget));
        let messages = Messages { inbox: receiver, bytes: bytes.clone(), budget };
        tasks.spawn(read(shared.clone(), lines, Queue { inbox, bytes, budget }));
        tasks.spawn(write(shared.clone(), outlet));
        (Self { shared }, messages)
    }

    /// Asks and waits. The answer is also told as [`AgentMessage::Answered`], in its place among the lines.
    pub async fn request<P: Serialize>(
        &self,
        method: &'static str,
        params: P,
        deadline: Duration,
    ) -> Result<Json, RequestError> {
        let (waiter, answer) = oneshot::channel();
        let id = self.shared.request(None, method, params, Some(waiter))?;
        // Whoever stops waiting, by deadline or by being dropped, is forgotten: a later answer is a stray one.
        let _forget = Forget { shared: &self.shared, id };
        match timeout(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(RequestError::Closed),
            Err(_) => Err(RequestError::Deadline { method, after: deadline }),
        }
    }

    pub fn notify<P: Serialize>(&self, method: &'static str, params: P) -> Result<(), SendError> {
        self.shared.notify_with(&mut self.shared.book.lock(), method, params)
    }

    /// Answers a request by its name: the only way after a restart, when its [`Reply`](crate::Reply) is gone.
    pub fn answer(&self, id: &ReplyId, answer: &Answer) -> Result<(), AnswerError> {
        self.shared.answer(id, answer)
    }

    pub fn is_closed(&self) -> bool {
        self.shared.book.lock().usable().is_err()
    }

    /// Lets go of the agent without telling it anything: open requests stay open, the turn goes on. Waits until the lines
    /// that were queued have been written, at most as long as the write deadline. [`Messages`] ends without a `Closed`.
    pub async fn detach(&self) {
        self.shared.book.lock().detached = true;
        self.shared.stop.cancel();
        self.shared.wake_writer.notify_one();
        let patience = self.shared.settings.keep_deadline + self.shared.settings.write_deadline;
        timeout(patience, self.shared.drained.cancelled()).await.ok();
        self.shared.mute.cancel();
    }
}

struct Forget<'a> {
    shared: &'a Shared,
    id: String,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.book.lock().pending.remove(&self.id);
    }
}

impl Messages {
    /// The next line; `None` after [`AgentMessage::Closed`] or a [`Connection::detach`].
    pub async fn recv(&mut self) -> Option<Received> {
        let received = self.inbox.recv().await?;
        self.give_back(&received);
        Some(received)
    }

    /// Appends what waits, at most `limit`, waiting for the first. 0 means that there is nothing left to come.
    pub async fn recv_many(&mut self, into: &mut Vec<Received>, limit: usize) -> usize {
        let from = into.len();
        let taken = self.inbox.recv_many(into, limit).await;
        for received in &into[from..] {
            self.give_back(received);
        }
        taken
    }

    fn give_back(&self, received: &Received) {
        self.bytes.add_permits(cost(received, self.budget));
    }
}

struct Queue {
    inbox: mpsc::Sender<Received>,
    bytes: Arc<Semaphore>,
    budget: usize,
}

fn cost(received: &Received, budget: usize) -> usize {
    received.raw.len().min(budget)
}

impl Queue {
    /// False when nobody listens any more.
    async fn put(&self, received: Received) -> bool {
        // The budget fits a u32, so this does too. The semaphore is never closed.
        let permits = u32::try_from(cost(&received, self.budget)).unwrap_or(u32::MAX);
        let Ok(permits) = self.bytes.acquire_many(permits).await else { return false };
        permits.forget();
        self.inbox.send(received).await.is_ok()
    }
}

async fn read<L>(shared: Arc<Shared>, mut lines: L, queue: Queue)
where
    L: Stream<Item = io::Result<Vec<Incoming>>> + Send + Unpin,
{
    let mut reader = Reader::new(shared.clone());
    let mut last = 0;
    let why = tokio::select! {
        biased;
        () = shared.stop.cancelled() => None,
        // Nobody listens: nobody can be told either.
        () = queue.inbox.closed() => None,
        why = read_all(&mut reader, &mut lines, &queue, &mut last) => why,
    };
    let Some(why) = why else {
        let mut book = shared.book.lock();
        book.detached = true;
        shared.fail_pending(&mut book);
        drop(book);
        shared.stop.cancel();
        shared.wake_writer.notify_one();
        return;
    };
    shared.mute(why);
    let closed = {
        let mut book = shared.book.lock();
        shared.fail_pending(&mut book);
        let mut open: Vec<ReplyId> = book.open.drain().map(|(_, id)| id).collect();
        open.sort_by_key(|id| id.line);
        let why = book.closed.clone().unwrap_or(CloseReason::Eof);
        Closed { why, turn: book.turn.take().map(|turn| turn.id), open }
    };
    debug!(why = %closed.why, "connection to an agent closed: {}", closed.why);
    let message = AgentMessage::Closed(Box::new(closed));
    let received = Received { number: last, raw: bytes::Bytes::new(), cut: None, message };
    queue.put(received).await;
}

/// `None` when nobody listens.
async fn read_all<L>(reader: &mut Reader, lines: &mut L, queue: &Queue, last: &mut u64) -> Option<CloseReason>
where
    L: Stream<Item = io::Result<Vec<Incoming>>> + Send + Unpin,
{
    let shared = reader.shared.clone();
    let mut give_up = None;
    loop {
        let batch = if shared.mute.is_cancelled() {
            let (each, all) = shared.settings.last_words;
            let end = *give_up.get_or_insert_with(|| Instant::now() + all);
            match timeout_at(end.min(Instant::now() + each), lines.next()).await {
                Ok(batch) => batch,
                Err(_) => return Some(CloseReason::Eof),
            }
        } else {
            tokio::select! {
                batch = lines.next() => batch,
                () = shared.mute.cancelled() => continue,
            }
        };
        let batch = match batch {
            None => return Some(CloseReason::Eof),
            Some(Err(error)) => return Some(CloseReason::Read(error.to_string())),
            Some(Ok(batch)) => batch,
        };
        for line in batch {
            *last = line.number;
            if !hand_on(reader, &shared, queue, line).await {
                return None;
            }
        }
    }
}

async fn hand_on(reader: &mut Reader, shared: &Shared, queue: &Queue, line: Incoming) -> bool {
    let (message, waiter): (AgentMessage, Waiter) = reader.understand(&line);
    if matches!(message, AgentMessage::RequestRefused { .. }) {
        // Refusals are ours to send, so they must not pile up in front of an agent that asks and does not read.
        while room_needed(shared) {
            let written = shared.written.notified();
            if room_needed(shared) {
                written.await;
            }
        }
    }
    let Incoming { number, bytes, cut } = line;
    let received = queue.put(Received { number, raw: bytes, cut, message }).await;
    if let Some((pending, outcome)) = waiter {
        pending.resolve(&outcome);
    }
    received
}

fn room_needed(shared: &Shared) -> bool {
    let book = shared.book.lock();
    book.outbox.len() >= shared.settings.outgoing && book.usable().is_ok()
}

async fn write(shared: Arc<Shared>, mut outlet: impl Outlet) {
    loop {
        let (draft, number) = {
            let mut book = shared.book.lock();
            let draft = book.outbox.pop_front();
            let number = book.next_line;
            book.next_line += u64::from(draft.is_some());
            (draft, number)
        };
        if let Some(draft) = draft {
            let line = Outgoing { number, bytes: draft.bytes, what: draft.what };
            if let Err(why) = keep_and_write(&shared, &mut outlet, &line).await {
                shared.mute(why);
                break;
            }
            shared.written.notify_waiters();
            continue;
        }
        if shared.stop.is_cancelled() {
            break;
        }
        tokio::select! {
            () = shared.wake_writer.notified() => {}
            () = shared.stop.cancelled() => {}
            // The agent's output has ended, so nobody reads what would still come.
            () = shared.mute.cancelled() => break,
        }
    }
    timeout(shared.settings.write_deadline, outlet.end()).await.ok();
    shared.drained.cancel();
}

async fn keep_and_write(shared: &Shared, outlet: &mut impl Outlet, line: &Outgoing) -> Result<(), CloseReason> {
    let Settings { keep_deadline, write_deadline, .. } = shared.settings;
    match timeout(keep_deadline, outlet.keep(line)).await {
        Ok(Ok(())) => {}
        Ok(Err(refused)) => return Err(CloseReason::NotKept(refused.to_string())),
        Err(_) => return Err(CloseReason::NotKept(format!("no answer within {keep_deadline:?}"))),
    }
    match timeout(write_deadline, outlet.write(line)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(CloseReason::Write(error.to_string())),
        Err(_) => Err(CloseReason::Deaf(write_deadline)),
    }
}
