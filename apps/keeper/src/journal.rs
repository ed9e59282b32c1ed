//! The agent's lines on disk, as the very frames that are sent, until they are acknowledged.
//!
//! The journal is a stream of bytes in segments (files `lines.<offset>.<first number>`), each of whole lines, and removed when
//! all its lines are acknowledged. The files may belong to the agent's own uid, so they are not believed: for every block of
//! about 64 KiB the keeper's memory holds a digest under a key that nobody else knows, and a block that does not read back as
//! it was written is given as a gap. After a keeper was killed only the frames' own checksums are left: [`crate::recovery`].

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A block is closed when it has reached this size. What is read back at once is at most this, a batch and a frame.
pub const BLOCK: u64 = 64 * 1024;

pub struct Journal {
    pub(crate) place: Option<PathBuf>,
    /// Bytes at which the agent is held. A line that was begun is finished beyond it.
    max: u64,
    /// Never empty: the last one is written to.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) blocks: VecDeque<Block>,
    keys: RandomState,
    /// Of the last block, unless it is sealed.
    open: Option<DefaultHasher>,
    pub(crate) end: u64,
    pub(crate) last: u64,
    /// The line after `last` is written in part.
    partial: bool,
    pub(crate) trimmed: u64,
    acked: u64,
    /// The disk has no room, whatever our bound says.
    cramped: bool,
}

pub(crate) struct Segment {
    pub file: File,
    pub path: Option<PathBuf>,
    pub base: u64,
    /// The last line in it, or before it when it is empty.
    pub last: u64,
}

pub(crate) struct Block {
    pub base: u64,
    pub len: u64,
    /// The first and the last line of which it holds a piece, and the last of which it holds the end.
    pub first: u64,
    pub last: u64,
    pub whole: u64,
    pub digest: u64,
}

/// Encoded frames of consecutive lines. The last line may be incomplete.
pub struct Batch<'a> {
    pub frames: &'a [u8],
    /// The number of the last frame, and of the last line that is complete.
    pub last: u64,
    pub whole: u64,
}

pub enum Found {
    /// Everything up to here was read.
    Nothing,
    /// The buffer holds frames from `from` on; the cursor goes to `cursor`, and lines up to `whole` are complete then. Lines
    /// before `first` that were not read earlier are missing.
    Frames { from: usize, first: u64, cursor: u64, whole: u64 },
    /// What lies between the cursor and the new one is not what was written: it held pieces of lines up to `to`.
    Tampered { to: u64, cursor: u64 },
}

impl Journal {
    /// A new one. In memory when it has no place.
    pub fn create(place: Option<&Path>, max: u64) -> io::Result<Self> {
        let mut journal = Self::nothing(place, max);
        let first = journal.new_segment()?;
        journal.segments.push_back(first);
        Ok(journal)
    }

    pub(crate) fn nothing(place: Option<&Path>, max: u64) -> Self {
        Self {
            place: place.map(Path::to_owned),
            max,
            segments: VecDeque::new(),
            blocks: VecDeque::new(),
            keys: RandomState::new(),
            open: None,
            end: 0,
            last: 0,
            partial: false,
            trimmed: 0,
            acked: 0,
            cramped: false,
        }
    }

