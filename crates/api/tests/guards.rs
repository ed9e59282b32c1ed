//! Who is let in, and what is turned away: on every route there is.

mod house;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use house::{Got, House, How, TOKEN, text, told};
use kanvoy_api::{Checked, Health, HealthCheck};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOME_ID: &str = "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111";

/// Every method of every path of the description, and the routes beside it.
fn routes() -> Vec<(Method, String, bool)> {
    let document: Value = serde_json::from_str(&kanvoy_api::openapi::json()).expect("is JSON");
    let open = |path: &str| {
        matches!(path, "/healthz" | "/readyz" | "/login/{code}" | "/api/v1/auth/login" | "/api/v1/auth/refresh")
    };
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("there are paths") {
        let filled = path
            .replace("{id}", SOME_ID)
            .replace("{code}", "no-code")
            .replace("{session}", SOME_ID)
            .replace("{user}", "ada");
        for method in methods.as_object().expect("there are methods").keys() {
            let method = method.to_uppercase().parse().expect("is a method");
            all.push((method, filled.clone(), open(path)));
        }
    }
    assert!(all.len() >= 25, "only {} routes are described", all.len());
    all.push((Method::GET, "/api/docs/".into(), false));
    all.push((Method::GET, "/api/docs/swagger-ui.css".into(), false));
    all.push((Method::GET, "/api/v1/nothing".into(), false));
    all.push((Method::PUT, "/api/v1/boards".into(), false));
    all.push((Method::GET, "/rpc".into(), false));
    all.push((Method::GET, "/".into(), true));
    all.push((Method::GET, "/nothing".into(), true));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_past_every_door() {
    // With a public address nothing is open but what must be.
    let house = House::built(How { public_url: Some("https://kanvoy.example".into()), ..How::default() }).await;
    for (method, path, open) in routes() {
        let case = format!("{method} {path}");
        let response = house.bare(method.clone(), &path).send().await.expect("is answered");
        assert_eq!(response.status() == StatusCode::UNAUTHORIZED, !open, "{case}: {}", response.status());
        for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")] {
            assert_eq!(response.headers()[name], value, "{case}");
        }
        assert!(response.headers().contains_key("content-security-policy"), "{case}");
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{case}");
        if !open {
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{case}");
            assert_eq!(response.headers()["content-type"], "application/problem+json", "{case}");
        }

        let wrong = house.bare(method.clone(), &path).bearer_auth("wrong").send().await.expect("is answered");
        assert_eq!(wrong.status() == StatusCode::UNAUTHORIZED, !open, "{case} with a wrong token");

        for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example"] {
            let (status, refused) = told(house.ask(method.clone(), &path).header("host", host)).await;
            assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("host_not_allowed")), "{case}");
        }

        let foreign = [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")];
        for (name, value) in foreign {
            let response = house.ask(method.clone(), &path).header(name, value).send().await.expect("is answered");
            let refused = response.status() == StatusCode::FORBIDDEN;
            assert_eq!(refused, !method.is_safe(), "{case} with {name}: {value}: {}", response.status());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_the_reference_and_the_numbers_are_open() {
    let house = House::new().await;
    for path in ["/api/v1/openapi.json", "/api/docs/", "/api/docs/swagger-ui-bundle.js", "/metrics", "/"] {
        let response = house.bare(Method::GET, path).send().await.expect("is answered");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let page = house.bare(Method::GET, "/api/docs").send().await.expect("is answered");
    assert_eq!((page.status(), page.url().path()), (StatusCode::OK, "/api/docs/"));
    house.get("/api/v1/boards").await;
    let numbers = house.bare(Method::GET, "/metrics").send().await.expect("is answered").text().await.expect("text");
    let counted = "kanvoy_http_requests_total{method=\"GET\",route=\"/api/v1/boards\",status=\"200\"}";
    assert!(numbers.contains(counted), "{numbers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_be_allowed() {
    let house = House::built(How { allowed_hosts: vec!["board.lan".into()], ..How::default() }).await;
    for (host, status) in
        [("board.lan", 200), ("board.lan:99", 200), ("localhost:1", 200), ("[::1]:8", 200), ("x.lan", 403)]
    {
        let asked = house.ask(Method::GET, "/api/v1/boards").header("host", host);
        assert_eq!(told(asked).await.0.as_u16(), status, "{host}");
    }
    let own = house.ask(Method::POST, "/api/v1/boards").header("origin", format!("http://{}", house.address));
    assert_eq!(told(own.json(&json!({"name": "x"}))).await.0, StatusCode::CREATED);
    for request in [
        "GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        "GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        "GET http://evil.example/healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
    ] {
        let answer = house.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{request}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in_by_a_link_once_and_out_again() {
    let house = House::new().await;
    let link = house.api.login_link().expect("there is a link").url;
    let path = link.split_once(&house.address.to_string()).expect("is ours").1;
    let no_redirects =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    assert_eq!(house.bare(Method::HEAD, path).send().await.expect("is answered").status(), StatusCode::NOT_FOUND);
    let opened = no_redirects.get(&link).send().await.expect("is answered");
    assert_eq!(
        (opened.status(), &opened.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/".parse().expect("a header"))
    );
    let cookie = opened.headers()["set-cookie"].to_str().expect("text").to_owned();
    for part in ["kanvoy_session=", "Path=/", "HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"));
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    assert_eq!(no_redirects.get(&link).send().await.expect("is answered").status(), StatusCode::NOT_FOUND);

    let with_cookie = |method, path: &str| house.bare(method, path).header("cookie", &cookie);
    let (status, me) = told(with_cookie(Method::GET, "/api/v1/auth/me")).await;
    assert_eq!((status, &me["id"], &me["role"]), (StatusCode::OK, &json!("local"), &json!("admin")));
    // A wrong token is not made good by a cookie.
    assert_eq!(told(with_cookie(Method::GET, "/api/v1/auth/me").bearer_auth("x")).await.0, StatusCode::UNAUTHORIZED);

    let board = house.board("LOG").await;
    let stream = format!("/api/v1/boards/{board}/stream");
    let own = format!("http://{}", house.address);
    let mut socket = house.socket_with(&stream, &[("cookie", &cookie), ("origin", &own)]).await.expect("opens");
    socket.ready().await;
    let (status, _) = told(with_cookie(Method::POST, "/api/v1/auth/logout")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(socket.next().await, Got::Closed(Some(4401)));
    assert_eq!(told(with_cookie(Method::GET, "/api/v1/auth/me")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes() {
    let house = House::new().await;
    let board = house.board("HAN").await;
    let path = format!("/api/v1/boards/{board}/stream");
    let link = house.api.login_link().expect("there is a link").url;
    let no_redirects =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let opened = no_redirects.get(&link).send().await.expect("is answered");
    let cookie = opened.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let own = format!("http://{}", house.address);
    let bearer = format!("Bearer {TOKEN}");
    let cases: &[(&[(&'static str, &str)], u16)] = &[
        (&[], 401),
        (&[("authorization", &bearer)], 101),
        (&[("authorization", "Bearer wrong")], 401),
        (&[("authorization", &bearer), ("origin", "https://evil.example")], 101),
        (&[("cookie", &cookie)], 403),
        (&[("cookie", &cookie), ("origin", &own)], 101),
        (&[("cookie", &cookie), ("origin", "https://evil.example")], 403),
        (&[("cookie", &cookie), ("origin", "null")], 403),
        (&[("cookie", &cookie), ("origin", "http://localhost:3000")], 403),
        (&[("cookie", "kanvoy_session=forged"), ("origin", &own)], 401),
        (&[("authorization", &bearer), ("host", "evil.example")], 403),
    ];
    for (headers, status) in cases {
        let got = house.socket_with(&path, headers).await.map_or_else(|status| status, |_| 101);
        assert_eq!(got, *status, "{headers:?}");
    }

    let (status, ticket) = house.post("/api/v1/auth/ticket", json!({})).await;
    assert_eq!(status, StatusCode::CREATED);
    let with_ticket = format!("{path}?ticket={}", text(&ticket, "ticket"));
    let (status, _) = told(house.bare(Method::GET, &with_ticket)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a ticket is for sockets");
    assert!(house.socket_with(&with_ticket, &[]).await.is_ok());
    assert_eq!(house.socket_with(&with_ticket, &[]).await.err(), Some(401), "and good once");
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_paths_that_are_not() {
    let house = House::new().await;
    let wrong = house.ask(Method::PUT, "/api/v1/boards").send().await.expect("is answered");
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    let allowed = wrong.headers()["allow"].to_str().expect("text").to_owned();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    assert_eq!(wrong.json::<Value>().await.expect("is JSON")["code"], "method_not_allowed");
    let (status, missing) = house.get("/api/v1/nothing").await;
    assert_eq!((status, &missing["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    let head = house.ask(Method::HEAD, "/api/v1/boards").send().await.expect("is answered");
    assert_eq!(head.status(), StatusCode::OK);
    let options = house.ask(Method::OPTIONS, "/api/v1/boards").send().await.expect("is answered");
    assert_eq!(options.status(), StatusCode::METHOD_NOT_ALLOWED);
    let (status, not_http) = house.get(&format!("/api/v1/boards/{SOME_ID}/stream")).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{not_http}");
    house.board("STR").await;
    let (status, plain) = house.get("/api/v1/boards/STR/stream").await;
    assert_eq!((status, &plain["code"]), (StatusCode::UPGRADE_REQUIRED, &json!("upgrade_required")));
    for odd in
        ["/api/v1/boards/%00", "/api/v1/boards/%ff", "/api/v1/tasks/KAN-99999999999999999999", "/api/v1/tasks/-1"]
    {
        assert_eq!(house.get(odd).await.0, StatusCode::NOT_FOUND, "{odd}");
    }
}

struct Engine(Health);

#[async_trait]
impl HealthCheck for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }

    async fn check(&self) -> Checked {
        Checked { status: self.0, detail: Some("no docker".into()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness() {
    let house = House::built(How { checks: vec![Arc::new(Engine(Health::Degraded))], ..How::default() }).await;
    let ask = || told(house.bare(Method::GET, "/readyz"));
    let (status, said) = ask().await;
    assert_eq!((status, &said["status"]), (StatusCode::OK, &json!("degraded")), "{said}");
    assert_eq!(said["checks"]["engine"], json!({"status": "degraded", "detail": "no docker"}));
    assert_eq!(said["checks"]["store"], json!({"status": "ok"}));
    house.ready.store(false, Ordering::Relaxed);
    let (status, said) = ask().await;
    assert_eq!((status, &said["checks"]["serving"]["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("failed")));
    assert_eq!(told(house.bare(Method::GET, "/healthz")).await, (StatusCode::OK, json!({"status": "ok"})));
    house.store.close().await;
    let (status, said) = ask().await;
    assert_eq!((status, &said["checks"]["store"]["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("failed")));
    let (status, refused) = house.post("/api/v1/boards", json!({"name": "x"})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")), "{refused}");
}
