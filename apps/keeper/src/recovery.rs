//! Reading what a killed keeper left. Its digests died with it, so a line counts when its frames' checksums hold and its number
//! is the next one; everything else becomes a gap, never a guess. Nothing is written to such a journal any more.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kanvoy_keeper::frames::{self, Channel, Cut, Splitter};

use crate::journal::{BLOCK, Block, Journal, Segment};

/// What was left there, if anything was.
pub fn recover(place: &Path, max: u64) -> io::Result<Option<Journal>> {
    let mut names = segments(place)?;
    names.sort();
    let Some((_, first, _)) = names.first() else { return Ok(None) };
    let mut journal = Journal::nothing(Some(place), max);
    (journal.last, journal.trimmed) = (first - 1, first - 1);
    let mut torn_at_the_end = false;
    for (_, _, path) in names {
        let file = File::open(&path)?;
        journal.segments.push_back(Segment { file: file.try_clone()?, path: Some(path), base: journal.end, last: 0 });
        torn_at_the_end = read_segment(&mut journal, file)?;
        let last = journal.last;
        journal.segments.iter_mut().last().into_iter().for_each(|segment| segment.last = last);
    }
    // What was begun behind the last whole line is missing: one line at least.
    journal.last += u64::from(torn_at_the_end);
    seal(&mut journal)?;
    Ok(Some(journal))
}

fn segments(place: &Path) -> io::Result<Vec<(u64, u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let numbers = name.to_str().and_then(|name| name.strip_prefix("lines.")?.split_once('.'));
        let hex = |text| u64::from_str_radix(text, 16).ok().filter(|number| *number < u64::MAX / 2);
        if let Some((base, first)) = numbers.and_then(|(base, first)| Some((hex(base)?, hex(first)?)))
            && first > 0
            && entry.file_type()?.is_file()
        {
            found.push((base, first, entry.path()));
        }
    }
    Ok(found)
}

/// Tells whether something broken lies behind its last whole line.
fn read_segment(journal: &mut Journal, mut file: File) -> io::Result<bool> {
    let start = journal.end;
    let mut splitter = Splitter::new(frames::PIECE);
    // Where the line begins of which pieces were read, and whether something broken lies behind the last whole line.
    let (mut begun, mut broken) = (None, false);
    loop {
        let bytes = file.read(splitter.space())?;
        if bytes == 0 {
            break;
        }
        splitter.filled(bytes);
        loop {
            let (next, before) = (journal.last + 1, start + splitter.offset());
            let frame = match splitter.next_line() {
                None => break,
                Some(Cut::TooLong) => None,
                Some(Cut::Line(line)) => frames::parse(line, 0).map(|frame| (frame.channel, frame.kind, frame.number)),
            };
            match frame {
                Some((Channel::Agent, kind, number)) if kind.begins() && number >= next && number < u64::MAX / 2 => {
                    begun = Some((number, before));
                }
                Some((Channel::Agent, _, number)) if begun.is_some_and(|(begun, _)| begun == number) => {}
                _ => begun = None,
            }
            let ends = frame.is_some_and(|(_, kind, _)| kind.ends());
            match begun.filter(|_| ends) {
                Some((number, from)) => {
                    line(journal, number, from, start + splitter.offset());
                    (begun, broken) = (None, false);
                }
                None => broken = true,
            }
        }
    }
    journal.end = start + splitter.offset();
    Ok(broken || splitter.has_rest())
}

/// This line is whole, and lies there. Lines between the one before and this one are missing.
fn line(journal: &mut Journal, number: u64, from: u64, to: u64) {
    let in_segment = journal.segments.back().map_or(0, |segment| segment.base);
    let follows = from == journal.end && number == journal.last + 1;
    match journal.blocks.back_mut() {
        Some(block) if follows && block.len < BLOCK && block.base >= in_segment => {
            block.len = to - block.base;
            (block.last, block.whole) = (number, number);
        }
        _ => journal.blocks.push_back(Block {
            base: from,
            len: to - from,
            first: number,
            last: number,
            whole: number,
            digest: 0,
        }),
    }
    (journal.end, journal.last) = (to, number);
}