    /// The last line that is kept whole.
    pub fn last(&self) -> u64 {
        self.last
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Up to here lines are gone because they were acknowledged.
    pub fn trimmed(&self) -> u64 {
        self.trimmed
    }

    pub fn full(&self) -> bool {
        !self.partial && self.stored() >= self.max
    }

    /// Whether an acknowledgement could make room.
    pub fn has_unacked(&self) -> bool {
        self.acked < self.last
    }

    pub fn digest(&self) -> u64 {
        let open = self.open.iter().map(Hasher::finish);
        let mut whole = self.keys.build_hasher();
        self.blocks.iter().map(|block| block.digest).chain(open).for_each(|digest| whole.write_u64(digest));
        whole.finish()
    }

    /// All of it is kept or, on an error, nothing; then it can be tried again.
    pub fn append(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let appended = self.try_append(batch);
        self.cramped = appended.is_err();
        appended
    }

    fn try_append(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        if !self.partial && self.current_len() >= self.segment_size() {
            let next = self.new_segment()?;
            self.segments.push_back(next);
            self.seal();
        }
        let Some(segment) = self.segments.back_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        segment.file.write_all_at(batch.frames, self.end - segment.base)?;
        segment.last = batch.last;
        if self.open.is_none() || self.blocks.back().is_none_or(|block| block.len >= BLOCK) {
            self.seal();
            let (base, first) = (self.end, self.last + 1);
            self.blocks.push_back(Block { base, len: 0, first, last: first, whole: self.last, digest: 0 });
        }
        let open = self.open.get_or_insert_with(|| self.keys.build_hasher());
        open.write(batch.frames);
        if let Some(block) = self.blocks.back_mut() {
            block.len += batch.frames.len() as u64;
            (block.last, block.whole) = (batch.last, batch.whole);
        }
        self.end += batch.frames.len() as u64;
        self.last = batch.whole;
        self.partial = batch.last > batch.whole;
        Ok(())
    }

    /// Lines up to this number are stored elsewhere. Gives their space back, a whole segment at a time.
    pub fn ack(&mut self, number: u64) {
        self.acked = self.acked.max(number.min(self.last));
        let all = self.acked == self.last && !self.partial;
        let worth_it = self.cramped && self.current_len() > 0 || self.current_len() >= self.segment_size() / 2;
        if all && worth_it {
            match self.new_segment() {
                Ok(next) => {
                    self.segments.push_back(next);
                    self.seal();
                }
                // Not even room for a name. What is in the last one nobody needs.
                Err(_) => self.empty_the_last(),
            }
        }
        while self.segments.len() > 1 && self.segments[0].last <= self.acked {
            let Some(old) = self.segments.pop_front() else { return };
            if let Some(path) = old.path {
                // The agent may have removed it already.
                let _ = std::fs::remove_file(path);
            }
            self.trimmed = self.trimmed.max(old.last);
            let rest = self.segments[0].base;
            while self.blocks.front().is_some_and(|block| block.base < rest) {
                self.blocks.pop_front();
            }
        }
    }

    /// Where to read from to find the line of this number.
    pub fn seek(&self, number: u64) -> u64 {
        let at = self.blocks.partition_point(|block| block.last < number);
        self.blocks.get(at).map_or(self.end, |block| block.base)
    }

    /// Reads the block in which the cursor lies, to its end, into the buffer.
    pub fn read(&mut self, cursor: u64, buffer: &mut Vec<u8>) -> Found {
        if cursor >= self.end {
            return Found::Nothing;
        }
        let at = self.blocks.partition_point(|block| block.base + block.len <= cursor);
        let Some(block) = self.blocks.get(at) else { return Found::Nothing };
        let (first, to, whole, end) = (block.first, block.last, block.whole, block.base + block.len);
        let is_open = at + 1 == self.blocks.len() && self.open.is_some();
        let expected = if is_open { self.open.as_ref().map(Hasher::finish) } else { Some(block.digest) };
        buffer.resize(usize::try_from(block.len).unwrap_or_default(), 0);
        let found = self.read_at(block.base, buffer).ok().map(|()| self.digest_of(buffer));
        if found.is_none() || found != expected {
            // What comes after is written well, and must not be judged together with this.
            if is_open {
                self.seal();
            }
            return Found::Tampered { to, cursor: end };
        }
        let from = usize::try_from(cursor.saturating_sub(block.base)).unwrap_or_default();
        Found::Frames { from, first, cursor: end, whole }
    }

    pub(crate) fn digest_of(&self, bytes: &[u8]) -> u64 {
        let mut digest = self.keys.build_hasher();
        digest.write(bytes);
        digest.finish()
    }

    pub(crate) fn read_at(&self, base: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = self.segments.partition_point(|segment| segment.base <= base);
        let segment = at.checked_sub(1).and_then(|at| self.segments.get(at)).ok_or(io::ErrorKind::NotFound)?;
        segment.file.read_exact_at(buffer, base - segment.base)
    }

    /// Closes the last block.
    fn seal(&mut self) {
        if let (Some(open), Some(block)) = (self.open.take(), self.blocks.back_mut()) {
            block.digest = open.finish();
        }
    }

    fn empty_the_last(&mut self) {
        self.seal();
        let (base, last) = (self.end, self.last);
        let path = self.path_of(base, last + 1);
        let Some(segment) = self.segments.back_mut() else { return };
        if let (Some(old), Some(new)) = (&segment.path, path)
            && std::fs::rename(old, &new).is_ok()
            && segment.file.set_len(0).is_ok()
        {
            (segment.path, segment.base, segment.last) = (Some(new), base, last);
            self.blocks.retain(|block| block.base >= base);
            self.trimmed = self.trimmed.max(last);
        }
    }

    fn path_of(&self, base: u64, first: u64) -> Option<PathBuf> {
        self.place.as_ref().map(|place| place.join(format!("lines.{base:016x}.{first:016x}")))
    }

    fn stored(&self) -> u64 {
        self.end - self.segments.front().map_or(self.end, |segment| segment.base)
    }

    fn current_len(&self) -> u64 {
        self.end - self.segments.back().map_or(self.end, |segment| segment.base)
    }

    fn segment_size(&self) -> u64 {
        // So small that what is acknowledged in part never holds the agent for long.
        (self.max / 8).clamp(4 << 10, 4 << 20)
    }

    fn new_segment(&self) -> io::Result<Segment> {
        let (base, last) = (self.end, self.last);
        let path = self.path_of(base, last + 1);
        let file = match &path {
            None => crate::sys::file_in_memory()?,
            Some(path) => {
                OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?
            }
        };
        Ok(Segment { file, path, base, last })
    }
}

#[cfg(test)]
mod tests {
    use kanvoy_keeper::frames::{self, Channel};

