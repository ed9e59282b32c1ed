//! A ticket lets a socket in where no header can be set: good once, and only for seconds, since it stands in an address.

use std::collections::HashMap;

use chrono::TimeDelta;
use kanvoy_domain::Timestamp;
use kanvoy_domain::session::SecretHash;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Principal, hashed, new_secret};
use crate::app::Api;
use crate::problem::{Code, Problem};

const HOLDS_SECONDS: i64 = 30;
const MOST: usize = 10_000;

/// Tickets that nobody has used yet.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<SecretHash, (Principal, Timestamp)>>);

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ticket {
    /// Append it to a stream's address as `?ticket=`.
    pub ticket: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

impl Api {
    /// The ticket ends with the login that it was made under.
    pub(crate) fn new_ticket(&self, who: &Principal) -> Result<Ticket, Problem> {
        let ticket = new_secret()?;
        let now = self.clock.now();
        let expires_at = now.plus(TimeDelta::seconds(HOLDS_SECONDS));
        let mut tickets = self.tickets.0.lock();
        if tickets.len() >= MOST {
            tickets.retain(|_, (_, until)| *until > now);
        }
        if tickets.len() >= MOST {
            let detail = "too many tickets are waiting to be used";
            return Err(Problem::new(Code::TooManyRequests, detail).retry_after(30));
        }
        tickets.insert(hashed(&ticket), (who.clone(), expires_at));
        Ok(Ticket { ticket, expires_at })
    }

    pub(crate) fn by_ticket(&self, ticket: &str) -> Option<Principal> {
        let (who, until) = self.tickets.0.lock().remove(&hashed(ticket))?;
        let logged_out = who.session.as_ref().is_some_and(|session| session.ended.is_cancelled());
        let welcome = who.live.as_ref().is_none_or(|person| person.is_welcome());
        (until > self.clock.now() && !logged_out && welcome).then_some(who)
    }
}
