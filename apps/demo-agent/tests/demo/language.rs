//! Every command of the language, one row each: what is prompted, and what is told.

use std::time::{Duration, Instant};

use crate::support::{Client, start};
use kanvoy_demo_agent::{Ending, Settings};
use serde_json::{Value, json};

fn client(directory: &std::path::Path) -> Client {
    let env = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())];
    start(Settings { env, ..Settings::default() }).0.ready(directory)
}

fn allow() -> Value {
    json!({ "outcome": { "outcome": "selected", "optionId": "once" } })
}

#[track_caller]
fn check(prompt: &str, told: &str) {
    check_answered(prompt, Value::Null, told);
}

#[track_caller]
fn check_answered(prompt: &str, answer: Value, told: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut client = client(directory.path());
    client.answer = answer;
    assert_eq!(client.turn(prompt).replace(&directory.path().display().to_string(), "CWD"), told, "{prompt}");
}

#[test]
fn it_says_and_thinks() {
    check("say hello", "says hello\nend_turn");
    check("Say Hello, World", "says Hello, World\nend_turn");
    check("think hard", "thinks hard\nend_turn");
    check("repeat 3: say ho", "says ho\nsays ho\nsays ho\nend_turn");
    check("repeat 2: repeat 2: think a", "thinks a\nthinks a\nthinks a\nthinks a\nend_turn");
    check("stream 3", "says chunk 1 of 3\nsays chunk 2 of 3\nsays chunk 3 of 3\nend_turn");
    check("count", "says I have seen 1 prompts in this session\nend_turn");
    check("env", "says A=1\nB=2\nend_turn");
    check("env B", "says B=2\nend_turn");
    check("env C", "says C is not set\nend_turn");
    check("stderr a line of log", "end_turn");
}

#[test]
fn it_keeps_a_plan() {
    check("plan a; b; c", "plans a pending, b pending, c pending\nend_turn");
    check("plan a; b\nplan done 2", "plans a pending, b pending\nplans a pending, b completed\nend_turn");
    check("plan a\nplan done 2", "plans a pending\nsays The plan has no step 2\nend_turn");
}

#[test]
fn it_tells_about_its_session() {
    check("usage 10 200", "used 10 of 200 null\nend_turn");
    check("usage 10 200 0.5", "used 10 of 200 {\"amount\":0.5,\"currency\":\"USD\"}\nend_turn");
    check("title A better name", "title A better name\nend_turn");
    check("mode plan", "mode plan\nend_turn");
    check("commands", "offers 2 commands\nend_turn");
}

#[test]
fn it_calls_tools() {
    check(
        "tool Look around",
        "tool-1-1 other Look around pending\ntool-1-1 in_progress\ntool-1-1 completed Look around: done\nend_turn",
    );
    check(
        "failing tool execute: Run the tests",
        "tool-1-1 execute Run the tests pending\ntool-1-1 in_progress\n\
         tool-1-1 failed Run the tests: it did not work\nend_turn",
    );
    check(
        "diff a.txt",
        "tool-1-1 edit Edit a.txt pending\ntool-1-1 in_progress\n\
         tool-1-1 completed diff first\nsecond\nthird→first\nsecond, changed\nthird\nend_turn",
    );
}

#[test]
fn it_really_writes_below_its_directory_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = client(directory.path());
    let told = client.turn("write sub/a.txt one\\ntwo");
    assert!(told.ends_with("tool-1-1 completed diff ?→one\ntwo\nend_turn"), "{told}");
    assert_eq!(std::fs::read_to_string(directory.path().join("sub/a.txt")).unwrap(), "one\ntwo\n");
    let told = client.turn("write sub/a.txt three");
    assert!(told.ends_with("tool-2-1 completed diff one\ntwo→three\nend_turn"), "{told}");

    for outside in ["../a.txt", "/etc/a.txt", "sub/../../a.txt"] {
        let told = client.turn(&format!("write {outside} x"));
        assert!(told.contains("failed that is not below the working directory"), "{told}");
    }
    let other = tempfile::tempdir().unwrap();
    let place = other.path().join("b.txt");
    assert!(client.turn(&format!("write anywhere {} x", place.display())).contains("completed"));
    assert!(place.exists());
    assert!(client.turn("write anywhere /proc/nowhere/x y").contains("failed"));
    assert!(client.turn("read sub/a.txt").ends_with("completed three\nend_turn"));
    assert!(client.turn("read missing").contains("failed No such file"));
    assert!(client.turn("list .").ends_with("completed sub\nend_turn"));
    assert!(client.turn("who").starts_with("says uid "));
    assert!(client.turn("connect 127.0.0.1:1").contains("failed Connection refused"));
}

