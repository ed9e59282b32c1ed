//! Where every log stands: read once, and kept from group to group, since nobody else writes to the file.

use kanvoy_domain::BoardId;
use kanvoy_domain::event::Log;
use kanvoy_store::StoreError;
use kanvoy_store_sql::tables::uuid;
use kanvoy_store_sql::{Counter, Ledger, Standing};
use sqlx::{Row, SqliteConnection};

use crate::error::broken;

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Ledger, StoreError> {
    let mut logs = Vec::new();
    let mut next_log = 0;
    let rows = sqlx::query(
        "SELECT l.id, l.head_seq, l.next_number, b.id, b.deleted_at IS NOT NULL, b.importing
         FROM log l LEFT JOIN board b ON b.log = l.id",
    );
    for row in rows.fetch_all(&mut *connection).await.map_err(|error| broken(&error))? {
        let log: i64 = row.get(0);
        let name = match row.get::<Option<&[u8]>, _>(3) {
            Some(id) => Log::Board(BoardId::from_uuid(uuid(id)?)),
            None if log == 0 => Log::System,
            None => return Err(StoreError::Damaged(format!("log {log} belongs to no board"))),
        };
        let standing = match (row.get::<Option<bool>, _>(4), row.get::<Option<bool>, _>(5)) {
            (Some(true), _) => Standing::Deleted,
            (_, Some(true)) => Standing::Importing,
            _ => Standing::Seen,
        };
        let counter = Counter {
            log,
            head: row.get::<i64, _>(1).unsigned_abs(),
            next_number: row.get::<i64, _>(2).unsigned_abs(),
            standing,
        };
        next_log = next_log.max(log + 1);
        logs.push((name, counter));
    }
    // A number whose events are still being removed is not given out again.
    let leftover = sqlx::query_scalar::<_, Option<i64>>("SELECT max(log) FROM leftover").fetch_one(connection);
    let leftover = leftover.await.map_err(|error| broken(&error))?;
    let mut ledger = Ledger::begin(next_log.max(leftover.unwrap_or_default() + 1));
    for (name, counter) in logs {
        ledger.enter(name, counter);
    }
    Ok(ledger)
}
