//! `/metrics` gives what `docs/metrics.md` says, and nothing else.

mod house;

use std::collections::BTreeMap;

use house::{House, until};
use reqwest::Method;
use serde_json::json;

async fn page(house: &House) -> String {
    house.bare(Method::GET, "/metrics").send().await.expect("is answered").text().await.expect("has a body")
}

fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in\n{page}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_lists_what_is_there() {
    let house = House::new().await;
    let board = house.board("MET").await;
    house.get("/api/v1/boards/nothing").await;
    let mut socket = house.socket("/api/v1/boards/MET/stream?after=0").await;
    socket.ready().await;
    let mut rpc = house.socket("/rpc").await;
    let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"all": true}});
    rpc.send(tokio_tungstenite::tungstenite::Message::text(subscribe.to_string())).await;
    rpc.event().await;
    rpc.event().await;
    for _ in 0..3 {
        house.task(&board, "counted").await;
        rpc.event().await;
    }
    assert_eq!(socket.seqs_to(4).await, [1, 2, 3, 4]);

    until("the slowest has been given everything", async || {
        value(&page(&house).await, "kanvoy_stream_lag_events") == 0.0
    })
    .await;
    let page = page(&house).await;
    let given: BTreeMap<&str, &str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let rows = include_str!("../../../docs/metrics.md").lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeMap<&str, &str> = rows
        .filter_map(|row| row.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" |")?.0)))
        .collect();
    assert_eq!(given, listed);
    for name in given.keys() {
        assert!(page.contains(&format!("# HELP {name} ")), "{name} is not described");
    }

    let routes = r#"kanvoy_http_requests_total{method="GET",route="/api/v1/boards/{id}",status="4xx"}"#;
    assert_eq!(value(&page, routes), 1.0);
    assert_eq!(value(&page, "kanvoy_boards"), 1.0);
    assert!(value(&page, r#"kanvoy_commits_total{outcome="done"}"#) >= 4.0);
    assert_eq!(value(&page, r#"kanvoy_commits_total{outcome="failed"}"#), 0.0);
    assert_eq!(value(&page, "kanvoy_commits_waiting"), 0.0);
    assert!(value(&page, "kanvoy_commit_group_members_count") >= 1.0);
    assert_eq!(value(&page, r#"kanvoy_streams{kind="websocket"}"#), 1.0);
    assert_eq!(value(&page, r#"kanvoy_streams{kind="rpc"}"#), 1.0);
    assert_eq!(value(&page, r#"kanvoy_rpc_calls_total{method="events.subscribe",outcome="ok"}"#), 1.0);
    assert!(value(&page, "process_resident_memory_bytes") > 1e6);
    assert!(value(&page, "process_open_fds") > 5.0);
    assert!(!page.contains(&board), "no ids");

    drop((socket, rpc));
    until("who has gone is no longer counted", async || {
        let page = self::page(&house).await;
        [r#"kanvoy_streams{kind="websocket"}"#, r#"kanvoy_streams{kind="rpc"}"#, "kanvoy_rpc_sockets"]
            .iter()
            .all(|series| value(&page, series) == 0.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_carries_the_name_of_its_request() {
    let house = House::new().await;
    let named = async |id: Option<&str>| {
        let request = house.bare(Method::GET, "/api/v1/boards");
        let request = match id {
            Some(id) => request.header("x-request-id", id),
            None => request,
        };
        let response = request.send().await.expect("is answered");
        response.headers()["x-request-id"].to_str().expect("a text").to_owned()
    };
    assert_eq!(named(Some("proxy-7")).await, "proxy-7");
    let made = named(Some("not a name")).await;
    assert!(!made.is_empty() && made != "not a name" && made != named(None).await);
}
