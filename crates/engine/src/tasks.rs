//! Making and changing tasks, and moving them through their lifecycle.

use kanvoy_domain::event::StateChanged;
use kanvoy_domain::graph;
use kanvoy_domain::state::transition;
use kanvoy_domain::task::{Place, TaskEdit};
use kanvoy_domain::{
    Actor, ActorKind, Board, BoardId, EventKind, Invalid, Log, NewEvent, NewTask, Rank, State, Task, TaskId, Timestamp,
    Version,
};
use kanvoy_store::{Blocker, Change, Edge, EdgeKind, StoreError, TaskRow};
use serde_json::json;

use crate::boards::{fresh, values_of};
use crate::moves::rank_changes;
use crate::record::{Unsettled, until_settled};
use crate::{By, Engine, EngineError, Written};

impl Engine {
    pub async fn create_task(&self, by: &By, board: BoardId, new: NewTask) -> Result<Written<TaskRow>, EngineError> {
        let id = self.ids.task();
        until_settled!(self, {
            let board = self.open_board(board).await?;
            let now = self.clock.now();
            let state = new.first_state()?;
            let home = board.home(state).ok_or(EngineError::Homeless { states: vec![state] })?;
            let place = Place { board_id: board.id, column_id: home.id, rank: Rank::arrived(now) };
            let mut task = new.clone().checked(id, place, now)?;

            let mut changes = Vec::with_capacity(2);
            let blockers = if task.blocked_by.is_empty() && task.parent_id.is_none() {
                Vec::new()
            } else {
                // Nothing points at a new task, so it closes no circle; but what it points at must be there and stay.
                let (_, counted) = self.store.edges(board.id).await?;
                changes.push(Change::Arrows { board: board.id, counted });
                self.known_targets(&task).await?
            };
            changes.push(Change::NewTask(task.clone()));
            let created = NewEvent::created(&task, now, by.actor.clone());
            let committed = self.record_task(by, &board, &task, changes, vec![created]).await?;
            task.number = committed.numbers.first().copied().unwrap_or_default();
            Ok(Written { object: TaskRow { task, blockers }, seq: committed.seq() })
        })
    }

    pub async fn update_task(
        &self,
        by: &By,
        id: TaskId,
        edit: TaskEdit,
        version: Option<Version>,
    ) -> Result<Written<TaskRow>, EngineError> {
        until_settled!(self, {
            let row = self.task(id).await?;
            fresh(version, row.task.version)?;
            let board = self.open_board(row.task.board_id).await?;
            let now = self.clock.now();
            if edit.archived == Some(true) {
                not_active(&board, &row.task)?;
            }
            let (task, changed) = row.task.edited(edit.clone(), now)?;
            if changed.is_empty() {
                let seq = self.store.head(Log::Board(board.id)).await?;
                return Ok(Written { object: row, seq });
            }
            let mut changes = Vec::with_capacity(2);
            let mut blockers = row.blockers;
            if changed.contains(&"blocked_by") || changed.contains(&"parent_id") {
                let (edges, counted) = self.store.edges(board.id).await?;
                blockers = self.known_targets(&task).await?;
                self.no_circle(&board, &task, &edges).await?;
                changes.push(Change::Arrows { board: board.id, counted });
            }
            changes.push(Change::Task(task.clone()));
            let updated = task_updated(by, &task, &changed, now);
            let committed = self.record_task(by, &board, &task, changes, vec![updated]).await?;
            Ok(Written { object: TaskRow { task, blockers }, seq: committed.seq() })
        })
    }

    /// Moves the task to another state, and its card to where that state is at home.
    pub async fn set_state(
        &self,
        by: &By,
        id: TaskId,
        to: State,
        reason: Option<String>,
        version: Option<Version>,
    ) -> Result<Written<TaskRow>, EngineError> {
        until_settled!(self, {
            let row = self.task(id).await?;
            fresh(version, row.task.version)?;
            let board = self.open_board(row.task.board_id).await?;
            not_archived(&board, &row.task)?;
            let from = row.task.state;
            let now = self.clock.now();
            transition(from, to, by.actor.kind, board.facts())?;
            let Some(to) = self.admitted(&row.task, to, &by.actor) else {
                let seq = self.store.head(Log::Board(board.id)).await?;
                return Ok(Written { object: row, seq });
            };
            let mut task = row.task;
            task.state = to;
            // A column that holds both states keeps its card where it lies.
            if !board.column(task.column_id).is_some_and(|column| column.holds(to)) {
                let home = board.home(to).ok_or(EngineError::Homeless { states: vec![to] })?;
                let last = self.store.last_rank(home.id).await?;
                task.column_id = home.id;
                task.rank = Rank::at_end(last.as_ref(), now);
            }
            let seq = self.record_transition(by, &board, &mut task, from, reason.clone(), Vec::new()).await?;
            Ok(Written { object: TaskRow { task, blockers: row.blockers }, seq })
        })
    }

