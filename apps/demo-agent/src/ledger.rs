//! What the agent wrote and read, line by line, kept apart from everything that is being tested. A test compares it with
//! what arrived elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the agent.
    Out,
    /// To the agent.
    In,
}

/// One line, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub direction: Direction,
    /// From 1, for each direction by itself.
    pub number: u64,
    pub length: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
}

impl Entry {
    pub fn of(direction: Direction, number: u64, line: &[u8]) -> Self {
        Self { direction, number, length: line.len() as u64, sha256: format!("{:x}", Sha256::digest(line)) }
    }
}

/// Appends. An entry is in the file before the line is sent, so an agent that is killed has written at most one line fewer
/// than its ledger says (or one batch fewer, in a flood), never one more.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    out: u64,
    read: u64,
}

impl Ledger {
    /// Goes on where an earlier process stopped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut ledger = Self { file: OpenOptions::new().create(true).append(true).open(path)?, out: 0, read: 0 };
        for entry in read(path)? {
            match entry.direction {
                Direction::Out => ledger.out = entry.number,
                Direction::In => ledger.read = entry.number,
            }
        }
        Ok(ledger)
    }

    pub fn append<'a>(&mut self, direction: Direction, lines: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let mut text = String::new();
        for line in lines {
            let (word, number) = match direction {
                Direction::Out => ("out", &mut self.out),
                Direction::In => ("in", &mut self.read),
            };
            *number += 1;
            let entry = Entry::of(direction, *number, line);
            text += &format!("{word} {} {} {}\n", entry.number, entry.length, entry.sha256);
        }
        // One write, straight to the file: nothing of ours is left to flush.
        self.file.write_all(text.as_bytes())
    }
}

/// The ledger of an agent, up to its last whole entry.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    BufReader::new(File::open(path)?).lines().map_while(|line| line.map(|line| parse(&line)).transpose()).collect()
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let direction = match words.next()? {
        "out" => Direction::Out,
        "in" => Direction::In,
        _ => return None,
    };
    let (number, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let sha256 = words.next().filter(|sha| sha.len() == 64)?.to_owned();
    Some(Entry { direction, number, length, sha256 })
}
