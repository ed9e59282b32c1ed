//! The admin token: one secret in the data directory, which the CLI reads and everything else may be given.

use kanvoy_domain::session::SecretHash;
use subtle::ConstantTimeEq;

use super::{Principal, hashed};

pub struct AdminToken {
    hash: SecretHash,
    /// Cloned for each request: making one would copy its names.
    owner: Principal,
}

impl AdminToken {
    pub fn new(token: &str) -> Self {
        Self { hash: hashed(token.trim()), owner: Principal::local(None) }
    }

    /// Hashes are compared, in constant time: neither length nor beginning of the token can be felt out.
    pub fn owner(&self, presented: &str) -> Option<Principal> {
        bool::from(hashed(presented).ct_eq(&self.hash)).then(|| self.owner.clone())
    }
}
