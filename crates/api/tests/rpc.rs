//! `/rpc`: the examples of `docs/rpc.md` as they stand there, and what a program may do wrong.

mod house;

use futures_util::StreamExt;
use futures_util::future::join_all;
use house::{Got, House, How, Socket, text, told};
use kanvoy_domain::{BoardId, NewTask};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

impl House {
    async fn rpc(&self, body: &Value) -> (StatusCode, Value) {
        told(self.ask(Method::POST, "/rpc").json(body)).await
    }

    async fn rpc_socket(&self) -> Socket {
        self.socket("/rpc").await
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let (status, answer) = self.rpc(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

impl Socket {
    async fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    async fn subscribe(&mut self, params: Value) -> u64 {
        self.say(&json!({"jsonrpc": "2.0", "id": "sub", "method": "events.subscribe", "params": params})).await;
        let answer = self.event().await;
        answer["result"].as_u64().unwrap_or_else(|| panic!("a subscription has a number: {answer}"))
    }

    /// The event of the next notification.
    async fn notified(&mut self) -> Value {
        let said = self.event().await;
        assert_eq!(said["method"], "events.event", "{said}");
        said["params"]["result"].clone()
    }
}

/// Whether all that is awaited was said; `…` stands for any text, and more may have been said.
fn holds(awaited: &Value, said: &Value) -> bool {
    match (awaited, said) {
        (Value::String(any), _) if any == "…" => true,
        (Value::Object(awaited), Value::Object(said)) => {
            awaited.iter().all(|(name, value)| said.get(name).is_some_and(|said| holds(value, said)))
        }
        (Value::Array(awaited), Value::Array(said)) => {
            awaited.len() == said.len() && awaited.iter().zip(said).all(|(awaited, said)| holds(awaited, said))
        }
        (awaited, said) => awaited == said,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_in_the_document_are_true() {
    let house = House::new().await;
    let document = include_str!("../../../docs/rpc.md");
    let mut socket = house.rpc_socket().await;
    // What came before it was awaited: an event may overtake the answer to what led to it.
    let mut early: Vec<Value> = Vec::new();
    let mut examples = 0;
    let blocks = document.split("```rpc\n").skip(1).filter_map(|rest| rest.split_once("```"));
    for line in blocks.flat_map(|(block, _)| block.lines()) {
        let (arrow, message) = line.split_once(' ').expect("an arrow and a message");
        let message: Value = serde_json::from_str(message).unwrap_or_else(|error| panic!("{error} in {message}"));
        if arrow == "-->" {
            assert!(early.is_empty(), "not in the document: {early:?}");
            socket.say(&message).await;
            continue;
        }
        examples += 1;
        match early.iter().position(|said| holds(&message, said)) {
            Some(at) => drop(early.remove(at)),
            None => loop {
                let said = socket.event().await;
                if holds(&message, &said) {
                    break;
                }
                early.push(said);
                assert!(early.len() < 3, "awaited {message}, but got {early:?}");
            },
        }
    }
    assert!(examples >= 15, "only {examples} examples were found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_does_what_its_route_does() {
    let house = House::new().await;
    let made = house.call("board.create", json!({"name": "Calls", "key": "CAL"})).await["result"].clone();
    let (_, shown) = house.get("/api/v1/boards/CAL").await;
    assert_eq!((&made["id"], &made["columns"]), (&shown["id"], &shown["columns"]));
    let task = house.call("task.create", json!({"board": "CAL", "title": "one", "labels": ["a", "b"]})).await;
    let id = text(&task["result"], "id");
    for (method, params, path) in [
        ("task.get", json!({"task": "CAL-1"}), "/api/v1/tasks/CAL-1".to_owned()),
        ("board.get", json!({"board": "CAL"}), "/api/v1/boards/CAL".to_owned()),
        ("board.list", json!({"limit": 5, "archived": false}), "/api/v1/boards?limit=5".to_owned()),
        (
            "task.list",
            json!({"board": "CAL", "label": ["a", "b"], "limit": 5}),
            "/api/v1/boards/CAL/tasks?label=a,b&limit=5".to_owned(),
        ),
        ("search", json!({"q": "one"}), "/api/v1/search?q=one".to_owned()),
    ] {
        assert_eq!(house.call(method, params).await["result"], house.get(&path).await.1, "{method}");
    }
    let done = made["columns"].as_array().and_then(|all| all.iter().find(|it| it["name"] == "Done")).expect("a column");
    let moved = house.call("task.move", json!({"task": id, "column_id": done["id"]})).await;
    assert_eq!(moved["result"]["state"], "COMPLETED", "{moved}");
    let refused = house.call("task.state", json!({"task": id, "state": "CANCELLED"})).await;
    let (status, problem) = house.patch(&format!("/api/v1/tasks/{id}/state"), json!({"state": "CANCELLED"})).await;
    assert_eq!((refused["error"]["code"].as_u64(), status.as_u16()), (Some(409), 409));
    assert_eq!(refused["error"]["data"], problem);
    assert!(problem["legal"].is_array(), "{problem}");
    let stale = house.call("task.update", json!({"task": id, "title": "x", "version": 1})).await;
    assert_eq!(stale["error"]["data"]["code"], "stale_version", "{stale}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_has_its_number() {
    let house = House::new().await;
    house.board("BAD").await;
    let many: Vec<Value> = (0..101).map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "board.list"})).collect();
    for (body, code, id) in [
        ("{", -32700, json!(null)),
        ("", -32700, json!(null)),
        ("[]", -32600, json!(null)),
        ("7", -32600, json!(null)),
        (r#"{"id": 3}"#, -32600, json!(3)),
        (r#"{"jsonrpc": "1.0", "id": 3, "method": "board.list"}"#, -32600, json!(3)),
        (r#"{"jsonrpc": "2.0", "id": {}, "method": "board.list"}"#, -32600, json!(null)),
        (r#"{"jsonrpc": "2.0", "id": null, "method": "nothing"}"#, -32601, json!(null)),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "request.answer"}"#, -32601, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "board.list", "params": [1]}"#, -32602, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "board.list", "params": {"limt": 1}}"#, -32602, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "board.list", "params": {"limit": 0}}"#, -32602, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "task.get"}"#, -32602, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "task.get", "params": {"task": "x", "a/b": 1}}"#, -32602, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "task.create", "params": {"board": "BAD"}}"#, -32602, json!(1)),
        (
            r#"{"jsonrpc": "2.0", "id": 1, "method": "task.create", "params": {"board": "BAD", "title": "x", "idempotency_key": ""}}"#,
            -32602,
            json!(1),
        ),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"all": true}}"#, 426, json!(1)),
        (&Value::from(many).to_string(), -32010, json!(null)),
    ] {
        let request = house.ask(Method::POST, "/rpc").header("content-type", "application/json").body(body.to_owned());
        let (status, answer) = told(request).await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["code"], &answer["id"]),
            (200, &json!(code), &id),
            "{body:.200} {answer}"
        );
        assert!(answer["error"]["data"]["code"].is_string(), "{answer}");
        assert_eq!(answer["jsonrpc"], "2.0");
    }
    let (_, batch) = house
        .rpc(&json!([7, {"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"all": true}}, {"jsonrpc": "2.0", "id": 2, "method": "board.list"}]))
        .await;
    assert_eq!((&batch[0]["error"]["code"], &batch[1]["error"]["code"]), (&json!(-32600), &json!(-32600)), "{batch}");
    assert!(batch[2]["result"]["items"].is_array(), "{batch}");
    let (status, nothing) =
        house.rpc(&json!([{"jsonrpc": "2.0", "method": "board.create", "params": {"name": "N", "key": "NOT"}}])).await;
    assert_eq!((status.as_u16(), nothing), (204, Value::Null));
    assert_eq!(house.get("/api/v1/boards/NOT").await.0, 200, "it was carried out");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doors_are_guarded_as_all_others() {
    let how = How { public_url: Some("https://kanvoy.example/board".into()), ..How::default() };
    let house = House::built(how).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "board.list"});
    for request in [
        house.bare(Method::POST, "/rpc").json(&list),
        house.bare(Method::POST, "/rpc").bearer_auth("wrong").json(&list),
        house.bare(Method::POST, "/rpc").body("{"),
    ] {
        let (status, problem) = told(request).await;
        assert_eq!((status.as_u16(), &problem["code"]), (401, &json!("unauthenticated")));
    }
    let (status, _) = told(house.ask(Method::POST, "/rpc").header("origin", "https://evil.example").json(&list)).await;
    assert_eq!(status, 403);
    let (status, _) = told(house.ask(Method::POST, "/rpc").body(list.to_string())).await;
    assert_eq!(status, 415);
    let (status, _) = told(house.ask(Method::POST, "/rpc").json(&"x".repeat(2 << 20))).await;
    assert_eq!(status, 413);
    let (status, problem) = told(house.ask(Method::GET, "/rpc")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (426, &json!("upgrade_required")));

    assert_eq!(house.socket_with("/rpc", &[]).await.err(), Some(401));
    let ticket = text(&house.post("/api/v1/auth/ticket", json!({})).await.1, "ticket");
    let mut socket = house.socket_with(&format!("/rpc?ticket={ticket}"), &[]).await.expect("a ticket opens it");
    socket.say(&list).await;
    assert!(socket.event().await["result"]["items"].is_array());
    socket.send(Message::text("x".repeat((1 << 20) + 1))).await;
    assert_eq!(socket.event().await["error"]["code"], 413);
    socket.say(&list).await;
    assert!(socket.event().await["result"]["items"].is_array(), "the socket lives on");
    drop(socket);

    let mut socket = house.rpc_socket().await;
    socket.say(&list).await;
    socket.event().await;
    let closed = async { assert_eq!(socket.next().await, Got::Closed(Some(1012))) };
    let ((took, _dir), ()) = tokio::join!(house.stop(), closed);
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_out_loses_the_socket() {
    let house = House::new().await;
    let link = house.api.login_link().expect("a link");
    let path = link.url.split_once("/login/").map(|(_, code)| format!("/login/{code}")).expect("a code");
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let opened = client.get(house.url(&path)).send().await.expect("is answered");
    let cookie = opened.headers()["set-cookie"].to_str().expect("a cookie");
    let cookie = cookie.split(';').next().expect("a cookie").to_owned();
    assert_eq!(house.socket_with("/rpc", &[("cookie", &cookie)]).await.err(), Some(403), "any page could open it");
    let origin = house.url("");
    let mut socket = house.socket_with("/rpc", &[("cookie", &cookie), ("origin", &origin)]).await.expect("opens");
    socket.subscribe(json!({"all": true})).await;
    socket.notified().await;
    let out = house.bare(Method::POST, "/api/v1/auth/logout").header("cookie", &cookie);
    assert_eq!(out.send().await.expect("is answered").status(), 204);
    assert_eq!(socket.next().await, Got::Closed(Some(4401)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_a_thing_once() {
    let house = House::new().await;
    house.board("ONE").await;
    let create = |title: &str| json!({"board": "ONE", "title": title, "idempotency_key": "k"});
    let first = house.call("task.create", create("a")).await;
    assert_eq!(house.call("task.create", create("a")).await, first);
    let other = house.call("task.create", create("b")).await;
    assert_eq!(
        (&other["error"]["code"], &other["error"]["data"]["code"]),
        (&json!(409), &json!("idempotency_key_reused"))
    );

    let call = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "task.create", "params": {"board": "ONE", "title": "c"}});
    let batch = json!([call(1), call(2)]);
    let send = || told(house.ask(Method::POST, "/rpc").header("idempotency-key", "batch").json(&batch));
    let (_, first) = send().await;
    assert_eq!((&first[0]["result"]["number"], &first[1]["result"]["number"]), (&json!(2), &json!(3)), "{first}");
    assert_eq!(send().await.1, first);
    let at_once = join_all(
        (0..8).map(|_| house.call("task.create", json!({"board": "ONE", "title": "d", "idempotency_key": "e"}))),
    )
    .await;
    assert!(at_once.iter().all(|it| it["result"]["number"] == 4), "{at_once:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_are_kept() {
    let house = House::new().await;
    let board = house.board("EVE").await;
    let task = text(&house.task(&board, "öne \u{1F600} \"two\"").await, "id");
    let mut socket = house.rpc_socket().await;
    let of_board = socket.subscribe(json!({"board": "EVE", "after": 0})).await;
    assert_eq!(socket.notified().await["type"], "stream.ready");
    let mut plain = house.socket("/api/v1/boards/EVE/stream?after=0").await;
    plain.ready().await;
    for _ in 0..2 {
        let raw = async |socket: &mut Socket| match socket.inner.next().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("a text was awaited, but {other:?}"),
        };
        let (event, notification) = (raw(&mut plain).await, raw(&mut socket).await);
        let awaited = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"events.event\",\"params\":{{\"subscription\":{of_board},\"result\":{event}}}}}"
        );
        assert_eq!(notification, awaited);
    }
    // Each by itself, and each until it is ended.
    let of_task = socket.subscribe(json!({"task": "EVE-1", "types": "task.*"})).await;
    assert_eq!(socket.notified().await["task_id"], json!(task));
    assert_eq!(socket.notified().await["seq"], 2);
    let of_all = socket.subscribe(json!({"all": true, "after": format!("EVE:2")})).await;
    assert!(socket.notified().await["data"]["cursor"].is_string());
    socket.say(&json!({"jsonrpc": "2.0", "id": 9, "method": "events.unsubscribe", "params": [of_board]})).await;
    assert_eq!(socket.event().await["result"], true);
    house.patch(&format!("/api/v1/tasks/{task}"), json!({"title": "uno"})).await;
    let mut heard: Vec<u64> = Vec::new();
    for _ in 0..2 {
        let said = socket.event().await;
        assert_eq!(said["params"]["result"]["seq"], 3, "{said}");
        heard.push(said["params"]["subscription"].as_u64().expect("a number"));
    }
    heard.sort_unstable();
    assert_eq!(heard, [of_task, of_all]);
    // Another socket cannot end it, though it knows its number.
    let mut other = house.rpc_socket().await;
    other.say(&json!({"jsonrpc": "2.0", "id": 9, "method": "events.unsubscribe", "params": [of_task]})).await;
    assert_eq!(other.event().await["result"], false);
    house.delete("/api/v1/boards/EVE").await;
    let mut last = Vec::new();
    while last.len() < 2 {
        let said = socket.event().await;
        if said["params"]["error"].is_object() {
            assert_eq!(said["params"]["error"]["data"]["code"], "not_found", "{said}");
            break;
        }
        last.push(said);
    }
    for (params, code) in [
        (json!({}), "invalid_body"),
        (json!({"board": "EVE", "all": true}), "invalid_body"),
        (json!({"board": "NIX"}), "not_found"),
        (json!({"all": true, "types": ["nonsense"]}), "invalid_parameter"),
        (json!({"all": true, "after": "x"}), "invalid_parameter"),
    ] {
        other.say(&json!({"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": params})).await;
        assert_eq!(other.event().await["error"]["data"]["code"], code, "{params}");
    }
    house.board("FUL").await;
    for at in 0..65u64 {
        other
            .say(&json!({"jsonrpc": "2.0", "id": "sub", "method": "events.subscribe", "params": {"board": "FUL"}}))
            .await;
        let answer = other.event().await;
        if at < 64 {
            assert!(answer["result"].is_u64(), "{answer}");
            other.notified().await;
        } else {
            assert_eq!(answer["error"]["code"], -32006, "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_misses_nothing_and_holds_up_nobody() {
    const EVENTS: u64 = 340;
    let house = House::new().await;
    let board: BoardId = house.board("SLO").await.parse().expect("an id");
    let mut stalled = house.rpc_socket().await;
    stalled.subscribe(json!({"board": "SLO", "after": 0})).await;
    let mut quick = house.rpc_socket().await;
    quick.subscribe(json!({"board": "SLO", "after": 0})).await;
    let all = json!({"all": true, "after": "0", "types": "!daemon.started"});
    // Its answer comes among the first one's events.
    quick.say(&json!({"jsonrpc": "2.0", "id": 2, "method": "events.subscribe", "params": all})).await;
    // 30 MB, far beyond what the kernel and the feed hold.
    let new = NewTask { title: "flood".into(), description: "y".repeat(90_000), ..NewTask::default() };
    let flood = join_all((0..4).map(|_| async {
        for _ in 0..EVENTS / 4 {
            house.engine.create_task(&house.by(), board, new.clone()).await.expect("is made");
        }
    }));
    let whole: Vec<u64> = (1..=EVENTS + 1).collect();
    let read = async |socket: &mut Socket, subscriptions: usize| {
        let mut seen: Vec<Vec<u64>> = vec![Vec::new(); subscriptions];
        while seen.iter().any(|seen| seen.last() != Some(&(EVENTS + 1))) {
            let said = socket.event().await;
            let Some(subscription) = said["params"]["subscription"].as_u64() else { continue };
            seen[subscription as usize - 1].extend(said["params"]["result"]["seq"].as_u64());
        }
        seen
    };
    let (_, seen) = tokio::join!(flood, read(&mut quick, 2));
    assert_eq!(seen, [whole.clone(), whole.clone()]);
    // Calls still get through on the socket that is behind, once it reads.
    stalled.say(&json!({"jsonrpc": "2.0", "id": 1, "method": "board.list"})).await;
    assert_eq!(read(&mut stalled, 1).await, [whole]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_bounded() {
    let house = House::new().await;
    let board: BoardId = house.board("BIG").await.parse().expect("an id");
    // 36 MB.
    let new = NewTask { title: "big".into(), description: "\u{1F600}".repeat(100_000), ..NewTask::default() };
    for _ in 0..90 {
        house.engine.create_task(&house.by(), board, new.clone()).await.expect("is made");
    }
    let refused = house.call("task.list", json!({"board": "BIG", "limit": 200})).await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["data"]["code"]), (&json!(413), &json!("too_large")));
    let some =
        |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "task.list", "params": {"board": "BIG", "limit": 50}});
    let create = json!({"jsonrpc": "2.0", "id": 3, "method": "board.create", "params": {"name": "n", "key": "NOT"}});
    let (_, batch) = house.rpc(&json!([some(1), some(2), create])).await;
    assert_eq!(batch[1]["result"]["items"].as_array().map(Vec::len), Some(50));
    assert_eq!((&batch[2]["error"]["code"], &batch[2]["id"]), (&json!(-32011), &json!(3)));
    assert_eq!(house.get("/api/v1/boards/NOT").await.0, 404, "it was not carried out");
}
