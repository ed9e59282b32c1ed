//! Reads every log that somebody may see, from a cursor each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use kanvoy_domain::{BoardId, EventKind, Log, Seq};
use kanvoy_engine::EveryLog;
use kanvoy_store::{EventQuery, Events, Kinds, StoreError};

use super::reader::{PIECE_BYTES, PIECE_EVENTS};
use super::{Line, Lines};
use crate::app::Api;
use crate::auth::Principal;
use crate::problem::Problem;

/// So much is taken from the feed in one piece; what is more is read from the store, so that a slow reader holds no more.
const TAKEN_BYTES: usize = 1 << 20;

pub(crate) struct EveryReader {
    api: Arc<Api>,
    who: Principal,
    every: EveryLog,
    kinds: Kinds,
    /// Everything up to here was given, or is not wanted. A log that is not named begins when it is first heard of.
    at: BTreeMap<Log, Seq>,
    /// Logs that must be read from the store, and how far at least.
    behind: BTreeMap<Log, Seq>,
    /// The feed has told more than it has kept: every log must be looked at.
    lost: bool,
}

impl EveryReader {
    /// `every` must have begun before `at` was read. `at` names every log there was.
    pub fn new(
        api: Arc<Api>,
        who: Principal,
        every: EveryLog,
        kinds: Kinds,
        at: BTreeMap<Log, Seq>,
        heads: &BTreeMap<Log, Seq>,
    ) -> Self {
        let behind = heads.iter().filter(|(log, head)| at.get(log).is_some_and(|at| at < *head));
        let behind = behind.map(|(log, head)| (*log, *head)).collect();
        Self { api, who, every, kinds, at, behind, lost: false }
    }

    pub async fn next(&mut self) -> Result<Lines, StoreError> {
        loop {
            if self.lost {
                // The mark stays until the heads are here: this may be dropped while it waits for them.
                let heads = self.api.store.heads().await?;
                self.lost = false;
                for (log, head) in heads {
                    if self.sees(log) && self.at.get(&log).copied().unwrap_or_default() < head {
                        self.behind.insert(log, head);
                    }
                }
            }
            if let Some((log, to)) = self.behind.first_key_value().map(|(log, to)| (*log, *to)) {
                if !self.sees(log) {
                    self.behind.remove(&log);
                    continue;
                }
                let lines = self.read(log, to).await?;
                if !lines.is_empty() {
                    return Ok(Lines { lines, over: false });
                }
                continue;
            }
            match self.every.recent() {
                None => self.lost = true,
                Some(told) if told.is_empty() => self.every.changed().await,
                Some(told) => {
                    let lines = self.take(&told);
                    if !lines.is_empty() {
                        return Ok(Lines { lines, over: false });
                    }
                }
            }
        }
    }

    async fn read(&mut self, log: Log, to: Seq) -> Result<Vec<Line>, StoreError> {
        let after = self.at.get(&log).copied().unwrap_or_default();
        let query = EventQuery {
            log,
            after,
            task: None,
            kinds: self.kinds.clone(),
            limit: PIECE_EVENTS,
            max_bytes: PIECE_BYTES,
        };
        let Events { events, more } = self.api.store.events(&query).await?;
        let last = events.last().map_or(after, |last| last.seq);
        // Behind the last, nothing up to `to` is wanted.
        let reached = if more { last } else { last.max(to) };
        self.at.insert(log, reached);
        if reached >= to {
            self.behind.remove(&log);
        }
        Ok(events.into_iter().map(|event| Line { log, seq: event.seq, text: event.text }).collect())
    }

    fn take(&mut self, told: &[(Log, Arc<[kanvoy_store::StoredEvent]>)]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        for (log, batch) in told {
            let (Some(first), Some(last)) = (batch.first(), batch.last()) else { continue };
            let at = self.at.get(log).copied().unwrap_or_default();
            if last.seq <= at || !self.sees(*log) {
                continue;
            }
            if bytes >= TAKEN_BYTES || self.behind.contains_key(log) || first.seq > at + 1 {
                self.behind.insert(*log, last.seq);
                continue;
            }
            for event in batch.iter().filter(|event| event.seq > at && self.kinds.wants(event.kind)) {
                bytes += event.text.len();
                lines.push(Line { log: *log, seq: event.seq, text: event.text.clone() });
            }
            if batch.iter().any(|event| event.kind == EventKind::BoardDeleted) && *log != Log::System {
                self.at.remove(log);
            } else {
                self.at.insert(*log, last.seq);
            }
        }
        lines
    }

    pub fn position(&self) -> &BTreeMap<Log, Seq> {
        &self.at
    }

    fn sees(&self, log: Log) -> bool {
        match log {
            Log::System => self.who.sees_system(),
            Log::Board(board) => self.api.may_see(&self.who, board),
        }
    }
}

/// `<board>:<seq>,system:<seq>`.
pub(crate) fn cursor_text(at: &BTreeMap<Log, Seq>) -> String {
    let mut text = String::with_capacity(at.len() * 48);
    for (log, seq) in at {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{log}:{seq}");
    }
    text
}

/// A piece of a cursor: a board by id or key, or the system's log.
pub(crate) enum Named {
    Log(Log),
    Key(String),
}

pub(crate) fn parse_cursor(name: &'static str, text: &str) -> Result<Vec<(Named, Seq)>, Problem> {
    let mut all = Vec::new();
    // `0` alone: everything, from the beginning.
    if text == "0" {
        return Ok(all);
    }
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((log, seq)) = part.rsplit_once(':') else {
            return Err(Problem::parameter(name, "must be <board>:<seq> or system:<seq>, with commas between"));
        };
        let log = match log {
            "system" => Named::Log(Log::System),
            log => match log.parse::<BoardId>() {
                Ok(board) => Named::Log(Log::Board(board)),
                Err(_) => Named::Key(log.to_owned()),
            },
        };
        all.push((log, super::seq(name, seq)?));
    }
    Ok(all)
}
