//! Reading people, and who belongs to which board.

use kanvoy_domain::people::{LoginName, PasswordHash};
use kanvoy_domain::{BoardId, Membership, Timestamp, User, UserId};
use kanvoy_store::{Page, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use crate::error::{broken, damaged};
use crate::tables::uuid;

/// A person's columns, and what follows them.
macro_rules! person {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.name, p.display_name, p.role, p.password, p.disabled_at, p.created_at, p.updated_at,
                p.version, p.rev",
            $rest
        )
    };
}

pub(crate) async fn user(readers: &SqlitePool, id: UserId) -> Result<Option<User>, StoreError> {
    let query = sqlx::query(person!(" FROM person p WHERE p.id = ?")).bind(id.uuid().as_bytes().to_vec());
    query.fetch_optional(readers).await.map_err(|error| broken(&error))?.as_ref().map(read).transpose()
}

pub(crate) async fn user_named(readers: &SqlitePool, name: &LoginName) -> Result<Option<User>, StoreError> {
    let query = sqlx::query(person!(" FROM person p WHERE p.name = ?")).bind(name.as_str());
    query.fetch_optional(readers).await.map_err(|error| broken(&error))?.as_ref().map(read).transpose()
}

pub(crate) async fn users(readers: &SqlitePool, after: Option<&str>, limit: u32) -> Result<Page<User>, StoreError> {
    let limit = limit.max(1) as usize;
    let query = sqlx::query(person!(" FROM person p WHERE p.name > ? ORDER BY p.name LIMIT ?"))
        .bind(after.unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let rows = query.fetch_all(readers).await.map_err(|error| broken(&error))?;
    let mut items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.name.to_string());
    Ok(Page { items, next })
}

pub(crate) async fn members(readers: &SqlitePool, board: BoardId) -> Result<Vec<(Membership, User)>, StoreError> {
    let query = sqlx::query(person!(
        ", m.added_at FROM member m JOIN person p ON p.id = m.person
         WHERE m.board = (SELECT log FROM seen_board WHERE id = ?) ORDER BY p.name"
    ));
    let rows = query.bind(board.uuid().as_bytes().to_vec()).fetch_all(readers).await.map_err(|error| broken(&error))?;
    let read = |row: &SqliteRow| {
        let user = read(row)?;
        Ok((Membership { board, user: user.id, added_at: Timestamp::from_millis(row.get(10)) }, user))
    };
    rows.iter().map(read).collect()
}

pub(crate) async fn boards_of(readers: &SqlitePool, user: UserId) -> Result<Vec<BoardId>, StoreError> {
    let ids = sqlx::query_scalar::<_, Vec<u8>>(
        "SELECT b.id FROM member m JOIN seen_board b ON b.log = m.board WHERE m.person = ? ORDER BY m.board",
    );
    let ids = ids.bind(user.uuid().as_bytes().to_vec()).fetch_all(readers).await.map_err(|error| broken(&error))?;
    ids.iter().map(|id| uuid(id).map(BoardId::from_uuid)).collect()
}

fn read(row: &SqliteRow) -> Result<User, StoreError> {
    let name: &str = row.get(1);
    let named = |why: &dyn std::fmt::Display| damaged(&format!("person {name}"), why);
    Ok(User {
        id: UserId::from_uuid(uuid(row.get(0))?),
        name: name.parse().map_err(|error| named(&error))?,
        display_name: row.get(2),
        role: row.get::<&str, _>(3).parse().map_err(|error| named(&error))?,
        password: row.get::<Option<String>, _>(4).map(PasswordHash),
        disabled_at: row.get::<Option<i64>, _>(5).map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(row.get(6)),
        updated_at: Timestamp::from_millis(row.get(7)),
        version: row.get::<i64, _>(8).unsigned_abs(),
        rev: row.get::<i64, _>(9).unsigned_abs(),
    })
}
