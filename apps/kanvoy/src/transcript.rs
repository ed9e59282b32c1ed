//! Turns events into lines that a person reads. An agent's words come in small chunks: here, and only here, they are joined.

use std::collections::HashMap;

use kanvoy_client::Event;
use serde_json::Value;
use uuid::Uuid;

use crate::clean;
use crate::commands::clock_time;
use crate::show::{Ink, Screen, ink_of};

pub struct Transcript {
    screen: Screen,
    /// Who is in the middle of a line.
    speaking: Option<Speaker>,
    /// What tasks are called, where events of several are shown.
    names: Option<HashMap<Uuid, String>>,
    /// What boards are called, where logs of several are shown.
    boards: HashMap<Uuid, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    Agent,
    Thought,
    Person,
}

impl Transcript {
    /// Of one task: its name would only repeat itself.
    pub fn of_task(screen: Screen) -> Self {
        Self { screen, speaking: None, names: None, boards: HashMap::new() }
    }

    pub fn of_log(screen: Screen, boards: impl IntoIterator<Item = (Uuid, String)>) -> Self {
        Self { screen, speaking: None, names: Some(HashMap::new()), boards: boards.into_iter().collect() }
    }

    /// A task whose name is not known yet.
    pub fn unnamed(&self, event: &Event) -> Option<Uuid> {
        let task = event.task_id.filter(|task| !self.names.as_ref().is_some_and(|names| names.contains_key(task)))?;
        (self.names.is_some() && event.kind != "task.created").then_some(task)
    }

    /// Without a number the task is called by its id.
    pub fn name(&mut self, task: Uuid, board: Option<Uuid>, number: Option<u64>) {
        let Some(names) = &mut self.names else { return };
        // Enough for any board; a reader that runs for weeks must not grow with it.
        if names.len() >= 10_000 {
            names.clear();
        }
        let board = board.and_then(|board| self.boards.get(&board));
        let name = match (board, number) {
            (Some(board), Some(number)) => format!("{board}-{number}"),
            (None, Some(number)) => format!("#{number}"),
            (_, None) => short(task),
        };
        names.insert(task, name);
    }

    /// What to write for this event. May end in the middle of a line.
    pub fn tell(&mut self, event: &Event) -> String {
        if let Some((speaker, words)) = spoken(event) {
            return self.speech(event, speaker, &words);
        }
        let mut text = self.finish();
        if let Some(line) = self.line(event) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Ends a line that is still open.
    pub fn finish(&mut self) -> String {
        if self.speaking.take().is_some() { "\n".to_owned() } else { String::new() }
    }

    fn speech(&mut self, event: &Event, speaker: Speaker, words: &str) -> String {
        let mut text = String::new();
        if self.speaking != Some(speaker) {
            text.push_str(&self.finish());
            let (name, ink) = match speaker {
                Speaker::Agent => ("agent", Ink::Green),
                Speaker::Thought => ("thinks", Ink::Dim),
                Speaker::Person => ("prompt", Ink::Blue),
            };
            text.push_str(&self.head(event));
            text.push_str(&self.screen.paint(name, ink));
            text.push_str("  ");
            self.speaking = Some(speaker);
        }
        text.push_str(&clean::block(words));
        text
    }

    fn head(&mut self, event: &Event) -> String {
        let when = clock_time(&event.timestamp);
        let mut head = format!("{}  ", self.screen.paint(&clean::line(&when), Ink::Dim));
        let seq = format!("{:>4}", event.seq);
        head.push_str(&self.screen.paint(&seq, Ink::Dim));
        head.push_str("  ");
        if self.names.is_some()
            && let Some(name) = self.subject(event)
        {
            head.push_str(&self.screen.paint(&clean::line(&name), Ink::Bold));
            head.push_str("  ");
        }
        head
    }

    fn subject(&mut self, event: &Event) -> Option<String> {
        if event.kind == "board.created"
            && let (Some(board), Some(key)) = (event.board_id, event.data["board"]["key"].as_str())
        {
            self.boards.insert(board, key.to_owned());
        }
        let Some(task) = event.task_id else {
            let Some(board) = event.board_id else { return Some("system".to_owned()) };
            return self.boards.get(&board).cloned();
        };
        if event.kind == "task.created" {
            self.name(task, event.board_id, event.data["task"]["number"].as_u64());
        }
        self.names.as_ref()?.get(&task).cloned().or_else(|| Some(short(task)))
    }

    fn line(&mut self, event: &Event) -> Option<String> {
        let said = self.said(event)?;
        let head = self.head(event);
        let by = match &event.actor {
            Some((kind, Some(id))) if kind == "person" => format!("  {}", self.dim(&format!("by {id}"))),
            _ => String::new(),
        };
        Some(format!("{head}{said}{by}"))
    }

    fn said(&self, event: &Event) -> Option<String> {
        let data = &event.data;
        let word = |key: &str| clean::line(data[key].as_str().unwrap_or_default()).into_owned();
        let said = match event.kind.as_str() {
            "task.created" => {
                let task = &data["task"];
                let title = clean::line(task["title"].as_str().unwrap_or_default()).into_owned();
                format!("made “{title}” as {}", self.state(&task["state"]))
            }
            "task.state_changed" => {
                let reason = match word("reason") {
                    reason if reason.is_empty() => String::new(),
                    reason => format!("  ({reason})"),
                };
                format!("{} → {}{reason}", self.state(&data["from"]), self.state(&data["to"]))
            }
            "task.updated" | "board.updated" => changes(data),
            "task.deleted" => "deleted".to_owned(),
            "task.purged" => format!("task {} removed for good", data["number"]),
            "board.created" => {
                format!("board made: {}", clean::line(data["board"]["name"].as_str().unwrap_or_default()))
            }
            "board.deleted" => format!("board {} deleted", word("key")),
            "board.imported" => format!("imported, with {} tasks and {} events", data["tasks"], data["events"]),
            "board.pruned" => format!("events {} to {} removed by retention", data["from"], data["to"]),
            "daemon.started" => format!("daemon {} started", word("version")),
            "stream.gap" => {
                self.dim(&format!("events {} to {} are gone ({})", data["from"], data["to"], word("reason")))
            }
            "acp.message" => return self.message(data),
            "acp.noise" => self.dim("the agent wrote a line that is no message"),
            kind => {
                let data = if data.is_null() { String::new() } else { brief(&data.to_string(), 120) };
                format!("{}  {}", clean::line(kind), self.dim(&data))
            }
        };
        Some(said)
    }

    /// A message of the agents' protocol that is no speech.
    fn message(&self, data: &Value) -> Option<String> {
        let update = &data["message"]["params"]["update"];
        let word = |key: &str| clean::line(update[key].as_str().unwrap_or_default()).into_owned();
        match data["update_kind"].as_str() {
            Some("tool_call") => Some(format!("{}  {}", self.screen.paint("tool", Ink::Cyan), word("title"))),
            Some("tool_call_update") => match word("status") {
                status if status.is_empty() => None,
                status => Some(format!("{}  {status} {}", self.screen.paint("tool", Ink::Cyan), word("title"))),
            },
            Some("plan") => {
                let entries = update["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
                let done = entries.iter().filter(|entry| entry["status"] == "completed").count();
                Some(format!("{}  {done} of {} done", self.screen.paint("plan", Ink::Cyan), entries.len()))
            }
            Some(other) => Some(self.dim(&brief(other, 60))),
            None => Some(self.dim(&brief(data["method"].as_str().unwrap_or("an answer"), 60))),
        }
    }

    fn state(&self, state: &Value) -> String {
        let state = state.as_str().unwrap_or("?");
        self.screen.paint(&clean::line(state), ink_of(state)).into_owned()
    }

    fn dim(&self, text: &str) -> String {
        self.screen.paint(&clean::line(text), Ink::Dim).into_owned()
    }
}

/// Words that an agent or a person says, as far as the protocol calls them that.
fn spoken(event: &Event) -> Option<(Speaker, String)> {
    if event.kind != "acp.message" {
        return None;
    }
    let params = &event.data["message"]["params"];
    let speaker = match event.data["update_kind"].as_str() {
        Some("agent_message_chunk") => Speaker::Agent,
        Some("agent_thought_chunk") => Speaker::Thought,
        Some("user_message_chunk") => Speaker::Person,
        _ if event.data["method"] == "session/prompt" => {
            let blocks = params["prompt"].as_array()?;
            let text: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            return Some((Speaker::Person, text.join("\n")));
        }
        _ => return None,
    };
    let text = params["update"]["content"]["text"].as_str()?;
    Some((speaker, text.to_owned()))
}

fn changes(data: &Value) -> String {
    let Some(changed) = data["changed"].as_object() else { return "changed".to_owned() };
    // Where a card lies among others is no news to a reader.
    let told: Vec<String> = changed
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "rank" | "updated_at"))
        .map(|(key, value)| match value {
            Value::String(text) => format!("{key}: {}", brief(text, 60)),
            Value::Null => format!("{key}: none"),
            Value::Array(_) | Value::Object(_) => brief(&format!("{key}: {value}"), 80),
            other => format!("{key}: {other}"),
        })
        .collect();
    if told.is_empty() { "moved".to_owned() } else { told.join(", ") }
}

