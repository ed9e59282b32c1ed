//! The loop. One thread, one poll: whatever is ready is done as far as it goes without waiting, and then polled again, so
//! that no channel can hold another. What is full is simply not asked for.
//!
//! - The agent's stdout is read while the journal has room; the agent is held by not reading, never by dropping.
//! - Every batch of lines is in the journal before it is sent. Who has caught up gets it at once; who lags is given it from
//!   the journal, block by block.
//! - What the daemon says is always read. Lines for the agent that find no room are refused, so that acknowledgements and
//!   requests behind them are heard.
//! - The agent's end is what waitpid says, not the end of its stdout, which a child may hold open: see [`Stage`].
//!
//! Memory: one read (128 KiB), a batch (64 KiB and a frame), a block (about 200 KiB), the outgoing bytes (256 KiB and a block),
//! the tail of stderr (64 KiB), 48 bytes for every 64 KiB of journal; nothing grows with a line or with time.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kanvoy_keeper::words::{AgentState, Cause, Exit, Note, Say, Welcome};

use crate::agent::{self, Agent, Pipes};
use crate::inbox::Inbox;
use crate::intake::{Filled, Intake};
use crate::journal::{Found, Journal};
use crate::link::Link;
use crate::options::Options;
use crate::recovery::recover;
use crate::session::Session;
use crate::state::{Saved, State};
use crate::sys::{self, Interest};
use crate::tail::Tail;

/// Lines of the agent are queued for the daemon up to this many bytes.
const AHEAD: usize = 256 * 1024;

/// How much is journalled before others have their turn.
const TURN: usize = 1 << 20;

/// What a disk without space is asked again after.
const RETRY: Duration = Duration::from_millis(250);

/// And how long for one line that is longer than what there is.
const HOPE: Duration = Duration::from_secs(5);

/// What is read at most from a stdout that somebody still holds when the time to drain it is over: what a pipe can hold.
const LAST_BYTES: usize = 1 << 20;

/// After a signal from outside whoever sent it will not wait for long; what is not acknowledged stays in the journal.
const HURRY: Duration = Duration::from_secs(2);

pub struct Keeper {
    pub(crate) options: Options,
    pub(crate) agent: Agent,
    pub(crate) journal: Journal,
    pub(crate) inbox: Inbox,
    pub(crate) link: Link,
    pub(crate) session: Option<Session>,
    pub(crate) stage: Stage,
    /// The daemon needs nothing more.
    pub(crate) bye: bool,
    pub(crate) exit_acked: bool,
    recovered: bool,
    state: State,
    intake: Intake,
    tail: Tail,
    stdout: Option<std::fs::File>,
    stderr: Option<std::fs::File>,
    signals: std::fs::File,
    stalled: Option<String>,
    retry_at: Option<Instant>,
    /// Since when there has been no space, although nothing is left that could be acknowledged.
    cramped_since: Option<Instant>,
    linger: Option<Duration>,
    buffer: Vec<u8>,
}

pub(crate) enum Stage {
    Running,
    /// The agent's process is gone; something else may still hold its stdout.
    Draining {
        until: Instant,
    },
    /// Time is over: what is in the pipe is read, and no more.
    LastBytes {
        left: usize,
    },
    /// All lines are in the journal, and the exit follows them.
    Over {
        exit: Exit,
        since: Instant,
    },
}

impl Keeper {
    pub fn start(options: Options) -> io::Result<Self> {
        let now = Instant::now();
        let place = options.journal.as_deref();
        place.map_or(Ok(()), std::fs::create_dir_all)?;
        let (state, saved) = place.map_or_else(|| Ok((State::nowhere(), None)), State::open)?;
        let link = match &options.socket {
            Some(path) => Link::socket(path, place.is_some())?,
            None => Link::stdio()?,
        };
        let signals = sys::signals()?;
        sys::become_subreaper()?;
        sys::close_to_others()?;
        let mut tail = Tail::new(now);
        let intake = Intake::new(options.line_max, place)?;
        let left = place.map_or(Ok(None), |place| recover(place, options.journal_max))?;
        // A command is started once for a journal, whatever became of it.
        let recovered = saved.is_some() || left.is_some();
        let (journal, agent, inbox, pipes) = if recovered {
            let saved = saved.unwrap_or_default();
            place.into_iter().for_each(|place| tail.load(place));
            let journal = left.map_or_else(|| Journal::create(place, options.journal_max), Ok)?;
            (journal, Agent::left(saved.exit), Inbox::left(saved.begun, saved.delivered)?, None)
        } else {
            let journal = Journal::create(place, options.journal_max)?;
            let (agent, pipes) = Agent::start(&options.command);
            let (stdin, rest) = pipes.map(|Pipes { stdin, stdout, stderr }| (stdin, (stdout, stderr))).unzip();
            (journal, agent, Inbox::new(stdin, options.stdin_max, options.line_max, place)?, rest)
        };
        let (stdout, stderr) = pipes.unzip();
        let stage = Stage::Running;
        let mut keeper = Self {
            linger: options.linger,
            options,
            agent,
            journal,
            inbox,
            link,
            session: None,
            stage,
            bye: false,
            exit_acked: false,
            recovered,
            state,
            intake,
            tail,
            stdout,
            stderr,
            signals,
            stalled: None,
            retry_at: None,
            cramped_since: None,
            buffer: Vec::new(),
        };
        if !recovered {
            keeper.save();
        }
        keeper.watch_end(now);
        Ok(keeper)
    }

