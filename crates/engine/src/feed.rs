//! The doorbell: says how far each log has come, and keeps the newest events at hand for those who listen.
//!
//! Nothing here is the truth. A listener is a cursor: it reads the store from where it is until it has caught up, then
//! waits for the bell and takes what [`Watch::recent`] still has, or goes back to the store when it has fallen behind. So a
//! slow listener costs only itself, and a thousand quick ones share one copy of every event.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use kanvoy_domain::{Log, Seq};
use kanvoy_store::{StoredEvent, Tell};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::BoardCache;

/// Texts kept at hand for each log that somebody watches.
const TAIL_BYTES: usize = 1 << 20;

/// Texts kept at hand for those who watch every log.
const EVERY_TAIL_BYTES: usize = 4 << 20;

/// Events that were committed together, shared by all who send them.
type Batch = Arc<[StoredEvent]>;

#[derive(Default)]
pub struct Feed {
    /// A log has an entry while somebody watches it.
    logs: Mutex<HashMap<Log, Weak<Watched>>>,
    every: EveryWatched,
}

struct Watched {
    head: watch::Sender<Seq>,
    tail: RwLock<Tail<Batch>>,
}

/// The newest of something, up to a number of bytes.
struct Tail<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Tail<T> {
    fn push(&mut self, size: usize, item: T, most: usize) {
        self.items.push_back((size, item));
        self.bytes += size;
        while self.bytes > most {
            let Some((size, _)) = self.items.pop_front() else { break };
            self.bytes -= size;
        }
    }
}

impl Feed {
    pub fn new() -> Self {
        Self::default()
    }

    /// Begin to watch before reading the store, so that nothing falls between the two.
    pub fn watch(&self, log: Log) -> Watch {
        let mut logs = self.logs.lock();
        let known = logs.get(&log).and_then(Weak::upgrade);
        let watched = known.unwrap_or_else(|| {
            logs.retain(|_, watched| watched.strong_count() > 0);
            let watched = Arc::new(Watched { head: watch::Sender::new(0), tail: RwLock::default() });
            logs.insert(log, Arc::downgrade(&watched));
            watched
        });
        Watch { bell: watched.head.subscribe(), watched }
    }

    pub fn watch_every_log(self: &Arc<Self>) -> EveryLog {
        let bell = self.every.tick.subscribe();
        let at = *bell.borrow();
        EveryLog { feed: Arc::clone(self), bell, at }
    }
}

impl Tell for Feed {
    fn told(&self, log: Log, events: &[StoredEvent]) {
        let Some(head) = events.last().map(|event| event.seq) else { return };
        let watched = self.logs.lock().get(&log).and_then(Weak::upgrade);
        let listened_to_by_all = self.every.tick.receiver_count() > 0;
        if watched.is_none() && !listened_to_by_all {
            return;
        }
        let size = events.iter().map(|event| event.text.len()).sum();
        let batch: Batch = events.into();
        if let Some(watched) = watched {
            let mut tail = watched.tail.write();
            // What another process wrote in between is only in the store: a tail with a hole in it is none.
            let last = tail.items.back().and_then(|(_, batch)| batch.last()).map(|event| event.seq);
            if last.is_some_and(|last| batch.first().is_some_and(|first| first.seq != last + 1)) {
                *tail = Tail::default();
            }
            tail.push(size, Arc::clone(&batch), TAIL_BYTES);
            drop(tail);
            watched.head.send_replace(head);
        }
        if listened_to_by_all {
            // The tick is raised under the tail's lock, so that a listener never sees one without the other.
            let mut tail = self.every.tail.write();
            let tick = *self.every.tick.borrow() + 1;
            tail.push(size, (tick, log, batch), EVERY_TAIL_BYTES);
            self.every.tick.send_replace(tick);
        }
    }
}

/// Somebody's ear on one log.
pub struct Watch {
    bell: watch::Receiver<Seq>,
    watched: Arc<Watched>,
}

impl Watch {
    /// Returns when something was told since the last call, or since the watch began.
    pub async fn changed(&mut self) {
        // The sender lives as long as `self.watched`: this cannot fail.
        let _ = self.bell.changed().await;
    }

    /// What was told after `after`, in order; `None` when some of it is no longer at hand and must be read from the store.
    pub fn recent(&self, after: Seq) -> Option<Vec<Batch>> {
        let tail = self.watched.tail.read();
        if after >= *self.watched.head.borrow() {
            return Some(Vec::new());
        }
        let first = tail.items.front().and_then(|(_, batch)| batch.first())?.seq;
        if first > after + 1 {
            return None;
        }
        let from = tail.items.partition_point(|(_, batch)| batch.last().is_some_and(|last| last.seq <= after));
        Some(tail.items.range(from..).map(|(_, batch)| Arc::clone(batch)).collect())
    }
}

