//! The little language of prompts: one command a line, written the way one would say it.

use std::time::Duration;

use agent_client_protocol_schema::v1::{StopReason, ToolKind};

/// The whole language, as the agent tells it and as the README prints it.
pub const HELP: &str = include_str!("../LANGUAGE.txt");

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Say(String),
    Think(String),
    Plan(Vec<String>),
    PlanDone(usize),
    Tool { kind: ToolKind, title: String, fails: bool },
    Diff(String),
    Write { path: String, text: String, anywhere: bool },
    Read(String),
    List(String),
    AskPermission { title: String, options: Vec<Offered> },
    AskQuestion { text: String, choices: Vec<String> },
    AskLink { url: String, text: String },
    If(Outcome, Box<Command>),
    Repeat(u64, Box<Command>),
    Stream { chunks: u64, per_second: Option<f64> },
    Usage { used: u64, size: u64, cost: Option<f64> },
    WaitForCancel,
    IgnoreCancel(Option<Duration>),
    Sleep(Duration),
    Exit(i32),
    Crash,
    Garbage(u64),
    LongLine(u64),
    InvalidUtf8,
    FloodFor(Duration),
    FloodBytes(u64),
    Child { seconds: Duration, detached: bool },
    Eat(u64),
    Stderr(String),
    Env(Option<String>),
    Who,
    Connect(String),
    Stop(StopReason),
    Error { code: i32, text: String },
    Mode(String),
    Commands,
    Title(String),
    UnknownUpdate,
    Legacy(String),
    Raw(String),
    Request(String),
    Count,
    Help,
}

/// An option of a permission. The kind is a word, so that it may be one nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    pub id: String,
    pub kind: String,
}

/// How the last thing asked was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Rejected,
    Cancelled,
    Accepted,
    Declined,
}

/// A line that begins like a command and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotObeyed {
    /// It does not begin with a word of the language.
    Unknown,
    /// It does, and this is how it should go on.
    Usage(&'static str),
}

const MB: f64 = 1_048_576.0;

/// Begins with a word of the language, how to use it, and how to read the rest of the line. The longest beginning wins, so
/// `plan done 1` is not a plan of one step.
type Verb = (&'static str, &'static str, fn(&str) -> Option<Command>);

