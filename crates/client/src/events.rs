//! Follows a log: replays what is later than the cursor, goes on live, and after a broken connection begins again where it
//! was, so that its reader sees every event once and in order.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::header::AUTHORIZATION;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error as WsError, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::causes;
use crate::error::{ClientError, Problem};
use crate::{Client, Event};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is followed. Tasks and boards by id or by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    Task(String),
    Board(String),
    /// Every log that we may see.
    Everything,
}

/// How far a reader has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// In one log.
    Seq(u64),
    /// In each of several: `<board id>:<seq>`, `system:<seq>`.
    Logs(BTreeMap<String, u64>),
}

impl Cursor {
    /// As `after=` takes it and `stream.ready` gives it.
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(seq) = text.trim().parse() {
            return Some(Self::Seq(seq));
        }
        let logs = text.split(',').filter(|part| !part.trim().is_empty()).map(|part| {
            let (log, seq) = part.trim().rsplit_once(':')?;
            Some((log.to_owned(), seq.parse().ok()?))
        });
        logs.collect::<Option<_>>().map(Self::Logs)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seq(seq) => write!(f, "{seq}"),
            Self::Logs(logs) => {
                let parts: Vec<String> = logs.iter().map(|(log, seq)| format!("{log}:{seq}")).collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

/// What a reader is told.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Connected. The log stood at `head` when the server said so.
    Ready {
        head: u64,
    },
    Event(Box<Event>),
    /// The connection is gone; the next call waits for a new one.
    Lost {
        why: String,
    },
}

/// The server pings more often than this; a connection that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(45);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// One event may hold a whole line of an agent.
const LONGEST_FRAME: usize = 128 << 20;

/// A reader of one stream. Dropping a call of [`next`](Self::next) loses nothing.
pub struct Events {
    client: Client,
    follow: Follow,
    types: Vec<String>,
    cursor: Option<Cursor>,
    socket: Option<Box<Socket>>,
    /// Set once the first connection stood: from then on a lost one is looked for however long it takes.
    stood: bool,
    /// Until when the first connection is tried for.
    first_until: Option<Instant>,
    /// We asked with a ping whether anybody is there, and nothing came since.
    asked: bool,
    pause: Duration,
    not_before: Option<Instant>,
    ended: bool,
}

impl Client {
    /// Everything later than `after`, then live. Without `after` a task begins at its beginning and a board is live only.
    pub fn follow(&self, follow: Follow, after: Option<Cursor>) -> Events {
        let cursor = match (&follow, after) {
            (Follow::Task(_), None) => Some(Cursor::Seq(0)),
            (_, after) => after,
        };
        Events {
            client: self.clone(),
            follow,
            types: Vec::new(),
            cursor,
            socket: None,
            stood: false,
            first_until: None,
            asked: false,
            pause: FIRST_PAUSE,
            not_before: None,
            ended: false,
        }
    }
}

impl Events {
    /// Only these kinds; one with a leading `!` is left out.
    pub fn of_types(mut self, types: Vec<String>) -> Self {
        self.types = types;
        self
    }

