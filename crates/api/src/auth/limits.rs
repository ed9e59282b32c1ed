//! How much one caller may ask in a while. What is counted is bounded: whoever has been quiet for long enough is forgotten,
//! and when too many are counted at once, newcomers wait.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::problem::{Code, Problem};

/// Callers that are counted at once.
const MOST: usize = 20_000;

/// Time since something, which never goes back.
#[derive(Clone)]
pub struct Pace(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Pace {
    pub fn of(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.into()))
    }
}

impl std::ops::Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, duration: Nanos) -> Self {
        Self(self.0.saturating_add(duration.into()))
    }
}

impl Clock for Pace {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment((self.0)())
    }
}

struct Limit<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, HashMapStateStore<K>, Pace, NoOpMiddleware<Moment>>,
    pace: Pace,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(quota: Quota, pace: &Pace) -> Self {
        Self { limiter: RateLimiter::new(quota, HashMapStateStore::default(), pace.clone()), pace: pace.clone() }
    }

    /// The seconds to wait, when it is too much.
    fn take(&self, key: &K) -> Result<(), u32> {
        if self.limiter.len() >= MOST {
            self.limiter.retain_recent();
            if self.limiter.len() >= MOST {
                return Err(60);
            }
        }
        self.limiter.check_key(key).map_err(|until| {
            let wait = until.wait_time_from(self.pace.now());
            u32::try_from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).unwrap_or(u32::MAX).max(1)
        })
    }

    fn shrink(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// How often: `at_once` in one go, and one more every `then_each`.
#[derive(Clone, Copy, Debug)]
pub struct Often {
    pub at_once: NonZeroU32,
    pub then_each: Duration,
}

impl Often {
    pub const fn new(at_once: u32, then_each: Duration) -> Self {
        Self { at_once: NonZeroU32::MIN.saturating_add(at_once.saturating_sub(1)), then_each }
    }

    fn quota(self) -> Quota {
        let quota = Quota::with_period(self.then_each).unwrap_or_else(|| Quota::per_second(self.at_once));
        quota.allow_burst(self.at_once)
    }
}

pub struct Limits {
    people: Limit<Arc<str>>,
    names: Limit<(String, Option<IpAddr>)>,
    addresses: Limit<Option<IpAddr>>,
}

/// Of everybody but the owner of the machine: 200 requests a second, 1,000 at once.
pub const REQUESTS: Often = Often::new(1_000, Duration::from_millis(5));
/// Of one name from one address: five tries, then one in 12 seconds.
pub const TRIES: Often = Often::new(5, Duration::from_secs(12));
/// From one address, whatever the names: 60, then one in 2 seconds.
pub const TRIES_FROM: Often = Often::new(60, Duration::from_secs(2));

impl Default for Limits {
    fn default() -> Self {
        let began = Instant::now();
        Self::new(Pace::of(move || began.elapsed()), REQUESTS, TRIES, TRIES_FROM)
    }
}

impl Limits {
    pub fn new(pace: Pace, requests: Often, tries: Often, tries_from: Often) -> Self {
        Self {
            people: Limit::new(requests.quota(), &pace),
            names: Limit::new(tries.quota(), &pace),
            addresses: Limit::new(tries_from.quota(), &pace),
        }
    }

    pub(crate) fn request(&self, person: &Arc<str>) -> Result<(), Problem> {
        self.people.take(person).map_err(|wait| too_many("you ask too much at once", wait))
    }

    pub(crate) fn login(&self, name: &str, from: Option<IpAddr>) -> Result<(), Problem> {
        // Cut, so that nobody fills the memory with long names.
        let name: String = name.chars().take(64).collect();
        let said = "too many logins were tried";
        self.addresses.take(&from).map_err(|wait| too_many(said, wait))?;
        self.names.take(&(name.to_lowercase(), from)).map_err(|wait| too_many(said, wait))
    }

    pub(crate) fn shrink(&self) {
        self.people.shrink();
        self.names.shrink();
        self.addresses.shrink();
    }

    #[cfg(test)]
    fn counted(&self) -> usize {
        self.people.limiter.len() + self.names.limiter.len() + self.addresses.limiter.len()
    }
}

fn too_many(said: &str, wait: u32) -> Problem {
    Problem::new(Code::TooManyRequests, format!("{said}; wait {wait} s")).retry_after(wait)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn who_waits_is_let_in_again_and_who_is_quiet_is_forgotten() {
        let seconds = Arc::new(AtomicU64::new(0));
        let hand = Arc::clone(&seconds);
        let pace = Pace::of(move || Duration::from_secs(hand.load(Ordering::Relaxed)));
        let limits = Limits::new(pace, REQUESTS, TRIES, TRIES_FROM);
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        for _ in 0..5 {
            limits.login("ada", here).expect("five tries");
        }
        assert_eq!(limits.login("Ada", here).expect_err("no sixth").status(), 429);
        limits.login("bob", here).expect("another name");
        limits.login("ada", Some(IpAddr::from([127, 0, 0, 2]))).expect("another place");
        seconds.store(12, Ordering::Relaxed);
        limits.login("ada", here).expect("one more after a while");
        limits.login("ada", here).expect_err("and no other");

        let ada: Arc<str> = "ada".into();
        for _ in 0..1_000 {
            limits.request(&ada).expect("a thousand");
        }
        limits.request(&ada).expect_err("and no more");
        limits.request(&"bob".into()).expect("another one");
        seconds.store(13, Ordering::Relaxed);
        limits.request(&ada).expect("a second later");

        for at in 0..40_000_u32 {
            let _ = limits.login(&at.to_string(), Some(IpAddr::from(at.to_be_bytes())));
        }
        assert!(limits.counted() <= 3 * MOST, "what is counted is bounded");
        seconds.store(3_600, Ordering::Relaxed);
        limits.shrink();
        assert_eq!(limits.counted(), 0, "and goes");
    }
}