    /// Until nobody needs it any more; gives what to exit with.
    pub fn run(mut self) -> io::Result<i32> {
        loop {
            let now = Instant::now();
            self.take_lines(now);
            self.advance(now);
            self.feed_agent();
            self.ask_again(now);
            self.fill_link(now);
            if !self.link.flush() {
                self.lose_session();
            }
            if let Some(exit) = self.finished(now) {
                self.agent.sweep();
                return Ok(agent::code(&exit));
            }
            self.wait(now)?;
        }
    }

    fn wait(&mut self, now: Instant) -> io::Result<()> {
        let read = |asked| Interest { read: asked, write: false };
        let write = |asked| Interest { read: false, write: asked };
        let takes_lines = self.takes_lines();
        let [signals, listener, heard, sendable, out, err, hungry] = sys::poll(
            [
                (Some(self.signals.as_fd()), read(true)),
                (self.link.listener(), read(true)),
                (self.link.input().map(AsFd::as_fd), read(true)),
                (self.link.output().map(AsFd::as_fd), write(self.link.waiting() > 0)),
                (self.stdout.as_ref().map(AsFd::as_fd), read(takes_lines)),
                (self.stderr.as_ref().map(AsFd::as_fd), read(true)),
                (self.inbox.hungry().map(AsFd::as_fd), write(true)),
            ],
            self.timeout(now),
        )?;
        let now = Instant::now();
        // Sending and feeding are tried every turn; that they are possible is only a reason to wake.
        let _ = (sendable, hungry);
        if signals.read {
            self.hear_signals(now);
        }
        if listener.read && self.link.accept() {
            self.lose_session();
        }
        if heard.read {
            if self.link.read() {
                self.hear(now);
            } else {
                self.lose_session();
            }
        }
        if err.read {
            self.read_stderr();
        }
        if out.read {
            self.read_stdout();
        }
        Ok(())
    }

    fn timeout(&self, now: Instant) -> Option<Duration> {
        let until = |at: Instant| at.saturating_duration_since(now);
        let lines = (!self.intake.is_dry() && self.stalled.is_none()).then_some(Duration::ZERO);
        let retry = self.retry_at.map(until).or(self.inbox.is_refusing().then_some(RETRY));
        let stage = match self.stage {
            Stage::Running => None,
            Stage::LastBytes { .. } => Some(Duration::ZERO).filter(|_| self.stalled.is_none()),
            Stage::Draining { until: at } => Some(until(at)).filter(|_| self.stalled.is_none()),
            Stage::Over { since, .. } => self.linger.map(|linger| until(since + linger)),
        };
        let session = self.session.as_ref().and_then(|session| {
            // All that was queued has gone, and the journal holds more.
            let more = session.cursor < self.journal.end() && self.link.waiting() < AHEAD;
            let more = more.then_some(Duration::ZERO);
            let tail = (self.tail.waits(session.stderr) && self.link.waiting() < AHEAD / 2).then(Tail::pause);
            [more, tail, session.want_at.map(until)].into_iter().flatten().min()
        });
        [lines, retry, stage, session].into_iter().flatten().min()
    }

    fn takes_lines(&self) -> bool {
        self.intake.is_dry() && self.stalled.is_none()
    }

