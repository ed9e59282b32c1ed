//! A browser's login: a random cookie, of which only the hash is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

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
/// Sessions at hand; beyond it those that no stream lives by are forgotten and read again.
const MOST: usize = 1_000;

/// Sessions that were seen lately. Those that were ended here are cancelled, so that their sockets end too.
pub struct Sessions {
    /// A browser sends a host's cookies to each of its ports: boards beside each other need names of their own.
    cookie: String,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    sessions: HashMap<SecretHash, Arc<LiveSession>>,
    /// Counts endings, so that a session that was read before one is not kept after it.
    ended: u64,
}

pub struct LiveSession {
    pub hash: SecretHash,
    pub person: String,
    pub expires_at: Timestamp,
    pub ended: CancellationToken,
}

impl LiveSession {
    /// Returns when the login has ended, by itself or by its owner. To be asked again now and then: a machine that sleeps
    /// does not count.
    pub async fn over(&self, now: Timestamp) {
        let left = u64::try_from(self.expires_at.millis() - now.millis()).unwrap_or_default();
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(left)) => {}
        }
    }
}

impl Api {
    /// Who this cookie stands for, if it still does.
    pub(crate) async fn by_cookie(&self, secret: &str) -> Result<Option<Principal>, Problem> {
        let hash = hashed(secret);
        let session = loop {
            let read_at = match self.sessions.known(hash) {
                Ok(session) => break session,
                Err(read_at) => read_at,
            };
            let Some(session) = self.store.session(hash).await? else { return Ok(None) };
            if let Some(kept) = self.sessions.keep(&session, read_at) {
                break kept;
            }
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

    /// Ends the login and every stream that lives by it.
    pub(crate) async fn end_session(&self, session: &LiveSession) -> Result<(), Problem> {
        self.engine.session_end(session.hash).await?;
        session.ended.cancel();
        self.sessions.end(session.hash);
        Ok(())
    }

    /// Clears the browser's.
    pub(crate) fn no_cookie(&self) -> HeaderValue {
        self.cookie("", 0)
    }

    fn cookie(&self, secret: &str, max_age: i64) -> HeaderValue {
        let over_tls = self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
        let secure = if over_tls { "; Secure" } else { "" };
        header(&format!("{}={secret}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}", self.sessions.cookie))
    }
}

impl Sessions {
    /// The name of the cookie is made from what is different for each installation and no secret once hashed.
    pub fn of(admin_token: &str) -> Self {
        let mark: String = hashed(&format!("cookie of {}", admin_token.trim())).iter().take(4).map(hex).collect();
        Self { cookie: format!("{COOKIE}_{mark}"), live: Mutex::default() }
    }

    /// The cookie's secret, if the browser sent one.
    pub fn sent<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|all| all.split(';'))
            .filter_map(|one| one.trim().split_once('='))
            .find_map(|(name, value)| (name == self.cookie && !value.is_empty()).then_some(value))
    }

    /// The session, or when it was asked for.
    fn known(&self, hash: SecretHash) -> Result<Arc<LiveSession>, u64> {
        let live = self.live.lock();
        live.sessions.get(&hash).cloned().ok_or(live.ended)
    }

    /// `None` when some session has ended since it was read: it may have been this one.
    fn keep(&self, session: &Session, read_at: u64) -> Option<Arc<LiveSession>> {
        let mut live = self.live.lock();
        if live.ended != read_at {
            return None;
        }
        if live.sessions.len() >= MOST {
            // Whoever holds one must hear of its end.
            live.sessions.retain(|_, session| Arc::strong_count(session) > 1);
        }
        // Two requests may have read it at once: one entry stays, so that ending it reaches both.
        let entry = live.sessions.entry(session.hash).or_insert_with(|| {
            Arc::new(LiveSession {
                hash: session.hash,
                person: session.person.clone(),
                expires_at: session.expires_at,
                ended: CancellationToken::new(),
            })
        });
        Some(Arc::clone(entry))
    }

    fn end(&self, hash: SecretHash) {
        let mut live = self.live.lock();
        live.ended += 1;
        if let Some(session) = live.sessions.remove(&hash) {
            session.ended.cancel();
        }
    }
}

fn hex(byte: &u8) -> String {
    format!("{byte:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u16) -> Session {
        let mut hash = [0; 32];
        hash[..2].copy_from_slice(&number.to_be_bytes());
        let at = Timestamp::from_millis(0);
        Session { hash, person: LOCAL_PERSON.to_owned(), created_at: at, expires_at: at }
    }

    #[test]
    fn what_ended_while_it_was_read_is_not_kept() {
        let sessions = Sessions::of("token");
        let read_at = sessions.known(session(1).hash).err().expect("is not known");
        sessions.end(session(1).hash);
        assert!(sessions.keep(&session(1), read_at).is_none());
    }

    #[test]
    fn a_crowd_does_not_cut_a_stream_off_from_its_logout() {
        let sessions = Sessions::of("token");
        let held = sessions.keep(&session(0), 0).expect("is kept");
        for number in 1..3_000 {
            sessions.keep(&session(number), 0);
        }
        assert!(sessions.live.lock().sessions.len() <= MOST);
        sessions.end(held.hash);
        assert!(held.ended.is_cancelled());
    }
}
