//! What SQLite says, in the words of the store.

use kanvoy_store::StoreError;
use sqlx::error::DatabaseError;

pub(crate) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// The writer fell over what was asked, or over another of its group.
pub(crate) fn interrupted() -> StoreError {
    StoreError::Unavailable("the store stumbled over this and began anew; what was asked may be written or not".into())
}

/// An error of a read, or of anything else that breaks no rule of the tables.
pub(crate) fn broken(error: &sqlx::Error) -> StoreError {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Damaged(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        };
    };
    match primary_code(database.as_ref()) {
        // SQLITE_CORRUPT and SQLITE_NOTADB
        11 | 26 => StoreError::Damaged(database.message().to_owned()),
        _ => StoreError::Unavailable(database.message().to_owned()),
    }
}

/// What a rule of the tables has refused; `None` when the error is of another kind, after which nothing is known of the
/// transaction.
pub(crate) fn refused(error: &sqlx::Error) -> Option<StoreError> {
    let database = error.as_database_error()?;
    // SQLITE_CONSTRAINT
    if primary_code(database) != 19 {
        return None;
    }
    if database.is_foreign_key_violation() {
        return Some(StoreError::Conflict);
    }
    let message = database.message();
    if !database.is_unique_violation() {
        // A CHECK or NOT NULL: the caller has sent something that its own types should have kept away.
        return Some(StoreError::Damaged(message.to_owned()));
    }
    Some(match message {
        _ if message.contains("task.external_ref") => StoreError::Taken("external_ref"),
        _ if message.contains("board.key") => StoreError::Taken("key"),
        _ if message.contains("task.number") => StoreError::Taken("number"),
        _ if message.contains("claim.key") => StoreError::Claimed,
        _ if message.contains("event.seq") => StoreError::Taken("seq"),
        _ => StoreError::Taken("id"),
    })
}

/// The last byte of an extended result code is the code that it extends.
fn primary_code(error: &dyn DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default() & 0xff
}
