//! What the client may ask: the handshake, sessions, settings, and prompts, which get a thread of their own.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use agent_client_protocol_schema::ProtocolVersion;
use agent_client_protocol_schema::v1::{
    AgentCapabilities, AuthMethod, AuthMethodAgent, ContentBlock, Implementation, InitializeRequest,
    InitializeResponse, PromptCapabilities, PromptRequest, SessionCapabilities, SessionCloseCapabilities,
    SessionConfigOption, SessionConfigSelectOption, SessionMode, SessionModeState, SessionResumeCapabilities,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::ledger::Direction;
use crate::sessions::{Session, Sessions};
use crate::turn::{self, Asked};
use crate::wire::{Gone, Wire};
use crate::{AuthAt, Ending, Settings};

const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const AUTH_REQUIRED: i32 = -32000;
const NOT_FOUND: i32 = -32002;

pub(crate) const MODES: [(&str, &str); 2] = [("build", "Build"), ("plan", "Plan only")];
const MODELS: [(&str, &str); 2] = [("demo-small", "Demo, small"), ("demo-large", "Demo, large")];

pub struct Desk {
    wire: Arc<Wire>,
    settings: Arc<Settings>,
    end: SyncSender<Ending>,
    room: Arc<Mutex<Room>>,
}

/// What requests and turns share.
#[derive(Default)]
pub(crate) struct Room {
    pub sessions: Sessions,
    pub open: Vec<Session>,
    initialized: bool,
    logged_in: bool,
    asks: Asked,
    busy: bool,
}

struct Refusal(i32, String);

fn refusal<T>(code: i32, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(code, message.into()))
}

impl Desk {
    pub fn new(wire: Arc<Wire>, settings: Settings, end: SyncSender<Ending>) -> Self {
        let room = Room { sessions: Sessions::below(settings.home.clone()), ..Room::default() };
        Self { wire, settings: Arc::new(settings), end, room: Arc::new(Mutex::new(room)) }
    }

