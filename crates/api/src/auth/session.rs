//! A browser's login: a random cookie, of which only the hash is kept. Personal tokens are found the same way.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::TimeDelta;
use kanvoy_domain::session::{Scope, SessionKind, TOKEN_PREFIX};
use kanvoy_engine::{By, NewSession};

use super::live::{LiveSession, Named};
use super::login::LASTS_DAYS;
use super::{Principal, hashed, new_secret};
use crate::app::{Api, header};
use crate::problem::Problem;

const COOKIE: &str = "kanvoy_session";

impl Api {
    /// Who this cookie stands for, if it still does.
    pub(crate) async fn by_cookie(&self, secret: &str) -> Result<Option<Principal>, Problem> {
        let session = self.live_session(Named::Hash(hashed(secret))).await?;
        Ok(session.filter(|session| session.kind == SessionKind::Login).map(Principal::of_session))
    }

    /// Whose personal token it is, if it still is one.
    pub(crate) async fn by_personal_token(&self, token: &str) -> Result<Option<Principal>, Problem> {
        if !token.starts_with(TOKEN_PREFIX) {
            return Ok(None);
        }
        let session = self.live_session(Named::Hash(hashed(token))).await?;
        Ok(session.filter(|session| session.kind == SessionKind::Token).map(Principal::of_session))
    }

    /// Logs the browser of whoever made its link in; gives the cookie to set.
    pub(crate) async fn begin_session(&self, person: &str) -> Result<HeaderValue, Problem> {
        let secret = new_secret()?;
        let new = NewSession {
            kind: SessionKind::Login,
            person: person.to_owned(),
            hash: hashed(&secret),
            refresh: None,
            name: None,
            scope: Scope::Admin,
            lasts: TimeDelta::days(LASTS_DAYS),
        };
        self.engine.begin_session(&By::person(person), new).await?;
        Ok(self.cookie(&secret))
    }

    /// Ends the login and every socket that lives by it; gives the cookie that clears the browser's.
    pub(crate) async fn end_session(&self, by: &Principal, session: &LiveSession) -> Result<HeaderValue, Problem> {
        if let Some(kept) = self.store.session_by_id(session.id).await? {
            self.end_logins(&By::person(&by.person), &[kept], "logged out").await?;
        }
        session.ended.cancel();
        Ok(self.set_cookie("", 0))
    }

    pub(crate) fn cookie(&self, secret: &str) -> HeaderValue {
        self.set_cookie(secret, LASTS_DAYS * 24 * 3_600)
    }

    fn set_cookie(&self, secret: &str, max_age: i64) -> HeaderValue {
        let over_tls = self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
        let secure = if over_tls { "; Secure" } else { "" };
        header(&format!("{COOKIE}={secret}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"))
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
