//! What the agent said, one value a line: the line itself and what it means.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::{AgentError, Json, Noise};
use crate::lines::Cut;
use crate::permission::PermissionOption;
use crate::reply::{Reply, ReplyId};
use crate::schema::SessionUpdate;

/// One line of the agent. There is exactly one for every line, in the order of the lines.
#[derive(Debug)]
pub struct Received {
    /// The number of the line; of the last one for [`AgentMessage::Closed`], which is no line.
    pub number: u64,
    /// The line as the agent wrote it, without its newline.
    pub raw: Bytes,
    /// Set when `raw` is only the beginning of a line that was too long.
    pub cut: Option<Box<Cut>>,
    pub message: AgentMessage,
}

/// Everything a line can mean. Large variants are boxed, because most lines are updates.
#[derive(Debug)]
pub enum AgentMessage {
    Update(Update),
    /// `session/update` in the older flat shape.
    LegacyChunk(Box<LegacyChunk>),
    PermissionAsked(Box<PermissionAsked>),
    QuestionAsked(Box<QuestionAsked>),
    /// The agent no longer wants an answer to this. It has been told that the request is over.
    RequestWithdrawn(Box<ReplyId>),
    /// A request that has been answered with an error already: a method we do not offer, or one we could not read.
    RequestRefused {
        method: Box<str>,
        code: i64,
        why: &'static str,
    },
    /// A request with the id of one that is still open. It has no answer of its own: the two cannot be told apart.
    RequestRepeated {
        method: Box<str>,
    },
    Notification {
        method: Box<str>,
        params: Option<Json>,
    },
    /// The answer to something other than a prompt. Whoever awaits it gets it as well.
    Answered {
        method: &'static str,
        id: Box<str>,
        outcome: Box<Result<Json, AgentError>>,
    },
    TurnEnded(Box<TurnEnded>),
    /// An answer nobody waits for: a second one, a late one, or one to a request we never made.
    StrayAnswer {
        id: Box<str>,
    },
    Noise(Noise),
    /// The last value. Nothing follows, and nothing can be sent.
    Closed(Box<Closed>),
}

impl Received {
    /// The method of the line, or of the request it answers. Noise has none.
    pub fn method(&self) -> Option<&str> {
        match &self.message {
            AgentMessage::Update(_) | AgentMessage::LegacyChunk(_) => Some("session/update"),
            AgentMessage::PermissionAsked(_) => Some("session/request_permission"),
            AgentMessage::QuestionAsked(_) => Some("elicitation/create"),
            AgentMessage::RequestWithdrawn(_) => Some("$/cancel_request"),
            AgentMessage::RequestRefused { method, .. }
            | AgentMessage::RequestRepeated { method }
            | AgentMessage::Notification { method, .. } => Some(method),
            AgentMessage::Answered { method, .. } => Some(method),
            AgentMessage::TurnEnded(_) => Some("session/prompt"),
            AgentMessage::StrayAnswer { .. } | AgentMessage::Noise(_) | AgentMessage::Closed(_) => None,
        }
    }

    /// Which kind of update the line is, if it is one.
    pub fn update_kind(&self) -> Option<&str> {
        match &self.message {
            AgentMessage::Update(update) => Some(update.kind.as_str()),
            AgentMessage::LegacyChunk(_) => Some("agent_message_chunk"),
            _ => None,
        }
    }
}

/// A `session/update`. Its kind and session are read; the rest is a piece of the line until somebody wants its type.
#[derive(Debug)]
pub struct Update {
    pub session: Arc<str>,
    /// The session is not the one we opened.
    pub stray: bool,
    pub during: During,
    pub kind: UpdateKind,
    /// The object below `params.update`.
    pub update: Json,
}

impl Update {
    /// The update as the protocol's own type; `None` for what that version of the protocol does not know. The raw piece
    /// stands either way.
    pub fn typed(&self) -> Option<SessionUpdate> {
        self.update.parse()
    }
}

/// What we were doing when the line arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// Before a session was opened.
    Connecting,
    /// While an earlier session is loaded: history again, not news.
    Replay,
    Turn,
    /// A turn that has been cancelled and has not ended.
    Cancelling,
    /// Between turns.
    Idle,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($variant,)*
            /// A word of another version of the protocol, kept as it came.
            Other(Box<str>),
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    _ => Self::Other(word.into()),
                }
            }
        }
    };
}

