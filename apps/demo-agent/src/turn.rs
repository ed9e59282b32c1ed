//! One turn: the lines of a prompt, done one after the other until one of them ends it.

use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_client_protocol_schema::v1::{
    AvailableCommand, AvailableCommandsUpdate, ContentChunk, Cost, CurrentModeUpdate, MessageId, Plan, PlanEntry,
    PlanEntryPriority, PlanEntryStatus, SessionInfoUpdate, SessionUpdate, StopReason, UsageUpdate,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::requests::Room;
use crate::sessions::Session;
use crate::wire::{Gone, Waited, Wire};
use crate::words::{self, Command, NotObeyed, Outcome, Prompt};
use crate::{Ending, Settings};

mod misbehave;
mod tools;

/// What the client lets the agent ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub forms: bool,
    pub links: bool,
}

pub(crate) struct Turn {
    pub wire: Arc<Wire>,
    pub settings: Arc<Settings>,
    pub room: Arc<Mutex<Room>>,
    pub session: String,
    pub asks: Asked,
}

/// How a turn ends. Being gone is one way: nobody is left to be told.
pub(crate) enum End {
    Stop(StopReason),
    Error { code: i32, text: String },
    Process(Ending),
    Gone,
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Most commands go on; what ends the turn leaves through the error.
type Done = Result<(), End>;

/// What later lines of the same prompt depend on.
#[derive(Default)]
struct Memory {
    number: u64,
    tools: u64,
    outcome: Option<Outcome>,
    plan: Vec<PlanEntry>,
    deaf: bool,
    said: String,
    eaten: Vec<Vec<u8>>,
}

impl Turn {
    pub fn run(&self, text: &str) -> End {
        let mut memory = Memory { number: self.count_prompt(text), ..Memory::default() };
        let end = match self.obey(text, &mut memory) {
            Ok(()) => End::Stop(StopReason::EndTurn),
            Err(end) => end,
        };
        self.remember(&memory);
        // "Until it exits" is meant: what was eaten stays eaten.
        std::mem::forget(memory.eaten);
        end
    }

    /// Says how it ended, or how the process is to end.
    pub fn answer(&self, id: &Value, end: End) -> Option<Ending> {
        let told = match end {
            End::Stop(reason) => self.wire.answer(id, json!({ "stopReason": reason })),
            End::Error { code, text } => self.wire.fail(id, code, &text),
            End::Process(ending) => return Some(ending),
            End::Gone => Err(Gone),
        };
        told.is_err().then_some(Ending::Eof)
    }

    fn obey(&self, text: &str, memory: &mut Memory) -> Done {
        let (title, lines) = match words::read_prompt(text) {
            Prompt::Prose { title, more } => {
                let more = if more == 0 { String::new() } else { format!(" and {more} more lines") };
                return self.say(
                    memory,
                    &format!("I read “{title}”{more}. I only do what my little language says; try: help\n"),
                );
            }
            Prompt::Lines { title, lines } => (title, lines),
        };
        if let Some(title) = title {
            self.say(memory, &format!("On it: {title}\n"))?;
        }
        for (line, command) in lines {
            match command {
                Ok(command) => self.run_one(&command, memory)?,
                Err(NotObeyed::Unknown) => self.say(memory, &format!("I don't know how to {line}\n"))?,
                Err(NotObeyed::Usage(usage)) => {
                    self.say(memory, &format!("I don't know how to {line} (it goes: {usage})\n"))?;
                }
            }
        }
        Ok(())
    }

