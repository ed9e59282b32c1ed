//! Committing event rows through the store, against the same rows by one multi-row INSERT in a bare database with the same
//! key and index.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kanvoy_domain::{Actor, EventKind, Log, NewEvent, TaskId, Timestamp};
use kanvoy_store::{Commit, Store};
use kanvoy_store_sqlite::SqliteStore;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::ROUNDS;
use crate::report::{Reach, Report, median};

/// A database with nothing but the log in it.
pub struct Bare {
    pub pool: SqlitePool,
    _dir: tempfile::TempDir,
}

impl Bare {
    pub async fn open() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let options = SqliteConnectOptions::new()
            .filename(dir.path().join("bare.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.expect("opens");
        pool.execute(
            "CREATE TABLE event (log INTEGER NOT NULL, seq INTEGER NOT NULL, task BLOB, kind TEXT NOT NULL,
             at INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (log, seq)) STRICT, WITHOUT ROWID;
             CREATE INDEX event_by_task ON event (task, seq) WHERE task IS NOT NULL;",
        )
        .await
        .expect("makes the table");
        Self { pool, _dir: dir }
    }

    /// So many rows of one task, whose id is given back.
    pub async fn fill(&self, count: usize) -> [u8; 16] {
        let task = *Uuid::from_u128(7).as_bytes();
        let bodies: Vec<String> = rows("b", "t").take(count).collect();
        for (at, bodies) in bodies.chunks(1_000).enumerate() {
            self.insert(1, at as i64 * 1_000, &task, bodies).await;
        }
        task
    }

    async fn insert(&self, log: i64, after: i64, task: &[u8; 16], bodies: &[String]) {
        let values = vec!["(?,?,?,?,?,?)"; bodies.len()].join(",");
        let insert = AssertSqlSafe(format!("INSERT INTO event (log, seq, task, kind, at, body) VALUES {values}"));
        let mut query = sqlx::query(insert);
        for (at, body) in bodies.iter().enumerate() {
            query =
                query.bind(log).bind(after + at as i64 + 1).bind(&task[..]).bind("task.updated").bind(0i64).bind(body);
        }
        query.execute(&self.pool).await.expect("inserts");
    }
}

/// Bodies of events of about 300 bytes, as they are kept.
pub fn rows(board: &str, task: &str) -> impl Iterator<Item = String> {
    let (board, task) = (board.to_owned(), task.to_owned());
    (0u64..).map(move |n| {
        format!(
            ",\"type\":\"task.updated\",\"timestamp\":\"2026-11-20T07:00:00.123Z\",\"board_id\":\"{board}\",\
             \"task_id\":\"{task}\",\"actor\":{{\"kind\":\"engine\"}},\"data\":{{\"changed\":{{\"title\":\"step {n} of \
             many, with some words to make it as long as lines are\"}},\"version\":{n}}}}}"
        )
    })
}

pub async fn commit(report: &mut Report) {
    for size in [100usize, 1_000] {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            floor.push(bare_rate(size).await);
            ours.push(our_rate(size).await);
        }
        let what = format!("commit of event rows, {size} a commit, FULL");
        report.ratio(what, "rows/s", median(ours), median(floor), Reach::AtLeast(0.7));
    }
}

const LASTING: Duration = Duration::from_millis(700);

async fn bare_rate(size: usize) -> f64 {
    let bare = Bare::open().await;
    let bodies: Vec<String> = rows("019d", "019e").take(size).collect();
    let (begin, mut done) = (Instant::now(), 0);
    while begin.elapsed() < LASTING {
        bare.insert(1, done, Uuid::from_u128(7).as_bytes(), &bodies).await;
        done += size as i64;
    }
    done as f64 / begin.elapsed().as_secs_f64()
}

async fn our_rate(size: usize) -> f64 {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("kanvoy.db"), Arc::new(())).await.expect("opens");
    let task = TaskId::from_uuid(Uuid::from_u128(7));
    let words = "step of many, with some words to make it as long as lines are, and a few words more for its ids";
    let data = json!({ "changed": { "title": words }, "version": 1 });
    let event = NewEvent::new(Log::System, EventKind::TaskUpdated, Timestamp::from_millis(0), Actor::engine(), &data)
        .about(task);
    let (begin, mut done) = (Instant::now(), 0);
    while begin.elapsed() < LASTING {
        let commit = Commit::new(Vec::new(), vec![event.clone(); size]);
        store.commit(commit).await.expect("commits");
        done += size;
    }
    let rate = done as f64 / begin.elapsed().as_secs_f64();
    store.close().await;
    rate
}
