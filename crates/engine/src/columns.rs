//! Changing a board's columns. Cards that lie in a place that goes are brought to the home of their state in the same
//! commit, so that no card ever lies where its state is not held.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use kanvoy_domain::board::{ColumnEdit, LayoutError};
use kanvoy_domain::{Board, BoardId, ColumnId, Rank, Task, Version};
use kanvoy_store::Change;

use crate::boards::{archived, board_updated, fresh};
use crate::record::{Unsettled, until_settled};
use crate::tasks::task_updated;
use crate::{By, Engine, EngineError, Written};

impl Engine {
    pub async fn add_column(
        &self,
        by: &By,
        board: BoardId,
        new: ColumnEdit,
    ) -> Result<Written<(Board, ColumnId)>, EngineError> {
        let id = self.ids.column();
        until_settled!(self, {
            let row = self.store.board(board).await?.ok_or_else(|| EngineError::not_found("board", board))?;
            not_archived(&row.board)?;
            let now = self.clock.now();
            let board = row.board.with_column(id, new.clone(), now)?;
            let updated = board_updated(by, &board, &["columns"], now);
            let committed = self.record(by, vec![Change::Board(board.clone())], vec![updated]).await?;
            Ok(Written { object: (board, id), seq: committed.seq() })
        })
    }

    /// `version` is the board's, which its columns are part of.
    pub async fn update_column(
        &self,
        by: &By,
        column: ColumnId,
        edit: ColumnEdit,
        version: Option<Version>,
    ) -> Result<Written<(Board, ColumnId)>, EngineError> {
        until_settled!(self, {
            let row = self.board_of(column).await?;
            not_archived(&row.board)?;
            fresh(version, row.board.version)?;
            let board = row.board.with_column_edited(column, edit.clone(), self.clock.now()).map_err(refused)?;
            if board == row.board {
                return Ok(Written { object: (board, column), seq: row.head_seq });
            }
            let seq = self.lay_out(by, &board, column).await?;
            Ok(Written { object: (board, column), seq })
        })
    }

    pub async fn remove_column(&self, by: &By, column: ColumnId) -> Result<Written<Board>, EngineError> {
        until_settled!(self, {
            let row = self.board_of(column).await?;
            not_archived(&row.board)?;
            let board = row.board.without_column(column, self.clock.now()).map_err(refused)?;
            let seq = self.lay_out(by, &board, column).await?;
            Ok(Written { object: board, seq })
        })
    }

    async fn board_of(&self, column: ColumnId) -> Result<kanvoy_store::BoardRow, EngineError> {
        self.store.board_of_column(column).await?.ok_or_else(|| EngineError::not_found("column", column))
    }

    /// Commits the board's new columns, with the cards of the changed column that must go elsewhere.
    async fn lay_out(&self, by: &By, board: &Board, changed: ColumnId) -> Result<u64, Unsettled> {
        let now = board.updated_at;
        let mut changes = Vec::new();
        let mut events = Vec::new();
        // Where each of the columns that take cards in has come to, so that the cards keep their order.
        let mut ends: HashMap<ColumnId, Option<Rank>> = HashMap::new();
        for task in self.store.tasks_in_column(changed).await? {
            if board.column(changed).is_some_and(|column| column.holds(task.state)) {
                continue;
            }
            let Some(home) = board.home(task.state) else {
                return Err(EngineError::Homeless { states: vec![task.state] }.into());
            };
            if let Entry::Vacant(end) = ends.entry(home.id) {
                end.insert(self.store.last_rank(home.id).await?);
            }
            let rank = Rank::at_end(ends.get(&home.id).and_then(Option::as_ref), now);
            ends.insert(home.id, Some(rank.clone()));
            let moved = Task { column_id: home.id, rank, ..task };
            events.push(task_updated(by, &moved, &["column_id", "rank"], now));
            changes.push(Change::Task(moved));
        }
        events.push(board_updated(by, board, &["columns"], now));
        changes.push(Change::Board(board.clone()));
        Ok(self.record(by, changes, events).await?.seq())
    }
}

fn not_archived(board: &Board) -> Result<(), EngineError> {
    if board.archived_at.is_some() { Err(archived(board)) } else { Ok(()) }
}

fn refused(error: LayoutError) -> EngineError {
    match error {
        LayoutError::NoSuchColumn => EngineError::not_found("column", ""),
        LayoutError::Homeless(states) => EngineError::Homeless { states },
        LayoutError::Invalid(invalid) => EngineError::Invalid(invalid),
    }
}
