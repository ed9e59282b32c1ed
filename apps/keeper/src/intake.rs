//! From the bytes of the agent's stdout to numbered frames, a batch at a time. Holds one read and the beginning of one line; a
//! longer line waits in a spool until its end is known, because only then it is clear whether it is a line or a note.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use kanvoy_keeper::frames::{self, Channel, Crc, Frame, Kind, PIECE, newline};
use kanvoy_keeper::words::{HEAD, Note};

use crate::journal::Batch;
use crate::spool::Spool;

const READ: usize = 128 * 1024;

/// A batch is handed over when it has reached this size.
const BATCH: usize = 64 * 1024;

pub struct Intake {
    line_max: u64,
    /// Of the line that is being read.
    number: u64,
    read: Box<[u8]>,
    start: usize,
    end: usize,
    line: Line,
    spool: Spool,
    frames: Vec<u8>,
    /// Where in the batch the pieces of a line from the spool begin.
    pieces_from: usize,
    last: u64,
}

enum Line {
    /// The beginning of a line; most lines never see it.
    Short(Vec<u8>),
    /// Everything so far is in the spool.
    Long(Crc),
    /// Too long: only what its note tells is kept.
    Over { length: u64, crc: Crc, no_space: bool, head: Vec<u8> },
    /// Complete, and on its way from the spool to the journal.
    Draining { from: u64, crc: Crc },
}

pub enum Filled {
    Some,
    /// Nothing waits at the moment.
    Nothing,
    /// Nobody holds the other end any more.
    End,
}

