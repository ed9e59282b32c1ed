//! What is wrong with what is kept, a sentence a fault: the keys between rows, and what must always be true of logs, numbers,
//! states and arrows. The server's own files are looked through by its own tools (`pg_amcheck`).

use std::collections::HashMap;

use futures_util::TryStreamExt;
use kanvoy_domain::{EventKind, State, TaskId};
use kanvoy_store::StoreError;
use kanvoy_store_sql::arrows::a_circle;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use crate::error::broken;
use crate::open::connect;

pub(crate) async fn check(options: &PgConnectOptions) -> Result<Vec<String>, StoreError> {
    let mut connection = connect(options).await.map_err(|error| broken(&error))?;
    let faults = faults(&mut connection).await.map_err(|error| broken(&error));
    connection.close().await.ok();
    faults
}

/// One transaction, so that what a daemon writes meanwhile is no fault. It may take as long as it needs.
async fn faults(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0";
    sqlx::raw_sql(begin).execute(&mut *connection).await?;
    let mut faults = Vec::new();
    for (what, sql) in RULES {
        let rows = sqlx::query(*sql).fetch_all(&mut *connection).await?;
        faults.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        tracing::debug!("checked {what}: {} faults so far", faults.len());
    }
    let said = logs(connection, &mut faults).await?;
    states(connection, &said, &mut faults).await?;
    homeless_states(connection, &mut faults).await?;
    circles(connection, &mut faults).await?;
    Ok(faults)
}

/// Each gives a sentence for every row that is not as it must be.
const RULES: &[(&str, &str)] = &[
    (
        "cards and their columns",
        "SELECT b.key || '-' || t.number || ' is ' || t.state || ', but its column does not hold that state'
         FROM task t JOIN board b ON b.log = t.board
         LEFT JOIN column_state s ON s.board = t.board AND s.column_id = t.column_id AND s.state = t.held_state
         WHERE t.held_state IS NOT NULL AND s.board IS NULL",
    ),
    (
        "keys between rows",
        "SELECT 'a row of ' || child || ' belongs to a ' || parent || ' that is not there'
         FROM (SELECT 'board' AS child, 'log' AS parent FROM board b LEFT JOIN log l ON l.id = b.log WHERE l.id IS NULL
               UNION ALL
               SELECT 'task', 'board' FROM task t LEFT JOIN board b ON b.log = t.board WHERE b.log IS NULL
               UNION ALL
               SELECT 'board_column', 'board' FROM board_column c LEFT JOIN board b ON b.log = c.board
               WHERE b.log IS NULL
               UNION ALL
               SELECT 'column_state', 'board_column' FROM column_state s
               LEFT JOIN board_column c ON c.board = s.board AND c.id = s.column_id WHERE c.id IS NULL) AS orphan",
    ),
    (
        "ends of logs",
        "SELECT coalesce(b.key, 'the system') || ': the log ends with event '
                || coalesce((SELECT max(seq) FROM event WHERE log = l.id), l.first_seq - 1)
                || ', but its head is ' || l.head_seq
         FROM log l LEFT JOIN board b ON b.log = l.id
         WHERE l.head_seq <> greatest(l.first_seq - 1, (SELECT max(seq) FROM event WHERE log = l.id))",
    ),
    (
        "logs without a board",
        "SELECT count(*) || ' events are in log ' || e.log || ', which is not there'
         FROM event e LEFT JOIN log l ON l.id = e.log
         WHERE l.id IS NULL AND e.log NOT IN (SELECT log FROM leftover) GROUP BY e.log",
    ),
    (
        "task numbers",
        "SELECT b.key || '-' || max(t.number) || ' is there, but the next task gets the number ' || l.next_number
         FROM board b JOIN log l ON l.id = b.log JOIN task t ON t.board = b.log
         GROUP BY b.log, b.key, l.next_number HAVING max(t.number) >= l.next_number",
    ),
    (
        "arrows between tasks",
        "SELECT b.key || '-' || t.number || ' waits for a task that is not on its board'
         FROM blocker w JOIN task t ON t.id = w.task JOIN board b ON b.log = t.board
         LEFT JOIN task n ON n.id = w.blocker
         WHERE b.importing = 0 AND n.board IS DISTINCT FROM t.board
         UNION ALL
         SELECT b.key || '-' || t.number || ' is part of a task that is not on its board'
         FROM task t JOIN board b ON b.log = t.board LEFT JOIN task p ON p.id = t.parent_id
         WHERE b.importing = 0 AND t.parent_id IS NOT NULL AND p.board IS DISTINCT FROM t.board
         UNION ALL
         SELECT 'a task that is not there waits for others' FROM blocker w LEFT JOIN task t ON t.id = w.task
         WHERE t.id IS NULL",
    ),
];

