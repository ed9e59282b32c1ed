//! Reading tasks, one or many that are known by name. Lists that are asked for by filter are in [`list`].

use kanvoy_domain::{BoardId, ColumnId, Rank, Task, TaskId, TaskNumber, Timestamp};
use kanvoy_store::{Blocker, Edge, EdgeKind, StoreError, TaskRow};
use kanvoy_store_sql::damaged;
use kanvoy_store_sql::tables::split_labels;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::error::broken;

mod list;

pub(crate) use list::tasks;

/// The columns of a task `t`, as [`read`] expects them. What it waits for and what it is part of is shown as far as it can
/// be seen; the blockers come as `id number state`, in the order of their ids.
macro_rules! seen_task {
    ($rest:expr) => {
        concat!(
            "SELECT t.id, b.id, t.number, t.title, t.description, t.state, t.column_id, t.rank, t.priority, t.agent_type,
                t.repository_url, t.branch, t.labels,
                (SELECT p.id FROM task p WHERE p.id = t.parent_id AND p.deleted_at IS NULL),
                t.external_ref, t.attempts, t.failure, t.created_at, t.updated_at, t.archived_at, t.version, t.rev,
                (SELECT string_agg(w.blocker || ' ' || n.number || ' ' || n.state, ',' ORDER BY w.blocker)
                 FROM blocker w JOIN task n ON n.id = w.blocker WHERE w.task = t.id AND n.deleted_at IS NULL) ",
            $rest
        )
    };
}
use seen_task;

/// The same columns as they are kept, of deleted tasks too.
macro_rules! any_task {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, b.id, t.number, t.title, t.description, t.state, t.column_id, t.rank, t.priority, t.agent_type,
                t.repository_url, t.branch, t.labels, t.parent_id, t.external_ref, t.attempts, t.failure, t.created_at,
                t.updated_at, t.archived_at, t.version, t.rev,
                (SELECT string_agg(w.blocker || ' 0 BACKLOG', ',' ORDER BY w.blocker)
                 FROM blocker w WHERE w.task = t.id), t.deleted_at IS NOT NULL ",
            $rest
        )
    };
}

