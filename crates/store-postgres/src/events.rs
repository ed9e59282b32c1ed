//! Reading the logs.

use futures_util::TryStreamExt;
use kanvoy_domain::event::{self, EventKind, Log, Seq};
use kanvoy_domain::{BoardId, TaskId, Timestamp};
use kanvoy_store::{EventQuery, Events, Kinds, StoreError, StoredEvent};
use kanvoy_store_sql::damaged;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use crate::error::broken;

/// One statement, so that a reader sees the log as it was at one moment: what retention removes meanwhile is either among
/// the rows or under the gap, never missing from both.
pub(crate) async fn events(readers: &PgPool, query: &EventQuery) -> Result<Events, StoreError> {
    let mut page = Events::default();
    let mut room = query.max_bytes;
    let mut sql = statement(query);
    let mut rows = sql.build().fetch(readers);
    while let Some(row) = rows.try_next().await.map_err(|error| broken(&error))? {
        let seq = row.get::<i64, _>(0).unsigned_abs();
        let event = match row.get::<Option<&str>, _>(1) {
            None => retention(query, seq, Timestamp::from_millis(row.get(3))),
            Some(kind) => StoredEvent {
                seq,
                kind: kind.parse().map_err(|error| damaged(&format!("event {seq}"), error))?,
                task: row.get::<Option<Uuid>, _>(2).map(TaskId::from_uuid),
                text: event::with_seq(seq, row.get(4)).into(),
            },
        };
        if page.events.len() >= query.limit as usize || (!page.events.is_empty() && event.text.len() > room) {
            page.more = true;
            break;
        }
        room = room.saturating_sub(event.text.len());
        page.events.push(event);
    }
    Ok(page)
}

fn retention(query: &EventQuery, through: Seq, at: Timestamp) -> StoredEvent {
    StoredEvent {
        seq: through,
        kind: EventKind::StreamGap,
        task: query.task,
        text: event::gap(query.log, query.after + 1, through, "retention", at).into(),
    }
}

/// The gap that retention has left, if the reader would come through it, and then the events, as far as their texts are
/// wanted: what was asked for is sent to its end, so the end is drawn here too.
fn statement(query: &EventQuery) -> QueryBuilder<Postgres> {
    let after = i64::try_from(query.after).unwrap_or(i64::MAX);
    let mut sql = QueryBuilder::new(
        "SELECT l.first_seq - 1 AS seq, NULL::text, NULL::uuid, coalesce(l.pruned_at, 0), NULL::text
         FROM log l WHERE l.id = ",
    );
    push_log(&mut sql, query.log);
    sql.push(" AND l.first_seq - 1 > ").push_bind(after);
    sql.push(
        " UNION ALL SELECT seq, kind, task, 0, body
         FROM (SELECT e.seq, e.kind, e.task, e.body,
                  row_number() OVER (ORDER BY e.seq) AS place,
                  sum(octet_length(e.body)) OVER (ORDER BY e.seq ROWS UNBOUNDED PRECEDING) - octet_length(e.body) AS before
               FROM event e WHERE ",
    );
    match query.task {
        Some(task) => {
            // The sum keeps Postgres to the index by task, which gives the events in their order too.
            sql.push("e.task = ").push_bind(task.uuid()).push(" AND e.log + 0 = ");
        }
        None => {
            sql.push("e.log = ");
        }
    }
    push_log(&mut sql, query.log);
    sql.push(" AND e.seq > greatest(").push_bind(after).push(", (SELECT first_seq - 1 FROM log WHERE id = ");
    push_log(&mut sql, query.log);
    sql.push("))");
    push_kinds(&mut sql, &query.kinds);
    // One more than is given tells whether there are more, by number and by length.
    sql.push(" ORDER BY e.seq LIMIT ").push_bind(i64::from(query.limit) + 1);
    let room = i64::try_from(query.max_bytes).unwrap_or(i64::MAX);
    sql.push(") AS page WHERE place <= 2 OR before <= ").push_bind(room).push(" ORDER BY seq");
    sql
}

/// The key of a log that can be seen.
fn push_log(sql: &mut QueryBuilder<Postgres>, log: Log) {
    match log {
        Log::System => sql.push("0"),
        Log::Board(board) => sql.push("(SELECT log FROM seen_board WHERE id = ").push_bind(board.uuid()).push(")"),
    };
}

fn push_kinds(sql: &mut QueryBuilder<Postgres>, kinds: &Kinds) {
    let (wanted, kinds) = match kinds {
        Kinds::All => return,
        Kinds::Only(kinds) => (true, kinds),
        Kinds::AllBut(kinds) => (false, kinds),
    };
    let kinds = kinds.iter().filter(|kind| **kind != EventKind::StreamGap).map(|kind| kind.as_str());
    // A gap is shown whatever was asked for.
    let kinds: Vec<&str> = kinds.chain(wanted.then_some(EventKind::StreamGap.as_str())).collect();
    sql.push(if wanted { " AND e.kind = ANY(" } else { " AND e.kind <> ALL(" }).push_bind(kinds).push(")");
}

pub(crate) async fn head(readers: &PgPool, log: Log) -> Result<Seq, StoreError> {
    let mut sql = QueryBuilder::new("SELECT head_seq FROM log WHERE id = ");
    push_log(&mut sql, log);
    let head: Option<i64> = sql.build_query_scalar().fetch_optional(readers).await.map_err(|error| broken(&error))?;
    Ok(head.unwrap_or_default().unsigned_abs())
}

pub(crate) async fn heads(readers: &PgPool) -> Result<Vec<(Log, Seq)>, StoreError> {
    let rows = sqlx::query(
        "SELECT NULL::uuid, head_seq FROM log WHERE id = 0
         UNION ALL SELECT b.id, l.head_seq FROM seen_board b JOIN log l ON l.id = b.log",
    );
    let rows = rows.fetch_all(readers).await.map_err(|error| broken(&error))?;
    rows.iter()
        .map(|row| {
            let log = match row.get::<Option<Uuid>, _>(0) {
                None => Log::System,
                Some(id) => Log::Board(BoardId::from_uuid(id)),
            };
            Ok((log, row.get::<i64, _>(1).unsigned_abs()))
        })
        .collect()
}

/// Times grow with `seq`, so the place is found by halving: an index by time would cost every event of every agent, for a
/// question that retention asks once in a while. Where a clock was set back, the answer is one of the places at which an
/// older event is followed by a younger one.
pub(crate) async fn seq_before(readers: &PgPool, log: Log, moment: Timestamp) -> Result<Seq, StoreError> {
    let mut sql = QueryBuilder::new("SELECT id, first_seq, head_seq FROM log WHERE id = ");
    push_log(&mut sql, log);
    let row = sql.build().fetch_optional(readers).await.map_err(|error| broken(&error))?;
    let Some(row) = row else { return Ok(0) };
    let (log, mut low, mut high): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    // What lies below `low` is older, what lies above `high` is not.
    let mut before = 0;
    while low <= high {
        let middle = low + (high - low) / 2;
        let row =
            sqlx::query("SELECT seq, at FROM event WHERE log = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq LIMIT 1")
                .bind(log)
                .bind(middle)
                .bind(high)
                .fetch_optional(readers)
                .await
                .map_err(|error| broken(&error))?;
        match row.map(|row| (row.get::<i64, _>(0), row.get::<i64, _>(1))) {
            Some((seq, at)) if at < moment.millis() => {
                before = seq;
                low = seq + 1;
            }
            _ => high = middle - 1,
        }
    }
    Ok(before.unsigned_abs())
}