/// Walks through every log once: each text is JSON, and there is no hole. Gives what the log says last of each task's state.
/// Postgres 15 stops at a text that is no JSON instead of answering, so the texts are read here.
async fn logs(
    connection: &mut PgConnection,
    faults: &mut Vec<String>,
) -> Result<HashMap<(i64, Uuid), String>, sqlx::Error> {
    let mut said = HashMap::new();
    let mut before = (-1, 0);
    let mut rows = sqlx::query(
        "SELECT e.log, e.seq, e.kind, e.task, e.body, l.first_seq, coalesce(b.key, 'the system')
         FROM event e JOIN log l ON l.id = e.log LEFT JOIN board b ON b.log = l.id
         WHERE e.seq >= l.first_seq ORDER BY e.log, e.seq",
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (log, seq, name): (i64, i64, &str) = (row.get(0), row.get(1), row.get(6));
        let event = serde_json::from_str::<Value>(&format!("{{\"seq\":0{}", row.get::<&str, _>(4)));
        if event.is_err() {
            faults.push(format!("{name}: event {seq} is not JSON"));
        }
        let event = event.unwrap_or_default();
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut begins = seq;
        let state = match row.get::<&str, _>(2).parse() {
            // A gap stands for all that it names, from its first to its own seq.
            Ok(EventKind::StreamGap) => {
                begins = event.pointer("/data/from").and_then(Value::as_i64).unwrap_or(seq);
                None
            }
            Ok(EventKind::TaskCreated) => text("/data/task/state"),
            Ok(EventKind::TaskStateChanged) => text("/data/to"),
            Ok(_) | Err(_) => None,
        };
        if let (Some(state), Some(task)) = (state, row.get(3)) {
            said.insert((log, task), state);
        }
        let follows = if before.0 == log { before.1 + 1 } else { row.get(5) };
        if begins > follows {
            faults.push(format!("{name}: the log has a hole before event {seq}"));
        }
        before = (log, seq);
    }
    Ok(said)
}

/// Of what retention has removed, or an import has not brought along, there is nothing to compare with.
async fn states(
    connection: &mut PgConnection,
    said: &HashMap<(i64, Uuid), String>,
    faults: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query(
        "SELECT t.board, t.id, t.state, b.key || '-' || t.number
         FROM task t JOIN board b ON b.log = t.board WHERE b.importing = 0",
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (state, name): (&str, &str) = (row.get(2), row.get(3));
        match said.get(&(row.get(0), row.get(1))) {
            Some(said) if said != state => {
                faults.push(format!("{name} is {state}, but the last that its log says of it is {said}"));
            }
            _ => {}
        }
    }
    Ok(())
}

async fn homeless_states(connection: &mut PgConnection, faults: &mut Vec<String>) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(
        "SELECT b.key, coalesce(string_agg(s.state, ','), '') FROM board b LEFT JOIN column_state s ON s.board = b.log
         WHERE b.deleted_at IS NULL GROUP BY b.log, b.key",
    );
    for row in rows.fetch_all(connection).await? {
        let (key, held): (&str, &str) = (row.get(0), row.get(1));
        let homeless = State::ALL.into_iter().filter(|state| !held.split(',').any(|held| held == state.as_str()));
        faults.extend(homeless.map(|state| format!("{key}: no column holds {state}")));
    }
    Ok(())
}

async fn circles(connection: &mut PgConnection, faults: &mut Vec<String>) -> Result<(), sqlx::Error> {
    let waits = "SELECT b.key || '-' || t.number, t.id, w.blocker FROM blocker w JOIN task t ON t.id = w.task
        JOIN board b ON b.log = t.board";
    let parts = "SELECT b.key || '-' || t.number, t.id, t.parent_id FROM task t JOIN board b ON b.log = t.board
        WHERE t.parent_id IS NOT NULL";
    for (sql, verb) in [(waits, "waits for"), (parts, "is part of")] {
        let rows = sqlx::query(sql).fetch_all(&mut *connection).await?;
        let mut names = HashMap::new();
        let mut arrows = Vec::with_capacity(rows.len());
        for row in &rows {
            let (from, to) = (TaskId::from_uuid(row.get(1)), TaskId::from_uuid(row.get(2)));
            names.insert(from, row.get::<String, _>(0));
            arrows.push((from, to));
        }
        if let Some(way) = a_circle(&arrows) {
            let named: Vec<&str> = way.iter().filter_map(|task| names.get(task)).map(String::as_str).collect();
            faults.push(named.join(&format!(" {verb} ")));
        }
    }
    Ok(())
}