#[derive(Default)]
struct EveryWatched {
    tick: watch::Sender<u64>,
    tail: RwLock<Tail<(u64, Log, Batch)>>,
}

/// Somebody's ear on every log.
pub struct EveryLog {
    feed: Arc<Feed>,
    bell: watch::Receiver<u64>,
    at: u64,
}

impl EveryLog {
    pub async fn changed(&mut self) {
        // The sender lives as long as `self.feed`: this cannot fail.
        let _ = self.bell.changed().await;
    }

    /// What was told since the last call, in order; `None` when some of it is no longer at hand: then every log must be read
    /// from the store, and what is told later comes with the next call.
    pub fn recent(&mut self) -> Option<Vec<(Log, Batch)>> {
        let tail = self.feed.every.tail.read();
        let now = *self.feed.every.tick.borrow();
        let after = std::mem::replace(&mut self.at, now);
        if now == after {
            return Some(Vec::new());
        }
        let first = tail.items.front().map(|(_, (tick, ..))| *tick)?;
        if first > after + 1 {
            return None;
        }
        let from = tail.items.partition_point(|(_, (tick, ..))| *tick <= after);
        Some(tail.items.range(from..).map(|(_, (_, log, batch))| (*log, Arc::clone(batch))).collect())
    }
}

/// All that must hear of a commit: first what would otherwise be out of date, then those who listen.
pub struct Told {
    pub boards: Arc<BoardCache>,
    pub feed: Arc<Feed>,
}

impl Tell for Told {
    fn told(&self, log: Log, events: &[StoredEvent]) {
        self.boards.told(log, events);
        self.feed.told(log, events);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kanvoy_domain::EventKind;

    use super::*;

    fn events(seqs: impl IntoIterator<Item = Seq>, size: usize) -> Vec<StoredEvent> {
        let event =
            |seq| StoredEvent { seq, kind: EventKind::TaskUpdated, task: None, text: Bytes::from(vec![b'x'; size]) };
        seqs.into_iter().map(event).collect()
    }

    fn seqs(batches: Option<Vec<Batch>>) -> Option<Vec<Seq>> {
        batches.map(|batches| batches.iter().flat_map(|batch| batch.iter().map(|event| event.seq)).collect())
    }

    #[tokio::test]
    async fn a_watch_hears_what_is_told_after_it_began() {
        let feed = Feed::new();
        feed.told(Log::System, &events(1..=3, 10));
        let mut watch = feed.watch(Log::System);
        assert_eq!(seqs(watch.recent(3)), Some(vec![]));
        feed.told(Log::System, &events(4..=5, 10));
        feed.told(Log::System, &events(6..=6, 10));
        watch.changed().await;
        assert_eq!(seqs(watch.recent(3)), Some(vec![4, 5, 6]));
        // A cursor inside a batch is given the whole batch: the reader skips what it has.
        assert_eq!(seqs(watch.recent(4)), Some(vec![4, 5, 6]));
        assert_eq!(seqs(watch.recent(5)), Some(vec![6]));
        assert_eq!(seqs(watch.recent(6)), Some(vec![]));
        assert_eq!(seqs(watch.recent(1)), None, "what was told before the watch is in the store");
    }

    #[test]
    fn a_tail_with_a_hole_is_none() {
        let feed = Feed::new();
        let watch = feed.watch(Log::System);
        feed.told(Log::System, &events([1, 2], 10));
        feed.told(Log::System, &events([5, 6], 10));
        assert!(watch.recent(2).is_none(), "3 and 4 are in the store alone");
        let recent = watch.recent(4).expect("is at hand");
        assert_eq!(recent.iter().flat_map(|batch| batch.iter()).map(|event| event.seq).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn a_slow_listener_is_sent_to_the_store_and_memory_is_bounded() {
        let feed = Arc::new(Feed::new());
        let watch = feed.watch(Log::System);
        let mut every = feed.watch_every_log();
        for seq in 1..=100 {
            feed.told(Log::System, &events([seq], TAIL_BYTES / 10));
        }
        assert_eq!(seqs(watch.recent(50)), None);
        assert_eq!(seqs(watch.recent(95)), Some(vec![96, 97, 98, 99, 100]));
        assert!(watch.watched.tail.read().bytes <= TAIL_BYTES);
        assert!(every.recent().is_none());
        feed.told(Log::System, &events([101], 10));
        let batches = every.recent().map(|told| told.into_iter().map(|(_, batch)| batch).collect());
        assert_eq!(seqs(batches), Some(vec![101]));
    }

    #[test]
    fn nothing_is_kept_when_nobody_listens() {
        let feed = Feed::new();
        drop(feed.watch(Log::System));
        feed.told(Log::System, &events([1], 10));
        let watch = feed.watch(Log::System);
        assert!(watch.watched.tail.read().items.is_empty());
        assert_eq!(feed.logs.lock().len(), 1);
    }
}
