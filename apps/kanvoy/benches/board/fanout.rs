//! Telling many: from a POST to every socket that watches the board, against sockets fed from memory.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::ROUNDS;
use crate::daemon::Server;
use crate::http::{Connection, request};
use crate::posting::BODY;
use crate::report::{Reach, Report, median};
use crate::sockets::Socket;

/// Clients that post while others listen.
const WRITERS: usize = 16;

pub async fn measure(report: &mut Report) {
    let (ours, floor) = (Server::ours().await, Server::floor().await);
    let board = ours.board("Bench").await;
    let size = event_size(&ours, &board).await;
    let make = request("POST", &format!("/api/v1/boards/{board}/tasks"), ours.address, &ours.token, BODY.as_bytes());
    let mut body: serde_json::Value = serde_json::from_str(BODY).expect("is JSON");
    body["tell"] = size.into();
    let echo = request("POST", "/echo", floor.address, &floor.token, body.to_string().as_bytes());
    let stream = format!("/api/v1/boards/{board}/stream");
    for (sockets, posts) in [(1, 16_000), (10, 16_000), (100, 8_000), (1_000, 1_600)] {
        let (mut told, mut fed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            fed.push(delivered(&floor, "/stream", &echo, sockets, posts).await);
            told.push(delivered(&ours, &stream, &make, sockets, posts).await);
        }
        let what = format!("fan-out to {sockets}, POST to socket");
        // Where few listen, the posting itself is what is measured: its ratio is stated above.
        let reach = if sockets >= 1_000 { Reach::AtLeast(0.8) } else { Reach::Stated };
        report.ratio(what, "events/s", median(told), median(fed), reach);
    }
}

async fn event_size(ours: &Server, board: &str) -> usize {
    let path = format!("/api/v1/boards/{board}/stream");
    let mut socket = Socket::open(ours.address, &path, &ours.token).await.expect("listens");
    ours.ask("POST", &format!("/api/v1/boards/{board}/tasks"), BODY.as_bytes()).await;
    socket.frames(1).await.expect("comes")
}

/// Events a second, over all sockets together, every one of them counted.
async fn delivered(server: &Server, path: &str, post: &[u8], sockets: usize, posts: usize) -> f64 {
    let mut listening = JoinSet::new();
    for _ in 0..sockets {
        let mut socket = Socket::open(server.address, path, &server.token).await.expect("listens");
        listening.spawn(async move { socket.frames(posts).await.expect("comes") });
    }
    let begin = Instant::now();
    let mut writing = JoinSet::new();
    for _ in 0..WRITERS {
        let (to, post) = (server.address, post.to_vec());
        writing.spawn(async move {
            let mut connection = Connection::open(to).await.expect("connects");
            for _ in 0..posts / WRITERS {
                let (status, body) = connection.ask(&post).await.expect("answers");
                assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
            }
        });
    }
    writing.join_all().await;
    let done = tokio::time::timeout(Duration::from_secs(120), listening.join_all()).await;
    assert_eq!(done.expect("every socket got every event").len(), sockets);
    (sockets * posts) as f64 / begin.elapsed().as_secs_f64()
}

/// What a subscriber costs that hears nothing.
pub async fn idle(report: &mut Report) {
    const SOCKETS: usize = 1_000;
    let (ours, floor) = (Server::ours().await, Server::floor().await);
    let board = ours.board("Bench").await;
    let mut cost = Vec::new();
    for (server, path) in [(&ours, format!("/api/v1/boards/{board}/stream")), (&floor, "/defaults".to_owned())] {
        // A few that come and go first: what the process keeps for its next guests is not counted.
        for _ in 0..2 {
            let mut guests = Vec::new();
            for _ in 0..20 {
                guests.push(Socket::open(server.address, &path, &server.token).await.expect("listens"));
            }
        }
        let before = server.memory();
        let mut sockets = Vec::with_capacity(SOCKETS);
        for _ in 0..SOCKETS {
            sockets.push(Socket::open(server.address, &path, &server.token).await.expect("listens"));
        }
        cost.push((server.memory() - before) as f64 / SOCKETS as f64 / 1024.0);
    }
    report.figure("an idle subscriber, memory", "KiB", cost[0], Some(20.0));
    report.ratio("an idle subscriber, against the library's defaults", "KiB", cost[0], cost[1], Reach::Stated);
    report.figure("the daemon at rest, memory", "MiB", Server::ours().await.memory() as f64 / 1048576.0, Some(40.0));
}
