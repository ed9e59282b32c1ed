//! What the agent asked and waits for. Answered once: by a person, by a rule, or with "cancelled" when nobody does.

use std::sync::Weak;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::book::Shared;
use crate::peer::SendError;

/// Names one request of the agent for as long as it is open, across a restart of ours as well. An agent may use an id
/// again once it is answered, so the line that asked is part of the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplyId {
    /// The JSON-RPC id as the agent wrote it, type and all.
    pub rpc: String,
    /// The number of the line that asked.
    pub line: u64,
    pub ask: Ask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    Permission,
    Question,
}

impl Ask {
    pub fn method(self) -> &'static str {
        match self {
            Self::Permission => "session/request_permission",
            Self::Question => "elicitation/create",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The chosen option of a permission, by the agent's own id for it.
    Select(String),
    /// The filled form of a question; nothing for one that was a link.
    Accept(Option<Value>),
    /// A no to a question.
    Decline,
    /// Nobody decided: the turn was cancelled, the time is over, or there was nobody to ask.
    Cancelled,
}

impl Answer {
    pub(crate) fn result_for(&self, ask: Ask) -> Result<Value, AnswerError> {
        match (ask, self) {
            (Ask::Permission, Self::Select(id)) => Ok(json!({ "outcome": { "outcome": "selected", "optionId": id } })),
            (Ask::Permission, Self::Cancelled) => Ok(json!({ "outcome": { "outcome": "cancelled" } })),
            (Ask::Question, Self::Accept(None)) => Ok(json!({ "action": "accept" })),
            (Ask::Question, Self::Accept(Some(content))) => Ok(json!({ "action": "accept", "content": content })),
            (Ask::Question, Self::Decline) => Ok(json!({ "action": "decline" })),
            (Ask::Question, Self::Cancelled) => Ok(json!({ "action": "cancel" })),
            (Ask::Permission, Self::Accept(_) | Self::Decline) | (Ask::Question, Self::Select(_)) => {
                Err(AnswerError::WrongKind(ask))
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("the request is no longer open: it was answered, withdrawn, or its agent is gone")]
    NotOpen,
    #[error("that answer does not fit a {0:?}")]
    WrongKind(Ask),
    #[error(transparent)]
    Send(#[from] SendError),
}

/// The right to answer. Dropped without an answer it says "cancelled", so that no agent waits for ever because something
/// of ours went wrong. To leave a request open, across a restart say, [`keep_open`](Self::keep_open) its id and answer
/// later with [`Connection::answer`](crate::Connection::answer).
pub struct Reply {
    id: ReplyId,
    shared: Weak<Shared>,
    armed: bool,
}

impl Reply {
    pub(crate) fn new(id: ReplyId, shared: Weak<Shared>) -> Self {
        Self { id, shared, armed: true }
    }

    pub fn id(&self) -> &ReplyId {
        &self.id
    }

    /// False if it was answered at once (the turn is being cancelled) or meanwhile.
    pub fn is_open(&self) -> bool {
        self.shared.upgrade().is_some_and(|shared| shared.is_open(&self.id))
    }

    pub fn send(mut self, answer: &Answer) -> Result<(), AnswerError> {
        let shared = self.shared.upgrade().ok_or(AnswerError::NotOpen)?;
        let sent = shared.answer(&self.id, answer);
        // An answer of the wrong kind leaves the request open, and so the drop says "cancelled".
        self.armed = sent.is_err();
        sent
    }

    pub fn keep_open(mut self) -> ReplyId {
        self.armed = false;
        self.id.clone()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.armed
            && let Some(shared) = self.shared.upgrade()
        {
            // Not open any more is what one hopes for here.
            shared.answer(&self.id, &Answer::Cancelled).ok();
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reply").field(&self.id).finish()
    }
}