    /// From what was read to the journal, and to the daemon if it has everything before.
    fn take_lines(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.retry_at = None;
        let mut taken = 0;
        let trouble = loop {
            if self.journal.full() {
                break Some("the journal is full".to_owned());
            }
            if taken >= TURN {
                break None;
            }
            let before = self.journal.end();
            match self.intake.batch() {
                Ok(None) => break None,
                Ok(Some(batch)) => {
                    if let Err(error) = self.journal.append(&batch) {
                        if self.intake.is_draining() && self.is_hopeless(now) {
                            self.intake.give_up();
                            continue;
                        }
                        self.retry_at = Some(now + RETRY);
                        break Some(format!("the journal cannot be written: {error}"));
                    }
                    self.cramped_since = None;
                    if let Some(session) = self.session.as_mut().filter(|session| session.cursor == before)
                        && self.link.waiting() < AHEAD
                        && session.next <= batch.last
                    {
                        self.link.send(batch.frames);
                        session.cursor = self.journal.end();
                        session.next = batch.whole + 1;
                    }
                    taken += batch.frames.len();
                    self.intake.taken();
                }
                Err(error) => {
                    if self.is_hopeless(now) {
                        self.intake.give_up();
                        continue;
                    }
                    self.retry_at = Some(now + RETRY);
                    break Some(format!("a long line finds no room: {error}"));
                }
            }
        };
        if trouble != self.stalled {
            let say = trouble.clone().map_or(Say::Flowing, Say::Stalled);
            self.stalled = trouble;
            self.say(&say);
        }
    }

    /// Space may come when something is acknowledged, or when others give some back. After a while without either, a line that
    /// is longer than what there is will never fit.
    fn is_hopeless(&mut self, now: Instant) -> bool {
        if self.journal.has_unacked() {
            self.cramped_since = None;
            return false;
        }
        now >= *self.cramped_since.get_or_insert(now) + HOPE
    }

    fn read_stdout(&mut self) {
        let Some(stdout) = &self.stdout else { return };
        let last = match &mut self.stage {
            Stage::LastBytes { left } => Some(left),
            _ => None,
        };
        let over = match (self.intake.fill(stdout), last) {
            (Filled::End, _) | (Filled::Nothing, Some(_)) => true,
            (Filled::Some, Some(left)) => {
                *left = left.saturating_sub(self.intake.waiting());
                *left == 0
            }
            (Filled::Some | Filled::Nothing, _) => false,
        };
        if over {
            self.stdout = None;
        }
    }

