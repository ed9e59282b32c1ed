//! From the keeper's bytes to what they mean. Pulled by its consumer; every wait can be cancelled without losing a byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kanvoy_keeper::frames::{self, Channel, Cut, Frame, Kind, LINE_MAX, PIECE, Splitter};
use kanvoy_keeper::words::{Note, Say, Welcome};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::keeper::outgoing::Outgoing;
use crate::keeper::{KeeperError, Nonce, Output, Resume};

/// Read at once, so that many lines cost one wake-up.
const READ: usize = 192 * 1024;

/// What the agent and its keeper say. Dropping it ends the session; the keeper goes on without it.
pub struct Lines {
    read: Box<dyn AsyncRead + Send + Unpin>,
    outgoing: Arc<Outgoing>,
    splitter: Splitter,
    /// The last number that was given out.
    received: u64,
    stderr: u64,
    /// The pieces of a line so far, and its number.
    part: BytesMut,
    part_of: Option<u64>,
    /// Lines are cut from here, many from one allocation.
    slab: BytesMut,
    heard: Instant,
    asked: Option<Instant>,
}

impl Lines {
    pub(super) fn new(read: Box<dyn AsyncRead + Send + Unpin>, outgoing: Arc<Outgoing>, resume: Resume) -> Self {
        Self {
            read,
            outgoing,
            splitter: Splitter::new(READ),
            received: resume.received,
            stderr: resume.stderr,
            part: BytesMut::new(),
            part_of: None,
            slab: BytesMut::new(),
            heard: Instant::now(),
            asked: None,
        }
    }