    /// Says on record that the daemon has started.
    pub async fn daemon_started(&self, version: &str) -> Result<(), EngineError> {
        let data = json!({ "version": version });
        let started = NewEvent::new(Log::System, EventKind::DaemonStarted, self.clock.now(), Actor::engine(), &data);
        self.record(&By::engine(), Vec::new(), vec![started]).await?;
        Ok(())
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<TaskRow, EngineError> {
        self.store.task(id).await?.ok_or_else(|| EngineError::not_found("task", id))
    }

    /// Where a task really goes that was told to go to `to`: a person who puts an agent's task in progress queues it, and
    /// admission starts it. `None` when it is queued already.
    pub(crate) fn admitted(&self, task: &Task, to: State, actor: &Actor) -> Option<State> {
        let queues = actor.kind == ActorKind::Person
            && task.agent_type.is_some()
            && to == State::InProgress
            && matches!(task.state, State::Backlog | State::Todo);
        match (queues, task.state) {
            (false, _) => Some(to),
            (true, State::Backlog) => Some(State::Todo),
            (true, _) => None,
        }
    }

    /// Commits a task that has just come from `from` into its present state and place, with the cards that made room.
    pub(crate) async fn record_transition(
        &self,
        by: &By,
        board: &Board,
        task: &mut Task,
        from: State,
        reason: Option<String>,
        bystanders: Vec<Task>,
    ) -> Result<u64, Unsettled> {
        let now = self.clock.now();
        if matches!(from, State::Failed | State::Cancelled) {
            task.failure = None;
        }
        task.touched(now);
        let data = StateChanged {
            from,
            to: task.state,
            reason: reason.unwrap_or_else(|| "moved".to_owned()),
            column_id: task.column_id,
            rank: task.rank.clone(),
            version: task.version,
        };
        let log = Log::Board(board.id);
        let event = NewEvent::new(log, EventKind::TaskStateChanged, now, by.actor.clone(), &data).about(task.id);
        let (mut changes, mut events) = rank_changes(by, bystanders, now);
        changes.push(Change::Task(task.clone()));
        events.push(event);
        Ok(self.record_task(by, board, task, changes, events).await?.seq())
    }

    /// Commits changes of a task, and says in words what is taken. A conflict may come from an old copy of the board.
    pub(crate) async fn record_task(
        &self,
        by: &By,
        board: &Board,
        task: &Task,
        changes: Vec<Change>,
        events: Vec<NewEvent>,
    ) -> Result<kanvoy_store::Committed, Unsettled> {
        match self.record(by, changes, events).await {
            Ok(committed) => Ok(committed),
            Err(StoreError::Taken("external_ref")) => {
                let reference = task.external_ref.as_deref().unwrap_or_default();
                let detail = format!("another task of board {} refers to {reference} already", board.key);
                Err(EngineError::Taken { field: "external_ref", detail }.into())
            }
            Err(error) => {
                if matches!(error, StoreError::Conflict | StoreError::NotFound) {
                    self.boards.forget(board.id);
                }
                Err(error.into())
            }
        }
    }

    /// Refuses arrows to tasks that are not on the board; gives what `blocked_by` points at.
    async fn known_targets(&self, task: &Task) -> Result<Vec<Blocker>, EngineError> {
        let mut blockers = Vec::with_capacity(task.blocked_by.len());
        for id in &task.blocked_by {
            let target = self.target(task, *id, "blocked_by").await?;
            blockers.push(Blocker { id: *id, number: target.number, state: target.state });
        }
        if let Some(parent) = task.parent_id {
            self.target(task, parent, "parent_id").await?;
        }
        Ok(blockers)
    }

    async fn target(&self, task: &Task, id: TaskId, field: &'static str) -> Result<Task, EngineError> {
        match self.store.task(id).await? {
            Some(row) if row.task.board_id == task.board_id => Ok(row.task),
            _ => Err(Invalid::new(field, format!("there is no task {id} on this board")).into()),
        }
    }

    async fn no_circle(&self, board: &Board, task: &Task, edges: &[Edge]) -> Result<(), EngineError> {
        let parents: Vec<TaskId> = task.parent_id.into_iter().collect();
        for (kind, targets) in [(EdgeKind::WaitsFor, &task.blocked_by), (EdgeKind::PartOf, &parents)] {
            let arrows: Vec<(TaskId, TaskId)> =
                edges.iter().filter(|edge| edge.kind == kind).map(|edge| (edge.from, edge.to)).collect();
            if let Some(way) = graph::circle(task.id, targets, &arrows) {
                let mut path = Vec::with_capacity(way.len());
                for id in way {
                    let number = self.store.task(id).await?.map_or(0, |row| row.task.number);
                    path.push(format!("{}-{number}", board.key));
                }
                return Err(EngineError::Circle { path });
            }
        }
        Ok(())
    }
}

/// A task at work is not put out of sight.
pub(crate) fn not_active(board: &Board, task: &Task) -> Result<(), EngineError> {
    use kanvoy_domain::task::{Because, Hindrance};
    if task.state.is_active() {
        let hindrance = Hindrance { number: task.number, because: Because::Active(task.state) };
        let what = format!("{}-{}", board.key, task.number);
        return Err(EngineError::Hindered { what, hindrances: vec![hindrance] });
    }
    Ok(())
}

/// What is out of sight does not move.
pub(crate) fn not_archived(board: &Board, task: &Task) -> Result<(), EngineError> {
    match task.archived_at {
        None => Ok(()),
        Some(_) => Err(EngineError::Archived { what: format!("task {}-{}", board.key, task.number) }),
    }
}

/// `task.updated` carries the new values of what changed.
pub(crate) fn task_updated(by: &By, task: &Task, changed: &[&'static str], now: Timestamp) -> NewEvent {
    let data = json!({ "changed": values_of(changed, task), "version": task.version });
    NewEvent::new(Log::Board(task.board_id), EventKind::TaskUpdated, now, by.actor.clone(), &data).about(task.id)
}