fn brief(text: &str, most: usize) -> String {
    let text = clean::line(text);
    if text.chars().count() <= most {
        return text.into_owned();
    }
    text.chars().take(most).chain(['…']).collect()
}

/// The end of an id: its beginning is only a time.
fn short(task: Uuid) -> String {
    let text = task.simple().to_string();
    format!("task …{}", &text[text.len() - 6..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(events: &[Value]) -> String {
        let mut transcript = Transcript::of_task(Screen::of_process(false, true));
        let mut text = String::new();
        for (i, event) in events.iter().enumerate() {
            let mut event = event.clone();
            event["seq"] = json!(i + 1);
            text.push_str(&transcript.tell(&Event::read(&event.to_string()).expect("is an event")));
        }
        text.push_str(&transcript.finish());
        text
    }

    fn chunk(kind: &str, text: &str) -> Value {
        json!({"type": "acp.message", "data": {"method": "session/update", "update_kind": kind,
            "message": {"params": {"update": {"content": {"type": "text", "text": text}}}}}})
    }

    #[test]
    fn chunks_of_one_speaker_are_joined() {
        let text = told(&[
            chunk("agent_thought_chunk", "hm"),
            chunk("agent_message_chunk", "Hel"),
            chunk("agent_message_chunk", "lo\nworld"),
            json!({"type": "task.state_changed", "data": {"from": "IN_PROGRESS", "to": "COMPLETED", "reason": "end_turn"}}),
        ]);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines, ["1  thinks  hm", "2  agent  Hello", "world", "4  IN_PROGRESS → COMPLETED  (end_turn)"]);
    }

    #[test]
    fn an_agent_cannot_draw_on_the_terminal() {
        let text = told(&[chunk("agent_message_chunk", "\x1b[2J\x1b]0;x\x07")]);
        assert!(!text.contains('\x1b') && text.contains("␛[2J"), "{text:?}");
    }

    #[test]
    fn what_is_new_to_us_is_shown_as_it_is() {
        let text = told(&[json!({"type": "cage.compiled", "data": {"pids": 512}})]);
        assert!(text.contains("cage.compiled  {\"pids\":512}"), "{text}");
    }
}
