//! Changing a board's columns. Cards that lie in a place that goes are brought to the home of their state in the same
//! commit, so that no card ever lies where its state is not held.

use kanvoy_domain::board::{ColumnEdit, LayoutError};
use kanvoy_domain::{Board, BoardId, ColumnId, Rank, Task, Version};
use kanvoy_store::Change;

use crate::boards::{board_updated, fresh};
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
        until_settled!({
            let row = self.store.board(board).await?.ok_or_else(|| EngineError::not_found("board", board))?;
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
        until_settled!({
            let row = self.board_of(column).await?;
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
        until_settled!({
            let row = self.board_of(column).await?;
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
        for task in self.store.tasks_in_column(changed).await? {
            if board.column(changed).is_some_and(|column| column.holds(task.state)) {
                continue;
            }
            let Some(home) = board.home(task.state) else {
                return Err(EngineError::Homeless { states: vec![task.state] }.into());
            };
            let moved = Task { column_id: home.id, rank: Rank::arrived(now), ..task };
            events.push(task_updated(by, &moved, &["column_id", "rank"], now));
            changes.push(Change::Task(moved));
        }
        events.push(board_updated(by, board, &["columns"], now));
        changes.push(Change::Board(board.clone()));
        Ok(self.record(by, changes, events).await?.seq())
    }
}

fn refused(error: LayoutError) -> EngineError {
    match error {
        LayoutError::NoSuchColumn => EngineError::not_found("column", ""),
        LayoutError::Homeless(states) => EngineError::Homeless { states },
        LayoutError::Invalid(invalid) => EngineError::Invalid(invalid),
    }
}
