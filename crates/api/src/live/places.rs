//! How far each open stream has come, so that one can ask how far the slowest is behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use kanvoy_domain::{Log, Seq};
use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Places(Mutex<Vec<Weak<Place>>>);

/// Where one stream is: what came before was handed on.
pub(crate) enum Place {
    One(Log, AtomicU64),
    Every(Mutex<BTreeMap<Log, Seq>>),
}

impl Places {
    pub fn one(&self, log: Log, at: Seq) -> Arc<Place> {
        self.keep(Place::One(log, AtomicU64::new(at)))
    }

    pub fn every(&self, at: &BTreeMap<Log, Seq>) -> Arc<Place> {
        self.keep(Place::Every(Mutex::new(at.clone())))
    }

    fn keep(&self, place: Place) -> Arc<Place> {
        let place = Arc::new(place);
        let mut all = self.0.lock();
        if all.len() == all.capacity() {
            all.retain(|place| place.strong_count() > 0);
        }
        all.push(Arc::downgrade(&place));
        place
    }

    /// Events that the slowest of all streams has not been given yet.
    pub fn most_behind(&self, heads: &BTreeMap<Log, Seq>) -> u64 {
        let mut all = self.0.lock();
        all.retain(|place| place.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).map(|place| place.behind(heads)).max().unwrap_or_default()
    }
}

impl Place {
    pub fn reached(&self, log: Log, at: Seq) {
        match self {
            Self::One(_, place) => place.store(at, Ordering::Relaxed),
            Self::Every(places) => drop(places.lock().insert(log, at)),
        }
    }

    /// A log ended with its board.
    pub fn left(&self, log: Log) {
        if let Self::Every(places) = self {
            places.lock().remove(&log);
        }
    }

    fn behind(&self, heads: &BTreeMap<Log, Seq>) -> u64 {
        let behind = |log: &Log, at: Seq| heads.get(log).map_or(0, |head| head.saturating_sub(at));
        match self {
            Self::One(log, at) => behind(log, at.load(Ordering::Relaxed)),
            Self::Every(places) => places.lock().iter().map(|(log, at)| behind(log, *at)).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_counts_and_who_is_gone_does_not() {
        let places = Places::default();
        let heads = BTreeMap::from([(Log::System, 100)]);
        assert_eq!(places.most_behind(&heads), 0);
        let quick = places.one(Log::System, 90);
        let slow = places.every(&BTreeMap::from([(Log::System, 40)]));
        assert_eq!(places.most_behind(&heads), 60);
        slow.reached(Log::System, 95);
        assert_eq!(places.most_behind(&heads), 10);
        drop(quick);
        assert_eq!(places.most_behind(&heads), 5);
        slow.left(Log::System);
        assert_eq!(places.most_behind(&heads), 0);
        for _ in 0..1_000 {
            drop(places.one(Log::System, 0));
        }
        assert!(places.0.lock().len() < 10);
    }
}
