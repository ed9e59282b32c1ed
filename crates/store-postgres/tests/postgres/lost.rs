//! Connections that end at bad moments: nothing is kept twice, nothing that was answered is lost, and the store goes on.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use kanvoy_domain::event::Log;
use kanvoy_store::{Change, Commit, Store, StoreError};
use kanvoy_store_postgres::PostgresStore;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::server::Server;
use crate::world::{Listener, board, claim, log, note, now, page};

/// What becomes of the next commit that passes.
const PASS: u8 = 0;
const LOSE_THE_COMMIT: u8 = 1;
const LOSE_THE_ANSWER: u8 = 2;
/// Like the last, and nobody gets through afterwards.
const LOSE_EVERYTHING: u8 = 3;
const NOBODY: u8 = 4;

/// Stands between a store and its server.
async fn between(server: u16, what: Arc<AtomicU8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("has an address");
    let mut passing = JoinSet::new();
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        loop {
            let (client, _) = listener.accept().await.expect("accepts");
            passing.spawn(pass(client, server, Arc::clone(&what)));
        }
    });
    // Until the test ends.
    std::mem::forget(accepting);
    address
}

async fn pass(mut client: TcpStream, server: u16, what: Arc<AtomicU8>) {
    if what.load(Ordering::SeqCst) == NOBODY {
        return;
    }
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.expect("connects");
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = &asked[..read.unwrap_or(0)];
                if bytes.is_empty() {
                    return;
                }
                let commits = bytes.windows(7).any(|word| word == b"COMMIT\0");
                let now = if commits { what.load(Ordering::SeqCst) } else { PASS };
                if now == LOSE_THE_COMMIT {
                    what.store(PASS, Ordering::SeqCst);
                    return;
                }
                server.write_all(bytes).await.expect("writes");
                if now == LOSE_THE_ANSWER || now == LOSE_EVERYTHING {
                    what.store(if now == LOSE_EVERYTHING { NOBODY } else { PASS }, Ordering::SeqCst);
                    let answer = server.read(&mut answered).await.expect("reads");
                    assert!(answer > 0, "the server has answered");
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let read = read.unwrap_or(0);
                if read == 0 || client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_is_found_out() {
    let server = Server::shared();
    let url = server.database().await;
    let what = Arc::new(AtomicU8::new(PASS));
    let through = between(server.port(), Arc::clone(&what)).await;
    let url = url.replace(&format!(":{}/", server.port()), &format!(":{}/", through.port()));
    let teller = Arc::new(Listener::default());
    let store = PostgresStore::open(&url, Arc::clone(&teller) as _).await.expect("opens");
    let board = board(&store, "KAN").await;
    let commit = |text: &str| Commit::new(vec![Change::Claim(claim(text))], vec![note(&board, text)]);

    for (at, lost) in [LOSE_THE_COMMIT, LOSE_THE_ANSWER, LOSE_THE_COMMIT, LOSE_THE_ANSWER].into_iter().enumerate() {
        what.store(lost, Ordering::SeqCst);
        let done = store.commit(commit(&format!("try {at}"))).await.expect("is kept, once");
        assert_eq!(done.seq(), at as u64 + 2);
        assert_eq!(what.load(Ordering::SeqCst), PASS, "it was lost");
    }
    assert_eq!(teller.told_of(Log::Board(board.id)), [1, 2, 3, 4, 5]);

    // When nobody can tell, the caller must ask again: its claim says that it was kept.
    what.store(LOSE_EVERYTHING, Ordering::SeqCst);
    let refused = store.commit(commit("unknown")).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("nobody knows")), "{refused:?}");
    let refused = store.ready().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    what.store(PASS, Ordering::SeqCst);
    store.ready().await.expect("can write");
    let again = store.commit(commit("unknown")).await;
    assert!(matches!(again, Err(StoreError::Claimed)), "{again:?}");
    assert_eq!(store.commit(commit("the next")).await.expect("is kept").seq(), 7);
    assert_eq!(log(&store, Log::Board(board.id)).await.len(), 7);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_ended_while_it_waits_writes_all_the_same() {
    let server = Server::shared();
    let url = server.database().await;
    let store = Arc::new(PostgresStore::open(&url, Arc::new(())).await.expect("opens"));
    let board = board(&*store, "KAN").await;
    let mut other = PgConnection::connect(&url).await.expect("connects");
    sqlx::raw_sql("BEGIN; SELECT * FROM log FOR UPDATE").execute(&mut other).await.expect("locks");
    let waiting = {
        let (store, board) = (Arc::clone(&store), board.clone());
        async move { store.commit(Commit::new(vec![], vec![note(&board, "waits")])).await }
    };
    let ending = async {
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let ended: i64 = sqlx::query_scalar(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE wait_event_type = 'Lock' AND datname = current_database()",
            )
            .fetch_one(&mut other)
            .await
            .expect("ends");
            if ended > 0 {
                break;
            }
        }
        sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("unlocks");
    };
    let (done, ()) = tokio::join!(waiting, ending);
    assert_eq!(done.expect("is kept").seqs, [2]);
    assert_eq!(log(&*store, Log::Board(board.id)).await.len(), 2);
    other.close().await.expect("closes");
    store.close().await;
}

