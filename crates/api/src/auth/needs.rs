//! What a route asks of its caller, in one table: the guard holds to it, and the description of the API says it.
//!
//! Which board it is about is asked by the handlers, by way of [`crate::routes`]: what somebody may not see is not there.

use axum::http::Method;
use kanvoy_domain::people::Deed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No login at all.
    Nothing,
    /// Any login, whatever it may do.
    Login,
    Deed(Deed),
}

/// `path` is the route's template, such as `/api/v1/boards/{id}`.
pub fn need(method: &Method, path: &str) -> Need {
    use Deed::{Administer, Audit, Found, OwnAccount, Read, Write};
    let reads = method.is_safe();
    let Some(rest) = path.strip_prefix("/api/v1/") else {
        return match path {
            "/healthz" | "/readyz" | "/login/{code}" | "/" => Need::Nothing,
            _ => Need::Login,
        };
    };
    match rest {
        "auth/login" | "auth/refresh" => Need::Nothing,
        "auth/me" | "auth/ticket" | "auth/logout" | "openapi.json" => Need::Login,
        "auth/link" | "tokens" | "tokens/{id}" | "users/{id}/password" => Need::Deed(OwnAccount),
        "users/{id}/sessions" | "users/{id}/sessions/{session}" => Need::Deed(OwnAccount),
        "events" => Need::Deed(Audit),
        "boards" if !reads => Need::Deed(Found),
        "boards/import" => Need::Deed(Found),
        _ if rest == "users" || rest.starts_with("users/") || rest == "auth/rotate-keys" => Need::Deed(Administer),
        _ if reads => Need::Deed(Read),
        _ => Need::Deed(Write),
    }
}

impl Need {
    /// As the description of the API says it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Login => "login",
            Self::Deed(Deed::Read) => "read",
            Self::Deed(Deed::Write) => "write",
            Self::Deed(Deed::Found) => "found",
            Self::Deed(Deed::OwnAccount) => "account",
            Self::Deed(Deed::Audit) => "audit",
            Self::Deed(Deed::Administer) => "admin",
        }
    }
}
