//! How fast a server commits and reads back: `cargo run --release -p kanvoy-store-postgres --example commit_rate
//! postgres://USER@HOST/DATABASE`. The database is an empty one that may be written to.
//!
//! Every figure is durable commits, if the server has `fsync` and `synchronous_commit` on, told to a teller who does not
//! listen. Beside the events stands the floor: the same rows into the same tables, by a bare connection and one `INSERT …
//! SELECT FROM UNNEST` in each transaction, with no store around them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kanvoy_domain::task::Place;
use kanvoy_domain::text::BoardKey;
use kanvoy_domain::{
    Actor, Board, BoardId, ColumnId, EventKind, Log, NewBoard, NewEvent, NewTask, Rank, State, Task, TaskId, Timestamp,
};
use kanvoy_store::{Change, Commit, EventQuery, Kinds, Order, Store, TaskQuery};
use kanvoy_store_postgres::PostgresStore;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const REPLAYED: usize = 100_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).ok_or("give the address of an empty database: postgres://USER@HOST/DATABASE")?;
    let store = Arc::new(PostgresStore::open(&url, Arc::new(())).await?);
    let board = board()?;
    store.commit(Commit::new(vec![Change::NewBoard(board.clone())], vec![])).await?;

    for batch in [1, 100, 1_000] {
        let floor = events_by_hand(&url, &board, batch).await?;
        let rate = events(&store, &board, batch).await?;
        println!("events in batches of {batch:>5}: {rate:>8.0}/s, floor {floor:>8.0}/s, ratio {:.2}", rate / floor);
    }
    for clients in [1, 64] {
        let (rate, p50, p99) = tasks(&store, &board, clients).await?;
        println!("tasks by {clients:>3} clients: {rate:>8.0}/s, p50 {p50:?}, p99 {p99:?}");
    }
    for page in [256, 1_000] {
        let rate = replay(&store, &board, page).await?;
        println!("replay in pages of {page:>5}: {rate:>8.0}/s");
    }
    // As the server does by itself within a minute.
    url.parse::<PgConnectOptions>()?.connect().await?.execute("ANALYZE").await?;
    lists(&store, &board).await?;
    let started = Instant::now();
    let faults = store.check().await?;
    println!("check: {} faults in {:?}", faults.len(), started.elapsed());
    store.close().await;
    Ok(())
}

fn moment() -> Timestamp {
    Timestamp::from_millis(1_795_158_000_123)
}

fn id(number: usize) -> Uuid {
    Uuid::from_u128((0x0193_4a5b_6c7d_7000_8000_u128 << 48) | number as u128)
}

fn board() -> Outcome<Board> {
    let key: BoardKey = "RATE".parse()?;
    let new = NewBoard { name: "Rate".into(), ..NewBoard::default() };
    Ok(new.checked(BoardId::from_uuid(id(1)), key, [2, 3, 4, 5, 6, 7].map(|n| ColumnId::from_uuid(id(n))), moment())?)
}

fn replayed() -> TaskId {
    TaskId::from_uuid(id(8))
}

/// A line of an agent, 300 bytes of it.
fn line(board: &Board) -> NewEvent {
    let said = "lorem ipsum dolor sit amet ".repeat(8);
    let data = serde_json::json!({ "update": "agent_message_chunk", "text": said });
    NewEvent::new(Log::Board(board.id), EventKind::TaskUpdated, moment(), Actor::engine(), &data).about(replayed())
}

async fn events(store: &PostgresStore, board: &Board, batch: usize) -> Outcome<f64> {
    let line = line(board);
    let started = Instant::now();
    let mut written = 0;
    while written < events_of(batch) {
        store.commit(Commit::new(vec![], vec![line.clone(); batch])).await?;
        written += batch;
    }
    Ok(written as f64 / started.elapsed().as_secs_f64())
}

