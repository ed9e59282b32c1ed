//! Tool calls, real and shown, and the two things an agent may ask of a person.

use std::fs;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use agent_client_protocol_schema::v1::{
    Content, Diff, SessionUpdate, StopReason, ToolCall, ToolCallContent, ToolCallLocation, ToolCallStatus,
    ToolCallUpdate, ToolCallUpdateFields, ToolKind,
};
use serde_json::{Value, json};

use super::{Done, End, Memory, Turn};
use crate::words::{Offered, Outcome};

impl Turn {
    pub(super) fn tool(&self, memory: &mut Memory, kind: ToolKind, title: &str, fails: bool) -> Done {
        let id = self.announce(memory, kind, title, None)?;
        let (status, text) = match fails {
            false => (ToolCallStatus::Completed, format!("{title}: done")),
            true => (ToolCallStatus::Failed, format!("{title}: it did not work")),
        };
        self.finish(&id, status, vec![said(&text)])
    }

    pub(super) fn diff(&self, memory: &mut Memory, path: &str) -> Done {
        let place = self.cwd().join(path);
        let id = self.announce(memory, ToolKind::Edit, &format!("Edit {path}"), Some(place.clone()))?;
        let diff = Diff::new(place, "first\nsecond, changed\nthird\n").old_text("first\nsecond\nthird\n".to_owned());
        self.finish(&id, ToolCallStatus::Completed, vec![ToolCallContent::Diff(diff)])
    }

    pub(super) fn write(&self, memory: &mut Memory, path: &str, text: &str, anywhere: bool) -> Done {
        let place = if anywhere { Some(self.cwd().join(path)) } else { self.below_cwd(path) };
        let title = format!("Write {path}");
        let Some(place) = place else {
            let id = self.announce(memory, ToolKind::Edit, &title, None)?;
            return self.finish(&id, ToolCallStatus::Failed, vec![said("that is not below the working directory")]);
        };
        let id = self.announce(memory, ToolKind::Edit, &title, Some(place.clone()))?;
        let old = fs::read_to_string(&place).ok();
        let text = format!("{text}\n");
        let written = match place.parent() {
            Some(parent) => fs::create_dir_all(parent).and_then(|()| fs::write(&place, &text)),
            None => fs::write(&place, &text),
        };
        match written {
            Ok(()) => {
                let diff = ToolCallContent::Diff(Diff::new(place, text).old_text(old));
                self.finish(&id, ToolCallStatus::Completed, vec![diff])
            }
            Err(error) => self.finish(&id, ToolCallStatus::Failed, vec![said(&error.to_string())]),
        }
    }

