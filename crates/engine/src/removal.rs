//! Putting boards and tasks out of sight, and out of the world. Nothing goes while something else depends on it, and what
//! stands in the way is named.

use kanvoy_domain::task::{Because, Hindrance};
use kanvoy_domain::{Board, BoardId, EventKind, Log, NewEvent, State, Task, TaskId};
use kanvoy_store::{Change, Order, TaskQuery, WhichTasks};
use serde_json::json;

use crate::record::{Unsettled, until_settled};
use crate::tasks::not_active;
use crate::{By, Engine, EngineError, Written};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Out of sight. The log keeps what happened.
    Hide,
    /// Gone: the rows for good, and a tombstone in place of each event.
    Purge,
}

/// So many tasks that stand in the way are looked for; a person reads no more.
const HINDRANCES: u32 = 20;

impl Engine {
    pub async fn delete_task(&self, by: &By, id: TaskId, how: Removal) -> Result<Written<Task>, EngineError> {
        until_settled!(self, {
            let now = self.clock.now();
            let (task, hidden) = match (self.store.task(id).await?, how) {
                (Some(row), _) => (row.task, false),
                (None, Removal::Purge) => {
                    let task = self.store.deleted_task(id).await?;
                    (task.ok_or_else(|| EngineError::not_found("task", id))?, true)
                }
                (None, Removal::Hide) => return Err(EngineError::not_found("task", id).into()),
            };
            let board = self.board(task.board_id).await?;
            let mut changes = Vec::new();
            if !hidden {
                not_active(&board, &task)?;
                changes.push(self.not_needed(&board, &task).await?);
            }
            let log = Log::Board(board.id);
            let data = json!({ "id": task.id, "number": task.number, "purged": how == Removal::Purge });
            let kind = match how {
                Removal::Hide => EventKind::TaskDeleted,
                Removal::Purge => EventKind::TaskPurged,
            };
            let mut event = NewEvent::new(log, kind, now, by.actor.clone(), &data);
            match how {
                Removal::Hide => {
                    event = event.about(task.id);
                    changes.push(Change::DeleteTask(task.clone()));
                }
                // The last word on a purged task is not part of its history: it must not become a tombstone later.
                Removal::Purge => changes.push(Change::PurgeTask { task: task.id, board: board.id, at: now }),
            }
            let committed = self.record_task(by, &board, &task, changes, vec![event]).await?;
            Ok(Written { object: task, seq: committed.seq() })
        })
    }

    /// Refuses while other tasks wait for this one or are part of it; gives the guard that keeps it so until the commit.
    async fn not_needed(&self, board: &Board, task: &Task) -> Result<Change, Unsettled> {
        let (edges, counted) = self.store.edges(board.id).await?;
        let mut hindrances = Vec::new();
        for edge in edges.iter().filter(|edge| edge.to == task.id).take(HINDRANCES as usize) {
            let because = match edge.kind {
                kanvoy_store::EdgeKind::WaitsFor => Because::WaitsForIt,
                kanvoy_store::EdgeKind::PartOf => Because::IsPartOfIt,
            };
            if let Some(row) = self.store.task(edge.from).await? {
                hindrances.push(Hindrance { number: row.task.number, because });
            }
        }
        if hindrances.is_empty() {
            return Ok(Change::Arrows { board: board.id, counted });
        }
        let what = format!("{}-{}", board.key, task.number);
        Err(EngineError::Hindered { what, hindrances }.into())
    }

    pub async fn delete_board(&self, by: &By, id: BoardId, how: Removal) -> Result<Written<Board>, EngineError> {
        until_settled!(self, {
            let board = match (self.store.board(id).await?, how) {
                (Some(row), _) => row.board,
                (None, Removal::Purge) => {
                    let board = self.store.deleted_board(id).await?;
                    board.ok_or_else(|| EngineError::not_found("board", id))?
                }
                (None, Removal::Hide) => return Err(EngineError::not_found("board", id).into()),
            };
            self.nobody_at_work(&board).await?;
            let now = self.clock.now();
            let data = json!({ "id": id, "key": board.key, "name": board.name, "purged": how == Removal::Purge });
            let told = |log| NewEvent::new(log, EventKind::BoardDeleted, now, by.actor.clone(), &data);
            // Told twice: to those who watch the board, whose log goes out of sight with it, and to the system's log.
            let (changes, events) = match how {
                Removal::Hide => {
                    (vec![Change::DeleteBoard(board.clone())], vec![told(Log::Board(id)), told(Log::System)])
                }
                Removal::Purge => (vec![Change::PurgeBoard(id)], vec![told(Log::System)]),
            };
            let committed = self.record(by, changes, events).await?;
            self.boards.forget(id);
            Ok(Written { object: board, seq: committed.seqs.first().copied().unwrap_or_default() })
        })
    }

    pub(crate) async fn nobody_at_work(&self, board: &Board) -> Result<(), Unsettled> {
        let at_work = TaskQuery {
            board: Some(board.id),
            states: State::ALL.into_iter().filter(|state| state.is_active()).collect(),
            archived: WhichTasks::All,
            order: Order::Oldest,
            limit: HINDRANCES,
            ..TaskQuery::default()
        };
        let page = self.store.tasks(&at_work).await?;
        if page.items.is_empty() {
            return Ok(());
        }
        let hindrances = page
            .items
            .iter()
            .map(|row| Hindrance { number: row.task.number, because: Because::Active(row.task.state) })
            .collect();
        Err(EngineError::Hindered { what: format!("board {}", board.key), hindrances }.into())
    }

    /// Removes what an import that was cut off has left. For the start of the daemon.
    pub async fn clear_half_imported(&self) -> Result<usize, EngineError> {
        let boards = self.store.half_imported().await?;
        for board in &boards {
            self.record(&By::engine(), vec![Change::PurgeBoard(*board)], Vec::new()).await?;
        }
        Ok(boards.len())
    }
}
