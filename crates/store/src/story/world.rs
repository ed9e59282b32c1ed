//! Whom the story is about: one store, a teller who remembers, and short ways to say what the chapters say often.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kanvoy_domain::event::{EventKind, Log, NewEvent, Seq, StateChanged};
use kanvoy_domain::task::Place;
use kanvoy_domain::text::BoardKey;
use kanvoy_domain::{
    Actor, Board, BoardId, ColumnId, NewBoard, NewTask, Rank, State, Task, TaskId, TaskNumber, Timestamp,
};
use serde_json::json;
use uuid::Uuid;

use crate::{Change, Commit, Committed, EventQuery, Kinds, Store, StoreError, StoredEvent, Tell, WhichTasks};
use crate::{Order, TaskQuery, TaskRow};

pub(super) struct World {
    pub store: Arc<dyn Store>,
    pub teller: Arc<Recorder>,
    /// Makes ids and moments: every one is later than the one before.
    ticks: AtomicU64,
}

/// Remembers what it was told, and rings for those who want to look at once.
#[derive(Default)]
pub(super) struct Recorder {
    told: Mutex<HashMap<Log, Vec<StoredEvent>>>,
    bell: Mutex<Option<tokio::sync::mpsc::Sender<(Log, Seq)>>>,
}

impl Tell for Recorder {
    fn told(&self, log: Log, events: &[StoredEvent]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry(log).or_default().extend_from_slice(events);
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(bell), Some(last)) = (bell.as_ref(), events.last()) {
            bell.try_send((log, last.seq)).expect("the bell's channel has room for the story");
        }
    }
}

impl Recorder {
    pub fn told_of(&self, log: Log) -> Vec<StoredEvent> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(&log).cloned().unwrap_or_default()
    }

    pub fn set_bell(&self, bell: Option<tokio::sync::mpsc::Sender<(Log, Seq)>>) {
        *self.bell.lock().unwrap_or_else(PoisonError::into_inner) = bell;
    }
}

impl World {
    pub async fn begin<F, Fut>(open: &F) -> Self
    where
        F: Fn(Arc<dyn Tell>) -> Fut,
        Fut: Future<Output = Arc<dyn Store>>,
    {
        let teller = Arc::new(Recorder::default());
        let store = open(Arc::clone(&teller) as Arc<dyn Tell>).await;
        Self { store, teller, ticks: AtomicU64::new(1) }
    }

    pub async fn reopen<F, Fut>(&mut self, open: &F)
    where
        F: Fn(Arc<dyn Tell>) -> Fut,
        Fut: Future<Output = Arc<dyn Store>>,
    {
        self.store.close().await;
        self.store = open(Arc::clone(&self.teller) as Arc<dyn Tell>).await;
    }

