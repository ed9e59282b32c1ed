//! What the client does when the server is not at its best: tried against a server of a few lines that says what it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use kanvoy_client::{Client, ClientError, ClientOptions, Cursor, Follow, NewBoard, TaskEdit, Url};

const BOARD: &str = r#"{"id":"00000000-0000-0000-0000-000000000001","key":"KAN","name":"Kanvoy"}"#;

/// Gives these answers, one a connection; an empty one breaks the connection. Says what it was asked.
fn server(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("is bound");
    let serving = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !is_whole(&request) {
                let read = stream.read(&mut piece).expect("is read");
                assert_ne!(read, 0, "the request ended early");
                request.extend_from_slice(&piece[..read]);
            }
            asked.push(String::from_utf8(request).expect("is text"));
            stream.write_all(answer.as_bytes()).expect("is written");
        }
        asked
    });
    (address, serving)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    body.len() >= length
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}")
}

fn client(address: SocketAddr, patience: Duration) -> Client {
    let url = Url::parse(&format!("http://{address}")).expect("is a URL");
    Client::new(ClientOptions { url, token: Some("secret".into()), patience }).expect("is made")
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_write_is_tried_again_under_one_key() {
    let busy = answer("503 Service Unavailable", "Retry-After: 0\r\n", r#"{"code":"unavailable","status":503}"#);
    let (address, serving) = server(vec![busy, String::new(), answer("201 Created", "", BOARD)]);
    let new = NewBoard { name: "Kanvoy".into(), ..NewBoard::default() };
    let board = client(address, LONG).create_board(&new).await.expect("the third time it is made");
    assert_eq!(board.key, "KAN");
    let asked = serving.join().expect("served");
    let keys: Vec<_> = asked.iter().map(|request| header(request, "idempotency-key").expect("has a key")).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 32), "{keys:?}");
    assert_eq!(header(&asked[0], "authorization"), Some("Bearer secret"));
}

#[tokio::test]
async fn a_change_that_may_have_been_made_is_not_made_again() {
    let (address, serving) = server(vec![String::new()]);
    let edit = TaskEdit { title: Some("New".into()), ..TaskEdit::default() };
    let error = client(address, LONG).update_task("KAN-1", &edit).await.expect_err("nobody knows");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert_eq!(serving.join().expect("served").len(), 1);
}

#[tokio::test]
async fn patience_ends() {
    let busy = || answer("503 Service Unavailable", "Retry-After: 60\r\n", r#"{"code":"unavailable","status":503}"#);
    let (address, _serving) = server(vec![busy(), busy()]);
    let error = client(address, Duration::from_millis(100)).boards(false).await.expect_err("is not waited for");
    assert_eq!(error.problem().and_then(|problem| problem.retry_after), Some(60), "{error}");
}

#[tokio::test]
async fn answers_are_told_apart_by_what_to_do() {
    let conflict = r#"{"code":"illegal_transition","detail":"no","legal":["TODO"]}"#;
    let (address, _serving) = server(vec![
        answer("409 Conflict", "", conflict),
        answer("401 Unauthorized", "", r#"{"code":"unauthenticated","detail":"who?"}"#),
        answer("404 Not Found", "", "<html>nothing here</html>"),
        answer("302 Found", "Location: http://elsewhere.example/\r\n", ""),
        answer("200 OK", "", "hello"),
    ]);
    let client = client(address, Duration::ZERO);
    let error = client.board("KAN").await.expect_err("is refused");
    assert!(error.is("illegal_transition") && error.problem().is_some_and(|problem| problem.legal == ["TODO"]));
    assert!(matches!(client.board("KAN").await, Err(ClientError::Unauthenticated(_))));
    for what in ["another program's page", "a redirect", "no JSON"] {
        let error = client.board("KAN").await.expect_err(what);
        assert!(matches!(error, ClientError::Protocol(_)), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_says_why() {
    let ahead = r#"{"code":"invalid_parameter","detail":"after is 9, which is ahead of the log, whose head is 4"}"#;
    let (address, serving) = server(vec![
        answer("503 Service Unavailable", "", r#"{"code":"unavailable"}"#),
        answer("422 Unprocessable Entity", "", ahead),
    ]);
    let mut events = client(address, LONG).follow(Follow::Board("KAN".into()), Some(Cursor::Seq(9)));
    let error = events.next_event().await.expect_err("is refused");
    assert!(error.is("invalid_parameter") && error.to_string().contains("ahead of the log"), "{error}");
    let asked = serving.join().expect("served");
    assert!(asked[1].starts_with("GET /api/v1/boards/KAN/stream?after=9 "), "{}", asked[1]);
}
