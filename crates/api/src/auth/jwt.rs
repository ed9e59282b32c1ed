//! Signed tokens: a short-lived one for access, and one to get the next pair with. Both name the login that they belong to,
//! and are worth nothing without it: a login that was ended ends them at once.

use jsonwebtoken::{Algorithm, Header, Validation};
use kanvoy_domain::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::keys::{KeyRing, install};
use crate::problem::Problem;

/// No token of ours is a quarter as long.
pub(crate) const LONGEST: usize = 2_048;
const ISSUER: &str = "kanvoy";
/// By how much the clocks of two machines may differ.
const LEEWAY_SECONDS: i64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Access,
    Refresh,
}

impl Use {
    const fn audience(self) -> &'static str {
        match self {
            Self::Access => "kanvoy:api",
            Self::Refresh => "kanvoy:refresh",
        }
    }
}

/// Every one of them must be there, and of this very kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// Who.
    pub sub: String,
    /// By which login.
    pub sid: SessionId,
    pub jti: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
}

impl KeyRing {
    pub(crate) fn sign(
        &self,
        what: Use,
        sub: &str,
        sid: SessionId,
        jti: String,
        now: Timestamp,
        seconds: i64,
    ) -> Result<String, Problem> {
        install();
        let at = now.millis().div_euclid(1_000);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: what.audience().to_owned(),
            sub: sub.to_owned(),
            sid,
            jti,
            iat: at,
            nbf: at,
            exp: at + seconds,
        };
        let key = self.newest(now).map_err(Problem::internal)?;
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &key.signs()).map_err(Problem::internal)
    }

    /// What the token says, if it is one of ours and good now. Whatever it says of where its key could be had (`jku`,
    /// `jwk`, `x5u`) is not looked at: a key is one of ours, by name.
    pub(crate) fn check(&self, what: Use, token: &str, now: Timestamp) -> Option<Claims> {
        install();
        if token.len() > LONGEST {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        // What must be understood (`crit`) is not understood.
        if header.alg != Algorithm::HS256 || header.crit.is_some() || header.extras.inner().contains_key("crit") {
            return None;
        }
        let key = self.named(header.kid.as_deref()?)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[what.audience()]);
        // By our own clock, below: the library asks the machine's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.checks(), &validation).ok()?.claims;
        let at = now.millis().div_euclid(1_000);
        let begun = at.saturating_add(LEEWAY_SECONDS);
        let holds = claims.exp.saturating_add(LEEWAY_SECONDS) > at && claims.nbf <= begun && claims.iat <= begun;
        (holds && claims.iss == ISSUER && claims.aud == what.audience()).then_some(claims)
    }
}

/// Three parts with dots between, and none of the other kinds of token has a dot.
pub(crate) fn looks_like_one(token: &str) -> bool {
    token.matches('.').count() == 2
}
