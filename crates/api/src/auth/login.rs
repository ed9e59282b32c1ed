//! Logging in with a name and a password, and what one gets for it: a login in the store, a cookie for browsers, and a pair of
//! signed tokens for programs.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::TimeDelta;
use kanvoy_domain::people::LoginName;
use kanvoy_domain::session::{Scope, Session, SessionKind};
use kanvoy_domain::{SessionId, Timestamp};
use kanvoy_engine::{By, NewSession};
use serde::Serialize;
use utoipa::ToSchema;

use super::jwt::{Claims, Use};
use super::live::{LivePerson, Named};
use super::{Principal, hashed, new_secret};
use crate::app::Api;
use crate::problem::{Code, Problem};

pub(crate) const LASTS_DAYS: i64 = 30;
pub(crate) const ACCESS_SECONDS: i64 = 15 * 60;

/// What a login gives.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tokens {
    /// Send it as `Authorization: Bearer`. Short-lived.
    pub access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    pub token_type: &'static str,
    /// Seconds that the access token lasts.
    #[schema(example = 900)]
    pub expires_in: i64,
    /// Good once, for the next pair: see `POST /auth/refresh`.
    pub refresh_token: String,
    /// When the login ends unless it is refreshed before.
    #[schema(value_type = String, format = DateTime)]
    pub refresh_expires_at: Timestamp,
    #[schema(value_type = String, format = Uuid)]
    pub session_id: SessionId,
}

impl Api {
    /// Somebody whose password it is. Whatever is wrong, the answer is the same and takes as long.
    pub(crate) async fn by_password(
        &self,
        name: &str,
        password: String,
        from: Option<IpAddr>,
    ) -> Result<Arc<LivePerson>, Problem> {
        self.limits.login(name, from)?;
        let user = match name.parse::<LoginName>() {
            Ok(name) => self.store.user_named(&name).await?,
            Err(_) => None,
        };
        let user = user.filter(|user| user.disabled_at.is_none());
        let kept = user.as_ref().and_then(|user| user.password.clone());
        let fits = self.passwords.fits(kept, password).await?;
        let refused = || Problem::new(Code::Unauthenticated, "no login has this name and password");
        let user = user.filter(|_| fits).ok_or_else(refused)?;
        let person = self.people.refresh(&*self.store, user.id).await?;
        person.filter(|person| person.is_welcome()).ok_or_else(refused)
    }

    /// A new login of theirs: the tokens, and the secret for the cookie.
    pub(crate) async fn begin_login(&self, person: &LivePerson) -> Result<(Tokens, String), Problem> {
        let (cookie, jti) = (new_secret()?, new_secret()?);
        let by = By::person(&person.id.to_string());
        let new = NewSession {
            kind: SessionKind::Login,
            person: person.id.to_string(),
            hash: hashed(&cookie),
            refresh: Some(hashed(&jti)),
            name: None,
            scope: Scope::Admin,
            lasts: TimeDelta::days(LASTS_DAYS),
        };
        let session = self.engine.begin_session(&by, new).await?;
        let tokens = self.tokens(&session.person, session.id, jti, session.expires_at)?;
        Ok((tokens, cookie))
    }

    fn tokens(&self, person: &str, id: SessionId, jti: String, until: Timestamp) -> Result<Tokens, Problem> {
        let now = self.clock.now();
        Ok(Tokens {
            access_token: self.keys.sign(Use::Access, person, id, new_secret()?, now, ACCESS_SECONDS)?,
            token_type: "Bearer",
            expires_in: ACCESS_SECONDS,
            refresh_token: self.keys.sign(Use::Refresh, person, id, jti, now, LASTS_DAYS * 24 * 3_600)?,
            refresh_expires_at: until,
            session_id: id,
        })
    }

    /// Whoever shows a signed token, if its login still holds.
    pub(crate) async fn by_jwt(&self, token: &str) -> Result<Option<Principal>, Problem> {
        let Some(claims) = self.keys.check(Use::Access, token, self.clock.now()) else { return Ok(None) };
        let session = self.live_session(Named::Id(claims.sid)).await?;
        let who = session.filter(|session| session.kind == SessionKind::Login).map(Principal::of_session);
        Ok(who.filter(|who| *who.person == *claims.sub))
    }

    /// Whose refresh token it is; `None` when it is none of ours, or its login has ended.
    pub(crate) async fn by_refresh_token(&self, token: &str) -> Result<Option<(Principal, Claims)>, Problem> {
        let Some(claims) = self.keys.check(Use::Refresh, token, self.clock.now()) else { return Ok(None) };
        let session = self.live_session(Named::Id(claims.sid)).await?;
        let who = session.map(Principal::of_session).filter(|who| *who.person == *claims.sub);
        Ok(who.map(|who| (who, claims)))
    }

    /// The next pair. A refresh token that was used before ends the login: one of the two who have it has stolen it.
    pub(crate) async fn refreshed(&self, who: &Principal, claims: &Claims) -> Result<Tokens, Problem> {
        let jti = new_secret()?;
        let lasts = TimeDelta::days(LASTS_DAYS);
        if self.engine.refresh_session(claims.sid, hashed(&claims.jti), hashed(&jti), lasts).await? {
            let until = self.clock.now().plus(lasts);
            if let Some(session) = &who.session {
                session.lasts_until(until);
            }
            return self.tokens(&who.person, claims.sid, jti, until);
        }
        if let Some(session) = self.store.session_by_id(claims.sid).await? {
            tracing::warn!(session.id = %session.id, "a refresh token was used twice; its login has been ended");
            self.end_logins(&By::engine(), &[session], "refresh token used twice").await?;
        }
        Err(Problem::new(
            Code::Unauthenticated,
            "the refresh token was used before, so its login has been ended; log in again",
        ))
    }

    /// Ends them, and every stream that lives by them.
    pub(crate) async fn end_logins(&self, by: &By, sessions: &[Session], reason: &str) -> Result<(), Problem> {
        self.engine.end_sessions(by, sessions, reason).await?;
        for session in sessions {
            self.sessions.ended(session.id).await;
        }
        Ok(())
    }
}