const VERBS: &[Verb] =
    &[
        ("say", "say TEXT", |rest| text(rest).map(Command::Say)),
        ("think", "think TEXT", |rest| text(rest).map(Command::Think)),
        ("plan done", "plan done N", |rest| whole(rest, Command::PlanDone)),
        ("plan", "plan STEP; STEP; …", |rest| Some(Command::Plan(list(rest, ';')?))),
        ("failing tool", "failing tool [KIND:] TITLE", |rest| tool(rest, true)),
        ("tool", "tool [KIND:] TITLE", |rest| tool(rest, false)),
        ("diff", "diff PATH", |rest| text(rest).map(Command::Diff)),
        ("write anywhere", "write anywhere PATH TEXT", |rest| write(rest, true)),
        ("write", "write PATH TEXT", |rest| write(rest, false)),
        ("read", "read PATH", |rest| text(rest).map(Command::Read)),
        ("list", "list PATH", |rest| text(rest).map(Command::List)),
        ("ask permission", "ask permission [TITLE] [[ID=]KIND …]", ask_permission),
        ("ask question", "ask question TEXT [CHOICE, …]", ask_question),
        ("ask link", "ask link URL TEXT", |rest| {
            let (url, said) = rest.split_once(' ')?;
            Some(Command::AskLink { url: url.to_owned(), text: text(said)? })
        }),
        ("if allowed:", "if allowed: COMMAND", |rest| when(Outcome::Allowed, rest)),
        ("if rejected:", "if rejected: COMMAND", |rest| when(Outcome::Rejected, rest)),
        ("if cancelled:", "if cancelled: COMMAND", |rest| when(Outcome::Cancelled, rest)),
        ("if accepted:", "if accepted: COMMAND", |rest| when(Outcome::Accepted, rest)),
        ("if declined:", "if declined: COMMAND", |rest| when(Outcome::Declined, rest)),
        ("repeat", "repeat N: COMMAND", |rest| {
            let (times, command) = rest.split_once(':')?;
            Some(Command::Repeat(times.trim().parse().ok()?, Box::new(parse(command).ok()?)))
        }),
        ("stream", "stream N [at RATE]", |rest| {
            let (chunks, rate) = match rest.split_once(" at ") {
                Some((chunks, rate)) => (chunks, Some(positive(rate)?)),
                None => (rest, None),
            };
            Some(Command::Stream { chunks: chunks.trim().parse().ok()?, per_second: rate })
        }),
        ("usage", "usage USED SIZE [COST]", |rest| {
            let mut words = rest.split_whitespace();
            let (used, size) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let cost = words.next().map(|cost| cost.parse().ok()).map_or(Some(None), |cost| cost.map(Some))?;
            Some(Command::Usage { used, size, cost })
        }),
        ("wait for cancel", "wait for cancel", |rest| alone(rest, Command::WaitForCancel)),
        ("ignore cancel", "ignore cancel [SECONDS]", |rest| {
            if rest.is_empty() {
                Some(Command::IgnoreCancel(None))
            } else {
                seconds(rest).map(|s| Command::IgnoreCancel(Some(s)))
            }
        }),
        ("sleep", "sleep SECONDS", |rest| seconds(rest).map(Command::Sleep)),
        ("exit", "exit CODE", |rest| whole(rest, Command::Exit)),
        ("crash", "crash", |rest| alone(rest, Command::Crash)),
        ("garbage", "garbage [N]", |rest| {
            if rest.is_empty() { Some(Command::Garbage(1)) } else { whole(rest, Command::Garbage) }
        }),
        ("long line", "long line MB", |rest| megabytes(rest).map(Command::LongLine)),
        ("invalid utf8", "invalid utf8", |rest| alone(rest, Command::InvalidUtf8)),
        ("flood", "flood SECONDS s, or flood MEGABYTES MB", |rest| {
            if rest.to_ascii_lowercase().ends_with("mb") {
                megabytes(rest).map(Command::FloodBytes)
            } else {
                seconds(rest).map(Command::FloodFor)
            }
        }),
        ("detached child", "detached child SECONDS", |rest| child(rest, true)),
        ("child", "child SECONDS", |rest| child(rest, false)),
        ("eat", "eat MB", |rest| megabytes(rest).map(Command::Eat)),
        ("stderr", "stderr TEXT", |rest| text(rest).map(Command::Stderr)),
        ("env", "env [NAME]", |rest| Some(Command::Env(text(rest)))),
        ("who", "who", |rest| alone(rest, Command::Who)),
        ("connect", "connect HOST:PORT", |rest| text(rest).filter(|to| to.contains(':')).map(Command::Connect)),
        ("refuse", "refuse", |rest| alone(rest, Command::Stop(StopReason::Refusal))),
        ("max tokens", "max tokens", |rest| alone(rest, Command::Stop(StopReason::MaxTokens))),
        ("max turn requests", "max turn requests", |rest| alone(rest, Command::Stop(StopReason::MaxTurnRequests))),
        ("error", "error CODE TEXT", |rest| {
            let (code, said) = rest.split_once(' ').unwrap_or((rest, "as you wished"));
            Some(Command::Error { code: code.parse().ok()?, text: text(said)? })
        }),
        ("mode", "mode ID", |rest| text(rest).map(Command::Mode)),
        ("commands", "commands", |rest| alone(rest, Command::Commands)),
        ("title", "title TEXT", |rest| text(rest).map(Command::Title)),
        ("unknown update", "unknown update", |rest| alone(rest, Command::UnknownUpdate)),
        ("legacy", "legacy TEXT", |rest| text(rest).map(Command::Legacy)),
        ("raw", "raw LINE", |rest| text(rest).map(Command::Raw)),
        ("request", "request METHOD", |rest| text(rest).map(Command::Request)),
        ("count", "count", |rest| alone(rest, Command::Count)),
        ("help", "help", |rest| alone(rest, Command::Help)),
    ];

/// Reads one line. Words are told from prose by how the line begins, in any case.
pub fn parse(line: &str) -> Result<Command, NotObeyed> {
    let line = line.trim();
    let verb = VERBS.iter().filter(|(begin, ..)| begins(line, begin)).max_by_key(|(begin, ..)| begin.len());
    let Some((begin, usage, read)) = verb else { return Err(NotObeyed::Unknown) };
    read(line[begin.len()..].trim()).ok_or(NotObeyed::Usage(usage))
}

fn begins(line: &str, begin: &str) -> bool {
    let Some(start) = line.get(..begin.len()) else { return false };
    let rest = &line[begin.len()..];
    start.eq_ignore_ascii_case(begin) && (rest.is_empty() || rest.starts_with(' ') || begin.ends_with(':'))
}

