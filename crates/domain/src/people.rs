//! People, what they may do, and which boards they belong to. Start reading at [`may`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{BoardId, UserId};
use crate::session::{Scope, spelled};
use crate::task::Version;
use crate::text::{self, Invalid};
use crate::time::Timestamp;

pub const MAX_LOGIN: usize = 64;
pub const MIN_PASSWORD: usize = 8;
/// In bytes: hashing more would be work for nothing.
pub const MAX_PASSWORD: usize = 1_024;

/// Somebody with a login. Never removed, only disabled: events name them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    pub id: UserId,
    /// What is typed to log in. Unique, and never used again.
    pub name: LoginName,
    pub display_name: String,
    pub role: Role,
    /// None for those who come in through a proxy, or have not been given one yet.
    #[serde(skip)]
    pub password: Option<PasswordHash>,
    pub disabled_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub version: Version,
    /// Fences writes in the store.
    #[serde(skip)]
    pub rev: u64,
}

/// Somebody belongs to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Membership {
    pub board: BoardId,
    pub user: UserId,
    pub added_at: Timestamp,
}

spelled! {
    /// What somebody is here, on every board alike.
    Role, NotARole {
        /// Reads the boards that they are a member of.
        Viewer = "viewer",
        /// Also works on them, says who else belongs to them, and makes boards.
        Member = "member",
        /// Does everything, on every board.
        Admin = "admin",
    }
}

/// Small letters, digits and `.`, `-`, `_`, `+`, `@`; begins with a letter or digit. Capitals are taken as small.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LoginName(String);

impl LoginName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LoginName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = text.trim().to_ascii_lowercase();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | '+' | '@');
        let sound = (1..=MAX_LOGIN).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.chars().all(fits);
        // These stand for people in addresses and events.
        if sound && !matches!(name.as_str(), "me" | "local") && uuid::Uuid::parse_str(&name).is_err() {
            return Ok(Self(name));
        }
        let said = format!(
            "must be at most {MAX_LOGIN} letters, digits, '.', '-', '_', '+' or '@', begin with a letter or digit, and be \
             neither \"me\" nor \"local\""
        );
        Err(Invalid::new("name", said))
    }
}

impl TryFrom<String> for LoginName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<LoginName> for String {
    fn from(name: LoginName) -> Self {
        name.0
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As a PHC string. Never printed, never sent.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A password as somebody chooses it.
pub fn password(text: &str) -> Result<(), Invalid> {
    let wrong = |detail: String| Err(Invalid::new("password", detail));
    if text.chars().count() < MIN_PASSWORD {
        return wrong(format!("must have {MIN_PASSWORD} characters or more"));
    }
    if text.len() > MAX_PASSWORD {
        return wrong(format!("must have at most {MAX_PASSWORD} bytes"));
    }
    Ok(())
}

/// What is known of somebody who is to be added.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub name: String,
    /// The login name when not given.
    pub display_name: Option<String>,
    pub role: Role,
    pub password: Option<PasswordHash>,
}

/// What changes; what is left out stays.
#[derive(Clone, Debug, Default)]
pub struct UserEdit {
    pub display_name: Option<String>,
    pub role: Option<Role>,
    pub disabled: Option<bool>,
}

impl NewUser {
    pub fn checked(self, id: UserId, now: Timestamp) -> Result<User, Invalid> {
        let name: LoginName = self.name.parse()?;
        let display_name = self.display_name.as_deref().unwrap_or(name.as_str());
        Ok(User {
            id,
            display_name: text::line("display_name", display_name, text::MAX_NAME)?,
            name,
            role: self.role,
            password: self.password,
            disabled_at: None,
            created_at: now,
            updated_at: now,
            version: 1,
            rev: 1,
        })
    }
}

impl User {
    /// The user after the edit, and the fields that it changed.
    pub fn edited(&self, edit: UserEdit, now: Timestamp) -> Result<(Self, Vec<&'static str>), Invalid> {
        let mut user = self.clone();
        let mut changed = Vec::new();
        if let Some(name) = edit.display_name {
            user.display_name = text::line("display_name", &name, text::MAX_NAME)?;
            if user.display_name != self.display_name {
                changed.push("display_name");
            }
        }
        if let Some(role) = edit.role.filter(|role| *role != self.role) {
            user.role = role;
            changed.push("role");
        }
        if let Some(disabled) = edit.disabled.filter(|disabled| *disabled != self.disabled_at.is_some()) {
            user.disabled_at = disabled.then_some(now);
            changed.push("disabled_at");
        }
        if !changed.is_empty() {
            user.updated_at = now;
            user.version += 1;
        }
        Ok((user, changed))
    }

