//! People on one server: who may do what, what they do not see, and how their logins begin and end.

mod house;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use house::{Got, House, How, PASSWORD, TOKEN, text, told};
use kanvoy_api::{Access, Limits, Often, Pace, TrustedProxy};
use kanvoy_domain::people::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOME_ID: &str = "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111";
const SOON: Duration = Duration::from_secs(5);

/// A house where nobody is held back for asking much.
async fn patient() -> House {
    let often = Often::new(1_000_000, Duration::from_micros(1));
    let began = Instant::now();
    let limits = Limits::new(Pace::of(move || began.elapsed()), often, often, often);
    House::built(How { access: Access { limits, ..Access::default() }, ..How::default() }).await
}

async fn member(house: &House, board: &str, user: &str) {
    let (status, member) = house.post(&format!("/api/v1/boards/{board}/members"), json!({"user": user})).await;
    assert_eq!(status, 201, "{member}");
}

/// Every route of the description, for every role, on a board that they belong to and on one that they do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_of_every_role_past_every_route() {
    let house = patient().await;
    let document: Value = serde_json::from_str(&kanvoy_api::openapi::json()).expect("is JSON");
    let (own, other) = (house.board("OWN").await, house.board("OTHER").await);
    let mut tokens = HashMap::new();
    for role in ["viewer", "member", "admin"] {
        house.user(role, role).await;
        if role != "admin" {
            member(&house, &own, role).await;
        }
        tokens.insert(role, text(&house.login(role).await, "access_token"));
    }
    let mut walked = 0;
    for (path, methods) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in methods.as_object().expect("there are methods") {
            let Some(need) = operation["x-kanvoy-need"].as_str() else { continue };
            // Asked by itself elsewhere: these end the very logins that walk here.
            if path.contains("auth/") || path.contains("/sessions") || path.contains("/password") {
                continue;
            }
            for (board, belongs) in [(&own, true), (&other, false)] {
                let (_, shown) = house.get(&format!("/api/v1/boards/{board}")).await;
                for role in ["viewer", "member", "admin"] {
                    // A thing of its own for each, since some of these requests remove it.
                    let task = text(&house.task(board, "walked past").await, "id");
                    let filled = match path {
                        _ if path.contains("/tasks/{id}") => path.replace("{id}", &task),
                        _ if path.contains("/columns/{id}") => {
                            path.replace("{id}", shown["columns"][0]["id"].as_str().expect("an id"))
                        }
                        _ if path.contains("/boards/{id}") => path.replace("{id}", board),
                        _ if path.contains("/users/{id}") => path.replace("{id}", "nobody-at-all"),
                        _ => path.replace("{id}", SOME_ID),
                    };
                    // Nothing that the walk still needs is to go.
                    if method == "delete"
                        && (path.ends_with("/boards/{id}") || path.contains("/columns/"))
                        && role != "viewer"
                        && (belongs || role == "admin")
                    {
                        continue;
                    }
                    let filled = filled.replace("{user}", "nobody-at-all").replace("{session}", SOME_ID);
                    let verb: Method = method.to_uppercase().parse().expect("is a method");
                    let mut request = house.as_(&tokens[role], verb, &filled);
                    if operation.get("requestBody").is_some() {
                        request = request.header("content-type", "application/json").body("{}");
                    }
                    let status = request.send().await.expect("is answered").status().as_u16();
                    let about_a_board = path.contains("{id}")
                        && (path.contains("/boards/") || path.contains("/tasks/") || path.contains("/columns/"));
                    let sees = belongs || role == "admin";
                    let case = format!("{role} {method} {filled} ({need}, member: {belongs}): {status}");
                    let barred = match need {
                        "login" | "read" | "account" => false,
                        "write" | "found" => role == "viewer",
                        "audit" | "admin" => role != "admin",
                        other => panic!("{other} is no need that is known here"),
                    };
                    if barred {
                        assert_eq!(status, 403, "{case}");
                    } else if about_a_board && !sees {
                        // A body is read before the board is looked for; whatever it says, nothing of the board is told.
                        assert!(status == 404 || status == 422, "{case}");
                    } else {
                        assert!(![401, 403].contains(&status) && status < 500, "{case}");
                        let nothing_there = filled.contains(SOME_ID) || filled.contains("nobody-at-all");
                        assert!(status != 404 || nothing_there, "{case}");
                    }
                    walked += 1;
                }
            }
        }
    }
    assert!(walked > 150, "only {walked} cases were walked");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_must_not_see_each_other() {
    let house = patient().await;
    let (ada, bob) = (house.user("ada", "member").await, house.user("bob", "member").await);
    let (a, b) = (text(&house.login("ada").await, "access_token"), text(&house.login("bob").await, "access_token"));
    let mut everything = house.socket_as(&b, "/api/v1/stream").await.expect("opens");
    assert!(!everything.ready().await["data"]["cursor"].as_str().expect("text").contains("system"));
    let (status, board) = house.post_as(&a, "/api/v1/boards", json!({"name": "Secret plans", "key": "SECR"})).await;
    assert_eq!(status, 201, "{board}");
    let id = text(&board, "id");
    let (_, task) = house.post_as(&a, &format!("/api/v1/boards/{id}/tasks"), json!({"title": "secret task"})).await;
    let task_id = text(&task, "id");
    let (_, bobs) = house.post_as(&b, "/api/v1/boards", json!({"name": "Bob's", "key": "BOBS"})).await;
    let bobs_id = text(&bobs, "id");

    // What is there for one and not for the other is not told from what is not there at all.
    for (path, known, unknown) in [
        ("/api/v1/boards/{}", id.as_str(), SOME_ID),
        ("/api/v1/boards/{}", "SECR", "NOPE"),
        ("/api/v1/boards/{}/tasks", "SECR", "NOPE"),
        ("/api/v1/boards/{}/events", "SECR", "NOPE"),
        ("/api/v1/boards/{}/export", "SECR", "NOPE"),
        ("/api/v1/boards/{}/members", "SECR", "NOPE"),
        ("/api/v1/boards/{}/stream", "SECR", "NOPE"),
        ("/api/v1/tasks/{}", task_id.as_str(), SOME_ID),
        ("/api/v1/tasks/{}", "SECR-1", "NOPE-1"),
        ("/api/v1/tasks/{}/events", "SECR-1", "NOPE-1"),
        ("/api/v1/orchestrator/tasks/{}/stream", "SECR-1", "NOPE-1"),
        ("/api/v1/search?q=secret&board={}", "SECR", "NOPE"),
    ] {
        let ask = |what: &str| house.get_as(&b, Box::leak(path.replace("{}", what).into_boxed_str()));
        let ((status, mut hidden), (_, missing)) = (ask(known).await, ask(unknown).await);
        assert_eq!(status, 404, "{path} {known}: {hidden}");
        hidden["detail"] = json!(hidden["detail"].as_str().expect("text").replace(known, unknown));
        assert_eq!(hidden, missing, "{path}");
        let own = house.as_(&a, Method::GET, &path.replace("{}", known)).send().await.expect("is answered");
        assert_ne!(own.status(), 404, "{path} for its owner");
    }
    for (method, path, body) in [
        (Method::PATCH, "/api/v1/boards/SECR".to_owned(), json!({"name": "x"})),
        (Method::DELETE, "/api/v1/boards/SECR?purge=true".to_owned(), Value::Null),
        (Method::POST, "/api/v1/boards/SECR/tasks".to_owned(), json!({"title": "x"})),
        (Method::POST, format!("/api/v1/boards/{id}/tasks"), json!({"title": "x"})),
        (Method::POST, format!("/api/v1/boards/{id}/columns"), json!({"name": "x", "states": ["TODO"]})),
        (Method::POST, format!("/api/v1/boards/{id}/members"), json!({"user": "bob"})),
        (Method::PATCH, format!("/api/v1/tasks/{task_id}"), json!({"title": "x"})),
        (Method::DELETE, "/api/v1/tasks/SECR-1".to_owned(), Value::Null),
        (Method::PATCH, "/api/v1/tasks/SECR-1/state".to_owned(), json!({"state": "COMPLETED"})),
        (Method::POST, "/api/v1/tasks/SECR-1/move".to_owned(), json!({"before": task_id})),
        (
            Method::PATCH,
            format!("/api/v1/columns/{}", board["columns"][0]["id"].as_str().expect("id")),
            json!({"name": "x"}),
        ),
        (Method::DELETE, format!("/api/v1/columns/{}", board["columns"][0]["id"].as_str().expect("id")), Value::Null),
        (Method::DELETE, format!("/api/v1/boards/SECR/members/{ada}"), Value::Null),
    ] {
        let mut request = house.as_(&b, method.clone(), &path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let (status, refused) = told(request).await;
        assert_eq!(status, 404, "{method} {path}: {refused}");
    }
    // By way of one's own board neither.
    let (_, own) = house.post_as(&b, "/api/v1/boards/BOBS/tasks", json!({"title": "own"})).await;
    let own = text(&own, "id");
    for body in [json!({"blocked_by": [task_id]}), json!({"parent_id": task_id})] {
        let (status, refused) = told(house.as_(&b, Method::PATCH, &format!("/api/v1/tasks/{own}")).json(&body)).await;
        assert!(status.is_client_error() && !refused.to_string().contains("secret"), "{body}: {refused}");
    }

    for (path, what) in [("/api/v1/boards?limit=1", "boards"), ("/api/v1/search?q=secret", "tasks")] {
        let (_, list) = house.get_as(&b, path).await;
        assert!(!list.to_string().contains("ecret"), "{what}: {list}");
        assert_eq!(list["next_cursor"], Value::Null, "{what}: {list}");
    }
    let (_, list) = house.get_as(&a, "/api/v1/boards").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(house.get_as(&a, "/api/v1/search?q=secret").await.1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(house.get_as(&b, "/api/v1/events").await.0, 403, "the system's log names boards and people");
    assert_eq!(house.get_as(&b, "/api/v1/users").await.0, 403);

    for path in ["/api/v1/boards/SECR/stream", "/api/v1/orchestrator/tasks/SECR-1/stream"] {
        assert_eq!(house.socket_as(&b, path).await.err(), Some(404), "{path}");
        let sse = house.as_(&b, Method::GET, path).header("accept", "text/event-stream").send().await;
        assert_eq!(sse.expect("is answered").status(), 404, "{path}");
    }
    // Bob's stream of everything holds his own board and nothing else, from the beginning too.
    let cursor = format!("{id}:0,system:0");
    let mut replayed = house.socket_as(&b, &format!("/api/v1/stream?after={cursor}")).await.expect("opens");
    replayed.ready().await;
    for socket in [&mut everything, &mut replayed] {
        for _ in 0..2 {
            let event = socket.event().await;
            assert_eq!(event["board_id"], json!(bobs_id), "{event}");
            assert_eq!(event["actor"], json!({"kind": "person", "id": bob}), "{event}");
        }
    }
    let named = house.socket_as(&b, "/api/v1/stream?after=SECR:0").await.err();
    assert_eq!(named, house.socket_as(&b, "/api/v1/stream?after=NOPE:0").await.err(), "a key tells nothing");
    let mut sse = house
        .as_(&b, Method::GET, "/api/v1/stream?after=0")
        .header("accept", "text/event-stream")
        .send()
        .await
        .expect("opens");
    let mut heard = String::new();
    while heard.matches("\nid: ").count() < 2 {
        heard.push_str(std::str::from_utf8(&sse.chunk().await.expect("comes").expect("some")).expect("text"));
    }
    assert!(!heard.contains(&id) && !heard.contains("system"), "{heard}");

    // Until Ada lets him in.
    assert_eq!(house.post_as(&a, "/api/v1/boards/SECR/members", json!({"user": "bob"})).await.0, 201);
    assert_eq!(house.get_as(&b, "/api/v1/tasks/SECR-1").await.0, 200);
    let mut socket = house.socket_as(&b, "/api/v1/boards/SECR/stream").await.expect("opens now");
    socket.ready().await;
    let sockets_end = Instant::now();
    let gone = told(house.as_(&a, Method::DELETE, "/api/v1/boards/SECR/members/bob")).await;
    assert_eq!(gone.0, 200, "{}", gone.1);
    loop {
        match socket.next().await {
            Got::Event(_) => {}
            Got::Closed(code) => break assert_eq!(code, Some(4404)),
        }
    }
    assert!(sockets_end.elapsed() < SOON);
    assert_eq!(house.get_as(&b, "/api/v1/tasks/SECR-1").await.0, 404);
    assert_eq!(house.get_as(&b, "/api/v1/search?q=secret").await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_end_with_their_sockets() {
    let house = patient().await;
    let id = house.user("ada", "member").await;
    let board = house.board("ENDS").await;
    member(&house, &board, "ada").await;
    let me = |token: &str| {
        let token = token.to_owned();
        let house = &house;
        async move { house.get_as(&token, "/api/v1/auth/me").await }
    };
    let ends: [(&str, Method, String, Value); 5] = [
        ("logout", Method::POST, "/api/v1/auth/logout".into(), json!({})),
        ("all of them", Method::DELETE, "/api/v1/users/me/sessions".into(), Value::Null),
        ("one of them", Method::DELETE, "/api/v1/users/ada/sessions/{session}".into(), Value::Null),
        ("a new password", Method::POST, format!("/api/v1/users/{id}/password"), json!({"password": PASSWORD})),
        ("disabled", Method::PATCH, "/api/v1/users/ada".into(), json!({"disabled": true})),
    ];
    for (what, method, path, body) in ends {
        let login = house.login("ada").await;
        let access = text(&login, "access_token");
        let (status, said) = me(&access).await;
        assert_eq!((status, &said["name"], &said["role"]), (StatusCode::OK, &json!("ada"), &json!("member")), "{said}");
        assert_eq!(said["id"], json!(id));
        let (_, ticket) = house.post_as(&access, "/api/v1/auth/ticket", json!({})).await;
        let mut sockets = vec![
            house.socket_as(&access, "/api/v1/boards/ENDS/stream").await.expect("opens"),
            house.socket_as(&access, "/api/v1/stream").await.expect("opens"),
            house.socket_with(&format!("/api/v1/stream?ticket={}", text(&ticket, "ticket")), &[]).await.expect("opens"),
        ];
        for socket in &mut sockets {
            socket.ready().await;
        }
        let sse = house.as_(&access, Method::GET, "/api/v1/stream").header("accept", "text/event-stream").send().await;
        let mut sse = sse.expect("opens");
        // One's own logout is one's own; the rest an admin does.
        let token = if path.contains("logout") || path.contains("me/") { access.as_str() } else { TOKEN };
        let path = path.replace("{session}", &text(&login, "session_id"));
        let mut request = house.as_(token, method, &path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let began = Instant::now();
        let (status, said) = told(request).await;
        assert!(status.is_success(), "{what}: {status} {said}");
        assert_eq!(me(&access).await.0, 401, "{what}: at once");
        for socket in &mut sockets {
            loop {
                match socket.next().await {
                    Got::Event(_) => {}
                    Got::Closed(code) => break assert_eq!(code, Some(4401), "{what}"),
                }
            }
        }
        while sse.chunk().await.expect("comes").is_some() {}
        assert!(began.elapsed() < SOON, "{what} took {:?}", began.elapsed());
        let refresh = json!({"refresh_token": text(&login, "refresh_token")});
        let (status, _) = told(house.bare(Method::POST, "/api/v1/auth/refresh").json(&refresh)).await;
        assert_eq!(status, 401, "{what}: nor can it be refreshed");
    }
    let tried = house.bare(Method::POST, "/api/v1/auth/login").json(&json!({"name": "ada", "password": PASSWORD}));
    let (status, disabled) = told(tried).await;
    let wrong = house.bare(Method::POST, "/api/v1/auth/login").json(&json!({"name": "eve", "password": PASSWORD}));
    assert_eq!((status, disabled), told(wrong).await, "disabled and unknown look the same");
    house.patch("/api/v1/users/ada", json!({"disabled": false})).await;
    house.login("ada").await;

    let (_, log) = house.get("/api/v1/events?limit=200&types=user.*").await;
    for event in log["items"].as_array().expect("items") {
        assert!(event["actor"]["id"].is_string() || event["actor"]["kind"] == "engine", "{event}");
    }
    let log = log.to_string();
    assert!(!log.contains("argon2") && !log.contains(PASSWORD), "no password in any event");
    for kind in ["user.created", "user.updated", "user.logged_in", "user.session_ended", "user.password_set"] {
        assert!(log.contains(kind), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_tokens_reach_no_further_than_they_say() {
    let house = patient().await;
    house.user("ada", "admin").await;
    let login = text(&house.login("ada").await, "access_token");
    let mut made = HashMap::new();
    for scope in ["read", "write", "admin"] {
        let body = json!({"name": scope, "scopes": [scope]});
        let (status, token) = house.post_as(&login, "/api/v1/tokens", body).await;
        assert_eq!(status, 201, "{token}");
        assert!(text(&token, "token").starts_with("kanvoy_pat_"), "{token}");
        made.insert(scope, token);
    }
    let (_, list) = house.get_as(&login, "/api/v1/tokens").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3));
    assert!(!list.to_string().contains("kanvoy_pat_"), "shown once: {list}");
    for (scope, reads, writes, administers) in
        [("read", 200, 403, 403), ("write", 200, 201, 403), ("admin", 200, 201, 200)]
    {
        let token = text(&made[scope], "token");
        assert_eq!(house.get_as(&token, "/api/v1/boards").await.0, reads, "{scope}");
        assert_eq!(house.post_as(&token, "/api/v1/boards", json!({"name": scope})).await.0, writes, "{scope}");
        assert_eq!(house.get_as(&token, "/api/v1/users").await.0, administers, "{scope}");
        let more = house.post_as(&token, "/api/v1/tokens", json!({"name": "more", "scopes": ["admin"]})).await.0;
        assert_eq!(more == 201, scope == "admin", "{scope}: a token makes none that reaches further");
    }
    let token = text(&made["read"], "token");
    let mut socket = house.socket_as(&token, "/api/v1/stream").await.expect("opens");
    socket.ready().await;
    let revoke = format!("/api/v1/tokens/{}", text(&made["read"], "id"));
    assert_eq!(told(house.as_(&login, Method::DELETE, &revoke)).await.0, 204);
    assert_eq!(house.get_as(&token, "/api/v1/boards").await.0, 401);
    while !matches!(socket.next().await, Got::Closed(Some(4401))) {}
    let someone_elses = format!("/api/v1/tokens/{}", text(&made["write"], "id"));
    house.user("bob", "member").await;
    let bob = text(&house.login("bob").await, "access_token");
    assert_eq!(told(house.as_(&bob, Method::DELETE, &someone_elses)).await.0, 404);
    assert_eq!(house.get_as(&bob, "/api/v1/users/ada/sessions").await.0, 404);
    // A logout ends logins, not tokens; a token is no cookie.
    assert_eq!(told(house.as_(&login, Method::POST, "/api/v1/auth/logout")).await.0, 204);
    let kept = text(&made["write"], "token");
    assert_eq!(house.get_as(&kept, "/api/v1/boards").await.0, 200);
    let as_cookie = house.bare(Method::GET, "/api/v1/boards").header("cookie", format!("kanvoy_session={kept}"));
    assert_eq!(told(as_cookie).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in_with_a_password() {
    let house = House::new().await;
    house.user("ada", "member").await;
    let own = format!("http://{}", house.address);
    let login = json!({"name": "Ada", "password": PASSWORD});
    let foreign = house.bare(Method::POST, "/api/v1/auth/login").header("origin", "https://evil.example").json(&login);
    assert_eq!(told(foreign).await.0, 403, "nobody is logged in by another site");
    let response = house.bare(Method::POST, "/api/v1/auth/login").header("origin", &own).json(&login).send().await;
    let response = response.expect("is answered");
    let cookie = response.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let with = |method, path: &str| house.bare(method, path).header("cookie", &cookie).header("origin", &own);
    assert_eq!(told(with(Method::GET, "/api/v1/auth/me")).await.1["name"], "ada");
    let out = with(Method::POST, "/api/v1/auth/logout").send().await.expect("is answered");
    assert!(out.headers()["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
    assert_eq!(told(with(Method::GET, "/api/v1/auth/me")).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_believed_from_its_place_and_with_its_secret() {
    let proxy = |address: &str| TrustedProxy {
        addresses: vec![address.parse().expect("an address")],
        secret: "a secret of both".into(),
        secret_header: kanvoy_api::proxy::SECRET_HEADER,
        user_header: kanvoy_api::proxy::USER_HEADER,
        role: Role::Viewer,
    };
    let behind = |address: &str| {
        let access = Access { proxy: Some(proxy(address)), ..Access::default() };
        House::built(How { access, ..How::default() })
    };
    let (house, elsewhere) = (behind("127.0.0.1").await, behind("192.0.2.1").await);
    let me = |house: &House, headers: &[(&'static str, &str)]| {
        let mut request = house.bare(Method::GET, "/api/v1/auth/me");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        told(request)
    };
    let (user, secret) = (("x-auth-request-user", "Grace@Example.org"), ("x-kanvoy-proxy-secret", "a secret of both"));
    for headers in [
        vec![user],
        vec![user, ("x-kanvoy-proxy-secret", "another")],
        vec![user, ("x-kanvoy-proxy-secret", "")],
        vec![user, secret, ("x-kanvoy-proxy-secret", "another")],
        vec![user, secret, ("x-auth-request-user", "admin")],
        vec![("x-auth-request-user", "no name at all"), secret],
        vec![secret],
    ] {
        assert_eq!(me(&house, &headers).await.0, 401, "{headers:?}");
    }
    assert_eq!(me(&elsewhere, &[user, secret]).await.0, 401, "from another place");
    assert_eq!(me(&House::new().await, &[user, secret]).await.0, 401, "where there is no proxy");
    assert_eq!(house.get("/api/v1/users").await.1["items"], json!([]), "nobody was made");
    let (status, said) = me(&house, &[user, secret]).await;
    assert_eq!((status, &said["name"], &said["role"]), (StatusCode::OK, &json!("grace@example.org"), &json!("viewer")));
    assert_eq!(me(&house, &[user, secret]).await.1["id"], said["id"], "the same somebody");
    let socket = house.socket_with("/api/v1/stream", &[user, secret]).await;
    assert_eq!(socket.err(), Some(403), "a page elsewhere opens no socket by way of the proxy");
    let own = format!("http://{}", house.address);
    let mut socket = house.socket_with("/api/v1/stream", &[user, secret, ("origin", &own)]).await.expect("opens");
    socket.ready().await;
    house.patch("/api/v1/users/grace@example.org", json!({"disabled": true})).await;
    assert_eq!(socket.next().await, Got::Closed(Some(4401)));
    assert_eq!(me(&house, &[user, secret]).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_much_waits() {
    let clock = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let hand = Arc::clone(&clock);
    let pace = Pace::of(move || Duration::from_secs(hand.load(std::sync::atomic::Ordering::Relaxed)));
    let limits = Limits::new(
        pace,
        Often::new(20, Duration::from_secs(1)),
        Often::new(3, Duration::from_secs(30)),
        Often::new(50, Duration::from_secs(1)),
    );
    let house = House::built(How { access: Access { limits, ..Access::default() }, ..How::default() }).await;
    house.user("ada", "member").await;
    let token = text(&house.login("ada").await, "access_token");
    let tried = |name: &str, password: &str| {
        house.bare(Method::POST, "/api/v1/auth/login").json(&json!({"name": name, "password": password})).send()
    };
    for _ in 0..2 {
        assert_eq!(tried("ada", "wrong").await.expect("is answered").status(), 401);
    }
    let refused = tried("ada", PASSWORD).await.expect("is answered");
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().expect("text")), (429, "30"));
    assert_eq!(tried("bob", "wrong").await.expect("is answered").status(), 401, "another name is another count");
    clock.store(30, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(tried("ada", PASSWORD).await.expect("is answered").status(), 200);
    for _ in 0..20 {
        assert_eq!(house.get_as(&token, "/api/v1/boards").await.0, 200);
    }
    let refused = house.as_(&token, Method::GET, "/api/v1/boards").send().await.expect("is answered");
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().expect("text")), (429, "1"));
    for _ in 0..30 {
        assert_eq!(house.get("/api/v1/boards").await.0, 200, "the owner of the machine is not counted");
    }
    clock.store(31, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(house.get_as(&token, "/api/v1/boards").await.0, 200);
}