#[test]
fn it_asks_for_permission() {
    let asked =
        "tool-1-1 execute Delete all pending\nasks Delete all [always=allow_always once=allow_once no=reject_once]";
    let answered = |id: &str| json!({ "outcome": { "outcome": "selected", "optionId": id } });
    let rest = "\nif allowed: say good\nif rejected: say bad\nif cancelled: say never mind";
    let prompt = format!("ask permission Delete all{rest}");
    check_answered(
        &prompt,
        allow(),
        &format!("{asked}\ntool-1-1 completed chosen: once\nsays permission chosen: once\nsays good\nend_turn"),
    );
    check_answered(
        &prompt,
        answered("no"),
        &format!("{asked}\ntool-1-1 failed chosen: no\nsays permission chosen: no\nsays bad\nend_turn"),
    );
    check_answered(
        &prompt,
        json!({ "outcome": { "outcome": "cancelled" } }),
        &format!("{asked}\ntool-1-1 failed cancelled\nsays permission cancelled\nsays never mind\nend_turn"),
    );
    check_answered(
        "ask permission Go [x=frobnicate allow_once]",
        answered("x"),
        "tool-1-1 execute Go pending\nasks Go [x=frobnicate allow_once=allow_once]\ntool-1-1 failed chosen: x\n\
         says permission chosen: x\nend_turn",
    );
    check_answered(
        "ask permission []",
        json!({ "code": -32601, "message": "no" }),
        "tool-1-1 execute do something that needs a yes pending\nasks do something that needs a yes []\n\
         tool-1-1 failed not answered: error -32601\n\
         says permission not answered: error -32601\nend_turn",
    );
}

#[test]
fn it_asks_questions() {
    let accept = json!({ "action": "accept", "content": { "answer": "blue" } });
    check_answered(
        "ask question Which colour? [red, blue]\nif accepted: say thanks",
        accept,
        "asks form Which colour?\nsays answer accepted: \"blue\"\nsays thanks\nend_turn",
    );
    check_answered(
        "ask question Why?\nif declined: say as you like",
        json!({ "action": "decline" }),
        "asks form Why?\nsays answer declined\nsays as you like\nend_turn",
    );
    check_answered(
        "ask link https://example.org/login Log in there",
        json!({ "action": "cancel" }),
        "asks url Log in there\nsays answer cancelled\nend_turn",
    );
    check_answered(
        "request fs/read_text_file",
        json!({ "code": -32601, "message": "no" }),
        "asks for fs/read_text_file\nsays fs/read_text_file was refused: -32601\nend_turn",
    );
    check_answered("request x/y", json!({ "z": 1 }), "asks for x/y\nsays x/y gave {\"z\":1}\nend_turn");
}

#[test]
fn it_ends_turns_in_every_way() {
    check("refuse\nsay never", "refusal");
    check("max tokens", "max_tokens");
    check("max turn requests", "max_turn_requests");
    check("error -32603 it broke", "error -32603 it broke");
    check("error 400", "error 400 as you wished");
}

#[test]
fn it_stops_when_it_is_cancelled() {
    let cancelled = |prompt: &str, at: &'static str| {
        let directory = tempfile::tempdir().unwrap();
        let mut client = client(directory.path());
        client.cancel_at = Some(at);
        client.answer = Value::Null;
        client.turn(prompt)
    };
    let waits = "says ready\ncancelled";
    assert_eq!(cancelled("say ready\nwait for cancel\nsay never", "says ready"), waits);
    assert_eq!(cancelled("say ready\nsleep 60", "says ready"), waits);
    assert_eq!(cancelled("say ready\nstream 9 at 0.01", "says ready"), waits);
    assert!(cancelled("say ready\nflood 100 s", "says ready").ends_with("cancelled"));
    let asked = "asks Go [allow_once=allow_once]";
    assert!(cancelled("ask permission Go [allow_once]", asked).ends_with("\ncancelled"));
    let deaf = cancelled("say ready\nignore cancel 200ms\nsay done anyway", "says ready");
    assert_eq!(deaf, "says ready\nsays done anyway\nend_turn");
}

