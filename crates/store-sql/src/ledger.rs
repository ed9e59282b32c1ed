//! Where the logs of a group stand, and where they come to: written back once a group.
//!
//! Who alone writes to its tables keeps it from group to group; who does not locks the logs' rows and reads it anew.
//!
//! Members of a group draw their numbers from here one after another. One that fails gives back what it drew, so that
//! there is no hole.

use std::collections::HashMap;

use kanvoy_domain::event::{Log, Seq};
use kanvoy_domain::{BoardId, TaskNumber};
use kanvoy_store::StoreError;

/// No seq, number or version is higher: those who read JSON count no further.
pub const HIGHEST: u64 = (1 << 53) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The key of the log's row, and of its events'.
    pub log: i64,
    pub head: Seq,
    pub next_number: TaskNumber,
    pub standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Seen,
    Importing,
    Deleted,
}

#[derive(Debug, Default)]
pub struct Ledger {
    counters: HashMap<Log, Counter>,
    next_log: i64,
    /// What stood there before, in the order of the changes.
    undo: Vec<(Log, Option<Counter>)>,
}

impl Ledger {
    /// What a store has read of its tables. `next_log` is a key that no log has, nor any event that is still to be removed.
    pub fn begin(next_log: i64) -> Self {
        Self { next_log, ..Self::default() }
    }

    pub fn enter(&mut self, log: Log, counter: Counter) {
        self.counters.insert(log, counter);
    }

    pub fn counter(&self, log: Log) -> Result<Counter, StoreError> {
        self.counters.get(&log).copied().ok_or(StoreError::NotFound)
    }

    /// A board that people can see.
    pub fn seen(&self, board: BoardId) -> Result<Counter, StoreError> {
        self.in_standing(board, Standing::Seen)
    }

    pub fn importing(&self, board: BoardId) -> Result<Counter, StoreError> {
        self.in_standing(board, Standing::Importing)
    }

    fn in_standing(&self, board: BoardId, standing: Standing) -> Result<Counter, StoreError> {
        let counter = self.counter(Log::Board(board))?;
        if counter.standing == standing { Ok(counter) } else { Err(StoreError::NotFound) }
    }

    pub fn open(&mut self, board: BoardId, standing: Standing) -> Result<Counter, StoreError> {
        if self.counters.contains_key(&Log::Board(board)) {
            return Err(StoreError::Taken("id"));
        }
        let counter = Counter { log: self.next_log, head: 0, next_number: 1, standing };
        self.next_log += 1;
        self.set(Log::Board(board), Some(counter));
        Ok(counter)
    }

    pub fn set(&mut self, log: Log, counter: Option<Counter>) {
        let before = match counter {
            Some(counter) => self.counters.insert(log, counter),
            None => self.counters.remove(&log),
        };
        self.undo.push((log, before));
    }

    pub fn next_seq(&mut self, log: Log) -> Result<(i64, Seq), StoreError> {
        let mut counter = self.counter(log)?;
        counter.head = after(counter.head)?;
        self.set(log, Some(counter));
        Ok((counter.log, counter.head))
    }

    pub fn next_number(&mut self, board: BoardId) -> Result<(i64, TaskNumber), StoreError> {
        let mut counter = self.seen(board)?;
        let number = counter.next_number;
        counter.next_number = after(number)?;
        self.set(Log::Board(board), Some(counter));
        Ok((counter.log, number))
    }

    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    pub fn undo_to(&mut self, mark: usize) {
        while self.undo.len() > mark {
            if let Some((log, before)) = self.undo.pop() {
                match before {
                    Some(counter) => self.counters.insert(log, counter),
                    None => self.counters.remove(&log),
                };
            }
        }
    }

    /// The logs that have been touched since the last [`Self::settle`], as they stand now.
    pub fn touched(&self) -> Vec<Counter> {
        let mut touched: Vec<Counter> = Vec::new();
        for (log, _) in &self.undo {
            if let Some(counter) = self.counters.get(log)
                && !touched.iter().any(|seen| seen.log == counter.log)
            {
                touched.push(*counter);
            }
        }
        touched
    }

    /// What was drawn is durable.
    pub fn settle(&mut self) {
        self.undo.clear();
    }
}

fn after(last: u64) -> Result<u64, StoreError> {
    match last.checked_add(1) {
        Some(next) if next <= HIGHEST => Ok(next),
        _ => Err(StoreError::Damaged(format!("nothing can be counted after {last}"))),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_a_failing_member_drew_is_drawn_again() {
        let board = BoardId::from_uuid(Uuid::from_u128(1));
        let mut ledger = Ledger::begin(1);
        ledger.open(board, Standing::Seen).expect("is new");
        ledger.settle();
        assert_eq!(ledger.next_number(board).expect("is there").1, 1);
        let mark = ledger.mark();
        for _ in 0..3 {
            ledger.next_number(board).expect("is there");
            ledger.next_seq(Log::Board(board)).expect("is there");
        }
        ledger.set(Log::Board(board), None);
        ledger.undo_to(mark);
        assert_eq!(ledger.next_number(board).expect("is back").1, 2);
        assert_eq!(ledger.next_seq(Log::Board(board)).expect("is back").1, 1);
        let touched: Vec<_> = ledger.touched().iter().map(|counter| (counter.head, counter.next_number)).collect();
        assert_eq!(touched, [(1, 3)]);
    }
}
