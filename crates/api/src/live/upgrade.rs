//! How a stream is wanted: one path serves sockets and event sources.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use tracing::{Instrument, Span};

use super::{Stream, ws};
use crate::app::Api;
use crate::auth::guard::is_websocket;
use crate::problem::{Code, Problem};
use crate::serve::Place;

/// Handlers take it as a `Result`, to check everything else first and complain about this last.
pub(crate) enum Wanted {
    Socket(Box<Upgrade>),
    EventSource,
}

pub(crate) struct Upgrade {
    upgrade: WebSocketUpgrade,
    /// Absent in tests that call the router without a connection.
    place: Option<Place>,
}

impl FromRequestParts<Arc<Api>> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        if api.shutdown.is_cancelled() {
            return Err(
                Problem::new(Code::Unavailable, "the server restarts; come back with the last seq").retry_after(1)
            );
        }
        if is_websocket(&parts.headers) {
            let place = parts.extensions.get::<Place>().cloned();
            let upgrade = <WebSocketUpgrade as FromRequestParts<_>>::from_request_parts(parts, api).await;
            let upgrade = upgrade.map_err(|rejection| Problem::new(Code::BadRequest, rejection.body_text()))?;
            return Ok(Self::Socket(Box::new(Upgrade { upgrade, place })));
        }
        if accepts_events(&parts.headers) {
            return Ok(Self::EventSource);
        }
        let detail = "open it as a WebSocket, or ask with Accept: text/event-stream";
        Err(Problem::new(Code::UpgradeRequired, detail).with_try("kanvoy task watch"))
    }
}

impl Upgrade {
    pub fn begin(self, api: Arc<Api>, stream: Stream) -> Response {
        let shared = Arc::clone(&api);
        self.held(&shared, ws::small, |socket| ws::run(api, socket, stream))
    }

    /// `sized` says how much room the socket gets; it lives as long as what `run` gives.
    pub fn held<F: Future<Output = ()> + Send + 'static>(
        self,
        api: &Api,
        sized: fn(WebSocketUpgrade) -> WebSocketUpgrade,
        run: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response {
        let token = api.connections.token();
        let place = self.place;
        let span = Span::current();
        sized(self.upgrade).on_upgrade(move |socket| async move {
            // Held to the end: the place among the connections, and the word that this one has not ended.
            let _held = (place, token);
            run(socket).instrument(span).await;
        })
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")))
}
