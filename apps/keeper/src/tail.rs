//! The last lines of the agent's stderr. They are for people: bounded, the oldest dropped first, and never a reason to hold the
//! agent.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use kanvoy_keeper::frames::{AROUND, Channel, Frame, Kind, newline, parse};

const LINES: usize = 200;
const BYTES: usize = 64 * 1024;

/// A longer line is shown as several.
const LINE: usize = 8 * 1024;

/// What is forwarded a second at most, so that a flood leaves the wire to the agent's lines.
const RATE: usize = 512 * 1024;
const BURST: usize = BYTES;

pub struct Tail {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The number of the newest line.
    last: u64,
    unfinished: Vec<u8>,
    budget: usize,
    filled: Instant,
}

impl Tail {
    pub fn new(now: Instant) -> Self {
        let (lines, unfinished) = (VecDeque::new(), Vec::new());
        Self { lines, bytes: 0, last: 0, unfinished, budget: BURST, filled: now }
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        // Of what would be dropped at once only the lines are counted.
        while bytes.len() > 2 * BYTES {
            let Some(end) = newline(&bytes[..bytes.len() - BYTES]) else { break };
            self.unfinished.clear();
            self.last += 1;
            self.forget_all();
            bytes = &bytes[end + 1..];
        }
        while !bytes.is_empty() {
            let end = newline(bytes);
            let room = LINE - self.unfinished.len();
            let take = end.unwrap_or(bytes.len()).min(room);
            self.unfinished.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if end == Some(take) {
                bytes = &bytes[1..];
                self.finish();
            } else if self.unfinished.len() == LINE {
                self.finish();
            }
        }
    }

    /// The end of stderr: what has no newline yet is a line too.
    pub fn end(&mut self) {
        if !self.unfinished.is_empty() {
            self.finish();
        }
    }

    /// Appends lines after `seen` as frames, as many as the rate allows; gives the number of the last one.
    pub fn frames_after(&mut self, seen: u64, now: Instant, out: &mut Vec<u8>) -> u64 {
        let earned = now.saturating_duration_since(self.filled).as_micros() * RATE as u128 / 1_000_000;
        if earned > 0 {
            self.budget = BURST.min(self.budget + usize::try_from(earned).unwrap_or(BURST));
            self.filled = now;
        }
        let oldest = self.last + 1 - self.lines.len() as u64;
        let mut told = seen;
        let unseen = usize::try_from((seen + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        for (number, payload) in (oldest..).zip(&self.lines).skip(unseen) {
            if self.budget < payload.len() + 1 {
                break;
            }
            self.budget -= payload.len() + 1;
            encode(number, payload, out);
            told = number;
        }
        told
    }

    pub fn waits(&self, seen: u64) -> bool {
        self.last > seen && !self.lines.is_empty()
    }

    /// How long until something more may be forwarded.
    pub fn pause() -> Duration {
        Duration::from_millis(20)
    }

    /// For a keeper that comes after this one.
    pub fn save(&self, place: &Path) {
        let mut text = Vec::new();
        let oldest = self.last + 1 - self.lines.len() as u64;
        (oldest..).zip(&self.lines).for_each(|(number, line)| encode(number, line, &mut text));
        // It is a comfort, not a promise.
        let _ = std::fs::write(place.join("stderr"), text);
    }

    /// What an earlier keeper saved.
    pub fn load(&mut self, place: &Path) {
        let Ok(file) = File::open(place.join("stderr")) else { return };
        let mut text = Vec::new();
        // No more than it can have saved, whoever wrote it.
        let _ = file.take((BYTES + LINES * AROUND) as u64).read_to_end(&mut text);
        for frame in text.split(|byte| *byte == b'\n').filter_map(|line| parse(line, 0)) {
            if frame.channel == Channel::Stderr && frame.number > self.last && frame.number < u64::MAX / 2 {
                self.last = frame.number - 1;
                self.unfinished = frame.payload.to_vec();
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        let line = std::mem::take(&mut self.unfinished);
        self.bytes += line.len();
        self.lines.push_back(line);
        self.last += 1;
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    fn forget_all(&mut self) {
        self.lines.clear();
        self.bytes = 0;
    }
}

fn encode(number: u64, payload: &[u8], out: &mut Vec<u8>) {
    Frame { channel: Channel::Stderr, kind: Kind::Whole, number, payload }.encode(0, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tail: &mut Tail, seen: &mut u64, now: Instant) -> Vec<(u64, String)> {
        let mut out = Vec::new();
        *seen = tail.frames_after(*seen, now, &mut out);
        let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let frame = parse(line, 0).expect("a frame");
                (frame.number, String::from_utf8_lossy(frame.payload).into_owned())
            })
            .collect()
    }

    #[test]
    fn the_newest_lines_are_kept_and_the_dropped_ones_counted() {
        let now = Instant::now();
        let (mut tail, mut seen) = (Tail::new(now), 0);
        assert_eq!(told(&mut tail, &mut seen, now), []);
        tail.push(b"one\ntw");
        tail.push(b"o\n\nfour");
        let expected = [(1, "one".to_owned()), (2, "two".to_owned()), (3, String::new())];
        assert_eq!(told(&mut tail, &mut seen, now), expected);
        assert_eq!((seen, told(&mut tail, &mut seen, now)), (3, vec![]));
        tail.end();
        for number in 5..=1004 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let lines = told(&mut tail, &mut seen, now);
        assert_eq!((lines.len(), lines[0].0, lines[199].clone()), (200, 805, (1004, "line 1004".to_owned())));
        tail.push(&vec![b'x'; 20_000]);
        tail.end();
        assert_eq!(told(&mut tail, &mut seen, now).len(), 3, "one long line as three");
        let place = tempfile::tempdir().expect("a directory");
        tail.save(place.path());
        let mut later = Tail::new(now);
        later.load(place.path());
        assert_eq!((later.last, &later.lines), (tail.last, &tail.lines));
    }

    #[test]
    fn a_flood_is_forwarded_at_a_rate_and_held_in_little() {
        let now = Instant::now();
        let (mut tail, mut seen, mut forwarded) = (Tail::new(now), 0, 0);
        for round in 0..1000 {
            tail.push(&b"a line of a flood\n".repeat(10_000));
            assert!(tail.bytes <= BYTES && tail.lines.len() <= LINES && tail.unfinished.capacity() <= 2 * LINE);
            let lines = told(&mut tail, &mut seen, now + Duration::from_millis(round));
            forwarded += lines.iter().map(|(_, line)| line.len() + 1).sum::<usize>();
        }
        assert_eq!(tail.last, 10_000_000);
        assert!(forwarded <= BURST + RATE, "{forwarded}");
    }
}
