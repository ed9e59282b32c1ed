//! Everything that goes to the keeper: what waits, what is not confirmed yet, and the one task that writes it. What was not
//! confirmed is sent again when the keeper asks for it; it knows by the numbers what it has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kanvoy_keeper::frames::{self, Channel, Frame, Kind, LINE_MAX, PIECE, newline};
use kanvoy_keeper::words::{Ask, Exit, Hello, Say, Welcome};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

use crate::keeper::{Deadlines, KeeperError, Nonce, Resume};

/// Lines wait up to so many KiB in all. One of the greatest length still fits.
const ROOM: u32 = (LINE_MAX / 1024) as u32 + 1024;

/// Written at once.
const WRITE: usize = 64 * 1024;

/// Requests that wait for an answer at most.
const REQUESTS: usize = 64;

/// Speaks to the keeper, from anywhere. Waits only while somebody reads [`super::Lines`].
#[derive(Clone)]
pub struct Handle {
    outgoing: Arc<Outgoing>,
    welcome: Arc<Welcome>,
}

/// How the agent is, as far as was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The last line that the agent was given whole.
    pub delivered: u64,
    /// Its stdin is closed.
    pub deaf: bool,
    /// It is held, and why: nothing of its output can be kept at the moment.
    pub stalled: Option<String>,
    /// Its process is gone. Its last lines may still come, and [`super::Output::Exit`] after them.
    pub exited: Option<Exit>,
    /// The last request that was confirmed.
    done: u64,
    ended: Option<KeeperError>,
}

pub(super) struct Outgoing {
    deadlines: Deadlines,
    seed: u32,
    queue: Mutex<Queue>,
    /// Something is to be written.
    bell: Notify,
    room: Arc<Semaphore>,
    status: watch::Sender<Status>,
}

#[derive(Default)]
struct Queue {
    hello: Option<String>,
    /// Nothing but the hello goes out before the keeper has answered it.
    welcomed: bool,
    /// Not confirmed, in order.
    lines: VecDeque<Line>,
    /// How many of them are written, and how much of the next.
    written: usize,
    piece: usize,
    /// The last number that was queued, or that the keeper had before us.
    last: u64,
    busy: bool,
    ack: u64,
    acked: u64,
    requests: VecDeque<(u64, Ask)>,
    requested: usize,
    request: u64,
    ping: u64,
    pinged: u64,
    bye: bool,
}

struct Line {
    number: u64,
    bytes: Bytes,
    _room: tokio::sync::OwnedSemaphorePermit,
}

impl Handle {
    pub(super) fn new(outgoing: Arc<Outgoing>, welcome: Welcome) -> Self {
        Self { outgoing, welcome: Arc::new(welcome) }
    }

    /// The keeper's state when it was attached to.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    pub fn status(&self) -> Status {
        self.outgoing.status.borrow().clone()
    }

    /// Is called with every change of the status.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.outgoing.status.subscribe()
    }

    /// Gives the agent one line, once, and returns when it was written to its stdin whole. Numbers go up by one; one that
    /// the keeper has already is not sent again, so after attaching anew every line of which the delivery is not certain is
    /// sent again under its number. On an error other than `OutOfOrder` and `NotALine` it may yet be delivered.
    pub async fn send_line(&self, number: u64, bytes: Bytes) -> Result<(), KeeperError> {
        self.queue_line(number, bytes).await?;
        self.delivered(number).await
    }

    /// The first half of [`Self::send_line`]: returns as soon as there is room for the line among those that wait.
    pub async fn queue_line(&self, number: u64, bytes: Bytes) -> Result<(), KeeperError> {
        let after = self.outgoing.deadlines.delivery;
        let queued = timeout(after, self.outgoing.queue_line(number, bytes)).await;
        queued.map_err(|_| KeeperError::NotTaken { number, after }).flatten()
    }

    /// The second half: every line up to this number was written to the agent's stdin.
    pub async fn delivered(&self, number: u64) -> Result<(), KeeperError> {
        let after = self.outgoing.deadlines.delivery;
        let delivered = self.outgoing.wait(|status| {
            if status.delivered >= number {
                Some(Ok(()))
            } else {
                status.deaf.then_some(Err(KeeperError::Deaf { number }))
            }
        });
        timeout(after, delivered).await.map_err(|_| KeeperError::NotTaken { number, after }).flatten()
    }

    /// Everything up to this number is stored. Does not wait; a later acknowledgement includes it.
    pub fn ack(&self, number: u64) {
        let mut queue = self.outgoing.queue.lock();
        queue.ack = queue.ack.max(number);
        drop(queue);
        self.outgoing.bell.notify_one();
    }

    /// After the lines that were sent.
    pub async fn close_stdin(&self) -> Result<(), KeeperError> {
        self.outgoing.request(|id, after| Ask::CloseStdin { id, after }).await
    }

    /// To the agent's process group.
    pub async fn signal(&self, signal: i32) -> Result<(), KeeperError> {
        self.outgoing.request(|id, _| Ask::Signal { id, signal }).await
    }

    /// The agent and everything in its group, at once.
    pub async fn kill(&self) -> Result<(), KeeperError> {
        self.signal(9).await
    }

    /// Nobody wants what is not acknowledged: the keeper ends as soon as the agent has.
    pub fn bye(&self) {
        self.outgoing.queue.lock().bye = true;
        self.outgoing.bell.notify_one();
    }
}

