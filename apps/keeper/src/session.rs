//! One daemon's time with the keeper, from its hello until the next: what it has been sent, and what it says.

use std::time::{Duration, Instant};

use kanvoy_keeper::frames::{self, Channel, Cut, Frame, Kind, newline};
use kanvoy_keeper::words::{Ask, Hello, Note, Say};

use crate::inbox::Offered;
use crate::keeper::{Keeper, Stage};
use crate::link::Link;

/// Between two requests to send again, so that what is on its way is not asked for twice.
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) struct Session {
    seed: u32,
    /// How far in the journal it was sent, and the number of the line that comes next.
    pub cursor: u64,
    pub next: u64,
    /// The last line of stderr it was sent.
    pub stderr: u64,
    pub told_delivered: u64,
    pub told_deaf: bool,
    /// The last request that was done.
    done: u64,
    /// When to ask for what was torn.
    pub want_at: Option<Instant>,
    wanted: Option<Instant>,
}

impl Session {
    /// A note that stands for lines up to `number`.
    pub fn tell(&mut self, link: &mut Link, number: u64, note: &Note<'_>) {
        let payload = note.payload();
        Frame { channel: Channel::Agent, kind: Kind::Note, number, payload: &payload }.encode(0, link.out());
        self.next = number + 1;
    }

    /// Leaves out the frames of lines that it has.
    pub fn unsent<'a>(&self, mut frames: &'a [u8]) -> &'a [u8] {
        while let Some(end) = newline(frames) {
            if frames::parse(&frames[..end], 0).is_some_and(|frame| frame.number >= self.next) {
                break;
            }
            frames = &frames[end + 1..];
        }
        frames
    }

    fn want(&mut self, now: Instant) {
        self.want_at = Some(self.wanted.map_or(now, |last| now.max(last + PATIENCE)));
    }
}

impl Keeper {
    /// Everything that was read. Frames come from the session that began last; what an earlier one left in the pipe has
    /// other checksums, and is garbage like any other.
    pub(crate) fn hear(&mut self, now: Instant) {
        while let Some(cut) = self.link.next_line() {
            let line = match cut {
                Cut::Line(line) => line.to_vec(),
                Cut::TooLong => Vec::new(),
            };
            let seed = self.session.as_ref().map(|session| session.seed);
            if let Some(frame) = seed.and_then(|seed| frames::parse(&line, seed)) {
                self.take(&frame, now);
                continue;
            }
            match frames::parse(&line, 0)
                .filter(|frame| frame.channel == Channel::Control)
                .map(|frame| Ask::parse(frame.payload))
            {
                Some(Some(Ask::Hello(hello))) => self.begin(&hello),
                _ => self.want(now),
            }
        }
    }

    pub(crate) fn ask_again(&mut self, now: Instant) {
        if let Some(session) = self.session.as_mut().filter(|session| session.want_at.is_some_and(|at| at <= now)) {
            (session.want_at, session.wanted) = (None, Some(now));
            self.link.say(&Say::Want(self.inbox.accepted() + 1));
        }
    }

    fn begin(&mut self, hello: &Hello) {
        let exit = u64::from(matches!(self.stage, Stage::Over { .. }));
        let known = hello.resume <= self.journal.last() + exit;
        self.lose_session();
        self.link.cut_short();
        // What it stored it needs no more. One that claims more than there was belongs to another run.
        if known {
            self.stored(hello.resume);
        }
        let next = hello.resume + 1;
        self.session = Some(Session {
            seed: frames::seed_of(&hello.nonce),
            cursor: self.journal.seek(next),
            next,
            stderr: hello.stderr,
            told_delivered: self.inbox.delivered(),
            told_deaf: false,
            done: 0,
            want_at: None,
            wanted: None,
        });
        let welcome = self.welcome(&hello.nonce);
        self.link.say(&Say::Welcome(Box::new(welcome)));
        if let Some(exit) = self.agent.exit() {
            self.link.say(&Say::Exited(exit));
        }
    }

    fn take(&mut self, frame: &Frame<'_>, now: Instant) {
        match frame.channel {
            Channel::Agent => match self.inbox.offer(frame) {
                Offered::Accepted | Offered::InPart | Offered::StillBusy | Offered::Closed => {}
                // The one who sends it again has not heard of its delivery.
                Offered::Known => {
                    let delivered = self.inbox.delivered();
                    if delivered >= frame.number {
                        self.say(&Say::Took(delivered));
                    }
                }
                Offered::Busy => self.say(&Say::Busy(self.inbox.accepted() + 1)),
                Offered::Unexpected => self.want(now),
            },
            Channel::Control => {
                // What a newer daemon says that is not known here is no mistake.
                if let Some(ask) = Ask::parse(frame.payload) {
                    self.answer(ask, now);
                }
            }
            // Nothing comes to the keeper on these, so far.
            Channel::Stderr | Channel::Mcp => {}
        }
    }

    fn answer(&mut self, ask: Ask, now: Instant) {
        match ask {
            // Its checksum is that of a session: a hello never is.
            Ask::Hello(_) => {}
            Ask::Ack(number) => self.stored(number),
            Ask::Ping(number) => self.say(&Say::Pong(number)),
            Ask::Bye => self.bye = true,
            Ask::CloseStdin { id, after } => {
                if self.next_request(id, now) {
                    self.inbox.close_after(after);
                }
            }
            Ask::Signal { id, signal } => {
                if self.next_request(id, now) {
                    self.agent.signal(signal);
                }
            }
        }
    }

    /// Whether this request is to be done: each once, in order.
    fn next_request(&mut self, id: u64, now: Instant) -> bool {
        let Some(session) = &mut self.session else { return false };
        if id > session.done + 1 {
            session.want(now);
            return false;
        }
        let new = id > session.done;
        session.done = session.done.max(id);
        self.say(&Say::Done { id });
        new
    }

    fn stored(&mut self, number: u64) {
        self.journal.ack(number);
        if matches!(self.stage, Stage::Over { .. }) && number > self.journal.last() {
            self.exit_acked = true;
        }
    }

    fn want(&mut self, now: Instant) {
        self.inbox.forget_part();
        if let Some(session) = &mut self.session {
            session.want(now);
        }
    }
}