/// From here on the files are held to what they said now.
fn seal(journal: &mut Journal) -> io::Result<()> {
    let mut buffer = Vec::new();
    for at in 0..journal.blocks.len() {
        let block = &journal.blocks[at];
        buffer.resize(usize::try_from(block.len).unwrap_or_default(), 0);
        journal.read_at(block.base, &mut buffer)?;
        journal.blocks[at].digest = journal.digest_of(&buffer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;
    use crate::journal::{Batch, Found};

    /// Numbers that can be read, and gaps.
    fn contents(journal: &mut Journal) -> (Vec<u64>, Vec<(u64, u64)>) {
        let (mut cursor, mut next, mut buffer) =
            (journal.seek(journal.trimmed() + 1), journal.trimmed() + 1, Vec::new());
        let (mut lines, mut gaps) = (Vec::new(), Vec::new());
        loop {
            match journal.read(cursor, &mut buffer) {
                Found::Nothing => break,
                Found::Tampered { .. } => panic!("nobody touched it since it was read"),
                Found::Frames { first, cursor: after, .. } => {
                    if first > next {
                        gaps.push((next, first - 1));
                        next = first;
                    }
                    for line in buffer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        let frame = frames::parse(line, 0).expect("only whole frames");
                        assert_eq!(frame.number, next);
                        if frame.kind.ends() {
                            lines.push(next);
                            next += 1;
                        }
                    }
                    cursor = after;
                }
            }
        }
        if next <= journal.last() {
            gaps.push((next, journal.last()));
        }
        (lines, gaps)
    }

    fn written(place: &Path) {
        let mut journal = Journal::create(Some(place), 64 << 10).expect("a journal");
        for number in 1..=300_u64 {
            let mut frames = Vec::new();
            let length = if number % 50 == 0 { 150_000 } else { number as usize };
            frames::encode_line(Channel::Agent, number, &vec![b'x'; length], 0, &mut frames);
            journal.append(&Batch { frames: &frames, last: number, whole: number }).expect("append");
        }
    }

    #[test]
    fn everything_that_was_whole_comes_back() {
        let place = tempfile::tempdir().expect("a directory");
        assert!(recover(place.path(), 0).expect("read").is_none());
        written(place.path());
        let mut journal = recover(place.path(), 64 << 10).expect("read").expect("a journal");
        assert_eq!(contents(&mut journal), ((1..=300).collect(), vec![]));
        journal.ack(300);
        drop(journal);
        let mut journal = recover(place.path(), 64 << 10).expect("read").expect("a journal");
        assert_eq!(
            (journal.last(), contents(&mut journal)),
            (300, (vec![], vec![])),
            "the last number is not forgotten"
        );
    }

    #[test]
    fn a_torn_last_line_is_a_gap() {
        let place = tempfile::tempdir().expect("a directory");
        written(place.path());
        let (_, _, last) = segments(place.path()).expect("names").into_iter().max().expect("a segment");
        let file = std::fs::OpenOptions::new().write(true).open(last).expect("the segment");
        file.set_len(file.metadata().expect("its length").len() - 70_000).expect("torn");
        let mut journal = recover(place.path(), 64 << 10).expect("read").expect("a journal");
        assert_eq!(contents(&mut journal), ((1..=299).collect(), vec![(300, 300)]));
    }

    #[test]
    fn whatever_is_done_to_the_files_nothing_false_is_read() {
        let seed = RandomState::new().hash_one(0);
        println!("seed {seed}");
        let mut random = Random(seed | 1);
        for _ in 0..60 {
            let place = tempfile::tempdir().expect("a directory");
            written(place.path());
            for _ in 0..=random.below(4) {
                let paths: Vec<PathBuf> =
                    segments(place.path()).expect("names").into_iter().map(|found| found.2).collect();
                let Some(path) = paths.get(random.below(paths.len())) else { continue };
                let mut bytes = std::fs::read(path).expect("the segment");
                let (from, to) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
                let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 5000));
                match random.below(4) {
                    0 => drop(bytes.drain(from..to)),
                    1 => bytes[from..to].iter_mut().for_each(|byte| *byte = random.next() as u8),
                    2 => bytes.splice(from..from, std::iter::repeat_n(b'\n', 20)).for_each(drop),
                    _ => bytes.truncate(from),
                }
                if random.below(20) == 0 {
                    std::fs::remove_file(path).expect("removed");
                } else {
                    std::fs::write(path, bytes).expect("written");
                }
            }
            if let Some(mut journal) = recover(place.path(), 64 << 10).expect("read") {
                let (lines, gaps) = contents(&mut journal);
                assert!(
                    lines.is_sorted()
                        && lines.iter().all(|number| *number <= 300)
                        && gaps.iter().all(|gap| gap.0 <= gap.1)
                );
            }
        }
    }

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, most: usize) -> usize {
            (self.next() % most.max(1) as u64) as usize
        }
    }
}
