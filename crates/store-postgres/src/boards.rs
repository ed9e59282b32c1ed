//! Reading boards.

use kanvoy_domain::text::BoardKey;
use kanvoy_domain::{Board, BoardId, Column, ColumnId, Settings, Timestamp};
use kanvoy_store::{BoardRow, Page, StoreError};
use kanvoy_store_sql::damaged;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use crate::error::broken;

/// A board with its columns, which come as JSON in the order in which they stand.
macro_rules! any_board {
    ($rest:expr) => {
        concat!(
            "SELECT b.id, b.key, b.name, b.description, b.repository_url, b.default_branch, b.settings, b.created_at,
                b.updated_at, b.archived_at, b.version, b.rev, l.head_seq, l.first_seq, l.next_number,
                (SELECT json_agg(json_build_object('id', c.id, 'name', c.name, 'wip_limit', c.wip_limit,
                    'states', (SELECT json_agg(s.state ORDER BY s.place) FROM column_state s
                        WHERE s.board = c.board AND s.column_id = c.id)) ORDER BY c.position)::text
                 FROM board_column c WHERE c.board = b.log), b.log
             FROM board b JOIN log l ON l.id = b.log WHERE ",
            $rest
        )
    };
}

/// One that can be seen.
macro_rules! board {
    ($rest:literal) => {
        any_board!(concat!("b.deleted_at IS NULL AND b.importing = 0 ", $rest))
    };
}

pub(crate) async fn board(readers: &PgPool, id: BoardId) -> Result<Option<BoardRow>, StoreError> {
    let query = sqlx::query(board!("AND b.id = $1")).bind(id.uuid());
    query.fetch_optional(readers).await.map_err(|error| broken(&error))?.as_ref().map(read).transpose()
}

pub(crate) async fn board_by_key(readers: &PgPool, key: &BoardKey) -> Result<Option<BoardRow>, StoreError> {
    let query = sqlx::query(board!("AND b.key = $1")).bind(key.as_str());
    query.fetch_optional(readers).await.map_err(|error| broken(&error))?.as_ref().map(read).transpose()
}

pub(crate) async fn deleted_board(readers: &PgPool, id: BoardId) -> Result<Option<Board>, StoreError> {
    let query = sqlx::query(any_board!("b.deleted_at IS NOT NULL AND b.id = $1")).bind(id.uuid());
    let row = query.fetch_optional(readers).await.map_err(|error| broken(&error))?;
    row.as_ref().map(|row| read(row).map(|row| row.board)).transpose()
}

pub(crate) async fn deleted_board_by_key(readers: &PgPool, key: &BoardKey) -> Result<Option<Board>, StoreError> {
    let query = sqlx::query(any_board!("b.deleted_at IS NOT NULL AND b.key = $1")).bind(key.as_str());
    let row = query.fetch_optional(readers).await.map_err(|error| broken(&error))?;
    row.as_ref().map(|row| read(row).map(|row| row.board)).transpose()
}

pub(crate) async fn board_of_column(readers: &PgPool, column: ColumnId) -> Result<Option<BoardRow>, StoreError> {
    let query = sqlx::query(board!("AND b.log = (SELECT board FROM board_column WHERE id = $1)")).bind(column.uuid());
    query.fetch_optional(readers).await.map_err(|error| broken(&error))?.as_ref().map(read).transpose()
}

pub(crate) async fn boards(
    readers: &PgPool,
    after: Option<&str>,
    limit: u32,
    archived: bool,
) -> Result<Page<BoardRow>, StoreError> {
    let after = after.map(position).transpose()?.unwrap_or_default();
    let limit = limit.max(1) as usize;
    let query = sqlx::query(board!("AND ($1 OR b.archived_at IS NULL) AND b.log > $2 ORDER BY b.log LIMIT $3"));
    let query = query.bind(archived).bind(after).bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let mut rows = query.fetch_all(readers).await.map_err(|error| broken(&error))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| last.get::<i64, _>(16).to_string());
    Ok(Page { items: rows.iter().map(read).collect::<Result<_, _>>()?, next })
}

/// The number of a board's log: it grows with every board, and is known also when the board is gone.
fn position(after: &str) -> Result<i64, StoreError> {
    after.parse().ok().filter(|log| *log > 0).ok_or(StoreError::BadCursor)
}

pub(crate) async fn keys(readers: &PgPool) -> Result<Vec<String>, StoreError> {
    let keys = sqlx::query_scalar("SELECT key FROM board ORDER BY key").fetch_all(readers);
    keys.await.map_err(|error| broken(&error))
}

pub(crate) async fn half_imported(readers: &PgPool) -> Result<Vec<BoardId>, StoreError> {
    let ids = sqlx::query_scalar("SELECT id FROM board WHERE importing = 1 ORDER BY log");
    let ids = ids.fetch_all(readers).await.map_err(|error| broken(&error))?;
    Ok(ids.into_iter().map(BoardId::from_uuid).collect())
}

fn read(row: &PgRow) -> Result<BoardRow, StoreError> {
    let key: &str = row.get(1);
    let named = |why: &dyn std::fmt::Display| damaged(&format!("board {key}"), why);
    let parsed = |column: usize| row.get::<Option<&str>, _>(column);
    let columns: Vec<Column> = serde_json::from_str(row.get(15)).map_err(|error| named(&error))?;
    let settings: Settings = serde_json::from_str(row.get(6)).map_err(|error| named(&error))?;
    let board = Board {
        id: BoardId::from_uuid(row.get(0)),
        key: key.parse().map_err(|error| named(&error))?,
        name: row.get(2),
        description: row.get(3),
        repository_url: parsed(4).map(str::parse).transpose().map_err(|error| named(&error))?,
        default_branch: parsed(5).map(str::parse).transpose().map_err(|error| named(&error))?,
        columns,
        settings,
        created_at: Timestamp::from_millis(row.get(7)),
        updated_at: Timestamp::from_millis(row.get(8)),
        archived_at: row.get::<Option<i64>, _>(9).map(Timestamp::from_millis),
        version: row.get::<i64, _>(10).unsigned_abs(),
        rev: row.get::<i64, _>(11).unsigned_abs(),
    };
    Ok(BoardRow {
        board,
        head_seq: row.get::<i64, _>(12).unsigned_abs(),
        first_seq: row.get::<i64, _>(13).unsigned_abs(),
        next_number: row.get::<i64, _>(14).unsigned_abs(),
    })
}
