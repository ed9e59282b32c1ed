//! People and logins as they are now: looked up once, kept at hand, and changed in place, so that whatever hangs on them
//! (a request, a stream) sees the change at once.
//!
//! Within this process every change is put here by whoever made it ([`People::refresh`], [`Sessions::ended`]). What another
//! process on the same store changes is seen by [`Api::look_again`] within seconds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kanvoy_domain::people::Role;
use kanvoy_domain::session::{SecretHash, Session, SessionKind};
use kanvoy_domain::{BoardId, SessionId, Timestamp, User, UserId};
use kanvoy_store::{Store, StoreError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::Api;

/// At hand at most; beyond it those that nobody uses are forgotten and read again.
const MOST: usize = 4_096;

/// Somebody, and the boards that they belong to.
pub struct LivePerson {
    pub id: UserId,
    now: RwLock<Arc<Known>>,
    changed: watch::Sender<()>,
}

#[derive(PartialEq, Eq)]
pub struct Known {
    pub user: User,
    boards: HashSet<BoardId>,
}

impl LivePerson {
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.now.read())
    }

    pub fn role(&self) -> Role {
        self.now.read().user.role
    }

    pub fn is_welcome(&self) -> bool {
        self.now.read().user.disabled_at.is_none()
    }

    pub fn is_on(&self, board: BoardId) -> bool {
        self.now.read().boards.contains(&board)
    }

    pub fn boards(&self) -> Vec<BoardId> {
        self.now.read().boards.iter().copied().collect()
    }

    /// Rings when anything of it has changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn put(&self, known: Known) {
        let mut now = self.now.write();
        if **now != known {
            *now = Arc::new(known);
            drop(now);
            self.changed.send_replace(());
        }
    }
}

/// Reads one at a time: what was read before a change is never put in place after it.
#[derive(Default)]
pub struct People {
    live: Mutex<HashMap<UserId, Arc<LivePerson>>>,
    reading: tokio::sync::Mutex<()>,
}

impl People {
    /// `None` when there is nobody of that id.
    pub async fn get(&self, store: &dyn Store, id: UserId) -> Result<Option<Arc<LivePerson>>, StoreError> {
        if let Some(person) = self.live.lock().get(&id) {
            return Ok(Some(Arc::clone(person)));
        }
        self.refresh(store, id).await
    }

    pub async fn refresh(&self, store: &dyn Store, id: UserId) -> Result<Option<Arc<LivePerson>>, StoreError> {
        let _turn = self.reading.lock().await;
        let Some(user) = store.user(id).await? else { return Ok(None) };
        let known = Known { user, boards: store.boards_of(id).await?.into_iter().collect() };
        let mut live = self.live.lock();
        if let Some(person) = live.get(&id) {
            person.put(known);
            return Ok(Some(Arc::clone(person)));
        }
        if live.len() >= MOST {
            live.retain(|_, person| Arc::strong_count(person) > 1);
        }
        let person = LivePerson { id, now: RwLock::new(Arc::new(known)), changed: watch::Sender::new(()) };
        let person = Arc::new(person);
        live.insert(id, Arc::clone(&person));
        Ok(Some(person))
    }
}

/// A login that holds. Its end is heard by every stream that lives by it.
pub struct LiveSession {
    pub id: SessionId,
    pub kind: SessionKind,
    hash: SecretHash,
    pub scope: kanvoy_domain::session::Scope,
    /// `None` for the owner of the machine.
    pub person: Option<Arc<LivePerson>>,
    expires_at: Mutex<Timestamp>,
    pub ended: CancellationToken,
}

impl LiveSession {
    pub fn expires_at(&self) -> Timestamp {
        *self.expires_at.lock()
    }

    pub fn lasts_until(&self, moment: Timestamp) {
        *self.expires_at.lock() = moment;
    }
}

#[derive(Default)]
pub struct Sessions {
    live: Mutex<Live>,
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Live {
    by_id: HashMap<SessionId, Arc<LiveSession>>,
    by_hash: HashMap<SecretHash, SessionId>,
}

impl Live {
    fn forget(&mut self, id: SessionId) -> Option<Arc<LiveSession>> {
        let session = self.by_id.remove(&id)?;
        self.by_hash.remove(&session.hash);
        Some(session)
    }

