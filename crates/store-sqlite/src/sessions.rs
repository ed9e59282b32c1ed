//! Reading logins and the answers to idempotency keys.

use bytes::Bytes;
use kanvoy_domain::session::{SecretHash, Session};
use kanvoy_domain::{SessionId, Timestamp};
use kanvoy_store::{Answer, Claim, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use crate::error::{broken, damaged};
use crate::tables::uuid;

/// A login, and what it is chosen by.
macro_rules! session {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, hash, refresh, person, name, scope, created_at, expires_at FROM session WHERE ",
            $rest
        )
    };
}

pub(crate) async fn session(readers: &SqlitePool, hash: SecretHash) -> Result<Option<Session>, StoreError> {
    let query = sqlx::query(session!("hash = ?")).bind(hash.to_vec());
    query.fetch_optional(readers).await.map_err(|error| broken(&error))?.as_ref().map(read).transpose()
}

pub(crate) async fn session_by_id(readers: &SqlitePool, id: SessionId) -> Result<Option<Session>, StoreError> {
    let query = sqlx::query(session!("id = ?")).bind(id.uuid().as_bytes().to_vec());
    query.fetch_optional(readers).await.map_err(|error| broken(&error))?.as_ref().map(read).transpose()
}

pub(crate) async fn sessions_of(readers: &SqlitePool, person: &str) -> Result<Vec<Session>, StoreError> {
    let rows = sqlx::query(session!("person = ? ORDER BY id")).bind(person).fetch_all(readers).await;
    rows.map_err(|error| broken(&error))?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Session, StoreError> {
    let hash = |bytes: &[u8]| SecretHash::try_from(bytes).map_err(|error| damaged("a login's hash", error));
    Ok(Session {
        id: SessionId::from_uuid(uuid(row.get(0))?),
        kind: row.get::<&str, _>(1).parse().map_err(|error| damaged("a login's kind", error))?,
        hash: hash(row.get(2))?,
        refresh: row.get::<Option<&[u8]>, _>(3).map(hash).transpose()?,
        person: row.get(4),
        name: row.get(5),
        scope: row.get::<&str, _>(6).parse().map_err(|error| damaged("a login's scope", error))?,
        created_at: Timestamp::from_millis(row.get(7)),
        expires_at: Timestamp::from_millis(row.get(8)),
    })
}

pub(crate) async fn answer(readers: &SqlitePool, claim: &Claim) -> Result<Option<Answer>, StoreError> {
    let row = sqlx::query("SELECT fingerprint, status, body FROM claim WHERE person = ? AND key = ?")
        .bind(&claim.person)
        .bind(&claim.key)
        .fetch_optional(readers)
        .await
        .map_err(|error| broken(&error))?;
    let Some(row) = row else { return Ok(None) };
    let fingerprint =
        SecretHash::try_from(row.get::<&[u8], _>(0)).map_err(|error| damaged("a claim's fingerprint", error))?;
    let status: Option<i64> = row.get(1);
    let said = match status {
        None => None,
        Some(status) => {
            let status = u16::try_from(status).map_err(|error| damaged("an answer's status", error))?;
            Some((status, Bytes::from(row.get::<Option<Vec<u8>>, _>(2).unwrap_or_default())))
        }
    };
    Ok(Some(Answer { fingerprint, said }))
}