fn text(rest: &str) -> Option<String> {
    let rest = rest.trim();
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn alone(rest: &str, command: Command) -> Option<Command> {
    rest.is_empty().then_some(command)
}

fn whole<N: std::str::FromStr>(rest: &str, command: fn(N) -> Command) -> Option<Command> {
    rest.parse().ok().map(command)
}

fn positive(number: &str) -> Option<f64> {
    number.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
}

fn list(rest: &str, separator: char) -> Option<Vec<String>> {
    let items: Vec<String> = rest.split(separator).filter_map(text).collect();
    (!items.is_empty()).then_some(items)
}

/// `2`, `2 s`, `0.5s`, `200ms`.
fn seconds(rest: &str) -> Option<Duration> {
    let rest = rest.trim();
    let (number, unit) = match (rest.strip_suffix("ms"), rest.strip_suffix('s')) {
        (Some(number), _) => (number, 1_000.0),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (rest, 1.0),
    };
    let number: f64 = number.trim().parse().ok()?;
    Duration::try_from_secs_f64(number / unit).ok()
}

/// `40`, `40 MB`, `0.5mb`, in bytes.
fn megabytes(rest: &str) -> Option<u64> {
    let lower = rest.trim().to_ascii_lowercase();
    let number: f64 = lower.strip_suffix("mb").unwrap_or(&lower).trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number * MB) as u64)
}

fn tool(rest: &str, fails: bool) -> Option<Command> {
    let kind = |word: &str| {
        Some(match word.trim() {
            "read" => ToolKind::Read,
            "edit" => ToolKind::Edit,
            "delete" => ToolKind::Delete,
            "move" => ToolKind::Move,
            "search" => ToolKind::Search,
            "execute" => ToolKind::Execute,
            "think" => ToolKind::Think,
            "fetch" => ToolKind::Fetch,
            "other" => ToolKind::Other,
            _ => return None,
        })
    };
    let named = rest.split_once(':').and_then(|(word, title)| Some((kind(word)?, title)));
    let (kind, title) = named.unwrap_or((ToolKind::Other, rest));
    Some(Command::Tool { kind, title: text(title)?, fails })
}

fn write(rest: &str, anywhere: bool) -> Option<Command> {
    let (path, said) = rest.split_once(' ').unwrap_or((rest, ""));
    Some(Command::Write { path: text(path)?, text: said.trim().replace("\\n", "\n"), anywhere })
}

fn child(rest: &str, detached: bool) -> Option<Command> {
    seconds(rest).map(|seconds| Command::Child { seconds, detached })
}

fn when(outcome: Outcome, rest: &str) -> Option<Command> {
    parse(rest).ok().map(|command| Command::If(outcome, Box::new(command)))
}

/// What stands in brackets at the end of the line, and what stands before them.
fn bracketed(rest: &str) -> (&str, Option<&str>) {
    match rest.strip_suffix(']').and_then(|open| open.rsplit_once('[')) {
        Some((before, inside)) => (before.trim(), Some(inside)),
        None => (rest, None),
    }
}

fn ask_permission(rest: &str) -> Option<Command> {
    let (title, options) = bracketed(rest);
    let offered = |word: &str| {
        let (id, kind) = word.split_once('=').unwrap_or((word, word));
        Offered { id: id.to_owned(), kind: kind.to_owned() }
    };
    // "Always" comes first, as with one real agent: whoever takes the first option is found out.
    let options = options.unwrap_or("always=allow_always once=allow_once no=reject_once");
    let title = text(title).unwrap_or_else(|| "do something that needs a yes".to_owned());
    Some(Command::AskPermission { title, options: options.split_whitespace().map(offered).collect() })
}

fn ask_question(rest: &str) -> Option<Command> {
    let (said, choices) = bracketed(rest);
    let choices = choices.and_then(|choices| list(choices, ',')).unwrap_or_default();
    Some(Command::AskQuestion { text: text(said)?, choices })
}

/// A prompt as lines of which some are commands. A prompt without any is a card for somebody else: it is answered, not
/// misunderstood line by line.
pub enum Prompt {
    Prose { title: String, more: usize },
    Lines { title: Option<String>, lines: Vec<(String, Result<Command, NotObeyed>)> },
}

pub fn read_prompt(prompt: &str) -> Prompt {
    let mut lines: Vec<(String, Result<Command, NotObeyed>)> = prompt
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| (line.to_owned(), parse(line)))
        .collect();
    let is_prose = |line: &(String, Result<Command, NotObeyed>)| line.1 == Err(NotObeyed::Unknown);
    if lines.iter().all(is_prose) {
        let more = lines.len().saturating_sub(1);
        return Prompt::Prose { title: lines.first().map(|line| line.0.clone()).unwrap_or_default(), more };
    }
    let title = lines.first().is_some_and(is_prose).then(|| lines.remove(0).0);
    Prompt::Lines { title, lines }
}
