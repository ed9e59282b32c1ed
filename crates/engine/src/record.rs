//! The engine's side of the write door: commits what was decided, and decides anew when somebody was faster.

use kanvoy_domain::{Invalid, NewEvent, Refusal};
use kanvoy_store::{Change, Commit, Committed, StoreError};

use crate::{By, Engine, EngineError};

/// How often a verb reads and decides anew before it gives up.
const TRIES: usize = 16;

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

/// Runs `decide` until its commit meets no conflict. Everything that `decide` relies on must be read inside it.
pub(crate) async fn until_settled<T>(mut decide: impl AsyncFnMut() -> Result<T, Unsettled>) -> Result<T, EngineError> {
    for _ in 0..TRIES {
        match decide().await {
            Ok(done) => return Ok(done),
            Err(Unsettled::Conflict) => {}
            Err(Unsettled::Refused(error)) => return Err(error),
        }
    }
    Err(EngineError::Contended)
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
