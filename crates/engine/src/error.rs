//! Why a verb did nothing: a variant where the caller answers differently, a sentence where a person reads.

use kanvoy_domain::task::Hindrance;
use kanvoy_domain::{Invalid, Refusal, State, Version};
use kanvoy_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Illegal(#[from] Refusal),
    #[error("it was changed meanwhile: its version is {current} now")]
    Stale { current: Version },
    /// The way round, as task numbers: `KAN-1 → KAN-2 → KAN-1`.
    #[error("that would make a circle: {}", path.join(" → "))]
    Circle { path: Vec<String> },
    #[error("{detail}")]
    Taken { field: &'static str, detail: String },
    #[error("{what} cannot be removed: {}", list(hindrances))]
    Hindered { what: String, hindrances: Vec<Hindrance> },
    #[error("the last column of a state stays: no column would hold {}", states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", "))]
    Homeless { states: Vec<State> },
    /// A board, or a task.
    #[error("{what} is archived; unarchive it first")]
    Archived { what: String },
    /// Others wrote faster than we could decide. Nothing is wrong; ask again.
    #[error("others changed it too often meanwhile; try again")]
    Contended,
    /// The idempotency key was used before: the answer is in the store.
    #[error("the idempotency key was used before")]
    Claimed,
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl EngineError {
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }
}

impl From<StoreError> for EngineError {
    /// For the places where a conflict is not expected and asking again is all that can be advised.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Contended,
            StoreError::Taken(field) => Self::Taken { field, detail: format!("{field} is taken") },
            StoreError::NotFound => Self::NotFound { what: "row", id: String::new() },
            StoreError::BadCursor => Self::Invalid(Invalid::new("cursor", "is not a position that this list gave")),
            StoreError::Claimed => Self::Claimed,
            StoreError::Unavailable(why) => Self::Unavailable(why),
            StoreError::Damaged(why) => Self::Damaged(why),
        }
    }
}

/// The first few, and how many more.
fn list(hindrances: &[Hindrance]) -> String {
    const SHOWN: usize = 5;
    let mut text = hindrances.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more) = hindrances.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