    fn read_stderr(&mut self) {
        let Some(stderr) = &self.stderr else { return };
        let mut bytes = [0; 16 * 1024];
        match io::Read::read(&mut &*stderr, &mut bytes) {
            Ok(read) if read > 0 => self.tail.push(&bytes[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            _ => {
                self.tail.end();
                self.stderr = None;
            }
        }
    }

    fn feed_agent(&mut self) {
        if self.inbox.hungry().is_some() {
            let (pid, delivered, state) = (self.agent.pid(), self.inbox.delivered(), &mut self.state);
            self.inbox.feed(|begun| state.save(Saved { pid, begun, delivered, exit: None }));
            self.save();
        }
        let room = self.inbox.has_room_again().then(|| Say::Ready(self.inbox.accepted() + 1));
        room.into_iter().for_each(|say| self.say(&say));
        let (delivered, open) = (self.inbox.delivered(), self.inbox.is_open());
        let Some(session) = &mut self.session else { return };
        if delivered > session.told_delivered {
            session.told_delivered = delivered;
            self.link.say(&Say::Took(delivered));
        }
        if !open && self.inbox.hungry().is_none() && !std::mem::replace(&mut session.told_deaf, true) {
            self.link.say(&Say::Deaf(delivered));
        }
    }

    /// What the daemon does not have yet, as far as there is room on the way.
    fn fill_link(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        while self.link.waiting() < AHEAD {
            let trimmed = self.journal.trimmed();
            if session.next <= trimmed {
                session.tell(&mut self.link, trimmed, &Note::Gap { from: session.next, cause: Cause::Trimmed });
                session.cursor = self.journal.seek(session.next);
            }
            match self.journal.read(session.cursor, &mut self.buffer) {
                Found::Nothing => {
                    // Only what a killed keeper left can end in lines that are not there.
                    let last = self.journal.last();
                    if session.next <= last {
                        session.tell(&mut self.link, last, &Note::Gap { from: session.next, cause: Cause::Torn });
                    }
                    break;
                }
                Found::Frames { from, first, cursor, whole } => {
                    if session.next < first {
                        session.tell(&mut self.link, first - 1, &Note::Gap { from: session.next, cause: Cause::Torn });
                    }
                    self.link.send(session.unsent(&self.buffer[from..]));
                    session.cursor = cursor;
                    session.next = session.next.max(whole + 1);
                }
                Found::Tampered { to, cursor } => {
                    if session.next <= to {
                        session.tell(&mut self.link, to, &Note::Gap { from: session.next, cause: Cause::Tampered });
                    }
                    session.cursor = cursor;
                }
            }
        }
        if self.link.waiting() < AHEAD / 2 {
            session.stderr = self.tail.frames_after(session.stderr, now, self.link.out());
        }
        // The tail of stderr explains the exit, and so it goes before it.
        if let Stage::Over { exit, .. } = self.stage
            && session.next == self.journal.last() + 1
            && !self.tail.waits(session.stderr)
        {
            session.tell(&mut self.link, session.next, &Note::Exit(exit));
        }
    }

    fn hear_signals(&mut self, now: Instant) {
        while let Some(signal) = sys::next_signal(&self.signals) {
            if signal == sys::SIGCHLD {
                self.agent.reap();
                if !matches!(self.stage, Stage::Running | Stage::Draining { .. }) {
                    self.agent.sweep();
                }
                continue;
            }
            self.agent.signal(signal);
            self.linger = Some(self.linger.unwrap_or(HURRY).min(HURRY));
            match &mut self.stage {
                Stage::Running | Stage::LastBytes { .. } => {}
                Stage::Draining { until } => *until = now,
                Stage::Over { .. } => self.bye = true,
            }
        }
    }

    /// From one stage to the next.
    fn advance(&mut self, now: Instant) {
        self.watch_end(now);
        if self.stdout.is_none() && self.intake.is_dry() {
            // What was without a newline becomes a line; the turns after this one take it.
            self.intake.finish();
            self.take_lines(now);
        }
        let Some(mut exit) = self.agent.exit() else { return };
        if self.stdout.is_none() && self.intake.is_dry() {
            if !matches!(self.stage, Stage::Over { .. }) {
                exit.held = matches!(self.stage, Stage::LastBytes { .. });
                self.end(exit, now);
            }
            return;
        }
        let takes_lines = self.takes_lines();
        match &mut self.stage {
            // While nothing can be read the time does not count.
            Stage::Draining { until } if self.stalled.is_some() => *until = now + self.options.drain,
            Stage::Draining { until } if now >= *until => {
                self.stage = Stage::LastBytes { left: LAST_BYTES };
                self.agent.sweep();
            }
            // Nothing more waited when it was asked.
            Stage::LastBytes { .. } if takes_lines => self.read_stdout(),
            _ => {}
        }
    }

    fn watch_end(&mut self, now: Instant) {
        let Some(exit) = self.agent.exit() else { return };
        if matches!(self.stage, Stage::Running) {
            self.inbox.close();
            self.stage = Stage::Draining { until: now + self.options.drain };
            self.say(&Say::Exited(exit));
        }
    }

    fn end(&mut self, exit: Exit, now: Instant) {
        self.stage = Stage::Over { exit, since: now };
        self.agent.sweep();
        // What it said last is in the pipe already, whoever else holds it.
        for _ in 0..LAST_BYTES / (16 * 1024) {
            self.read_stderr();
        }
        self.tail.end();
        if !self.recovered {
            self.save();
            self.options.journal.iter().for_each(|place| self.tail.save(place));
        }
    }

    fn finished(&self, now: Instant) -> Option<Exit> {
        let Stage::Over { exit, since } = self.stage else { return None };
        let late = self.linger.is_some_and(|linger| now >= since + linger);
        let told = self.session.as_ref().is_none_or(|session| session.next > self.journal.last() + 1);
        let mute = self.link.is_mute() && self.link.waiting() == 0 && told;
        (self.exit_acked || self.bye || late || mute).then_some(exit)
    }

    pub(crate) fn welcome(&self, nonce: &str) -> Welcome {
        Welcome {
            nonce: nonce.to_owned(),
            last: self.journal.last(),
            oldest: self.journal.trimmed() + 1,
            accepted: self.inbox.accepted(),
            begun: self.inbox.begun(),
            delivered: self.inbox.delivered(),
            agent: match self.agent.exit() {
                None => AgentState::Running,
                Some(_) if self.recovered => AgentState::Lost,
                Some(_) => AgentState::Exited,
            },
            pid: if self.agent.exit().is_none() { self.agent.pid() } else { 0 },
            stdin_open: self.inbox.is_open(),
            stalled: self.stalled.clone(),
            digest: self.journal.digest(),
        }
    }

    pub(crate) fn say(&mut self, say: &Say) {
        if self.session.is_some() {
            self.link.say(say);
        }
    }

    pub(crate) fn lose_session(&mut self) {
        self.session = None;
        self.inbox.start_over();
    }

    fn save(&mut self) {
        let exit = match self.stage {
            Stage::Over { exit, .. } => Some(exit),
            _ => None,
        };
        let (begun, delivered) = (self.inbox.begun(), self.inbox.delivered());
        self.state.save(Saved { pid: self.agent.pid(), begun, delivered, exit });
    }
}
