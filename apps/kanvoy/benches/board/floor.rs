//! The floor: the same libraries with nothing of ours. A handler that reads JSON and writes it back, and sockets that are
//! fed from memory, all that waits with one flush.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::SinkExt;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};

#[derive(Clone)]
struct Floor {
    told: broadcast::Sender<Utf8Bytes>,
}

/// What a task is made of, at its shortest.
#[derive(Deserialize, Serialize)]
struct Echo {
    title: String,
    description: String,
    /// When given: so many bytes are told to all sockets.
    #[serde(default)]
    tell: usize,
}

/// Listens on a free port and writes its address to the file that the last argument names.
pub fn serve() {
    let file = std::env::args().next_back().expect("a file");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let floor = Floor { told: broadcast::Sender::new(1 << 16) };
        let router = Router::new()
            .route("/echo", post(echo))
            .route("/stream", get(stream))
            .route("/defaults", get(defaults))
            .with_state(floor);
        let text = serde_json::json!({ "url": address.to_string() }).to_string();
        std::fs::write(format!("{file}.new"), text).expect("writes");
        std::fs::rename(format!("{file}.new"), file).expect("renames");
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await.expect("serves");
    });
}

async fn echo(State(floor): State<Floor>, Json(echo): Json<Echo>) -> (StatusCode, Json<Echo>) {
    if echo.tell > 0 {
        let _ = floor.told.send("x".repeat(echo.tell).into());
    }
    (StatusCode::CREATED, Json(echo))
}

async fn stream(State(floor): State<Floor>, upgrade: WebSocketUpgrade) -> Response {
    let mut told = floor.told.subscribe();
    upgrade.on_upgrade(|mut socket| async move {
        if socket.send(Message::text("ready")).await.is_err() {
            return;
        }
        loop {
            let next = match told.recv().await {
                Ok(next) => next,
                Err(RecvError::Lagged(_)) => panic!("the floor must not lose messages either"),
                Err(RecvError::Closed) => return,
            };
            if socket.feed(Message::Text(next)).await.is_err() {
                return;
            }
            while let Ok(next) = told.try_recv() {
                if socket.feed(Message::Text(next)).await.is_err() {
                    return;
                }
            }
            if socket.flush().await.is_err() {
                return;
            }
        }
    })
}

/// A socket that nobody writes to, with the library's own buffers.
async fn defaults(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        if socket.send(Message::text("ready")).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
    })
}
