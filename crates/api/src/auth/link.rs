//! The one-time link that logs a browser in: printed at start, or asked for by somebody who is logged in.

use std::collections::HashMap;

use chrono::TimeDelta;
use kanvoy_domain::Timestamp;
use kanvoy_domain::session::{LOCAL_PERSON, SecretHash};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::{hashed, new_secret};
use crate::app::Api;
use crate::problem::{Code, Problem};

const HOLDS_MINUTES: i64 = 15;
const MOST: usize = 100;

/// Links that nobody has opened yet. They do not survive a restart.
#[derive(Default)]
pub struct Links(Mutex<HashMap<SecretHash, (String, Timestamp)>>);

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LoginLink {
    /// Open it once, in a browser.
    #[schema(example = "http://127.0.0.1:8080/login/uU0nuZNNPgilLlLX2n2r-sSE7-N6U4DukIj3rOLvzek")]
    pub url: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

impl Api {
    /// One for the owner of the machine.
    pub fn login_link(&self) -> Result<LoginLink, Problem> {
        self.login_link_of(LOCAL_PERSON)
    }

    pub(crate) fn login_link_of(&self, person: &str) -> Result<LoginLink, Problem> {
        let code = new_secret()?;
        let now = self.clock.now();
        let expires_at = now.plus(TimeDelta::minutes(HOLDS_MINUTES));
        let mut links = self.links.0.lock();
        links.retain(|_, (_, until)| *until > now);
        if links.len() >= MOST {
            let detail = "too many login links are waiting to be opened";
            return Err(Problem::new(Code::TooManyRequests, detail).retry_after(60));
        }
        links.insert(hashed(&code), (person.to_owned(), expires_at));
        Ok(LoginLink { url: format!("{}/login/{code}", self.base_url()), expires_at })
    }

    /// Who made it; once for each code.
    pub(crate) fn open_link(&self, code: &str) -> Option<String> {
        let (person, until) = self.links.0.lock().remove(&hashed(code))?;
        (until > self.clock.now()).then_some(person)
    }
}