    /// Where a reader that begins again should begin.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// The next event, however many connections it takes. `None` when the log has ended: its board was deleted.
    pub async fn next_event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            match self.next().await? {
                Some(Heard::Event(event)) => return Ok(Some(*event)),
                Some(Heard::Ready { .. } | Heard::Lost { .. }) => {}
                None => return Ok(None),
            }
        }
    }

    /// What happens next, the state of the connection included.
    pub async fn next(&mut self) -> Result<Option<Heard>, ClientError> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if self.socket.is_none()
                && let Some(lost) = self.connect().await?
            {
                if self.stood {
                    return Ok(Some(lost));
                }
                // What never stood cannot be lost.
                continue;
            }
            let Some(socket) = self.socket.as_mut() else { continue };
            let frame = match tokio::time::timeout(SILENCE, socket.next()).await {
                Ok(frame) => {
                    self.asked = false;
                    frame
                }
                Err(_) if !self.asked => {
                    self.asked = true;
                    match socket.send(Message::Ping(Bytes::new())).await {
                        Ok(()) => continue,
                        Err(error) => Some(Err(error)),
                    }
                }
                Err(_) => return Ok(Some(self.lost("the server has gone silent".to_owned()))),
            };
            match frame {
                Some(Ok(Message::Text(text))) => return self.heard(&text).map(Some),
                Some(Ok(Message::Close(close))) if ends(close.as_ref()) => {
                    self.socket = None;
                    self.ended = true;
                }
                Some(Ok(Message::Close(close))) => return Ok(Some(self.lost(closed(close.as_ref())))),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Ok(Some(self.lost(causes(&error)))),
                None => return Ok(Some(self.lost("the connection ended".to_owned()))),
            }
        }
    }

    fn heard(&mut self, text: &str) -> Result<Heard, ClientError> {
        let event = Event::read(text)?;
        if event.kind == "stream.ready" {
            self.pause = FIRST_PAUSE;
            let head = event.data["head_seq"].as_u64().unwrap_or_default();
            // Begun live: from now on there is a place to come back to.
            if self.cursor.is_none() {
                self.cursor = match (&self.follow, event.data["cursor"].as_str()) {
                    (Follow::Everything, Some(cursor)) => Cursor::read(cursor),
                    (Follow::Everything, None) => None,
                    _ => Some(Cursor::Seq(head)),
                };
            }
            return Ok(Heard::Ready { head });
        }
        self.advance(&event)?;
        Ok(Heard::Event(Box::new(event)))
    }

    /// Moves the cursor on; an event that is not later than it is a mistake of the server that must not pass unseen.
    fn advance(&mut self, event: &Event) -> Result<(), ClientError> {
        let place = match self.cursor.get_or_insert(Cursor::Seq(0)) {
            Cursor::Seq(seq) if self.follow != Follow::Everything => seq,
            other => {
                if matches!(other, Cursor::Seq(_)) {
                    *other = Cursor::Logs(BTreeMap::new());
                }
                let Cursor::Logs(logs) = other else { return Ok(()) };
                let log = event.board_id.map_or_else(|| "system".to_owned(), |board| board.to_string());
                logs.entry(log).or_insert(0)
            }
        };
        if event.seq <= *place {
            return Err(ClientError::Protocol(format!(
                "the stream told event {} ({}) after event {place}",
                event.seq, event.kind
            )));
        }
        *place = event.seq;
        Ok(())
    }

    /// Connects, or says why a later try is worth it.
    async fn connect(&mut self) -> Result<Option<Heard>, ClientError> {
        let first_until = *self.first_until.get_or_insert_with(|| Instant::now() + self.client.patience());
        if let Some(moment) = self.not_before {
            tokio::time::sleep_until(moment).await;
        }
        let tried = tokio::time::timeout(CONNECT_WITHIN, self.open()).await;
        let error = match tried {
            Ok(Ok(socket)) => {
                self.socket = Some(Box::new(socket));
                self.stood = true;
                self.asked = false;
                return Ok(None);
            }
            Ok(Err(error)) => error,
            Err(_) => self.unreachable("no answer".to_owned()),
        };
        let passes = match &error {
            ClientError::Unreachable { .. } => true,
            ClientError::Problem(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            ClientError::Unauthenticated(_) | ClientError::Protocol(_) | ClientError::Local(_) => false,
        };
        if !passes || (!self.stood && Instant::now() + self.pause > first_until) {
            return Err(error);
        }
        let asked_for = error.problem().and_then(|problem| problem.retry_after).map(Duration::from_secs);
        let lost = self.lost(error.to_string());
        if let Some(wait) = asked_for {
            self.not_before = Some(Instant::now() + wait.min(Duration::from_secs(30)));
        }
        Ok(Some(lost))
    }

    async fn open(&self) -> Result<Socket, ClientError> {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(self.cursor.as_ref().map(|cursor| ("after", cursor.to_string())));
        if !self.types.is_empty() {
            query.push(("types", self.types.join(",")));
        }
        let mut url = match &self.follow {
            Follow::Task(task) => self.client.api(&["orchestrator", "tasks", task, "stream"], &query),
            Follow::Board(board) => self.client.api(&["boards", board, "stream"], &query),
            Follow::Everything => self.client.api(&["stream"], &query),
        };
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // Both are schemes of the web, so the change is always allowed.
        let _ = url.set_scheme(scheme);
        let mut request = url.as_str().into_client_request().map_err(|error| ClientError::Protocol(causes(&error)))?;
        if let Some(credentials) = self.client.credentials() {
            request.headers_mut().insert(AUTHORIZATION, credentials.clone());
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(LONGEST_FRAME))
            .max_frame_size(Some(LONGEST_FRAME))
            .read_buffer_size(64 << 10);
        let opened = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await;
        opened.map(|(socket, _)| socket).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: WsError) -> ClientError {
        match error {
            WsError::Http(response) => {
                let status = response.status().as_u16();
                let retry_after = response
                    .headers()
                    .get("retry-after")
                    .and_then(|value| value.to_str().ok())
                    .and_then(|value| value.parse().ok());
                let body = response.into_body().unwrap_or_default();
                let mut problem = Box::new(Problem::read(status, &body));
                problem.retry_after = problem.retry_after.or(retry_after);
                match status {
                    401 => ClientError::Unauthenticated(problem),
                    _ if problem.is_foreign() => {
                        ClientError::Protocol(format!("HTTP {status} from {}", self.client.url()))
                    }
                    _ => ClientError::Problem(problem),
                }
            }
            WsError::Io(error) => self.unreachable(causes(&error)),
            WsError::ConnectionClosed | WsError::AlreadyClosed => self.unreachable("the connection ended".to_owned()),
            // A daemon that ends in the middle of a handshake says neither yes nor no.
            WsError::Protocol(error) => self.unreachable(error.to_string()),
            other => ClientError::Protocol(other.to_string()),
        }
    }

    fn unreachable(&self, why: String) -> ClientError {
        ClientError::Unreachable { url: self.client.url().to_string(), why }
    }

    fn lost(&mut self, why: String) -> Heard {
        self.socket = None;
        self.not_before = Some(Instant::now() + jittered(self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Heard::Lost { why }
    }
}

/// The log is at its end; anything else that a server says in closing is worth another try.
fn ends(close: Option<&CloseFrame>) -> bool {
    close.is_some_and(|close| close.code == CloseCode::Normal)
}

fn closed(close: Option<&CloseFrame>) -> String {
    match close {
        Some(CloseFrame { code: CloseCode::Restart, .. }) => "the daemon stops or restarts".to_owned(),
        Some(CloseFrame { code, reason }) if reason == &Utf8Bytes::default() => {
            format!("the server closed the stream ({code})")
        }
        Some(CloseFrame { code, reason }) => format!("the server closed the stream ({code}: {reason})"),
        None => "the server closed the stream".to_owned(),
    }
}

/// Three quarters to five quarters, so that readers that were lost together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [128_u8];
    // Without randomness they come back together, which is only less kind.
    let _ = getrandom::fill(&mut byte);
    pause.mul_f64(0.75 + f64::from(byte[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientOptions;

    fn events(follow: Follow, after: Option<Cursor>) -> Events {
        let url = reqwest::Url::parse("http://127.0.0.1:9").expect("is a URL");
        let client = Client::new(ClientOptions { url, token: None, patience: Duration::ZERO }).expect("is made");
        client.follow(follow, after)
    }

    fn event(seq: u64, board: &str) -> String {
        format!(r#"{{"seq":{seq},"type":"task.updated","board_id":"{board}","data":{{}}}}"#)
    }

    const ONE: &str = "00000000-0000-0000-0000-000000000001";
    const TWO: &str = "00000000-0000-0000-0000-000000000002";

    #[test]
    fn a_cursor_reads_itself_back() {
        for text in ["0", "118", "KAN:3,system:7"] {
            assert_eq!(Cursor::read(text).map(|cursor| cursor.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Cursor::read("KAN"), None);
        assert_eq!(Cursor::read("-1"), None);
    }

    #[test]
    fn a_seq_that_does_not_rise_is_an_error() {
        let mut events = events(Follow::Board("KAN".into()), Some(Cursor::Seq(4)));
        assert!(events.heard(&event(5, ONE)).is_ok());
        assert!(matches!(events.heard(&event(5, ONE)), Err(ClientError::Protocol(_))));
        assert!(events.heard(&event(9, ONE)).is_ok(), "a filter leaves holes");
        assert_eq!(events.cursor(), Some(&Cursor::Seq(9)));
    }

    #[test]
    fn a_live_board_gets_its_place_from_the_first_frame() {
        let mut events = events(Follow::Board("KAN".into()), None);
        let heard = events.heard(r#"{"type":"stream.ready","data":{"head_seq":40}}"#);
        assert!(matches!(heard, Ok(Heard::Ready { head: 40 })));
        assert_eq!(events.cursor(), Some(&Cursor::Seq(40)));
    }

    #[test]
    fn every_log_has_its_own_place() {
        let mut events = events(Follow::Everything, None);
        let ready = format!(r#"{{"type":"stream.ready","data":{{"cursor":"{ONE}:7,system:2"}}}}"#);
        assert!(events.heard(&ready).is_ok());
        assert!(events.heard(&event(8, ONE)).is_ok());
        assert!(events.heard(&event(1, TWO)).is_ok(), "a board made later begins at one");
        assert!(events.heard(r#"{"seq":3,"type":"daemon.started","data":{}}"#).is_ok());
        assert!(events.heard(&event(8, ONE)).is_err());
        assert_eq!(events.cursor().map(ToString::to_string), Some(format!("{ONE}:8,{TWO}:1,system:3")));
    }
}