#[test]
fn time_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = client(directory.path());
    let begun = Instant::now();
    assert_eq!(client.turn("sleep 100ms"), "end_turn");
    assert_eq!(client.turn("stream 2 at 20").lines().count(), 3);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    client.begin_prompt("ignore cancel");
    client.send(&json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": { "sessionId": client.session } }));
    let id = client.begin_prompt("say two at once");
    let second = client.until_answered(id).unwrap();
    assert_eq!(second["error"]["code"], -32600, "{second}");
}

#[test]
fn it_misbehaves_on_request() {
    check(
        "garbage 6\nsay still here",
        "noise npm warn deprecated left-pad@1.0.0: use String.prototype.padStart\n\
         noise \u{1b}[32m✔\u{1b}[0m ready in 12 ms\nnoise {\"jsonrpc\":\"2.0\",\"method\":\"session/upd\n\
         odd [{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{}}]\nodd 42\nnoise \nsays still here\nend_turn",
    );
    check(
        "garbage\nsay x",
        "noise npm warn deprecated left-pad@1.0.0: use String.prototype.padStart\nsays x\nend_turn",
    );
    check("unknown update", "weather_update \"clear\"\nend_turn");
    check("legacy hello", "legacy [{\"type\":\"text\",\"text\":\"hello\"}]\nend_turn");
    check("raw {\"jsonrpc\":\"2.0\",\"method\":\"x\"}", "asks for x\nend_turn");
    check("child 1", "says I have no program to run\nend_turn");
    check("eat 3", "says ate 3 MB\nend_turn");

    let directory = tempfile::tempdir().unwrap();
    let mut client = client(directory.path());
    client.begin_prompt("long line 2 MB\ninvalid utf8\nflood 0.2 MB");
    let long = client.line().unwrap();
    assert_eq!(long.len(), 2 << 20);
    assert!(serde_json::from_slice::<Value>(&long).is_ok());
    assert!(String::from_utf8(client.line().unwrap()).is_err());
    let mut lines = 0;
    loop {
        let line: Value = serde_json::from_slice(&client.line().unwrap()).unwrap();
        if line["result"]["stopReason"] == "end_turn" {
            break;
        }
        lines += 1;
        let text = line["params"]["update"]["content"]["text"].as_str().unwrap();
        assert!(text.starts_with(&format!("flood {lines:010} ")), "{text}");
    }
    assert!(lines * 300 >= 200_000, "{lines}");
    let begun = Instant::now();
    client.turn("flood 100ms");
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[test]
fn it_goes_in_the_middle_of_a_turn() {
    for (prompt, ending) in [("exit 7", Ending::Exit(7)), ("crash", Ending::Crash)] {
        let directory = tempfile::tempdir().unwrap();
        let (client, agent) = start(Settings::default());
        let mut client = client.ready(directory.path());
        client.begin_prompt(prompt);
        assert_eq!(agent.join().unwrap().unwrap(), ending, "{prompt}");
    }
    let (client, agent) = start(Settings::default());
    drop(client);
    assert_eq!(agent.join().unwrap().unwrap(), Ending::Eof);
}

#[test]
fn a_card_of_plain_prose_is_answered() {
    check(
        "Fix the login\n\nPeople cannot log in.\nPlease look at it.",
        "says I read “Fix the login” and 2 more lines. I only do what my little language says; try: help\nend_turn",
    );
    check("Hello", "says I read “Hello”. I only do what my little language says; try: help\nend_turn");
    check("Show a plan\n\nplan a\n", "says On it: Show a plan\nplans a pending\nend_turn");
    check("say a\nfly to the moon", "says a\nsays I don't know how to fly to the moon\nend_turn");
    check("sleep well", "says I don't know how to sleep well (it goes: sleep SECONDS)\nend_turn");
    check(
        "saying is not saying",
        "says I read “saying is not saying”. I only do what my little language says; try: help\nend_turn",
    );
    let help = format!("says {}\nend_turn", kanvoy_demo_agent::words::HELP.trim_end());
    check("help", &help);
}
