//! What stands in the path and after the question mark: read leniently (what is not known is passed over), checked strictly.

use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::problem::Problem;

/// What a list gives when not told otherwise, and at most.
const LIMIT: u32 = 50;
pub const MOST: u32 = 200;

/// The `{id}` of a route, as it was sent.
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => Err(Problem::not_found("thing of that name:", parts.uri.path())),
        }
    }
}

/// The query, pair by pair: a name may come several times.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        if parts.uri.query().is_none_or(str::is_empty) {
            return Ok(Self::default());
        }
        // Any text at all is a list of pairs: there is nothing that could be refused.
        Ok(Self(Query::try_from_uri(&parts.uri).map(|Query(pairs)| pairs).unwrap_or_default()))
    }
}

impl Params {
    pub fn of(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The last one wins; an empty one counts as not given.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name)?;
        Some(found.1.as_str()).filter(|text| !text.is_empty())
    }

    pub fn one<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(|text| text.parse().map_err(|why| bad(name, text, why)));
        parsed.transpose()
    }

    /// Repeated, or with commas between.
    pub fn many<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Vec<T>, Problem> {
        let mut all = Vec::new();
        for part in self.parts(name) {
            all.push(part.parse().map_err(|why| bad(name, part, why))?);
        }
        Ok(all)
    }

    /// The pieces of a list that is repeated or has commas between.
    pub fn parts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|part| !part.is_empty())
    }

    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => Err(bad(name, text, "must be true or false")),
        }
    }

    pub fn limit(&self) -> Result<u32, Problem> {
        let limit = self.one::<u32>("limit")?.unwrap_or(LIMIT);
        if (1..=MOST).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::parameter("limit", format!("is {limit}, but must be from 1 to {MOST}")))
    }

    /// The position that an earlier answer of the same list gave.
    pub fn cursor(&self) -> Result<Option<String>, Problem> {
        let read = |text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            String::from_utf8(bytes).ok()
        };
        let refused = || Problem::parameter("cursor", "is not one that this list has given out");
        self.text("cursor").map(|text| read(text).ok_or_else(refused)).transpose()
    }
}

/// A position as it is given out: opaque, so that nobody builds on what is in it.
pub fn cursor(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(position)
}

fn bad(name: &str, text: &str, why: impl Display) -> Problem {
    let shown: String = text.chars().take(40).collect();
    Problem::parameter(name, format!("is {shown:?}: {why}"))
}
