//! Dropping a card: between which neighbours, in which column, and so perhaps in another state.

use kanvoy_domain::rank::make_room;
use kanvoy_domain::state::{self, Refusal, Why, transition};
use kanvoy_domain::{Board, ColumnId, Invalid, Log, NewEvent, Rank, Task, TaskId, Timestamp, Version};
use kanvoy_store::{Change, TaskRow};

use crate::boards::fresh;
use crate::record::{Unsettled, until_settled};
use crate::tasks::{not_archived, task_updated};
use crate::{By, Engine, EngineError, Written};

/// Where a card is dropped. No column means the neighbour's, or the one it lies in; no neighbour means the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveTo {
    pub column: Option<ColumnId>,
    pub beside: Option<Beside>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Directly above this card.
    Before(TaskId),
    /// Directly below this card.
    After(TaskId),
}

impl Beside {
    const fn card(self) -> TaskId {
        match self {
            Self::Before(card) | Self::After(card) => card,
        }
    }
}

impl Engine {
    pub async fn move_task(
        &self,
        by: &By,
        id: TaskId,
        to: MoveTo,
        version: Option<Version>,
    ) -> Result<Written<TaskRow>, EngineError> {
        until_settled!(self, {
            let TaskRow { task, blockers } = self.task(id).await?;
            fresh(version, task.version)?;
            let board = self.open_board(task.board_id).await?;
            not_archived(&board, &task)?;
            let now = self.clock.now();
            let from = task.state;
            let mut moved = task.clone();
            let asked = self.column_of(&board, &task, to).await?;
            let mut beside = to.beside;
            if !board.column(asked).is_some_and(|column| column.holds(from)) {
                let aim = first_legal(&board, &task, asked, by)?;
                if let Some(state) = self.admitted(&task, aim, &by.actor) {
                    moved.state = state;
                }
            }
            moved.column_id = asked;
            if !board.column(asked).is_some_and(|column| column.holds(moved.state)) {
                // Dropped where an agent works, but queued: the card lies at home, not between the neighbours asked for.
                let home = board.home(moved.state).ok_or(EngineError::Homeless { states: vec![moved.state] })?;
                moved.column_id = if moved.state == from { task.column_id } else { home.id };
                beside = None;
                if moved.state == from {
                    let seq = self.store.head(Log::Board(board.id)).await?;
                    return Ok(Written { object: TaskRow { task, blockers }, seq });
                }
            }
            let (rank, bystanders) = self.room(&board, &moved, beside, now).await?;
            moved.rank = rank;

            let seq = if moved.state == from {
                self.record_drop(by, &board, &task, &mut moved, bystanders, now).await?
            } else {
                self.record_transition(by, &board, &mut moved, from, None, bystanders).await?
            };
            Ok(Written { object: TaskRow { task: moved, blockers }, seq })
        })
    }

    async fn column_of(&self, board: &Board, task: &Task, to: MoveTo) -> Result<ColumnId, EngineError> {
        let neighbour = match to.beside {
            Some(beside) if beside.card() == task.id => {
                return Err(Invalid::new("before", "a card cannot lie beside itself").into());
            }
            Some(beside) => {
                let row = self.store.task(beside.card()).await?;
                let row = row.filter(|row| row.task.board_id == board.id);
                Some(row.ok_or_else(|| EngineError::not_found("task", beside.card()))?.task.column_id)
            }
            None => None,
        };
        let column = to.column.or(neighbour).unwrap_or(task.column_id);
        if board.column(column).is_none() {
            return Err(EngineError::not_found("column", column));
        }
        if neighbour.is_some_and(|neighbour| neighbour != column) {
            return Err(Invalid::new("column_id", "the neighbour that was named lies in another column").into());
        }
        Ok(column)
    }

    /// A rank between the neighbours, and those cards that had to make room for it, with their new ranks.
    async fn room(
        &self,
        board: &Board,
        moved: &Task,
        beside: Option<Beside>,
        now: Timestamp,
    ) -> Result<(Rank, Vec<Task>), Unsettled> {
        let Some(beside) = beside else {
            let last = self.store.last_rank(moved.column_id).await?;
            return Ok((Rank::at_end(last.as_ref(), now), Vec::new()));
        };
        let mut lie = self.store.lie_of(moved.column_id).await?;
        lie.retain(|(card, _)| *card != moved.id);
        let Some(at) = lie.iter().position(|(card, _)| *card == beside.card()) else {
            // It was there when its column was asked for: somebody has moved it since.
            self.boards.forget(board.id);
            return Err(Unsettled::Conflict);
        };
        let index = match beside {
            Beside::Before(_) => at,
            Beside::After(_) => at + 1,
        };
        if index == lie.len() {
            // The end is the end, however it was named: what arrives later comes behind it.
            return Ok((Rank::at_end(lie.last().map(|(_, rank)| rank), now), Vec::new()));
        }
        let ranks: Vec<Rank> = lie.iter().map(|(_, rank)| rank.clone()).collect();
        let (mine, new) = make_room(&ranks, index);
        let mut bystanders = Vec::with_capacity(new.len());
        for (at, rank) in new {
            let row = self.store.task(lie[at].0).await?.ok_or(Unsettled::Conflict)?;
            bystanders.push(Task { rank, ..row.task });
        }
        Ok((mine, bystanders))
    }

    /// The state stays: only the place changes.
    async fn record_drop(
        &self,
        by: &By,
        board: &Board,
        before: &Task,
        moved: &mut Task,
        bystanders: Vec<Task>,
        now: Timestamp,
    ) -> Result<u64, Unsettled> {
        let changed = before.differences(moved);
        if changed.is_empty() {
            return Ok(self.store.head(Log::Board(board.id)).await?);
        }
        moved.touched(now);
        let (mut changes, mut events) = rank_changes(by, bystanders, now);
        changes.push(Change::Task(moved.clone()));
        events.push(task_updated(by, moved, &changed, now));
        Ok(self.record_task(by, board, moved, changes, events).await?.seq())
    }
}

/// Cards that only made room: nobody edited them, so their versions stay.
pub(crate) fn rank_changes(by: &By, bystanders: Vec<Task>, now: Timestamp) -> (Vec<Change>, Vec<NewEvent>) {
    let events = bystanders.iter().map(|task| task_updated(by, task, &["rank"], now)).collect();
    (bystanders.into_iter().map(Change::Task).collect(), events)
}

/// The state that a card takes on in a column that does not hold its own: the column's first legal one.
fn first_legal(board: &Board, task: &Task, column: ColumnId, by: &By) -> Result<kanvoy_domain::State, EngineError> {
    let facts = board.facts();
    let states = board.column(column).map(|column| column.states.as_slice()).unwrap_or_default();
    let legal = states.iter().copied().find(|to| transition(task.state, *to, by.actor.kind, facts).is_ok());
    legal.ok_or_else(|| {
        let to = states.first().copied().unwrap_or(task.state);
        let refused = transition(task.state, to, by.actor.kind, facts).err();
        let legal = state::legal(task.state, by.actor.kind, facts);
        refused.unwrap_or(Refusal { from: task.state, to, why: Why::NoSuchMove, legal }).into()
    })
}