impl Intake {
    pub fn new(line_max: u64, place: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            line_max,
            number: 1,
            read: vec![0; READ].into_boxed_slice(),
            start: 0,
            end: 0,
            line: Line::Short(Vec::new()),
            spool: Spool::new(place)?,
            frames: Vec::with_capacity(BATCH + PIECE + 2 * frames::AROUND),
            pieces_from: 0,
            last: 0,
        })
    }

    /// Whether everything that was read is in a batch that was taken.
    pub fn is_dry(&self) -> bool {
        self.start == self.end && self.frames.is_empty() && !matches!(self.line, Line::Draining { .. })
    }

    /// Only when dry.
    pub fn fill(&mut self, mut from: &File) -> Filled {
        match from.read(&mut self.read) {
            Ok(0) => Filled::End,
            Ok(bytes) => {
                (self.start, self.end) = (0, bytes);
                Filled::Some
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Filled::Nothing
            }
            Err(_) => Filled::End,
        }
    }

    /// No more comes: what has no newline is a line too.
    pub fn finish(&mut self) {
        let unfinished = match &self.line {
            Line::Short(held) => !held.is_empty(),
            Line::Long(_) | Line::Over { .. } => true,
            Line::Draining { .. } => false,
        };
        if self.start == self.end && unfinished {
            self.read[0] = b'\n';
            (self.start, self.end) = (0, 1);
        }
    }

    /// What is ready to be kept: the same again until [`Self::taken`]. An error is the spool's, and it may be tried again.
    pub fn batch(&mut self) -> io::Result<Option<Batch<'_>>> {
        while self.frames.len() < BATCH {
            if let Line::Draining { from, crc } = self.line {
                self.drain(from, crc)?;
                continue;
            }
            let rest = &self.read[self.start..self.end];
            if rest.is_empty() {
                break;
            }
            match newline(rest) {
                Some(at) => {
                    self.end_line(self.start, self.start + at)?;
                    self.start += at + 1;
                }
                None => {
                    self.hold(self.start, self.end)?;
                    self.start = self.end;
                }
            }
        }
        let (last, whole) = (self.last, self.number - 1);
        Ok((!self.frames.is_empty()).then_some(Batch { frames: &self.frames, last, whole }))
    }

    /// Bytes that were read and are in no batch yet.
    pub fn waiting(&self) -> usize {
        self.end - self.start
    }

    pub fn taken(&mut self) {
        self.frames.clear();
        self.pieces_from = 0;
    }

    /// Whether a line waits in the spool for its turn in the journal.
    pub fn is_draining(&self) -> bool {
        matches!(self.line, Line::Draining { .. })
    }

    /// There is no space for the long line that is at hand, and none will come: keep only a note of it.
    pub fn give_up(&mut self) {
        let crc = match &self.line {
            Line::Short(held) => Crc::seeded(0).with(held),
            Line::Long(crc) => *crc,
            Line::Draining { crc, .. } => {
                let crc = *crc;
                // Whoever was given pieces of it forgets them at the note.
                self.frames.truncate(self.pieces_from);
                self.shorten(crc, true);
                return self.note();
            }
            Line::Over { .. } => return,
        };
        self.shorten(crc, true);
    }

    /// The line ends with what was read from `from` to `to`.
    fn end_line(&mut self, from: usize, to: usize) -> io::Result<()> {
        if let Line::Short(held) = &mut self.line
            && (held.is_empty() || held.len() + to - from <= PIECE)
            && held.len() as u64 + (to - from) as u64 <= self.line_max
        {
            let rest = &self.read[from..to];
            let line = if held.is_empty() {
                rest
            } else {
                held.extend_from_slice(rest);
                held.as_slice()
            };
            frames::encode_line(Channel::Agent, self.number, line, 0, &mut self.frames);
            held.clear();
            self.next_line();
            return Ok(());
        }
        self.hold(from, to)?;
        match std::mem::replace(&mut self.line, Line::Short(Vec::new())) {
            Line::Short(line) => {
                frames::encode_line(Channel::Agent, self.number, &line, 0, &mut self.frames);
                self.next_line();
            }
            Line::Long(crc) => self.line = Line::Draining { from: 0, crc },
            over @ Line::Over { .. } => {
                self.line = over;
                self.note();
            }
            draining @ Line::Draining { .. } => self.line = draining,
        }
        Ok(())
    }

    /// A piece of a line whose end is not known yet.
    fn hold(&mut self, from: usize, to: usize) -> io::Result<()> {
        let piece = &self.read[from..to];
        match &mut self.line {
            Line::Short(held) => {
                let length = (held.len() + piece.len()) as u64;
                if length <= (PIECE as u64).min(self.line_max) {
                    held.extend_from_slice(piece);
                    return Ok(());
                }
                let crc = Crc::seeded(0).with(held);
                if length > self.line_max {
                    self.shorten(crc, false);
                } else {
                    self.spool.append(held)?;
                    self.line = Line::Long(crc);
                }
                self.hold(from, to)
            }
            Line::Long(crc) => {
                if self.spool.len() + piece.len() as u64 > self.line_max {
                    let crc = *crc;
                    self.shorten(crc, false);
                    return self.hold(from, to);
                }
                self.spool.append(piece)?;
                *crc = crc.with(piece);
                Ok(())
            }
            Line::Over { length, crc, head, .. } => {
                *length += piece.len() as u64;
                *crc = crc.with(piece);
                let room = HEAD - head.len().min(HEAD);
                head.extend_from_slice(&piece[..room.min(piece.len())]);
                Ok(())
            }
            Line::Draining { .. } => Ok(()),
        }
    }

    /// The line was too long, and is complete.
    fn note(&mut self) {
        if let Line::Over { length, crc, no_space, head } = std::mem::replace(&mut self.line, Line::Short(Vec::new())) {
            let checksum = crc.value();
            let payload = Note::Oversize { length, checksum, no_space, head: &head }.payload();
            Frame { channel: Channel::Agent, kind: Kind::Note, number: self.number, payload: &payload }
                .encode(0, &mut self.frames);
            self.next_line();
        }
    }

    fn shorten(&mut self, crc: Crc, no_space: bool) {
        let (length, mut head) = match &mut self.line {
            Line::Short(held) => (held.len() as u64, std::mem::take(held)),
            _ => {
                let mut head = vec![0; HEAD];
                // The beginning is a comfort: without it the note still says how long the line was.
                let read = self.spool.read(0, &mut head).unwrap_or_default();
                head.truncate(read);
                (self.spool.len(), head)
            }
        };
        head.truncate(HEAD);
        self.spool.shorten(0);
        self.line = Line::Over { length, crc, no_space, head };
    }

    fn drain(&mut self, from: u64, crc: Crc) -> io::Result<()> {
        let mut piece = [0; PIECE];
        let read = self.spool.read(from, &mut piece)?;
        let after = from + read as u64;
        let kind = Kind::of_piece(from == 0, after == self.spool.len());
        let payload = &piece[..read];
        if kind.begins() {
            self.pieces_from = self.frames.len();
        }
        Frame { channel: Channel::Agent, kind, number: self.number, payload }.encode(0, &mut self.frames);
        self.last = self.number;
        if kind.ends() {
            self.spool.shorten(0);
            self.line = Line::Short(Vec::new());
            self.next_line();
        } else {
            self.line = Line::Draining { from: after, crc };
        }
        Ok(())
    }

    fn next_line(&mut self) {
        self.last = self.number;
        self.number += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use kanvoy_keeper::frames::parse;

    use super::*;

    /// Sends the bytes in pieces, and tells what was made of them.
    fn made(bytes: &[u8], step: usize, line_max: u64) -> Vec<(u64, String)> {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        let mut intake = Intake::new(line_max, None).expect("an intake");
        let (mut out, mut line) = (Vec::new(), Vec::new());
        let mut take = |intake: &mut Intake| {
            let mut whole = 0;
            while let Some(batch) = intake.batch().expect("space") {
                assert!(batch.frames.len() < 4 * BATCH && batch.last - batch.whole <= 1);
                assert!(batch.whole >= whole);
                whole = batch.whole;
                for frame in batch.frames.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let frame = parse(frame, 0).expect("a frame");
                    line.extend_from_slice(frame.payload);
                    match frame.kind {
                        Kind::First | Kind::More => continue,
                        Kind::Whole | Kind::Last => {
                            out.push((frame.number, format!("{} {:x}", line.len(), Crc::seeded(0).with(&line).value())))
                        }
                        Kind::Note => out.push((frame.number, String::from_utf8_lossy(&line).into_owned())),
                    }
                    line.clear();
                }
                intake.taken();
            }
        };
        for piece in bytes.chunks(step.min(60_000)) {
            writer.write_all(piece).expect("written");
            assert!(matches!(intake.fill(&reader), Filled::Some));
            take(&mut intake);
            assert!(intake.is_dry());
        }
        drop(writer);
        assert!(matches!(intake.fill(&reader), Filled::End));
        intake.finish();
        take(&mut intake);
        out
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let lines: Vec<Vec<u8>> = [3, 0, 1, PIECE, PIECE - 1, PIECE + 1, 150_000, 200_000, 200_001, 300_000, 7]
            .map(|len| vec![b'x'; len])
            .into();
        let bytes = lines.join(&b'\n');
        let expected: Vec<(u64, String)> = (1..)
            .zip(&lines)
            .map(|(number, line)| {
                let crc = Crc::seeded(0).with(line).value();
                let oversize = || format!("oversize {} {crc:x} size {}", line.len(), "x".repeat(HEAD));
                (number, if line.len() > 200_000 { oversize() } else { format!("{} {crc:x}", line.len()) })
            })
            .collect();
        for step in [997, 4096, 50_000, 60_000] {
            assert_eq!(made(&bytes, step, 200_000), expected, "step {step}");
        }
        let short = made(b"12345\n123456\n1234567890", 4, 5);
        assert_eq!(short[0].1, "5 cbf53a1c");
        assert!(short[1].1.starts_with("oversize 6 ") && short[1].1.ends_with(" size 123456"), "{short:?}");
        assert!(short[2].1.starts_with("oversize 10 "), "{short:?}");
        assert_eq!(made(b"", 1, 5), []);
        assert_eq!(made(b"\n\n", 1, 5).len(), 2);
    }
}
