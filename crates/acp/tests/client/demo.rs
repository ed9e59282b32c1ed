//! Against the demo agent: the handshake in every variation, and every kind of turn.

use std::time::{Duration, Instant};

use kanvoy_acp::*;
use kanvoy_demo_agent::ledger::{self, Direction, Entry};
use kanvoy_demo_agent::{AuthAt, Settings as DemoSettings, serve};
use serde_json::json;
use tokio_util::io::SyncIoBridge;
use tokio_util::task::TaskTracker;

use crate::support::*;

/// The demo agent in a thread of its own, at the other end of a pipe.
fn demo(settings: DemoSettings) -> (Connection, Messages) {
    // One for each direction, so that each can end by itself.
    let ((read, output), (input, write)) = (tokio::io::duplex(64 << 10), tokio::io::duplex(64 << 10));
    let (input, output) = (SyncIoBridge::new(input), SyncIoBridge::new(output));
    std::thread::spawn(move || serve(input, output, settings));
    Connection::open(read_lines(read, MAX_LINE), WriteTo(write), Settings::default(), &TaskTracker::new())
}

struct Session {
    connected: Connected,
    messages: Messages,
}

/// Connects while somebody takes the messages, as it has to be.
async fn connect(settings: DemoSettings, options: &ConnectOptions) -> Result<Session, ConnectError> {
    let (connection, mut messages) = demo(settings);
    let connecting = connection.connect(options);
    tokio::pin!(connecting);
    let connected = loop {
        tokio::select! {
            connected = &mut connecting => break connected?,
            Some(_) = messages.recv() => {}
        }
    };
    Ok(Session { connected, messages })
}

async fn ready() -> Session {
    let session = connect(DemoSettings::default(), &ConnectOptions::new("/")).await;
    session.unwrap_or_else(|error| panic!("{error}"))
}

