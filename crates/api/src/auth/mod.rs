//! Who comes in. Credentials are a bearer token (the machine's, a personal one, or a signed one of a login), a browser's
//! cookie, a word of a trusted proxy, or a one-time ticket for a socket; the checks that every request passes are in
//! [`guard`], and what a route asks of its caller is in [`needs`].

pub mod guard;
mod hosts;
pub mod jwt;
pub mod keys;
pub mod limits;
pub mod link;
pub mod live;
pub mod login;
pub mod needs;
pub mod password;
pub mod proxy;
pub mod session;
pub mod ticket;
pub mod token;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub(crate) use hosts::Hosts;
use kanvoy_domain::BoardId;
use kanvoy_domain::people::{Deed, Role, Verdict, may};
use kanvoy_domain::session::{LOCAL_PERSON, Scope, SecretHash};
use sha2::{Digest, Sha256};

use crate::auth::keys::KeyRing;
use crate::auth::limits::Limits;
use crate::auth::live::{LivePerson, LiveSession};
use crate::auth::proxy::TrustedProxy;
use crate::problem::{Code, Problem};

/// How people come in, as it is configured. By itself: with keys of its own that nobody keeps, and no proxy.
#[derive(Default)]
pub struct Access {
    pub keys: KeyRing,
    pub proxy: Option<TrustedProxy>,
    pub limits: Limits,
}

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Principal {
    /// As events name them: a user's id, or `local`.
    pub person: Arc<str>,
    pub name: Arc<str>,
    /// How far this login reaches, within what its owner may do.
    pub scope: Scope,
    /// The login that can be ended; the admin token's owner has none.
    pub session: Option<Arc<LiveSession>>,
    /// `None` for the owner of the machine, who may do everything.
    pub live: Option<Arc<LivePerson>>,
}

impl Principal {
    /// The owner of the data directory.
    pub fn local(session: Option<Arc<LiveSession>>) -> Self {
        let scope = session.as_ref().map_or(Scope::Admin, |session| session.scope);
        Self { person: LOCAL_PERSON.into(), name: "Local admin".into(), scope, session, live: None }
    }

    pub fn user(person: &Arc<LivePerson>, scope: Scope, session: Option<Arc<LiveSession>>) -> Self {
        let name = person.known().user.display_name.as_str().into();
        Self { person: person.id.to_string().into(), name, scope, session, live: Some(Arc::clone(person)) }
    }

    pub(crate) fn of_session(session: Arc<LiveSession>) -> Self {
        match session.person.clone() {
            None => Self::local(Some(session)),
            Some(person) => Self::user(&person, session.scope, Some(session)),
        }
    }

    /// As it is now: it may change while a stream is open.
    pub fn role(&self) -> Role {
        self.live.as_ref().map_or(Role::Admin, |person| person.role())
    }

    fn verdict(&self, what: Deed, board: Option<BoardId>) -> Verdict {
        let Some(person) = &self.live else { return may(Role::Admin, self.scope, what, true) };
        may(person.role(), self.scope, what, board.is_none_or(|board| person.is_on(board)))
    }

    /// Whether the board is there for them at all.
    pub fn sees(&self, board: BoardId) -> bool {
        self.verdict(Deed::Read, Some(board)) == Verdict::Yes
    }

    /// Refuses what they may not do whatever it is about. Of one board, [`Self::sees`] is asked besides.
    pub fn require(&self, what: Deed) -> Result<(), Problem> {
        if self.verdict(what, None) == Verdict::Yes {
            return Ok(());
        }
        let full = matches!(may(self.role(), Scope::Admin, what, true), Verdict::Yes);
        let detail = if full {
            format!("this token is for {} only; use one that reaches further", self.scope)
        } else {
            format!("your role is {}, which does not allow this; an admin may change it", self.role())
        };
        Err(Problem::new(Code::Forbidden, detail))
    }

    /// The boards that they may see; `None` for all.
    pub fn boards(&self) -> Option<Vec<BoardId>> {
        let person = self.live.as_ref()?;
        (person.role() != Role::Admin).then(|| person.boards())
    }

    /// What is beside all boards names boards and people: admins only.
    pub fn sees_system(&self) -> bool {
        self.verdict(Deed::Audit, None) == Verdict::Yes
    }

    /// Returns when they may not go on with what they began: the login has ended, or they are not welcome any more, or do
    /// not see the board that it is about.
    pub async fn must_go(&self, board: Option<BoardId>) -> Leave {
        let logged_out = async {
            match &self.session {
                Some(session) => session.ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let unwelcome = async {
            let Some(person) = &self.live else { return std::future::pending().await };
            let mut changes = person.changes();
            loop {
                if !person.is_welcome() {
                    return Leave::LoggedOut;
                }
                if board.is_some_and(|board| !self.sees(board)) {
                    return Leave::Unseen;
                }
                if changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        tokio::select! {
            () = logged_out => Leave::LoggedOut,
            why = unwelcome => why,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    LoggedOut,
    /// The board is not there for them any more.
    Unseen,
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
        "log in: send Authorization: Bearer with a token, POST /api/v1/auth/login, or open the link that the server printed",
    )
    .with_try("kanvoy auth login")
}

pub(crate) fn hashed(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// 256 bits that nobody can guess.
pub(crate) fn new_secret() -> Result<String, Problem> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
