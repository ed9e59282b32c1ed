//! A file on its way in: cut off, sent twice at once, and sent again.

mod house;

use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream;
use house::{House, TOKEN, told};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const IMPORT: &str = "/api/v1/boards/import";

/// A board of so many tasks that its file goes in several pieces; it is purged again.
async fn file_of_a_board(house: &House) -> Vec<u8> {
    let board = house.board("OUT").await;
    let description = "x".repeat(50_000);
    for number in 1..=50 {
        let new = json!({"title": format!("task {number}"), "description": description});
        house.post(&format!("/api/v1/boards/{board}/tasks"), new).await;
    }
    let file = house.ask(Method::GET, "/api/v1/boards/OUT/export").send().await.expect("is answered");
    let file = file.bytes().await.expect("comes").to_vec();
    assert_eq!(house.delete("/api/v1/boards/OUT?purge=true").await.0, StatusCode::OK);
    file
}

fn import(house: &House) -> RequestBuilder {
    house.ask(Method::POST, IMPORT).header("content-type", "application/x-ndjson")
}

/// Half of the file, a pause until `go`, and the rest.
fn in_two_halves(file: &[u8], go: tokio::sync::oneshot::Receiver<()>) -> reqwest::Body {
    let half = file.len() / 2;
    let (first, second) = (Bytes::copy_from_slice(&file[..half]), Bytes::copy_from_slice(&file[half..]));
    let (begin, end) = (async move { Ok::<_, std::io::Error>(first) }, async move {
        let _ = go.await;
        Ok(second)
    });
    let halves: [futures_util::future::BoxFuture<'static, _>; 2] = [Box::pin(begin), Box::pin(end)];
    reqwest::Body::wrap_stream(futures_util::StreamExt::then(stream::iter(halves), |half| half))
}

async fn half_imported(house: &House, expected: usize) {
    for _ in 0..500 {
        if house.store.half_imported().await.expect("reads").len() == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{expected} boards were to be half imported: {:?}", house.store.half_imported().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_can_be_sent_again() {
    let house = House::new().await;
    let file = file_of_a_board(&house).await;
    let text = String::from_utf8(file.clone()).expect("is text");
    let no_end = text.trim_end().rsplit_once('\n').expect("has lines").0.to_owned();
    let (status, refused) = told(import(&house).body(no_end)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let bad = text.replace("task 49", "task\\n49");
    let (status, refused) = told(import(&house).body(bad)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert!(refused.to_string().contains("line 50: task 49: title"), "{refused}");
    let (status, back) = told(import(&house).body(file)).await;
    assert_eq!(status, StatusCode::CREATED, "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_sender_goes_leaves_nothing() {
    let house = House::new().await;
    let file = file_of_a_board(&house).await;
    let head = format!(
        "POST {IMPORT} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {}\r\n\r\n",
        house.address,
        file.len()
    );
    let mut stream = TcpStream::connect(house.address).await.expect("connects");
    stream.write_all(head.as_bytes()).await.expect("is sent");
    stream.write_all(&file[..file.len() / 2]).await.expect("is sent");
    half_imported(&house, 1).await;
    drop(stream);
    half_imported(&house, 0).await;

    // All of it is sent, and nobody waits for the answer: it is taken, or it is not there at all.
    let mut stream = TcpStream::connect(house.address).await.expect("connects");
    stream.write_all(head.as_bytes()).await.expect("is sent");
    stream.write_all(&file).await.expect("is sent");
    drop(stream);
    for _ in 0..500 {
        house.delete("/api/v1/boards/OUT?purge=true").await;
        let (status, answer) = told(import(&house).body(file.clone())).await;
        if status == StatusCode::CREATED {
            return;
        }
        // The first is still coming in, or has just come.
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("what nobody waited for is in the way for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_under_one_key_take_the_file_once() {
    let house = House::new().await;
    let file = file_of_a_board(&house).await;
    let (go, wait) = tokio::sync::oneshot::channel();
    let request = import(&house).header("idempotency-key", "k").body(in_two_halves(&file, wait));
    let first = async { request.send().await.expect("is answered") };
    let second = async {
        half_imported(&house, 1).await;
        let ask = import(&house).header("idempotency-key", "k").body(file.clone()).send();
        let asked = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            go.send(()).expect("the first waits");
        };
        tokio::join!(ask, asked).0.expect("is answered")
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status(), second.status()), (StatusCode::CREATED, StatusCode::CREATED));
    assert!(second.headers().contains_key("idempotency-replayed"));
    assert_eq!(first.text().await.expect("is text"), second.text().await.expect("is text"));
    assert_eq!(house.get("/api/v1/boards").await.1["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_without_a_key_do_not_harm_each_other() {
    let house = House::new().await;
    let file = file_of_a_board(&house).await;
    let (go, wait) = tokio::sync::oneshot::channel();
    let request = import(&house).body(in_two_halves(&file, wait));
    let first = async { told(request).await };
    let second = async {
        half_imported(&house, 1).await;
        let refused = import(&house).body(file.clone()).send().await.expect("is answered");
        assert!(refused.headers().contains_key("retry-after"));
        let keyed = import(&house).header("idempotency-key", "k").body(in_two_halves(&file, {
            let (gone, wait) = tokio::sync::oneshot::channel();
            drop(gone);
            wait
        }));
        let keyed = async { told(keyed).await };
        let asked = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            go.send(()).expect("the first waits");
        };
        (refused, tokio::join!(keyed, asked).0)
    };
    let ((status, board), (refused, (keyed, problem))) = tokio::join!(first, second);
    assert_eq!(status, StatusCode::CREATED, "{board}");
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.expect("is text").contains("being imported just now"));
    assert_eq!((keyed, &problem["code"]), (StatusCode::CONFLICT, &json!("contended")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_a_file() {
    let house = House::new().await;
    let file = file_of_a_board(&house).await;
    let mut stream = TcpStream::connect(house.address).await.expect("connects");
    let head = format!(
        "POST {IMPORT} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {}\r\n\r\n",
        house.address,
        file.len()
    );
    stream.write_all(head.as_bytes()).await.expect("is sent");
    stream.write_all(&file[..file.len() / 2]).await.expect("is sent");
    half_imported(&house, 1).await;
    let store = std::sync::Arc::clone(&house.store);
    house.shutdown.cancel();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(store.half_imported().await.expect("reads"), Vec::new());
}
