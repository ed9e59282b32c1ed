//! An agent that says exactly what a test tells it to, and lines retold in a few words.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kanvoy_acp::*;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio_util::task::TaskTracker;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The agent's side, in the hands of a test.
pub struct Script {
    reader: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    writer: WriteHalf<DuplexStream>,
}

/// What happened to lines to the agent, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    Kept(Outgoing),
    Written(u64),
}

pub type Log = Arc<Mutex<Vec<Did>>>;

/// Writes like [`WriteTo`] and notes what it was asked to do.
pub struct Noted {
    pub inner: WriteTo<WriteHalf<DuplexStream>>,
    pub log: Log,
    /// Keeping this line fails.
    pub fail_at: Option<u64>,
}

#[async_trait]
impl Outlet for Noted {
    async fn keep(&mut self, line: &Outgoing) -> Result<(), Refused> {
        if self.fail_at == Some(line.number) {
            return Err(Refused("the disk is full".to_owned()));
        }
        self.log.lock().unwrap().push(Did::Kept(line.clone()));
        Ok(())
    }

    async fn write(&mut self, line: &Outgoing) -> io::Result<()> {
        self.inner.write(line).await?;
        self.log.lock().unwrap().push(Did::Written(line.number));
        Ok(())
    }

    async fn end(&mut self) {
        self.inner.end().await;
    }
}

pub struct Ends {
    pub read: ReadHalf<DuplexStream>,
    pub write: WriteHalf<DuplexStream>,
    pub script: Script,
}

pub fn ends(buffer: usize) -> Ends {
    let (ours, theirs) = tokio::io::duplex(buffer);
    let (read, write) = tokio::io::split(ours);
    let (agent_reads, agent_writes) = tokio::io::split(theirs);
    Ends { read, write, script: Script { reader: BufReader::new(agent_reads).lines(), writer: agent_writes } }
}

pub fn open(settings: Settings) -> (Connection, Messages, Script, Log) {
    let Ends { read, write, script } = ends(64 << 10);
    let log = Log::default();
    let outlet = Noted { inner: WriteTo(write), log: log.clone(), fail_at: None };
    let (connection, messages) = Connection::open(read_lines(read, MAX_LINE), outlet, settings, &TaskTracker::new());
    (connection, messages, script, log)
}

