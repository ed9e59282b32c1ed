//! From changes to statements: what each [`Change`] does to the tables, and what it counts on.
//!
//! Nothing is read here. What a change counts on is written into its statement's `WHERE`, and the number of rows that the
//! statement changed tells whether it was so.

use std::collections::{HashMap, HashSet};

use kanvoy_domain::event::{self, Log, Seq};
use kanvoy_domain::{Board, BoardId, Task, TaskId, TaskNumber, Timestamp};
use kanvoy_store::{Change, Commit, Restored, StoreError, UNANSWERED_FOR_HOURS};

use crate::ledger::{Counter, Ledger, Standing};
use crate::script::{Expect, Missed, Script, Value, int, text};
use crate::tables::{self, board_fields, claim_row, column_row, column_state_row, session_row, task_change, task_row};

mod restore;

macro_rules! change_of_task {
    () => {
        "UPDATE task SET title = ?, state = ?, column_id = ?, rank = ?, priority = ?, agent_type = ?, repository_url = ?,
            branch = ?, labels = ?, parent_id = ?, external_ref = ?, attempts = ?, failure = ?, updated_at = ?,
            archived_at = ?, version = ?, description = ?, search = ?, rev = rev + 1
         WHERE id = ? AND board = ? AND rev = ? AND deleted_at IS NULL"
    };
}

/// Only what can be seen on the same board can be had as a part.
macro_rules! change_of_part {
    () => {
        concat!(
            change_of_task!(),
            " AND EXISTS (SELECT 1 FROM task p WHERE p.id = ? AND p.board = task.board AND p.deleted_at IS NULL)"
        )
    };
}

/// One member of a group, ready to be written.
#[derive(Debug, Default)]
pub struct Plan<'m> {
    pub script: Script<'m>,
    /// What must see the events of the whole group, those of members before this one too: it runs when they are written.
    pub afterwards: Script<'m>,
    pub numbers: Vec<TaskNumber>,
    pub number_of: HashMap<TaskId, TaskNumber>,
    /// The log's key and the seq of each event of the commit.
    pub seqs: Vec<(i64, Seq)>,
    /// When the commit's first event happened: the time of what the store adds to the log by itself.
    at: Option<Timestamp>,
}

/// Only adds rows that depend on nothing else in the group: such members are written with the same statements.
pub fn only_adds(commit: &Commit) -> bool {
    commit.changes.iter().all(|change| match change {
        Change::NewTask(task) => task.blocked_by.is_empty() && task.parent_id.is_none(),
        Change::Claim(_) | Change::Answer { .. } | Change::NewSession(_) => true,
        _ => false,
    })
}

/// The logs that the commits count on or write to: each once, in no order.
pub fn logs_of(commits: &[Commit]) -> HashSet<Log> {
    let mut logs = HashSet::new();
    for commit in commits {
        logs.extend(commit.events.iter().map(|event| event.log));
        logs.extend(commit.changes.iter().filter_map(board_of).map(Log::Board));
    }
    logs
}

fn board_of(change: &Change) -> Option<BoardId> {
    match change {
        Change::NewBoard(board) | Change::Board(board) | Change::DeleteBoard(board) => Some(board.id),
        Change::NewTask(task) | Change::Task(task) | Change::DeleteTask(task) => Some(task.board_id),
        Change::PurgeBoard(board)
        | Change::PurgeTask { board, .. }
        | Change::Arrows { board, .. }
        | Change::Prune { board, .. } => Some(*board),
        Change::Restore(piece) => match piece {
            Restored::Board(board) => Some(board.id),
            Restored::Tasks(tasks) => tasks.first().map(|(task, _)| task.board_id),
            Restored::Events { board, .. } | Restored::Finished { board, .. } => Some(*board),
        },
        Change::NewSession(_)
        | Change::EndSession(_)
        | Change::Sweep { .. }
        | Change::Claim(_)
        | Change::Answer { .. } => None,
    }
}

/// Whether one of them makes a board, which needs a key that no log has.
pub fn makes_boards(commits: &[Commit]) -> bool {
    let mut changes = commits.iter().flat_map(|commit| &commit.changes);
    changes.any(|change| matches!(change, Change::NewBoard(_) | Change::Restore(Restored::Board(_))))
}