async fn events_by_hand(url: &str, board: &Board, batch: usize) -> Outcome<f64> {
    let mut connection = url.parse::<PgConnectOptions>()?.disable_statement_logging().connect().await?;
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS floor;
         CREATE TABLE floor (log BIGINT NOT NULL, seq BIGINT NOT NULL, task UUID, kind TEXT NOT NULL, at BIGINT NOT NULL,
            body TEXT NOT NULL, PRIMARY KEY (log, seq));
         CREATE INDEX floor_by_task ON floor (task, seq) WHERE task IS NOT NULL;",
    )
    .execute(&mut connection)
    .await?;
    let line = line(board);
    let body = line.body(|_| None);
    let events = events_of(batch);
    let started = Instant::now();
    let mut written = 0;
    while written < events {
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        sqlx::query(
            "INSERT INTO floor (log, seq, task, kind, at, body)
             SELECT * FROM UNNEST($1::int8[], $2::int8[], $3::uuid[], $4::text[], $5::int8[], $6::text[])",
        )
        .bind(vec![1_i64; batch])
        .bind((written..written + batch).map(|seq| seq as i64).collect::<Vec<_>>())
        .bind(vec![replayed().uuid(); batch])
        .bind(vec![line.kind.as_str(); batch])
        .bind(vec![line.at.millis(); batch])
        .bind(vec![&body; batch])
        .execute(&mut connection)
        .await?;
        sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
        written += batch;
    }
    let rate = written as f64 / started.elapsed().as_secs_f64();
    sqlx::raw_sql("DROP TABLE floor").execute(&mut connection).await?;
    connection.close().await?;
    Ok(rate)
}

fn events_of(batch: usize) -> usize {
    (batch * 2_000).min(REPLAYED / 2)
}

fn task(board: &Board, number: usize) -> Outcome<Task> {
    let column_id = board.home(State::Todo).ok_or("a column for it")?.id;
    let place = Place { board_id: board.id, column_id, rank: Rank::arrived(moment()) };
    let new = NewTask {
        title: format!("Fix the {number}th login"),
        description: "As a user I want it to work.".into(),
        labels: vec!["bug".into(), "ui".into()],
        ..NewTask::default()
    };
    Ok(new.checked(TaskId::from_uuid(id(100 + number)), place, moment())?)
}

/// Each client makes its tasks one after another, and waits until each is durable.
async fn tasks(store: &Arc<PostgresStore>, board: &Board, clients: usize) -> Outcome<(f64, Duration, Duration)> {
    let each = if clients == 1 { 4_000 } else { 1_000 };
    let started = Instant::now();
    let mut at_work = tokio::task::JoinSet::new();
    let made = Arc::new(AtomicUsize::new(clients * 1_000_000));
    for _ in 0..clients {
        let (store, board, made) = (Arc::clone(store), board.clone(), Arc::clone(&made));
        at_work.spawn(async move {
            let mut times = Vec::with_capacity(each);
            for _ in 0..each {
                // Ids rise over all clients, as those do that hold the time of their making.
                let task = task(&board, made.fetch_add(1, Ordering::Relaxed))?;
                let event = NewEvent::created(&task, moment(), Actor::person("ada"));
                let asked = Instant::now();
                store.commit(Commit::new(vec![Change::NewTask(task)], vec![event])).await?;
                times.push(asked.elapsed());
            }
            Outcome::Ok(times)
        });
    }
    let mut times = Vec::with_capacity(clients * each);
    while let Some(done) = at_work.join_next().await {
        times.extend(done??);
    }
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    times.sort();
    Ok((rate, times[times.len() / 2], times[times.len() * 99 / 100]))
}

async fn replay(store: &PostgresStore, board: &Board, page: u32) -> Outcome<f64> {
    let mut query = EventQuery {
        log: Log::Board(board.id),
        after: 0,
        task: Some(replayed()),
        kinds: Kinds::All,
        limit: page,
        max_bytes: usize::MAX,
    };
    let started = Instant::now();
    let mut count = 0;
    loop {
        let events = store.events(&query).await?.events;
        let Some(last) = events.last() else { break };
        query.after = last.seq;
        count += events.len();
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// A board of ten thousand cards and more, listed and searched.
async fn lists(store: &PostgresStore, board: &Board) -> Outcome<()> {
    let on_board = TaskQuery { board: Some(board.id), limit: 100, ..TaskQuery::default() };
    let asked = [
        ("oldest", on_board.clone()),
        ("newest, all boards", TaskQuery { order: Order::Newest, board: None, ..on_board.clone() }),
        ("updated", TaskQuery { order: Order::Updated, ..on_board.clone() }),
        ("as they lie", TaskQuery { order: Order::Lie, ..on_board.clone() }),
        ("one label", TaskQuery { labels: vec!["ui".into()], ..on_board.clone() }),
        ("a rare word", TaskQuery { words: vec!["the 64000999th".into()], ..on_board.clone() }),
        ("no such word", TaskQuery { words: vec!["no such".into()], ..on_board }),
    ];
    for (name, query) in asked {
        let started = Instant::now();
        let items = store.tasks(&query).await?.items.len();
        println!("list, {name}: {items} of them in {:?}", started.elapsed());
    }
    Ok(())
}