    pub fn uuid(&self) -> Uuid {
        Uuid::from_u128((0x0193_4a5b_u128 << 96) | u128::from(self.ticks.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn now(&self) -> Timestamp {
        let millis = self.ticks.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_millis(1_795_158_000_000 + i64::try_from(millis).expect("a story is short"))
    }

    pub async fn commit(&self, changes: Vec<Change>, events: Vec<NewEvent>) -> Result<Committed, StoreError> {
        self.store.commit(Commit::new(changes, events)).await
    }

    pub async fn change(&self, change: Change) -> Result<Committed, StoreError> {
        self.commit(vec![change], Vec::new()).await
    }

    /// Something that happened: the kind is of no matter here.
    pub fn note(&self, log: Log, text: &str) -> NewEvent {
        NewEvent::new(log, EventKind::BoardUpdated, self.now(), Actor::person("ada"), &json!({ "text": text }))
    }

    /// The event that goes with a change of a task's state.
    pub fn moved(&self, from: State, task: &Task) -> NewEvent {
        let changed = StateChanged {
            from,
            to: task.state,
            reason: "moved".into(),
            column_id: task.column_id,
            rank: task.rank.clone(),
            version: task.version,
        };
        let log = Log::Board(task.board_id);
        let actor = Actor::person("ada");
        NewEvent::new(log, EventKind::TaskStateChanged, self.now(), actor, &changed).about(task.id)
    }

    pub fn unmade_board(&self, key: &str) -> Board {
        let key: BoardKey = key.parse().expect("a key");
        let columns = [0; 6].map(|_| ColumnId::from_uuid(self.uuid()));
        let new = NewBoard { name: format!("Board {key}"), description: "A board.".into(), ..NewBoard::default() };
        new.checked(BoardId::from_uuid(self.uuid()), key, columns, self.now()).expect("a board")
    }

    pub async fn board(&self, key: &str) -> Board {
        let board = self.unmade_board(key);
        let log = Log::Board(board.id);
        let made = NewEvent::new(log, EventKind::BoardCreated, self.now(), Actor::person("ada"), &json!({}));
        self.commit(vec![Change::NewBoard(board.clone())], vec![made]).await.expect("the board is made");
        board
    }

    pub fn unmade_task(&self, board: &Board, title: &str) -> Task {
        let new = NewTask { title: title.into(), ..NewTask::default() };
        let now = self.now();
        let column_id = board.home(State::Todo).expect("a column for it").id;
        let place = Place { board_id: board.id, column_id, rank: Rank::arrived(now) };
        new.checked(TaskId::from_uuid(self.uuid()), place, now).expect("a task")
    }

    pub async fn add(&self, task: Task) -> Task {
        let created = NewEvent::created(&task, self.now(), Actor::person("ada"));
        let committed =
            self.commit(vec![Change::NewTask(task.clone())], vec![created]).await.expect("the task is made");
        Task { number: committed.numbers[0], ..task }
    }

    pub async fn task(&self, board: &Board, title: &str) -> Task {
        self.add(self.unmade_task(board, title)).await
    }

    pub async fn seen_task(&self, id: TaskId) -> Option<TaskRow> {
        self.store.task(id).await.expect("the task can be read")
    }

    pub async fn seen_board(&self, id: BoardId) -> Option<Board> {
        self.store.board(id).await.expect("the board can be read").map(|row| row.board)
    }

    pub fn all_of(&self, log: Log) -> EventQuery {
        EventQuery { log, after: 0, task: None, kinds: Kinds::All, limit: 1_000, max_bytes: usize::MAX }
    }

    /// The whole log, in pages.
    pub async fn log(&self, log: Log) -> Vec<StoredEvent> {
        let mut query = EventQuery { limit: 100, ..self.all_of(log) };
        let mut all = Vec::new();
        loop {
            let page = self.store.events(&query).await.expect("the log can be read");
            if let Some(last) = page.events.last() {
                query.after = last.seq;
            }
            all.extend(page.events);
            if !page.more {
                return all;
            }
        }
    }

    /// The whole list, in pages of `query.limit`.
    pub async fn list(&self, query: &TaskQuery) -> Vec<TaskRow> {
        let mut query = query.clone();
        let mut all = Vec::new();
        loop {
            let page = self.store.tasks(&query).await.expect("the list can be read");
            assert!(page.items.len() <= query.limit as usize, "a page is no longer than was asked for");
            all.extend(page.items);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return all,
            }
        }
    }

    /// All that the story has left, as text.
    pub async fn everything(&self) -> Vec<String> {
        let boards = self.store.boards(None, 1_000, true).await.expect("boards can be read");
        let tasks = TaskQuery { archived: WhichTasks::All, limit: 50, order: Order::Oldest, ..TaskQuery::default() };
        let mut all: Vec<String> = boards.items.iter().map(|board| format!("{board:?}")).collect();
        all.extend(self.list(&tasks).await.iter().map(|task| format!("{task:?}")));
        all.extend(self.store.keys().await.expect("keys can be read"));
        for (log, head) in sorted(self.store.heads().await.expect("heads can be read")) {
            all.push(format!("{log} {head}"));
            all.extend(self.log(log).await.iter().map(|event| format!("{event:?}")));
        }
        all
    }

    /// Each log was told without holes, and word for word as it can be read.
    pub async fn told_what_was_kept(&self) {
        for (log, _) in self.store.heads().await.expect("heads can be read") {
            let told = self.teller.told_of(log);
            for pair in told.windows(2) {
                assert_eq!(pair[0].seq + 1, pair[1].seq, "{log} was told in order and without holes");
            }
            let first = told.first().map_or(Seq::MAX, |event| event.seq);
            for event in self.log(log).await {
                // Gaps stand where something was removed after it was told; an import tells only its end.
                if event.kind != EventKind::StreamGap && event.seq >= first {
                    let heard = told.iter().find(|told| told.seq == event.seq);
                    assert_eq!(heard, Some(&event), "{log} {} was told", event.seq);
                }
            }
        }
    }

    /// After reopening, numbers go on where they stopped.
    pub async fn goes_on_where_it_was(&self) {
        let boards = self.store.boards(None, 1, false).await.expect("boards can be read");
        let row = boards.items.first().expect("a board is left");
        let task = self.unmade_task(&row.board, "After the night");
        let created = NewEvent::created(&task, self.now(), Actor::person("ada"));
        let committed = self.commit(vec![Change::NewTask(task)], vec![created]).await.expect("goes on");
        assert_eq!((committed.seq(), committed.numbers[0]), (row.head_seq + 1, row.next_number));
        self.told_what_was_kept().await;
    }
}

pub(super) fn numbers(tasks: &[TaskRow]) -> Vec<TaskNumber> {
    tasks.iter().map(|row| row.task.number).collect()
}

pub(super) fn seqs(events: &[StoredEvent]) -> Vec<Seq> {
    events.iter().map(|event| event.seq).collect()
}

pub(super) fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// `assert!(matches!(…))`, with what came instead.
macro_rules! assert_refused {
    ($got:expr, $expected:pat) => {
        match $got {
            Err($expected) => {}
            other => panic!("expected {}, but got {other:?}", stringify!($expected)),
        }
    };
}
pub(super) use assert_refused;