impl Script {
    pub async fn line(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(PATIENCE, self.reader.next_line()).await.expect("nothing was said");
        line.unwrap().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// The next line, which must be of this method.
    pub async fn expect(&mut self, method: &str) -> Value {
        let line = self.line().await.expect("the client went away");
        assert_eq!(line["method"], method, "{line}");
        line
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
    }

    pub async fn say(&mut self, line: impl std::fmt::Display) {
        self.raw(format!("{line}\n").as_bytes()).await;
    }

    pub async fn answer(&mut self, to: &Value, result: Value) {
        self.say(json!({ "jsonrpc": "2.0", "id": to["id"], "result": result })).await;
    }

    pub async fn update(&mut self, update: Value) {
        let params = json!({ "sessionId": "s1", "update": update });
        self.say(json!({ "jsonrpc": "2.0", "method": "session/update", "params": params })).await;
    }

    pub async fn ask_permission(&mut self, id: Value, options: Value) {
        let params =
            json!({ "sessionId": "s1", "toolCall": { "toolCallId": "t1", "title": "Go" }, "options": options });
        self.say(json!({ "jsonrpc": "2.0", "id": id, "method": "session/request_permission", "params": params })).await;
    }

    /// Shakes hands and opens the session `s1`.
    pub async fn welcome(&mut self, capabilities: Value) {
        let hello = self.expect("initialize").await;
        self.answer(&hello, json!({ "protocolVersion": 1, "agentCapabilities": capabilities })).await;
        let new = self.expect("session/new").await;
        self.answer(&new, json!({ "sessionId": "s1" })).await;
    }

    pub async fn close(mut self) {
        self.writer.shutdown().await.unwrap();
    }
}

/// A session with a scripted agent, past the handshake.
pub async fn session(settings: Settings) -> (Agent, Messages, Script, Log) {
    let (connection, mut messages, mut script, log) = open(settings);
    let options = ConnectOptions::new("/work");
    let (connected, ()) = tokio::join!(connection.connect(&options), script.welcome(json!({})));
    let agent = connected.unwrap_or_else(|error| panic!("{error}")).agent;
    for _ in 0..2 {
        assert!(matches!(next(&mut messages).await.message, AgentMessage::Answered { .. }));
    }
    (agent, messages, script, log)
}

pub async fn next(messages: &mut Messages) -> Received {
    let received = tokio::time::timeout(PATIENCE, messages.recv()).await.expect("nothing was received");
    received.expect("the connection ended without saying so")
}

pub fn text(text: &str) -> Vec<schema::ContentBlock> {
    vec![schema::ContentBlock::from(text.to_owned())]
}

pub fn select(id: &str) -> Answer {
    Answer::Select(id.to_owned())
}

/// A line in a few words.
pub fn retell(received: &Received) -> String {
    let field = |json: &Json, pointer: &str| {
        let value: Value = json.parse().unwrap();
        value
            .pointer(pointer)
            .map_or_else(|| "?".to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
    };
    match &received.message {
        AgentMessage::Update(update) => {
            let stray = if update.stray { " stray" } else { "" };
            let during = match update.during {
                During::Turn => String::new(),
                other => format!(" {other:?}"),
            };
            let what = match update.kind {
                UpdateKind::AgentMessageChunk | UpdateKind::AgentThoughtChunk | UpdateKind::UserMessageChunk => {
                    field(&update.update, "/content/text").trim_end().to_owned()
                }
                UpdateKind::ToolCall | UpdateKind::ToolCallUpdate => {
                    format!("{} {}", field(&update.update, "/toolCallId"), field(&update.update, "/status"))
                }
                _ if update.typed().is_some() => String::new(),
                _ => "untyped".to_owned(),
            };
            let words = format!("{} {what}{during}{stray}", update.kind.as_str());
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        }
        AgentMessage::LegacyChunk(chunk) => {
            let blocks: Vec<String> = chunk.blocks().iter().map(|block| field(block, "/text")).collect();
            let reason = chunk.stop_reason.as_ref().map_or("", StopReason::as_str);
            let ended = chunk.turn_ended.as_ref().map_or(String::new(), |ended| format!(" ended {}", ended.turn));
            format!("legacy {} {reason}{ended}", blocks.join("+")).trim_end().to_owned()
        }
        AgentMessage::PermissionAsked(asked) => {
            let options: Vec<String> = asked.options.iter().map(|o| format!("{}={}", o.id, o.kind.as_str())).collect();
            format!("asks permission [{}]", options.join(" "))
        }
        AgentMessage::QuestionAsked(asked) => match &asked.question {
            Question::Form { .. } => format!("asks form {}", asked.message),
            Question::Link { url, .. } => format!("asks link {url} {}", asked.message),
        },
        AgentMessage::RequestWithdrawn(id) => format!("withdraws {}", id.rpc),
        AgentMessage::RequestRefused { method, code, .. } => format!("refused {method} {code}"),
        AgentMessage::RequestRepeated { method } => format!("repeated {method}"),
        AgentMessage::Notification { method, .. } => format!("notifies {method}"),
        AgentMessage::Answered { method, outcome, .. } => match &**outcome {
            Ok(_) => format!("answered {method}"),
            Err(error) => format!("answered {method} {error}"),
        },
        AgentMessage::TurnEnded(ended) => {
            let end = match &ended.end {
                TurnEnd::Stopped(reason) => reason.as_str().to_owned(),
                TurnEnd::AuthRequired(_) => "login needed".to_owned(),
                TurnEnd::Failed(error) => format!("failed {error}"),
                TurnEnd::Unreadable => "unreadable".to_owned(),
            };
            format!("ended {} {end} {}", ended.turn, if ended.withdrawn.is_empty() { "" } else { "withdrawn" })
                .trim_end()
                .to_owned()
        }
        AgentMessage::StrayAnswer { id } => format!("stray {id}"),
        AgentMessage::Noise(noise) => format!("noise {}", noise.as_str()),
        AgentMessage::Closed(closed) => {
            format!("closed {:?} {} open {}", closed.why, closed.turn.as_deref().unwrap_or("-"), closed.open.len())
        }
    }
}