    /// The next of what is told. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Output, KeeperError> {
        loop {
            if let Some(output) = self.waiting()? {
                return Ok(output);
            }
            self.fill().await?;
        }
    }

    /// Waits for one, and takes what came along with it: at least one and at most `most`. Cancelling it loses nothing.
    pub async fn batch(&mut self, into: &mut Vec<Output>, most: usize) -> Result<(), KeeperError> {
        let first = self.next().await?;
        into.push(first);
        for _ in 1..most {
            // What is wrong behind good lines is told when those are taken.
            let Ok(Some(output)) = self.waiting() else { break };
            into.push(output);
        }
        Ok(())
    }

    /// Reads up to the welcome that answers our hello. Everything before it is from another session, or half a frame.
    pub(super) async fn welcome(&mut self, nonce: Nonce) -> Result<Welcome, KeeperError> {
        let most = self.outgoing.deadlines().welcome;
        let until = Instant::now() + most;
        let nonce = nonce.to_string();
        loop {
            while let Some(cut) = self.splitter.next_line() {
                if let Cut::Line(line) = cut
                    && let Some(frame) = frames::parse(line, 0).filter(|frame| frame.channel == Channel::Control)
                    && let Some(Say::Welcome(welcome)) = Say::parse(frame.payload)
                    && welcome.nonce == nonce
                {
                    return Ok(*welcome);
                }
            }
            let filled = timeout_at(until, self.fill_now()).await;
            filled.map_err(|_| KeeperError::NoWelcome(most)).flatten()?;
        }
    }

    /// What is complete among what was read.
    fn waiting(&mut self) -> Result<Option<Output>, KeeperError> {
        if let Some(error) = self.outgoing.ended() {
            return Err(error);
        }
        self.read_on().map_err(|error| self.outgoing.end(error))
    }

    fn read_on(&mut self) -> Result<Option<Output>, KeeperError> {
        while let Some(cut) = self.splitter.next_line() {
            let Cut::Line(line) = cut else { return Err(protocol("a line that no frame can be")) };
            // A stream that brought our welcome is whole from there on; if it is not, a new session sets it right.
            let Some(frame) = frames::parse(line, 0) else { return Err(protocol("something that is no frame")) };
            let (parts, slab) = ((&mut self.part, &mut self.part_of), &mut self.slab);
            match frame.channel {
                Channel::Agent => {
                    if let Some(output) = numbered(&frame, self.received, parts, slab)? {
                        self.received = output.number().unwrap_or(self.received);
                        return Ok(Some(output));
                    }
                }
                Channel::Stderr if frame.number > self.stderr => {
                    let dropped = frame.number - self.stderr - 1;
                    self.stderr = frame.number;
                    let bytes = keep(slab, frame.payload);
                    return Ok(Some(Output::Stderr { number: frame.number, dropped, bytes }));
                }
                Channel::Control => {
                    if let Some(say) = Say::parse(frame.payload) {
                        self.outgoing.hear(say)?;
                    }
                }
                Channel::Stderr | Channel::Mcp => {}
            }
        }
        Ok(None)
    }

    /// Waits for bytes; asks for a sign of life when none come.
    async fn fill(&mut self) -> Result<(), KeeperError> {
        loop {
            let deadlines = self.outgoing.deadlines();
            let until = match self.asked {
                None => self.heard + deadlines.ping,
                Some(asked) => asked + deadlines.pong,
            };
            // Whoever comes back late first looks whether something waits.
            let wait = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            if let Ok(filled) = timeout(wait, self.fill_now()).await {
                return filled;
            }
            if self.asked.is_some() {
                let error = KeeperError::Silent(self.heard.elapsed());
                self.outgoing.end(error.clone());
                return Err(error);
            }
            self.outgoing.ping();
            self.asked = Some(Instant::now());
        }
    }

    async fn fill_now(&mut self) -> Result<(), KeeperError> {
        let bytes = tokio::select! {
            biased;
            read = self.read.read(self.splitter.space()) => read.map_err(KeeperError::from),
            error = self.outgoing.until_ended() => Err(error),
        };
        match bytes {
            Ok(0) => {
                self.outgoing.end(KeeperError::Closed);
                Err(KeeperError::Closed)
            }
            Ok(bytes) => {
                self.splitter.filled(bytes);
                (self.heard, self.asked) = (Instant::now(), None);
                Ok(())
            }
            Err(error) => {
                self.outgoing.end(error.clone());
                Err(error)
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.outgoing.end(KeeperError::Closed);
    }
}

/// What a frame of the agent's channel completes, if it does. `received` is the last number that was given out.
fn numbered(
    frame: &Frame<'_>,
    received: u64,
    (part, part_of): (&mut BytesMut, &mut Option<u64>),
    slab: &mut BytesMut,
) -> Result<Option<Output>, KeeperError> {
    let number = frame.number;
    if number <= received {
        return Ok(None);
    }
    let next = number == received + 1;
    if frame.kind.begins() {
        part.clear();
        *part_of = None;
    }
    if frame.kind == Kind::Note {
        return match Note::parse(frame.payload) {
            Some(Note::Oversize { length, checksum, no_space, head }) if next => {
                Ok(Some(Output::Oversize { number, length, checksum, no_space, head: keep(slab, head) }))
            }
            Some(Note::Exit(exit)) if next => Ok(Some(Output::Exit { number, exit })),
            Some(Note::Gap { from, cause }) if from <= received + 1 => {
                Ok(Some(Output::Gap { from: received + 1, to: number, cause }))
            }
            // A newer keeper's note stands for a line that we cannot have.
            None if next => {
                Ok(Some(Output::Gap { from: number, to: number, cause: kanvoy_keeper::words::Cause::Torn }))
            }
            _ => Err(protocol("a note out of order")),
        };
    }
    if !next {
        return Err(protocol("a line was left out"));
    }
    match frame.kind {
        Kind::Whole => return Ok(Some(Output::Line { number, bytes: keep(slab, frame.payload) })),
        Kind::First => *part_of = Some(number),
        _ if *part_of != Some(number) => return Err(protocol("a piece without its beginning")),
        _ => {}
    }
    if part.len() + frame.payload.len() > usize::try_from(LINE_MAX).unwrap_or(usize::MAX) {
        return Err(protocol("a line that is too long"));
    }
    part.extend_from_slice(frame.payload);
    if !frame.kind.ends() {
        return Ok(None);
    }
    *part_of = None;
    Ok(Some(Output::Line { number, bytes: std::mem::take(part).freeze() }))
}

fn keep(slab: &mut BytesMut, payload: &[u8]) -> Bytes {
    if slab.capacity() < payload.len() {
        *slab = BytesMut::with_capacity(payload.len().max(PIECE));
    }
    slab.extend_from_slice(payload);
    slab.split().freeze()
}

fn protocol(what: &str) -> KeeperError {
    KeeperError::Protocol(what.into())
}
