//! A board with its log as a file: one JSON object a line, so that both ends hold only a page of it at a time.
//!
//! ```text
//! {"kanvoy_board":1,"board":{…}}
//! {"task":{…},"deleted":false}      by number; a task that changed while the file was written comes again, newer
//! {"event":{"seq":1,…}}             as they are kept
//! {"end":{"tasks":2,"events":9,"head_seq":9,"next_number":3}}
//! ```

use std::sync::Arc;

use bytes::Bytes;
use kanvoy_domain::event::EventKind;
use kanvoy_domain::{Board, BoardId, Log, NewEvent, Seq, Task, TaskId, TaskNumber};
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

#[derive(Serialize, Deserialize)]
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
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct End {
    tasks: u64,
    events: u64,
    head_seq: Seq,
    next_number: TaskNumber,
}

const EMPTY: Line<'static> =
    Line { kanvoy_board: None, board: None, task: None, deleted: None, event: None, end: None };

/// What an event's text says of itself that the store keeps beside it.
#[derive(Deserialize)]
struct Envelope<'a> {
    seq: Seq,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    task_id: Option<TaskId>,
}

impl Engine {
    /// The board as a file, to be drawn piece by piece with [`Export::next`].
    pub fn export(&self, board: BoardId) -> Export {
        let store = Arc::clone(&self.store);
        Export { store, board, at: Step::Begin, end: End::default(), head_before: 0 }
    }
}

pub struct Export {
    store: Arc<dyn Store>,
    board: BoardId,
    at: Step,
    end: End,
    /// The head when the first task was read: what was written later may have changed tasks that are out already.
    head_before: Seq,
}

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
        while piece.is_empty() {
            match self.at {
                Step::Begin => self.begin(&mut piece).await?,
                Step::Tasks { after } => self.tasks(after, &mut piece).await?,
                Step::Changed { after } => self.changed(after, &mut piece).await?,
                Step::Events { after } => self.events(after, &mut piece).await?,
                Step::End => {
                    put(&mut piece, &Line { end: Some(self.end), ..EMPTY });
                    self.at = Step::Over;
                }
                Step::Over => return Ok(None),
            }
        }
        Ok(Some(Bytes::from(piece)))
    }

    async fn begin(&mut self, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        let row = self.store.board(self.board).await?;
        let row = row.ok_or_else(|| EngineError::not_found("board", self.board))?;
        self.head_before = row.head_seq;
        put(piece, &Line { kanvoy_board: Some(LAYOUT), board: Some(row.board), ..EMPTY });
        self.at = Step::Tasks { after: 0 };
        Ok(())
    }

    async fn tasks(&mut self, after: TaskNumber, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        let tasks = self.store.export_tasks(self.board, after, PIECE_ITEMS).await?;
        self.at = match tasks.last() {
            Some((last, _)) => Step::Tasks { after: last.number },
            None => Step::Changed { after: self.head_before },
        };
        for (task, deleted) in tasks {
            self.task(task, deleted, piece);
        }
        Ok(())
    }

    fn task(&mut self, task: Task, deleted: bool, piece: &mut Vec<u8>) {
        self.end.tasks += 1;
        self.end.next_number = self.end.next_number.max(task.number + 1);
        put(piece, &Line { task: Some(task), deleted: Some(deleted), ..EMPTY });
    }

    /// Tasks that changed since the export began come again, until none has.
    async fn changed(&mut self, after: Seq, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        let query = EventQuery {
            log: Log::Board(self.board),
            after,
            task: None,
            kinds: Kinds::Only(vec![
                EventKind::TaskCreated,
                EventKind::TaskUpdated,
                EventKind::TaskStateChanged,
                EventKind::TaskDeleted,
            ]),
            limit: PIECE_ITEMS,
            max_bytes: PIECE_BYTES,
        };
        let head = self.store.head(query.log).await?;
        let events = self.store.events(&query).await?;
        let Some(last) = events.last() else {
            self.end.head_seq = head;
            self.at = Step::Events { after: 0 };
            return Ok(());
        };
        self.at = Step::Changed { after: last.seq };
        let mut ids: Vec<TaskId> = events.iter().filter_map(|event| event.task).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(row) = self.store.task(id).await? {
                self.task(row.task, false, piece);
            } else if let Some(task) = self.store.deleted_task(id).await? {
                self.task(task, true, piece);
            }
        }
        Ok(())
    }

    async fn events(&mut self, after: Seq, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        let query = EventQuery {
            log: Log::Board(self.board),
            after,
            task: None,
            kinds: Kinds::All,
            limit: PIECE_ITEMS,
            max_bytes: PIECE_BYTES,
        };
        let events = self.store.events(&query).await?;
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
        self.at = match last {
            Some(last) => Step::Events { after: last },
            None => Step::End,
        };
        Ok(())
    }
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