/// Draws the numbers that the commit needs. When it fails, the caller gives back what was drawn.
pub fn plan<'m>(commit: &'m Commit, ledger: &mut Ledger) -> Result<Plan<'m>, StoreError> {
    let mut plan = Plan { at: commit.events.first().map(|event| event.at), ..Plan::default() };
    for change in &commit.changes {
        plan.change(change, ledger)?;
    }
    for event in &commit.events {
        plan.seqs.push(ledger.next_seq(event.log)?);
    }
    Ok(plan)
}

impl<'m> Plan<'m> {
    fn change(&mut self, change: &'m Change, ledger: &mut Ledger) -> Result<(), StoreError> {
        match change {
            Change::NewBoard(board) => self.new_board(board, ledger.open(board.id, Standing::Seen)?),
            Change::Board(board) => self.board(board, ledger.seen(board.id)?.log),
            Change::DeleteBoard(board) => self.delete_board(board, ledger),
            Change::PurgeBoard(board) => self.purge_board(*board, ledger),
            Change::NewTask(task) => self.new_task(task, ledger),
            Change::Task(task) => self.task(task, ledger.seen(task.board_id)?.log),
            Change::DeleteTask(task) => {
                let log = ledger.seen(task.board_id)?.log;
                self.script.step(
                    "UPDATE task SET deleted_at = ?, rev = rev + 1
                     WHERE id = ? AND board = ? AND rev = ? AND deleted_at IS NULL",
                    vec![Value::Int(task.updated_at.millis()), id_of(task.id), Value::Int(log), int(task.rev)],
                    Expect::Changed(1, Missed::Task(task.id)),
                );
                Ok(())
            }
            Change::PurgeTask { task, board, at } => self.purge_task(*task, *board, *at, ledger),
            Change::Arrows { board, counted } => {
                let log = ledger.seen(*board)?.log;
                self.script.step(
                    "UPDATE log SET arrows = arrows + 1 WHERE id = ? AND arrows = ?",
                    vec![Value::Int(log), int(*counted)],
                    Expect::Changed(1, Missed::Changed),
                );
                Ok(())
            }
            Change::Prune { board, through } => {
                self.prune(ledger.seen(*board)?, *through);
                Ok(())
            }
            Change::NewSession(session) => {
                self.script.row(&tables::SESSION, session_row(session));
                Ok(())
            }
            Change::EndSession(hash) => {
                self.script.step("DELETE FROM session WHERE hash = ?", vec![Value::Blob(hash)], Expect::Anything);
                Ok(())
            }
            Change::Sweep { before } => {
                self.sweep(*before);
                Ok(())
            }
            Change::Claim(claim) => {
                self.script.row(&tables::CLAIM, claim_row(claim));
                Ok(())
            }
            Change::Answer { claim, answer } => {
                let (status, body) = match &answer.said {
                    Some((status, body)) => (Value::Int((*status).into()), Value::Blob(body)),
                    None => (Value::Null, Value::Null),
                };
                let mut row = claim_row(claim);
                row.extend([status, body]);
                self.script.row(&tables::ANSWER, row);
                Ok(())
            }
            Change::Restore(piece) => self.restore(piece, ledger),
        }
    }

    fn new_board(&mut self, board: &'m Board, counter: Counter) -> Result<(), StoreError> {
        self.insert_board(board, counter, 0)
    }

