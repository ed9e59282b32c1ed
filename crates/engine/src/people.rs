//! Who may come in, to which boards, and by which logins. Passwords and tokens come here as hashes: making and checking them
//! is the doors' work.

use chrono::TimeDelta;
use kanvoy_domain::people::{NewUser, PasswordHash, UserEdit};
use kanvoy_domain::session::{Scope, SecretHash, Session, SessionKind};
use kanvoy_domain::{BoardId, EventKind, Log, Membership, NewEvent, SessionId, Timestamp, User, UserId, Version, text};
use kanvoy_store::{Change, StoreError};
use serde_json::{Value, json};

use crate::boards::fresh;
use crate::record::until_settled;
use crate::{By, Engine, EngineError, Written};

/// Tokens and logins of one person at most; beyond it the oldest logins end, and no token is made.
const MOST_LOGINS: usize = 100;
const MOST_TOKENS: usize = 100;

/// A login, or a token, that is to begin.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub kind: SessionKind,
    pub person: String,
    pub hash: SecretHash,
    pub refresh: Option<SecretHash>,
    pub name: Option<String>,
    pub scope: Scope,
    pub lasts: TimeDelta,
}

impl Engine {
    pub async fn create_user(&self, by: &By, new: NewUser) -> Result<Written<User>, EngineError> {
        let now = self.clock.now();
        let user = new.checked(self.ids.user(), now)?;
        let created = told(by, EventKind::UserCreated, now, &json!({ "user": user }));
        match self.record(by, vec![Change::NewUser(user.clone())], vec![created]).await {
            Ok(committed) => Ok(Written { object: user, seq: committed.seq() }),
            Err(StoreError::Taken("name")) => Err(EngineError::Taken {
                field: "name",
                detail: format!("somebody is, or was, called {}; names are not used again", user.name),
            }),
            Err(other) => Err(other.into()),
        }
    }

    pub async fn update_user(
        &self,
        by: &By,
        id: UserId,
        edit: UserEdit,
        version: Option<Version>,
    ) -> Result<Written<User>, EngineError> {
        until_settled!(self, {
            let user = self.user(id).await?;
            fresh(version, user.version)?;
            let now = self.clock.now();
            let (edited, changed) = user.edited(edit.clone(), now)?;
            if changed.is_empty() {
                return Ok(Written { object: edited, seq: self.store.head(Log::System).await? });
            }
            let changes = crate::boards::values_of(&changed, &edited);
            let data = json!({ "user_id": id, "name": edited.name, "changed": changes, "version": edited.version });
            let updated = told(by, EventKind::UserUpdated, now, &data);
            let committed = self.record(by, vec![Change::User(edited.clone())], vec![updated]).await?;
            Ok(Written { object: edited, seq: committed.seq() })
        })
    }

    pub async fn set_password(
        &self,
        by: &By,
        id: UserId,
        password: PasswordHash,
    ) -> Result<Written<User>, EngineError> {
        until_settled!(self, {
            let user = self.user(id).await?;
            let now = self.clock.now();
            let changed = user.with_password(Some(password.clone()), now);
            let data = json!({ "user_id": id, "name": user.name });
            let set = told(by, EventKind::UserPasswordSet, now, &data);
            let committed = self.record(by, vec![Change::User(changed.clone())], vec![set]).await?;
            Ok(Written { object: changed, seq: committed.seq() })
        })
    }

    /// Nothing happens, and nothing is told, when they are a member already.
    pub async fn add_member(
        &self,
        by: &By,
        board: BoardId,
        user: UserId,
    ) -> Result<Written<(Membership, User)>, EngineError> {
        let found = self.user(user).await?;
        let log = Log::Board(board);
        if let Some(member) = self.store.members(board).await?.into_iter().find(|(member, _)| member.user == user) {
            return Ok(Written { object: member, seq: self.store.head(log).await? });
        }
        let now = self.clock.now();
        let member = Membership { board, user, added_at: now };
        let data = json!({ "user_id": user, "name": found.name });
        let added = NewEvent::new(log, EventKind::BoardMemberAdded, now, by.actor.clone(), &data);
        let committed = self.record(by, vec![Change::NewMember(member)], vec![added]).await;
        let committed = committed.map_err(|error| missing_board(error, board))?;
        Ok(Written { object: (member, found), seq: committed.seq() })
    }

