//! The verbs: everything that changes a board goes through here. Each verb decides (with the rules of `domain`), commits
//! (through the one door of `store`) and leaves the telling to the [`Feed`], which the store rings once a commit is durable.
//!
//! Knows nothing of SQL, containers' engines or HTTP. Start reading at [`tasks`].

mod boards;
mod clock;
mod columns;
mod error;
mod feed;
mod moves;
mod people;
mod record;
mod removal;
mod retention;
mod tasks;
mod transfer;
mod waiting;

use std::sync::Arc;

pub use boards::BoardCache;
pub use clock::{Clock, Ids, SystemClock};
pub use error::EngineError;
pub use feed::{EveryLog, Feed, Told, Watch};
use kanvoy_domain::{Actor, ActorKind, Seq, UserId};
use kanvoy_store::{Claim, Store};
pub use moves::{Beside, MoveTo};
pub use people::NewSession;
pub use removal::Removal;
pub use transfer::{Export, Import, ImportAs, Imported, MAX_LINE};
pub use waiting::{Reason, waiting};

/// Every verb of the product. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Arc<dyn Store>,
    boards: Arc<BoardCache>,
    clock: Arc<dyn Clock>,
    ids: Ids,
    turns: Arc<record::Turns>,
}

impl Engine {
    /// `boards` must be the cache that the store's teller invalidates: see [`Told`].
    pub fn new(store: Arc<dyn Store>, boards: Arc<BoardCache>, clock: Arc<dyn Clock>) -> Self {
        let ids = Ids::new(Arc::clone(&clock));
        Self { store, boards, clock, ids, turns: Arc::default() }
    }
}

/// On whose behalf something is done, and under which idempotency key, if any.
#[derive(Clone, Debug)]
pub struct By {
    pub actor: Actor,
    pub claim: Option<Claim>,
}

impl By {
    pub fn person(id: &str) -> Self {
        Self { actor: Actor::person(id), claim: None }
    }

    pub const fn engine() -> Self {
        Self { actor: Actor::engine(), claim: None }
    }

    /// The user who does it. The owner of the machine is none: every board is theirs anyway.
    pub(crate) fn user(&self) -> Option<UserId> {
        let id = self.actor.id.as_ref().filter(|_| self.actor.kind == ActorKind::Person)?;
        id.parse().ok()
    }
}

/// What a verb left behind, and the last `seq` that it wrote.
#[derive(Clone, Debug)]
pub struct Written<T> {
    pub object: T,
    pub seq: Seq,
}
