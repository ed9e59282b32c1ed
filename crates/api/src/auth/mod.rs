//! Who comes in. Credentials are a bearer token, a browser's cookie, or a one-time ticket for a socket; the checks that every
//! request passes are in [`guard`].

pub mod guard;
mod hosts;
pub mod link;
pub mod session;
pub mod ticket;
pub mod token;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub(crate) use hosts::Hosts;
use kanvoy_domain::session::{LOCAL_PERSON, SecretHash};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::auth::session::LiveSession;
use crate::problem::{Code, Problem};

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Principal {
    pub person: Arc<str>,
    pub name: Arc<str>,
    pub role: Role,
    /// The login that can be ended; the admin token's owner has none.
    pub session: Option<Arc<LiveSession>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Admin,
}

impl Principal {
    /// The owner of the data directory.
    pub fn local(session: Option<Arc<LiveSession>>) -> Self {
        Self { person: LOCAL_PERSON.into(), name: "Local admin".into(), role: Role::Admin, session }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(not_logged_in)
    }
}

pub fn not_logged_in() -> Problem {
    Problem::new(
        Code::Unauthenticated,
        "log in: send Authorization: Bearer with the token from the data directory, or open the link that the server printed",
    )
    .with_try("kanvoy auth link")
}

fn hashed(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// 256 bits that nobody can guess.
fn new_secret() -> Result<String, Problem> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