    pub fn with_password(&self, password: Option<PasswordHash>, now: Timestamp) -> Self {
        Self { password, updated_at: now, version: self.version + 1, ..self.clone() }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// To see a board and what belongs to it.
    Read,
    /// To change a board, or what belongs to it.
    Write,
    /// To make a board.
    Found,
    /// To change one's own password, tokens and logins.
    OwnAccount,
    /// To read what happened beside all boards: it names boards and people.
    Audit,
    /// To say who may come in, and as what.
    Administer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    /// Not this person, or not with this token.
    No,
    /// For this person it is not there: neither yes nor no may be told.
    Unseen,
}

/// The rules of access, all of them. `on_board` says whether they are a member of the board that it is about; for what is
/// about no board it is of no matter.
pub const fn may(role: Role, scope: Scope, what: Deed, on_board: bool) -> Verdict {
    let is_admin = matches!(role, Role::Admin);
    let about_a_board = matches!(what, Deed::Read | Deed::Write);
    if about_a_board && !is_admin && !on_board {
        return Verdict::Unseen;
    }
    let writes = matches!(scope, Scope::Write | Scope::Admin);
    let yes = match what {
        Deed::Read => true,
        Deed::Write | Deed::Found => writes && !matches!(role, Role::Viewer),
        Deed::OwnAccount => matches!(scope, Scope::Admin),
        Deed::Audit => is_admin,
        Deed::Administer => is_admin && matches!(scope, Scope::Admin),
    };
    if yes { Verdict::Yes } else { Verdict::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_do_what() {
        use Deed::{Administer, Audit, Found, OwnAccount, Read, Write};
        use Verdict::{No, Unseen, Yes};
        let deeds = [Read, Write, Found, OwnAccount, Audit, Administer];
        let (admin, member, viewer) = (Role::Admin, Role::Member, Role::Viewer);
        for (role, scope, on_board, verdicts) in [
            (admin, Scope::Admin, false, [Yes, Yes, Yes, Yes, Yes, Yes]),
            (admin, Scope::Write, false, [Yes, Yes, Yes, No, Yes, No]),
            (admin, Scope::Read, false, [Yes, No, No, No, Yes, No]),
            (member, Scope::Admin, true, [Yes, Yes, Yes, Yes, No, No]),
            (member, Scope::Admin, false, [Unseen, Unseen, Yes, Yes, No, No]),
            (member, Scope::Write, true, [Yes, Yes, Yes, No, No, No]),
            (member, Scope::Read, true, [Yes, No, No, No, No, No]),
            (viewer, Scope::Admin, true, [Yes, No, No, Yes, No, No]),
            (viewer, Scope::Admin, false, [Unseen, Unseen, No, Yes, No, No]),
            (viewer, Scope::Read, true, [Yes, No, No, No, No, No]),
        ] {
            for (deed, verdict) in deeds.into_iter().zip(verdicts) {
                assert_eq!(may(role, scope, deed, on_board), verdict, "{role} {scope} {deed:?} member: {on_board}");
            }
        }
    }

    #[test]
    fn login_names() {
        for (text, name) in [("ada", "ada"), (" Ada ", "ada"), ("a.b+c@example.org", "a.b+c@example.org"), ("0", "0")] {
            assert_eq!(text.parse::<LoginName>().map(String::from), Ok(name.to_owned()));
        }
        let long = "a".repeat(65);
        let id = "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111";
        for bad in ["", "me", "Local", "-a", "a b", "a/b", "ä", "a\nb", &long, id] {
            assert!(bad.parse::<LoginName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let new = NewUser {
            name: "ada".into(),
            display_name: None,
            role: Role::Member,
            password: Some(PasswordHash("$argon2id$secret".into())),
        };
        let user = new.checked(UserId::from_uuid(uuid::Uuid::nil()), Timestamp::from_millis(0)).expect("a user");
        assert!(!format!("{user:?}").contains("secret"));
        assert!(!serde_json::to_string(&user).expect("is JSON").contains("secret"));
        assert!(password("1234567").is_err() && password("12345678").is_ok() && password(&"a".repeat(1_025)).is_err());
    }
}
