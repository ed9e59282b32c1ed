//! Lines for the agent: taken in whole and in order, kept in a spool, and written to its stdin as fast as it reads. A deaf agent
//! fills the spool up to a bound; then lines are refused, and everything else goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use kanvoy_keeper::frames::{Frame, Kind};

use crate::spool::Spool;

/// Lines that wait at most; their bytes have a bound of their own.
const LINES: usize = 64 * 1024;

const PIECE: usize = 64 * 1024;

pub struct Inbox {
    /// None when it is closed.
    stdin: Option<File>,
    /// Nothing after this line is taken, and stdin is closed when it is delivered.
    close_after: Option<u64>,
    spool: Spool,
    max: u64,
    line_max: u64,
    /// The number of each line that waits, and where its bytes end.
    waiting: VecDeque<(u64, u64)>,
    /// How much of the spool was loaded for writing.
    loaded: u64,
    writing: Vec<u8>,
    written: usize,
    /// How much of the spool belongs to whole lines; what lies behind is the beginning of the next.
    whole: u64,
    in_part: bool,
    accepted: u64,
    begun: u64,
    delivered: u64,
    refusing: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Offered {
    Accepted,
    /// More of the line has to come.
    InPart,
    /// It was accepted before.
    Known,
    /// There is no room; said once for all lines that follow.
    Busy,
    /// As before, and that was said.
    StillBusy,
    /// Another line, or another piece, is the next.
    Unexpected,
    Closed,
}

impl Inbox {
    pub fn new(stdin: Option<File>, max: u64, line_max: u64, place: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            stdin,
            close_after: None,
            spool: Spool::new(place)?,
            max,
            line_max,
            waiting: VecDeque::new(),
            loaded: 0,
            writing: Vec::new(),
            written: 0,
            whole: 0,
            in_part: false,
            accepted: 0,
            begun: 0,
            delivered: 0,
            refusing: false,
        })
    }

    /// As an earlier keeper left it: nothing more can be delivered.
    pub fn left(begun: u64, delivered: u64) -> io::Result<Self> {
        Ok(Self { accepted: delivered, begun, delivered, ..Self::new(None, 0, 0, None)? })
    }

    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    pub fn begun(&self) -> u64 {
        self.begun
    }

    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    pub fn is_open(&self) -> bool {
        self.stdin.is_some() && self.close_after.is_none_or(|last| self.accepted < last)
    }

    /// The agent's stdin, while something waits for it.
    pub fn hungry(&self) -> Option<&File> {
        self.stdin.as_ref().filter(|_| self.written < self.writing.len() || self.loaded < self.whole)
    }

    pub fn offer(&mut self, frame: &Frame<'_>) -> Offered {
        if frame.number <= self.accepted {
            return Offered::Known;
        }
        if !self.is_open() {
            return Offered::Closed;
        }
        let begins = frame.kind.begins();
        if frame.number != self.accepted + 1 || frame.kind == Kind::Note || !(begins || self.in_part || self.refusing) {
            return Offered::Unexpected;
        }
        if self.refusing {
            return Offered::StillBusy;
        }
        if begins {
            self.forget_part();
        }
        let more = !frame.kind.ends();
        if self.spool.len() - self.whole + frame.payload.len() as u64 > self.line_max {
            self.forget_part();
            return Offered::Unexpected;
        }
        let bytes = self.spool.len() - self.loaded + frame.payload.len() as u64;
        // A line that nothing waits before is taken, however long it is.
        let room =
            (self.waiting.is_empty() && self.writing.is_empty()) || (bytes < self.max && self.waiting.len() < LINES);
        if !room || self.store(frame.payload, more).is_err() {
            self.forget_part();
            self.refusing = true;
            return Offered::Busy;
        }
        self.in_part = more;
        if more {
            return Offered::InPart;
        }
        self.accepted = frame.number;
        self.whole = self.spool.len();
        self.waiting.push_back((frame.number, self.whole));
        Offered::Accepted
    }

    /// The sender is gone, or was interrupted: the line it was in comes again from its beginning.
    pub fn forget_part(&mut self) {
        if std::mem::take(&mut self.in_part) || self.spool.len() > self.whole {
            self.spool.shorten(self.whole);
        }
    }

    /// A new sender knows of no refusal.
    pub fn start_over(&mut self) {
        self.forget_part();
        self.refusing = false;
    }

    /// Whether lines are taken again that were refused; said once.
    pub fn has_room_again(&mut self) -> bool {
        let room = self.refusing && self.spool.len() - self.loaded <= self.max / 2 && self.waiting.len() <= LINES / 2;
        if room {
            self.refusing = false;
        }
        room
    }

    pub fn is_refusing(&self) -> bool {
        self.refusing
    }

    pub fn close_after(&mut self, number: u64) {
        self.close_after.get_or_insert(number);
        self.close_if_done();
    }

    /// Nobody reads there any more.
    pub fn close(&mut self) {
        self.stdin = None;
        self.waiting.clear();
        self.writing = Vec::new();
        self.written = 0;
        self.spool.shorten(0);
        (self.loaded, self.whole, self.in_part, self.refusing) = (0, 0, false, false);
    }

    /// Writes what the agent takes at the moment. `begin` is called with the number of the last line that may be reached,
    /// before anything of it is written.
    pub fn feed(&mut self, begin: impl FnOnce(u64)) {
        if self.written == self.writing.len() && self.load().is_err() {
            // What was accepted cannot be delivered any more, and must not be skipped.
            return self.close();
        }
        let Some(mut stdin) = self.stdin.as_ref() else { return };
        let rest = &self.writing[self.written..];
        if rest.is_empty() {
            return;
        }
        let reached = self.waiting.iter().take_while(|(_, end)| *end < self.loaded).count();
        if let Some((number, _)) = self.waiting.get(reached).or(self.waiting.back())
            && *number > self.begun
        {
            self.begun = *number;
            begin(self.begun);
        }
        match stdin.write(rest) {
            Ok(bytes) => self.written += bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(_) => return self.close(),
        }
        let position = self.position();
        while let Some((number, end)) = self.waiting.front().copied().filter(|(_, end)| *end <= position) {
            debug_assert!(end <= position);
            self.delivered = number;
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() && self.written == self.writing.len() && !self.in_part {
            self.writing.clear();
            self.written = 0;
            self.spool.shorten(0);
            (self.loaded, self.whole) = (0, 0);
        }
        self.close_if_done();
    }

    fn store(&mut self, payload: &[u8], more: bool) -> io::Result<()> {
        let gone = self.position();
        if gone > self.max {
            if let Err(error) = self.spool.forget_before(gone) {
                self.close();
                return Err(error);
            }
            self.waiting.iter_mut().for_each(|(_, end)| *end -= gone);
            self.whole -= gone;
            self.loaded -= gone;
        }
        self.spool.append(payload)?;
        if more { Ok(()) } else { self.spool.append(b"\n") }
    }

    /// How much of the spool was written to the agent.
    fn position(&self) -> u64 {
        self.loaded - (self.writing.len() - self.written) as u64
    }

    fn load(&mut self) -> io::Result<()> {
        let bytes = usize::try_from(self.whole - self.loaded).unwrap_or(PIECE).min(PIECE);
        self.writing.resize(bytes, 0);
        self.written = 0;
        self.spool.read(self.loaded, &mut self.writing)?;
        self.loaded += bytes as u64;
        Ok(())
    }

    fn close_if_done(&mut self) {
        if self.close_after.is_some_and(|last| self.delivered >= last) {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use kanvoy_keeper::frames::Channel;

    use super::*;
    use crate::sys;

    fn pipe() -> (io::PipeReader, File) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let writer = File::from(OwnedFd::from(writer));
        sys::nonblocking(&writer).expect("nonblocking");
        (reader, writer)
    }

    fn offer(inbox: &mut Inbox, number: u64, kind: Kind, payload: &[u8]) -> Offered {
        inbox.offer(&Frame { channel: Channel::Agent, kind, number, payload })
    }

    #[test]
    fn each_line_is_taken_once_and_in_order() {
        let (mut reader, writer) = pipe();
        let mut inbox = Inbox::new(Some(writer), 1 << 20, 1 << 20, None).expect("an inbox");
        assert_eq!(offer(&mut inbox, 2, Kind::Whole, b"two"), Offered::Unexpected);
        assert_eq!(offer(&mut inbox, 1, Kind::First, b"o"), Offered::InPart);
        inbox.forget_part();
        assert_eq!(offer(&mut inbox, 1, Kind::Last, b"ne"), Offered::Unexpected, "the rest is not a line");
        assert_eq!(offer(&mut inbox, 1, Kind::First, b"on"), Offered::InPart);
        assert_eq!(offer(&mut inbox, 1, Kind::First, b"o"), Offered::InPart);
        assert_eq!(offer(&mut inbox, 1, Kind::More, b"n"), Offered::InPart);
        assert_eq!(offer(&mut inbox, 1, Kind::Last, b"e"), Offered::Accepted);
        assert_eq!(offer(&mut inbox, 1, Kind::Whole, b"one"), Offered::Known);
        assert_eq!(offer(&mut inbox, 2, Kind::First, b"tw"), Offered::InPart);
        let mut begun = Vec::new();
        inbox.feed(|number| begun.push(number));
        assert_eq!((inbox.delivered(), inbox.accepted()), (1, 1));
        assert_eq!(offer(&mut inbox, 2, Kind::Last, b"o"), Offered::Accepted);
        inbox.close_after(2);
        assert_eq!(offer(&mut inbox, 3, Kind::Whole, b"three"), Offered::Closed);
        inbox.feed(|number| begun.push(number));
        assert_eq!((inbox.delivered(), begun, inbox.is_open()), (2, vec![1, 2], false));
        let mut got = String::new();
        reader.read_to_string(&mut got).expect("the end");
        assert_eq!(got, "one\ntwo\n");
    }

    #[test]
    fn a_deaf_agent_makes_it_refuse_and_nothing_is_lost_when_it_listens() {
        let (mut reader, writer) = pipe();
        let mut inbox = Inbox::new(Some(writer), 1 << 20, 1 << 20, None).expect("an inbox");
        let line = vec![b'x'; 10_000];
        let mut number = 1;
        while offer(&mut inbox, number, Kind::Whole, &line) == Offered::Accepted {
            inbox.feed(|_| ());
            number += 1;
        }
        assert!(number > 100 && inbox.delivered() < 10 && inbox.begun() > inbox.delivered());
        assert_eq!(offer(&mut inbox, number, Kind::Whole, &line), Offered::StillBusy);
        assert!(!inbox.has_room_again());
        let (total, mut got, mut buffer) = (number as usize - 1, 0, vec![0; 64 * 1024]);
        while got < total * 10_001 {
            inbox.feed(|_| ());
            got += reader.read(&mut buffer).expect("bytes");
        }
        assert_eq!((inbox.delivered(), inbox.spool.len()), (total as u64, 0));
        assert!(inbox.has_room_again() && !inbox.has_room_again());
        drop(reader);
        assert_eq!(offer(&mut inbox, number, Kind::Whole, &line), Offered::Accepted);
        inbox.feed(|_| ());
        assert_eq!((inbox.is_open(), inbox.delivered()), (false, total as u64));
    }
}
