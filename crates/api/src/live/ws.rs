//! A stream over a WebSocket. The client only listens: what it sends is read, so that pongs and the end are seen, and otherwise
//! passed over.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::Stream;
use crate::app::Api;
use crate::auth::Principal;

pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(60);
/// A peer that is behind by no more than this has read everything, or will never read again.
const AS_GOOD_AS_READ: usize = 16 << 10;
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

const GOING_AWAY: (u16, &str) = (1012, "the server restarts; come back with the last seq");
pub(crate) const LOGGED_OUT: (u16, &str) = (4401, "logged out");
const DELETED: (u16, &str) = (1000, "the board was deleted");
const NO_STORE: (u16, &str) = (1013, "the database is unavailable; come back with the last seq");
pub(crate) const NO_PONG: (u16, &str) = (1001, "no pong");

/// Buffers as an idle listener needs them: what comes in is a pong, what goes out grows when it must.
pub(super) fn small(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.read_buffer_size(1 << 10).write_buffer_size(16 << 10).max_message_size(64 << 10).max_frame_size(64 << 10)
}

pub(super) async fn run(api: Arc<Api>, mut socket: WebSocket, mut stream: Stream) {
    api.meter.websockets.increment(1.0);
    let why = follow(&api, &mut socket, &mut stream).await;
    drop(stream);
    if let Some(why) = why {
        goodbye(&mut socket, why).await;
    }
    api.meter.websockets.decrement(1.0);
}

/// A close code, and the reason beside it.
pub(crate) type Why = (u16, &'static str);

/// Sends until something ends it; `None` when the client has ended it.
async fn follow(api: &Api, socket: &mut WebSocket, stream: &mut Stream) -> Option<Why> {
    let mut pulse = Pulse::new();
    let who = stream.who.clone();
    let ready = std::iter::once(std::mem::take(&mut stream.ready));
    if let Err(why) = send(api, &who, socket, ready, &mut pulse).await {
        return why;
    }
    let mut ticks = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            why = ended(api, &who) => return Some(why),
            received = socket.recv() => match received {
                None | Some(Err(_) | Ok(Message::Close(_))) => return None,
                Some(Ok(Message::Pong(payload))) => pulse.answered(&payload),
                Some(Ok(Message::Ping(_) | Message::Text(_) | Message::Binary(_))) => {}
            },
            _ = ticks.tick() => {
                if pulse.stopped() {
                    return Some(NO_PONG);
                }
                if who.session.as_ref().is_some_and(|session| session.expires_at <= api.clock.now()) {
                    return Some(LOGGED_OUT);
                }
                if !stream.source.still_there().await {
                    return Some(DELETED);
                }
                let ping = Message::Ping(pulse.next());
                tokio::select! {
                    sent = socket.send(ping) => if sent.is_err() { return None },
                    why = ended(api, &who) => return Some(why),
                }
            }
            lines = stream.source.next() => match lines {
                Ok(lines) => {
                    api.meter.events_sent.increment(lines.lines.len() as u64);
                    if let Err(why) = send(api, &who, socket, lines.lines.into_iter().map(|line| line.text), &mut pulse).await {
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
pub(crate) async fn send(
    api: &Api,
    who: &Principal,
    socket: &mut WebSocket,
    texts: impl Iterator<Item = Bytes>,
    pulse: &mut Pulse,
) -> Result<(), Option<Why>> {
    let mut bytes = 0;
    let all = async {
        for text in texts {
            bytes += text.len();
            // Shared with every other socket, not copied.
            let Ok(text) = Utf8Bytes::try_from(text) else { continue };
            socket.feed(Message::Text(text)).await?;
        }
        socket.flush().await
    };
    let sent = tokio::select! {
        biased;
        sent = all => sent,
        why = ended(api, who) => return Err(Some(why)),
    };
    pulse.sent(bytes);
    sent.map_err(|_| None)
}

/// Returns when the stream must end although its client would go on.
pub(crate) async fn ended(api: &Api, who: &Principal) -> Why {
    let Some(session) = &who.session else {
        api.shutdown.cancelled().await;
        return GOING_AWAY;
    };
    tokio::select! {
        () = api.shutdown.cancelled() => GOING_AWAY,
        () = session.ended.cancelled() => LOGGED_OUT,
    }
}

pub(crate) async fn goodbye(socket: &mut WebSocket, (code, reason): Why) {
    let said = async {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        // The client's own goodbye: hanging up before it came could make the kernel forget ours.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _ = timeout(GOODBYE_WITHIN, said).await;
}

/// Whether somebody is still there. A client that has read everything must answer; one that is far behind need not: its pings
/// lie behind what it has yet to read, and while its machine takes bytes or acknowledges none, TCP is the better judge.
pub(crate) struct Pulse {
    pings: u64,
    /// Bytes sent since the last ping that was answered.
    unread: usize,
    /// Bytes sent since the last ping.
    since_ping: usize,
    waiting_since: Option<Instant>,
}

impl Pulse {
    pub fn new() -> Self {
        Self { pings: 0, unread: 0, since_ping: 0, waiting_since: None }
    }

    pub fn sent(&mut self, bytes: usize) {
        self.unread += bytes;
        self.since_ping += bytes;
        if self.unread > AS_GOOD_AS_READ {
            self.waiting_since = None;
        }
    }

    pub fn next(&mut self) -> Bytes {
        self.pings += 1;
        self.since_ping = 0;
        if self.unread <= AS_GOOD_AS_READ && self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
        }
        Bytes::copy_from_slice(&self.pings.to_be_bytes())
    }

    pub fn answered(&mut self, payload: &[u8]) {
        self.waiting_since = None;
        // Whoever answers the newest ping has read all that was sent before it.
        if payload == self.pings.to_be_bytes() {
            self.unread = self.since_ping;
        }
    }

    pub fn stopped(&self) -> bool {
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
