//! What is sent in by mistake or in bad faith: a clear problem each time, and nothing changed.

mod house;

use std::time::Duration;

use house::{House, TOKEN, text, told};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bad_bodies() {
    let house = House::new().await;
    let board = house.board("BAD").await;
    let path = format!("/api/v1/boards/{board}/tasks");
    let deep = format!("{{\"title\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_unknown = "[".repeat(10_000);
    let many_labels =
        json!({"title": "x", "labels": (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>()}).to_string();
    let cases: Vec<(&[u8], u16, &str, Option<&str>)> = vec![
        (b"", 400, "malformed_json", None),
        (b"{", 400, "malformed_json", None),
        (b"{\"title\":\"x\"} x", 400, "malformed_json", None),
        (b"{'title':1}", 400, "malformed_json", None),
        (b"{\"title\":\"\xff\"}", 400, "malformed_json", None),
        (deep_unknown.as_bytes(), 422, "invalid_body", Some("")),
        (deep.as_bytes(), 422, "invalid_body", Some("/title")),
        (b"[]", 422, "invalid_body", None),
        (b"null", 422, "invalid_body", Some("")),
        (b"{}", 422, "invalid_body", Some("/title")),
        (b"{\"title\":null}", 422, "invalid_body", Some("/title")),
        (b"{\"title\":1}", 422, "invalid_body", Some("/title")),
        (b"{\"title\":\"\"}", 422, "invalid_body", Some("/title")),
        (b"{\"title\":\"a\\u0000b\"}", 422, "invalid_body", Some("/title")),
        (b"{\"title\":\"a\\nb\"}", 422, "invalid_body", Some("/title")),
        (b"{\"title\":\"x\",\"titel\":1}", 422, "invalid_body", Some("/titel")),
        (b"{\"title\":\"x\",\"title\":\"y\"}", 422, "invalid_body", None),
        (b"{\"title\":\"x\",\"labels\":[\"a\",1]}", 422, "invalid_body", Some("/labels/1")),
        (b"{\"title\":\"x\",\"labels\":\"a\"}", 422, "invalid_body", Some("/labels")),
        (b"{\"title\":\"x\",\"state\":\"DONE\"}", 422, "invalid_body", Some("/state")),
        (b"{\"title\":\"x\",\"state\":\"VERIFY\"}", 422, "invalid_body", Some("/state")),
        (b"{\"title\":\"x\",\"priority\":\"HIGH\"}", 422, "invalid_body", Some("/priority")),
        (b"{\"title\":\"x\",\"blocked_by\":[\"x\"]}", 422, "invalid_body", Some("/blocked_by/0")),
        (b"{\"title\":\"x\",\"repository_url\":\"/etc\"}", 422, "invalid_body", Some("/repository_url")),
        (b"{\"title\":\"x\",\"branch\":\"-x\"}", 422, "invalid_body", Some("/branch")),
        (b"{\"title\":\"x\",\"state\":5}", 422, "invalid_body", Some("/state")),
        (b"{\"title\":\"x\",\"state\":true}", 422, "invalid_body", Some("/state")),
        (b"{\"title\":\"x\",\"state\":[]}", 422, "invalid_body", Some("/state")),
        (b"{\"title\":\"x\",\"state\":{}}", 422, "invalid_body", Some("/state")),
        (b"{\"title\":\"x\",\"priority\":1}", 422, "invalid_body", Some("/priority")),
        (b"{\"title\":\"x\",\"state\":5", 400, "malformed_json", None),
        (b"{\"title\":\"x\",\"state\":nothing}", 400, "malformed_json", None),
        (many_labels.as_bytes(), 422, "invalid_body", Some("/labels")),
    ];
    for (body, status, code, pointer) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let request = house.ask(Method::POST, &path).header("content-type", "application/json").body(body.to_vec());
        let (got, problem) = told(request).await;
        assert_eq!((got.as_u16(), &problem["code"]), (status, &json!(code)), "{shown}: {problem}");
        assert_eq!(problem["status"], json!(status), "{shown}");
        if let Some(pointer) = pointer {
            assert_eq!(problem["fields"][0]["pointer"], json!(pointer), "{shown}: {problem}");
        }
        assert!(problem.to_string().len() < 2_000, "{shown}: a problem is no echo");
    }
    let (_, made) = house.post(&path, json!({"title": "x"})).await;
    let task = format!("/api/v1/tasks/{}", text(&made, "id"));
    for wrong in [json!(null), json!(5), json!(true), json!([]), json!({})] {
        let state = house.patch(&format!("{task}/state"), json!({"state": wrong})).await;
        let priority = house.patch(&task, json!({"priority": wrong})).await;
        for ((status, problem), pointer) in [(state, "/state"), (priority, "/priority")] {
            assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid_body")), "{wrong}: {problem}");
            assert_eq!(problem["fields"][0]["pointer"], json!(pointer), "{wrong}: {problem}");
            assert!(problem.to_string().contains("must be a text"), "{wrong}: {problem}");
        }
    }
    for settings in [json!(["person"]), json!(null), json!({"retention": [1]}), json!({"retention": {"max_events": 0}})]
    {
        let (status, problem) = house.patch("/api/v1/boards/BAD", json!({"settings": settings})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid_body")), "{settings}: {problem}");
    }
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let mut request = house.ask(Method::POST, &path).body("{\"title\":\"x\"}");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let (status, problem) = told(request).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("unsupported_media_type")));
    }
    for (kind, status) in [("application/json; charset=utf-8", 201), ("application/merge-patch+json", 201)] {
        let request = house.ask(Method::POST, &path).header("content-type", kind).body("{\"title\":\"x\"}");
        assert_eq!(told(request).await.0.as_u16(), status, "{kind}");
    }
    let (_, list) = house.get(&path).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3), "nothing else was made");
    let (_, shown) = house.get("/api/v1/boards/BAD").await;
    assert_eq!(shown["head_seq"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_get_their_413() {
    let house = House::new().await;
    let (status, problem) = told(
        house.ask(Method::POST, "/api/v1/boards").header("content-type", "application/json").body(vec![b' '; 50 << 20]),
    )
    .await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large")));

    // A client that looks for the answer only when all is sent: announced, chunked, and without a login.
    for (auth, status) in [(format!("authorization: Bearer {TOKEN}\r\n"), "413"), (String::new(), "401")] {
        for framing in ["content-length: 52428800", "transfer-encoding: chunked"] {
            if auth.is_empty() && framing.contains("chunked") {
                continue;
            }
            let mut stream = TcpStream::connect(house.address).await.expect("connects");
            let head = format!(
                "POST /api/v1/boards HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{auth}{framing}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.expect("is taken");
            for _ in 0..50 {
                if framing.contains("chunked") {
                    stream.write_all(b"100000\r\n").await.expect("is taken");
                    stream.write_all(&vec![b' '; 1 << 20]).await.expect("is taken");
                    stream.write_all(b"\r\n").await.expect("is taken");
                } else {
                    stream.write_all(&vec![b' '; 1 << 20]).await.expect("is taken to the end");
                }
            }
            if framing.contains("chunked") {
                stream.write_all(b"0\r\n\r\n").await.expect("is taken");
            }
            let mut answer = vec![0; 64];
            let read = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut answer)).await;
            read.expect("is in time").expect("is answered");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{framing}: {answer}");
        }
    }

    // Who asks first is answered at once, and sends nothing.
    let asks = format!(
        "POST /api/v1/boards HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: 52428800\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    let answer = house.raw(asks.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let exactly = format!("{}{}", json!({"name": "x"}), " ".repeat((1 << 20) - 12));
    assert_eq!(exactly.len(), 1 << 20);
    let request = house.ask(Method::POST, "/api/v1/boards").header("content-type", "application/json");
    assert_eq!(told(request.body(exactly)).await.0, StatusCode::CREATED, "a mebibyte is taken");
}

/// More than a quarter of a gigabyte: the sender still gets to see the refusal.
#[tokio::test(flavor = "multi_thread")]
async fn six_hundred_megabytes_get_their_413_too() {
    let house = House::new().await;
    let mut stream = TcpStream::connect(house.address).await.expect("connects");
    let head = format!(
        "POST /api/v1/boards HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\n\r\n",
        600 << 20
    );
    stream.write_all(head.as_bytes()).await.expect("is taken");
    let piece = vec![b' '; 4 << 20];
    for _ in 0..150 {
        stream.write_all(&piece).await.expect("is taken to the end");
    }
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("is answered");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_bounds_too() {
    let house = House::new().await;
    let many: String = (0..500).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(100 << 10));
    for extra in [many, long] {
        let answer = house.raw(format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{extra}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{}", &answer[..answer.len().min(200)]);
    }
    assert!(house.raw(b"\x16\x03\x01 not http at all\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(house.get("/api/v1/boards").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let house = House::new().await;
    let began = std::time::Instant::now();
    let answer = house.raw(b"GET /healthz HTTP/1.1\r\nhost: local").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Ten seconds are given to a head; who never ends it is not waited for much longer, on a slow machine either.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}
