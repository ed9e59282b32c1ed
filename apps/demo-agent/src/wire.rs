//! The agent's own end of the protocol: lines out, each in the ledger first, and answers in.
//!
//! Written here and not taken from the official library, because half of what this agent is for cannot be said through one:
//! lines that are no protocol, a line of any size, a pipe that is really full, a ledger of exactly the bytes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use agent_client_protocol_schema::v1::{SessionNotification, SessionUpdate};
use parking_lot::{Condvar, Mutex};
use serde::Serialize;
use serde_json::{Value, json};

use crate::ledger::{Direction, Ledger};

pub struct Wire {
    out: Mutex<Out>,
    inbox: Mutex<Inbox>,
    changed: Condvar,
}

struct Out {
    /// None once the agent has hung up.
    writer: Option<Box<dyn Write + Send>>,
}

impl Out {
    fn write(&mut self, lines: &[u8]) -> Result<(), Gone> {
        let writer = self.writer.as_mut().ok_or(Gone)?;
        writer.write_all(lines)?;
        Ok(writer.flush()?)
    }
}

struct Inbox {
    /// Behind this lock and not behind that of `out`: what is read is noted while a full pipe holds up what is written.
    ledger: Option<Ledger>,
    cancelled: bool,
    gone: bool,
    next_id: u64,
    answers: HashMap<u64, Value>,
}

/// Nobody reads what the agent writes, or the ledger is full. It has nothing left to do.
#[derive(Debug)]
pub struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// How a wait came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    TimeIsUp,
    Cancelled,
    Gone,
}

impl Wire {
    pub fn new(writer: Box<dyn Write + Send>, ledger: Option<Ledger>) -> Self {
        let inbox = Inbox { ledger, cancelled: false, gone: false, next_id: 0, answers: HashMap::new() };
        Self { out: Mutex::new(Out { writer: Some(writer) }), inbox: Mutex::new(inbox), changed: Condvar::new() }
    }

    pub fn update(&self, session: &str, update: SessionUpdate) -> Result<(), Gone> {
        self.notify("session/update", SessionNotification::new(session.to_owned(), update))
    }

    pub fn notify(&self, method: &str, params: impl Serialize) -> Result<(), Gone> {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    }

    pub fn answer(&self, id: &Value, result: impl Serialize) -> Result<(), Gone> {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }

    pub fn fail(&self, id: &Value, code: i32, message: &str) -> Result<(), Gone> {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }))
    }

    /// Asks the client and waits for what it says, or for a cancel and a second more.
    pub fn ask(&self, method: &str, params: impl Serialize) -> Result<Option<Value>, Gone> {
        let id = {
            let mut inbox = self.inbox.lock();
            inbox.next_id += 1;
            // Real agents count from 0, next to a client that does the same.
            inbox.next_id - 1
        };
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        let mut inbox = self.inbox.lock();
        let mut end = None;
        loop {
            if let Some(answer) = inbox.answers.remove(&id) {
                return Ok(Some(answer));
            }
            if inbox.gone {
                return Err(Gone);
            }
            match end {
                None if inbox.cancelled => end = Some(Instant::now() + Duration::from_secs(1)),
                None => self.changed.wait(&mut inbox),
                Some(end) => {
                    if self.changed.wait_until(&mut inbox, end).timed_out() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn send(&self, message: &Value) -> Result<(), Gone> {
        self.line(message.to_string().into_bytes())
    }

    /// Exactly these bytes and a newline, in one write.
    pub fn line(&self, mut line: Vec<u8>) -> Result<(), Gone> {
        let mut out = self.out.lock();
        self.note(Direction::Out, [&line[..]])?;
        line.push(b'\n');
        out.write(&line)
    }

    /// Many lines in one write. Each ends with its newline.
    pub fn lines(&self, lines: &[u8]) -> Result<(), Gone> {
        let mut out = self.out.lock();
        self.note(Direction::Out, lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n'))?;
        out.write(lines)
    }

    pub fn note<'a>(&self, direction: Direction, lines: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        match &mut self.inbox.lock().ledger {
            Some(ledger) => ledger.append(direction, lines),
            None => Ok(()),
        }
    }

    pub fn answered(&self, id: u64, answer: Value) {
        let mut inbox = self.inbox.lock();
        // Only what was asked can be answered; the rest would never be fetched.
        if id < inbox.next_id {
            inbox.answers.insert(id, answer);
        }
        self.changed.notify_all();
    }

    pub fn cancel(&self) {
        self.inbox.lock().cancelled = true;
        self.changed.notify_all();
    }

    pub fn is_cancelled(&self) -> bool {
        self.inbox.lock().cancelled
    }

    pub fn begin_turn(&self) {
        let mut inbox = self.inbox.lock();
        inbox.cancelled = false;
        inbox.answers.clear();
    }

    /// Nothing more is said, and whoever listens hears that: as if the process were gone.
    pub fn hang_up(&self) {
        self.inbox.lock().gone = true;
        self.changed.notify_all();
        // A turn that hangs in a full pipe keeps it; it notices by itself when nobody reads.
        if let Some(mut out) = self.out.try_lock_for(Duration::from_millis(100)) {
            out.writer = None;
        }
    }

    /// Waits for as long as it is told, or for ever; a cancel ends it unless it is ignored.
    pub fn wait(&self, time: Option<Duration>, obedient: bool) -> Waited {
        let end = time.map(|time| Instant::now() + time);
        let mut inbox = self.inbox.lock();
        loop {
            if inbox.gone {
                return Waited::Gone;
            }
            if obedient && inbox.cancelled {
                return Waited::Cancelled;
            }
            match end {
                None => self.changed.wait(&mut inbox),
                Some(end) if Instant::now() >= end => return Waited::TimeIsUp,
                Some(end) => {
                    self.changed.wait_until(&mut inbox, end);
                }
            }
        }
    }
}
