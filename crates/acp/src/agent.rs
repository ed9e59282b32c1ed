//! What can be said to an agent that has a session: one prompt at a time, a cancel, its settings, and goodbye.

use std::io;
use std::sync::Arc;

use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::book::{Pending, Shared, Turn};
use crate::connect::{Deadlines, Offers};
use crate::envelope::Json;
use crate::incoming::{AgentMessage, During, Received};
use crate::lines::Incoming;
use crate::outgoing::{Outgoing, Outlet, Sent};
use crate::peer::{Connection, Messages, RequestError, SendError, Settings};
use crate::reply::{Answer, AnswerError, ReplyId};
use crate::schema::ContentBlock;

/// A session with an agent. Cheap to clone. The methods that do not wait may be called from the loop that takes
/// [`Messages`]; those that wait need somebody else to go on taking them.
#[derive(Clone)]
pub struct Agent {
    connection: Connection,
    session: Arc<str>,
    offers: Arc<Offers>,
    deadlines: Deadlines,
}

#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    #[error("turn {0} has not ended yet")]
    TurnRunning(String),
    #[error("the agent does not take {0} in a prompt")]
    NotOffered(&'static str),
    #[error(transparent)]
    Send(#[from] SendError),
}

/// The value of a configuration option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigValue {
    /// One of the values that were offered, by its id.
    Id(String),
    Switch(bool),
}

impl Agent {
    pub(crate) fn new(connection: Connection, session: Arc<str>, offers: Arc<Offers>, deadlines: Deadlines) -> Self {
        Self { connection, session, offers, deadlines }
    }

    /// Takes up a session where an earlier process of ours left it: the agent never noticed. `lines` go on after the last
    /// line that was folded into `state`; a line that is handed over once more is understood as it was the first time.
    pub fn resume<L, O>(
        state: AgentState,
        lines: L,
        outlet: O,
        settings: Settings,
        deadlines: Deadlines,
        tasks: &TaskTracker,
    ) -> (Self, Messages)
    where
        L: Stream<Item = io::Result<Vec<Incoming>>> + Send + Unpin + 'static,
        O: Outlet,
    {
        let session: Arc<str> = Arc::from(state.session.as_str());
        let offers = Arc::new(state.offers.clone());
        let settings = Settings { next_line: state.next_line, ..settings };
        let (connection, messages) =
            Connection::open_with(lines, outlet, settings, tasks, |shared| state.restore(shared));
        (Self::new(connection, session, offers, deadlines), messages)
    }

    pub fn session(&self) -> &str {
        &self.session
    }

    pub fn offers(&self) -> &Offers {
        &self.offers
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Queues a prompt and returns. `turn` names it, on the wire too, so it must never be used again; the end is told as
    /// [`AgentMessage::TurnEnded`] with that name, across restarts of ours as well.
    ///
    /// Refuses a second prompt while a turn runs: agents queue it, cancel the first, break, or never answer.
    pub fn prompt(&self, turn: &str, blocks: &[ContentBlock]) -> Result<(), PromptError> {
        if let Some(missing) = blocks.iter().find_map(|block| self.offers.refuses(block)) {
            return Err(PromptError::NotOffered(missing));
        }
        let shared = self.shared();
        let mut book = shared.book.lock();
        if let Some(turn) = &book.turn {
            return Err(PromptError::TurnRunning(turn.id.clone()));
        }
        let params = json!({ "sessionId": self.session, "prompt": blocks });
        shared.request_with(&mut book, Some(turn), "session/prompt", params, None)?;
        book.turn = Some(Turn { id: turn.to_owned(), cancelling: false });
        Ok(())
    }

    /// The turn that runs, by the name it was given.
    pub fn turn(&self) -> Option<String> {
        self.shared().book.lock().turn.as_ref().map(|turn| turn.id.clone())
    }

    /// Asks the agent to stop, and answers everything it has asked with "cancelled". The turn ends when the agent says so;
    /// what it asks until then is answered the same way. Harmless when no turn runs. Returns what was answered.
    pub fn cancel(&self) -> Result<Vec<ReplyId>, SendError> {
        let shared = self.shared();
        let mut book = shared.book.lock();
        shared.notify_with(&mut book, "session/cancel", json!({ "sessionId": self.session }))?;
        if let Some(turn) = &mut book.turn {
            turn.cancelling = true;
        }
        Ok(shared.cancel_open(&mut book))
    }

    /// Answers everything open with "cancelled" and says nothing else: for an agent that is about to be stopped.
    pub fn close_open(&self) -> Vec<ReplyId> {
        let shared = self.shared();
        let mut book = shared.book.lock();
        shared.cancel_open(&mut book)
    }

    /// Answers one request by its name. See [`Reply`](crate::Reply) for the other way.
    pub fn answer(&self, id: &ReplyId, answer: &Answer) -> Result<(), AnswerError> {
        self.shared().answer(id, answer)
    }

    pub async fn set_mode(&self, mode: &str) -> Result<(), RequestError> {
        let params = json!({ "sessionId": self.session, "modeId": mode });
        self.connection.request("session/set_mode", params, self.deadlines.set).await?;
        Ok(())
    }

    /// Returns the complete list of options afterwards, as the agent gives it: one option may change others.
    pub async fn set_config_option(&self, option: &str, value: &ConfigValue) -> Result<Json, RequestError> {
        let mut params = json!({ "sessionId": self.session, "configId": option });
        match value {
            ConfigValue::Id(id) => params["value"] = Value::from(id.as_str()),
            ConfigValue::Switch(on) => {
                params["type"] = Value::from("boolean");
                params["value"] = Value::from(*on);
            }
        }
        self.connection.request("session/set_config_option", params, self.deadlines.set).await
    }

    /// Ends the session if the agent has a way to; the process is somebody else's to stop. `false` if it has none.
    pub async fn close(&self) -> Result<bool, RequestError> {
        if !self.offers.close {
            return Ok(false);
        }
        let params = json!({ "sessionId": self.session });
        self.connection.request("session/close", params, self.deadlines.close).await?;
        Ok(true)
    }

    fn shared(&self) -> &Shared {
        &self.connection.shared
    }
}

/// All that has to survive a restart of ours while an agent runs on. It is folded from the lines by whoever stores them, in
/// the same step, so that it always fits what is stored, whatever the connection had read ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    pub session: String,
    pub offers: Offers,
    /// The number of the next line to the agent.
    pub next_line: u64,
    /// The prompt whose answer is outstanding.
    pub turn: Option<String>,
    pub cancelling: bool,
    /// What the agent asked and waits for.
    pub open: Vec<ReplyId>,
    /// Answered by a line that was kept before the line that asked was.
    pub answered_early: Vec<ReplyId>,
    /// The last line whose request was refused.
    pub refused: u64,
}

