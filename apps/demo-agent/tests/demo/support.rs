//! A client as small as can be: it writes lines, reads lines, and retells a turn in a few words.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use kanvoy_demo_agent::{Ending, Settings, serve};
use serde_json::{Value, json};

pub struct Client {
    pub to: Box<dyn Write>,
    pub from: BufReader<Box<dyn Read>>,
    pub session: String,
    next: u64,
    /// What to say to the next thing that is asked.
    pub answer: Value,
    /// Cancel when this has been told.
    pub cancel_at: Option<&'static str>,
    /// The turn, as it was told.
    pub story: Vec<String>,
}

pub type Agent = JoinHandle<std::io::Result<Ending>>;

/// An agent in this process, and a client of it.
pub fn start(settings: Settings) -> (Client, Agent) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let input = theirs.try_clone().unwrap();
    let agent = std::thread::spawn(move || serve(input, theirs, settings));
    (Client::new(Box::new(ours.try_clone().unwrap()), Box::new(ours)), agent)
}

impl Client {
    pub fn new(to: Box<dyn Write>, from: Box<dyn Read>) -> Self {
        Self {
            to,
            from: BufReader::new(from),
            session: String::new(),
            next: 0,
            answer: json!({ "outcome": { "outcome": "cancelled" } }),
            cancel_at: None,
            story: Vec::new(),
        }
    }

    /// Ready to be prompted, in this directory.
    pub fn ready(mut self, cwd: &Path) -> Self {
        self.initialize();
        let opened = self.ask("session/new", json!({ "cwd": cwd, "mcpServers": [] }));
        self.session = opened["result"]["sessionId"].as_str().unwrap().to_owned();
        self
    }

    pub fn initialize(&mut self) -> Value {
        let elicitation = json!({ "form": {}, "url": {} });
        let params = json!({ "protocolVersion": 1, "clientCapabilities": { "elicitation": elicitation } });
        self.ask("initialize", params)
    }

    pub fn send(&mut self, message: &Value) {
        self.to.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    /// One line without its newline; `None` at the end.
    pub fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        self.from.read_until(b'\n', &mut line).unwrap();
        if line.pop() == Some(b'\n') { Some(line) } else { None }
    }

    pub fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        self.next
    }

    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.until_answered(id).expect("the agent went away")
    }

    pub fn prompt(&mut self, text: &str) -> Value {
        let id = self.begin_prompt(text);
        self.until_answered(id).expect("the agent went away")
    }

    pub fn begin_prompt(&mut self, text: &str) -> u64 {
        let prompt = json!([{ "type": "text", "text": text }]);
        self.begin("session/prompt", json!({ "sessionId": self.session, "prompt": prompt }))
    }

    /// Reads on, answering what is asked and retelling what is told.
    pub fn until_answered(&mut self, id: u64) -> Option<Value> {
        self.story.clear();
        loop {
            let line = self.line()?;
            let Ok(message) = serde_json::from_slice::<Value>(&line) else {
                self.story.push(format!("noise {}", String::from_utf8_lossy(&line)));
                continue;
            };
            if message["method"].is_null() && message["id"] == id {
                return Some(message);
            }
            let told = retell(&message);
            if self.cancel_at == Some(told.as_str()) {
                self.send(
                    &json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": { "sessionId": self.session } }),
                );
            }
            self.story.push(told);
            if let (Some(asked), true) = (message.get("id"), message["method"].is_string()) {
                let answer = match &self.answer {
                    Value::Null => continue,
                    error if error["code"].is_number() => json!({ "jsonrpc": "2.0", "id": asked, "error": error }),
                    result => json!({ "jsonrpc": "2.0", "id": asked, "result": result }),
                };
                self.send(&answer);
            }
        }
    }

    /// A turn in words, and how it ended.
    pub fn turn(&mut self, text: &str) -> String {
        let end = self.prompt(text);
        let end = match &end["error"] {
            Value::Null => end["result"]["stopReason"].as_str().unwrap_or("nothing").to_owned(),
            error => format!("error {} {}", error["code"], error["message"].as_str().unwrap_or_default()),
        };
        self.story.push(end);
        self.story.join("\n")
    }
}

fn retell(message: &Value) -> String {
    let params = &message["params"];
    let word = |value: &Value| value.as_str().unwrap_or("?").trim_end().to_owned();
    match message["method"].as_str() {
        Some("session/update") => {}
        Some("session/request_permission") => {
            let options = params["options"].as_array().unwrap();
            let options: Vec<String> =
                options.iter().map(|o| format!("{}={}", word(&o["optionId"]), word(&o["kind"]))).collect();
            return format!("asks {} [{}]", word(&params["toolCall"]["title"]), options.join(" "));
        }
        Some("elicitation/create") => return format!("asks {} {}", word(&params["mode"]), word(&params["message"])),
        Some(method) => return format!("asks for {method}"),
        None => return format!("odd {message}"),
    }
    let update = &params["update"];
    let content = |list: &Value| match &list[0] {
        Value::Null => String::new(),
        item if item["type"] == "diff" => format!(" diff {}→{}", word(&item["oldText"]), word(&item["newText"])),
        item => format!(" {}", word(&item["content"]["text"])),
    };
    match update["sessionUpdate"].as_str() {
        Some("agent_message_chunk") => format!("says {}", word(&update["content"]["text"])),
        Some("agent_thought_chunk") => format!("thinks {}", word(&update["content"]["text"])),
        Some("user_message_chunk") => format!("heard {}", word(&update["content"]["text"])),
        Some("tool_call") => {
            // What the protocol takes for granted is left out on the wire.
            let or = |value: &Value, usual: &str| value.as_str().unwrap_or(usual).to_owned();
            let (kind, status) = (or(&update["kind"], "other"), or(&update["status"], "pending"));
            format!("{} {kind} {} {status}", word(&update["toolCallId"]), word(&update["title"]))
        }
        Some("tool_call_update") => {
            format!("{} {}{}", word(&update["toolCallId"]), word(&update["status"]), content(&update["content"]))
        }
        Some("plan") => {
            let entries = update["entries"].as_array().unwrap();
            let steps: Vec<String> =
                entries.iter().map(|e| format!("{} {}", word(&e["content"]), word(&e["status"]))).collect();
            format!("plans {}", steps.join(", "))
        }
        Some("usage_update") => format!("used {} of {} {}", update["used"], update["size"], update["cost"]),
        Some("current_mode_update") => format!("mode {}", word(&update["currentModeId"])),
        Some("session_info_update") => format!("title {}", word(&update["title"])),
        Some("available_commands_update") => {
            format!("offers {} commands", update["availableCommands"].as_array().unwrap().len())
        }
        Some(other) => format!("{other} {}", update["sky"]),
        None => format!("legacy {}", params["content"]),
    }
}