    fn thin(&mut self) {
        let idle = self.by_id.values().filter(|session| Arc::strong_count(session) == 1);
        let idle: Vec<SessionId> = idle.map(|session| session.id).collect();
        for id in idle {
            self.forget(id);
        }
    }
}

/// What a secret names a login by.
#[derive(Clone, Copy)]
pub enum Named {
    Hash(SecretHash),
    Id(SessionId),
}

impl Sessions {
    fn at_hand(&self, named: Named) -> Option<Arc<LiveSession>> {
        let live = self.live.lock();
        let id = match named {
            Named::Hash(hash) => *live.by_hash.get(&hash)?,
            Named::Id(id) => id,
        };
        live.by_id.get(&id).cloned()
    }

    /// It has ended, and the store knows: so does everything that lives by it.
    pub async fn ended(&self, id: SessionId) {
        // Whoever read it before it ended has kept it by now.
        let _turn = self.reading.lock().await;
        if let Some(session) = self.live.lock().forget(id) {
            session.ended.cancel();
        }
    }
}

impl Api {
    /// The login, if it still holds: not ended, not run out, and of somebody who may come in.
    pub(crate) async fn live_session(&self, named: Named) -> Result<Option<Arc<LiveSession>>, StoreError> {
        let session = match self.sessions.at_hand(named) {
            Some(session) => Some(session),
            None => self.read_session(named).await?,
        };
        let now = self.clock.now();
        Ok(session.filter(|session| {
            let welcome = session.person.as_ref().is_none_or(|person| person.is_welcome());
            welcome && !session.ended.is_cancelled() && session.expires_at() > now
        }))
    }

    async fn read_session(&self, named: Named) -> Result<Option<Arc<LiveSession>>, StoreError> {
        let _turn = self.sessions.reading.lock().await;
        if let Some(session) = self.sessions.at_hand(named) {
            return Ok(Some(session));
        }
        let found = match named {
            Named::Hash(hash) => self.store.session(hash).await?,
            Named::Id(id) => self.store.session_by_id(id).await?,
        };
        let Some(found) = found else { return Ok(None) };
        let person = match found.user() {
            None if found.person != kanvoy_domain::session::LOCAL_PERSON => return Ok(None),
            None => None,
            Some(user) => match self.people.get(&*self.store, user).await? {
                Some(person) => Some(person),
                None => return Ok(None),
            },
        };
        Ok(Some(self.keep(&found, person)))
    }

    fn keep(&self, session: &Session, person: Option<Arc<LivePerson>>) -> Arc<LiveSession> {
        let kept = Arc::new(LiveSession {
            id: session.id,
            kind: session.kind,
            hash: session.hash,
            scope: session.scope,
            person,
            expires_at: Mutex::new(session.expires_at),
            ended: CancellationToken::new(),
        });
        let mut live = self.sessions.live.lock();
        if live.by_id.len() >= MOST {
            live.thin();
        }
        live.by_hash.insert(session.hash, session.id);
        live.by_id.insert(session.id, Arc::clone(&kept));
        kept
    }

    /// Finds what another process on the same store has changed: called every few seconds. Only who is in use is asked
    /// for; everything else is forgotten and read when it is needed.
    pub(crate) async fn look_again(&self) {
        self.limits.shrink();
        let (sessions, people) = {
            let mut live = self.sessions.live.lock();
            live.thin();
            let mut people = self.people.live.lock();
            people.retain(|_, person| Arc::strong_count(person) > 1);
            (live.by_id.keys().copied().collect::<Vec<_>>(), people.keys().copied().collect::<Vec<_>>())
        };
        for id in sessions {
            match self.store.session_by_id(id).await {
                Ok(None) => self.sessions.ended(id).await,
                Ok(Some(found)) => {
                    if let Some(session) = self.sessions.at_hand(Named::Id(id)) {
                        session.lasts_until(found.expires_at);
                    }
                }
                Err(error) => return tracing::debug!("logins could not be looked at: {error}"),
            }
        }
        for id in people {
            if let Err(error) = self.people.refresh(&*self.store, id).await {
                return tracing::debug!("people could not be looked at: {error}");
            }
        }
    }
}
