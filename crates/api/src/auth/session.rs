//! A browser's login: a random cookie, of which only the hash is kept.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::TimeDelta;
use kanvoy_domain::Timestamp;
use kanvoy_domain::session::{LOCAL_PERSON, SecretHash, Session};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Principal, hashed, new_secret};
use crate::app::{Api, header};
use crate::problem::Problem;

const COOKIE: &str = "kanvoy_session";
const LASTS_DAYS: i64 = 30;
/// Sessions at hand; beyond it all are forgotten and read again.
const MOST: usize = 1_000;

/// Sessions that were seen lately. Those that were ended here are cancelled, so that their sockets end too.
#[derive(Default)]
pub struct Sessions {
    live: Mutex<HashMap<SecretHash, Arc<LiveSession>>>,
}

pub struct LiveSession {
    pub hash: SecretHash,
    pub person: String,
    pub expires_at: Timestamp,
    pub ended: CancellationToken,
}

impl Api {
    /// Who this cookie stands for, if it still does.
    pub(crate) async fn by_cookie(&self, secret: &str) -> Result<Option<Principal>, Problem> {
        let hash = hashed(secret);
        let known = self.sessions.live.lock().get(&hash).cloned();
        let session = match known {
            Some(session) => session,
            None => match self.store.session(hash).await? {
                Some(session) => self.sessions.keep(&session),
                None => return Ok(None),
            },
        };
        let holds = !session.ended.is_cancelled() && session.expires_at > self.clock.now();
        Ok(holds.then(|| Principal::local(Some(session))))
    }

    /// Logs a browser in; gives the cookie to set.
    pub(crate) async fn begin_session(&self) -> Result<HeaderValue, Problem> {
        let secret = new_secret()?;
        let now = self.clock.now();
        let session = Session {
            hash: hashed(&secret),
            person: LOCAL_PERSON.to_owned(),
            created_at: now,
            expires_at: now.plus(TimeDelta::days(LASTS_DAYS)),
        };
        self.engine.session_begin(session).await?;
        Ok(self.cookie(&secret, LASTS_DAYS * 24 * 3600))
    }

    /// Ends the login and every socket that lives by it; gives the cookie that clears the browser's.
    pub(crate) async fn end_session(&self, session: &LiveSession) -> Result<HeaderValue, Problem> {
        self.engine.session_end(session.hash).await?;
        session.ended.cancel();
        self.sessions.live.lock().remove(&session.hash);
        Ok(self.cookie("", 0))
    }

    fn cookie(&self, secret: &str, max_age: i64) -> HeaderValue {
        let over_tls = self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
        let secure = if over_tls { "; Secure" } else { "" };
        header(&format!("{COOKIE}={secret}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"))
    }
}

impl Sessions {
    fn keep(&self, session: &Session) -> Arc<LiveSession> {
        let mut live = self.live.lock();
        if live.len() >= MOST {
            live.clear();
        }
        // Two requests may have read it at once: one entry stays, so that ending it reaches both.
        let entry = live.entry(session.hash).or_insert_with(|| {
            Arc::new(LiveSession {
                hash: session.hash,
                person: session.person.clone(),
                expires_at: session.expires_at,
                ended: CancellationToken::new(),
            })
        });
        Arc::clone(entry)
    }
}

/// The cookie's secret, if the browser sent one.
pub fn sent(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|all| all.split(';'))
        .filter_map(|one| one.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE && !value.is_empty()).then_some(value))
}