impl Outgoing {
    pub fn new(nonce: Nonce, resume: Resume, deadlines: Deadlines) -> Self {
        let nonce = nonce.to_string();
        let seed = frames::seed_of(&nonce);
        let Resume { received, sent, stderr } = resume;
        let hello = Ask::Hello(Hello { nonce, resume: received, sent, stderr }).to_string();
        let queue = Queue { hello: Some(hello), ack: received, acked: received, ..Queue::default() };
        Self {
            deadlines,
            seed,
            queue: Mutex::new(queue),
            bell: Notify::new(),
            room: Arc::new(Semaphore::new(ROOM as usize)),
            status: watch::Sender::default(),
        }
    }

    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    pub fn begin(&self, welcome: &Welcome) {
        let mut queue = self.queue.lock();
        (queue.welcomed, queue.last) = (true, welcome.accepted);
        drop(queue);
        self.status.send_modify(|status| {
            status.delivered = welcome.delivered;
            status.stalled.clone_from(&welcome.stalled);
        });
        self.bell.notify_one();
    }

    /// A word on the control channel.
    pub fn hear(&self, say: Say) -> Result<(), KeeperError> {
        match say {
            // Ours came before anything else, so this one is for somebody who attached after us.
            Say::Welcome(_) => return Err(self.end(KeeperError::Displaced)),
            Say::Took(number) => {
                self.queue.lock().forget(number);
                self.status.send_modify(|status| status.delivered = status.delivered.max(number));
            }
            Say::Busy(number) => {
                let mut queue = self.queue.lock();
                queue.go_back(number);
                queue.busy = true;
            }
            Say::Ready(number) => {
                let mut queue = self.queue.lock();
                queue.go_back(number);
                queue.busy = false;
            }
            Say::Want(number) => self.queue.lock().send_again(number),
            Say::Deaf(_) => {
                self.status.send_modify(|status| status.deaf = true);
            }
            Say::Done { id } => {
                let mut queue = self.queue.lock();
                while queue.requests.front().is_some_and(|(waiting, _)| *waiting <= id) {
                    queue.requests.pop_front();
                    queue.requested = queue.requested.saturating_sub(1);
                }
                drop(queue);
                self.status.send_modify(|status| status.done = status.done.max(id));
            }
            Say::Exited(exit) => {
                self.status.send_modify(|status| status.exited = Some(exit));
            }
            Say::Stalled(why) => {
                self.status.send_modify(|status| status.stalled = Some(why));
            }
            Say::Flowing => {
                self.status.send_modify(|status| status.stalled = None);
            }
            Say::Pong(_) => {}
        }
        self.bell.notify_one();
        Ok(())
    }

    pub fn ping(&self) {
        self.queue.lock().ping += 1;
        self.bell.notify_one();
    }

    /// Ends the session, for the first reason that is given; gives that.
    pub fn end(&self, error: KeeperError) -> KeeperError {
        self.status.send_if_modified(|status| {
            let first = status.ended.is_none();
            status.ended.get_or_insert(error.clone());
            first
        });
        self.room.close();
        self.bell.notify_one();
        self.ended().unwrap_or(error)
    }

    pub fn ended(&self) -> Option<KeeperError> {
        self.status.borrow().ended.clone()
    }

    pub async fn until_ended(&self) -> KeeperError {
        self.wait(|_| None::<Result<KeeperError, KeeperError>>).await.unwrap_or_else(|error| error)
    }

    /// Writes what is to be written until the session ends.
    pub async fn write_to(&self, mut write: impl AsyncWrite + Send + Unpin) {
        let mut bytes = Vec::with_capacity(WRITE + PIECE);
        // A line that is cut off here ends whatever half frame an earlier session left in the pipe.
        bytes.push(b'\n');
        while self.ended().is_none() {
            self.queue.lock().encode(self.seed, &mut bytes);
            if bytes.is_empty() {
                self.bell.notified().await;
                continue;
            }
            let deadline = self.deadlines.write;
            let written = timeout(deadline, async {
                write.write_all(&bytes).await?;
                write.flush().await
            });
            let written = tokio::select! {
                written = written => written,
                _ = self.until_ended() => break,
            };
            match written {
                Ok(Ok(())) => bytes.clear(),
                Ok(Err(error)) => drop(self.end(error.into())),
                Err(_) => drop(self.end(KeeperError::Stuck(deadline))),
            }
        }
    }

