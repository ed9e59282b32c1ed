//! A whole server for a test: a real store in a directory of its own, real sockets, and words to talk to it with.
#![allow(dead_code, clippy::allow_attributes, reason = "every test file uses some of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kanvoy_api::{Access, Api, HealthCheck, Parts};
use kanvoy_domain::session::LOCAL_PERSON;
use kanvoy_engine::{BoardCache, By, Clock, Engine, Feed, SystemClock, Told};
use kanvoy_store::Store;
use kanvoy_store_sqlite::SqliteStore;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

pub const TOKEN: &str = "the-token-of-this-test";

pub const PASSWORD: &str = "correct horse";

pub struct House {
    pub address: SocketAddr,
    pub api: Arc<Api>,
    pub engine: Engine,
    pub store: Arc<dyn Store>,
    pub feed: Arc<Feed>,
    pub shutdown: CancellationToken,
    pub ready: Arc<AtomicBool>,
    pub served: Option<JoinHandle<()>>,
    pub http: reqwest::Client,
    dir: TempDir,
}

#[derive(Default)]
pub struct How {
    pub public_url: Option<String>,
    pub allowed_hosts: Vec<String>,
    pub checks: Vec<Arc<dyn HealthCheck>>,
    pub access: Access,
    pub dir: Option<TempDir>,
    pub clock: Option<Arc<dyn Clock>>,
}

impl House {
    pub async fn new() -> Self {
        Self::built(How::default()).await
    }

