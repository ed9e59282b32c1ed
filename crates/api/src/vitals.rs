//! Numbers that nobody keeps: looked at when somebody asks for them.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use kanvoy_domain::{Log, Seq, Timestamp};
use kanvoy_store::StoreError;
use parking_lot::Mutex;

use crate::app::Api;

/// Boards are counted no more often than this, however often the numbers are asked for.
const COUNTED_EVERY: Duration = Duration::from_secs(15);
const PAGE: u32 = 200;

pub struct Vitals {
    began: Instant,
    began_at: Timestamp,
    counted: Mutex<Option<Instant>>,
}

impl Vitals {
    pub fn new(began_at: Timestamp) -> Self {
        Self { began: Instant::now(), began_at, counted: Mutex::new(None) }
    }

    /// Whether it is time to count, for one of those who ask.
    fn counts(&self) -> bool {
        let mut counted = self.counted.lock();
        if counted.is_some_and(|counted| counted.elapsed() < COUNTED_EVERY) {
            return false;
        }
        *counted = Some(Instant::now());
        true
    }
}

impl Api {
    /// Brings the gauges up to now. What cannot be read stays as it was: the numbers are asked for most when something is wrong.
    pub(crate) async fn look(&self) {
        metrics::gauge!("kanvoy_uptime_seconds").set(self.vitals.began.elapsed().as_secs_f64());
        metrics::gauge!("process_start_time_seconds").set(self.vitals.began_at.millis() as f64 / 1e3);
        process();
        if let Err(error) = self.look_at_the_store().await {
            tracing::debug!("the store's numbers could not be read: {error}");
        }
    }

    async fn look_at_the_store(&self) -> Result<(), StoreError> {
        let heads: BTreeMap<Log, Seq> = self.store.heads().await?.into_iter().collect();
        metrics::gauge!("kanvoy_stream_lag_events").set(self.places.most_behind(&heads) as f64);
        metrics::gauge!("kanvoy_log_events").set(heads.values().sum::<Seq>() as f64);
        if self.vitals.counts() {
            self.count_boards().await?;
        }
        Ok(())
    }

    /// Tasks are not counted one by one: their numbers have no holes, so each board knows how many it has had.
    async fn count_boards(&self) -> Result<(), StoreError> {
        let (mut boards, mut tasks) = (0, 0);
        let mut after: Option<String> = None;
        loop {
            let page = self.store.boards(after.as_deref(), PAGE, true).await?;
            boards += page.items.len();
            tasks += page.items.iter().map(|row| row.next_number.saturating_sub(1)).sum::<u64>();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        metrics::gauge!("kanvoy_boards").set(boards as f64);
        metrics::gauge!("kanvoy_tasks_made").set(tasks as f64);
        Ok(())
    }
}

/// As Linux tells it; elsewhere these are not there.
fn process() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    if let Some(kilobytes) = number("VmRSS:") {
        metrics::gauge!("process_resident_memory_bytes").set(kilobytes * 1024.0);
    }
    if let Some(threads) = number("Threads:") {
        metrics::gauge!("process_threads").set(threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(open.count() as f64);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    if let Some(most) = most.and_then(|line| line.split_whitespace().next()).and_then(|most| most.parse::<f64>().ok()) {
        metrics::gauge!("process_max_fds").set(most);
    }
}
