//! Reading back 100,000 events of one task, to the socket, against rows that are only streamed out of the database.

use std::fmt::Write;
use std::time::Instant;

use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::ROUNDS;
use crate::daemon::Server;
use crate::report::{Reach, Report, median};
use crate::sockets::Socket;
use crate::store::{Bare, rows};

const EVENTS: usize = 100_000;

pub async fn measure(report: &mut Report) {
    let ours = Server::ours().await;
    let task = import(&ours).await;
    let bare = Bare::open().await;
    let wanted = bare.fill(EVENTS).await;
    let path = format!("/api/v1/orchestrator/tasks/{task}/stream?after=0");
    let (mut replayed, mut streamed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let query = "SELECT seq, body FROM event WHERE task = ? ORDER BY seq";
        let mut rows = sqlx::query_as::<_, (i64, String)>(query).bind(&wanted[..]).fetch(&bare.pool);
        let mut seen = 0;
        while let Some((_, body)) = rows.try_next().await.expect("reads") {
            seen += usize::from(!body.is_empty());
        }
        assert_eq!(seen, EVENTS);
        drop(rows);
        streamed.push(EVENTS as f64 / begin.elapsed().as_secs_f64());

        let begin = Instant::now();
        let mut socket = Socket::open(ours.address, &path, &ours.token).await.expect("listens");
        socket.frames(EVENTS).await.expect("comes");
        replayed.push(EVENTS as f64 / begin.elapsed().as_secs_f64());
    }
    let what = "replay of 100,000 events, to the socket";
    report.ratio(what, "events/s", median(replayed), median(streamed), Reach::AtLeast(0.5));
}

/// Brings in a board with one task and a long log; gives the task's id.
async fn import(ours: &Server) -> String {
    let board = ours.board("Model").await;
    let made = ours.ask("POST", &format!("/api/v1/boards/{board}/tasks"), crate::posting::BODY.as_bytes()).await;
    let task = made["id"].as_str().expect("an id").to_owned();
    let mut connection = crate::http::Connection::open(ours.address).await.expect("connects");
    let export = format!(
        "GET /api/v1/boards/{board}/export HTTP/1.0\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
        ours.address, ours.token
    );
    let file = connection.ask_until_closed(export.as_bytes()).await.expect("exports");
    let lines: Vec<Value> =
        String::from_utf8(file).expect("is text").lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let again: Value = ours.ask("DELETE", &format!("/api/v1/boards/{board}?purge=true"), b"").await;
    assert_eq!(again["purged"], true);

    let mut file = String::new();
    for line in lines.iter().filter(|line| line.get("board").is_some() || line.get("task").is_some()) {
        writeln!(file, "{line}").expect("to memory");
    }
    for (at, body) in rows(&board, &task).take(EVENTS).enumerate() {
        writeln!(file, "{{\"event\":{{\"seq\":{}{body}}}", at + 1).expect("to memory");
    }
    let end = json!({ "end": { "tasks": 1, "events": EVENTS, "head_seq": EVENTS, "next_number": 2 } });
    writeln!(file, "{end}").expect("to memory");
    let head = format!(
        "POST /api/v1/boards/import HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        ours.address,
        ours.token,
        file.len()
    );
    let mut connection = crate::http::Connection::open(ours.address).await.expect("connects");
    let (status, answer) = connection.ask(&[head.as_bytes(), file.as_bytes()].concat()).await.expect("answers");
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
    task
}
