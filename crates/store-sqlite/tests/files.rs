//! What is particular to a store in a file: copies of it, damage to it, and what takes room in it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kanvoy_domain::event::{EventKind, Log, NewEvent, StateChanged};
use kanvoy_domain::task::Place;
use kanvoy_domain::{Actor, Board, BoardId, ColumnId, NewBoard, NewTask, Rank, State, Task, TaskId, Timestamp};
use kanvoy_store::{Change, Commit, EventQuery, Kinds, Store, StoreError};
use kanvoy_store_sqlite::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use uuid::Uuid;

const NOW: i64 = 1_795_158_000_123;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

fn board() -> Board {
    let columns = [2, 3, 4, 5, 6, 7].map(|number| ColumnId::from_uuid(id(number)));
    let new = NewBoard { name: "Kanvoy".into(), ..NewBoard::default() };
    new.checked(BoardId::from_uuid(id(1)), "KAN".parse().expect("a key"), columns, now()).expect("a board")
}

fn task(board: &Board, number: u128) -> Task {
    let column_id = board.home(State::Todo).expect("has one").id;
    let place = Place { board_id: board.id, column_id, rank: Rank::arrived(now()) };
    let new = NewTask { title: format!("Task {number}"), ..NewTask::default() };
    new.checked(TaskId::from_uuid(id(100 + number)), place, now()).expect("a task")
}

fn note(board: &Board) -> NewEvent {
    NewEvent::new(Log::Board(board.id), EventKind::BoardUpdated, now(), Actor::engine(), &"x".repeat(300))
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Arc::new(())).await.expect("opens")
}

/// A board with three tasks: the second waits for the first, the third is part of it and was moved.
async fn with_a_board(path: &Path) -> SqliteStore {
    let store = open(path).await;
    let board = board();
    let mut changes = vec![Change::NewBoard(board.clone())];
    let mut events = vec![note(&board)];
    for number in 1..=3 {
        let mut task = task(&board, number);
        match number {
            2 => task.blocked_by = vec![TaskId::from_uuid(id(101))],
            3 => task.parent_id = Some(TaskId::from_uuid(id(101))),
            _ => {}
        }
        events.push(NewEvent::created(&task, now(), Actor::person("ada")));
        changes.push(Change::NewTask(task));
    }
    store.commit(Commit::new(changes, events)).await.expect("is made");
    let mut third = store.task(TaskId::from_uuid(id(103))).await.expect("reads").expect("is there").task;
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
    let log = Log::Board(board.id);
    let moved = NewEvent::new(log, EventKind::TaskStateChanged, now(), Actor::person("ada"), &moved).about(third.id);
    store.commit(Commit::new(vec![Change::Task(third)], vec![moved])).await.expect("is moved");
    store
}

/// As anybody may open the file who has no regard for its rules.
async fn bare(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).foreign_keys(false).connect().await.expect("opens")
}

