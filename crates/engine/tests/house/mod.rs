//! An engine on a real store in a folder of its own, and what always holds of a board.

use std::collections::HashMap;
use std::sync::Arc;

use kanvoy_domain::{BoardId, Log, NewBoard, NewTask, TaskId};
use kanvoy_engine::{BoardCache, By, Engine, Feed, SystemClock, Told};
use kanvoy_store::{EventQuery, Kinds, Order, Store, TaskQuery, WhichTasks};
use kanvoy_store_sqlite::SqliteStore;
use serde_json::Value;

pub struct House {
    pub engine: Engine,
    pub store: Arc<dyn Store>,
    _dir: tempfile::TempDir,
}

pub async fn house() -> House {
    let dir = tempfile::tempdir().expect("a folder");
    let boards = Arc::new(BoardCache::new());
    let told = Told { boards: Arc::clone(&boards), feed: Arc::new(Feed::new()) };
    let store = SqliteStore::open(&dir.path().join("kanvoy.db"), Arc::new(told)).await.expect("opens");
    let store: Arc<dyn Store> = Arc::new(store);
    let engine = Engine::new(Arc::clone(&store), boards, Arc::new(SystemClock));
    House { engine, store, _dir: dir }
}

pub fn me() -> By {
    By::person("ada")
}

pub fn titled(title: &str) -> NewTask {
    NewTask { title: title.into(), ..NewTask::default() }
}

impl House {
    pub async fn board(&self) -> kanvoy_domain::Board {
        let new = NewBoard { name: "Demo".into(), ..NewBoard::default() };
        self.engine.create_board(&me(), new).await.expect("is made").object
    }

    pub async fn task(&self, board: BoardId, title: &str) -> kanvoy_domain::Task {
        self.engine.create_task(&me(), board, titled(title)).await.expect("is made").object.task
    }

    pub async fn cards(&self, board: BoardId) -> Vec<kanvoy_domain::Task> {
        let query = TaskQuery {
            board: Some(board),
            archived: WhichTasks::All,
            order: Order::Lie,
            limit: 200,
            ..TaskQuery::default()
        };
        self.store.tasks(&query).await.expect("lists").items.into_iter().map(|row| row.task).collect()
    }

    pub async fn titles_in(&self, board: BoardId, column: kanvoy_domain::ColumnId) -> Vec<String> {
        let cards = self.cards(board).await;
        cards.into_iter().filter(|task| task.column_id == column).map(|task| task.title).collect()
    }

    /// Everything of ARCHITECTURE's list that can be seen from the rows and the log of one board.
    pub async fn check(&self, board: BoardId) {
        assert_eq!(self.store.check().await.expect("checks"), Vec::<String>::new());
        let row = self.store.board(board).await.expect("reads").expect("is there");
        for task in self.cards(board).await {
            let column = row.board.column(task.column_id).expect("every card lies in a column of its board");
            assert!(column.holds(task.state), "#{} is {} in {}", task.number, task.state, column.name);
        }
        let query = EventQuery {
            log: Log::Board(board),
            after: 0,
            task: None,
            kinds: Kinds::All,
            limit: 10_000,
            max_bytes: usize::MAX,
        };
        let events = self.store.events(&query).await.expect("reads").events;
        let mut states: HashMap<TaskId, String> = HashMap::new();
        for (at, event) in events.iter().enumerate() {
            assert_eq!(event.seq, at as u64 + 1, "the log has no hole");
            let text: Value = serde_json::from_slice(&event.text).expect("is JSON");
            let Some(task) = event.task else { continue };
            match text["type"].as_str() {
                Some("task.created") => {
                    let state = text["data"]["task"]["state"].as_str().expect("a state");
                    assert!(text["data"]["task"]["number"].as_u64().is_some_and(|number| number > 0));
                    states.insert(task, state.into());
                }
                Some("task.state_changed") => {
                    assert_eq!(text["data"]["from"].as_str(), states.get(&task).map(String::as_str));
                    states.insert(task, text["data"]["to"].as_str().expect("a state").into());
                }
                _ => {}
            }
        }
        for task in self.cards(board).await {
            assert_eq!(states.get(&task.id).map(String::as_str), Some(task.state.as_str()), "#{}", task.number);
        }
    }
}