    /// Until the input ends, or nobody reads the output.
    pub fn read(&self, input: impl Read) {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if line.ends_with(b"\n") {
                line.pop();
            }
            let noted = self.wire.note(Direction::In, [&line[..]]).is_ok();
            if !noted || (!self.settings.never_initialize && self.take(&line).is_err()) {
                return;
            }
            line.clear();
        }
    }

    fn take(&self, line: &[u8]) -> Result<(), Gone> {
        // What cannot be read is ignored, as most agents do.
        let Ok(message) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
        let params = &message["params"];
        match (message["method"].as_str(), message.get("id")) {
            (Some("session/cancel"), None) => self.wire.cancel(),
            (Some(_), None) => {}
            (Some("session/prompt"), Some(id)) => match self.prompt(id, params) {
                Ok(()) => {}
                Err(Refusal(code, text)) => self.wire.fail(id, code, &text)?,
            },
            (Some(method), Some(id)) => match self.request(method, params)? {
                Ok(result) => self.wire.answer(id, result)?,
                Err(Refusal(code, text)) => self.wire.fail(id, code, &text)?,
            },
            (None, Some(id)) => {
                if let Some(id) = id.as_u64() {
                    self.wire.answered(id, message.clone());
                }
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn request(&self, method: &str, params: &Value) -> Result<Result<Value, Refusal>, Gone> {
        let room = &mut *self.room.lock();
        if method != "initialize" && !room.initialized {
            return Ok(refusal(INVALID_REQUEST, "initialize comes first"));
        }
        Ok(match method {
            "initialize" => self.initialize(room, params),
            "authenticate" if params["methodId"] == "demo-login" => {
                room.logged_in = true;
                Ok(json!({}))
            }
            "authenticate" => refusal(INVALID_PARAMS, "no such method"),
            "session/new" => self.new_session(room, params),
            "session/load" => match self.take_up(room, params) {
                Ok(session) => {
                    // All of the history, then the answer.
                    turn::replay(&self.wire, &session)?;
                    Ok(opened(&session))
                }
                Err(refusal) => Err(refusal),
            },
            "session/resume" => self.take_up(room, params).map(|session| opened(&session)),
            "session/close" => {
                room.open.retain(|session| params["sessionId"] != session.id.as_str());
                Ok(json!({}))
            }
            "session/set_mode" => self.set_mode(room, params)?,
            "session/set_config_option" => set_option(room, params),
            _ => refusal(METHOD_NOT_FOUND, "not a method of this agent"),
        })
    }

    fn initialize(&self, room: &mut Room, params: &Value) -> Result<Value, Refusal> {
        let Ok(asked) = serde_json::from_value::<InitializeRequest>(params.clone()) else {
            return refusal(INVALID_PARAMS, "initialize cannot be read");
        };
        room.initialized = true;
        let elicitation = &params["clientCapabilities"]["elicitation"];
        room.asks = Asked { forms: elicitation["form"].is_object(), links: elicitation["url"].is_object() };
        let can = AgentCapabilities::new()
            .load_session(true)
            .prompt_capabilities(PromptCapabilities::new().embedded_context(true))
            .session_capabilities(
                SessionCapabilities::new()
                    .resume(SessionResumeCapabilities::new())
                    .close(SessionCloseCapabilities::new()),
            );
        let logins = match self.settings.auth_required {
            Some(_) => vec![AuthMethod::Agent(AuthMethodAgent::new("demo-login", "Demo login"))],
            None => Vec::new(),
        };
        let info = Implementation::new("kanvoy-demo-agent", env!("CARGO_PKG_VERSION")).title("Demo agent".to_owned());
        let version = asked.protocol_version.min(ProtocolVersion::V1);
        let answer = InitializeResponse::new(version).agent_capabilities(can).auth_methods(logins).agent_info(info);
        let mut answer = json!(answer);
        if let Some(version) = self.settings.old_protocol {
            answer["protocolVersion"] = json!(version);
        }
        Ok(answer)
    }

    fn may(&self, room: &Room, at: AuthAt) -> Result<(), Refusal> {
        let needed = self.settings.auth_required == Some(at) && !room.logged_in;
        if needed { refusal(AUTH_REQUIRED, "Authentication required") } else { Ok(()) }
    }

    fn new_session(&self, room: &mut Room, params: &Value) -> Result<Value, Refusal> {
        self.may(room, AuthAt::New)?;
        let session = room.sessions.create(cwd(params)?);
        room.sessions.save(&session).ok();
        let mut answer = opened(&session);
        answer["sessionId"] = json!(session.id);
        room.open.push(session);
        Ok(answer)
    }

    fn take_up(&self, room: &mut Room, params: &Value) -> Result<Session, Refusal> {
        self.may(room, AuthAt::New)?;
        let cwd = cwd(params)?;
        let id = params["sessionId"].as_str().unwrap_or_default();
        let Some(mut session) = room.sessions.load(id) else { return refusal(NOT_FOUND, format!("no session {id}")) };
        session.cwd = cwd;
        room.open.retain(|open| open.id != session.id);
        room.open.push(session.clone());
        Ok(session)
    }

    fn set_mode(&self, room: &mut Room, params: &Value) -> Result<Result<Value, Refusal>, Gone> {
        let mode = params["modeId"].as_str().unwrap_or_default();
        if !MODES.iter().any(|(id, _)| *id == mode) {
            return Ok(refusal(INVALID_PARAMS, "no such mode"));
        }
        let session = match find(room, params) {
            Ok(session) => session,
            Err(refusal) => return Ok(Err(refusal)),
        };
        session.mode = mode.to_owned();
        turn::tell_mode(&self.wire, &session.id, mode)?;
        Ok(Ok(json!({})))
    }

    fn prompt(&self, id: &Value, params: &Value) -> Result<(), Refusal> {
        let mut room = self.room.lock();
        if !room.initialized {
            return refusal(INVALID_REQUEST, "initialize comes first");
        }
        let Ok(prompt) = serde_json::from_value::<PromptRequest>(params.clone()) else {
            return refusal(INVALID_PARAMS, "session/prompt needs a sessionId and a prompt");
        };
        find(&mut room, params)?;
        self.may(&room, AuthAt::Prompt)?;
        if room.busy {
            return refusal(INVALID_REQUEST, "a turn is running; this agent does one thing at a time");
        }
        room.busy = true;
        let asks = room.asks;
        drop(room);
        self.wire.begin_turn();
        let turn = turn::Turn {
            wire: self.wire.clone(),
            settings: self.settings.clone(),
            room: self.room.clone(),
            session: prompt.session_id.to_string(),
            asks,
        };
        let (id, text, end, room) = (id.clone(), text_of(&prompt.prompt), self.end.clone(), self.room.clone());
        let thread = std::thread::Builder::new().name("turn".to_owned()).spawn(move || {
            // Free again before the answer is sent: the client may prompt the moment it reads it.
            let result = turn.run(&text);
            room.lock().busy = false;
            if let Some(ending) = turn.answer(&id, result) {
                end.send(ending).ok();
            }
        });
        match thread {
            Ok(_) => Ok(()),
            Err(error) => {
                self.room.lock().busy = false;
                refusal(-32603, error.to_string())
            }
        }
    }
}

/// The settings a session is opened with.
fn opened(session: &Session) -> Value {
    let modes = MODES.iter().map(|(id, name)| SessionMode::new(*id, *name)).collect();
    json!({ "modes": SessionModeState::new(session.mode.clone(), modes), "configOptions": options(session) })
}

fn options(session: &Session) -> Vec<SessionConfigOption> {
    let models: Vec<SessionConfigSelectOption> =
        MODELS.iter().map(|(id, name)| SessionConfigSelectOption::new(*id, *name)).collect();
    vec![
        SessionConfigOption::select("model", "Model", session.model.clone(), models),
        SessionConfigOption::boolean("chatty", "Say a little more", session.chatty),
    ]
}

fn set_option(room: &mut Room, params: &Value) -> Result<Value, Refusal> {
    let session = find(room, params)?;
    match (params["configId"].as_str(), &params["value"]) {
        (Some("model"), Value::String(model)) if MODELS.iter().any(|(id, _)| id == model) => {
            session.model.clone_from(model)
        }
        (Some("chatty"), Value::Bool(chatty)) => session.chatty = *chatty,
        _ => return refusal(INVALID_PARAMS, "no such option or value"),
    }
    Ok(json!({ "configOptions": options(session) }))
}

fn find<'a>(room: &'a mut Room, params: &Value) -> Result<&'a mut Session, Refusal> {
    let id = params["sessionId"].as_str().unwrap_or_default();
    match room.open.iter_mut().find(|session| session.id == id) {
        Some(session) => Ok(session),
        None => refusal(NOT_FOUND, format!("no session {id}")),
    }
}

fn cwd(params: &Value) -> Result<PathBuf, Refusal> {
    let cwd = PathBuf::from(params["cwd"].as_str().unwrap_or_default());
    if !params["mcpServers"].is_array() {
        return refusal(INVALID_PARAMS, "mcpServers is missing");
    }
    if cwd.is_absolute() { Ok(cwd) } else { refusal(INVALID_PARAMS, "cwd must be absolute") }
}

fn text_of(blocks: &[ContentBlock]) -> String {
    let texts = blocks.iter().filter_map(|block| match block {
        ContentBlock::Text(text) => Some(text.text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
