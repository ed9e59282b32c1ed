//! What Postgres says, in the words of the store.

use kanvoy_store::StoreError;
use sqlx::error::DatabaseError;

pub(crate) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// The writer fell over what was asked, or over another of its group.
pub(crate) fn interrupted() -> StoreError {
    StoreError::Unavailable("the store stumbled over this and began anew; what was asked may be written or not".into())
}

pub(crate) fn too_slow() -> StoreError {
    StoreError::Unavailable("the database does not answer".into())
}

/// An error of a read, or of anything else that breaks no rule of the tables.
pub(crate) fn broken(error: &sqlx::Error) -> StoreError {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Damaged(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        };
    };
    match code(database.as_ref()).as_str() {
        // data_corrupted and index_corrupted
        "XX001" | "XX002" => StoreError::Damaged(database.message().to_owned()),
        _ => StoreError::Unavailable(database.message().to_owned()),
    }
}

/// What a rule of the tables has refused; `None` when the error is of another kind, after which the transaction is over.
pub(crate) fn refused(error: &sqlx::Error) -> Option<StoreError> {
    let database = error.as_database_error()?;
    let code = code(database);
    Some(match code.as_str() {
        // unique_violation
        "23505" => match database.constraint().unwrap_or_default() {
            "task_by_external_ref" => StoreError::Taken("external_ref"),
            "board_key" => StoreError::Taken("key"),
            "task_number" => StoreError::Taken("number"),
            "claim_key" => StoreError::Claimed,
            "event_seq" => StoreError::Taken("seq"),
            _ => StoreError::Taken("id"),
        },
        // foreign_key_violation, and cardinality_violation: two rows of one group for one key, which stand when they go alone
        "23503" | "21000" => StoreError::Conflict,
        // A CHECK or NOT NULL, or a text that no text can be: the caller has sent something that its own types should have
        // kept away.
        _ if code.starts_with("23") || code.starts_with("22") => StoreError::Damaged(database.message().to_owned()),
        _ => return None,
    })
}

/// Whether the server has ended the transaction in favour of another, or because the server itself ends: the same may
/// well succeed a moment later.
pub(crate) fn passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // serialization_failure, deadlock_detected, admin_shutdown, crash_shutdown, cannot_connect_now
        sqlx::Error::Database(database) => {
            matches!(code(database.as_ref()).as_str(), "40001" | "40P01" | "57P01" | "57P02" | "57P03")
        }
        _ => false,
    }
}

fn code(error: &dyn DatabaseError) -> String {
    error.code().unwrap_or_default().into_owned()
}
