//! Boards and their columns.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Board, BoardEdit, Client, ClientError, Column, ColumnEdit, EventPage, NewBoard, Page};

impl Client {
    pub async fn create_board(&self, new: &NewBoard) -> Result<Board, ClientError> {
        self.post(&["boards"], new).await
    }

    /// All of them, page after page.
    pub async fn boards(&self, archived: bool) -> Result<Vec<Board>, ClientError> {
        let mut boards = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", "200".to_owned()), ("archived", archived.to_string())];
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<Board> = self.get(&["boards"], &query).await?;
            boards.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(boards);
            }
        }
    }

    /// `board` is an id or a key.
    pub async fn board(&self, board: &str) -> Result<Board, ClientError> {
        self.get(&["boards", board], &[]).await
    }

    pub async fn update_board(&self, board: &str, edit: &BoardEdit) -> Result<Board, ClientError> {
        self.patch(&["boards", board], edit).await
    }

    /// Hides it, or with `purge` removes it and its log for good.
    pub async fn delete_board(&self, board: &str, purge: bool) -> Result<Board, ClientError> {
        self.delete(&["boards", board], &purging(purge)).await
    }

    pub async fn add_column(&self, board: &str, new: &ColumnEdit) -> Result<Column, ClientError> {
        self.post(&["boards", board, "columns"], new).await
    }

    pub async fn update_column(&self, column: Uuid, edit: &ColumnEdit) -> Result<Column, ClientError> {
        self.patch(&["columns", &column.to_string()], edit).await
    }

    /// The board as it is without the column.
    pub async fn remove_column(&self, column: Uuid) -> Result<Board, ClientError> {
        self.delete(&["columns", &column.to_string()], &[]).await
    }

    /// What is kept of a board's log after `after`, at most `limit` events; of the system's log when no board is named.
    pub async fn events(
        &self,
        board: Option<&str>,
        after: u64,
        limit: u32,
        types: &[String],
    ) -> Result<EventPage, ClientError> {
        let path: &[&str] = match &board {
            Some(board) => &["boards", board, "events"],
            None => &["events"],
        };
        self.event_page(path, after, limit, types).await
    }

    pub(crate) async fn event_page(
        &self,
        path: &[&str],
        after: u64,
        limit: u32,
        types: &[String],
    ) -> Result<EventPage, ClientError> {
        let mut query = vec![("after", after.to_string()), ("limit", limit.to_string())];
        if !types.is_empty() {
            query.push(("types", types.join(",")));
        }
        let page: Page<Box<RawValue>> = self.get(path, &query).await?;
        page.try_into()
    }
}

pub(crate) fn purging(purge: bool) -> Vec<(&'static str, String)> {
    if purge { vec![("purge", "true".to_owned())] } else { Vec::new() }
}
