//! Streams: from any seq on, then live, without gap or double, over sockets and server-sent events.

mod house;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use house::{Got, House, TOKEN, text, until};
use kanvoy_domain::{BoardId, NewTask};
use kanvoy_store::EventQuery;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

fn id(board: &str) -> BoardId {
    board.parse().expect("is an id")
}

/// Makes many tasks at once, straight through the engine: `writers` side by side.
async fn flood(house: &House, board: &str, writers: usize, each: usize, description: &str) {
    let new = NewTask { title: "flood".into(), description: description.to_owned(), ..NewTask::default() };
    join_all((0..writers).map(|_| async {
        for _ in 0..each {
            house.engine.create_task(&house.by(), id(board), new.clone()).await.expect("is made");
        }
    }))
    .await;
}

async fn refused(house: &House, path: &str) -> (u16, Value) {
    let request = house.ask(Method::GET, path).header("accept", "text/event-stream");
    let (status, problem) = house::told(request).await;
    (status.as_u16(), problem)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_replays_and_then_follows() {
    let house = House::new().await;
    let board = house.board("REP").await;
    let task = text(&house.task(&board, "one").await, "id");
    house.task(&board, "two").await;

    let mut all = house.socket(&format!("/api/v1/boards/{board}/stream?after=0")).await;
    let ready = all.ready().await;
    assert_eq!((&ready["data"]["head_seq"], &ready["board_id"]), (&json!(3), &json!(board)));
    assert_eq!(all.seqs_to(3).await, [1, 2, 3]);
    let mut live = house.socket(&format!("/api/v1/boards/{board}/stream")).await;
    live.ready().await;
    let mut of_task = house.socket(&format!("/api/v1/orchestrator/tasks/{task}/stream")).await;
    assert_eq!(of_task.ready().await["task_id"], json!(task));
    assert_eq!(of_task.event().await["type"], "task.created");
    let mut some = house.socket(&format!("/api/v1/boards/{board}/stream?after=1&types=task.*,!task.created")).await;
    some.ready().await;

    house.patch(&format!("/api/v1/tasks/{task}"), json!({"title": "uno"})).await;
    let edited = all.event().await;
    assert_eq!(
        (&edited["seq"], &edited["type"], &edited["task_id"]),
        (&json!(4), &json!("task.updated"), &json!(task))
    );
    assert_eq!(edited["data"]["changed"], json!({"title": "uno"}));
    assert_eq!(edited["actor"], json!({"kind": "person", "id": "local"}));
    for socket in [&mut live, &mut of_task, &mut some] {
        assert_eq!(socket.event().await, edited);
    }
    // What the client says is passed over; only too much of it is not.
    all.send(Message::text("hello")).await;
    all.send(Message::Ping(vec![1].into())).await;
    house.task(&board, "three").await;
    assert_eq!(all.event().await["seq"], 5);

    for (query, named) in
        [("after=x", "after"), ("after=-1", "after"), ("after=99", "after"), ("types=task.nothing", "types")]
    {
        let (status, problem) = refused(&house, &format!("/api/v1/boards/{board}/stream?{query}")).await;
        assert_eq!((status, &problem["field"]), (422, &json!(named)), "{query}: {problem}");
        let (path, bearer) = (format!("/api/v1/boards/{board}/stream?{query}"), format!("Bearer {TOKEN}"));
        assert_eq!(house.socket_with(&path, &[("authorization", &bearer)]).await.err(), Some(422), "{query}");
    }
    house.delete(&format!("/api/v1/boards/{board}")).await;
    assert_eq!(all.event().await["type"], "board.deleted");
    assert_eq!(all.next().await, Got::Closed(Some(1000)));
    assert_eq!(of_task.event().await["type"], "board.deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_one_stream() {
    let house = House::new().await;
    let first = house.board("EVA").await;
    let second = house.board("EVB").await;
    house.task(&first, "one").await;
    let mut all = house.socket("/api/v1/stream?after=EVA:1").await;
    let cursor = text(&all.ready().await["data"], "cursor");
    assert!(cursor.contains(&format!("{first}:2")) && cursor.contains(&format!("{second}:1")), "{cursor}");
    let mut seen = [all.event().await, all.event().await];
    seen.sort_by_key(|event| event["type"].as_str().map(str::to_owned));
    assert_eq!((&seen[0]["board_id"], &seen[0]["type"]), (&json!(second), &json!("board.created")));
    assert_eq!((&seen[1]["board_id"], &seen[1]["type"]), (&json!(first), &json!("task.created")));

    let mut live = house.socket("/api/v1/stream?types=task.*").await;
    live.ready().await;
    let third = house.board("EVC").await;
    house.task(&third, "new").await;
    let born = all.event().await;
    assert_eq!((&born["board_id"], &born["seq"]), (&json!(third), &json!(1)));
    let made = all.event().await;
    assert_eq!((&made["board_id"], &made["seq"]), (&json!(third), &json!(2)));
    assert_eq!(live.event().await, made);

    house.delete(&format!("/api/v1/boards/{third}?purge=true")).await;
    let gone = all.event().await;
    assert_eq!((&gone["type"], gone.get("board_id")), (&json!("board.deleted"), None));
    for (query, status) in [("after=EVA", 422), ("after=NOPE:1", 422), ("after=EVA:99", 422), ("after=EVA:x", 422)] {
        assert_eq!(refused(&house, &format!("/api/v1/stream?{query}")).await.0, status, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_carry_ids_and_go_on_from_them() {
    let house = House::new().await;
    let board = house.board("SSE").await;
    for number in 0..5 {
        house.task(&board, &number.to_string()).await;
    }
    let open = async |path: String, last: Option<&str>| {
        let mut request = house.ask(Method::GET, &path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.expect("is answered");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response.bytes_stream()
    };
    let read = async |stream: &mut (dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Unpin + Send),
                      ends: &str| {
        let mut all = String::new();
        while !all.contains(ends) {
            let piece = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("comes in time");
            assert!(all.len() < 1 << 20 && !all.contains("\n:\n"), "{ends} does not come: {all}");
            all.push_str(std::str::from_utf8(&piece.expect("goes on").expect("is sent")).expect("is text"));
        }
        all
    };
    let mut stream = open(format!("/api/v1/boards/{board}/stream?after=2"), None).await;
    let text = read(&mut stream, "id: 6\n").await;
    assert!(text.starts_with("retry: 2000\ndata: {\"type\":\"stream.ready\""), "{text}");
    assert!(text.contains("id: 3\ndata: {\"seq\":3,") && !text.contains("id: 2\n"), "{text}");
    house.task(&board, "live").await;
    read(&mut stream, "id: 7\n").await;

    let mut stream = open(format!("/api/v1/boards/{board}/stream?after=0"), Some("6")).await;
    let text = read(&mut stream, "id: 7\n").await;
    assert!(!text.contains("id: 6\n"), "the header wins: {text}");

    let mut stream = open("/api/v1/stream?after=0".into(), None).await;
    let text = read(&mut stream, &format!("{board}:7\n")).await;
    assert!(text.contains(&format!("{board}:1\n")), "{text}");
    let cursor = format!("{board}:5");
    let mut stream = open("/api/v1/stream".into(), Some(&cursor)).await;
    let text = read(&mut stream, &format!("{board}:7\n")).await;
    assert!(text.contains(&format!("{board}:6\n")) && !text.contains(&format!("{board}:5\n")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_come_and_go_miss_nothing() {
    let house = House::new().await;
    let board = house.board("RND").await;
    const WRITERS: usize = 4;
    const EACH: usize = 100;
    let last = (WRITERS * EACH + 1) as u64;
    let steady = async {
        let mut socket = house.socket(&format!("/api/v1/boards/{board}/stream?after=0")).await;
        socket.ready().await;
        socket.seqs_to(last).await
    };
    let restless = |step: u64| {
        let (house, board) = (&house, &board);
        async move {
            let (mut seqs, mut at, mut wish) = (Vec::new(), 0, step);
            while at < last {
                let mut socket = house.socket(&format!("/api/v1/boards/{board}/stream?after={at}")).await;
                socket.ready().await;
                wish = wish * 31 % 57 + 1;
                for _ in 0..wish {
                    if at == last {
                        break;
                    }
                    at = socket.event().await["seq"].as_u64().expect("a seq");
                    seqs.push(at);
                }
            }
            seqs
        }
    };
    let everything = async {
        let mut socket = house.socket("/api/v1/stream?after=0&types=!daemon.started").await;
        socket.ready().await;
        socket.seqs_to(last).await
    };
    let (_, one, two, three, four) =
        tokio::join!(flood(&house, &board, WRITERS, EACH, ""), steady, restless(3), restless(7), everything,);
    let whole: Vec<u64> = (1..=last).collect();
    for seen in [one, two, three, four] {
        assert_eq!(seen, whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_reader_costs_only_itself_and_misses_nothing() {
    let house = House::new().await;
    let board = house.board("SLO").await;
    let mut stalled = house.socket(&format!("/api/v1/boards/{board}/stream?after=0")).await;
    let mut stalled_all = house.socket("/api/v1/stream?after=0").await;
    let mut quick = house.socket(&format!("/api/v1/boards/{board}/stream?after=0")).await;
    for socket in [&mut stalled, &mut stalled_all, &mut quick] {
        socket.ready().await;
    }
    // 30 MB, far beyond what the kernel and the feed hold.
    let weight = "y".repeat(90_000);
    let began = std::time::Instant::now();
    let (_, seen) = tokio::join!(flood(&house, &board, 4, 85, &weight), quick.seqs_to(341));
    let quick_took = began.elapsed();
    let whole: Vec<u64> = (1..=341).collect();
    assert_eq!(seen, whole);
    assert!(quick_took < Duration::from_secs(30), "{quick_took:?}");
    for socket in [&mut stalled, &mut stalled_all] {
        assert_eq!(socket.seqs_to(341).await, whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removed_is_one_gap() {
    let house = House::new().await;
    let board = house.board("GAP").await;
    flood(&house, &board, 1, 20, "").await;
    house.patch("/api/v1/boards/GAP", json!({"settings": {"retention": {"max_events": 5}}})).await;
    house.engine.sweep().await.expect("sweeps");
    let mut socket = house.socket(&format!("/api/v1/boards/{board}/stream?after=3")).await;
    let head = socket.ready().await["data"]["head_seq"].as_u64().expect("a head");
    let gap = socket.event().await;
    assert_eq!((&gap["type"], &gap["data"]["from"]), (&json!("stream.gap"), &json!(4)), "{gap}");
    let to = gap["data"]["to"].as_u64().expect("an end");
    assert_eq!(gap["seq"], to);
    assert_eq!(socket.seqs_to(head).await, (to + 1..=head).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_every_stream_in_time() {
    let house = House::new().await;
    let board = house.board("END").await;
    let mut idle = house.socket(&format!("/api/v1/boards/{board}/stream")).await;
    idle.ready().await;
    // Neither of these reads any more; their kernels' buffers are full.
    let mut stuck = house.socket(&format!("/api/v1/boards/{board}/stream?after=0")).await;
    stuck.ready().await;
    let mut stuck_events = TcpStream::connect(house.address).await.expect("connects");
    let ask = format!(
        "GET /api/v1/boards/{board}/stream?after=0 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         accept: text/event-stream\r\n\r\n"
    );
    stuck_events.write_all(ask.as_bytes()).await.expect("is sent");
    flood(&house, &board, 4, 40, &"y".repeat(90_000)).await;
    let path = format!("/api/v1/boards/{board}/stream?after=0");
    let reading =
        house.ask(Method::GET, &path).header("accept", "text/event-stream").send().await.expect("is answered");
    let silent = TcpStream::connect(house.address).await.expect("connects");
    let mut half = TcpStream::connect(house.address).await.expect("connects");
    half.write_all(b"POST /api/v1/boards HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{")
        .await
        .expect("is sent");
    until("the idle reader has the flood behind it", async || idle.event().await["seq"] == json!(161)).await;

    let (took, _dir) = house.stop().await;
    // The server promises five seconds; the rest is a slow machine's.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(idle.next().await, Got::Closed(Some(1012)));
    let _ = reading.bytes().await;
    drop((silent, half, stuck));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_stops_at_once() {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let house = House::new().await;
        house.get("/api/v1/boards").await;
        let silent = TcpStream::connect(house.address).await.expect("connects");
        let board = house.board("IDL").await;
        let mut socket = house.socket(&format!("/api/v1/boards/{board}/stream")).await;
        socket.ready().await;
        let closed = async { assert_eq!(socket.next().await, Got::Closed(Some(1012))) };
        let ((took, _dir), ()) = tokio::join!(house.stop(), closed);
        assert!(took < Duration::from_secs(10), "{took:?}");
        drop(silent);
        best = best.min(took);
        if best < Duration::from_secs(2) {
            return;
        }
    }
    // On a slow machine one of five: were anybody waited for, each would take four seconds.
    panic!("{best:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_shows_every_seq_once() {
    let mut house = House::new().await;
    let board = house.board("RES").await;
    let mut seen = Vec::new();
    for round in 0..3u64 {
        let mut socket = house.socket(&format!("/api/v1/boards/{board}/stream?after={}", seen.len())).await;
        socket.ready().await;
        let last = 1 + (round + 1) * 60;
        let (_, seqs) = tokio::join!(flood(&house, &board, 3, 20, ""), async {
            let mut seqs = socket.seqs_to(last - 30).await;
            if round == 2 {
                seqs.extend(socket.seqs_to(last).await);
            }
            seqs
        });
        seen.extend(seqs);
        let (_, dir) = house.stop().await;
        house = House::built(house::How { dir: Some(dir), ..house::How::default() }).await;
    }
    assert_eq!(seen, (1..=181).collect::<Vec<_>>());
    let query = EventQuery {
        log: kanvoy_domain::Log::Board(id(&board)),
        after: 0,
        task: None,
        kinds: kanvoy_store::Kinds::All,
        limit: 1_000,
        max_bytes: usize::MAX,
    };
    assert_eq!(house.store.events(&query).await.expect("is read").events.len(), 181);
}