/// A board that is being read from a file. It is hidden until [`Import::finish`]; dropped before, it is removed at the next
/// start of the daemon, or by [`Import::abandon`].
pub struct Import {
    engine: Engine,
    by: By,
    how: ImportAs,
    lines: u64,
    board: Option<Board>,
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
        self.lines += 1;
        if text.is_empty() {
            return Ok(());
        }
        let line: Line<'_> = serde_json::from_slice(text).map_err(|error| self.wrong(&error.to_string()))?;
        match line {
            _ if self.end.is_some() => Err(self.wrong("there is something after the end")),
            Line { kanvoy_board: Some(layout), board: Some(board), .. } => self.begin(layout, board).await,
            _ if self.board.is_none() => Err(self.wrong("the file does not begin with a board")),
            Line { task: Some(task), deleted, .. } => {
                self.waiting_bytes += text.len();
                self.task(task, deleted.unwrap_or(false)).await
            }
            Line { event: Some(event), .. } => {
                self.waiting_bytes += text.len();
                self.event(event).await
            }
            Line { end: Some(end), .. } => {
                self.end = Some(end);
                Ok(())
            }
            _ => Err(self.wrong("neither a task, an event nor the end")),
        }
    }

    async fn begin(&mut self, layout: u32, mut board: Board) -> Result<(), EngineError> {
        if layout != LAYOUT {
            return Err(self.wrong(&format!("the file has layout {layout}; this version reads layout {LAYOUT}")));
        }
        if self.board.is_some() {
            return Err(self.wrong("there is a second board"));
        }
        if let Some(key) = &self.how.key {
            board.key = key.parse()?;
        }
        if let Some(name) = &self.how.name {
            board.name = kanvoy_domain::text::line("name", name, kanvoy_domain::text::MAX_NAME)?;
        }
        self.restore(Restored::Board(Box::new(board.clone()))).await.map_err(|error| match error {
            StoreError::Taken("key") => crate::boards::key_taken(&board.key),
            StoreError::Taken(_) => EngineError::Taken {
                field: "id",
                detail: format!("board {} is, or was, on this server already; purge it first", board.key),
            },
            other => other.into(),
        })?;
        self.board = Some(board);
        Ok(())
    }

    async fn task(&mut self, task: Task, deleted: bool) -> Result<(), EngineError> {
        let Some(board) = &self.board else { return Ok(()) };
        let placed = board.column(task.column_id).is_some_and(|column| column.holds(task.state));
        if task.board_id != board.id || task.number == 0 || !placed {
            return Err(self.wrong(&format!("task {} does not fit its board", task.number)));
        }
        self.counted.tasks += 1;
        self.counted.next_number = self.counted.next_number.max(task.number + 1);
        self.tasks.push((task, deleted));
        if self.is_full(self.tasks.len()) { self.flush().await } else { Ok(()) }
    }

    async fn event(&mut self, event: &RawValue) -> Result<(), EngineError> {
        let envelope: Envelope<'_> =
            serde_json::from_str(event.get()).map_err(|error| self.wrong(&error.to_string()))?;
        if envelope.seq <= self.last_seq {
            return Err(self.wrong(&format!("event {} comes after event {}", envelope.seq, self.last_seq)));
        }
        let kind = envelope
            .kind
            .parse()
            .map_err(|_| self.wrong(&format!("this version knows no event of type {}", envelope.kind)))?;
        // Rows keep what follows the `seq`, which therefore must be where we write it.
        if !event.get().starts_with(&format!("{{\"seq\":{},\"type\":", envelope.seq)) {
            return Err(self.wrong("an event does not begin with its seq and type"));
        }
        self.last_seq = envelope.seq;
        self.counted.events += 1;
        let text = Bytes::copy_from_slice(event.get().as_bytes());
        self.events.push(StoredEvent { seq: envelope.seq, kind, task: envelope.task_id, text });
        if self.is_full(self.events.len()) { self.flush().await } else { Ok(()) }
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

    /// Shows the board, if the file was whole. The claim, if any, is on the whole file.
    pub async fn finish(mut self, claim: Option<Claim>) -> Result<Imported, EngineError> {
        let Some(end) = self.end else {
            return Err(self.wrong("the file is cut off: it has no end"));
        };
        let Some(board) = self.board.clone() else {
            return Err(self.wrong("the file holds no board"));
        };
        if (end.tasks, end.events) != (self.counted.tasks, self.counted.events) {
            return Err(self.wrong("the file is not whole: lines are missing"));
        }
        if self.last_seq > end.head_seq {
            return Err(self.wrong("the last event lies beyond the head that the file names"));
        }
        self.flush().await?;
        let next_number = self.counted.next_number.max(end.next_number).max(1);
        let finished = Restored::Finished { board: board.id, head: end.head_seq, next_number };
        let data = json!({ "tasks": end.tasks, "events": end.events, "key": board.key });
        let now = self.engine.clock.now();
        let imported = NewEvent::new(Log::Board(board.id), EventKind::BoardImported, now, self.by.actor.clone(), &data);
        let by = By { claim, ..self.by.clone() };
        let mut changes = vec![Change::Restore(finished)];
        changes.extend(crate::boards::first_member(&by, board.id, now));
        self.engine.record(&by, changes, vec![imported]).await?;
        let row = self.engine.store.board(board.id).await?;
        let row = row.ok_or_else(|| EngineError::not_found("board", board.id))?;
        Ok(Imported { board: row, tasks: end.tasks, events: end.events })
    }

    /// Removes what was read so far.
    pub async fn abandon(self) -> Result<(), EngineError> {
        if let Some(board) = self.board {
            let purge = Commit::new(vec![Change::PurgeBoard(board.id)], Vec::new());
            self.engine.store.commit(purge).await?;
        }
        Ok(())
    }

    async fn restore(&self, piece: Restored) -> Result<(), StoreError> {
        self.engine.store.commit(Commit::new(vec![Change::Restore(piece)], Vec::new())).await?;
        Ok(())
    }

    fn wrong(&self, detail: &str) -> EngineError {
        kanvoy_domain::Invalid::new("file", format!("line {}: {detail}", self.lines)).into()
    }
}
