//! Where time and ids come from: handed in, so that a test can hold the clock still.

use std::sync::Arc;

use chrono::Utc;
use kanvoy_domain::{BoardId, ColumnId, SessionId, TaskId, Timestamp, UserId};
use uuid::{NoContext, Uuid};

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
    fn now(&self) -> Timestamp {
        Timestamp::from(Utc::now())
    }
}

/// Gives ids that sort by time (UUIDv7) and are otherwise random.
#[derive(Clone)]
pub struct Ids {
    clock: Arc<dyn Clock>,
}

impl Ids {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    pub fn board(&self) -> BoardId {
        BoardId::from_uuid(self.next())
    }

    pub fn column(&self) -> ColumnId {
        ColumnId::from_uuid(self.next())
    }

    pub fn task(&self) -> TaskId {
        TaskId::from_uuid(self.next())
    }

    pub fn user(&self) -> UserId {
        UserId::from_uuid(self.next())
    }

    pub fn session(&self) -> SessionId {
        SessionId::from_uuid(self.next())
    }

    fn next(&self) -> Uuid {
        let millis = u64::try_from(self.clock.now().millis()).unwrap_or_default();
        let nanos = u32::try_from(millis % 1000).unwrap_or_default() * 1_000_000;
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, millis / 1000, nanos))
    }
}