/// What became of many commits, each with a text of its own, while their connections were ended.
struct Writing {
    store: Arc<PostgresStore>,
    teller: Arc<Listener>,
    board: kanvoy_domain::Board,
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Writing {
    async fn begin(url: &str) -> Self {
        let teller = Arc::new(Listener::default());
        let store = Arc::new(PostgresStore::open(url, Arc::clone(&teller) as _).await.expect("opens"));
        let board = board(&*store, "KAN").await;
        Self { store, teller, board, over: Arc::default(), answered: Arc::default() }
    }

    /// Those that were answered, and those of which only the log can tell.
    async fn write(&self) -> (Vec<String>, HashSet<String>) {
        let mut writers = JoinSet::new();
        for writer in 0..8 {
            let (store, board) = (Arc::clone(&self.store), self.board.clone());
            let (over, answered) = (Arc::clone(&self.over), Arc::clone(&self.answered));
            writers.spawn(async move {
                let (mut kept, mut unknown) = (Vec::new(), HashSet::new());
                for at in 0.. {
                    if over.load(Ordering::Acquire) {
                        break;
                    }
                    let text = format!("{writer}-{at}");
                    match store.commit(Commit::new(vec![], vec![note(&board, &text)])).await {
                        Ok(_) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                            kept.push(text);
                        }
                        Err(StoreError::Unavailable(_)) => {
                            unknown.insert(text);
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                (kept, unknown)
            });
        }
        let (mut kept, mut unknown) = (Vec::new(), HashSet::new());
        while let Some(done) = writers.join_next().await {
            let (more_kept, more_unknown) = done.expect("writes");
            kept.extend(more_kept);
            unknown.extend(more_unknown);
        }
        (kept, unknown)
    }

    async fn more_is_answered(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        for _ in 0..1_500 {
            if self.answered.load(Ordering::Relaxed) > before + 20 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the store does not go on");
    }

    async fn end_well(self, kept: Vec<String>, unknown: &HashSet<String>) {
        let name = Log::Board(self.board.id);
        let events = log(&*self.store, name).await;
        let texts: Vec<String> = events
            .iter()
            .skip(1)
            .map(|event| {
                let event: serde_json::Value = serde_json::from_slice(&event.text).expect("is JSON");
                event["data"].as_str().expect("is text").to_owned()
            })
            .collect();
        let once: HashSet<&String> = texts.iter().collect();
        assert_eq!(once.len(), texts.len(), "nothing is kept twice");
        for text in &kept {
            assert!(once.contains(text), "{text} was answered");
        }
        let accounted: HashSet<&String> = kept.iter().chain(unknown).collect();
        assert!(once.is_subset(&accounted), "nothing comes from nowhere");
        let told = self.teller.told_of(name);
        assert!(told.len() > kept.len(), "all that was answered was told");
        assert_eq!(self.store.check().await.expect("is checked"), Vec::<String>::new());
        self.store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_ended_at_any_moment_lose_nothing() {
    let server = Server::shared();
    let url = server.database().await;
    let writing = Writing::begin(&url).await;
    let mut killer = PgConnection::connect(&url).await.expect("connects");
    let killing = async {
        for round in 0..40 {
            // At another moment of a group each time.
            tokio::time::sleep(Duration::from_micros(5_000 + 137 * round)).await;
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )
            .fetch_all(&mut killer)
            .await
            .expect("kills");
        }
        writing.more_is_answered().await;
        writing.over.store(true, Ordering::Release);
    };
    let ((kept, unknown), ()) = tokio::join!(writing.write(), killing);
    killer.close().await.expect("closes");
    writing.end_well(kept, &unknown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_be_started_anew() {
    let server = Arc::new(Server::start());
    let url = server.database().await;
    let writing = Writing::begin(&url).await;
    let restarting = async {
        for mode in ["fast", "immediate"] {
            writing.more_is_answered().await;
            let server = Arc::clone(&server);
            tokio::task::spawn_blocking(move || server.control(&["restart", "-m", mode])).await.expect("restarts");
            writing.store.ready().await.expect("can write");
            writing.store.events(&page(Log::System, 0)).await.ok();
            writing.more_is_answered().await;
        }
        writing.over.store(true, Ordering::Release);
    };
    let ((kept, unknown), ()) = tokio::join!(writing.write(), restarting);

    // Connections that have been idle are found to be dead before they are used.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let again = Arc::clone(&server);
    tokio::task::spawn_blocking(move || again.control(&["restart", "-m", "fast"])).await.expect("restarts");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(writing.store.board(writing.board.id).await.expect("reads").is_some());
    writing.store.ready().await.expect("can write");

    let stopped = Arc::clone(&server);
    tokio::task::spawn_blocking(move || stopped.control(&["stop", "-m", "fast"])).await.expect("stops");
    let refused = writing.store.ready().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let refused = writing.store.commit(Commit::new(vec![], vec![note(&writing.board, "x")])).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let started = Arc::clone(&server);
    tokio::task::spawn_blocking(move || started.control(&["start"])).await.expect("starts");
    writing.store.ready().await.expect("can write");
    let done = writing.store.commit(Commit::new(vec![Change::Sweep { before: now() }], vec![])).await;
    done.expect("is kept");
    writing.end_well(kept, &unknown).await;
}
