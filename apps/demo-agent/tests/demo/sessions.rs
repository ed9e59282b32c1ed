//! The handshake, sessions that outlive their process, settings, and the ledger.

use std::path::Path;

use crate::support::{Client, start};
use kanvoy_demo_agent::ledger::{self, Direction, Entry};
use kanvoy_demo_agent::{AuthAt, Settings};
use serde_json::{Value, json};

fn open(client: &mut Client, cwd: &Path) -> Value {
    client.ask("session/new", json!({ "cwd": cwd, "mcpServers": [] }))
}

#[test]
fn it_shakes_hands() {
    let (mut client, _agent) = start(Settings::default());
    assert_eq!(client.ask("session/new", json!({}))["error"]["code"], -32600);
    let answer = client.initialize();
    assert_eq!(answer["result"]["protocolVersion"], 1);
    assert_eq!(answer["result"]["agentCapabilities"]["loadSession"], true);
    assert_eq!(client.ask("session/new", json!({ "cwd": "relative", "mcpServers": [] }))["error"]["code"], -32602);
    assert_eq!(client.ask("session/new", json!({ "cwd": "/" }))["error"]["code"], -32602);
    assert_eq!(client.ask("no/such", json!({}))["error"]["code"], -32601);
    let opened = open(&mut client, Path::new("/"));
    assert_eq!(opened["result"]["modes"]["currentModeId"], "build");
    assert_eq!(opened["result"]["configOptions"][0]["currentValue"], "demo-small");

    let (mut client, _agent) = start(Settings { old_protocol: Some(0), ..Settings::default() });
    assert_eq!(client.initialize()["result"]["protocolVersion"], 0);
}

#[test]
fn it_wants_a_login_where_it_was_told_to() {
    let (mut client, _agent) = start(Settings { auth_required: Some(AuthAt::New), ..Settings::default() });
    assert_eq!(client.initialize()["result"]["authMethods"][0]["id"], "demo-login");
    assert_eq!(open(&mut client, Path::new("/"))["error"]["code"], -32000);
    assert_eq!(client.ask("authenticate", json!({ "methodId": "other" }))["error"]["code"], -32602);
    assert!(client.ask("authenticate", json!({ "methodId": "demo-login" }))["error"].is_null());
    assert!(open(&mut client, Path::new("/"))["error"].is_null());

    let (client, _agent) = start(Settings { auth_required: Some(AuthAt::Prompt), ..Settings::default() });
    let mut client = client.ready(Path::new("/"));
    assert_eq!(client.turn("say x"), "error -32000 Authentication required");
}

#[test]
fn it_changes_its_settings() {
    let (client, _agent) = start(Settings::default());
    let mut client = client.ready(Path::new("/"));
    let session = client.session.clone();
    client.ask("session/set_mode", json!({ "sessionId": session, "modeId": "plan" }));
    assert_eq!(client.story, ["mode plan"]);
    let wrong = client.ask("session/set_mode", json!({ "sessionId": session, "modeId": "x" }));
    assert_eq!(wrong["error"]["code"], -32602);
    let set = |id: &str, value: Value| json!({ "sessionId": session, "configId": id, "value": value });
    let options = client.ask("session/set_config_option", set("model", json!("demo-large")));
    assert_eq!(options["result"]["configOptions"][0]["currentValue"], "demo-large");
    let options = client.ask("session/set_config_option", set("chatty", json!(true)));
    assert_eq!(options["result"]["configOptions"][1]["currentValue"], true);
    assert_eq!(client.ask("session/set_config_option", set("model", json!("x")))["error"]["code"], -32602);
    assert!(client.ask("session/close", json!({ "sessionId": session }))["error"].is_null());
    assert_eq!(client.turn("say x"), format!("error -32002 no session {session}"));
}

#[test]
fn another_process_takes_the_session_up() {
    let home = tempfile::tempdir().unwrap();
    let settings = Settings { home: Some(home.path().to_owned()), ..Settings::default() };
    let (client, _agent) = start(settings.clone());
    let mut client = client.ready(home.path());
    client.turn("say first");
    client.turn("say second");
    let session = client.session.clone();
    drop(client);

    let take_up = |method: &str| {
        let (mut client, agent) = start(settings.clone());
        client.initialize();
        let params = json!({ "sessionId": session, "cwd": home.path(), "mcpServers": [] });
        assert!(client.ask(method, params)["error"].is_null());
        client.session.clone_from(&session);
        (client, agent)
    };
    let (mut client, _agent) = take_up("session/load");
    assert_eq!(client.story, ["heard say first", "says first", "heard say second", "says second"]);
    assert_eq!(client.turn("count"), "says I have seen 3 prompts in this session\nend_turn");
    let (mut client, _agent) = take_up("session/resume");
    assert!(client.story.is_empty());
    assert_eq!(client.turn("count"), "says I have seen 4 prompts in this session\nend_turn");
    let unknown = json!({ "sessionId": "demo-99", "cwd": "/", "mcpServers": [] });
    assert_eq!(client.ask("session/load", unknown)["error"]["code"], -32002);
}

#[test]
fn the_ledger_has_every_line_of_both_directions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let settings = Settings { ledger: Some(path.clone()), ..Settings::default() };
    let (client, agent) = start(settings);
    let mut client = client.ready(directory.path());
    client.begin_prompt("say a\nlong line 1\ngarbage 6\ninvalid utf8\nflood 0.1 MB\nsay z");
    let mut seen = Vec::new();
    loop {
        let line = client.line().unwrap();
        let ended = line.windows(8).any(|word| word == b"end_turn");
        seen.push(line);
        if ended {
            break;
        }
    }
    drop(client);
    agent.join().unwrap().unwrap();
    let entries = ledger::read(&path).unwrap();
    let sent: Vec<&Entry> = entries.iter().filter(|entry| entry.direction == Direction::Out).collect();
    // The answers to initialize and session/new came before.
    assert_eq!(sent.len(), seen.len() + 2);
    for (entry, (number, line)) in sent[2..].iter().zip((3..).zip(&seen)) {
        assert_eq!(**entry, Entry::of(Direction::Out, number, line));
    }
    let read: Vec<u64> = entries.iter().filter(|e| e.direction == Direction::In).map(|e| e.number).collect();
    assert_eq!(read, [1, 2, 3]);

    // A second process goes on counting, and what a crash left half-written is not an entry.
    std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    let (client, _agent) = start(Settings { ledger: Some(path.clone()), ..Settings::default() });
    let _client = client.ready(directory.path());
    let again = ledger::read(&path).unwrap();
    assert_eq!(again.last().unwrap().number, seen.len() as u64 + 4);
}