    use super::*;

    /// Appends whole lines, a few a batch, as they come from an agent.
    fn fill(journal: &mut Journal, numbers: std::ops::RangeInclusive<u64>, len: usize) {
        for number in numbers {
            let mut frames = Vec::new();
            frames::encode_line(Channel::Agent, number, &vec![b'x'; len], 0, &mut frames);
            journal.append(&Batch { frames: &frames, last: number, whole: number }).expect("append");
        }
    }

    /// What a reader that begins at `next` is given: `n` for lines, `n..m` for gaps.
    fn read(journal: &mut Journal, next: u64) -> String {
        let (mut cursor, mut next, mut told, mut buffer) = (journal.seek(next), next, Vec::new(), Vec::new());
        loop {
            match journal.read(cursor, &mut buffer) {
                Found::Nothing => return told.join(" "),
                Found::Tampered { to, cursor: after } => {
                    told.push(format!("{next}..{to}"));
                    (cursor, next) = (after, to + 1);
                }
                Found::Frames { from, cursor: after, .. } => {
                    for line in buffer[from..].split_inclusive(|byte| *byte == b'\n') {
                        let frame = frames::parse(&line[..line.len() - 1], 0).expect("a frame");
                        if frame.number == next {
                            told.push(next.to_string());
                            next += 1;
                        }
                    }
                    cursor = after;
                }
            }
        }
    }

    fn lines(numbers: std::ops::RangeInclusive<u64>) -> String {
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_are_read_back_from_anywhere_and_trimmed_by_segments() {
        for place in [None, Some(tempfile::tempdir().expect("a directory"))] {
            let place = place.as_ref().map(|place| place.path());
            let mut journal = Journal::create(place, 1 << 20).expect("a journal");
            fill(&mut journal, 1..=2000, 600);
            assert!(journal.full());
            for from in [1, 2, 777, 2000] {
                assert_eq!(read(&mut journal, from), lines(from..=2000));
            }
            journal.ack(1000);
            assert!(!journal.full() && journal.trimmed() > 500 && journal.trimmed() <= 1000);
            assert_eq!(read(&mut journal, 1001), lines(1001..=2000));
            journal.ack(2000);
            assert!(journal.stored() < 128 << 10, "next to nothing is kept of what is acknowledged");
            fill(&mut journal, 2001..=2010, 500);
            assert_eq!(read(&mut journal, 2001), lines(2001..=2010));
            if let Some(place) = place {
                assert_eq!(std::fs::read_dir(place).expect("the directory").count(), 1);
            }
        }
    }

    #[test]
    fn a_block_that_was_changed_is_a_gap_and_what_follows_is_not() {
        let place = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::create(Some(place.path()), 64 << 20).expect("a journal");
        fill(&mut journal, 1..=1000, 500);
        let file =
            std::fs::read_dir(place.path()).expect("the directory").next().expect("a file").expect("a file").path();
        let file = OpenOptions::new().write(true).open(file).expect("the segment");
        file.write_all_at(b"y", 70_000).expect("tampered");
        file.write_all_at(b"y", journal.end() - 100).expect("tampered");
        let told = read(&mut journal, 1);
        let gaps: Vec<&str> = told.split(' ').filter(|word| word.contains("..")).collect();
        assert_eq!(gaps.len(), 2, "{told}");
        assert!(gaps[1].ends_with("..1000"));
        let (before, after) = gaps[0].split_once("..").expect("a gap");
        assert!(told.starts_with(&lines(1..=before.parse::<u64>().expect("a number") - 1)));
        assert!(told.contains(&format!("{after} {}", after.parse::<u64>().expect("a number") + 1)));
        fill(&mut journal, 1001..=1003, 500);
        assert_eq!(read(&mut journal, 1001), lines(1001..=1003));
        file.set_len(0).expect("tampered");
        assert_eq!(read(&mut journal, 1).split(' ').filter(|word| !word.contains("..")).count(), 0);
    }

    #[test]
    fn a_digest_does_not_depend_on_how_the_bytes_came() {
        let journal = Journal::create(None, 1 << 20).expect("a journal");
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for step in [1, 3, 8, 100] {
            let mut digest = journal.keys.build_hasher();
            bytes.chunks(step).for_each(|chunk| digest.write(chunk));
            assert_eq!(digest.finish(), journal.digest_of(&bytes));
        }
    }
}
