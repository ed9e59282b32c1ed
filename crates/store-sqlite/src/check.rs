//! What is wrong with what is kept, a sentence a fault: the file itself, the keys between its rows, and what must always be
//! true of logs, numbers, states and arrows.

use std::collections::HashMap;
use std::path::Path;

use kanvoy_domain::{State, TaskId};
use kanvoy_store::StoreError;
use kanvoy_store_sql::arrows::a_circle;
use kanvoy_store_sql::tables::uuid;
use sqlx::{Connection, Row, SqliteConnection};

use crate::error::broken;
use crate::open::read_only;

/// Looks through the whole database in the file. A daemon may be at work on it.
pub async fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    let mut connection = read_only(path).await?;
    let faults = faults(&mut connection).await;
    connection.close().await.ok();
    faults
}

/// One transaction, so that what a daemon writes meanwhile is no fault.
async fn faults(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await.map_err(|error| broken(&error))?;
    let mut faults = damage(connection).await?;
    // Of a file that cannot be read, nothing else can be asked.
    if faults.is_empty() {
        for (what, sql) in RULES {
            let rows = sqlx::query(*sql).fetch_all(&mut *connection).await.map_err(|error| broken(&error))?;
            faults.extend(rows.iter().map(|row| row.get::<String, _>(0)));
            tracing::debug!("checked {what}: {} faults so far", faults.len());
        }
        faults.extend(homeless_states(connection).await?);
        faults.extend(circles(connection).await?);
    }
    Ok(faults)
}

async fn damage(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("PRAGMA integrity_check").fetch_all(connection).await;
    match rows.map_err(|error| broken(&error)) {
        Ok(rows) => Ok(rows
            .iter()
            .map(|row| row.get::<String, _>(0))
            .filter(|line| line != "ok")
            .map(|line| format!("the file is damaged: {}", line.trim()))
            .collect()),
        Err(StoreError::Damaged(why)) => Ok(vec![format!("the file is damaged: {why}")]),
        Err(error) => Err(error),
    }
}