impl Session {
    /// A turn in words; permissions are allowed once, forms get an answer.
    async fn turn(&mut self, prompt: &str) -> Vec<String> {
        self.connected.agent.prompt(prompt, &text(prompt)).unwrap();
        let mut story = Vec::new();
        loop {
            let received = next(&mut self.messages).await;
            story.push(retell(&received).replace(&format!("ended {prompt}"), "ended TURN"));
            match received.message {
                // Of the handshake, whose last answer may be told after it is over.
                AgentMessage::Answered { .. } => drop(story.pop()),
                AgentMessage::PermissionAsked(asked) => {
                    let answer = allow_once(&asked.options).map_or(Answer::Cancelled, |option| select(&option.id));
                    asked.reply.send(&answer).unwrap();
                }
                AgentMessage::QuestionAsked(asked) => {
                    asked.reply.send(&Answer::Accept(Some(json!({ "answer": "blue" })))).unwrap();
                }
                AgentMessage::TurnEnded(_) | AgentMessage::Closed(_) => return story,
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_of_every_kind() {
    let mut session = ready().await;
    for (prompt, expected) in [
        ("say hello", &["agent_message_chunk hello", "ended TURN end_turn"][..]),
        ("think hard", &["agent_thought_chunk hard", "ended TURN end_turn"]),
        ("plan a; b", &["plan", "ended TURN end_turn"]),
        (
            "tool x",
            &[
                "tool_call tool-4-1 ?",
                "tool_call_update tool-4-1 in_progress",
                "tool_call_update tool-4-1 completed",
                "ended TURN end_turn",
            ],
        ),
        ("usage 1 2 0.5", &["usage_update", "ended TURN end_turn"]),
        (
            "ask permission Go",
            &[
                "tool_call tool-6-1 ?",
                "asks permission [always=allow_always once=allow_once no=reject_once]",
                "tool_call_update tool-6-1 completed",
                "agent_message_chunk permission chosen: once",
                "ended TURN end_turn",
            ],
        ),
        (
            "ask question Which?",
            &["asks form Which?", "agent_message_chunk answer accepted: \"blue\"", "ended TURN end_turn"],
        ),
        (
            "ask link https://x.test There",
            &["asks link https://x.test There", "agent_message_chunk answer accepted: \"blue\"", "ended TURN end_turn"],
        ),
        (
            "request fs/write_text_file",
            &[
                "refused fs/write_text_file -32601",
                "agent_message_chunk fs/write_text_file was refused: -32601",
                "ended TURN end_turn",
            ],
        ),
        ("refuse", &["ended TURN refusal"]),
        ("max tokens", &["ended TURN max_tokens"]),
        ("error 400 bad", &["ended TURN failed bad (code 400)"]),
        ("error -32000 log in", &["ended TURN login needed"]),
        ("mode plan", &["current_mode_update", "ended TURN end_turn"]),
        ("commands", &["available_commands_update", "ended TURN end_turn"]),
        ("title x", &["session_info_update", "ended TURN end_turn"]),
        ("unknown update", &["weather_update untyped", "ended TURN end_turn"]),
        ("legacy hi", &["legacy hi", "ended TURN end_turn"]),
        ("garbage 2", &["noise not_json", "noise not_json", "ended TURN end_turn"]),
        ("invalid utf8", &["noise invalid_utf8", "ended TURN end_turn"]),
        ("long line 40", &["noise oversize", "ended TURN end_turn"]),
    ] {
        assert_eq!(session.turn(prompt).await, expected, "{prompt}");
    }
    let flood = session.turn("flood 3 MB").await;
    assert!(flood.len() > 10_000 && flood.last().unwrap() == "ended TURN end_turn", "{}", flood.len());
    assert_eq!(session.turn("exit 3").await, ["closed Eof exit 3 open 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_cancelled_or_not() {
    let mut session = ready().await;
    let agent = session.connected.agent.clone();
    for (prompt, end) in
        [("wait for cancel", "cancelled"), ("stream 100000 at 100", "cancelled"), ("ignore cancel 200ms", "end_turn")]
    {
        agent.prompt(prompt, &text(prompt)).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        agent.cancel().unwrap();
        let begun = Instant::now();
        loop {
            let received = next(&mut session.messages).await;
            if matches!(received.message, AgentMessage::TurnEnded(_)) {
                assert_eq!(retell(&received), format!("ended {prompt} {end}"));
                break;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_session() {
    let mut session = ready().await;
    let connected = &session.connected;
    assert_eq!(
        (connected.how, connected.agent.offers().load, connected.agent.offers().image),
        (SessionHow::New, true, false)
    );
    assert_eq!(connected.agent.offers().name.as_deref(), Some("Demo agent"));
    assert_eq!(connected.modes().unwrap().current_mode_id.to_string(), "build");
    assert_eq!(connected.config_options().len(), 2);
    let agent = connected.agent.clone();
    agent.set_mode("plan").await.unwrap();
    assert!(matches!(agent.set_mode("x").await, Err(RequestError::Refused(error)) if error.code == -32602));
    let options = agent.set_config_option("chatty", &ConfigValue::Switch(true)).await.unwrap();
    assert!(options.as_str().contains("\"currentValue\":true"), "{options:?}");
    let options = agent.set_config_option("model", &ConfigValue::Id("demo-large".to_owned())).await.unwrap();
    assert!(options.as_str().contains("\"currentValue\":\"demo-large\""), "{options:?}");
    let image = schema::ContentBlock::Image(schema::ImageContent::new("", "image/png"));
    assert!(matches!(agent.prompt("t", &[image]), Err(PromptError::NotOffered("images"))));
    assert!(agent.close().await.unwrap());
    assert_eq!(session.turn("say x").await.last().unwrap(), "ended TURN failed no session demo-unkept-1 (code -32002)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_taken_up_again() {
    let home = tempfile::tempdir().unwrap();
    let settings = DemoSettings { home: Some(home.path().to_owned()), ..DemoSettings::default() };
    let mut first = connect(settings.clone(), &ConnectOptions::new("/")).await.unwrap_or_else(|e| panic!("{e}"));
    first.turn("say one").await;
    let earlier = first.connected.agent.session().to_owned();
    drop(first);

    let session = SessionStart::Continue(earlier.clone());
    let options = ConnectOptions { session, ..ConnectOptions::new("/") };
    let mut second = connect(settings.clone(), &options).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((second.connected.how, second.connected.agent.session()), (SessionHow::Resumed, earlier.as_str()));
    assert_eq!(second.turn("count").await[0], "agent_message_chunk I have seen 2 prompts in this session");

    // One that is gone: both ways are tried, then a new one is begun.
    let session = SessionStart::Continue("demo-77".to_owned());
    let options = ConnectOptions { session, ..ConnectOptions::new("/") };
    let third = connect(settings.clone(), &options).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(third.connected.how, SessionHow::New);
    let tried: Vec<(Step, i64)> = third.connected.refused.iter().map(|(step, error)| (*step, error.code)).collect();
    assert_eq!(tried, [(Step::Resume, -32002), (Step::Load, -32002)]);

    let options = ConnectOptions { session: SessionStart::ContinueOrFail("demo-77".to_owned()), ..options };
    let error = connect(settings, &options).await.err().unwrap();
    assert!(matches!(error, ConnectError::Refused { step: Step::Load, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_fail_have_names() {
    let quick = |options: ConnectOptions| {
        let deadlines = Deadlines { initialize: Duration::from_millis(200), ..Deadlines::default() };
        ConnectOptions { deadlines, ..options }
    };
    let options = quick(ConnectOptions::new("/"));
    let failed = async |settings, options: &ConnectOptions| connect(settings, options).await.err().unwrap().to_string();
    let silent = DemoSettings { never_initialize: true, ..DemoSettings::default() };
    assert_eq!(failed(silent, &options).await, "the agent did not answer initialize within 200ms");
    let old = DemoSettings { old_protocol: Some(0), ..DemoSettings::default() };
    assert_eq!(failed(old, &options).await, "the agent speaks version 0 of the protocol; this client speaks version 1");
    let newer = DemoSettings { old_protocol: Some(2), ..DemoSettings::default() };
    assert_eq!(
        failed(newer, &options).await,
        "the agent speaks version 2 of the protocol; this client speaks version 1"
    );

    let locked = DemoSettings { auth_required: Some(AuthAt::New), ..DemoSettings::default() };
    let Err(ConnectError::AuthRequired { methods, .. }) = connect(locked.clone(), &options).await else { panic!() };
    assert_eq!(methods[0].id, "demo-login");
    let options = ConnectOptions { authenticate: Some("demo-login".to_owned()), ..options };
    assert!(connect(locked, &options).await.is_ok());
    let options = ConnectOptions { cwd: "relative".to_owned(), ..options };
    let relative = failed(DemoSettings::default(), &options).await;
    assert_eq!(relative, "the agent refused session/new: cwd must be absolute (code -32602)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_received_equals_the_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let settings = DemoSettings { ledger: Some(path.clone()), ..DemoSettings::default() };
    let (connection, mut messages) = demo(settings);
    let options = ConnectOptions::new("/");
    let mut entries = Vec::new();
    let mut note = |received: &Received| entries.push(Entry::of(Direction::Out, received.number, &received.raw));
    let connecting = connection.connect(&options);
    tokio::pin!(connecting);
    let agent = loop {
        tokio::select! {
            connected = &mut connecting => break connected.unwrap_or_else(|e| panic!("{e}")).agent,
            Some(received) = messages.recv() => note(&received),
        }
    };
    let prompt = "garbage 6\ninvalid utf8\nstream 10000\nlong line 3\nflood 1 MB\nsay end";
    agent.prompt("t", &text(prompt)).unwrap();
    loop {
        let received = next(&mut messages).await;
        note(&received);
        if matches!(received.message, AgentMessage::TurnEnded(_)) {
            break;
        }
    }
    let sent: Vec<Entry> = ledger::read(&path).unwrap().into_iter().filter(|e| e.direction == Direction::Out).collect();
    assert_eq!(entries.len(), sent.len());
    assert_eq!(entries, sent);
}