    pub(super) fn read(&self, memory: &mut Memory, path: &str) -> Done {
        let read = fs::read(self.cwd().join(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.report(memory, ToolKind::Read, &format!("Read {path}"), read)
    }

    pub(super) fn list(&self, memory: &mut Memory, path: &str) -> Done {
        let names = fs::read_dir(self.cwd().join(path)).map(|entries| {
            let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
            let mut names: Vec<String> = names.collect();
            names.sort();
            names.join("\n")
        });
        self.report(memory, ToolKind::Search, &format!("List {path}"), names)
    }

    pub(super) fn connect(&self, memory: &mut Memory, address: &str) -> Done {
        let connected = address.to_socket_addrs().and_then(|mut all| {
            let address = all.next().ok_or_else(|| std::io::Error::other("no address"))?;
            TcpStream::connect_timeout(&address, Duration::from_secs(3)).map(|_| "connected".to_owned())
        });
        self.report(memory, ToolKind::Fetch, &format!("Connect to {address}"), connected)
    }

    /// A tool call with what really happened.
    fn report(&self, memory: &mut Memory, kind: ToolKind, title: &str, outcome: std::io::Result<String>) -> Done {
        let id = self.announce(memory, kind, title, None)?;
        match outcome {
            Ok(text) => self.finish(&id, ToolCallStatus::Completed, vec![said(&text)]),
            Err(error) => self.finish(&id, ToolCallStatus::Failed, vec![said(&error.to_string())]),
        }
    }

    fn announce(
        &self,
        memory: &mut Memory,
        kind: ToolKind,
        title: &str,
        place: Option<PathBuf>,
    ) -> Result<String, End> {
        let id = self.tool_id(memory);
        let locations = place.map(ToolCallLocation::new).into_iter().collect();
        let call = ToolCall::new(id.clone(), title).kind(kind).status(ToolCallStatus::Pending).locations(locations);
        self.update(SessionUpdate::ToolCall(call))?;
        self.set_status(&id, ToolCallStatus::InProgress, None)?;
        Ok(id)
    }

    fn finish(&self, id: &str, status: ToolCallStatus, content: Vec<ToolCallContent>) -> Done {
        self.set_status(id, status, Some(content))
    }

    fn set_status(&self, id: &str, status: ToolCallStatus, content: Option<Vec<ToolCallContent>>) -> Done {
        let fields = ToolCallUpdateFields::new().status(status).content(content);
        self.update(SessionUpdate::ToolCallUpdate(ToolCallUpdate::new(id.to_owned(), fields)))
    }

    fn tool_id(&self, memory: &mut Memory) -> String {
        memory.tools += 1;
        format!("tool-{}-{}", memory.number, memory.tools)
    }

    pub(super) fn ask_permission(&self, memory: &mut Memory, title: &str, options: &[Offered]) -> Done {
        let id = self.tool_id(memory);
        let call = ToolCall::new(id.clone(), title).kind(ToolKind::Execute).status(ToolCallStatus::Pending);
        self.update(SessionUpdate::ToolCall(call))?;
        let offered: Vec<Value> =
            options.iter().map(|o| json!({ "optionId": o.id, "name": name_of(&o.kind), "kind": o.kind })).collect();
        let params = json!({
            "sessionId": self.session,
            "toolCall": { "toolCallId": id, "title": title, "kind": "execute", "status": "pending" },
            "options": offered,
        });
        let answer = self.wire.ask("session/request_permission", params)?;
        let outcome = answer.as_ref().map_or(&Value::Null, |answer| &answer["result"]["outcome"]);
        let chosen = outcome["optionId"].as_str().and_then(|id| options.iter().find(|option| option.id == id));
        let (outcome, text) = match chosen {
            Some(option) if option.kind.starts_with("allow") => (Outcome::Allowed, format!("chosen: {}", option.id)),
            Some(option) => (Outcome::Rejected, format!("chosen: {}", option.id)),
            None if outcome["outcome"] == "cancelled" => (Outcome::Cancelled, "cancelled".to_owned()),
            None => {
                let code = answer.as_ref().map_or(&Value::Null, |answer| &answer["error"]["code"]);
                (Outcome::Cancelled, format!("not answered: error {code}"))
            }
        };
        memory.outcome = Some(outcome);
        let status = if outcome == Outcome::Allowed { ToolCallStatus::Completed } else { ToolCallStatus::Failed };
        self.finish(&id, status, vec![said(&text)])?;
        self.say(memory, &format!("permission {text}\n"))?;
        self.cancelled_meanwhile(memory)
    }

    pub(super) fn ask_question(&self, memory: &mut Memory, text: &str, choices: &[String]) -> Done {
        if !self.asks.forms {
            return self.say(memory, "This client takes no questions\n");
        }
        let mut field = json!({ "type": "string", "title": text });
        if !choices.is_empty() {
            field["enum"] = json!(choices);
        }
        let schema = json!({ "type": "object", "properties": { "answer": field }, "required": ["answer"] });
        self.elicit(memory, json!({ "mode": "form", "message": text, "requestedSchema": schema }))
    }

    pub(super) fn ask_link(&self, memory: &mut Memory, url: &str, text: &str) -> Done {
        if !self.asks.links {
            return self.say(memory, "This client opens no links\n");
        }
        let id = format!("link-{}", memory.number);
        self.elicit(memory, json!({ "mode": "url", "message": text, "url": url, "elicitationId": id }))
    }

    fn elicit(&self, memory: &mut Memory, mut params: Value) -> Done {
        params["sessionId"] = json!(self.session);
        let answer = self.wire.ask("elicitation/create", params)?.unwrap_or_default();
        let result = &answer["result"];
        memory.outcome = Some(match result["action"].as_str() {
            Some("accept") => Outcome::Accepted,
            Some("decline") => Outcome::Declined,
            _ => Outcome::Cancelled,
        });
        let text = match (memory.outcome, &result["content"]["answer"]) {
            (Some(Outcome::Accepted), Value::Null) => "accepted".to_owned(),
            (Some(Outcome::Accepted), answer) => format!("accepted: {answer}"),
            (Some(Outcome::Declined), _) => "declined".to_owned(),
            _ => "cancelled".to_owned(),
        };
        self.say(memory, &format!("answer {text}\n"))?;
        self.cancelled_meanwhile(memory)
    }

    pub(super) fn request(&self, memory: &mut Memory, method: &str) -> Done {
        let params = json!({ "sessionId": self.session, "path": self.cwd().join("file.txt"), "content": "text" });
        let answer = self.wire.ask(method, params)?.unwrap_or_default();
        let text = match &answer["error"]["code"] {
            Value::Null => format!("{method} gave {}\n", answer["result"]),
            code => format!("{method} was refused: {code}\n"),
        };
        self.say(memory, &text)?;
        self.cancelled_meanwhile(memory)
    }

    /// Whoever was asked has cancelled the whole turn.
    fn cancelled_meanwhile(&self, memory: &Memory) -> Done {
        if !memory.deaf && self.wire.is_cancelled() { Err(End::Stop(StopReason::Cancelled)) } else { Ok(()) }
    }
}

fn said(text: &str) -> ToolCallContent {
    ToolCallContent::Content(Content::new(text))
}

fn name_of(kind: &str) -> &str {
    match kind {
        "allow_once" => "Allow",
        "allow_always" => "Always allow",
        "reject_once" => "Reject",
        "reject_always" => "Always reject",
        _ => kind,
    }
}