/// Each gives a sentence for every row that is not as it must be.
const RULES: &[(&str, &str)] = &[
    (
        "cards and their columns",
        "SELECT b.key || '-' || t.number || ' is ' || t.state || ', but its column does not hold that state'
         FROM pragma_foreign_key_check('task') f JOIN task t ON t.card = f.rowid JOIN board b ON b.log = t.board
         WHERE f.parent = 'column_state'",
    ),
    (
        "keys between rows",
        "SELECT 'a row of ' || \"table\" || ' belongs to a ' || parent || ' that is not there'
         FROM pragma_foreign_key_check WHERE NOT (\"table\" = 'task' AND parent = 'column_state')",
    ),
    (
        "holes in logs",
        // A gap stands for all that it names, from its first to its own seq.
        "SELECT coalesce(b.key, 'the system') || ': the log has a hole before event ' || seq
         FROM (SELECT e.log, e.seq, l.first_seq,
                  CASE WHEN e.kind = 'stream.gap' AND json_valid('{\"seq\":0' || e.body)
                       THEN json_extract('{\"seq\":0' || e.body, '$.data.from') ELSE e.seq END AS begins,
                  lag(e.seq) OVER (PARTITION BY e.log ORDER BY e.seq) AS before
               FROM event e JOIN log l ON l.id = e.log WHERE e.seq >= l.first_seq) AS held
         LEFT JOIN board b ON b.log = held.log
         WHERE begins > coalesce(before + 1, first_seq)",
    ),
    (
        "ends of logs",
        "SELECT coalesce(b.key, 'the system') || ': the log ends with event '
                || coalesce((SELECT max(seq) FROM event WHERE log = l.id), l.first_seq - 1)
                || ', but its head is ' || l.head_seq
         FROM log l LEFT JOIN board b ON b.log = l.id
         WHERE l.head_seq <> max(l.first_seq - 1, coalesce((SELECT max(seq) FROM event WHERE log = l.id), 0))",
    ),
    (
        "logs without a board",
        "SELECT count(*) || ' events are in log ' || e.log || ', which is not there'
         FROM event e LEFT JOIN log l ON l.id = e.log
         WHERE l.id IS NULL AND e.log NOT IN (SELECT log FROM leftover) GROUP BY e.log",
    ),
    (
        "texts of events",
        "SELECT coalesce(b.key, 'the system') || ': event ' || e.seq || ' is not JSON'
         FROM event e JOIN log l ON l.id = e.log LEFT JOIN board b ON b.log = l.id
         WHERE e.seq >= l.first_seq AND NOT json_valid('{\"seq\":0' || e.body)",
    ),
    (
        "task numbers",
        "SELECT b.key || '-' || max(t.number) || ' is there, but the next task gets the number ' || l.next_number
         FROM board b JOIN log l ON l.id = b.log JOIN task t ON t.board = b.log
         GROUP BY b.log HAVING max(t.number) >= l.next_number",
    ),
    (
        "states and their history",
        // Of what retention has removed, or an import has not brought along, there is nothing to compare with.
        "SELECT key || '-' || number || ' is ' || state || ', but the last that its log says of it is ' || said
         FROM (SELECT b.key, t.number, t.state,
                  (SELECT CASE e.kind WHEN 'task.created' THEN json_extract('{\"seq\":0' || e.body, '$.data.task.state')
                                      ELSE json_extract('{\"seq\":0' || e.body, '$.data.to') END
                   FROM event e INDEXED BY event_by_task
                   WHERE e.task = t.id AND e.log = t.board AND e.kind IN ('task.created', 'task.state_changed')
                     AND e.seq >= l.first_seq AND json_valid('{\"seq\":0' || e.body)
                   ORDER BY e.seq DESC LIMIT 1) AS said
               FROM task t JOIN board b ON b.log = t.board JOIN log l ON l.id = t.board WHERE b.importing = 0)
         WHERE said <> state",
    ),
    (
        "arrows between tasks",
        "SELECT b.key || '-' || t.number || ' waits for a task that is not on its board'
         FROM blocker w JOIN task t ON t.id = w.task JOIN board b ON b.log = t.board
         LEFT JOIN task n ON n.id = w.blocker
         WHERE b.importing = 0 AND n.board IS NOT t.board
         UNION ALL
         SELECT b.key || '-' || t.number || ' is part of a task that is not on its board'
         FROM task t JOIN board b ON b.log = t.board LEFT JOIN task p ON p.id = t.parent_id
         WHERE b.importing = 0 AND t.parent_id IS NOT NULL AND p.board IS NOT t.board
         UNION ALL
         SELECT 'a task that is not there waits for others' FROM blocker w LEFT JOIN task t ON t.id = w.task
         WHERE t.id IS NULL",
    ),
];

async fn homeless_states(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "SELECT b.key, coalesce(group_concat(s.state), '') FROM board b LEFT JOIN column_state s ON s.board = b.log
         WHERE b.deleted_at IS NULL GROUP BY b.log",
    );
    let rows = rows.fetch_all(connection).await.map_err(|error| broken(&error))?;
    let faults = rows.iter().flat_map(|row| {
        let (key, held): (String, String) = (row.get(0), row.get(1));
        let homeless = State::ALL.into_iter().filter(move |state| !held.split(',').any(|held| held == state.as_str()));
        homeless.map(move |state| format!("{key}: no column holds {state}"))
    });
    Ok(faults.collect())
}

async fn circles(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let mut faults = Vec::new();
    let waits = "SELECT b.key || '-' || t.number, t.id, w.blocker FROM blocker w JOIN task t ON t.id = w.task
        JOIN board b ON b.log = t.board";
    let parts = "SELECT b.key || '-' || t.number, t.id, t.parent_id FROM task t JOIN board b ON b.log = t.board
        WHERE t.parent_id IS NOT NULL";
    for (sql, verb) in [(waits, "waits for"), (parts, "is part of")] {
        let rows = sqlx::query(sql).fetch_all(&mut *connection).await.map_err(|error| broken(&error))?;
        let mut names = HashMap::new();
        let mut arrows = Vec::with_capacity(rows.len());
        for row in &rows {
            let (from, to) = (TaskId::from_uuid(uuid(row.get(1))?), TaskId::from_uuid(uuid(row.get(2))?));
            names.insert(from, row.get::<String, _>(0));
            arrows.push((from, to));
        }
        if let Some(way) = a_circle(&arrows) {
            let named: Vec<&str> = way.iter().filter_map(|task| names.get(task)).map(String::as_str).collect();
            faults.push(named.join(&format!(" {verb} ")));
        }
    }
    Ok(faults)
}
