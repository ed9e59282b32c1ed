//! Making and changing boards, and the copies of them that are kept at hand: every task that is made asks for its board.

use std::collections::HashMap;
use std::sync::Arc;

use kanvoy_domain::board::BoardEdit;
use kanvoy_domain::text::BoardKey;
use kanvoy_domain::{Board, BoardId, EventKind, Log, Membership, NewBoard, NewEvent, Timestamp, Version};
use kanvoy_store::{Change, StoreError, StoredEvent, Tell};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::record::until_settled;
use crate::{By, Engine, EngineError, Written};

/// Boards at hand at most; beyond it all are forgotten and read again.
const MOST: usize = 1024;

/// Copies of boards. They may be out of date for a moment on another node, which the store's constraints catch: a commit
/// that relied on an old copy meets a conflict, the copy is forgotten and the verb decides anew.
#[derive(Default)]
pub struct BoardCache {
    inner: Mutex<Copies>,
}

#[derive(Default)]
struct Copies {
    boards: HashMap<BoardId, Arc<Board>>,
    /// Counts forgettings, so that a copy that was read before one is not kept after it.
    forgotten: u64,
}

impl BoardCache {
    pub fn new() -> Self {
        Self::default()
    }

    fn get(&self, id: BoardId) -> Result<Arc<Board>, u64> {
        let copies = self.inner.lock();
        copies.boards.get(&id).cloned().ok_or(copies.forgotten)
    }

    fn keep(&self, board: Arc<Board>, read_at: u64) {
        let mut copies = self.inner.lock();
        if copies.forgotten != read_at {
            return;
        }
        if copies.boards.len() >= MOST {
            copies.boards.clear();
        }
        copies.boards.insert(board.id, board);
    }

    pub(crate) fn forget(&self, id: BoardId) {
        let mut copies = self.inner.lock();
        copies.boards.remove(&id);
        copies.forgotten += 1;
    }
}

impl Tell for BoardCache {
    fn told(&self, log: Log, events: &[StoredEvent]) {
        let changed = |kind| {
            matches!(
                kind,
                EventKind::BoardCreated
                    | EventKind::BoardUpdated
                    | EventKind::BoardDeleted
                    | EventKind::BoardImported
                    | EventKind::BoardPruned
            )
        };
        if let Log::Board(board) = log
            && events.iter().any(|event| changed(event.kind))
        {
            self.forget(board);
        }
    }
}

impl Engine {
    /// The board as it is, or was a moment ago.
    pub(crate) async fn board(&self, id: BoardId) -> Result<Arc<Board>, EngineError> {
        let read_at = match self.boards.get(id) {
            Ok(board) => return Ok(board),
            Err(read_at) => read_at,
        };
        let row = self.store.board(id).await?.ok_or_else(|| EngineError::not_found("board", id))?;
        let board = Arc::new(row.board);
        self.boards.keep(Arc::clone(&board), read_at);
        Ok(board)
    }

    /// The board, if work can be put on it.
    pub(crate) async fn open_board(&self, id: BoardId) -> Result<Arc<Board>, EngineError> {
        let board = self.board(id).await?;
        match board.archived_at {
            None => Ok(board),
            Some(_) => Err(archived(&board)),
        }
    }

    pub async fn create_board(&self, by: &By, new: NewBoard) -> Result<Written<Board>, EngineError> {
        let asked_for: Option<BoardKey> = new.key.as_deref().map(str::parse).transpose()?;
        let now = self.clock.now();
        let id = self.ids.board();
        let columns = [(); 6].map(|()| self.ids.column());
        until_settled!(self, {
            let key = match &asked_for {
                Some(key) => key.clone(),
                None => {
                    let taken = self.store.keys().await?;
                    BoardKey::from_name(&new.name, |key| taken.iter().any(|taken| taken == key))
                }
            };
            let board = new.clone().checked(id, key, columns, now)?;
            let created = NewEvent::new(
                Log::Board(id),
                EventKind::BoardCreated,
                now,
                by.actor.clone(),
                &json!({ "board": board }),
            );
            let mut changes = vec![Change::NewBoard(board.clone())];
            changes.extend(first_member(by, id, now));
            match self.record(by, changes, vec![created]).await {
                Ok(committed) => Ok(Written { object: board, seq: committed.seq() }),
                // Two boards of one name at once: the second finds another key.
                Err(StoreError::Taken("key")) if asked_for.is_none() => Err(StoreError::Conflict.into()),
                Err(StoreError::Taken("key")) => Err(key_taken(&board.key).into()),
                Err(other) => Err(other.into()),
            }
        })
    }

    pub async fn update_board(
        &self,
        by: &By,
        id: BoardId,
        edit: BoardEdit,
        version: Option<Version>,
    ) -> Result<Written<Board>, EngineError> {
        until_settled!(self, {
            let row = self.store.board(id).await?.ok_or_else(|| EngineError::not_found("board", id))?;
            fresh(version, row.board.version)?;
            if edit.archived == Some(true) {
                self.nobody_at_work(&row.board).await?;
            }
            let now = self.clock.now();
            let (board, changed) = row.board.edited(edit.clone(), now)?;
            if changed.is_empty() {
                return Ok(Written { object: board, seq: row.head_seq });
            }
            let updated = board_updated(by, &board, &changed, now);
            let committed = self.record(by, vec![Change::Board(board.clone())], vec![updated]).await?;
            Ok(Written { object: board, seq: committed.seq() })
        })
    }
}

/// Whoever makes a board belongs to it.
pub(crate) fn first_member(by: &By, board: BoardId, now: Timestamp) -> Option<Change> {
    by.user().map(|user| Change::NewMember(Membership { board, user, added_at: now }))
}

pub(crate) fn archived(board: &Board) -> EngineError {
    EngineError::Archived { what: format!("board {}", board.key) }
}

pub(crate) fn key_taken(key: &BoardKey) -> EngineError {
    EngineError::Taken {
        field: "key",
        detail: format!("another board has, or had, the key {key}; keys are not used again, so choose another"),
    }
}

/// Refuses an edit that was made of an older version.
pub(crate) fn fresh(seen: Option<Version>, current: Version) -> Result<(), EngineError> {
    match seen {
        Some(seen) if seen != current => Err(EngineError::Stale { current }),
        _ => Ok(()),
    }
}

/// `board.updated` carries the new values of what changed.
pub(crate) fn board_updated(by: &By, board: &Board, changed: &[&'static str], now: Timestamp) -> NewEvent {
    let data = json!({ "changed": values_of(changed, board), "version": board.version });
    NewEvent::new(Log::Board(board.id), EventKind::BoardUpdated, now, by.actor.clone(), &data)
}

/// The named fields of an object as the API spells them.
pub(crate) fn values_of(fields: &[&'static str], object: &impl serde::Serialize) -> Map<String, Value> {
    let Ok(Value::Object(mut all)) = serde_json::to_value(object) else { return Map::new() };
    fields.iter().filter_map(|field| all.remove(*field).map(|value| ((*field).to_owned(), value))).collect()
}
