//! Reads one log from a cursor on, for ever.

use std::sync::Arc;
use std::time::Duration;

use kanvoy_domain::{EventKind, Log, Seq, TaskId};
use kanvoy_engine::Watch;
use kanvoy_store::{EventQuery, Events, Kinds, Store, StoreError, StoredEvent};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::{Line, Lines};
use crate::app::Api;

/// So much is read, and sent, in one piece.
pub(crate) const PIECE_BYTES: usize = 128 << 10;
pub(crate) const PIECE_EVENTS: u32 = 1_000;

pub(crate) struct LogReader {
    store: Arc<dyn Store>,
    watch: Watch,
    log: Log,
    task: Option<TaskId>,
    kinds: Kinds,
    /// Everything up to here was given, or is not wanted.
    at: Seq,
    /// The store was read to its end since the watch began: what comes now, the watch has.
    caught_up: bool,
    /// The next page, on its way while this one is being sent: a replay keeps the store and the socket busy at once.
    ahead: Option<JoinHandle<Result<Events, StoreError>>>,
    tasks: TaskTracker,
}

impl LogReader {
    /// `watch` must have begun before anything that `at` was derived from was read.
    pub fn new(api: &Api, watch: Watch, log: Log, task: Option<TaskId>, kinds: Kinds, at: Seq) -> Self {
        let (store, tasks) = (Arc::clone(&api.store), api.connections.clone());
        Self { store, watch, log, task, kinds, at, caught_up: false, ahead: None, tasks }
    }

    pub async fn next(&mut self) -> Result<Lines, StoreError> {
        loop {
            if self.caught_up {
                match self.watch.recent(self.at) {
                    Some(batches) if batches.is_empty() => self.watch.changed().await,
                    Some(batches) => {
                        let taken = self.take(batches.iter().flat_map(|batch| batch.iter()));
                        if !taken.lines.is_empty() || taken.over {
                            return Ok(taken);
                        }
                    }
                    None => self.caught_up = false,
                }
            } else if let Some(lines) = self.read().await? {
                return Ok(lines);
            }
        }
    }

    /// One page from the store; `None` when there was nothing to give.
    async fn read(&mut self) -> Result<Option<Lines>, StoreError> {
        let Events { events, more } = match &mut self.ahead {
            Some(page) => {
                let page = page.await;
                self.ahead = None;
                page.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))?
            }
            None => {
                // Asked before the page is read: events that come in between are on the page, or found next time.
                let head = self.store.head(self.log).await?;
                if head <= self.at {
                    return self.at_the_end().await;
                }
                let page = self.store.events(&self.query()).await?;
                if page.events.is_empty() {
                    // Nothing up to the head is wanted.
                    self.at = head;
                }
                page
            }
        };
        let Some(last) = events.last() else { return Ok(None) };
        self.at = last.seq;
        if more {
            let (store, query) = (Arc::clone(&self.store), self.query());
            self.ahead = Some(self.tasks.spawn(async move { store.events(&query).await }));
        }
        let over = events.iter().any(|event| event.kind == EventKind::BoardDeleted);
        let log = self.log;
        let lines = events.into_iter().map(|event| Line { log, seq: event.seq, text: event.text }).collect();
        Ok(Some(Lines { lines, over }))
    }

    fn query(&self) -> EventQuery {
        EventQuery {
            log: self.log,
            after: self.at,
            task: self.task,
            kinds: self.kinds.clone(),
            limit: PIECE_EVENTS,
            max_bytes: PIECE_BYTES,
        }
    }

    async fn at_the_end(&mut self) -> Result<Option<Lines>, StoreError> {
        self.caught_up = true;
        // The watch has heard of more than the store will show: the log is out of sight with its board.
        if self.watch.recent(self.at).is_none() {
            if !self.still_there().await {
                return Ok(Some(Lines { lines: Vec::new(), over: true }));
            }
            self.caught_up = false;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(None)
    }

    /// What is wanted of events that follow one another, up to one piece. The rest is at hand when asked again.
    fn take<'a>(&mut self, events: impl Iterator<Item = &'a StoredEvent>) -> Lines {
        let mut taken = Lines::default();
        let mut bytes = 0;
        let at = self.at;
        for event in events.skip_while(|event| event.seq <= at) {
            if bytes >= PIECE_BYTES {
                break;
            }
            self.at = event.seq;
            // Whatever was asked for, a stream whose board is gone says so and ends.
            let last_word = event.kind == EventKind::BoardDeleted;
            let about = self.task.is_none() || event.task == self.task || event.kind == EventKind::StreamGap;
            if last_word || (about && self.kinds.wants(event.kind)) {
                bytes += event.text.len();
                taken.lines.push(Line { log: self.log, seq: event.seq, text: event.text.clone() });
            }
            if last_word && self.log != Log::System {
                taken.over = true;
                break;
            }
        }
        taken
    }

    pub async fn still_there(&self) -> bool {
        match self.log {
            Log::System => true,
            // A store that does not answer says nothing about the board.
            Log::Board(board) => !matches!(self.store.board(board).await, Ok(None)),
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        if let Some(page) = &self.ahead {
            page.abort();
        }
    }
}
