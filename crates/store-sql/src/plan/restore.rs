//! The pieces of an import. The board is hidden until the last of them, so they may refer to what is still to come.

use kanvoy_domain::event::{self, EventKind, Log, Seq};
use kanvoy_domain::{BoardId, Task, TaskId, TaskNumber, Timestamp};
use kanvoy_store::{Restored, StoreError, StoredEvent};
use serde::Deserialize;

use super::{Plan, id_of};
use crate::damaged;
use crate::ledger::{Counter, HIGHEST, Ledger, Standing};
use crate::script::{Expect, Value, int};
use crate::tables::{self, event_row, task_row};

/// Tasks whose old rows go with one statement.
const AT_ONCE: usize = 500;

impl<'m> Plan<'m> {
    pub(super) fn restore(&mut self, piece: &'m Restored, ledger: &mut Ledger) -> Result<(), StoreError> {
        match piece {
            Restored::Board(board) => {
                countable("a version of the board", [board.version, board.rev])?;
                self.insert_board(board, ledger.open(board.id, Standing::Importing)?, 1)
            }
            Restored::Tasks(tasks) => {
                for tasks in tasks.chunks(AT_ONCE) {
                    self.restore_tasks(tasks, ledger)?;
                }
                Ok(())
            }
            Restored::Events { board, events } => self.restore_events(*board, events, ledger),
            Restored::Finished { board, head, next_number } => self.finish(*board, *head, *next_number, ledger),
        }
    }

    fn restore_tasks(&mut self, tasks: &'m [(Task, bool)], ledger: &mut Ledger) -> Result<(), StoreError> {
        // Of this board alone: an id that another board uses is refused when it is inserted.
        let Some((first, _)) = tasks.first() else { return Ok(()) };
        let mut on_board = vec![Value::Int(ledger.importing(first.board_id)?.log)];
        on_board.extend(tasks.iter().map(|(task, _)| id_of(task.id)));
        let which = format!("board = ? AND id IN ({})", vec!["?"; tasks.len()].join(", "));
        self.script.step_with(
            format!("DELETE FROM blocker WHERE task IN (SELECT id FROM task WHERE {which})"),
            on_board.clone(),
            Expect::Anything,
        );
        self.script.step_with(format!("DELETE FROM task WHERE {which}"), on_board, Expect::Anything);
        for (task, deleted) in tasks {
            countable("a number or version of a task", [task.number, task.version, task.rev])?;
            let mut counter = ledger.importing(task.board_id)?;
            if task.number >= counter.next_number {
                counter.next_number = task.number + 1;
                ledger.set(Log::Board(task.board_id), Some(counter));
            }
            let deleted = deleted.then_some(task.updated_at);
            let row = task_row(counter.log, task, task.number, task.parent_id, deleted)?;
            self.script.row(&tables::TASK, row);
            for blocker in &task.blocked_by {
                self.script.row(&tables::BLOCKER, vec![id_of(task.id), id_of(*blocker)]);
            }
        }
        Ok(())
    }

    fn restore_events(
        &mut self,
        board: BoardId,
        events: &'m [StoredEvent],
        ledger: &mut Ledger,
    ) -> Result<(), StoreError> {
        let mut counter = ledger.importing(board)?;
        for event in events {
            countable("the seq of an event", [event.seq])?;
            let (body, at) = parts(event)?;
            let covered = covered_from(event);
            if counter.head == 0 && covered < event.seq {
                // What the exporter's retention had removed stays removed: it is shown from the log's own row.
                self.floor(counter, event.seq + 1, at);
            } else {
                if counter.head == 0 && event.seq > 1 {
                    self.floor(counter, event.seq, at);
                } else if covered != counter.head + 1 {
                    let why = format!("nothing follows {} but {}", counter.head, event.seq);
                    return Err(damaged("the log of the import", why));
                }
                let row = event_row(counter.log, event.seq, event.task, event.kind, at, body.into());
                self.script.row(&tables::EVENT, row);
            }
            counter.head = event.seq;
        }
        ledger.set(Log::Board(board), Some(counter));
        Ok(())
    }

    fn finish(
        &mut self,
        board: BoardId,
        head: Seq,
        next_number: TaskNumber,
        ledger: &mut Ledger,
    ) -> Result<(), StoreError> {
        countable("the head or the next number", [head, next_number])?;
        let mut counter = ledger.importing(board)?;
        if head > counter.head {
            // The end of the log was not brought along. A reader's cursor must still come past it.
            let at = self.at.unwrap_or(Timestamp::from_millis(0));
            if counter.head == 0 {
                self.floor(counter, head + 1, at);
            } else {
                let body = event::gap_body(Log::Board(board), counter.head + 1, head, "not imported", at);
                let row = event_row(counter.log, head, None::<TaskId>, EventKind::StreamGap, at, body.into());
                self.script.row(&tables::EVENT, row);
            }
            counter.head = head;
        }
        counter.next_number = counter.next_number.max(next_number);
        counter.standing = Standing::Seen;
        ledger.set(Log::Board(board), Some(counter));
        self.script.step(
            "UPDATE board SET importing = 0 WHERE log = ?",
            vec![Value::Int(counter.log)],
            Expect::Anything,
        );
        Ok(())
    }

    fn floor(&mut self, counter: Counter, first: Seq, at: Timestamp) {
        self.script.step(
            "UPDATE log SET first_seq = ?, pruned_at = ? WHERE id = ?",
            vec![int(first), Value::Int(at.millis()), Value::Int(counter.log)],
            Expect::Anything,
        );
    }
}

fn countable<const N: usize>(what: &str, numbers: [u64; N]) -> Result<(), StoreError> {
    match numbers.into_iter().find(|number| *number > HIGHEST) {
        Some(number) => Err(damaged("the import", format!("{number} is too high for {what}"))),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
struct Envelope {
    timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Gap {
    data: Bounds,
}

#[derive(Deserialize)]
struct Bounds {
    from: Seq,
}

/// The event without its `seq`, and when it happened.
fn parts(event: &StoredEvent) -> Result<(&str, Timestamp), StoreError> {
    let named = |why: String| damaged(&format!("event {} of the import", event.seq), why);
    let text = std::str::from_utf8(&event.text).map_err(|error| named(error.to_string()))?;
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| named(error.to_string()))?;
    let body = text.strip_prefix(&event::with_seq(event.seq, ",")).and(text.find(',').map(|comma| &text[comma..]));
    let body = body.ok_or_else(|| named("does not begin with its seq".into()))?;
    Ok((body, envelope.timestamp))
}

/// The first seq that the event stands for: an earlier one than its own when it is a gap.
fn covered_from(event: &StoredEvent) -> Seq {
    if event.kind != EventKind::StreamGap {
        return event.seq;
    }
    serde_json::from_slice::<Gap>(&event.text).map_or(event.seq, |gap| gap.data.from)
}