async fn count(path: &Path, sql: &'static str) -> i64 {
    let mut connection = bare(path).await;
    let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("counts");
    connection.close().await.expect("closes");
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_whole_while_others_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kanvoy.db");
    let copy = folder.path().join("copy.db");
    let store = Arc::new(with_a_board(&path).await);
    let board = board();
    let writer = {
        let (store, board) = (Arc::clone(&store), board.clone());
        async move {
            for _ in 0..200 {
                let commit = Commit::new(vec![], vec![note(&board), note(&board)]);
                store.commit(commit).await.expect("is kept");
            }
        }
    };
    let (made, ()) = tokio::join!(store.backup(&copy), writer);
    assert_eq!(made.expect("is copied"), copy);
    assert_eq!(copy.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
    let names = folder.path().read_dir().expect("reads").map(|entry| entry.expect("reads").file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("part")), "nothing is left lying about");

    let refused = store.backup(&copy).await.expect_err("is refused").to_string();
    assert!(refused.contains("copy.db exists already"), "{refused}");
    let refused = store.backup(&folder.path().join("no/folder.db")).await.expect_err("is refused").to_string();
    assert!(refused.contains("no/folder.db"), "{refused}");
    let beside = folder.path().join("beside.db");
    kanvoy_store_sqlite::backup(&path, &beside).await.expect("another process may copy it too");
    assert_eq!(kanvoy_store_sqlite::check(&path).await.expect("and check it"), Vec::<String>::new());
    store.close().await;

    for copy in [copy, beside] {
        let copied = open(&copy).await;
        assert_eq!(copied.check().await.expect("is checked"), Vec::<String>::new());
        let row = copied.board(board.id).await.expect("reads").expect("is there");
        assert_eq!(row.next_number, 4);
        assert!(row.head_seq >= 5 && row.head_seq % 2 == 1, "no commit is halved: {}", row.head_seq);
        copied.close().await;
    }
    let missing = folder.path().join("missing.db");
    let refused = kanvoy_store_sqlite::check(&missing).await.expect_err("is refused").to_string();
    assert!(refused.contains("missing.db"), "{refused}");
    assert!(!missing.exists(), "looking makes no file");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_fault_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kanvoy.db");
    with_a_board(&path).await.close().await;
    assert_eq!(kanvoy_store_sqlite::check(&path).await.expect("is checked"), Vec::<String>::new());

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
        ("DELETE FROM column_state WHERE state = 'TODO'", "KAN-1 is TODO, but its column does not hold that state"),
        (
            "INSERT INTO blocker SELECT a.id, b.id FROM task a, task b WHERE a.number = 1 AND b.number = 2",
            "KAN-1 waits for KAN-2 waits for KAN-1",
        ),
        (
            "UPDATE task SET parent_id = (SELECT id FROM task WHERE number = 3) WHERE number = 1",
            "KAN-1 is part of KAN-3 is part of KAN-1",
        ),
        ("UPDATE blocker SET blocker = zeroblob(16)", "KAN-2 waits for a task that is not on its board"),
        (
            "UPDATE task SET parent_id = zeroblob(16) WHERE number = 2",
            "KAN-2 is part of a task that is not on its board",
        ),
        ("UPDATE blocker SET task = zeroblob(16)", "a task that is not there waits for others"),
        (
            "INSERT INTO event SELECT 7, seq, task, kind, at, body FROM event WHERE seq = 1",
            "1 events are in log 7, which is not there",
        ),
        ("DELETE FROM board", "a row of task belongs to a board that is not there"),
    ];
    for (at, (damage, expected)) in faults.into_iter().enumerate() {
        let copy = folder.path().join(format!("damaged-{at}.db"));
        std::fs::copy(&path, &copy).expect("is copied");
        let mut connection = bare(&copy).await;
        let done = sqlx::query(damage).execute(&mut connection).await.expect("does damage");
        assert!(done.rows_affected() > 0, "{damage}");
        connection.close().await.expect("closes");
        let found = kanvoy_store_sqlite::check(&copy).await.expect("is checked");
        assert!(found.iter().any(|fault| fault == expected), "{damage}: {found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kanvoy.db");
    let store = with_a_board(&path).await;
    let board = board();
    store.commit(Commit::new(vec![], vec![note(&board); 500])).await.expect("is kept");
    store.close().await;

    // Not the first pages, which hold what every opening reads, but those of the log.
    let mut bytes = std::fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20_000].fill(0xa5);
    std::fs::write(&path, bytes).expect("writes");
    let store = open(&path).await;
    let faults = store.check().await.expect("is checked");
    assert!(faults.iter().all(|fault| fault.starts_with("the file is damaged: ")) && !faults.is_empty(), "{faults:?}");
    let log = Log::Board(board.id);
    let all = EventQuery { log, after: 0, task: None, kinds: Kinds::All, limit: 1_000, max_bytes: usize::MAX };
    let read = store.events(&all).await;
    assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_reach_takes_no_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kanvoy.db");
    let store = with_a_board(&path).await;
    let board = board();
    for _ in 0..10 {
        store.commit(Commit::new(vec![], vec![note(&board); 500])).await.expect("is kept");
    }
    store
        .commit(Commit::new(vec![Change::Prune { board: board.id, through: 4_000 }], vec![note(&board)]))
        .await
        .expect("is pruned");
    assert_eq!(soon(&path, "SELECT count(*) FROM event WHERE seq <= 4000", 0).await, 0);
    assert_eq!(soon(&path, "SELECT count(*) FROM leftover", 0).await, 0);
    assert_eq!(count(&path, "SELECT count(*) FROM event").await, 5_006 - 4_000);

    store.commit(Commit::new(vec![Change::PurgeBoard(board.id)], vec![])).await.expect("is purged");
    // The store may stop before all of it is gone, and goes on when it is opened again.
    store.close().await;
    let store = open(&path).await;
    assert_eq!(soon(&path, "SELECT count(*) FROM event", 0).await, 0);
    assert_eq!(store.check().await.expect("is checked"), Vec::<String>::new());
    store.close().await;
    for table in ["SELECT count(*) FROM board", "SELECT count(*) FROM task", "SELECT count(*) FROM blocker"] {
        assert_eq!(count(&path, table).await, 0, "{table}");
    }
}