impl AgentState {
    /// Folds in a line to the agent; call it where the line is kept.
    pub fn sent(&mut self, line: &Outgoing) {
        self.next_line = line.number + 1;
        match &line.what {
            Sent::Request { method: "session/prompt", id } => {
                self.turn = Some(id.clone());
                self.cancelling = false;
            }
            Sent::Notification { method: "session/cancel" } => self.cancelling = self.turn.is_some(),
            Sent::Answer { to } => match self.open.iter().position(|open| open == to) {
                Some(at) => drop(self.open.remove(at)),
                None => self.answered_early.push(to.clone()),
            },
            Sent::Error { line, .. } => self.refused = self.refused.max(*line),
            Sent::Request { .. } | Sent::Notification { .. } => {}
        }
    }

    /// Folds in a line of the agent; call it where the line is stored.
    pub fn received(&mut self, line: &Received) {
        match &line.message {
            AgentMessage::PermissionAsked(asked) => self.asked(asked.reply.id()),
            AgentMessage::QuestionAsked(asked) => self.asked(asked.reply.id()),
            AgentMessage::RequestWithdrawn(id) => self.open.retain(|open| open != &**id),
            AgentMessage::TurnEnded(ended) => self.ended(&ended.turn),
            AgentMessage::LegacyChunk(chunk) => {
                if let Some(ended) = &chunk.turn_ended {
                    self.ended(&ended.turn);
                }
            }
            AgentMessage::Closed(_) => {
                self.turn = None;
                self.cancelling = false;
                self.open.clear();
            }
            AgentMessage::Update(_)
            | AgentMessage::RequestRefused { .. }
            | AgentMessage::RequestRepeated { .. }
            | AgentMessage::Notification { .. }
            | AgentMessage::Answered { .. }
            | AgentMessage::StrayAnswer { .. }
            | AgentMessage::Noise(_) => {}
        }
    }

    fn asked(&mut self, id: &ReplyId) {
        match self.answered_early.iter().position(|early| early == id) {
            Some(at) => drop(self.answered_early.remove(at)),
            None => self.open.push(id.clone()),
        }
    }

    fn ended(&mut self, turn: &str) {
        if self.turn.as_deref() == Some(turn) {
            self.turn = None;
            self.cancelling = false;
        }
    }

    pub fn during(&self) -> During {
        match (&self.turn, self.cancelling) {
            (None, _) => During::Idle,
            (Some(_), true) => During::Cancelling,
            (Some(_), false) => During::Turn,
        }
    }

    fn restore(self, shared: &Shared) {
        let mut book = shared.book.lock();
        book.session = Some(Arc::from(self.session));
        book.open = self.open.into_iter().map(|id| (id.rpc.clone(), id)).collect();
        book.answered = self.answered_early.into_iter().collect();
        book.refused = self.refused;
        if let Some(id) = self.turn {
            book.pending.insert(id.clone(), Pending { method: "session/prompt", waiter: None });
            book.turn = Some(Turn { id, cancelling: self.cancelling });
        }
    }
}
