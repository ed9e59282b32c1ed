//! A board with its log as a file: one JSON object a line, so that both ends hold only a page of it at a time.
//!
//! ```text
//! {"kanvoy_board":1,"board":{…}}    again, when the board itself changed meanwhile: the file begins anew with it
//! {"task":{…},"deleted":false}      by number; a task that changed while the file was written comes again, newer
//! {"gone":"…"}                      a task that was purged while the file was written
//! {"event":{"seq":1,…}}             as they are kept
//! {"end":{"tasks":2,"events":9,"head_seq":9,"next_number":3}}
//! ```
//!
//! The tasks are those of the moment of `head_seq`, whatever is written meanwhile; and no event is later.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use kanvoy_domain::event::EventKind;
use kanvoy_domain::graph::any_circle;
use kanvoy_domain::{Actor, Board, BoardId, Invalid, Log, NewEvent, Seq, Task, TaskId, TaskNumber, Timestamp, Version};
use kanvoy_store::{BoardRow, Change, Claim, Commit, EventQuery, Kinds, Restored, Store, StoreError, StoredEvent};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::{By, Engine, EngineError};

/// The only layout there has been.
const LAYOUT: u32 = 1;

/// A line longer than this is no line of ours: the longest holds one event, and an event one agent's line.
pub const MAX_LINE: usize = 64 << 20;

/// So much is written, or restored, in one piece.
const PIECE_ITEMS: u32 = 500;
const PIECE_BYTES: usize = 1 << 20;

/// So often an export begins anew because the board itself was changed, and so many pages of changed tasks it follows, before
/// it gives up on a board that does not come to rest.
const MOST_BEGINNINGS: u32 = 16;
const MOST_ROUNDS: u32 = 1_000;

/// What an import remembers of the tasks that it has read, to hold them to the rules, is bounded by these.
const MOST_TASKS: usize = 1_000_000;
const MOST_ARROWS: usize = 4_000_000;

/// Numbers from here on are not exact in every reader of JSON.
const TOO_HIGH: u64 = 1 << 53;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kanvoy_board: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    board: Option<Board>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<Task>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<TaskId>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// Counts the lines since the last board.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    tasks: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    gone: u64,
    events: u64,
    head_seq: Seq,
    next_number: TaskNumber,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What an event's text says of itself that the store keeps beside it, or that must be sound in every event.
#[derive(Deserialize)]
struct Envelope<'a> {
    seq: Seq,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "timestamp")]
    _timestamp: Timestamp,
    board_id: BoardId,
    #[serde(default)]
    task_id: Option<TaskId>,
    #[serde(rename = "actor")]
    _actor: Actor,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The data of a `stream.gap`.
#[derive(Deserialize)]
struct Gap {
    from: Seq,
    to: Seq,
    reason: String,
}

/// The data of a `task.purged`, whose event is not about the task any more.
#[derive(Deserialize)]
struct Purged {
    id: TaskId,
}

#[derive(Deserialize)]
struct With<T> {
    data: T,
}

impl Engine {
    /// The board as a file, to be drawn piece by piece with [`Export::next`].
    pub fn export(&self, board: BoardId) -> Export {
        Export {
            store: Arc::clone(&self.store),
            board,
            shown: None,
            since: 0,
            begun: 0,
            rounds: 0,
            at: Step::Begin,
            end: End::default(),
        }
    }
}

pub struct Export {
    store: Arc<dyn Store>,
    board: BoardId,
    /// The board as the file has it.
    shown: Option<Board>,
    /// The head when the first task was read: what was written later may have changed tasks that are out already.
    since: Seq,
    begun: u32,
    rounds: u32,
    at: Step,
    end: End,
}

#[derive(Clone, Copy)]
enum Step {
    Begin,
    Tasks { after: TaskNumber },
    Changed { after: Seq },
    Events { after: Seq },
    End,
    Over,
}