async fn soon(path: &Path, sql: &'static str, wanted: i64) -> i64 {
    for _ in 0..500 {
        if count(path, sql).await == wanted {
            return wanted;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    count(path, sql).await
}

/// On one thread, so that everybody has asked before the writer takes what waits: edits and purges share their groups.
#[tokio::test]
async fn nothing_is_left_of_what_was_purged_while_it_was_edited() {
    const TASKS: u128 = 150;
    const SECRET: &str = "the launch code";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kanvoy.db");
    let store = open(&path).await;
    let board = board();
    let tasks: Vec<Task> =
        (1..=TASKS).map(|number| Task { title: format!("{SECRET} {number}"), ..task(&board, number) }).collect();
    let mut changes = vec![Change::NewBoard(board.clone())];
    changes.extend(tasks.iter().cloned().map(Change::NewTask));
    let created = tasks.iter().map(|task| NewEvent::created(task, now(), Actor::person("ada")));
    store.commit(Commit::new(changes, created.collect())).await.expect("are made");

    let about = |task: &Task| {
        let log = Log::Board(board.id);
        NewEvent::new(log, EventKind::TaskUpdated, now(), Actor::person("ada"), &task.title).about(task.id)
    };
    let mut asked = Vec::new();
    for task in &tasks {
        let edit = || Commit::new(vec![Change::Task(task.clone())], vec![about(task)]);
        let purge = Change::PurgeTask { task: task.id, board: board.id, at: now() };
        asked.extend([edit(), Commit::new(vec![purge], vec![note(&board)]), edit()]);
        asked.push(Commit::new(vec![], vec![about(task)]));
    }
    let answers = join_all(asked.into_iter().map(|commit| store.commit(commit))).await;
    let mut edited = 0;
    for answers in answers.chunks(4) {
        let [before, purged, after, said] = answers else { panic!("there are four of each") };
        edited += usize::from(before.is_ok());
        assert!(purged.is_ok(), "{purged:?}");
        assert!(matches!(after, Err(StoreError::NotFound)), "{after:?}");
        assert!(matches!(said, Ok(_) | Err(StoreError::NotFound)), "{said:?}");
    }
    assert!(edited > 0, "some are edited before they are purged");
    store.close().await;
    assert_eq!(kanvoy_store_sqlite::check(&path).await.expect("is checked"), Vec::<String>::new());
    assert_eq!(count(&path, "SELECT count(*) FROM task").await, 0);
    assert_eq!(count(&path, "SELECT count(*) FROM event WHERE body LIKE '%launch code%' OR task NOTNULL").await, 0);
}
