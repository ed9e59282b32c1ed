//! From two streams to a session: initialize, perhaps authenticate, then the way back into an earlier session or a new one.
//! Every step has a deadline and a name in the error.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::envelope::{AgentError, Json, object, present, text};
use crate::peer::{Connection, RequestError, SendError};
use crate::schema::{AuthMethod, ContentBlock, InitializeResponse, McpServer, SessionConfigOption, SessionModeState};

/// The one version of the protocol spoken here.
const VERSION: u64 = 1;

/// What is wanted of the agent.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Our name and version, for the agent's logs.
    pub client: (String, String),
    /// Questions can be asked of a person: as a form, as a link.
    pub forms: bool,
    pub links: bool,
    /// A method to log in with that needs nobody at a browser. Tried when the agent offers it.
    pub authenticate: Option<String>,
    /// Absolute, where the agent runs.
    pub cwd: String,
    pub additional_directories: Vec<String>,
    pub mcp_servers: Vec<McpServer>,
    pub session: SessionStart,
    pub deadlines: Deadlines,
}

impl ConnectOptions {
    pub fn new(cwd: impl Into<String>) -> Self {
        Self {
            client: ("kanvoy".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            forms: true,
            links: true,
            authenticate: None,
            cwd: cwd.into(),
            additional_directories: Vec::new(),
            mcp_servers: Vec::new(),
            session: SessionStart::New,
            deadlines: Deadlines::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionStart {
    New,
    /// Resumed if the agent can, else loaded with its whole history, else begun anew.
    Continue(String),
    /// The same without the last step.
    ContinueOrFail(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub initialize: Duration,
    pub authenticate: Duration,
    pub new: Duration,
    pub resume: Duration,
    /// A long history takes its time.
    pub load: Duration,
    pub set: Duration,
    pub close: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            initialize: Duration::from_secs(30),
            authenticate: Duration::from_secs(60),
            new: Duration::from_secs(60),
            resume: Duration::from_secs(60),
            load: Duration::from_secs(300),
            set: Duration::from_secs(30),
            close: Duration::from_secs(10),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Initialize,
    Authenticate,
    New,
    Load,
    Resume,
}

impl Step {
    pub fn method(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Authenticate => "authenticate",
            Self::New => "session/new",
            Self::Load => "session/load",
            Self::Resume => "session/resume",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the agent did not answer {} within {after:?}", .step.method())]
    NotResponding { step: Step, after: Duration },
    #[error("the agent speaks version {offered} of the protocol; this client speaks version 1")]
    Version { offered: String },
    #[error("the agent wants a login first: {error}")]
    AuthRequired { error: AgentError, methods: Vec<LoginMethod> },
    #[error("the agent refused {}: {error}", .step.method())]
    Refused { step: Step, error: AgentError },
    #[error("the agent's answer to {} cannot be used: {answer:?}", .step.method())]
    Unreadable { step: Step, answer: Json },
    #[error("the agent cannot take up an earlier session")]
    CannotContinue,
    #[error("the agent went away during {}", .step.method())]
    Closed { step: Step },
    #[error(transparent)]
    Send(SendError),
}

/// An open session, and what the agent said about it.
pub struct Connected {
    pub agent: Agent,
    pub how: SessionHow,
    /// Ways into an earlier session that were tried and refused.
    pub refused: Vec<(Step, AgentError)>,
    /// The result of initialize as it came.
    pub initialized: Json,
    /// The result that opened the session as it came: modes, options, and what newer agents add.
    pub opened: Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionHow {
    New,
    /// The history was told again, as updates with [`During::Replay`](crate::During::Replay).
    Loaded,
    Resumed,
}

impl Connected {
    pub fn modes(&self) -> Option<SessionModeState> {
        self.member("modes")
    }

    /// Options that can be read; one of an unknown type is left out.
    pub fn config_options(&self) -> Vec<SessionConfigOption> {
        let list: Vec<Value> = self.member("configOptions").unwrap_or_default();
        list.into_iter().filter_map(|option| serde_json::from_value(option).ok()).collect()
    }

    fn member<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        let Value::Object(mut members) = self.opened.parse()? else { return None };
        serde_json::from_value(members.remove(name)?).ok()
    }
}

/// What an agent can do. Whatever it left out, it cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Offers {
    pub name: Option<String>,
    pub version: Option<String>,
    pub load: bool,
    pub resume: bool,
    pub close: bool,
    pub list: bool,
    pub delete: bool,
    pub additional_directories: bool,
    pub image: bool,
    pub audio: bool,
    pub embedded: bool,
    pub mcp_http: bool,
    pub mcp_sse: bool,
    pub logins: Vec<LoginMethod>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginMethod {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    /// Done by running the agent in a terminal, not by asking for it here.
    pub terminal: bool,
}

impl Offers {
    fn read(initialized: &Json) -> Self {
        let Some(answer) = initialized.parse::<InitializeResponse>() else { return Self::default() };
        let (can, session) = (&answer.agent_capabilities, &answer.agent_capabilities.session_capabilities);
        Self {
            name: answer.agent_info.as_ref().map(|info| info.title.clone().unwrap_or_else(|| info.name.clone())),
            version: answer.agent_info.as_ref().map(|info| info.version.clone()),
            load: can.load_session,
            resume: session.resume.is_some(),
            close: session.close.is_some(),
            list: session.list.is_some(),
            delete: session.delete.is_some(),
            additional_directories: session.additional_directories.is_some(),
            image: can.prompt_capabilities.image,
            audio: can.prompt_capabilities.audio,
            embedded: can.prompt_capabilities.embedded_context,
            mcp_http: can.mcp_capabilities.http,
            mcp_sse: can.mcp_capabilities.sse,
            logins: answer.auth_methods.iter().filter_map(LoginMethod::read).collect(),
        }
    }

    /// Why a block cannot be sent to this agent, if so.
    pub(crate) fn refuses(&self, block: &ContentBlock) -> Option<&'static str> {
        match block {
            ContentBlock::Image(_) if !self.image => Some("images"),
            ContentBlock::Audio(_) if !self.audio => Some("audio"),
            ContentBlock::Resource(_) if !self.embedded => Some("embedded files"),
            _ => None,
        }
    }
}

impl LoginMethod {
    fn read(method: &AuthMethod) -> Option<Self> {
        let (id, name, description, terminal) = match method {
            AuthMethod::Agent(method) => (&method.id, &method.name, &method.description, false),
            AuthMethod::Terminal(method) => (&method.id, &method.name, &method.description, true),
            _ => return None,
        };
        Some(Self { id: id.to_string(), name: name.clone(), description: description.clone(), terminal })
    }
}

impl Connection {
    /// Shakes hands and opens a session. Somebody has to take [`Messages`](crate::Messages) meanwhile: a loaded session
    /// tells its whole history before it answers.
    pub async fn connect(&self, options: &ConnectOptions) -> Result<Connected, ConnectError> {
        let initialized = self.initialize(options).await?;
        let offers = Arc::new(Offers::read(&initialized));
        if let Some(method) = options.authenticate.as_deref().filter(|id| offers.takes_login(id)) {
            let params = json!({ "methodId": method });
            self.step(Step::Authenticate, params, options.deadlines.authenticate, &offers).await?;
        }
        let mut refused = Vec::new();
        let (session, how, opened) = self.session(options, &offers, &mut refused).await?;
        let agent = Agent::new(self.clone(), session, offers, options.deadlines);
        Ok(Connected { agent, how, refused, initialized, opened })
    }

    async fn initialize(&self, options: &ConnectOptions) -> Result<Json, ConnectError> {
        let (name, version) = &options.client;
        let mut capabilities = json!({
            // Not offered, because the agent has files and a shell of its own where it runs.
            "fs": { "readTextFile": false, "writeTextFile": false },
            "terminal": false,
            "session": { "configOptions": { "boolean": {} }, "notices": {}, "compaction": {} },
        });
        // An empty object would offer nothing and confuse some.
        if options.forms || options.links {
            let mut elicitation = json!({});
            if options.forms {
                elicitation["form"] = json!({});
            }
            if options.links {
                elicitation["url"] = json!({});
            }
            capabilities["elicitation"] = elicitation;
        }
        let params = json!({
            "protocolVersion": VERSION,
            "clientCapabilities": capabilities,
            "clientInfo": { "name": name, "title": "Kanvoy", "version": version },
        });
        let step = Step::Initialize;
        let initialized = self.step(step, params, options.deadlines.initialize, &Offers::default()).await?;
        let version = version_of(&initialized).ok_or(ConnectError::Unreadable { step, answer: initialized.clone() })?;
        if version.parse() != Ok(VERSION) {
            return Err(ConnectError::Version { offered: version });
        }
        Ok(initialized)
    }

    async fn session(
        &self,
        options: &ConnectOptions,
        offers: &Offers,
        refused: &mut Vec<(Step, AgentError)>,
    ) -> Result<(Arc<str>, SessionHow, Json), ConnectError> {
        let mut params = json!({ "cwd": options.cwd, "mcpServers": options.mcp_servers });
        if offers.additional_directories && !options.additional_directories.is_empty() {
            params["additionalDirectories"] = json!(options.additional_directories);
        }
        if let SessionStart::Continue(earlier) | SessionStart::ContinueOrFail(earlier) = &options.session {
            let earlier: Arc<str> = Arc::from(earlier.as_str());
            let mut params = params.clone();
            params["sessionId"] = json!(earlier);
            let Deadlines { resume, load, .. } = options.deadlines;
            let ways = [
                (offers.resume, Step::Resume, resume, SessionHow::Resumed),
                (offers.load, Step::Load, load, SessionHow::Loaded),
            ];
            for (_, step, deadline, how) in ways.into_iter().filter(|(offered, ..)| *offered) {
                self.expect_session(Some(&earlier), step == Step::Load);
                match self.step(step, params.clone(), deadline, offers).await {
                    Ok(opened) => return Ok((earlier, how, opened)),
                    Err(ConnectError::Refused { step, error }) => refused.push((step, error)),
                    Err(other) => return Err(other),
                }
            }
            self.expect_session(None, false);
            if matches!(options.session, SessionStart::ContinueOrFail(_)) {
                let last = refused.pop();
                return Err(
                    last.map_or(ConnectError::CannotContinue, |(step, error)| ConnectError::Refused { step, error })
                );
            }
        }
        let step = Step::New;
        let opened = self.step(step, params, options.deadlines.new, offers).await?;
        // The reader has taken it from the line itself, so that no update came in between.
        let session = self.shared.book.lock().session.clone();
        let session = session.ok_or(ConnectError::Unreadable { step, answer: opened.clone() })?;
        Ok((session, SessionHow::New, opened))
    }

    fn expect_session(&self, session: Option<&Arc<str>>, loading: bool) {
        let mut book = self.shared.book.lock();
        book.session = session.cloned();
        book.loading = loading;
    }

    async fn step(&self, step: Step, params: Value, deadline: Duration, offers: &Offers) -> Result<Json, ConnectError> {
        self.request(step.method(), params, deadline).await.map_err(|error| match error {
            RequestError::AuthRequired(error) => ConnectError::AuthRequired { error, methods: offers.logins.clone() },
            RequestError::Refused(error) => ConnectError::Refused { step, error },
            RequestError::Deadline { after, .. } => ConnectError::NotResponding { step, after },
            RequestError::Closed | RequestError::Send(SendError::Closed) => ConnectError::Closed { step },
            RequestError::Send(other) => ConnectError::Send(other),
        })
    }
}

impl Offers {
    fn takes_login(&self, id: &str) -> bool {
        self.logins.iter().any(|login| login.id == id && !login.terminal)
    }
}

fn version_of(initialized: &Json) -> Option<String> {
    #[derive(Deserialize)]
    struct Version<'a> {
        #[serde(borrow, default, rename = "protocolVersion", deserialize_with = "present")]
        version: Option<&'a RawValue>,
    }
    let version = object::<Version<'_>>(initialized.as_bytes())?.version?;
    Some(text(version).map_or_else(|| version.get().to_owned(), std::borrow::Cow::into_owned))
}