    fn run_one(&self, command: &Command, memory: &mut Memory) -> Done {
        // A cancel that came just before is one to be ignored, too.
        let deaf = memory.deaf || matches!(command, Command::IgnoreCancel(_));
        if !deaf && self.wire.is_cancelled() {
            return Err(End::Stop(StopReason::Cancelled));
        }
        match command {
            Command::Say(text) => self.say(memory, text),
            Command::Think(text) => self.update(SessionUpdate::AgentThoughtChunk(chunk(memory, text))),
            Command::Plan(steps) => {
                let pending = |step: &String| PlanEntry::new(step, PlanEntryPriority::Medium, PlanEntryStatus::Pending);
                memory.plan = steps.iter().map(pending).collect();
                self.update(SessionUpdate::Plan(Plan::new(memory.plan.clone())))
            }
            Command::PlanDone(step) => {
                match step.checked_sub(1).and_then(|at| memory.plan.get_mut(at)) {
                    Some(entry) => entry.status = PlanEntryStatus::Completed,
                    None => return self.say(memory, &format!("The plan has no step {step}\n")),
                }
                self.update(SessionUpdate::Plan(Plan::new(memory.plan.clone())))
            }
            Command::Stream { chunks, per_second } => self.stream(memory, *chunks, *per_second),
            Command::Usage { used, size, cost } => {
                let usage = UsageUpdate::new(*used, *size).cost(cost.map(|amount| Cost::new(amount, "USD")));
                self.update(SessionUpdate::UsageUpdate(usage))
            }
            Command::Title(title) => {
                self.update(SessionUpdate::SessionInfoUpdate(SessionInfoUpdate::new().title(title.clone())))
            }
            Command::Mode(mode) => {
                if let Some(session) = self.room.lock().open.iter_mut().find(|open| open.id == self.session) {
                    session.mode.clone_from(mode);
                }
                Ok(tell_mode(&self.wire, &self.session, mode)?)
            }
            Command::Commands => {
                let commands = vec![
                    AvailableCommand::new("demo", "Shows what this agent can do"),
                    AvailableCommand::new("help", "Tells the little language"),
                ];
                self.update(SessionUpdate::AvailableCommandsUpdate(AvailableCommandsUpdate::new(commands)))
            }
            Command::Count => self.say(memory, &format!("I have seen {} prompts in this session\n", memory.number)),
            Command::Help => self.say(memory, words::HELP),
            Command::Env(name) => self.say_env(memory, name.as_deref()),
            Command::Who => {
                let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
                let text = format!("uid {} gid {} in {}\n", uid.as_raw(), gid.as_raw(), self.cwd().display());
                self.say(memory, &text)
            }
            Command::Tool { kind, title, fails } => self.tool(memory, *kind, title, *fails),
            Command::Diff(path) => self.diff(memory, path),
            Command::Write { path, text, anywhere } => self.write(memory, path, text, *anywhere),
            Command::Read(path) => self.read(memory, path),
            Command::List(path) => self.list(memory, path),
            Command::Connect(address) => self.connect(memory, address),
            Command::AskPermission { title, options } => self.ask_permission(memory, title, options),
            Command::AskQuestion { text, choices } => self.ask_question(memory, text, choices),
            Command::AskLink { url, text } => self.ask_link(memory, url, text),
            Command::Request(method) => self.request(memory, method),
            Command::If(outcome, command) if memory.outcome == Some(*outcome) => self.run_one(command, memory),
            Command::If(..) => Ok(()),
            Command::Repeat(times, command) => (0..*times).try_for_each(|_| self.run_one(command, memory)),
            Command::Sleep(time) => self.wait(memory, Some(*time)),
            Command::WaitForCancel => self.wait(memory, None),
            Command::IgnoreCancel(time) => {
                memory.deaf = true;
                self.wait(memory, *time)
            }
            Command::Stderr(text) => {
                writeln!(std::io::stderr(), "{text}").ok();
                Ok(())
            }
            Command::Stop(reason) => Err(End::Stop(*reason)),
            Command::Error { code, text } => Err(End::Error { code: *code, text: text.clone() }),
            Command::Exit(code) => Err(End::Process(Ending::Exit(*code))),
            Command::Crash => Err(End::Process(Ending::Crash)),
            Command::Garbage(lines) => self.garbage(*lines),
            Command::LongLine(bytes) => self.long_line(*bytes),
            Command::InvalidUtf8 => self.invalid_utf8(),
            Command::FloodFor(time) => self.flood(memory, misbehave::Until::Time(*time)),
            Command::FloodBytes(bytes) => self.flood(memory, misbehave::Until::Bytes(*bytes)),
            Command::UnknownUpdate => self.unknown_update(),
            Command::Legacy(text) => self.legacy(text),
            Command::Raw(line) => Ok(self.wire.line(line.clone().into_bytes())?),
            Command::Child { seconds, detached } => self.child(memory, *seconds, *detached),
            Command::Eat(bytes) => self.eat(memory, *bytes),
        }
    }

