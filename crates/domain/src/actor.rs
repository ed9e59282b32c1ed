//! Who did something: named on every event.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// Somebody with a login or a token.
    Person,
    /// An agent's instance.
    Agent,
    /// Kanvoy itself, following its own rules of admission and lifecycle.
    Engine,
    /// A rule or a schedule that somebody wrote.
    Rule,
}

/// `id` is a user's, an instance's or a rule's; the engine needs none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub kind: ActorKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Actor {
    pub fn person(id: impl Into<String>) -> Self {
        Self { kind: ActorKind::Person, id: Some(id.into()) }
    }

    pub const fn engine() -> Self {
        Self { kind: ActorKind::Engine, id: None }
    }
}