    fn insert_board(&mut self, board: &'m Board, counter: Counter, importing: i64) -> Result<(), StoreError> {
        let log = counter.log;
        self.script.step("INSERT INTO log (id) VALUES (?)", vec![Value::Int(log)], Expect::Anything);
        let mut values = vec![Value::Int(log), id_of_board(board.id), text(board.key.as_str())];
        values.extend(board_fields(board)?);
        values.extend([Value::Int(board.created_at.millis()), int(board.rev), Value::Int(importing)]);
        self.script.step(
            "INSERT INTO board (log, id, key, name, repository_url, default_branch, settings, version, updated_at,
                archived_at, description, created_at, rev, importing)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
            Expect::Anything,
        );
        self.columns(board, log);
        Ok(())
    }

    fn board(&mut self, board: &'m Board, log: i64) -> Result<(), StoreError> {
        let mut values = board_fields(board)?;
        values.extend([Value::Int(log), int(board.rev)]);
        self.script.step(
            "UPDATE board SET name = ?, repository_url = ?, default_branch = ?, settings = ?, version = ?,
                updated_at = ?, archived_at = ?, description = ?, rev = rev + 1
             WHERE log = ? AND rev = ?",
            values,
            Expect::Changed(1, Missed::Changed),
        );
        // Out of the way, since two columns may change places and no two share one at any moment.
        self.script.step(
            "UPDATE board_column SET position = -1 - position WHERE board = ?",
            vec![Value::Int(log)],
            Expect::Anything,
        );
        self.columns(board, log);
        // First the states that go, then the columns: a card that still lies there stops either.
        let mut held = vec![Value::Int(log)];
        for column in &board.columns {
            for state in &column.states {
                held.extend([Value::Id(*column.id.uuid().as_bytes()), text(state.as_str())]);
            }
        }
        let pairs = vec!["(?, ?)"; held.len() / 2].join(", ");
        self.script.step_with(
            format!("DELETE FROM column_state WHERE board = ? AND (column_id, state) NOT IN (VALUES {pairs})"),
            held,
            Expect::Anything,
        );
        let mut kept = vec![Value::Int(log)];
        kept.extend(board.columns.iter().map(|column| Value::Id(*column.id.uuid().as_bytes())));
        let marks = vec!["?"; board.columns.len()].join(", ");
        self.script.step_with(
            format!("DELETE FROM board_column WHERE board = ? AND id NOT IN ({marks})"),
            kept,
            Expect::Anything,
        );
        Ok(())
    }

    fn columns(&mut self, board: &'m Board, log: i64) {
        for (position, column) in board.columns.iter().enumerate() {
            self.script.row(&tables::COLUMN, column_row(log, position, column));
        }
        for column in &board.columns {
            for (place, state) in column.states.iter().enumerate() {
                self.script.row(&tables::COLUMN_STATE, column_state_row(log, column, place, *state));
            }
        }
    }

    fn delete_board(&mut self, board: &'m Board, ledger: &mut Ledger) -> Result<(), StoreError> {
        let counter = ledger.seen(board.id)?;
        ledger.set(Log::Board(board.id), Some(Counter { standing: Standing::Deleted, ..counter }));
        self.script.step(
            "UPDATE board SET deleted_at = ?, rev = rev + 1 WHERE log = ? AND rev = ?",
            vec![Value::Int(board.updated_at.millis()), Value::Int(counter.log), int(board.rev)],
            Expect::Changed(1, Missed::Changed),
        );
        Ok(())
    }

    fn purge_board(&mut self, board: BoardId, ledger: &mut Ledger) -> Result<(), StoreError> {
        let log = ledger.counter(Log::Board(board))?.log;
        ledger.set(Log::Board(board), None);
        let mut by_log = |sql| self.script.step(sql, vec![Value::Int(log)], Expect::Anything);
        by_log("DELETE FROM blocker WHERE task IN (SELECT id FROM task WHERE board = ?)");
        by_log("DELETE FROM task WHERE board = ?");
        by_log("DELETE FROM column_state WHERE board = ?");
        by_log("DELETE FROM board_column WHERE board = ?");
        by_log("DELETE FROM board WHERE log = ?");
        by_log("DELETE FROM log WHERE id = ?");
        self.leave_over(log, i64::MAX);
        Ok(())
    }

    fn new_task(&mut self, task: &'m Task, ledger: &mut Ledger) -> Result<(), StoreError> {
        let (log, number) = ledger.next_number(task.board_id)?;
        self.numbers.push(number);
        self.number_of.insert(task.id, number);
        self.script.row(&tables::TASK, task_row(log, task, number, None, None)?);
        if let Some(parent) = task.parent_id {
            self.script.step(
                "UPDATE task SET parent_id = ? WHERE id = ?
                 AND EXISTS (SELECT 1 FROM task p WHERE p.id = ? AND p.board = task.board AND p.deleted_at IS NULL)",
                vec![id_of(parent), id_of(task.id), id_of(parent)],
                Expect::Changed(1, Missed::Changed),
            );
        }
        self.blockers(task, log);
        Ok(())
    }

    fn task(&mut self, task: &'m Task, log: i64) -> Result<(), StoreError> {
        let mut values = task_change(task)?;
        values.extend([id_of(task.id), Value::Int(log), int(task.rev)]);
        values.extend(task.parent_id.map(id_of));
        let sql = if task.parent_id.is_some() { change_of_part!() } else { change_of_task!() };
        self.script.step(sql, values, Expect::Changed(1, Missed::Task(task.id)));
        self.script.step("DELETE FROM blocker WHERE task = ?", vec![id_of(task.id)], Expect::Anything);
        self.blockers(task, log);
        Ok(())
    }

    /// Only what can be seen on the same board can be waited for.
    fn blockers(&mut self, task: &Task, log: i64) {
        if task.blocked_by.is_empty() {
            return;
        }
        let mut values = vec![id_of(task.id), Value::Int(log)];
        values.extend(task.blocked_by.iter().map(|blocker| id_of(*blocker)));
        let marks = vec!["?"; task.blocked_by.len()].join(", ");
        self.script.step_with(
            format!(
                "INSERT INTO blocker (task, blocker)
                 SELECT ?, id FROM task WHERE board = ? AND deleted_at IS NULL AND id IN ({marks})"
            ),
            values,
            Expect::Changed(task.blocked_by.len() as u64, Missed::Changed),
        );
    }

    fn purge_task(&mut self, task: TaskId, board: BoardId, at: Timestamp, ledger: &Ledger) -> Result<(), StoreError> {
        let log = ledger.counter(Log::Board(board))?.log;
        self.script.step(
            "DELETE FROM task WHERE id = ? AND board = ?",
            vec![id_of(task), Value::Int(log)],
            Expect::Changed(1, Missed::Gone),
        );
        let mut of_task = |sql| self.script.step(sql, vec![id_of(task)], Expect::Anything);
        of_task("DELETE FROM blocker WHERE task = ?");
        of_task("DELETE FROM blocker WHERE blocker = ?");
        of_task("UPDATE task SET parent_id = NULL, rev = rev + 1 WHERE parent_id = ?");
        // Every tombstone names its own seq: it is written for one that no event has, which SQL then replaces.
        let tombstone = event::gap_body(Log::Board(board), Seq::MAX, Seq::MAX, "purged", at);
        self.afterwards.step(
            "UPDATE event SET task = NULL, kind = 'stream.gap', at = ?,
                body = replace(?, '18446744073709551615', CAST(seq AS TEXT))
             WHERE task = ? AND log = ?",
            vec![Value::Int(at.millis()), Value::Text(tombstone.into()), id_of(task), Value::Int(log)],
            Expect::Anything,
        );
        Ok(())
    }

    /// Readers stop seeing the events at once; the rows go later, a piece at a time.
    fn prune(&mut self, counter: Counter, through: Seq) {
        let through = i64::try_from(through.min(counter.head)).unwrap_or(i64::MAX);
        self.afterwards.step(
            "UPDATE log SET first_seq = ? + 1,
                pruned_at = (SELECT at FROM event WHERE log = ? AND seq <= ? ORDER BY seq DESC LIMIT 1)
             WHERE id = ? AND first_seq <= ?",
            [through, counter.log, through, counter.log, through].map(Value::Int).to_vec(),
            Expect::Anything,
        );
        self.leave_over(counter.log, through);
    }

    fn leave_over(&mut self, log: i64, through: i64) {
        self.script.step(
            "INSERT INTO leftover (log, through) VALUES (?, ?)
             ON CONFLICT (log) DO UPDATE SET through =
                CASE WHEN excluded.through > leftover.through THEN excluded.through ELSE leftover.through END",
            vec![Value::Int(log), Value::Int(through)],
            Expect::Anything,
        );
    }

    fn sweep(&mut self, before: Timestamp) {
        let claimed = before.millis().saturating_sub(UNANSWERED_FOR_HOURS * 3_600_000);
        self.script.step(
            "DELETE FROM session WHERE expires_at < ?",
            vec![Value::Int(before.millis())],
            Expect::Anything,
        );
        self.script.step("DELETE FROM claim WHERE at < ?", vec![Value::Int(claimed)], Expect::Anything);
    }
}

fn id_of(task: TaskId) -> Value<'static> {
    Value::Id(*task.uuid().as_bytes())
}

fn id_of_board(board: BoardId) -> Value<'static> {
    Value::Id(*board.uuid().as_bytes())
}