    fn say(&self, memory: &mut Memory, text: &str) -> Done {
        memory.said.push_str(text);
        self.update(SessionUpdate::AgentMessageChunk(chunk(memory, text)))
    }

    fn update(&self, update: SessionUpdate) -> Done {
        Ok(self.wire.update(&self.session, update)?)
    }

    /// A cancel ends the turn here, unless the prompt said to ignore it.
    fn wait(&self, memory: &Memory, time: Option<Duration>) -> Done {
        match self.wire.wait(time, !memory.deaf) {
            Waited::TimeIsUp => Ok(()),
            Waited::Cancelled => Err(End::Stop(StopReason::Cancelled)),
            Waited::Gone => Err(End::Gone),
        }
    }

    fn stream(&self, memory: &mut Memory, chunks: u64, per_second: Option<f64>) -> Done {
        let pause = per_second.map(|rate| Duration::from_secs_f64(1.0 / rate));
        for number in 1..=chunks {
            match pause {
                Some(pause) => self.wait(memory, Some(pause))?,
                None if !memory.deaf && self.wire.is_cancelled() => return Err(End::Stop(StopReason::Cancelled)),
                None => {}
            }
            // Not remembered: a long stream is not a history anybody wants to hear again.
            self.update(SessionUpdate::AgentMessageChunk(chunk(memory, &format!("chunk {number} of {chunks}\n"))))?;
        }
        Ok(())
    }

    fn say_env(&self, memory: &mut Memory, name: Option<&str>) -> Done {
        let all = self.settings.env.iter();
        let mut lines: Vec<String> = all
            .filter(|(key, _)| name.is_none_or(|name| name == key))
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        lines.sort();
        if let (Some(name), true) = (name, lines.is_empty()) {
            lines.push(format!("{name} is not set\n"));
        }
        self.say(memory, &lines.concat())
    }

    fn cwd(&self) -> PathBuf {
        let room = self.room.lock();
        room.open.iter().find(|open| open.id == self.session).map(|open| open.cwd.clone()).unwrap_or_default()
    }

    /// Where a relative path leads, if it leads nowhere else.
    fn below_cwd(&self, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        inside.then(|| self.cwd().join(path))
    }

    fn count_prompt(&self, text: &str) -> u64 {
        self.with_session(|session| {
            session.prompts += 1;
            session.remember(false, text);
            session.prompts
        })
    }

    fn remember(&self, memory: &Memory) {
        self.with_session(|session| session.remember(true, &memory.said));
    }

    fn with_session<T: Default>(&self, change: impl FnOnce(&mut Session) -> T) -> T {
        let room = &mut *self.room.lock();
        let Some(session) = room.open.iter_mut().find(|open| open.id == self.session) else { return T::default() };
        let value = change(session);
        room.sessions.save(session).ok();
        value
    }
}

/// Chunks of one turn are one message.
fn chunk(memory: &Memory, text: &str) -> ContentChunk {
    ContentChunk::new(text.into()).message_id(MessageId::new(format!("answer-{}", memory.number)))
}

/// What `session/load` tells before it is answered.
pub(crate) fn replay(wire: &Wire, session: &Session) -> Result<(), Gone> {
    for said in &session.history {
        let chunk = ContentChunk::new(said.text.as_str().into());
        let update = match said.by_agent {
            true => SessionUpdate::AgentMessageChunk(chunk),
            false => SessionUpdate::UserMessageChunk(chunk),
        };
        wire.update(&session.id, update)?;
    }
    Ok(())
}

pub(crate) fn tell_mode(wire: &Wire, session: &str, mode: &str) -> Result<(), Gone> {
    wire.update(session, SessionUpdate::CurrentModeUpdate(CurrentModeUpdate::new(mode.to_owned())))
}
