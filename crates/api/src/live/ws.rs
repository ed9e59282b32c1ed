//! A stream over a WebSocket. The client only listens: what it sends is read, so that pongs and the end are seen, and otherwise
//! passed over.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use futures_util::SinkExt;
use kanvoy_domain::BoardId;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::{Line, Stream};
use crate::app::Api;
use crate::auth::{Leave, Principal};

const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(60);
/// A peer that is behind by no more than this has read everything, or will never read again.
const AS_GOOD_AS_READ: usize = 16 << 10;
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

const GOING_AWAY: (u16, &str) = (1012, "the server restarts; come back with the last seq");
const LOGGED_OUT: (u16, &str) = (4401, "logged out");
const UNSEEN: (u16, &str) = (4404, "the board is not there for you any more");
const DELETED: (u16, &str) = (1000, "the board was deleted");
const NO_STORE: (u16, &str) = (1013, "the database is unavailable; come back with the last seq");
const NO_PONG: (u16, &str) = (1001, "no pong");

/// Buffers as an idle listener needs them: what comes in is a pong, what goes out grows when it must.
pub(super) fn small(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.read_buffer_size(1 << 10).write_buffer_size(16 << 10).max_message_size(64 << 10).max_frame_size(64 << 10)
}

pub(super) async fn run(api: Arc<Api>, mut socket: WebSocket, mut stream: Stream) {
    api.meter.websockets.increment(1.0);
    let why = follow(&api, &mut socket, &mut stream).await;
    drop(stream);
    if let Some((code, reason)) = why {
        let _ = timeout(GOODBYE_WITHIN, goodbye(&mut socket, code, reason)).await;
    }
    api.meter.websockets.decrement(1.0);
}

type Why = Option<(u16, &'static str)>;

/// Sends until something ends it; `None` when the client has ended it.
async fn follow(api: &Api, socket: &mut WebSocket, stream: &mut Stream) -> Why {
    let mut pulse = Pulse::new();
    let (who, board) = (stream.who.clone(), stream.board);
    let ready = [Line { log: kanvoy_domain::Log::System, seq: 0, text: std::mem::take(&mut stream.ready) }];
    if let Err(why) = send(api, &who, board, socket, &ready, &mut pulse).await {
        return why;
    }
    let mut ticks = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            why = ended(api, &who, board) => return Some(why),
            received = socket.recv() => match received {
                None | Some(Err(_) | Ok(Message::Close(_))) => return None,
                Some(Ok(Message::Pong(payload))) => pulse.answered(&payload),
                Some(Ok(Message::Ping(_) | Message::Text(_) | Message::Binary(_))) => {}
            },
            _ = ticks.tick() => {
                if pulse.stopped() {
                    return Some(NO_PONG);
                }
                if who.session.as_ref().is_some_and(|session| session.expires_at() <= api.clock.now()) {
                    return Some(LOGGED_OUT);
                }
                if !stream.source.still_there().await {
                    return Some(DELETED);
                }
                let ping = Message::Ping(pulse.next());
                tokio::select! {
                    sent = socket.send(ping) => if sent.is_err() { return None },
                    why = ended(api, &who, board) => return Some(why),
                }
            }
            lines = stream.source.next() => match lines {
                Ok(lines) => {
                    api.meter.events_sent.increment(lines.lines.len() as u64);
                    if let Err(why) = send(api, &who, board, socket, &lines.lines, &mut pulse).await {
                        return why;
                    }
                    if lines.over {
                        return Some(DELETED);
                    }
                }
                Err(error) => {
                    tracing::warn!("a stream ended because the store failed: {error}");
                    return Some(NO_STORE);
                }
            },
        }
    }
}

/// Hands over all that waits and flushes once: a flush a message costs many times as much. A peer that does not read makes
/// this wait for as long as it likes; only the end of the server or of the login does not.
async fn send(
    api: &Api,
    who: &Principal,
    board: Option<BoardId>,
    socket: &mut WebSocket,
    lines: &[Line],
    pulse: &mut Pulse,
) -> Result<(), Why> {
    let all = async {
        for line in lines {
            // Shared with every other socket, not copied.
            let Ok(text) = Utf8Bytes::try_from(line.text.clone()) else { continue };
            socket.feed(Message::Text(text)).await?;
        }
        socket.flush().await
    };
    let sent = tokio::select! {
        biased;
        sent = all => sent,
        why = ended(api, who, board) => return Err(Some(why)),
    };
    pulse.sent(lines.iter().map(|line| line.text.len()).sum());
    sent.map_err(|_| None)
}

/// Returns when the stream must end although its client would go on.
async fn ended(api: &Api, who: &Principal, board: Option<BoardId>) -> (u16, &'static str) {
    tokio::select! {
        () = api.shutdown.cancelled() => GOING_AWAY,
        why = who.must_go(board) => match why {
            Leave::LoggedOut => LOGGED_OUT,
            Leave::Unseen => UNSEEN,
        },
    }
}

async fn goodbye(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    if socket.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    // The client's own goodbye: hanging up before it came could make the kernel forget ours.
    while let Some(Ok(_)) = socket.recv().await {}
}

/// Whether somebody is still there. A client that has read everything must answer; one that is far behind need not: its pings
/// lie behind what it has yet to read, and while its machine takes bytes or acknowledges none, TCP is the better judge.
struct Pulse {
    pings: u64,
    /// Bytes sent since the last ping that was answered.
    unread: usize,
    /// Bytes sent since the last ping.
    since_ping: usize,
    waiting_since: Option<Instant>,
}

impl Pulse {
    fn new() -> Self {
        Self { pings: 0, unread: 0, since_ping: 0, waiting_since: None }
    }

    fn sent(&mut self, bytes: usize) {
        self.unread += bytes;
        self.since_ping += bytes;
        if self.unread > AS_GOOD_AS_READ {
            self.waiting_since = None;
        }
    }

    fn next(&mut self) -> bytes::Bytes {
        self.pings += 1;
        self.since_ping = 0;
        if self.unread <= AS_GOOD_AS_READ && self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
        }
        bytes::Bytes::copy_from_slice(&self.pings.to_be_bytes())
    }

    fn answered(&mut self, payload: &[u8]) {
        self.waiting_since = None;
        // Whoever answers the newest ping has read all that was sent before it.
        if payload == self.pings.to_be_bytes() {
            self.unread = self.since_ping;
        }
    }

    fn stopped(&self) -> bool {
        self.waiting_since.is_some_and(|since| since.elapsed() >= PONG_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_read_all_must_answer_and_who_is_behind_need_not() {
        let mut idle = Pulse::new();
        idle.sent(300);
        let mut behind = Pulse::new();
        behind.sent(1 << 20);
        for _ in 0..3 {
            assert!(!idle.stopped() && !behind.stopped());
            idle.next();
            behind.next();
            tokio::time::advance(PING_EVERY).await;
        }
        assert!(idle.stopped(), "silent for a minute");
        assert!(!behind.stopped(), "a megabyte behind");

        // It catches up, answers, and then falls silent.
        let newest = behind.pings.to_be_bytes();
        behind.answered(&newest);
        behind.next();
        tokio::time::advance(PONG_WITHIN).await;
        assert!(behind.stopped());
    }
}
