//! What a board of 10,000 cards costs to list and to search: stated, there is no floor for it.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::daemon::Server;
use crate::http::{Connection, request};
use crate::report::{Report, percentile};

const CARDS: usize = 10_000;
const ASKED: usize = 200;

pub async fn measure(report: &mut Report) {
    let ours = Server::ours().await;
    let board = ours.board("Large").await;
    fill(&ours, &board).await;
    let paths = [
        ("first page of 200", format!("/api/v1/boards/{board}/tasks?limit=200")),
        ("by state and label", format!("/api/v1/boards/{board}/tasks?state=TODO&label=l7&limit=200")),
        ("search, many hits", "/api/v1/search?q=parser".to_owned()),
        ("search, one hit", "/api/v1/search?q=needle9876".to_owned()),
        ("search, no hit", "/api/v1/search?q=nowhere".to_owned()),
    ];
    for (what, path) in paths {
        let ask = request("GET", &path, ours.address, &ours.token, b"");
        let mut connection = Connection::open(ours.address).await.expect("connects");
        let mut took: Vec<Duration> = Vec::with_capacity(ASKED);
        for _ in 0..ASKED {
            let begin = Instant::now();
            let (status, _) = connection.ask(&ask).await.expect("answers");
            assert_eq!(status, 200);
            took.push(begin.elapsed());
        }
        took.sort_unstable();
        let p50 = percentile(&took, 0.5).as_secs_f64() * 1e3;
        report.figure(format!("10,000 cards: {what}"), "ms", p50, Some(50.0));
    }
}

async fn fill(ours: &Server, board: &str) {
    let mut making = JoinSet::new();
    for client in 0..32usize {
        let (to, token) = (ours.address, ours.token.clone());
        let path = format!("/api/v1/boards/{board}/tasks");
        making.spawn(async move {
            let mut connection = Connection::open(to).await.expect("connects");
            for card in (client..CARDS).step_by(32) {
                let body = serde_json::json!({
                    "title": format!("Teach the parser about case {card}"),
                    "description": format!("needle{card} {}", "It is described in a few words. ".repeat(8)),
                    "labels": [format!("l{}", card % 20)],
                });
                let ask = request("POST", &path, to, &token, body.to_string().as_bytes());
                let (status, answer) = connection.ask(&ask).await.expect("answers");
                assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
            }
        });
    }
    making.join_all().await;
}
