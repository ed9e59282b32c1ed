//! Lists of tasks by filter and order, a page at a time.
//!
//! A page begins after the key of the last card of the page before it, so that cards that come and go meanwhile neither
//! shift nor hide others. The key is what the order sorts by.

use kanvoy_store::{Page, StoreError, TaskQuery, TaskRow, WhichTasks};
use kanvoy_store_sql::position::{Key, KeyKind, Sort};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::{read, seen_task};
use crate::error::broken;

/// Columns of [`seen_task`]; the keys follow them.
const TASK_COLUMNS: usize = 23;

pub(crate) async fn tasks(readers: &PgPool, query: &TaskQuery) -> Result<Page<TaskRow>, StoreError> {
    let sort = Sort::of(query);
    let after = query.after.as_deref().map(|after| sort.read(after)).transpose()?;
    if asks_for_nul(query) {
        return Ok(Page { items: Vec::new(), next: None });
    }
    let limit = query.limit.max(1) as usize;
    let mut sql = statement(query, sort, after.as_deref(), limit);
    let mut rows = sql.build().fetch_all(readers).await.map_err(|error| broken(&error))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| position(sort, row));
    Ok(Page { items: rows.iter().map(read).collect::<Result<_, _>>()?, next })
}

/// Postgres refuses U+0000 where SQLite finds nothing that has it.
fn asks_for_nul(query: &TaskQuery) -> bool {
    let texts = query.labels.iter().chain(&query.words).chain(&query.external_ref).chain(&query.agent_type);
    texts.into_iter().any(|text| text.contains('\0'))
}

/// First the page's cards alone, with no more of each than its key: rows are long, and sorting copies them. Then their rows.
fn statement(query: &TaskQuery, sort: Sort, after: Option<&[Key]>, limit: usize) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("WITH page AS (SELECT t.card");
    for (at, (key, _)) in sort.keys.iter().enumerate() {
        sql.push(format!(", {key} AS k{at}"));
    }
    sql.push(if sort.by_column {
        " FROM board_column c JOIN task t ON t.board = c.board AND t.column_id = c.id WHERE true"
    } else {
        " FROM task t WHERE true"
    });
    push_filters(&mut sql, query, sort);
    if let Some(after) = after {
        let names: Vec<&str> = sort.keys.iter().map(|(key, _)| *key).collect();
        sql.push(format!(" AND ({}) {} (", names.join(", "), if sort.falling { "<" } else { ">" }));
        let mut listed = sql.separated(", ");
        for key in after {
            match key {
                Key::Number(number) => listed.push_bind(*number),
                Key::Rank(rank) => listed.push_bind(rank.as_str().to_owned()),
            };
        }
        sql.push(")");
    }
    push_order(&mut sql, sort, |_, key| key.to_owned());
    sql.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)).push(") ");
    let keys: String = (0..sort.keys.len()).map(|at| format!(", page.k{at}")).collect();
    sql.push(seen_task!("")).push(keys);
    sql.push(" FROM page JOIN task t ON t.card = page.card JOIN board b ON b.log = t.board");
    push_order(&mut sql, sort, |at, _| format!("page.k{at}"));
    sql
}

fn push_filters(sql: &mut QueryBuilder<Postgres>, query: &TaskQuery, sort: Sort) {
    let board = match query.board {
        // Of the outer table of the two, when there are two.
        _ if sort.by_column => "c.board",
        _ => "t.board",
    };
    let seen = |sql: &mut QueryBuilder<Postgres>| {
        sql.push(format!(" AND {board} IN (SELECT log FROM seen_board"));
    };
    if let Some(id) = query.board {
        sql.push(format!(" AND {board} = (SELECT log FROM seen_board WHERE id = "));
        sql.push_bind(id.uuid()).push(")");
    }
    if let Some(within) = &query.within {
        seen(sql);
        let within: Vec<Uuid> = within.iter().map(|board| board.uuid()).collect();
        sql.push(" WHERE id = ANY(").push_bind(within).push("))");
    } else if query.board.is_none() {
        seen(sql);
        sql.push(")");
    }
    sql.push(" AND t.deleted_at IS NULL");
    match query.archived {
        WhichTasks::Unarchived => sql.push(" AND t.archived_at IS NULL"),
        WhichTasks::Archived => sql.push(" AND t.archived_at IS NOT NULL"),
        WhichTasks::All => sql,
    };
    push_one_of(sql, "t.state", query.states.iter().map(|state| state.as_str()));
    push_one_of(sql, "t.priority", query.priorities.iter().map(|priority| priority.as_str()));
    for label in &query.labels {
        sql.push(" AND strpos(t.labels, ").push_bind(format!("\n{label}\n")).push(") > 0");
    }
    if let Some(column) = query.column {
        sql.push(if sort.by_column { " AND c.id = " } else { " AND t.column_id = " });
        sql.push_bind(column.uuid());
    }
    if let Some(agent_type) = &query.agent_type {
        sql.push(" AND t.agent_type = ").push_bind(agent_type.clone());
    }
    if let Some(parent) = query.parent {
        sql.push(" AND t.parent_id = ").push_bind(parent.uuid());
    }
    if let Some(external_ref) = &query.external_ref {
        sql.push(" AND t.external_ref = ").push_bind(external_ref.clone());
    }
    for word in query.words.iter().filter(|word| !word.is_empty()) {
        sql.push(" AND strpos(t.search, ").push_bind(word.clone()).push(") > 0");
    }
}

fn push_one_of(sql: &mut QueryBuilder<Postgres>, column: &str, values: impl ExactSizeIterator<Item = &'static str>) {
    if values.len() > 0 {
        sql.push(format!(" AND {column} = ANY(")).push_bind(values.collect::<Vec<_>>()).push(")");
    }
}

fn push_order(sql: &mut QueryBuilder<Postgres>, sort: Sort, name: impl Fn(usize, &str) -> String) {
    let way = if sort.falling { " DESC" } else { "" };
    let keys: Vec<String> =
        sort.keys.iter().enumerate().map(|(at, (key, _))| format!("{}{way}", name(at, key))).collect();
    sql.push(format!(" ORDER BY {}", keys.join(", ")));
}

fn position(sort: Sort, row: &PgRow) -> String {
    sort.write(|at, kind| match kind {
        KeyKind::Number => row.get::<i64, _>(TASK_COLUMNS + at).to_string(),
        KeyKind::Rank => row.get(TASK_COLUMNS + at),
    })
}