impl Export {
    /// The next piece of the file; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let mut piece = Vec::new();
        // What changed meanwhile is caught up with in one go: a slow reader shall not give it time to change again.
        while piece.is_empty() || (matches!(self.at, Step::Changed { .. }) && piece.len() < PIECE_BYTES) {
            match self.at {
                Step::Begin => self.begin(&mut piece).await?,
                Step::Tasks { after } => self.tasks(after, &mut piece).await?,
                Step::Changed { after } => self.changed(after, &mut piece).await?,
                Step::Events { after } => self.events(after, &mut piece).await?,
                Step::End => {
                    put(&mut piece, &Line { end: Some(self.end), ..Line::default() });
                    self.at = Step::Over;
                }
                Step::Over => return Ok(None),
            }
        }
        Ok(Some(Bytes::from(piece)))
    }

    async fn row(&self) -> Result<BoardRow, EngineError> {
        self.store.board(self.board).await?.ok_or_else(|| EngineError::not_found("board", self.board))
    }

    async fn begin(&mut self, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        if self.begun == MOST_BEGINNINGS {
            return Err(EngineError::Contended);
        }
        let row = self.row().await?;
        self.begun += 1;
        self.rounds = 0;
        self.end = End::default();
        self.since = row.head_seq;
        put(piece, &Line { kanvoy_board: Some(LAYOUT), board: Some(row.board.clone()), ..Line::default() });
        self.shown = Some(row.board);
        self.at = Step::Tasks { after: 0 };
        Ok(())
    }

    async fn tasks(&mut self, after: TaskNumber, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        let tasks = self.store.export_tasks(self.board, after, PIECE_ITEMS).await?;
        self.at = match tasks.last() {
            Some((last, _)) => Step::Tasks { after: last.number },
            None => Step::Changed { after: self.since },
        };
        for (task, deleted) in tasks {
            self.task(task, deleted, piece);
        }
        Ok(())
    }

    /// Where a task lies in a column that the file does not know, the board has changed, and the file begins anew.
    fn task(&mut self, task: Task, deleted: bool, piece: &mut Vec<u8>) {
        if !deleted && !self.shown.as_ref().is_some_and(|board| lies_in(board, &task)) {
            self.at = Step::Begin;
            return;
        }
        self.end.tasks += 1;
        put(piece, &Line { task: Some(task), deleted: Some(deleted), ..Line::default() });
    }

    /// Tasks that changed since the export began come again, until none has.
    async fn changed(&mut self, after: Seq, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        let query = EventQuery {
            log: Log::Board(self.board),
            after,
            task: None,
            kinds: Kinds::Only(vec![
                EventKind::BoardUpdated,
                EventKind::TaskCreated,
                EventKind::TaskUpdated,
                EventKind::TaskStateChanged,
                EventKind::TaskDeleted,
                EventKind::TaskPurged,
            ]),
            limit: PIECE_ITEMS,
            max_bytes: PIECE_BYTES,
        };
        // The row first: when nothing has happened up to the later look, nothing had at the head that the row names.
        let row = self.row().await?;
        let events = self.store.events(&query).await?.events;
        if self.shown.as_ref() != Some(&row.board) {
            self.at = Step::Begin;
            return Ok(());
        }
        let Some(last) = events.last() else {
            self.end.head_seq = row.head_seq;
            self.end.next_number = row.next_number;
            self.at = Step::Events { after: 0 };
            return Ok(());
        };
        if self.rounds == MOST_ROUNDS {
            return Err(EngineError::Contended);
        }
        self.rounds += 1;
        self.at = Step::Changed { after: last.seq };
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for event in &events {
            match happened(event) {
                Happened::Changed(task) => changed.push(task),
                Happened::Gone(task) => gone.push(task),
                Happened::Nothing => {}
                Happened::Unknown => {
                    self.at = Step::Begin;
                    return Ok(());
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for id in changed {
            if let Some(row) = self.store.task(id).await? {
                self.task(row.task, false, piece);
            } else if let Some(task) = self.store.deleted_task(id).await? {
                self.task(task, true, piece);
            }
        }
        for id in gone {
            self.end.gone += 1;
            put(piece, &Line { gone: Some(id), ..Line::default() });
        }
        Ok(())
    }

    async fn events(&mut self, after: Seq, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        if after == self.end.head_seq {
            self.at = Step::End;
            return Ok(());
        }
        let query = EventQuery {
            log: Log::Board(self.board),
            after,
            task: None,
            kinds: Kinds::All,
            limit: PIECE_ITEMS,
            max_bytes: PIECE_BYTES,
        };
        let events = self.store.events(&query).await?.events;
        // What was written after the tasks were complete does not belong to this file.
        let upto = events.iter().take_while(|event| event.seq <= self.end.head_seq);
        let mut last = None;
        for event in upto {
            last = Some(event.seq);
            self.end.events += 1;
            piece.extend_from_slice(b"{\"event\":");
            piece.extend_from_slice(&event.text);
            piece.extend_from_slice(b"}\n");
        }
        let Some(last) = last else {
            // The log went out of sight, or retention has removed it from under us to beyond our end.
            self.row().await?;
            return Err(EngineError::Contended);
        };
        self.at = Step::Events { after: last };
        Ok(())
    }
}

/// What an event of the time of the export means for its tasks.
enum Happened {
    Changed(TaskId),
    Gone(TaskId),
    Nothing,
    /// It cannot be told which tasks are concerned: perhaps all.
    Unknown,
}

fn happened(event: &StoredEvent) -> Happened {
    match event.kind {
        EventKind::BoardUpdated => Happened::Unknown,
        EventKind::TaskPurged => match serde_json::from_slice::<With<Purged>>(&event.text) {
            Ok(purged) => Happened::Gone(purged.data.id),
            Err(_) => Happened::Unknown,
        },
        // What stands in place of a purged task's events is followed by the purge; another gap may hide anything.
        EventKind::StreamGap => match serde_json::from_slice::<With<Gap>>(&event.text) {
            Ok(gap) if gap.data.reason == "purged" => Happened::Nothing,
            _ => Happened::Unknown,
        },
        _ => event.task.map_or(Happened::Nothing, Happened::Changed),
    }
}

fn lies_in(board: &Board, task: &Task) -> bool {
    board.column(task.column_id).is_some_and(|column| column.holds(task.state))
}

fn put(piece: &mut Vec<u8>, line: &Line<'_>) {
    // Writing our own plain structs to memory cannot fail.
    let _ = serde_json::to_writer(&mut *piece, line);
    piece.push(b'\n');
}

/// What the board shall be called here, where it shall not keep its old names.
#[derive(Clone, Debug, Default)]
pub struct ImportAs {
    pub key: Option<String>,
    pub name: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Imported {
    pub board: BoardRow,
    pub tasks: u64,
    pub events: u64,
}

/// A board that is being read from a file. It is hidden until [`Import::finish`]. What was read is removed again as soon as
/// anything is refused, or by [`Import::abandon`]; of an import that is merely dropped, at the next start of the daemon.
pub struct Import {
    engine: Engine,
    by: By,
    how: ImportAs,
    lines: u64,
    /// Hidden in the store, and ours to remove.
    board: Option<Board>,
    /// Another import of the same board was under way.
    beside: Option<BoardId>,
    read: Read,
    tasks: Vec<(Task, bool)>,
    events: Vec<StoredEvent>,
    waiting_bytes: usize,
    counted: End,
    last_seq: Seq,
    end: Option<End>,
}

impl Engine {
    pub fn import(&self, by: &By, how: ImportAs) -> Import {
        Import {
            engine: self.clone(),
            by: by.clone(),
            how,
            lines: 0,
            board: None,
            beside: None,
            read: Read::default(),
            tasks: Vec::new(),
            events: Vec::new(),
            waiting_bytes: 0,
            counted: End::default(),
            last_seq: 0,
            end: None,
        }
    }
}

impl Import {
    /// Takes one line of the file, without its line break.
    pub async fn line(&mut self, text: &[u8]) -> Result<(), EngineError> {
        let taken = self.take(text).await;
        if taken.is_err() {
            self.abandon().await;
        }
        taken
    }

    /// Shows the board, if the file was whole. The claim, if any, is on the whole file.
    pub async fn finish(&mut self, claim: Option<Claim>) -> Result<Imported, EngineError> {
        let shown = self.show(claim).await;
        if shown.is_err() {
            self.abandon().await;
        }
        let (board, imported) = shown?;
        let row = self.engine.store.board(board).await?;
        let row = row.ok_or_else(|| EngineError::not_found("board", board))?;
        Ok(Imported { board: row, ..imported })
    }

    /// Removes what was read so far. May be called at any time, and again.
    pub async fn abandon(&mut self) {
        let Some(board) = self.board.take() else { return };
        let purge = Commit::new(vec![Change::PurgeBoard(board.id)], Vec::new());
        if let Err(error) = self.engine.commit(purge).await {
            tracing::warn!(board.id = %board.id, "what an import left is removed at the next start: {error}");
        }
    }

    /// The board that another import was bringing in when this one was refused: it may have the same file.
    pub const fn beside(&self) -> Option<BoardId> {
        self.beside
    }

    async fn take(&mut self, text: &[u8]) -> Result<(), EngineError> {
        self.lines += 1;
        if text.is_empty() {
            return Ok(());
        }
        let line: Line<'_> = serde_json::from_slice(text).map_err(|error| self.wrong(&error.to_string()))?;
        if self.end.is_some() {
            return Err(self.wrong("there is something after the end"));
        }
        if self.board.is_none() && line.board.is_none() {
            return Err(self.wrong("the file does not begin with a board"));
        }
        if line.event.is_none() && line.end.is_none() && self.last_seq > 0 {
            return Err(self.wrong("only events and the end come after an event"));
        }
        match line {
            Line {
                kanvoy_board: Some(layout),
                board: Some(board),
                task: None,
                deleted: None,
                gone: None,
                event: None,
                end: None,
            } => self.begin(layout, board).await,
            Line { kanvoy_board: None, board: None, task: Some(task), deleted, gone: None, event: None, end: None } => {
                self.waiting_bytes += text.len();
                self.task(task, deleted.unwrap_or(false)).await
            }
            Line {
                kanvoy_board: None,
                board: None,
                task: None,
                deleted: None,
                gone: Some(id),
                event: None,
                end: None,
            } => self.gone(id).await,
            Line {
                kanvoy_board: None,
                board: None,
                task: None,
                deleted: None,
                gone: None,
                event: Some(event),
                end: None,
            } => {
                self.waiting_bytes += text.len();
                self.event(event).await
            }
            Line { kanvoy_board: None, board: None, task: None, deleted: None, gone: None, event: None, end } => {
                self.end = end;
                Ok(())
            }
            _ => Err(self.wrong("a line is a board, a task, an event or the end, and only one of them")),
        }
    }

    async fn begin(&mut self, layout: u32, board: Board) -> Result<(), EngineError> {
        if layout != LAYOUT {
            return Err(self.wrong(&format!("the file has layout {layout}; this version reads layout {LAYOUT}")));
        }
        let mut board = board.checked().map_err(|error| self.wrong(&error.to_string()))?;
        if !sound(board.version) {
            return Err(self.wrong("the board's version is not from 1 to 2^53"));
        }
        if let Some(key) = &self.how.key {
            board.key = key.parse()?;
        }
        if let Some(name) = &self.how.name {
            board.name = kanvoy_domain::text::line("name", name, kanvoy_domain::text::MAX_NAME)?;
        }
        let mut changes = Vec::with_capacity(2);
        if let Some(before) = &self.board {
            if before.id != board.id {
                return Err(self.wrong("there is a second board"));
            }
            // Its exporter began anew.
            changes.push(Change::PurgeBoard(board.id));
        }
        changes.push(Change::Restore(Restored::Board(Box::new(board.clone()))));
        match self.engine.commit(Commit::new(changes, Vec::new())).await {
            Ok(_) => {}
            Err(StoreError::Taken("key")) => return Err(crate::boards::key_taken(&board.key)),
            Err(StoreError::Taken(_)) => return Err(self.here_already(&board).await?),
            Err(StoreError::Conflict) => {
                let detail = "a column of this board is, or was, on another board of this server".to_owned();
                return Err(EngineError::Taken { field: "id", detail });
            }
            Err(other) => return Err(other.into()),
        }
        self.board = Some(board);
        self.read = Read::default();
        self.tasks.clear();
        self.waiting_bytes = 0;
        self.counted = End::default();
        Ok(())
    }

    /// Names the board that has the file's id.
    async fn here_already(&mut self, board: &Board) -> Result<EngineError, EngineError> {
        let store = &self.engine.store;
        let detail = if let Some(row) = store.board(board.id).await? {
            let key = row.board.key;
            format!(
                "this very board is on this server already, as {key}; purge it (kanvoy board delete {key} --purge) or import \
                 the file into another server"
            )
        } else if let Some(deleted) = store.deleted_board(board.id).await? {
            let key = deleted.key;
            format!(
                "this very board is on this server, deleted, as {key}; purge it (kanvoy board delete {key} --purge) or \
                 import the file into another server"
            )
        } else if store.half_imported().await?.contains(&board.id) {
            self.beside = Some(board.id);
            "this very board is being imported just now; ask again when that is done".to_owned()
        } else {
            "a board with this id was on this server a moment ago; ask again".to_owned()
        };
        Ok(EngineError::Taken { field: "id", detail })
    }

    async fn task(&mut self, task: Task, deleted: bool) -> Result<(), EngineError> {
        let Some(board) = &self.board else { return Ok(()) };
        let number = task.number;
        if task.board_id != board.id {
            return Err(self.wrong(&format!("task {number} is of another board")));
        }
        // A deleted card holds no column back: its own may be gone.
        if !deleted && !lies_in(board, &task) {
            return Err(self.wrong(&format!("task {number} lies in no column of its board that holds {}", task.state)));
        }
        if !sound(number) || !sound(task.version) {
            return Err(self.wrong("the task's number or version is not from 1 to 2^53"));
        }
        let task = task.checked().map_err(|error| self.wrong(&format!("task {number}: {error}")))?;
        self.counted.tasks += 1;
        let goes = self.read.task(&task, deleted, self.lines).map_err(|detail| self.wrong(&detail))?;
        match goes {
            Goes::Later => {
                self.read.later.insert(task.id, (task, deleted));
                Ok(())
            }
            Goes::Now => {
                self.tasks.push((task, deleted));
                if self.is_full(self.tasks.len()) { self.flush().await } else { Ok(()) }
            }
            Goes::Instead => {
                match self.tasks.iter_mut().find(|(earlier, _)| earlier.id == task.id) {
                    Some(earlier) => *earlier = (task, deleted),
                    None => self.tasks.push((task, deleted)),
                }
                if self.is_full(self.tasks.len()) { self.flush().await } else { Ok(()) }
            }
        }
    }

    async fn gone(&mut self, id: TaskId) -> Result<(), EngineError> {
        self.counted.gone += 1;
        let Some(board) = self.board.as_ref().map(|board| board.id) else { return Ok(()) };
        if !self.read.gone(id, self.lines) {
            return Ok(());
        }
        self.flush().await?;
        let purge = Change::PurgeTask { task: id, board, at: self.engine.clock.now() };
        match self.engine.commit(Commit::new(vec![purge], Vec::new())).await {
            // It was still waiting for its external reference.
            Ok(_) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn event(&mut self, event: &RawValue) -> Result<(), EngineError> {
        let Some(board) = self.board.as_ref().map(|board| board.id) else { return Ok(()) };
        let envelope: Envelope<'_> =
            serde_json::from_str(event.get()).map_err(|error| self.wrong(&error.to_string()))?;
        let seq = envelope.seq;
        if !sound(seq) {
            return Err(self.wrong("the event's seq is not from 1 to 2^53"));
        }
        if envelope.board_id != board {
            return Err(self.wrong(&format!("event {seq} is of another board")));
        }
        let kind: EventKind = envelope
            .kind
            .parse()
            .map_err(|_| self.wrong(&format!("this version knows no event of type {}", envelope.kind)))?;
        let first = if kind == EventKind::StreamGap {
            let gap: Gap = serde_json::from_str(envelope.data.get()).map_err(|error| self.wrong(&error.to_string()))?;
            if gap.from == 0 || gap.from > seq || gap.to != seq {
                return Err(self.wrong(&format!("the gap at {seq} does not end there")));
            }
            gap.from
        } else {
            seq
        };
        if self.last_seq > 0 && first != self.last_seq + 1 {
            return Err(self.wrong(&format!("event {first} does not follow event {}", self.last_seq)));
        }
        // Rows keep what follows the `seq`, which therefore must be where we write it.
        if !event.get().starts_with(&format!("{{\"seq\":{seq},\"type\":")) {
            return Err(self.wrong("an event does not begin with its seq and type"));
        }
        if let Some(task) = envelope.task_id {
            self.no_foreign_task(task, board).await?;
        }
        self.last_seq = seq;
        self.counted.events += 1;
        let text = Bytes::copy_from_slice(event.get().as_bytes());
        self.events.push(StoredEvent { seq, kind, task: envelope.task_id, text });
        if self.is_full(self.events.len()) { self.flush().await } else { Ok(()) }
    }

    /// Events may be about tasks that are no more, but not about another board's.
    async fn no_foreign_task(&mut self, task: TaskId, board: BoardId) -> Result<(), EngineError> {
        if self.read.known.contains_key(&task) || self.read.stranger == Some(task) {
            return Ok(());
        }
        let store = &self.engine.store;
        let owner = match store.task(task).await? {
            Some(row) => Some(row.task.board_id),
            None => store.deleted_task(task).await?.map(|task| task.board_id),
        };
        if owner.is_some_and(|owner| owner != board) {
            return Err(self.wrong(&format!("there is an event about task {task}, which is another board's")));
        }
        self.read.stranger = Some(task);
        Ok(())
    }

    fn is_full(&self, items: usize) -> bool {
        items >= PIECE_ITEMS as usize || self.waiting_bytes >= PIECE_BYTES
    }

    async fn flush(&mut self) -> Result<(), EngineError> {
        let Some(board) = self.board.as_ref().map(|board| board.id) else { return Ok(()) };
        self.waiting_bytes = 0;
        if !self.tasks.is_empty() {
            let tasks = std::mem::take(&mut self.tasks);
            self.restore(Restored::Tasks(tasks)).await?;
        }
        if !self.events.is_empty() {
            let events = std::mem::take(&mut self.events);
            self.restore(Restored::Events { board, events }).await?;
        }
        Ok(())
    }

    async fn show(&mut self, claim: Option<Claim>) -> Result<(BoardId, Imported), EngineError> {
        let Some(end) = self.end else {
            return Err(self.wrong("the file is cut off: it has no end"));
        };
        let Some(board) = self.board.clone() else {
            return Err(self.wrong("the file holds no board"));
        };
        if (end.tasks, end.gone, end.events) != (self.counted.tasks, self.counted.gone, self.counted.events) {
            return Err(self.wrong("the file is not whole: lines are missing"));
        }
        if !sound(end.head_seq) || !sound(end.next_number) {
            return Err(self.wrong("head_seq or next_number is not from 1 to 2^53"));
        }
        if self.last_seq > end.head_seq {
            return Err(self.wrong("the last event lies beyond the head that the file names"));
        }
        if self.read.last_number >= end.next_number {
            return Err(self.wrong("next_number is the number of a task"));
        }
        self.flush().await?;
        let later = self.read.settle().map_err(|(line, detail)| wrong_at(line, &detail))?;
        if !later.is_empty() {
            self.restore(Restored::Tasks(later)).await?;
        }
        self.read.ties().map_err(|(line, detail)| wrong_at(line, &detail))?;

        let tasks = self.read.known.len() as u64;
        let finished = Restored::Finished { board: board.id, head: end.head_seq, next_number: end.next_number };
        let data = json!({ "tasks": tasks, "events": end.events, "key": board.key });
        let imported = NewEvent::new(
            Log::Board(board.id),
            EventKind::BoardImported,
            self.engine.clock.now(),
            self.by.actor.clone(),
            &data,
        );
        let by = By { claim, ..self.by.clone() };
        let committed = self.engine.record(&by, vec![Change::Restore(finished)], vec![imported]).await?;
        // From here on it is everybody's, and no error of ours removes it.
        self.board = None;
        let row = BoardRow { board, head_seq: committed.seq(), first_seq: 1, next_number: end.next_number };
        Ok((row.board.id, Imported { board: row, tasks, events: end.events }))
    }

    async fn restore(&self, piece: Restored) -> Result<(), EngineError> {
        match self.engine.commit(Commit::new(vec![Change::Restore(piece)], Vec::new())).await {
            Ok(_) => Ok(()),
            Err(StoreError::Taken("id")) => {
                let detail = "a task of this board is, or was, on another board of this server".to_owned();
                Err(EngineError::Taken { field: "id", detail })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn wrong(&self, detail: &str) -> EngineError {
        wrong_at(self.lines, detail)
    }
}

fn wrong_at(line: u64, detail: &str) -> EngineError {
    Invalid::new("file", format!("line {line}: {detail}")).into()
}

/// Counts and versions begin with 1.
const fn sound(count: Version) -> bool {
    count > 0 && count < TOO_HIGH
}

/// What an import remembers of the tasks, so that the whole of them can be held to the rules: no texts, but numbers and
/// arrows.
#[derive(Default)]
struct Read {
    known: HashMap<TaskId, Known>,
    numbers: HashMap<TaskNumber, TaskId>,
    last_number: TaskNumber,
    /// Who bears which external reference in the store, by its fingerprint.
    references: HashMap<u128, TaskId>,
    /// Tasks whose external reference another one still bears: one that changed meanwhile, and comes again without it.
    later: HashMap<TaskId, (Task, bool)>,
    gone: HashMap<TaskId, u64>,
    arrows: usize,
    /// The last task that an event was about and that is in no file.
    stranger: Option<TaskId>,
}

struct Known {
    number: TaskNumber,
    line: u64,
    deleted: bool,
    /// Most tasks have none.
    ties: Option<Box<Ties>>,
}

#[derive(Default)]
struct Ties {
    blocked_by: Box<[TaskId]>,
    parent: Option<TaskId>,
    /// As it is in the store: a task that waits still bears its old one there.
    reference: Option<u128>,
}

enum Goes {
    Now,
    /// An earlier one may be waiting to be restored.
    Instead,
    Later,
}

/// A refusal: the line, and what is wrong there.
type Wrong = (u64, String);

impl Read {
    fn task(&mut self, task: &Task, deleted: bool, line: u64) -> Result<Goes, String> {
        let (id, number) = (task.id, task.number);
        if self.numbers.get(&number).is_some_and(|other| *other != id) {
            return Err(format!("two tasks have the number {number}"));
        }
        let before = self.known.remove(&id);
        if let Some(before) = &before
            && before.number != number
        {
            return Err(format!("task {number} has the id of task {}", before.number));
        }
        if self.known.len() >= MOST_TASKS {
            return Err(format!("a file has at most {MOST_TASKS} tasks"));
        }
        let again = before.is_some();
        let ties = before.and_then(|before| before.ties).unwrap_or_default();
        self.arrows -= ties.blocked_by.len() + usize::from(ties.parent.is_some());
        self.arrows += task.blocked_by.len() + usize::from(task.parent_id.is_some());
        if self.arrows > MOST_ARROWS {
            return Err(format!("the tasks of a file wait for each other at most {MOST_ARROWS} times"));
        }
        self.later.remove(&id);
        let wanted = reference(task, deleted);
        let free = wanted.is_none_or(|wanted| self.references.get(&wanted).is_none_or(|bearer| *bearer == id));
        if free {
            self.bear(id, ties.reference, wanted);
        } else if self.later.len() >= PIECE_ITEMS as usize {
            let reference = task.external_ref.as_deref().unwrap_or_default();
            return Err(format!("task {number} has the external_ref {reference} of another task"));
        }
        let ties = Ties {
            blocked_by: task.blocked_by.clone().into_boxed_slice(),
            parent: task.parent_id,
            reference: if free { wanted } else { ties.reference },
        };
        let tied = ties.parent.is_some() || ties.reference.is_some() || !ties.blocked_by.is_empty();
        self.numbers.insert(number, id);
        self.last_number = self.last_number.max(number);
        self.known.insert(id, Known { number, line, deleted, ties: tied.then(|| Box::new(ties)) });
        Ok(match (free, again) {
            (false, _) => Goes::Later,
            (true, false) => Goes::Now,
            (true, true) => Goes::Instead,
        })
    }

    fn bear(&mut self, id: TaskId, before: Option<u128>, now: Option<u128>) {
        if let Some(before) = before
            && self.references.get(&before) == Some(&id)
        {
            self.references.remove(&before);
        }
        if let Some(now) = now {
            self.references.insert(now, id);
        }
    }

    /// Whether it had been there.
    fn gone(&mut self, id: TaskId, line: u64) -> bool {
        let Some(known) = self.known.remove(&id) else { return false };
        let ties = known.ties.unwrap_or_default();
        self.arrows -= ties.blocked_by.len() + usize::from(ties.parent.is_some());
        self.bear(id, ties.reference, None);
        self.numbers.remove(&known.number);
        self.later.remove(&id);
        self.gone.insert(id, line);
        true
    }

    /// The tasks that waited for their external references, which must be free by now.
    fn settle(&mut self) -> Result<Vec<(Task, bool)>, Wrong> {
        let mut later: Vec<(Task, bool)> = std::mem::take(&mut self.later).into_values().collect();
        later.sort_unstable_by_key(|(task, _)| task.number);
        for (task, _) in &later {
            let before = self.known.get(&task.id).and_then(|known| known.ties.as_ref()).and_then(|ties| ties.reference);
            self.bear(task.id, before, None);
        }
        for (task, deleted) in &later {
            let Some(wanted) = reference(task, *deleted) else { continue };
            if let Some(bearer) = self.references.insert(wanted, task.id) {
                let (line, other) = (self.line_of(task.id), self.number_of(bearer));
                let external_ref = task.external_ref.as_deref().unwrap_or_default();
                let detail = format!("task {} has the external_ref {external_ref} of task {other}", task.number);
                return Err((line, detail));
            }
        }
        Ok(later)
    }

    /// What tasks wait for and are part of is on the board, can be seen from where it is named, and makes no circle.
    fn ties(&self) -> Result<(), Wrong> {
        let (mut waits, mut parts) = (Vec::new(), Vec::new());
        let mut first: Option<Wrong> = None;
        for (id, known) in &self.known {
            let Some(ties) = &known.ties else { continue };
            waits.extend(ties.blocked_by.iter().map(|to| (*id, *to)));
            parts.extend(ties.parent.map(|to| (*id, to)));
            for (field, to) in ties
                .blocked_by
                .iter()
                .map(|to| ("blocked_by", to))
                .chain(ties.parent.iter().map(|to| ("parent_id", to)))
            {
                let there = match self.known.get(to) {
                    Some(target) => known.deleted || !target.deleted,
                    // The store has cut its arrow when it went.
                    None => known.deleted && self.gone.get(to).is_some_and(|gone| *gone > known.line),
                };
                if !there && first.as_ref().is_none_or(|(line, _)| known.line < *line) {
                    let detail = format!("task {}: {field}: there is no task {to} on this board", known.number);
                    first = Some((known.line, detail));
                }
            }
        }
        if let Some(first) = first {
            return Err(first);
        }
        for (arrows, what) in [(waits, "wait for each other"), (parts, "be part of each other")] {
            if let Some(way) = any_circle(&arrows) {
                let line = way.iter().map(|id| self.line_of(*id)).max().unwrap_or_default();
                let way: Vec<String> = way.iter().map(|id| self.number_of(*id).to_string()).collect();
                return Err((line, format!("tasks would {what}: {}", way.join(" → "))));
            }
        }
        Ok(())
    }

    fn line_of(&self, id: TaskId) -> u64 {
        self.known.get(&id).map_or(0, |known| known.line)
    }

    fn number_of(&self, id: TaskId) -> TaskNumber {
        self.known.get(&id).map_or(0, |known| known.number)
    }
}

/// A fingerprint, since a million references would be much to hold. A deleted task bears none.
fn reference(task: &Task, deleted: bool) -> Option<u128> {
    let text = task.external_ref.as_deref().filter(|_| !deleted)?;
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    Some(half(0) << 64 | half(1))
}
