//! A board moves from SQLite to Postgres and back, as `kanvoy export` and `kanvoy import` do it.

use std::sync::Arc;

use kanvoy_domain::event::{EventKind, Log};
use kanvoy_domain::{BoardId, NewBoard, NewTask};
use kanvoy_engine::{BoardCache, By, Engine, Feed, ImportAs, SystemClock, Told};
use kanvoy_store::{Order, Store, StoredEvent, TaskQuery, TaskRow, WhichTasks};
use kanvoy_store_postgres::PostgresStore;
use kanvoy_store_sqlite::SqliteStore;

use crate::server::Server;

struct House {
    engine: Engine,
    store: Arc<dyn Store>,
}

impl House {
    fn new(boards: Arc<BoardCache>, store: Arc<dyn Store>) -> Self {
        let engine = Engine::new(Arc::clone(&store), boards, Arc::new(SystemClock));
        Self { engine, store }
    }

    async fn exported(&self, board: BoardId) -> Vec<u8> {
        let mut export = self.engine.export(board);
        let mut file = Vec::new();
        while let Some(piece) = export.next().await.expect("is exported") {
            file.extend_from_slice(&piece);
        }
        file
    }

    async fn import(&self, file: &[u8]) {
        let mut import = self.engine.import(&By::person("ada"), ImportAs::default());
        for line in file.split(|byte| *byte == b'\n') {
            import.line(line).await.expect("is read");
        }
        import.finish(None).await.expect("is whole");
    }

    async fn cards(&self, board: BoardId, order: Order) -> Vec<TaskRow> {
        let (archived, board) = (WhichTasks::All, Some(board));
        let mut query = TaskQuery { archived, board, order, limit: 7, ..TaskQuery::default() };
        let mut all = Vec::new();
        loop {
            let page = self.store.tasks(&query).await.expect("lists");
            all.extend(page.items);
            query.after = page.next;
            if query.after.is_none() {
                return all;
            }
        }
    }

    /// The log without what says that it was imported.
    async fn log(&self, board: BoardId) -> Vec<StoredEvent> {
        let events = crate::world::log(&*self.store, Log::Board(board)).await;
        events.into_iter().filter(|event| event.kind != EventKind::BoardImported).collect()
    }
}

fn told() -> (Arc<BoardCache>, Arc<Told>) {
    let boards = Arc::new(BoardCache::new());
    (Arc::clone(&boards), Arc::new(Told { boards, feed: Arc::new(Feed::new()) }))
}

async fn in_a_file(path: &std::path::Path) -> House {
    let (boards, told) = told();
    House::new(boards, Arc::new(SqliteStore::open(path, told).await.expect("opens")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_moves_there_and_back() {
    let server = Server::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let old = in_a_file(&folder.path().join("old.db")).await;
    let me = By::person("ada");
    let new =
        NewBoard {
            name: "Größe ≠ \"Maß\"\\".into(), description: "Zwei\nZeilen\t🚀".into(), ..NewBoard::default()
        };
    let board = old.engine.create_board(&me, new).await.expect("is made").object;
    let mut made: Vec<kanvoy_domain::Task> = Vec::new();
    for at in 0..25 {
        let new = NewTask {
            title: format!("Aufgabe {at} ÄÖÜ %_'\" \\u0000 {{\"seq\":9}}"),
            description: "a\r\nb {1,2} \\ NULL".repeat(at),
            labels: vec!["bug".into(), "ünïcödé".into()],
            blocked_by: made.last().map(|task| task.id).into_iter().collect(),
            parent_id: made.first().map(|task| task.id),
            ..NewTask::default()
        };
        made.push(old.engine.create_task(&me, board.id, new).await.expect("is made").object.task);
    }
    let file = old.exported(board.id).await;

    let (boards, told) = told();
    let url = server.database().await;
    let there = House::new(boards, Arc::new(PostgresStore::open(&url, told).await.expect("opens")));
    there.import(&file).await;
    let back = in_a_file(&folder.path().join("back.db")).await;
    back.import(&there.exported(board.id).await).await;

    for house in [&there, &back] {
        let row = house.store.board(board.id).await.expect("reads").expect("is there");
        assert_eq!((&row.board, row.next_number), (&board, 26));
        assert_eq!(house.log(board.id).await, old.log(board.id).await, "word for word");
        for order in [Order::Oldest, Order::Newest, Order::Updated, Order::Lie] {
            assert_eq!(house.cards(board.id, order).await, old.cards(board.id, order).await, "{order:?}");
        }
        assert_eq!(house.store.check().await.expect("is checked"), Vec::<String>::new());
        let task = house.engine.create_task(&me, board.id, NewTask { title: "Next".into(), ..NewTask::default() });
        assert_eq!(task.await.expect("goes on").object.task.number, 26);
    }
    // A list goes on in either store where it was left in the other.
    let query = TaskQuery { board: Some(board.id), order: Order::Lie, limit: 5, ..TaskQuery::default() };
    let first = old.store.tasks(&query).await.expect("lists");
    let query = TaskQuery { after: first.next, ..query };
    let (one, other) = (old.store.tasks(&query).await.expect("lists"), there.store.tasks(&query).await.expect("lists"));
    assert_eq!(one.items, other.items);
    for house in [old, there, back] {
        house.store.close().await;
    }
}
