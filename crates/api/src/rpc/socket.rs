//! `/rpc` over a WebSocket: calls side by side, up to a bound, and all that goes out through one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jsonrpsee::core::server::{BoundedSubscriptions, ConnectionId, MethodSink};
use jsonrpsee::core::traits::IdProvider;
use jsonrpsee::types::SubscriptionId;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Caller, envelope};
use crate::app::Api;
use crate::auth::Principal;
use crate::body::MOST_BYTES;
use crate::live::ws::{LOGGED_OUT, NO_PONG, PING_EVERY, Pulse, Why, ended, goodbye, send};

/// Messages of one socket that are being carried out at once; what comes beyond them waits unread.
const MOST_AT_ONCE: usize = 16;
const MOST_SUBSCRIPTIONS: u32 = 64;
/// Notifications of a socket that wait to be sent. The cursors behind them wait with them, so this is all that a slow client
/// costs.
const MOST_WAITING: usize = 16;
/// Sent before one flush.
const MOST_IN_A_PIECE: usize = 64;

/// A message that is too large is read all the same, so that it can be answered; hanging up in the middle of one would cut
/// the word about it off. Beyond this the socket is closed.
const MOST_READ_BYTES: usize = 4 * MOST_BYTES;

const TOO_LARGE: Why = (1009, "a message has at most 1 MiB here");

/// What subscriptions of one socket share.
#[derive(Debug)]
pub struct Line {
    pub id: ConnectionId,
    pub sink: MethodSink,
    pub subscriptions: BoundedSubscriptions,
    last_subscription: AtomicU64,
}

impl Line {
    fn new(out: mpsc::Sender<Box<RawValue>>) -> Self {
        // 0 stands for those who have no socket.
        static LAST: AtomicUsize = AtomicUsize::new(0);
        Self {
            id: ConnectionId(LAST.fetch_add(1, Ordering::Relaxed) + 1),
            sink: MethodSink::new(out),
            subscriptions: BoundedSubscriptions::new(MOST_SUBSCRIPTIONS),
            last_subscription: AtomicU64::new(0),
        }
    }
}

/// Subscriptions are numbered within their socket; nobody can name another's.
impl IdProvider for Line {
    fn next_id(&self) -> SubscriptionId<'static> {
        SubscriptionId::Num(self.last_subscription.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

pub fn sized(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(4 << 10)
        .write_buffer_size(16 << 10)
        .max_message_size(MOST_READ_BYTES)
        .max_frame_size(MOST_READ_BYTES)
}

pub async fn run(api: Arc<Api>, who: Principal, mut socket: WebSocket) {
    api.meter.rpc_sockets.increment(1.0);
    let (out, waiting) = mpsc::channel(MOST_WAITING);
    let caller = Caller { api: Arc::clone(&api), who, line: Some(Arc::new(Line::new(out))) };
    let why = Box::pin(serve(&caller, &mut socket, waiting)).await;
    drop(caller);
    if let Some(why) = why {
        goodbye(&mut socket, why).await;
    }
    api.meter.rpc_sockets.decrement(1.0);
}

/// `None` when the client has ended it.
async fn serve(caller: &Caller, socket: &mut WebSocket, mut waiting: mpsc::Receiver<Box<RawValue>>) -> Option<Why> {
    let Caller { api, who, .. } = caller;
    let mut pulse = Pulse::new();
    let mut calls = FuturesUnordered::new();
    let mut piece = Vec::new();
    let mut ticks = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let texts = tokio::select! {
            biased;
            why = ended(api, who) => return Some(why),
            // Before what goes out: a flood of events must hide neither a pong nor an `events.unsubscribe`.
            received = socket.recv(), if calls.len() < MOST_AT_ONCE => {
                match received {
                    None | Some(Ok(Message::Close(_))) => return None,
                    Some(Err(error)) => return too_large(&error).then_some(TOO_LARGE),
                    Some(Ok(Message::Pong(payload))) => pulse.answered(&payload),
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(Message::Text(text))) => calls.push(answered(caller, Bytes::from(text))),
                    Some(Ok(Message::Binary(bytes))) => calls.push(answered(caller, bytes)),
                }
                continue;
            }
            _ = ticks.tick() => {
                if pulse.stopped() {
                    return Some(NO_PONG);
                }
                if who.session.as_ref().is_some_and(|session| session.expires_at <= api.clock.now()) {
                    return Some(LOGGED_OUT);
                }
                let ping = Message::Ping(pulse.next());
                tokio::select! {
                    sent = socket.send(ping) => if sent.is_err() { return None },
                    why = ended(api, who) => return Some(why),
                }
                continue;
            }
            Some(answer) = calls.next(), if !calls.is_empty() => answer.into_iter().collect(),
            taken = waiting.recv_many(&mut piece, MOST_IN_A_PIECE) => {
                if taken == 0 {
                    return None;
                }
                piece.drain(..).map(|json| Bytes::from(String::from(Box::<str>::from(json)))).collect::<Vec<_>>()
            }
        };
        if let Err(why) = send(api, who, socket, texts.into_iter(), &mut pulse).await {
            return why;
        }
    }
}

async fn answered(caller: &Caller, message: Bytes) -> Option<Bytes> {
    envelope::answer(caller, &message, None).await.map(Bytes::from)
}

/// The library below says it in words only.
fn too_large(error: &axum::Error) -> bool {
    error.to_string().contains("too long")
}
