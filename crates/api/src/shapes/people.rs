//! What people, their logins and their tokens look like outside. No password and no secret is among it.

use kanvoy_domain::people::Role;
use kanvoy_domain::session::{Scope, Session, SessionKind};
use kanvoy_domain::{Membership, Seq, SessionId, Timestamp, User, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Role)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Reads the boards that they are a member of.
    Viewer,
    /// Also works on them, says who else belongs to them, and makes boards.
    Member,
    /// Everything, on every board.
    Admin,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Viewer => Self::Viewer,
            RoleName::Member => Self::Member,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// What a token may be used for, within what its owner's role allows. Each holds those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Scope)]
#[serde(rename_all = "snake_case")]
pub enum ScopeName {
    Read,
    Write,
    /// Everything: people, tokens and passwords too.
    Admin,
}

impl ScopeName {
    pub fn within(scope: Scope) -> Vec<Self> {
        let all = [Self::Read, Self::Write, Self::Admin];
        all.into_iter().filter(|name| Scope::from(*name) <= scope).collect()
    }
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Read => Self::Read,
            ScopeName::Write => Self::Write,
            ScopeName::Admin => Self::Admin,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserView<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    /// What they log in with. Never changes, and is never used again.
    #[schema(example = "ada", max_length = 64)]
    name: &'a str,
    #[schema(example = "Ada Lovelace", max_length = 200)]
    display_name: &'a str,
    role: RoleName,
    /// Whether they can log in with a password.
    has_password: bool,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    disabled_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    #[schema(minimum = 1)]
    version: u64,
    /// Of a write: the `seq`, in the system's log, of the event that it led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, nullable = false)]
    seq: Option<Seq>,
}

impl<'a> UserView<'a> {
    pub fn new(user: &'a User, seq: Option<Seq>) -> Self {
        Self {
            id: user.id,
            name: user.name.as_str(),
            display_name: &user.display_name,
            role: user.role.into(),
            has_password: user.password.is_some(),
            disabled_at: user.disabled_at,
            created_at: user.created_at,
            updated_at: user.updated_at,
            version: user.version,
            seq,
        }
    }
}

/// Somebody who belongs to a board.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub struct MemberView<'a> {
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    name: &'a str,
    display_name: &'a str,
    role: RoleName,
    #[schema(value_type = String, format = DateTime)]
    added_at: Timestamp,
    /// Of a write: the `seq` of the event that it led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, nullable = false)]
    seq: Option<Seq>,
}

impl<'a> MemberView<'a> {
    pub fn new((member, user): &'a (Membership, User), seq: Option<Seq>) -> Self {
        Self {
            user_id: user.id,
            name: user.name.as_str(),
            display_name: &user.display_name,
            role: user.role.into(),
            added_at: member.added_at,
            seq,
        }
    }
}

/// A login, or a personal token.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: SessionId,
    kind: SessionKindName,
    /// Of a personal token: what its owner calls it.
    #[schema(required = true)]
    name: Option<&'a str>,
    scopes: Vec<ScopeName>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The one that this very request came by.
    current: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SessionKind)]
#[serde(rename_all = "snake_case")]
enum SessionKindName {
    Login,
    Token,
}

impl<'a> SessionView<'a> {
    pub fn new(session: &'a Session, current: Option<SessionId>) -> Self {
        Self {
            id: session.id,
            kind: match session.kind {
                SessionKind::Login => SessionKindName::Login,
                SessionKind::Token => SessionKindName::Token,
            },
            name: session.name.as_deref(),
            scopes: ScopeName::within(session.scope),
            created_at: session.created_at,
            expires_at: session.expires_at,
            current: current == Some(session.id),
        }
    }
}

/// A personal token that has just been made: the only time that it is shown.
#[derive(Serialize, ToSchema)]
pub struct NewToken<'a> {
    #[schema(example = "kanvoy_pat_uU0nuZNNPgilLlLX2n2r-sSE7-N6U4DukIj3rOLvzek")]
    pub token: &'a str,
    #[serde(flatten)]
    #[schema(inline)]
    pub session: SessionView<'a>,
}
