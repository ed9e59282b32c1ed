//! Out: the board, its tasks as they are at one moment, and its log up to that moment.

use std::sync::Arc;

use bytes::Bytes;
use kanvoy_domain::event::EventKind;
use kanvoy_domain::{Board, BoardId, Log, Seq, Task, TaskId, TaskNumber};
use kanvoy_store::{BoardRow, EventQuery, Kinds, Store, StoredEvent};

use super::*;
use crate::{Engine, EngineError};

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

fn put(piece: &mut Vec<u8>, line: &Line<'_>) {
    // Writing our own plain structs to memory cannot fail.
    let _ = serde_json::to_writer(&mut *piece, line);
    piece.push(b'\n');
}