    pub async fn built(how: How) -> Self {
        let dir = how.dir.unwrap_or_else(|| tempfile::tempdir().expect("a directory"));
        let boards = Arc::new(BoardCache::new());
        let feed = Arc::new(Feed::new());
        let told = Arc::new(Told { boards: Arc::clone(&boards), feed: Arc::clone(&feed) });
        let store = SqliteStore::open(&dir.path().join("kanvoy.db"), told).await.expect("the store opens");
        let store: Arc<dyn Store> = Arc::new(store);
        let clock: Arc<dyn Clock> = how.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let engine = Engine::new(Arc::clone(&store), boards, Arc::clone(&clock));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let ready = Arc::new(AtomicBool::new(true));
        let api = Api::new(Parts {
            store: Arc::clone(&store),
            engine: engine.clone(),
            feed: Arc::clone(&feed),
            clock,
            admin_token: TOKEN.to_owned(),
            allowed_hosts: how.allowed_hosts,
            public_url: how.public_url,
            listen: address,
            shutdown: shutdown.clone(),
            ready: Arc::clone(&ready),
            checks: how.checks,
            access: how.access,
        });
        let serving = kanvoy_api::serve(listener, Arc::clone(&api), kanvoy_api::router(Arc::clone(&api)));
        #[expect(clippy::disallowed_methods, reason = "the test waits for it itself")]
        let served = tokio::spawn(async move { serving.await.expect("serves") });
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Connections that wait in a pool would be cut by the server now and then.
        let http = reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(5)).build().expect("a client");
        Self { address, api, engine, store, feed, shutdown, ready, served: Some(served), http, dir }
    }

    /// Stops the server; gives how long that took, and its directory for the next one.
    pub async fn stop(mut self) -> (Duration, TempDir) {
        let began = std::time::Instant::now();
        self.shutdown.cancel();
        self.served.take().expect("is serving").await.expect("ends well");
        let took = began.elapsed();
        self.store.close().await;
        (took, self.dir)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(TOKEN)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        told(self.ask(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        told(self.ask(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (StatusCode, Value) {
        told(self.ask(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        told(self.ask(Method::DELETE, path)).await
    }

    /// A board; gives its id.
    pub async fn board(&self, key: &str) -> String {
        let (status, board) = self.post("/api/v1/boards", json!({"name": key, "key": key})).await;
        assert_eq!(status, 201, "{board}");
        text(&board, "id")
    }

    /// A task; gives what was answered.
    pub async fn task(&self, board: &str, title: &str) -> Value {
        let (status, task) = self.post(&format!("/api/v1/boards/{board}/tasks"), json!({"title": title})).await;
        assert_eq!(status, 201, "{task}");
        task
    }

    /// Somebody who can log in, with the password `correct horse`; gives their id.
    pub async fn user(&self, name: &str, role: &str) -> String {
        let body = json!({"name": name, "role": role, "password": PASSWORD});
        let (status, user) = self.post("/api/v1/users", body).await;
        assert_eq!(status, 201, "{user}");
        text(&user, "id")
    }

    /// Somebody's new login, as its answer gives it.
    pub async fn login(&self, name: &str) -> Value {
        let request = self.bare(Method::POST, "/api/v1/auth/login").json(&json!({"name": name, "password": PASSWORD}));
        let (status, tokens) = told(request).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    /// As somebody else than the owner of the machine.
    pub fn as_(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(token)
    }

    pub async fn get_as(&self, token: &str, path: &str) -> (StatusCode, Value) {
        told(self.as_(token, Method::GET, path)).await
    }

    pub async fn post_as(&self, token: &str, path: &str, body: Value) -> (StatusCode, Value) {
        told(self.as_(token, Method::POST, path).json(&body)).await
    }

    pub async fn socket_as(&self, token: &str, path: &str) -> Result<Socket, u16> {
        self.socket_with(path, &[("authorization", &format!("Bearer {token}"))]).await
    }

    pub fn by(&self) -> By {
        By::person(LOCAL_PERSON)
    }

    pub async fn socket(&self, path: &str) -> Socket {
        self.socket_with(path, &[("authorization", &format!("Bearer {TOKEN}"))]).await.expect("a socket opens")
    }

    /// The status, where the handshake is refused.
    pub async fn socket_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        use tokio_tungstenite::tungstenite::Error;
        let mut request = format!("ws://{}{path}", self.address).into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((inner, _)) => Ok(Socket { inner }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{path}: {other}"),
        }
    }

    /// Sends exactly these bytes; gives everything that comes back.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        // The server may answer and hang up before all is sent.
        let _ = stream.write_all(bytes).await;
        let mut all = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut all)).await;
        String::from_utf8_lossy(&all).into_owned()
    }
}

pub async fn told(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.expect("is answered");
    let status = response.status();
    let bytes = response.bytes().await.expect("has a body");
    (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("is JSON") })
}

pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a text in {value}")).to_owned()
}

pub struct Socket {
    pub inner: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a socket gives next.
#[derive(Debug, PartialEq)]
pub enum Got {
    Event(Value),
    Closed(Option<u16>),
}

impl Socket {
    pub async fn next(&mut self) -> Got {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(30), self.inner.next()).await;
            match message.expect("something comes within half a minute") {
                Some(Ok(Message::Text(text))) => return Got::Event(serde_json::from_str(&text).expect("is JSON")),
                Some(Ok(Message::Close(frame))) => {
                    // Reading on is what sends our own goodbye.
                    while let Some(Ok(_)) = self.inner.next().await {}
                    return Got::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Got::Closed(None),
            }
        }
    }

    pub async fn event(&mut self) -> Value {
        match self.next().await {
            Got::Event(event) => event,
            closed => panic!("an event was awaited, but {closed:?}"),
        }
    }

    pub async fn ready(&mut self) -> Value {
        let ready = self.event().await;
        assert_eq!(ready["type"], "stream.ready", "{ready}");
        assert!(ready.get("seq").is_none(), "{ready}");
        ready
    }

    /// The seqs of events up to this one.
    pub async fn seqs_to(&mut self, last: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        loop {
            let event = self.event().await;
            let seq = event["seq"].as_u64().unwrap_or_else(|| panic!("an event has a seq: {event}"));
            seqs.push(seq);
            if seq >= last {
                return seqs;
            }
        }
    }

    pub async fn send(&mut self, message: Message) {
        self.inner.send(message).await.expect("is sent");
    }
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain until {what}");
}
