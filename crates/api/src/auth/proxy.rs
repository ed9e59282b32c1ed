//! A proxy in front that has asked people who they are (an OAuth2 sidecar), and says so in a header. Anybody could send that
//! header: it is believed only from the address that was configured, and only beside the secret that both share.

use std::net::{IpAddr, SocketAddr};

use axum::http::{Extensions, HeaderMap, HeaderName};
use kanvoy_domain::people::{LoginName, NewUser, Role};
use kanvoy_engine::{By, EngineError};
use subtle::ConstantTimeEq;

use super::{Principal, hashed};
use crate::app::Api;
use crate::problem::{Code, Problem};

pub struct TrustedProxy {
    pub addresses: Vec<IpAddr>,
    /// What it sends in `secret_header`.
    pub secret: String,
    pub secret_header: HeaderName,
    pub user_header: HeaderName,
    /// What somebody is who comes for the first time.
    pub role: Role,
}

pub const USER_HEADER: HeaderName = HeaderName::from_static("x-auth-request-user");
pub const SECRET_HEADER: HeaderName = HeaderName::from_static("x-kanvoy-proxy-secret");

/// Who is on the other end of the connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical())
}

impl TrustedProxy {
    fn vouches(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
        let from_it = peer.is_some_and(|peer| self.addresses.iter().any(|ours| ours.to_canonical() == peer));
        let mut sent = headers.get_all(&self.secret_header).iter();
        let (Some(secret), None) = (sent.next(), sent.next()) else { return false };
        let knows = secret.to_str().is_ok_and(|sent| bool::from(hashed(sent).ct_eq(&hashed(&self.secret))));
        from_it && knows
    }
}

impl Api {
    /// Whom the proxy vouches for. `None` when there is no proxy, or this did not come through it: what such a request
    /// says of itself counts for nothing.
    pub(crate) async fn by_proxy(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Option<Principal>, Problem> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        let mut named = headers.get_all(&proxy.user_header).iter();
        let (Some(name), others) = (named.next(), named.next()) else { return Ok(None) };
        if !proxy.vouches(headers, peer) {
            return Ok(None);
        }
        let refused = |why: &str| Problem::new(Code::Unauthenticated, format!("the proxy names {why}"));
        if others.is_some() {
            return Err(refused("several people at once"));
        }
        let name: LoginName = name
            .to_str()
            .ok()
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| refused("somebody whose name cannot be a login name here"))?;
        let user = match self.store.user_named(&name).await? {
            Some(user) => user,
            None => self.first_seen(&name, proxy.role).await?,
        };
        let person = self.people.get(&*self.store, user.id).await?;
        let person = person.filter(|person| person.is_welcome());
        let person = person.ok_or_else(|| refused("somebody who is disabled here"))?;
        Ok(Some(Principal::user(&person, kanvoy_domain::session::Scope::Admin, None)))
    }

    async fn first_seen(&self, name: &LoginName, role: Role) -> Result<kanvoy_domain::User, Problem> {
        let new = NewUser { name: name.to_string(), display_name: None, role, password: None };
        match self.engine.create_user(&By::engine(), new).await {
            Ok(made) => Ok(made.object),
            // Two requests of theirs at once.
            Err(EngineError::Taken { .. }) => {
                let found = self.store.user_named(name).await?;
                found.ok_or_else(|| Problem::internal("somebody was there and is gone"))
            }
            Err(other) => Err(other.into()),
        }
    }
}