words! {
    UpdateKind {
        UserMessageChunk = "user_message_chunk",
        AgentMessageChunk = "agent_message_chunk",
        AgentThoughtChunk = "agent_thought_chunk",
        ToolCall = "tool_call",
        ToolCallUpdate = "tool_call_update",
        Plan = "plan",
        AvailableCommandsUpdate = "available_commands_update",
        CurrentModeUpdate = "current_mode_update",
        ConfigOptionUpdate = "config_option_update",
        SessionInfoUpdate = "session_info_update",
        UsageUpdate = "usage_update",
        Notice = "notice",
        CompactionUpdate = "compaction_update",
        CompactionSummaryChunk = "compaction_summary_chunk",
    }
}

words! {
    StopReason {
        EndTurn = "end_turn",
        MaxTokens = "max_tokens",
        MaxTurnRequests = "max_turn_requests",
        Refusal = "refusal",
        Cancelled = "cancelled",
    }
}

/// The flat shape of an older design: content, and sometimes the stop reason, directly below `params`.
#[derive(Debug)]
pub struct LegacyChunk {
    pub session: Option<Arc<str>>,
    pub during: During,
    /// One block or a list of them.
    pub content: Json,
    /// A hint: the turn ends with the answer to its prompt. For an agent that never gives one, see
    /// [`Settings::legacy_turn_end`](crate::Settings::legacy_turn_end).
    pub stop_reason: Option<StopReason>,
    /// With that setting and a stop reason: the turn that ended with this line.
    pub turn_ended: Option<Box<TurnEnded>>,
}

impl LegacyChunk {
    /// The blocks, each a message chunk of its own.
    pub fn blocks(&self) -> Vec<Json> {
        let blocks = serde_json::from_slice::<Vec<&RawValue>>(self.content.as_bytes());
        match blocks {
            Ok(blocks) => blocks.into_iter().map(|block| Json::part_of(self.content.as_bytes(), block)).collect(),
            Err(_) => vec![self.content.clone()],
        }
    }
}

#[derive(Debug)]
pub struct PermissionAsked {
    pub session: Arc<str>,
    pub stray: bool,
    /// The tool call as far as the agent tells: an upsert by `toolCallId`, and with some agents the only announcement.
    pub tool_call: Option<Json>,
    /// As far as they can be read, in the agent's order. With none, all that is left is to cancel.
    pub options: Vec<PermissionOption>,
    pub reply: Reply,
}

#[derive(Debug)]
pub struct QuestionAsked {
    /// None when the question belongs to a request of ours and not to a session.
    pub session: Option<Arc<str>>,
    pub stray: bool,
    pub message: String,
    pub question: Question,
    pub reply: Reply,
}

#[derive(Debug)]
pub enum Question {
    /// A form, described by the agent's restricted JSON schema.
    Form { schema: Json },
    /// Something to be done on a page elsewhere.
    Link { url: String, elicitation: Option<String> },
}

/// A turn is over. It happens once for every prompt that was sent, unless [`Closed`] names the turn instead.
#[derive(Debug)]
pub struct TurnEnded {
    pub turn: String,
    pub end: TurnEnd,
    /// The result as the agent gave it; some put usage into it.
    pub result: Option<Json>,
    /// What it had asked and never waited for. The answer to each was "cancelled".
    pub withdrawn: Vec<ReplyId>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum TurnEnd {
    Stopped(StopReason),
    /// The agent wants a login; some only notice when they are prompted.
    AuthRequired(AgentError),
    Failed(AgentError),
    /// Answered, but without a stop reason.
    Unreadable,
}

#[derive(Debug)]
pub struct Closed {
    pub why: CloseReason,
    /// The turn that was running. It is lost: nothing else will be heard of it here.
    pub turn: Option<String>,
    /// What was asked and not answered, and now cannot be.
    pub open: Vec<ReplyId>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("the agent closed its output")]
    Eof,
    #[error("its output could not be read: {0}")]
    Read(String),
    #[error("its input could not be written: {0}")]
    Write(String),
    #[error("it did not take a line within {0:?}")]
    Deaf(std::time::Duration),
    #[error("a line to it could not be kept, so it was not sent: {0}")]
    NotKept(String),
}

/// What of `params` every reader here needs. Members of the wrong type must not hide the line, so all of them are raw.
#[derive(Deserialize)]
pub(crate) struct Params<'a> {
    #[serde(borrow, default, rename = "sessionId")]
    pub session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub update: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub content: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "stopReason")]
    pub stop_reason: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "toolCall")]
    pub tool_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub mode: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestedSchema")]
    pub schema: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub url: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "elicitationId")]
    pub elicitation: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestId")]
    pub request: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(crate) struct UpdateHead<'a> {
    #[serde(borrow, rename = "sessionUpdate")]
    pub kind: Word<'a>,
}

/// A string that is borrowed where it can be.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Word<'a>(#[serde(borrow)] pub Cow<'a, str>);
