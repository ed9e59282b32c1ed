//! Every reader sees every `seq` once and in order: whoever writes, wherever it begins, however slowly it reads, and
//! whatever becomes of the daemon in between.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use kanvoy_client::{Client, ClientError, Cursor, Event, Follow, Heard, NewBoard, NewTask, TaskEdit};
use support::{Daemon, Random};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const BOARDS: usize = 3;
const WRITERS: usize = 6;
/// At least; they go on until the troubles are over.
const WRITES: usize = 80;
const MOST_WRITES: usize = 2_000;
const READERS_OF_A_BOARD: usize = 3;

/// Long for a test, short for a machine where everything hangs.
const LIMIT: Duration = Duration::from_secs(180);

async fn board(client: &Client, key: &str) -> String {
    let new = NewBoard { name: key.to_owned(), key: Some(key.to_owned()), ..NewBoard::default() };
    client.create_board(&new).await.expect("a board is made").id.to_string()
}

/// Makes and changes tasks here and there. A write that a killed daemon may or may not have done is left alone.
async fn write(client: Client, boards: Vec<String>, mut random: Random, calm: Arc<AtomicBool>) {
    let mut mine: Vec<String> = Vec::new();
    for i in 0..MOST_WRITES {
        if i >= WRITES && calm.load(Ordering::Relaxed) {
            return;
        }
        let known = usize::try_from(random.below(mine.len() as u64)).expect("is small");
        let written = if mine.is_empty() || random.below(3) == 0 {
            let board = &boards[usize::try_from(random.below(boards.len() as u64)).expect("is small")];
            let new = NewTask { title: format!("Task {i}"), ..NewTask::default() };
            client.create_task(board, &new).await
        } else if random.below(2) == 0 {
            let edit = TaskEdit { title: Some(format!("Changed {i}")), ..TaskEdit::default() };
            client.update_task(&mine[known], &edit).await
        } else {
            let state = ["BACKLOG", "TODO", "IN_PROGRESS"][usize::try_from(random.below(3)).expect("is small")];
            client.set_state(&mine[known], state, None, None).await
        };
        match written {
            Ok(task) => {
                if !mine.contains(&task.id.to_string()) {
                    mine.push(task.id.to_string());
                }
            }
            // An illegal move is part of the game; so is an answer that a kill has swallowed.
            Err(ClientError::Problem(problem)) => {
                assert!(matches!(problem.status, 409 | 503), "{problem:?}");
            }
            Err(ClientError::Unreachable { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// What one reader has seen of one log: each `seq` with its text.
type Seen = BTreeMap<u64, Box<str>>;

fn note(seen: &mut Seen, event: Event) {
    if let Some(before) = seen.insert(event.seq, event.text.clone()) {
        assert_eq!(before, event.text, "the same seq told otherwise");
    }
}

/// Follows a board by one reader after another, each of which begins anew somewhere in what is known already, until all is
/// written and read.
async fn read_board(client: Client, board: String, mut random: Random, written: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::new();
    loop {
        let known = seen.keys().next_back().copied().unwrap_or_default();
        let mut last = random.below(known + 1);
        let mut events = client.follow(Follow::Board(board.clone()), Some(Cursor::Seq(last)));
        let patience = 1 + random.below(120);
        for _ in 0..patience {
            let quiet = Duration::from_millis(300);
            match timeout(quiet, events.next_event()).await {
                Ok(event) => {
                    let event = event.expect("the stream goes on").expect("the board stays");
                    assert_eq!(event.seq, last + 1, "after a reader began at some place: a hole or a repetition");
                    last = event.seq;
                    note(&mut seen, event);
                }
                Err(_) if written.load(Ordering::Relaxed) => {
                    let head = client.board(&board).await.expect("the board is there").head_seq;
                    if seen.len() as u64 == head {
                        return seen;
                    }
                }
                Err(_) => {}
            }
        }
    }
}

/// Follows every log on one socket.
async fn read_everything(client: Client, boards: Vec<String>, written: Arc<AtomicBool>) -> BTreeMap<String, Seen> {
    let begin = boards.iter().map(|board| (board.clone(), 0)).collect();
    let mut events = client.follow(Follow::Everything, Some(Cursor::Logs(begin)));
    let mut logs: BTreeMap<String, Seen> = BTreeMap::new();
    loop {
        match timeout(Duration::from_millis(300), events.next_event()).await {
            Ok(event) => {
                let event = event.expect("the stream goes on").expect("it never ends");
                let log = event.board_id.map_or_else(|| "system".to_owned(), |board| board.to_string());
                let seen = logs.entry(log.clone()).or_default();
                let last = seen.keys().next_back().copied().unwrap_or_default();
                assert_eq!(event.seq, last + 1, "in the log of {log}");
                note(seen, event);
            }
            Err(_) if written.load(Ordering::Relaxed) => {
                let mut all = true;
                for board in &boards {
                    let head = client.board(board).await.expect("the board is there").head_seq;
                    all &= logs.get(board).is_some_and(|seen| seen.len() as u64 == head);
                }
                if all {
                    return logs;
                }
            }
            Err(_) => {}
        }
    }
}

async fn stored(client: &Client, board: &str) -> Seen {
    let mut seen = Seen::new();
    let mut after = 0;
    loop {
        let page = client.events(Some(board), after, 200, &[]).await.expect("events are listed");
        for event in page.items {
            after = event.seq;
            note(&mut seen, event);
        }
        if page.next_cursor.is_none() {
            return seen;
        }
    }
}

/// The two things that happen to daemons.
async fn trouble(daemon: &mut Daemon, random: &mut Random) {
    for violent in [false, true] {
        sleep(Duration::from_millis(300 + random.below(700))).await;
        tokio::task::block_in_place(|| {
            if violent {
                daemon.kill();
            } else {
                let status = daemon.stop();
                assert_eq!(status.code(), Some(0), "{}", daemon.log());
            }
            std::thread::sleep(Duration::from_millis(random.below(200)));
            daemon.start_again();
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_sees_every_seq_once_and_in_order() {
    let mut random = Random::seeded();
    let mut daemon = Daemon::start();
    let client = daemon.client();
    let mut boards = Vec::new();
    for i in 0..BOARDS {
        boards.push(board(&client, &format!("B{i}")).await);
    }

    let written = Arc::new(AtomicBool::new(false));
    let calm = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(write(daemon.client(), boards.clone(), random.split(), Arc::clone(&calm)));
    }
    let mut readers = JoinSet::new();
    for board in &boards {
        for _ in 0..READERS_OF_A_BOARD {
            let (client, random, written) = (daemon.client(), random.split(), Arc::clone(&written));
            let board = board.clone();
            readers.spawn(async move { (board.clone(), read_board(client, board, random, written).await) });
        }
    }
    let mut everything = JoinSet::new();
    everything.spawn(read_everything(daemon.client(), boards.clone(), Arc::clone(&written)));

    let told = timeout(LIMIT, async {
        trouble(&mut daemon, &mut random).await;
        calm.store(true, Ordering::Relaxed);
        while let Some(writer) = writers.join_next().await {
            writer.expect("a writer ends well");
        }
        written.store(true, Ordering::Relaxed);
        (readers.join_all().await, everything.join_all().await)
    });
    let (readers, everything) = told.await.expect("all of it ends in time");

    let mut events = 0;
    for board in &boards {
        let truth = stored(&client, board).await;
        events += truth.len();
        let numbers: Vec<u64> = truth.keys().copied().collect();
        let head = client.board(board).await.expect("the board is there").head_seq;
        assert_eq!(numbers, (1..=head).collect::<Vec<_>>(), "the log has no hole");
        for (_, seen) in readers.iter().filter(|(read, _)| read == board) {
            assert!(*seen == truth, "a reader of {board} saw something else than what is stored");
        }
        for logs in &everything {
            assert!(logs[board] == truth, "the reader of everything saw something else of {board}");
        }
        // The same again, each task by itself: the same events, filtered.
        let mut of_tasks: BTreeMap<String, Seen> = BTreeMap::new();
        for (seq, text) in &truth {
            let event = Event::read(text).expect("is an event");
            if let Some(task) = event.task_id {
                of_tasks.entry(task.to_string()).or_default().insert(*seq, text.clone());
            }
        }
        for (task, truth) in of_tasks.iter().take(10) {
            let mut seen = Seen::new();
            let mut stream = client.follow(Follow::Task(task.clone()), None);
            while seen.len() < truth.len() {
                let event = timeout(LIMIT, stream.next_event()).await.expect("comes in time");
                note(&mut seen, event.expect("the stream goes on").expect("the task stays"));
            }
            assert!(seen == *truth, "the stream of {task} is another than its part of the log");
        }
    }
    println!("{events} events on {BOARDS} boards");
    tokio::task::block_in_place(|| daemon.run(&["db", "check"])).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_costs_nobody_else_anything_and_misses_nothing() {
    const PIECE: usize = 95_000;
    const PIECES: usize = 400;
    const STALLED: usize = 8;
    let daemon = Daemon::start();
    let client = daemon.client();
    let board = board(&client, "BIG").await;

    // They connect, hear that they are connected, and then read nothing.
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let url = format!("ws://{}/api/v1/boards/{board}/stream?after=0", daemon.address());
        let mut request = url.into_client_request().expect("is a request");
        let bearer = format!("Bearer {}", daemon.token()).parse().expect("is a header");
        request.headers_mut().insert("authorization", bearer);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("connects");
        let first = socket.next().await.expect("says something").expect("is a frame");
        assert!(first.to_text().expect("is text").contains("stream.ready"));
        stalled.push(socket);
    }
    let mut quick = client.follow(Follow::Board(board.clone()), Some(Cursor::Seq(0)));
    let before = daemon.memory_kb();

    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let (client, board) = (client.clone(), board.clone());
        writers.spawn(async move {
            for i in 0..PIECES / 4 {
                let description = Some("x".repeat(PIECE));
                let new = NewTask { title: format!("Piece {i} of {writer}"), description, ..NewTask::default() };
                client.create_task(&board, &new).await.expect("a task is made");
            }
        });
    }
    let began = Instant::now();
    let read = timeout(LIMIT, async {
        let (mut last, mut bytes) = (0, 0);
        while last < PIECES as u64 + 1 {
            match quick.next().await.expect("the stream goes on").expect("the board stays") {
                Heard::Event(event) => {
                    assert_eq!(event.seq, last + 1);
                    last = event.seq;
                    bytes += event.text.len();
                }
                Heard::Ready { .. } => {}
                Heard::Lost { why } => panic!("a quick reader was cut off: {why}"),
            }
        }
        bytes
    });
    let bytes = read.await.expect("a quick reader is not held up");
    while let Some(writer) = writers.join_next().await {
        writer.expect("a writer ends well");
    }
    let grown = daemon.memory_kb().saturating_sub(before) / 1024;
    println!(
        "{} MB behind {STALLED} stalled readers in {:?}; the daemon grew by {grown} MiB",
        bytes >> 20,
        began.elapsed()
    );
    assert!(bytes > 30 << 20, "{bytes}");
    // Were it kept for each of them, it would be some hundreds.
    assert!(grown < 96, "the daemon grew by {grown} MiB");

    let caught_up = timeout(LIMIT, async {
        for socket in &mut stalled {
            let mut last = 0;
            while last < PIECES as u64 + 1 {
                match socket.next().await.expect("goes on").expect("is a frame") {
                    Message::Text(text) => {
                        let event = Event::read(&text).expect("is an event");
                        assert_eq!(event.seq, last + 1, "for one that had stalled");
                        last = event.seq;
                    }
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("a stalled reader was told {other:?}"),
                }
            }
        }
    });
    caught_up.await.expect("those who stalled catch up");
}