pub(crate) async fn task(readers: &PgPool, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
    let query = sqlx::query(seen_task!(
        "FROM task t JOIN seen_board b ON b.log = t.board WHERE t.id = $1 AND t.deleted_at IS NULL"
    ));
    let row = query.bind(id.uuid()).fetch_optional(readers).await.map_err(|error| broken(&error))?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn deleted_task(readers: &PgPool, id: TaskId) -> Result<Option<Task>, StoreError> {
    let query = sqlx::query(any_task!(
        "FROM task t JOIN seen_board b ON b.log = t.board WHERE t.id = $1 AND t.deleted_at IS NOT NULL"
    ));
    let row = query.bind(id.uuid()).fetch_optional(readers).await.map_err(|error| broken(&error))?;
    row.as_ref().map(|row| read(row).map(|row| row.task)).transpose()
}

pub(crate) async fn task_numbered(
    readers: &PgPool,
    board: BoardId,
    number: TaskNumber,
) -> Result<Option<TaskRow>, StoreError> {
    let query = sqlx::query(seen_task!(
        "FROM task t JOIN seen_board b ON b.log = t.board WHERE b.id = $1 AND t.number = $2 AND t.deleted_at IS NULL"
    ));
    let query = query.bind(board.uuid()).bind(signed(number));
    let row = query.fetch_optional(readers).await.map_err(|error| broken(&error))?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn known_tasks(readers: &PgPool, board: BoardId, ids: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let known = sqlx::query_scalar(
        "SELECT t.id FROM seen_board b JOIN task t ON t.board = b.log
         WHERE b.id = $1 AND t.deleted_at IS NULL AND t.id = ANY($2)",
    );
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let known = known.bind(board.uuid()).bind(ids).fetch_all(readers).await.map_err(|error| broken(&error))?;
    Ok(known.into_iter().map(TaskId::from_uuid).collect())
}

pub(crate) async fn lie_of(readers: &PgPool, column: ColumnId) -> Result<Vec<(TaskId, Rank)>, StoreError> {
    let query = sqlx::query(
        "SELECT t.id, t.rank FROM board_column c JOIN seen_board b ON b.log = c.board
         JOIN task t ON t.board = c.board AND t.column_id = c.id
         WHERE c.id = $1 AND t.deleted_at IS NULL ORDER BY t.rank, t.number",
    );
    let query = query.bind(column.uuid());
    let rows = query.fetch_all(readers).await.map_err(|error| broken(&error))?;
    rows.iter().map(|row| Ok((TaskId::from_uuid(row.get(0)), rank(row.get(1))?))).collect()
}

pub(crate) async fn last_rank(readers: &PgPool, column: ColumnId) -> Result<Option<Rank>, StoreError> {
    let query = sqlx::query_scalar::<_, String>(
        "SELECT t.rank FROM board_column c JOIN seen_board b ON b.log = c.board
         JOIN task t ON t.board = c.board AND t.column_id = c.id
         WHERE c.id = $1 AND t.deleted_at IS NULL ORDER BY t.rank DESC LIMIT 1",
    );
    let query = query.bind(column.uuid());
    let last = query.fetch_optional(readers).await.map_err(|error| broken(&error))?;
    last.as_deref().map(rank).transpose()
}

pub(crate) async fn tasks_in_column(readers: &PgPool, column: ColumnId) -> Result<Vec<Task>, StoreError> {
    let query = sqlx::query(seen_task!(
        "FROM board_column c JOIN seen_board b ON b.log = c.board
         JOIN task t ON t.board = c.board AND t.column_id = c.id
         WHERE c.id = $1 AND t.deleted_at IS NULL ORDER BY t.rank, t.number"
    ));
    let query = query.bind(column.uuid());
    let rows = query.fetch_all(readers).await.map_err(|error| broken(&error))?;
    rows.iter().map(|row| read(row).map(|row| row.task)).collect()
}

/// One statement, so that the count is the count of these very arrows.
pub(crate) async fn edges(readers: &PgPool, board: BoardId) -> Result<(Vec<Edge>, u64), StoreError> {
    let query = sqlx::query(
        "WITH here AS (SELECT log FROM seen_board WHERE id = $1)
         SELECT 'counted', NULL::uuid, NULL::uuid, l.arrows FROM here JOIN log l ON l.id = here.log
         UNION ALL
         SELECT 'waits for', w.task, w.blocker, 0 FROM here JOIN task t ON t.board = here.log
            JOIN blocker w ON w.task = t.id JOIN task n ON n.id = w.blocker
            WHERE t.deleted_at IS NULL AND n.deleted_at IS NULL
         UNION ALL
         SELECT 'part of', t.id, t.parent_id, 0 FROM here JOIN task t ON t.board = here.log
            JOIN task p ON p.id = t.parent_id
            WHERE t.deleted_at IS NULL AND p.deleted_at IS NULL",
    );
    let query = query.bind(board.uuid());
    let rows = query.fetch_all(readers).await.map_err(|error| broken(&error))?;
    let mut counted = 0;
    let mut edges = Vec::with_capacity(rows.len());
    for row in &rows {
        let kind = match row.get::<&str, _>(0) {
            "waits for" => EdgeKind::WaitsFor,
            "part of" => EdgeKind::PartOf,
            _ => {
                counted = row.get::<i64, _>(3).unsigned_abs();
                continue;
            }
        };
        let (from, to) = (TaskId::from_uuid(row.get(1)), TaskId::from_uuid(row.get(2)));
        edges.push(Edge { kind, from, to });
    }
    Ok((edges, counted))
}

pub(crate) async fn export_tasks(
    readers: &PgPool,
    board: BoardId,
    after: TaskNumber,
    limit: u32,
) -> Result<Vec<(Task, bool)>, StoreError> {
    let query = sqlx::query(any_task!(
        "FROM board b JOIN task t ON t.board = b.log WHERE b.id = $1 AND t.number > $2 ORDER BY t.number LIMIT $3"
    ));
    let query = query.bind(board.uuid()).bind(signed(after)).bind(i64::from(limit));
    let rows = query.fetch_all(readers).await.map_err(|error| broken(&error))?;
    rows.iter().map(|row| Ok((read(row)?.task, row.get(23)))).collect()
}

fn read(row: &PgRow) -> Result<TaskRow, StoreError> {
    let id = TaskId::from_uuid(row.get(0));
    let bad = |why: &dyn std::fmt::Display| damaged(&format!("task {id}"), why);
    let maybe = |column: usize| row.get::<Option<&str>, _>(column);
    let blockers = maybe(22).map(blockers).transpose()?.unwrap_or_default();
    let task = Task {
        id,
        board_id: BoardId::from_uuid(row.get(1)),
        number: row.get::<i64, _>(2).unsigned_abs(),
        title: row.get(3),
        description: row.get(4),
        state: row.get::<&str, _>(5).parse().map_err(|error| bad(&error))?,
        column_id: ColumnId::from_uuid(row.get(6)),
        rank: rank(row.get(7))?,
        priority: row.get::<&str, _>(8).parse().map_err(|error| bad(&error))?,
        agent_type: maybe(9).map(str::parse).transpose().map_err(|error| bad(&error))?,
        repository_url: maybe(10).map(str::parse).transpose().map_err(|error| bad(&error))?,
        branch: maybe(11).map(str::parse).transpose().map_err(|error| bad(&error))?,
        labels: split_labels(row.get(12)),
        blocked_by: blockers.iter().map(|blocker| blocker.id).collect(),
        parent_id: row.get::<Option<Uuid>, _>(13).map(TaskId::from_uuid),
        external_ref: row.get(14),
        attempts: u32::try_from(row.get::<i64, _>(15)).map_err(|error| bad(&error))?,
        failure: maybe(16).map(serde_json::from_str).transpose().map_err(|error| bad(&error))?,
        created_at: Timestamp::from_millis(row.get(17)),
        updated_at: Timestamp::from_millis(row.get(18)),
        archived_at: row.get::<Option<i64>, _>(19).map(Timestamp::from_millis),
        version: row.get::<i64, _>(20).unsigned_abs(),
        rev: row.get::<i64, _>(21).unsigned_abs(),
    };
    Ok(TaskRow { task, blockers })
}

fn blockers(joined: &str) -> Result<Vec<Blocker>, StoreError> {
    joined
        .split(',')
        .map(|one| {
            let mut parts = one.splitn(3, ' ');
            let blocker = (|| {
                Some(Blocker {
                    id: parts.next()?.parse().ok()?,
                    number: parts.next()?.parse().ok()?,
                    state: parts.next()?.parse().ok()?,
                })
            })();
            blocker.ok_or_else(|| damaged("a blocker", one))
        })
        .collect()
}

fn rank(text: &str) -> Result<Rank, StoreError> {
    text.parse().map_err(|error| damaged(&format!("rank {text:?}"), error))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
