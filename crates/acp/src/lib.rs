//! JSON-RPC 2.0 over lines of bytes, and the client's side of the Agent Client Protocol on top of it. Knows nothing of
//! tasks, databases or containers: lines come in, lines go out, and every line that came in becomes exactly one [`Received`].
//!
//! Raw first: a line is kept as the bytes the agent wrote, an envelope is borrowed from it, and types are read from that
//! afterwards. What this version of the protocol does not know (an update, a stop reason, an option kind, an error code) is
//! handed on as unknown; it never ends anything.
//!
//! [`Connection::open`] starts the two tasks, [`Connection::connect`] shakes hands and opens a session, [`Agent`] is what is
//! said to the agent afterwards, [`Messages`] is what it says.

pub mod agent;
pub mod connect;
pub mod envelope;
pub mod incoming;
pub mod lines;
pub mod outgoing;
pub mod peer;
pub mod permission;
pub mod reply;

mod book;
mod understand;

pub use agent::{Agent, AgentState, ConfigValue, PromptError};
pub use connect::{ConnectError, ConnectOptions, Connected, Deadlines, Offers, SessionHow, SessionStart, Step};
pub use envelope::{AgentError, Json, Noise};
pub use incoming::{
    AgentMessage, CloseReason, Closed, During, LegacyChunk, PermissionAsked, Question, QuestionAsked, Received,
    StopReason, TurnEnd, TurnEnded, Update, UpdateKind,
};
pub use lines::{Cut, Incoming, MAX_LINE, Splitter, read_lines};
pub use outgoing::{Outgoing, Outlet, Refused, Sent, WriteTo};
pub use peer::{Connection, Messages, RequestError, SendError, Settings};
pub use permission::{Choice, OptionKind, PermissionOption, allow_once, reject};
pub use reply::{Answer, AnswerError, Ask, Reply, ReplyId};

/// The protocol's own types, for building prompts and reading updates.
pub use agent_client_protocol_schema::v1 as schema;
