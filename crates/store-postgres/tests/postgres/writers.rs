//! Several processes at once: here two stores on one database, which know nothing of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kanvoy_domain::event::{EventKind, Log, NewEvent};
use kanvoy_domain::{Actor, Board};
use kanvoy_store::{Change, Commit, Order, Store, StoreError, TaskQuery};
use kanvoy_store_postgres::PostgresStore;
use tokio::task::JoinSet;

use crate::server::Server;
use crate::world::{Listener, board, claim, log, new_task, note, now, open, page, task, unmade_board};

const CLIENTS: usize = 50;
const COMMITS: usize = 20;

/// All sorts, some of which are refused after they have drawn numbers.
fn commit(at: usize, boards: &[Board; 2]) -> Commit {
    let [one, other] = boards;
    let system = NewEvent::new(Log::System, EventKind::DaemonRepaired, now(), Actor::engine(), &at);
    match at % 6 {
        0 => Commit::new(vec![], vec![note(one, "one"), note(one, "two")]),
        1 => new_task(other, "Another"),
        2 => {
            // On both boards, in either order.
            let (mut first, second) = if at.is_multiple_of(4) {
                (new_task(one, "a"), new_task(other, "b"))
            } else {
                (new_task(other, "b"), new_task(one, "a"))
            };
            first.changes.extend(second.changes);
            first.events.extend(second.events);
            first
        }
        3 => {
            let mut stale = new_task(one, "Never seen");
            stale.changes.push(Change::Task(task(one, "Not there")));
            stale
        }
        4 => Commit::new(vec![Change::Claim(claim("taken already"))], vec![note(other, "never seen"), system]),
        _ => Commit::new(vec![], vec![system, note(other, "x")]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cursor_misses_nothing_while_many_write() {
    let server = Server::shared();
    let url = server.database().await;
    let tellers = [Arc::new(Listener::default()), Arc::new(Listener::default())];
    let mut stores = Vec::new();
    for teller in &tellers {
        stores.push(Arc::new(PostgresStore::open(&url, Arc::clone(teller) as _).await.expect("opens")));
    }
    let boards = Arc::new([board(&*stores[0], "ONE").await, board(&*stores[1], "TWO").await]);
    stores[0].commit(Commit::new(vec![Change::Claim(claim("taken already"))], vec![])).await.expect("is claimed");
    let logs = [Log::System, Log::Board(boards[0].id), Log::Board(boards[1].id)];

    let over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for reader in 0..CLIENTS {
        let (store, over, log) = (Arc::clone(&stores[reader % 2]), Arc::clone(&over), logs[reader % 3]);
        readers.spawn(async move {
            let mut seen = 0;
            loop {
                // Asked before it is read: after that, nothing comes any more.
                let last = over.load(Ordering::Acquire);
                let events = store.events(&page(log, seen)).await.expect("reads").events;
                if last && events.is_empty() {
                    return (log, seen);
                }
                for event in events {
                    assert_eq!(event.seq, seen + 1, "{log}: nothing is missing, nothing comes late");
                    seen = event.seq;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    let mut writers = JoinSet::new();
    for writer in 0..CLIENTS {
        let (store, boards) = (Arc::clone(&stores[writer % 2]), Arc::clone(&boards));
        writers.spawn(async move {
            let (mut events, mut tasks) = (0, 0);
            for at in 0..COMMITS {
                let kind = writer + at;
                let commit = commit(kind, &boards);
                let expected = (commit.events.len(), commit.changes.len());
                match store.commit(commit).await {
                    Ok(done) => {
                        assert!(!matches!(kind % 6, 3 | 4), "is refused");
                        assert_eq!((done.seqs.len(), done.numbers.len()), expected);
                        events += done.seqs.len();
                        tasks += done.numbers.len();
                    }
                    Err(StoreError::NotFound) => assert_eq!(kind % 6, 3),
                    Err(StoreError::Claimed) => assert_eq!(kind % 6, 4),
                    Err(error) => panic!("{error}"),
                }
            }
            (events, tasks)
        });
    }
    let (mut events, mut tasks) = (2, 0);
    while let Some(done) = writers.join_next().await {
        let (more_events, more_tasks) = done.expect("writes");
        events += more_events;
        tasks += more_tasks;
    }
    over.store(true, Ordering::Release);
    let mut heads = [0; 3];
    for (at, name) in logs.iter().enumerate() {
        let all = log(&*stores[at % 2], *name).await;
        heads[at] = all.len() as u64;
        assert_eq!(stores[0].head(*name).await.expect("reads"), heads[at]);
        // Each event was told by the process that wrote it, and by no other.
        let mut told: Vec<u64> = tellers.iter().flat_map(|teller| teller.told_of(*name)).collect();
        told.sort_unstable();
        assert_eq!(told, (1..=heads[at]).collect::<Vec<_>>());
    }
    assert_eq!(heads.iter().sum::<u64>(), events as u64, "what was answered is there");
    while let Some(reader) = readers.join_next().await {
        let (log, seen) = reader.expect("reads");
        let at = logs.iter().position(|one| *one == log).expect("is one of them");
        assert_eq!(seen, heads[at], "a reader has seen all of {log}");
    }
    let mut numbered = 0;
    for board in boards.iter() {
        let query = TaskQuery { board: Some(board.id), order: Order::Oldest, limit: 5_000, ..TaskQuery::default() };
        let listed = stores[0].tasks(&query).await.expect("lists").items;
        let numbers: Vec<u64> = listed.iter().map(|row| row.task.number).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "numbers have no holes");
        numbered += numbers.len();
    }
    assert_eq!(numbered, tasks);
    assert_eq!(stores[0].check().await.expect("is checked"), Vec::<String>::new());
    for store in stores {
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_changes_the_other_sees_at_once() {
    let server = Server::shared();
    let url = server.database().await;
    let (here, there) = (Arc::new(open(&url).await), Arc::new(open(&url).await));
    let mine = board(&*here, "KAN").await;
    assert_eq!(there.board(mine.id).await.expect("reads").expect("is there").board.rev, mine.rev);
    let made = there.commit(new_task(&mine, "From there")).await.expect("is made");
    assert_eq!((made.seq(), made.numbers[0]), (2, 1));
    let seen = here.task_numbered(mine.id, 1).await.expect("reads").expect("is there").task;

    // A row that both change at once is changed by one at a time.
    let mut racing = JoinSet::new();
    for at in 0..20 {
        let store = Arc::clone(if at % 2 == 0 { &here } else { &there });
        let mut changed = seen.clone();
        changed.title = format!("Changed by {at}");
        racing.spawn(async move { store.commit(Commit::new(vec![Change::Task(changed)], vec![])).await });
    }
    let mut changed = 0;
    while let Some(done) = racing.join_next().await {
        match done.expect("runs") {
            Ok(_) => changed += 1,
            Err(StoreError::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(changed, 1);

    // A key is claimed by one of many, and its answer is known to all.
    for at in 0..20 {
        let key = format!("key {at}");
        let commit = || Commit::new(vec![Change::Claim(claim(&key))], vec![note(&mine, &key)]);
        let (one, other) = tokio::join!(here.commit(commit()), there.commit(commit()));
        assert!(
            matches!((&one, &other), (Ok(_), Err(StoreError::Claimed)) | (Err(StoreError::Claimed), Ok(_))),
            "{one:?} {other:?}"
        );
    }

    // Boards that are made at once get keys of their own, and are all listed.
    let mut making = JoinSet::new();
    for at in 0..20 {
        let store = Arc::clone(if at % 2 == 0 { &here } else { &there });
        let board = unmade_board(&format!("B{at}"));
        making.spawn(async move {
            store.commit(Commit::new(vec![Change::NewBoard(board.clone())], vec![note(&board, "made")])).await
        });
    }
    while let Some(made) = making.join_next().await {
        assert_eq!(made.expect("runs").expect("is made").seq(), 1);
    }
    assert_eq!(there.boards(None, 100, false).await.expect("lists").items.len(), 21);
    let same = unmade_board("SAME");
    let commit = || Commit::new(vec![Change::NewBoard(same.clone())], vec![]);
    let (one, other) = tokio::join!(here.commit(commit()), there.commit(commit()));
    assert!(matches!((&one, &other), (Ok(_), Err(StoreError::Taken(_))) | (Err(StoreError::Taken(_)), Ok(_))));

    // What is deleted here takes nothing there.
    let row = here.board(mine.id).await.expect("reads").expect("is there").board;
    here.commit(Commit::new(vec![Change::DeleteBoard(row)], vec![])).await.expect("is deleted");
    let refused = there.commit(new_task(&mine, "Too late")).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    here.close().await;
    there.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_reach_is_removed_once() {
    let server = Server::shared();
    let url = server.database().await;
    let stores = [open(&url).await, open(&url).await];
    let boards = [board(&stores[0], "ONE").await, board(&stores[1], "TWO").await];
    for board in &boards {
        for _ in 0..10 {
            stores[0].commit(Commit::new(vec![], vec![note(board, "x"); 500])).await.expect("is kept");
        }
    }
    let (one, other) = tokio::join!(
        stores[0].commit(Commit::new(vec![Change::Prune { board: boards[0].id, through: 4_000 }], vec![])),
        stores[1].commit(Commit::new(vec![Change::PurgeBoard(boards[1].id)], vec![])),
    );
    one.and(other).expect("are pruned and purged");
    let gap = stores[1].events(&page(Log::Board(boards[0].id), 0)).await.expect("reads").events;
    assert_eq!((gap[0].seq, gap[0].kind, gap[1].seq), (4_000, EventKind::StreamGap, 4_001));
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("an address");
    let pool = sqlx::PgPool::connect_with(options).await.expect("connects");
    for _ in 0..500 {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM event").fetch_one(&pool).await.expect("counts");
        if left == 1_001 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left: (i64, i64) = sqlx::query_as("SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM leftover)")
        .fetch_one(&pool)
        .await
        .expect("counts");
    assert_eq!(left.0, 1_001);
    pool.close().await;
    for store in stores {
        store.close().await;
    }
}
