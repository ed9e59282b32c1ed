//! What the tests of this binary have in common: a board, its tasks, somebody who listens, and the whole of a log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kanvoy_domain::event::{EventKind, Log, NewEvent};
use kanvoy_domain::task::Place;
use kanvoy_domain::{Actor, Board, BoardId, ColumnId, NewBoard, NewTask, Rank, State, Task, TaskId, Timestamp};
use kanvoy_store::{Change, Claim, Commit, EventQuery, Kinds, Store, StoredEvent, Tell};
use kanvoy_store_postgres::PostgresStore;
use uuid::Uuid;

/// Another one each time.
pub fn uuid() -> Uuid {
    static TICKS: AtomicU64 = AtomicU64::new(1);
    Uuid::from_u128((0x0193_4a5b_u128 << 96) | u128::from(TICKS.fetch_add(1, Ordering::Relaxed)))
}

pub fn now() -> Timestamp {
    Timestamp::from_millis(1_795_158_000_123)
}

pub async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(url, Arc::new(())).await.expect("opens")
}

pub fn unmade_board(key: &str) -> Board {
    let columns = [0; 6].map(|_| ColumnId::from_uuid(uuid()));
    let new = NewBoard { name: format!("Board {key}"), ..NewBoard::default() };
    new.checked(BoardId::from_uuid(uuid()), key.parse().expect("a key"), columns, now()).expect("a board")
}

pub async fn board(store: &dyn Store, key: &str) -> Board {
    let board = unmade_board(key);
    let made = vec![Change::NewBoard(board.clone())];
    store.commit(Commit::new(made, vec![note(&board, "made")])).await.expect("is made");
    board
}

pub fn task(board: &Board, title: &str) -> Task {
    let column_id = board.home(State::Todo).expect("has one").id;
    let place = Place { board_id: board.id, column_id, rank: Rank::arrived(now()) };
    let new = NewTask { title: title.into(), ..NewTask::default() };
    new.checked(TaskId::from_uuid(uuid()), place, now()).expect("a task")
}

pub fn new_task(board: &Board, title: &str) -> Commit {
    let task = task(board, title);
    let created = NewEvent::created(&task, now(), Actor::person("ada"));
    Commit::new(vec![Change::NewTask(task)], vec![created])
}

pub fn note(board: &Board, text: &str) -> NewEvent {
    NewEvent::new(Log::Board(board.id), EventKind::BoardUpdated, now(), Actor::engine(), &text)
}

pub fn claim(key: &str) -> Claim {
    Claim { person: "ada".into(), key: key.into(), fingerprint: [1; 32], at: now() }
}

pub fn page(log: Log, after: u64) -> EventQuery {
    EventQuery { log, after, task: None, kinds: Kinds::All, limit: 500, max_bytes: usize::MAX }
}

/// The whole log, which has no hole.
pub async fn log(store: &dyn Store, log: Log) -> Vec<StoredEvent> {
    let mut all: Vec<StoredEvent> = Vec::new();
    loop {
        let events = store.events(&page(log, all.len() as u64)).await.expect("reads").events;
        if events.is_empty() {
            return all;
        }
        for event in events {
            assert_eq!(event.seq, all.len() as u64 + 1, "{log} has no hole");
            all.push(event);
        }
    }
}

/// Remembers what it was told, and finds it in order.
#[derive(Default)]
pub struct Listener {
    told: Mutex<HashMap<Log, Vec<u64>>>,
}

impl Listener {
    pub fn told_of(&self, log: Log) -> Vec<u64> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(&log).cloned().unwrap_or_default()
    }
}

impl Tell for Listener {
    fn told(&self, log: Log, events: &[StoredEvent]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told.entry(log).or_default();
        for event in events {
            assert!(told.last().is_none_or(|last| *last < event.seq), "{log}: {} after {told:?}", event.seq);
            told.push(event.seq);
        }
    }
}
