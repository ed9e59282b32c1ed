//! Reading logins and the answers to idempotency keys.

use bytes::Bytes;
use kanvoy_domain::Timestamp;
use kanvoy_domain::session::{SecretHash, Session};
use kanvoy_store::{Answer, Claim, StoreError};
use kanvoy_store_sql::damaged;
use sqlx::{PgPool, Row};

use crate::error::broken;

pub(crate) async fn session(readers: &PgPool, hash: SecretHash) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query("SELECT person, created_at, expires_at FROM session WHERE hash = $1")
        .bind(hash.to_vec())
        .fetch_optional(readers)
        .await
        .map_err(|error| broken(&error))?;
    Ok(row.map(|row| Session {
        hash,
        person: row.get(0),
        created_at: Timestamp::from_millis(row.get(1)),
        expires_at: Timestamp::from_millis(row.get(2)),
    }))
}

pub(crate) async fn answer(readers: &PgPool, claim: &Claim) -> Result<Option<Answer>, StoreError> {
    let row = sqlx::query("SELECT fingerprint, status, body FROM claim WHERE person = $1 AND key = $2")
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
