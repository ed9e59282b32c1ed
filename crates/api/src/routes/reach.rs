//! From the `{id}` in a path to the thing, past the question of who may see it. What may not be seen is not there.

use kanvoy_domain::text::BoardKey;
use kanvoy_domain::{BoardId, Task, TaskId};
use kanvoy_store::{BoardRow, TaskRow};

use crate::app::Api;
use crate::auth::Principal;
use crate::params::MOST;
use crate::problem::Problem;

impl Api {
    /// By its id or its key. An id is believed: the engine, or the next read, says when there is no such board.
    pub(crate) async fn board_id(&self, who: &Principal, id: &str) -> Result<BoardId, Problem> {
        let board = match id.parse() {
            Ok(board) => board,
            Err(_) => self.board_row(who, id).await?.board.id,
        };
        self.seen(who, board, "board", id)?;
        Ok(board)
    }

    /// As [`Self::board_id`], and also one that was deleted and not purged.
    pub(crate) async fn board_kept(&self, who: &Principal, id: &str) -> Result<BoardId, Problem> {
        match self.board_row(who, id).await {
            Ok(row) => Ok(row.board.id),
            Err(problem) => {
                let board = match (id.parse::<BoardId>(), key(id)) {
                    (Ok(board), _) => self.store.deleted_board(board).await?,
                    (Err(_), Some(key)) => self.store.deleted_board_by_key(&key).await?,
                    (Err(_), None) => None,
                };
                let board = board.ok_or(problem)?.id;
                self.seen(who, board, "board", id)?;
                Ok(board)
            }
        }
    }

    pub(crate) async fn board_row(&self, who: &Principal, id: &str) -> Result<BoardRow, Problem> {
        let row = match (id.parse::<BoardId>(), key(id)) {
            (Ok(board), _) => self.store.board(board).await?,
            (Err(_), Some(key)) => self.store.board_by_key(&key).await?,
            (Err(_), None) => None,
        };
        let row = row.ok_or_else(|| Problem::not_found("board", id))?;
        self.seen(who, row.board.id, "board", id)?;
        Ok(row)
    }

    /// By its id or as `KAN-12`.
    pub(crate) async fn task_row(&self, who: &Principal, id: &str) -> Result<TaskRow, Problem> {
        let row = match id.parse::<TaskId>() {
            Ok(task) => self.store.task(task).await?,
            Err(_) => self.task_by_number(id).await?,
        };
        let row = row.ok_or_else(|| Problem::not_found("task", id))?;
        self.seen(who, row.task.board_id, "task", id)?;
        Ok(row)
    }

    /// As [`Self::task_row`], and also one that was deleted and not purged.
    pub(crate) async fn task_kept(&self, who: &Principal, id: &str) -> Result<Task, Problem> {
        match self.task_row(who, id).await {
            Ok(row) => Ok(row.task),
            Err(problem) => {
                let Ok(task) = id.parse::<TaskId>() else { return Err(problem) };
                let task = self.store.deleted_task(task).await?.ok_or(problem)?;
                self.seen(who, task.board_id, "task", id)?;
                Ok(task)
            }
        }
    }

    /// A page of the boards that they see, and where the next one begins. Those that they do not see leave no trace in it:
    /// not in its length, and not in its cursor.
    pub(crate) async fn boards_seen(
        &self,
        who: &Principal,
        mut after: Option<String>,
        limit: u32,
        archived: bool,
    ) -> Result<(Vec<BoardRow>, Option<String>), Problem> {
        let mut seen: Vec<BoardRow> = Vec::new();
        let mut full: Option<String> = None;
        loop {
            // Of a page that fills the list, every board is seen: its cursor is the last one's. After it, one more that is
            // seen tells whether there is another page.
            let wanted = limit.saturating_sub(u32::try_from(seen.len()).unwrap_or(u32::MAX));
            let page =
                self.store.boards(after.as_deref(), if full.is_some() { MOST } else { wanted }, archived).await?;
            let mut visible = page.items.into_iter().filter(|row| self.may_see(who, row.board.id));
            match &full {
                Some(_) if visible.next().is_some() => return Ok((seen, full)),
                Some(_) => {}
                None => seen.extend(visible),
            }
            if page.next.is_none() {
                return Ok((seen, None));
            }
            if full.is_none() && seen.len() >= limit as usize {
                full.clone_from(&page.next);
            }
            after = page.next;
        }
    }

    /// They have become a member of a board that they made.
    pub(crate) async fn joined(&self, who: &Principal) -> Result<(), Problem> {
        if let Some(person) = &who.live {
            self.people.refresh(&*self.store, person.id).await?;
        }
        Ok(())
    }

    async fn task_by_number(&self, id: &str) -> Result<Option<TaskRow>, Problem> {
        let Some((board, number)) = id.rsplit_once('-') else { return Ok(None) };
        let (Some(key), Ok(number)) = (key(board), number.parse()) else { return Ok(None) };
        let Some(board) = self.store.board_by_key(&key).await? else { return Ok(None) };
        Ok(self.store.task_numbered(board.board.id, number).await?)
    }

    fn seen(&self, who: &Principal, board: BoardId, what: &str, id: &str) -> Result<(), Problem> {
        if self.may_see(who, board) { Ok(()) } else { Err(Problem::not_found(what, id)) }
    }
}

/// Keys are capital letters; people type them small.
fn key(text: &str) -> Option<BoardKey> {
    text.to_ascii_uppercase().parse().ok()
}
