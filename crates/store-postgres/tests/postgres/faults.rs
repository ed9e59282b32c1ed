//! What opening refuses, what the checks find, and what no text can hold.

use std::path::Path;
use std::sync::Arc;

use kanvoy_domain::event::{Log, NewEvent, StateChanged};
use kanvoy_domain::{Actor, EventKind, State};
use kanvoy_store::{Change, Commit, Store, StoreError, TaskQuery};
use kanvoy_store_postgres::{OpenError, PostgresStore};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::server::Server;
use crate::world::{board, log, new_task, note, now, open, task};

async fn bare(url: &str, sql: &'static str) -> u64 {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    // As anybody may who has no regard for the rules.
    sqlx::raw_sql("SET session_replication_role = replica").execute(&mut connection).await.expect("is set");
    let done = sqlx::raw_sql(sql).execute(&mut connection).await.expect("is done");
    connection.close().await.expect("closes");
    done.rows_affected()
}

async fn refused(url: &str) -> OpenError {
    PostgresStore::open(url, Arc::new(())).await.err().expect("is refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_says_what_is_wrong() {
    let server = Server::shared();
    let url = server.database().await;
    bare(&url, "CREATE TABLE song (title TEXT)").await;
    let error = refused(&url).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");

    let url = server.database().await;
    open(&url).await.close().await;
    open(&url).await.close().await;
    bare(
        &url,
        "INSERT INTO _sqlx_migrations SELECT 9, 'later', installed_on, success, checksum, execution_time
         FROM _sqlx_migrations LIMIT 1",
    )
    .await;
    let error = refused(&url).await;
    assert!(matches!(error, OpenError::Newer { found: 9, .. }), "{error}");

    let error = refused("sqlite:kanvoy.db").await;
    assert!(matches!(error, OpenError::Address(_)), "{error}");
    let error = refused(&server.url("not_there")).await.to_string();
    assert!(error.contains("not_there") && error.contains("cannot be reached"), "{error}");
    let error = refused("postgres://ada:hunter2@127.0.0.1:1/kanvoy").await.to_string();
    assert!(error.contains("kanvoy at 127.0.0.1:1") && !error.contains("hunter2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_open_at_once_one_makes_the_tables() {
    let server = Server::shared();
    let url = server.database().await;
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        opening.spawn(async move { open(&url).await });
    }
    for store in opening.join_all().await {
        store.ready().await.expect("can write");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_asked_of_the_servers_own_tools() {
    let server = Server::shared();
    let store = open(&server.database().await).await;
    let refused = store.backup(Path::new("/var/backups/kan.dump")).await.expect_err("is refused").to_string();
    assert!(refused.contains("pg_dump --format=custom --host=127.0.0.1 --port="), "{refused}");
    assert!(refused.ends_with("--file=/var/backups/kan.dump"), "{refused}");
    store.close().await;
}

/// Postgres holds no U+0000. What reaches the store by the engine has none; what does all the same harms nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_be_kept_is_refused_alone() {
    let server = Server::shared();
    let store = open(&server.database().await).await;
    let board = board(&store, "KAN").await;
    let mut bad = task(&board, "Fine");
    bad.description = "a\0b".into();
    let bad = Commit::new(vec![Change::NewTask(bad)], vec![]);
    let (good, bad, better) =
        tokio::join!(store.commit(new_task(&board, "One")), store.commit(bad), store.commit(new_task(&board, "Two")));
    assert!(matches!(bad, Err(StoreError::Damaged(_))), "{bad:?}");
    let mut numbers = [good.expect("is made").numbers[0], better.expect("is made").numbers[0]];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    // In an event, it is written as JSON writes it.
    store.commit(Commit::new(vec![], vec![note(&board, "a\0b")])).await.expect("is kept");
    assert_eq!(log(&store, Log::Board(board.id)).await.len(), 4);
    let nothing = TaskQuery { words: vec!["a\0b".into()], limit: 10, ..TaskQuery::default() };
    assert!(store.tasks(&nothing).await.expect("lists").items.is_empty());
    let nothing = TaskQuery { labels: vec!["\0".into()], limit: 10, ..TaskQuery::default() };
    assert!(store.tasks(&nothing).await.expect("lists").items.is_empty());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_fault_is_found() {
    let server = Server::shared();
    // Each in a database of its own; the faults of one do not hide those of another.
    let faults = [
        ("DELETE FROM event WHERE log = 1 AND seq = 3", "KAN: the log has a hole before event 4"),
        ("DELETE FROM event WHERE log = 1 AND seq = 1", "KAN: the log has a hole before event 2"),
        ("DELETE FROM event WHERE log = 1 AND seq = 5", "KAN: the log ends with event 4, but its head is 5"),
        ("UPDATE log SET head_seq = 9 WHERE id = 0", "the system: the log ends with event 0, but its head is 9"),
        ("UPDATE log SET next_number = 3 WHERE id = 1", "KAN-3 is there, but the next task gets the number 3"),
        (
            "UPDATE task SET state = 'FAILED' WHERE number = 3",
            "KAN-3 is FAILED, but its column does not hold that state",
        ),
        (
            "UPDATE task SET state = 'VERIFY' WHERE number = 3",
            "KAN-3 is VERIFY, but the last that its log says of it is REVIEW",
        ),
        (
            "UPDATE event SET body = replace(body, 'TODO', 'BACKLOG') WHERE seq = 2",
            "KAN-1 is TODO, but the last that its log says of it is BACKLOG",
        ),
        ("UPDATE event SET body = ',' WHERE seq = 1", "KAN: event 1 is not JSON"),
        ("DELETE FROM column_state WHERE state = 'FAILED'", "KAN: no column holds FAILED"),
        (
            "INSERT INTO blocker SELECT a.id, b.id FROM task a, task b WHERE a.number = 1 AND b.number = 2",
            "KAN-1 waits for KAN-2 waits for KAN-1",
        ),
        (
            "UPDATE task SET parent_id = (SELECT id FROM task WHERE number = 3) WHERE number = 1",
            "KAN-1 is part of KAN-3 is part of KAN-1",
        ),
        ("UPDATE blocker SET blocker = gen_random_uuid()", "KAN-2 waits for a task that is not on its board"),
        (
            "UPDATE task SET parent_id = gen_random_uuid() WHERE number = 2",
            "KAN-2 is part of a task that is not on its board",
        ),
        ("UPDATE blocker SET task = gen_random_uuid()", "a task that is not there waits for others"),
        (
            "INSERT INTO event SELECT 7, seq, task, kind, at, body FROM event WHERE seq = 1",
            "1 events are in log 7, which is not there",
        ),
        ("DELETE FROM board", "a row of task belongs to a board that is not there"),
    ];
    for (damage, expected) in faults {
        let url = server.database().await;
        with_a_board(&url).await;
        assert_eq!(kanvoy_store_postgres::check(&url).await.expect("is checked"), Vec::<String>::new());
        assert!(bare(&url, damage).await > 0, "{damage}");
        let found = kanvoy_store_postgres::check(&url).await.expect("is checked");
        assert!(found.iter().any(|fault| fault == expected), "{damage}: {found:#?}");
    }
}

/// A board with three tasks: the second waits for the first, the third is part of it and was moved.
async fn with_a_board(url: &str) {
    let store = open(url).await;
    let board = board(&store, "KAN").await;
    let first = task(&board, "One");
    let (mut changes, mut events) = (Vec::new(), Vec::new());
    for number in 1..=3 {
        let mut task = if number == 1 { first.clone() } else { task(&board, "Another") };
        match number {
            2 => task.blocked_by = vec![first.id],
            3 => task.parent_id = Some(first.id),
            _ => {}
        }
        events.push(NewEvent::created(&task, now(), Actor::person("ada")));
        changes.push(Change::NewTask(task));
    }
    store.commit(Commit::new(changes, events)).await.expect("are made");
    let mut third = store.task_numbered(board.id, 3).await.expect("reads").expect("is there").task;
    third.state = State::Review;
    third.column_id = board.home(State::Review).expect("has one").id;
    let moved = StateChanged {
        from: State::Todo,
        to: State::Review,
        reason: "moved".into(),
        column_id: third.column_id,
        rank: third.rank.clone(),
        version: third.version,
    };
    let name = Log::Board(board.id);
    let moved = NewEvent::new(name, EventKind::TaskStateChanged, now(), Actor::person("ada"), &moved).about(third.id);
    store.commit(Commit::new(vec![Change::Task(third)], vec![moved])).await.expect("is moved");
    store.close().await;
}
