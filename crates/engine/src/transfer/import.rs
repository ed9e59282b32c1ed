//! In: the lines of such a file, held to the rules of every change, hidden until the last of them was sound.

use bytes::Bytes;
use kanvoy_domain::event::EventKind;
use kanvoy_domain::{Board, BoardId, Log, NewEvent, Seq, Task, TaskId};
use kanvoy_store::{BoardRow, Change, Claim, Commit, Restored, StoreError, StoredEvent};
use serde_json::json;
use serde_json::value::RawValue;

use super::rules::{Goes, Read, sound};
use super::*;
use crate::{By, Engine, EngineError};

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
        if let Err(error) = self.engine.store.commit(purge).await {
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
        match self.engine.store.commit(Commit::new(changes, Vec::new())).await {
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
        match self.engine.store.commit(Commit::new(vec![purge], Vec::new())).await {
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
        let now = self.engine.clock.now();
        let imported = NewEvent::new(Log::Board(board.id), EventKind::BoardImported, now, self.by.actor.clone(), &data);
        let by = By { claim, ..self.by.clone() };
        let mut changes = vec![Change::Restore(finished)];
        changes.extend(crate::boards::first_member(&by, board.id, now));
        let committed = self.engine.record(&by, changes, vec![imported]).await?;
        // From here on it is everybody's, and no error of ours removes it.
        self.board = None;
        let row = BoardRow { board, head_seq: committed.seq(), first_seq: 1, next_number: end.next_number };
        Ok((row.board.id, Imported { board: row, tasks, events: end.events }))
    }

    async fn restore(&self, piece: Restored) -> Result<(), EngineError> {
        match self.engine.store.commit(Commit::new(vec![Change::Restore(piece)], Vec::new())).await {
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