    pub async fn remove_member(
        &self,
        by: &By,
        board: BoardId,
        user: UserId,
    ) -> Result<Written<(Membership, User)>, EngineError> {
        let found = self.store.members(board).await?.into_iter().find(|(member, _)| member.user == user);
        let member = found.ok_or_else(|| EngineError::not_found("member", user))?;
        let data = json!({ "user_id": user, "name": member.1.name });
        let removed =
            NewEvent::new(Log::Board(board), EventKind::BoardMemberRemoved, self.clock.now(), by.actor.clone(), &data);
        let committed = self.record(by, vec![Change::EndMember { board, user }], vec![removed]).await;
        let committed = committed.map_err(|error| missing_board(error, board))?;
        Ok(Written { object: member, seq: committed.seq() })
    }

    pub async fn begin_session(&self, by: &By, new: NewSession) -> Result<Session, EngineError> {
        let now = self.clock.now();
        let name = new.name.map(|name| text::line("name", &name, text::MAX_NAME)).transpose()?;
        let kept = self.store.sessions_of(&new.person).await?;
        let of_kind = kept.iter().filter(|session| session.kind == new.kind && session.expires_at > now);
        let mut of_kind: Vec<&Session> = of_kind.collect();
        let mut changes = Vec::new();
        match new.kind {
            SessionKind::Token if of_kind.len() >= MOST_TOKENS => {
                let detail = format!("there are {MOST_TOKENS} tokens already; revoke those that nobody uses");
                return Err(EngineError::Taken { field: "tokens", detail });
            }
            SessionKind::Login if of_kind.len() >= MOST_LOGINS => {
                of_kind.sort_by_key(|session| session.created_at);
                changes
                    .extend(of_kind.iter().take(of_kind.len() + 1 - MOST_LOGINS).map(|it| Change::EndSession(it.id)));
            }
            _ => {}
        }
        let session = Session {
            id: self.ids.session(),
            kind: new.kind,
            hash: new.hash,
            refresh: new.refresh,
            person: new.person,
            name,
            scope: new.scope,
            created_at: now,
            expires_at: now.plus(new.lasts),
        };
        let kind = match session.kind {
            SessionKind::Login => EventKind::UserLoggedIn,
            SessionKind::Token => EventKind::UserTokenCreated,
        };
        let begun = told(by, kind, now, &session_data(&session));
        changes.push(Change::NewSession(session.clone()));
        self.record(by, changes, vec![begun]).await?;
        Ok(session)
    }

    /// Another refresh token takes the place of the last. False when the one that was shown is not the last: then somebody
    /// else has it too, and the login must end.
    pub async fn refresh_session(
        &self,
        id: SessionId,
        from: SecretHash,
        to: SecretHash,
        lasts: TimeDelta,
    ) -> Result<bool, EngineError> {
        let change = Change::RefreshSession { id, from, to, expires_at: self.clock.now().plus(lasts) };
        match self.record(&By::engine(), vec![change], Vec::new()).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    pub async fn end_sessions(&self, by: &By, sessions: &[Session], reason: &str) -> Result<(), EngineError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let ended = |session: &Session| {
            let mut data = session_data(session);
            data["reason"] = json!(reason);
            told(by, EventKind::UserSessionEnded, now, &data)
        };
        let events = sessions.iter().map(ended).collect();
        let changes = sessions.iter().map(|session| Change::EndSession(session.id)).collect();
        self.record(by, changes, events).await?;
        Ok(())
    }

    async fn user(&self, id: UserId) -> Result<User, EngineError> {
        self.store.user(id).await?.ok_or_else(|| EngineError::not_found("user", id))
    }
}

/// What concerns people is in the system's log.
fn told(by: &By, kind: EventKind, now: Timestamp, data: &Value) -> NewEvent {
    NewEvent::new(Log::System, kind, now, by.actor.clone(), data)
}

fn session_data(session: &Session) -> Value {
    json!({
        "user_id": session.person, "session_id": session.id, "kind": session.kind, "name": session.name,
        "scope": session.scope, "expires_at": session.expires_at,
    })
}

fn missing_board(error: StoreError, board: BoardId) -> EngineError {
    match error {
        StoreError::NotFound => EngineError::not_found("board", board),
        other => other.into(),
    }
}
