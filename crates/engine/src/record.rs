//! The engine's side of the write door: commits what was decided, and decides anew when somebody was faster.

use kanvoy_domain::{Invalid, NewEvent, Refusal};
use kanvoy_store::{Change, Commit, Committed, StoreError};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{By, Engine, EngineError};

/// How often a verb reads and decides anew before it gives up.
pub(crate) const TRIES: usize = 16;

impl Engine {
    /// Writes rows and their history, and the caller's claim with them.
    pub(crate) async fn record(
        &self,
        by: &By,
        mut changes: Vec<Change>,
        events: Vec<NewEvent>,
    ) -> Result<Committed, StoreError> {
        if let Some(claim) = &by.claim {
            changes.insert(0, Change::Claim(claim.clone()));
        }
        self.store.commit(Commit::new(changes, events)).await
    }
}

/// Tries after which a verb no longer takes part in the race but has the engine to itself.
const RACED: usize = 2;

/// Verbs decide side by side, and those of different rows never meet. One that has lost twice waits until it is alone: then
/// nothing in this process can come between what it reads and what it commits.
#[derive(Default)]
pub(crate) struct Turns(RwLock<()>);

/// Held while a verb reads, decides and commits. A verb that holds one must not call another verb.
pub(crate) enum Turn<'a> {
    Beside { _others: RwLockReadGuard<'a, ()> },
    Alone { _all: RwLockWriteGuard<'a, ()> },
}

impl Turns {
    pub async fn take(&self, tries: usize) -> Turn<'_> {
        if tries <= RACED {
            Turn::Beside { _others: self.0.read().await }
        } else {
            Turn::Alone { _all: self.0.write().await }
        }
    }
}

/// Runs a block until its commit meets no conflict. Everything that it relies on must be read inside it.
///
/// A macro and no function that takes a closure: of the future of a borrowing async closure the compiler cannot tell that it
/// may cross threads, and then neither may the verb.
macro_rules! until_settled {
    ($engine:expr, $decide:block) => {{
        let mut tries = 0;
        loop {
            tries += 1;
            let turn = $engine.turns.take(tries).await;
            let tried = $crate::record::one_try(async { $decide }).await;
            drop(turn);
            match tried {
                Ok(done) => break Ok(done),
                Err($crate::record::Unsettled::Conflict) if tries < $crate::record::TRIES => {}
                Err($crate::record::Unsettled::Conflict) => break Err($crate::EngineError::Contended),
                Err($crate::record::Unsettled::Refused(error)) => break Err(error),
            }
        }
    }};
}
pub(crate) use until_settled;

/// Says what the block's `?` turns errors into.
pub(crate) fn one_try<T, F: Future<Output = Result<T, Unsettled>>>(decide: F) -> F {
    decide
}

/// How one try of a verb can fail.
pub(crate) enum Unsettled {
    Conflict,
    Refused(EngineError),
}

impl From<StoreError> for Unsettled {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Conflict,
            other => Self::Refused(other.into()),
        }
    }
}

impl From<EngineError> for Unsettled {
    fn from(error: EngineError) -> Self {
        Self::Refused(error)
    }
}

impl From<Invalid> for Unsettled {
    fn from(error: Invalid) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Refusal> for Unsettled {
    fn from(error: Refusal) -> Self {
        Self::Refused(error.into())
    }
}
