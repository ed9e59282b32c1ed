//! A login that is remembered, or a personal token: whatever a secret stands for, and how far it reaches. Only hashes of
//! secrets are kept.

use serde::{Deserialize, Serialize};

use crate::ids::{SessionId, UserId};
use crate::time::Timestamp;

/// SHA-256 of the secret.
pub type SecretHash = [u8; 32];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub kind: SessionKind,
    /// Of the browser's cookie, or of the personal token.
    pub hash: SecretHash,
    /// Of the refresh token that was given out last. An older one that comes again was stolen, or is stolen now.
    pub refresh: Option<SecretHash>,
    /// The person it stands for: a user's id, or [`LOCAL_PERSON`].
    pub person: String,
    /// What its owner calls it: a personal token's name.
    pub name: Option<String>,
    pub scope: Scope,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Session {
    /// The user it stands for; none for the owner of the machine.
    pub fn user(&self) -> Option<UserId> {
        self.person.parse().ok()
    }
}

/// The owner of the admin token in the data directory.
pub const LOCAL_PERSON: &str = "local";

/// What a personal token begins with, so that those who look for lost secrets know it.
pub const TOKEN_PREFIX: &str = "kanvoy_pat_";

macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident, $error:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("must be one of {}", [$($text),+].join(", "))]
        pub struct $error;

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text).ok_or($error)
            }
        }
    };
}
pub(crate) use spelled;

spelled! {
    SessionKind, NotASessionKind {
        /// Somebody has logged in: with a cookie, a refresh token, or both.
        Login = "login",
        /// A personal token, for programs.
        Token = "token",
    }
}

spelled! {
    /// How far a secret reaches, within what its owner may do. Each holds those before it.
    Scope, NotAScope {
        Read = "read",
        Write = "write",
        /// Everything: people, tokens and passwords too.
        Admin = "admin",
    }
}
