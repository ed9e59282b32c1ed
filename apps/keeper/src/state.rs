//! What has to be known after the keeper was killed: that the command was started, what was delivered to it, how it ended.
//! One small file beside the journal; its lock keeps a second keeper away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use kanvoy_keeper::frames::{self, Channel, Frame, Kind};
use kanvoy_keeper::words::Exit;

/// Two records are written in turn, so that one is whole whenever the keeper dies.
const RECORD: u64 = 512;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    pub pid: u32,
    /// The last line for the agent of which a byte may have reached its stdin, and the last that was written whole.
    pub begun: u64,
    pub delivered: u64,
    pub exit: Option<Exit>,
}

pub struct State {
    /// None when there is no journal on disk: then nothing outlives the keeper.
    file: Option<File>,
    turn: u64,
    saved: Saved,
}

impl State {
    pub fn nowhere() -> Self {
        Self { file: None, turn: 0, saved: Saved::default() }
    }

    /// Takes the place for this keeper. What is found there was left by an earlier one.
    pub fn open(place: &Path) -> io::Result<(Self, Option<Saved>)> {
        let path = place.join("state");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another keeper is at work in this journal"),
            TryLockError::Error(error) => error,
        })?;
        let found = (0..2).filter_map(|slot| read(&file, slot)).max_by_key(|(turn, _)| *turn);
        let (turn, saved) = found.unwrap_or_default();
        Ok((Self { file: Some(file), turn, saved }, found.map(|(_, saved)| saved)))
    }

    /// Written into the page cache: it outlives the keeper, not the machine, and neither does the agent.
    pub fn save(&mut self, saved: Saved) {
        let Some(file) = self.file.as_ref().filter(|_| saved != self.saved) else { return };
        self.saved = saved;
        self.turn += 1;
        let Saved { pid, begun, delivered, exit } = saved;
        let mut text = format!("{pid} {begun} {delivered}");
        if let Some(exit) = exit {
            text = format!("{text} {exit}");
        }
        let mut record = Vec::new();
        Frame { channel: Channel::Control, kind: Kind::Whole, number: self.turn, payload: text.as_bytes() }
            .encode(0, &mut record);
        record.resize(RECORD as usize, b'\n');
        // On a full disk it stays as it was: what it says then is too little, which its readers take into account.
        let _ = file.write_all_at(&record, self.turn % 2 * RECORD);
    }
}

fn read(file: &File, slot: u64) -> Option<(u64, Saved)> {
    let mut record = [0; RECORD as usize];
    file.read_exact_at(&mut record, slot * RECORD).ok()?;
    let frame = frames::parse(&record[..frames::newline(&record)?], 0)?;
    let mut words = std::str::from_utf8(frame.payload).ok()?.splitn(4, ' ');
    let saved = Saved {
        pid: words.next()?.parse().ok()?,
        begun: words.next()?.parse().ok()?,
        delivered: words.next()?.parse().ok()?,
        exit: words.next().and_then(|exit| Exit::parse(exit.as_bytes())),
    };
    Some((frame.number, saved))
}

#[cfg(test)]
mod tests {
    use kanvoy_keeper::words::End;

    use super::*;

    #[test]
    fn the_last_whole_record_counts_and_one_keeper_at_a_time() {
        let place = tempfile::tempdir().expect("a directory");
        let (mut state, found) = State::open(place.path()).expect("opened");
        assert_eq!(found, None);
        let mut saved = Saved { pid: 7, ..Saved::default() };
        for number in 1..=5 {
            (saved.begun, saved.delivered) = (number, number);
            state.save(saved);
        }
        saved.exit = Some(Exit::of(End::Signal(9)));
        state.save(saved);
        assert!(State::open(place.path()).is_err(), "two keepers in one place");
        drop(state);
        let (state, found) = State::open(place.path()).expect("opened");
        assert_eq!(found, Some(saved));
        state.file.as_ref().expect("a file").write_all_at(b"torn", 0).expect("written");
        drop(state);
        let (_, found) = State::open(place.path()).expect("opened");
        assert_eq!(found, Some(Saved { exit: None, ..saved }), "the record before the torn one");
    }
}
