//! How a commit becomes rows, for every store that keeps them in SQL tables: the same statements, the same numbering, the
//! same groups. A store brings its connection ([`Pen`]) and its own reading.
//!
//! Texts hold `?` for values and are understood by SQLite and Postgres alike; where rows of one table travel together, each
//! store makes the text from [`Rows`] in its own way. Knows nothing of sqlx, files or servers.
//!
//! Start reading at [`writer`].

pub mod arrows;
mod ledger;
pub mod plan;
pub mod position;
mod script;
pub mod tables;
pub mod writer;

use kanvoy_store::StoreError;
pub use ledger::{Counter, Ledger, Standing};
pub use script::{Expect, Item, Kind, Missed, Rows, Script, Stop, Value};
pub use writer::{Ask, GROUP, Pen, Writer};

/// A value that is not what we wrote.
pub fn damaged(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("{what}: {why}"))
}
