//! Tasks: made, found, changed, moved.

use serde::Serialize;

use crate::boards::purging;
use crate::{Client, ClientError, EventPage, Move, NewTask, Page, Task, TaskEdit, TaskFilter};

#[derive(Serialize)]
struct ToState<'a> {
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

/// `task` is an id or `KEY-12` everywhere.
impl Client {
    pub async fn create_task(&self, board: &str, new: &NewTask) -> Result<Task, ClientError> {
        self.post(&["boards", board, "tasks"], new).await
    }

    /// Page after page until `limit` tasks are together; the cursor is where the rest begins.
    pub async fn tasks(&self, board: &str, filter: &TaskFilter, limit: usize) -> Result<Page<Task>, ClientError> {
        self.pages(&["boards", board, "tasks"], filter.query(), limit).await
    }

    /// On every board, or on one.
    pub async fn search(
        &self,
        board: Option<&str>,
        filter: &TaskFilter,
        limit: usize,
    ) -> Result<Page<Task>, ClientError> {
        let mut query = filter.query();
        query.extend(board.map(|board| ("board", board.to_owned())));
        self.pages(&["search"], query, limit).await
    }

    async fn pages(
        &self,
        path: &[&str],
        query: Vec<(&'static str, String)>,
        limit: usize,
    ) -> Result<Page<Task>, ClientError> {
        const MOST: usize = 200;
        let mut whole = Page { items: Vec::new(), next_cursor: None };
        loop {
            let mut query = query.clone();
            query.push(("limit", (limit - whole.items.len()).clamp(1, MOST).to_string()));
            query.extend(whole.next_cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<Task> = self.get(path, &query).await?;
            whole.items.extend(page.items);
            whole.next_cursor = page.next_cursor;
            if whole.next_cursor.is_none() || whole.items.len() >= limit {
                return Ok(whole);
            }
        }
    }

    pub async fn task(&self, task: &str) -> Result<Task, ClientError> {
        self.get(&["tasks", task], &[]).await
    }

    pub async fn update_task(&self, task: &str, edit: &TaskEdit) -> Result<Task, ClientError> {
        self.patch(&["tasks", task], edit).await
    }

    pub async fn set_state(
        &self,
        task: &str,
        state: &str,
        reason: Option<&str>,
        version: Option<u64>,
    ) -> Result<Task, ClientError> {
        self.patch(&["tasks", task, "state"], &ToState { state, reason, version }).await
    }

    pub async fn move_task(&self, task: &str, to: &Move) -> Result<Task, ClientError> {
        self.post(&["tasks", task, "move"], to).await
    }

    /// Hides it, or with `purge` removes it for good, also when it was hidden before.
    pub async fn delete_task(&self, task: &str, purge: bool) -> Result<Task, ClientError> {
        self.delete(&["tasks", task], &purging(purge)).await
    }

    pub async fn task_events(
        &self,
        task: &str,
        after: u64,
        limit: u32,
        types: &[String],
    ) -> Result<EventPage, ClientError> {
        self.event_page(&["tasks", task, "events"], after, limit, types).await
    }
}
