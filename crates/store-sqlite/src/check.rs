//! What is wrong with what is kept, a sentence a fault.

use std::path::Path;

use kanvoy_store::StoreError;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use crate::error::broken;
use crate::open::reader;

/// Looks through the whole database in the file. A daemon may be at work on it.
pub async fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    let mut connection = reader(path).connect().await.map_err(|error| broken(&error))?;
    let faults = faults(&mut connection).await;
    connection.close().await.ok();
    faults
}

async fn faults(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("PRAGMA integrity_check").fetch_all(connection).await.map_err(|error| broken(&error))?;
    Ok(rows.iter().map(|row| row.get::<String, _>(0)).filter(|line| line != "ok").collect())
}
