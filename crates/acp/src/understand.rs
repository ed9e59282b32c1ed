//! From a line to its meaning. Every line has one; nothing here can fail.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::book::{Book, Pending, Refusal, Shared, Turn};
use crate::envelope::{self, AgentError, Envelope, INVALID_PARAMS, Json, METHOD_NOT_FOUND, Noise, object, text};
use crate::incoming::{
    AgentMessage, LegacyChunk, Params, PermissionAsked, Question, QuestionAsked, StopReason, TurnEnd, TurnEnded,
    Update, UpdateHead, UpdateKind,
};
use crate::lines::Incoming;
use crate::permission;
use crate::reply::{Answer, Ask, Reply};

/// Someone whose answer this line is. Told after the line itself has been handed on.
pub(crate) type Waiter = Option<(Pending, Result<Json, AgentError>)>;

pub(crate) struct Reader {
    pub shared: Arc<Shared>,
    /// The session most lines are about, so that they share its name.
    session: Arc<str>,
}

impl Reader {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, session: Arc::from("") }
    }

    pub fn understand(&mut self, line: &Incoming) -> (AgentMessage, Waiter) {
        if line.cut.is_some() {
            return (AgentMessage::Noise(Noise::Oversize), None);
        }
        match envelope::read(&line.bytes) {
            Err(noise) => (AgentMessage::Noise(noise), None),
            Ok(Envelope::Notification { method, params }) => (self.notification(line, &method, params), None),
            Ok(Envelope::Request { id, method, params }) => (self.request(line, id, &method, params), None),
            Ok(Envelope::Response { id, outcome }) => self.response(&line.bytes, id, outcome),
        }
    }

    fn notification(&mut self, incoming: &Incoming, method: &str, raw: Option<&RawValue>) -> AgentMessage {
        let line = &incoming.bytes;
        let params = raw.and_then(|raw| object::<Params<'_>>(raw.get().as_bytes()));
        let known = match (method, params) {
            ("session/update", Some(params)) => self.update(line, &params),
            ("$/cancel_request", Some(Params { request: Some(id), .. })) => {
                let mut book = self.shared.book.lock();
                self.shared
                    .withdraw(&mut book, incoming.number, id.get())
                    .map(|id| AgentMessage::RequestWithdrawn(Box::new(id)))
            }
            _ => None,
        };
        known.unwrap_or_else(|| AgentMessage::Notification {
            method: method.into(),
            params: raw.map(|raw| Json::part_of(line, raw)),
        })
    }

    fn update(&mut self, line: &Bytes, params: &Params<'_>) -> Option<AgentMessage> {
        let session = params.session.and_then(text).map(|session| self.intern(&session));
        if let Some(update) = params.update {
            let head: UpdateHead<'_> = object(update.get().as_bytes())?;
            let session = session?;
            let (during, stray) = self.now(&session);
            let kind = UpdateKind::from(&*head.kind.0);
            let update = Json::part_of(line, update);
            return Some(AgentMessage::Update(Update { session, stray, during, kind, update }));
        }
        let content = params.content?;
        let stop_reason = params.stop_reason.and_then(text).map(|reason| StopReason::from(&*reason));
        let mut book = self.shared.book.lock();
        let during = book.during();
        let hint = stop_reason.as_ref().filter(|_| self.shared.settings.legacy_turn_end);
        let turn_ended = hint.and_then(|reason| {
            let turn = book.turn.take()?;
            book.pending.remove(&turn.id);
            Some(Box::new(self.ended(&mut book, turn, TurnEnd::Stopped(reason.clone()), None)))
        });
        drop(book);
        let content = Json::part_of(line, content);
        Some(AgentMessage::LegacyChunk(Box::new(LegacyChunk { session, during, content, stop_reason, turn_ended })))
    }

    fn request(&mut self, line: &Incoming, id: &RawValue, method: &str, raw: Option<&RawValue>) -> AgentMessage {
        // The same line once more, after a restart, is not a second request.
        if self.shared.book.lock().open.get(id.get()).is_some_and(|open| open.line != line.number) {
            return AgentMessage::RequestRepeated { method: method.into() };
        }
        let params = raw.and_then(|raw| object::<Params<'_>>(raw.get().as_bytes()));
        let (code, why) = match (method, params) {
            ("session/request_permission", Some(params)) => match self.permission(line, id, &params) {
                Ok(asked) => return asked,
                Err(why) => (INVALID_PARAMS, why),
            },
            ("elicitation/create", Some(params)) => match self.question(line, id, &params) {
                Ok(asked) => return asked,
                Err(why) => (INVALID_PARAMS, why),
            },
            ("session/request_permission" | "elicitation/create", None) => (INVALID_PARAMS, "params cannot be read"),
            // fs/* and terminal/* as well: they were not offered, because the agent has its own where it runs.
            _ => (METHOD_NOT_FOUND, "not offered by this client"),
        };
        self.shared.refuse(&mut self.shared.book.lock(), line.number, id, Refusal { method, code, why });
        AgentMessage::RequestRefused { method: method.into(), code, why }
    }

    fn permission(
        &mut self,
        line: &Incoming,
        id: &RawValue,
        params: &Params<'_>,
    ) -> Result<AgentMessage, &'static str> {
        let session = params.session.and_then(text).ok_or("no sessionId")?;
        let session = self.intern(&session);
        let (_, stray) = self.now(&session);
        let reply = self.open(line, id, Ask::Permission)?;
        Ok(AgentMessage::PermissionAsked(Box::new(PermissionAsked {
            session,
            stray,
            tool_call: params.tool_call.map(|tool_call| Json::part_of(&line.bytes, tool_call)),
            options: params.options.map(|options| permission::options(options.get())).unwrap_or_default(),
            reply,
        })))
    }

    fn question(&mut self, line: &Incoming, id: &RawValue, params: &Params<'_>) -> Result<AgentMessage, &'static str> {
        let session = params.session.and_then(text).map(|session| self.intern(&session));
        let stray = session.as_ref().is_some_and(|session| self.now(session).1);
        let question = match (params.mode.and_then(text).as_deref(), params.schema, params.url.and_then(text)) {
            (Some("form") | None, Some(schema), _) => Question::Form { schema: Json::part_of(&line.bytes, schema) },
            (Some("url") | None, _, Some(url)) => Question::Link {
                url: url.into_owned(),
                elicitation: params.elicitation.and_then(text).map(Cow::into_owned),
            },
            _ => return Err("neither a form nor a url"),
        };
        let message = params.message.and_then(text).map(Cow::into_owned).unwrap_or_default();
        let reply = self.open(line, id, Ask::Question)?;
        Ok(AgentMessage::QuestionAsked(Box::new(QuestionAsked { session, stray, message, question, reply })))
    }

    fn open(&self, line: &Incoming, id: &RawValue, ask: Ask) -> Result<Reply, &'static str> {
        let mut book = self.shared.book.lock();
        let opened =
            self.shared.opened(&mut book, id.get(), line.number, ask).map_err(|()| "too many open requests")?;
        let cancelling = book.turn.as_ref().is_some_and(|turn| turn.cancelling);
        drop(book);
        if cancelling {
            // It was asked while our cancel was on its way.
            self.shared.answer(&opened, &Answer::Cancelled).ok();
        }
        Ok(Reply::new(opened, Arc::downgrade(&self.shared)))
    }

    fn response(
        &mut self,
        line: &Bytes,
        id: &RawValue,
        outcome: Result<&RawValue, &RawValue>,
    ) -> (AgentMessage, Waiter) {
        let mut book = self.shared.book.lock();
        let pending = text(id).and_then(|id| book.pending.remove(&*id).map(|pending| (id.into_owned(), pending)));
        let Some((id, pending)) = pending else {
            return (AgentMessage::StrayAnswer { id: id.get().into() }, None);
        };
        let outcome = match outcome {
            Ok(result) => Ok(Json::part_of(line, result)),
            Err(error) => Err(AgentError::read(line, error)),
        };
        if pending.method == "session/prompt" {
            let Some(turn) = book.turn.take_if(|turn| turn.id == id) else {
                // Ended already, by the hint of an agent of the older shape.
                return (AgentMessage::StrayAnswer { id: id.into() }, None);
            };
            let (end, result) = turn_end(outcome);
            return (AgentMessage::TurnEnded(Box::new(self.ended(&mut book, turn, end, result))), None);
        }
        self.opened_session(&mut book, pending.method, &outcome);
        let message =
            AgentMessage::Answered { method: pending.method, id: id.into(), outcome: Box::new(outcome.clone()) };
        (message, Some((pending, outcome)))
    }

    /// The session is known from the very line that names it, so that the next line is not taken for a stray one.
    fn opened_session(&self, book: &mut Book, method: &str, outcome: &Result<Json, AgentError>) {
        match method {
            "session/new" => {
                let result = outcome.as_ref().ok().and_then(|result| {
                    let params: Params<'_> = object(result.as_bytes())?;
                    text(params.session?).map(|session| Arc::from(&*session))
                });
                if result.is_some() {
                    book.session = result;
                }
            }
            "session/load" => book.loading = false,
            _ => {}
        }
    }

    fn ended(&self, book: &mut Book, turn: Turn, end: TurnEnd, result: Option<Json>) -> TurnEnded {
        // What it asked in this turn and did not wait for has to be answered all the same.
        TurnEnded { turn: turn.id, end, result, withdrawn: self.shared.cancel_open(book) }
    }

    fn now(&self, session: &Arc<str>) -> (crate::incoming::During, bool) {
        let book = self.shared.book.lock();
        (book.during(), book.session.as_ref().is_some_and(|ours| ours != session))
    }

    fn intern(&mut self, session: &str) -> Arc<str> {
        if &*self.session != session {
            self.session = Arc::from(session);
        }
        self.session.clone()
    }
}

fn turn_end(outcome: Result<Json, AgentError>) -> (TurnEnd, Option<Json>) {
    let result = match outcome {
        Err(error) if error.auth_required() => return (TurnEnd::AuthRequired(error), None),
        Err(error) => return (TurnEnd::Failed(error), None),
        Ok(result) => result,
    };
    let reason = object::<Params<'_>>(result.as_bytes()).and_then(|result| {
        let reason = result.stop_reason?;
        text(reason).map(|reason| StopReason::from(&*reason))
    });
    (reason.map_or(TurnEnd::Unreadable, TurnEnd::Stopped), Some(result))
}