    async fn queue_line(&self, number: u64, bytes: Bytes) -> Result<(), KeeperError> {
        if bytes.len() as u64 > LINE_MAX || newline(&bytes).is_some() {
            return Err(KeeperError::NotALine(bytes.len()));
        }
        let kib = u32::try_from(bytes.len() / 1024).unwrap_or(ROOM) + 1;
        let room = self.room.clone().acquire_many_owned(kib).await;
        let room = room.map_err(|_| self.ended().unwrap_or(KeeperError::Closed))?;
        let mut queue = self.queue.lock();
        // The keeper has it, or it waits here already.
        if number <= queue.last {
            return Ok(());
        }
        if number > queue.last + 1 {
            return Err(KeeperError::OutOfOrder { number, expected: queue.last + 1 });
        }
        queue.last = number;
        queue.lines.push_back(Line { number, bytes, _room: room });
        drop(queue);
        self.bell.notify_one();
        Ok(())
    }

    async fn request(&self, ask: impl FnOnce(u64, u64) -> Ask) -> Result<(), KeeperError> {
        let id = {
            let mut queue = self.queue.lock();
            if queue.requests.len() >= REQUESTS {
                return Err(KeeperError::NoAnswer(Duration::ZERO));
            }
            queue.request += 1;
            let id = queue.request;
            let ask = ask(id, queue.last);
            queue.requests.push_back((id, ask));
            id
        };
        self.bell.notify_one();
        let deadline = self.deadlines.answer;
        let done = self.wait(|status| (status.done >= id).then_some(Ok(())));
        timeout(deadline, done).await.map_err(|_| KeeperError::NoAnswer(deadline)).flatten()
    }

    /// Until the status gives an answer, or the session ends.
    async fn wait<T>(&self, answer: impl Fn(&Status) -> Option<Result<T, KeeperError>>) -> Result<T, KeeperError> {
        let mut status = self.status.subscribe();
        loop {
            let ended = {
                let status = status.borrow_and_update();
                if let Some(answer) = answer(&status) {
                    return answer;
                }
                status.ended.clone()
            };
            if let Some(error) = ended {
                return Err(error);
            }
            // We hold the sender ourselves, so it cannot be gone.
            let _ = status.changed().await;
        }
    }
}

impl Queue {
    /// Appends what is to be written next: small things first, then lines, about [`WRITE`] bytes.
    fn encode(&mut self, seed: u32, out: &mut Vec<u8>) {
        if let Some(hello) = self.hello.take() {
            control(&hello, 0, out);
        }
        if !self.welcomed {
            return;
        }
        if self.ack > self.acked {
            self.acked = self.ack;
            control(&Ask::Ack(self.ack).to_string(), seed, out);
        }
        for (_, ask) in self.requests.iter().skip(self.requested) {
            control(&ask.to_string(), seed, out);
        }
        self.requested = self.requests.len();
        if self.ping > self.pinged {
            self.pinged = self.ping;
            control(&Ask::Ping(self.ping).to_string(), seed, out);
        }
        while !self.busy && out.len() < WRITE {
            let Some(Line { number, bytes, .. }) = self.lines.get(self.written) else { break };
            let end = bytes.len().min(self.piece + PIECE);
            let kind = Kind::of_piece(self.piece == 0, end == bytes.len());
            Frame { channel: Channel::Agent, kind, number: *number, payload: &bytes[self.piece..end] }
                .encode(seed, out);
            (self.written, self.piece) = if kind.ends() { (self.written + 1, 0) } else { (self.written, end) };
        }
        if self.bye && self.written == self.lines.len() && self.requested == self.requests.len() {
            self.bye = false;
            control(&Ask::Bye.to_string(), seed, out);
        }
    }

    /// Lines up to this number are confirmed.
    fn forget(&mut self, number: u64) {
        while self.lines.front().is_some_and(|line| line.number <= number) {
            self.lines.pop_front();
            if self.written == 0 {
                self.piece = 0;
            }
            self.written = self.written.saturating_sub(1);
        }
    }

    /// The next line to be written is this one, if it was written.
    fn go_back(&mut self, number: u64) {
        let first = self.lines.front().map_or(number, |line| line.number);
        let at = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        if at <= self.written {
            (self.written, self.piece) = (at, 0);
        }
    }

    fn send_again(&mut self, number: u64) {
        self.go_back(number);
        self.requested = 0;
        // The next one says it all; this only makes sure that there is one.
        self.acked = 0;
    }
}

fn control(text: &str, seed: u32, out: &mut Vec<u8>) {
    Frame { channel: Channel::Control, kind: Kind::Whole, number: 0, payload: text.as_bytes() }.encode(seed, out);
}
