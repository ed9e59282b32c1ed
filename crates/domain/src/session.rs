//! A login that is remembered: a browser's cookie today, personal tokens and refresh tokens beside it later. Only the
//! hash of the secret is kept.

use crate::time::Timestamp;

/// SHA-256 of the secret.
pub type SecretHash = [u8; 32];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub hash: SecretHash,
    /// The person it stands for: `local` is the owner of the machine's admin token.
    pub person: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The owner of the admin token in the data directory.
pub const LOCAL_PERSON: &str = "local";
