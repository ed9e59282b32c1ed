//! Transcripts of agents as they are, and as they should not be.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kanvoy_acp::*;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::support::*;

/// What a running turn makes of these lines.
async fn told(lines: &[&str]) -> Vec<String> {
    let (agent, mut messages, mut script, _) = session(Settings::default()).await;
    agent.prompt("turn-1", &text("go")).unwrap();
    script.expect("session/prompt").await;
    let mut told = Vec::new();
    for line in lines {
        script.say(line).await;
        let received = next(&mut messages).await;
        assert_eq!(received.raw, line.as_bytes(), "the line is kept as it came");
        told.push(retell(&received));
    }
    told
}

async fn check(line: &str, expected: &str) {
    assert_eq!(told(&[line]).await, [expected], "{line}");
}

#[tokio::test]
async fn updates_are_kept_whatever_they_are() {
    let update = |update: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"s1","update":{update}}}}}"#)
    };
    for (line, expected) in [
        (r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"hi"}}"#, "agent_message_chunk hi"),
        (r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"hologram"}}"#, "agent_message_chunk ?"),
        (
            r#"{"sessionUpdate":"tool_call_update","toolCallId":"t9","status":"completed"}"#,
            "tool_call_update t9 completed",
        ),
        (r#"{"sessionUpdate":"tool_call","toolCallId":"t9","title":"x"}"#, "tool_call t9 ?"),
        (r#"{"sessionUpdate":"plan","entries":[]}"#, "plan"),
        (r#"{"sessionUpdate":"usage_update","used":-1,"size":0}"#, "usage_update untyped"),
        (r#"{"sessionUpdate":"usage_update","used":1,"size":2}"#, "usage_update"),
        (r#"{"sessionUpdate":"weather_update","sky":"clear"}"#, "weather_update untyped"),
        (r#"{"sessionUpdate":7}"#, "notifies session/update"),
        (r#"{}"#, "notifies session/update"),
    ] {
        check(&update(line), expected).await;
    }
    let stray = update(r#"{"sessionUpdate":"plan","entries":[]}"#).replace("s1", "s2");
    check(&stray, "plan stray").await;
    check(r#"{"method":"session/update","params":{"update":{"sessionUpdate":"plan"}}}"#, "notifies session/update")
        .await;
    check(r#"{"method":"session/update"}"#, "notifies session/update").await;
    check(r#"{"method":"_auth/status_update","params":{"x":1}}"#, "notifies _auth/status_update").await;
}

#[tokio::test]
async fn the_older_shape_is_read() {
    check(
        r#"{"method":"session/update","params":{"sessionId":"s1","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}"#,
        "legacy a+b",
    )
    .await;
    check(
        r#"{"method":"session/update","params":{"sessionId":"s1","content":{"type":"text","text":"a"},"stopReason":"end_turn"}}"#,
        "legacy a end_turn",
    )
    .await;
}

#[tokio::test]
async fn the_older_shape_ends_a_turn_if_it_is_allowed_to() {
    let settings = Settings { legacy_turn_end: true, ..Settings::default() };
    let (agent, mut messages, mut script, _) = session(settings).await;
    for turn in ["turn-1", "turn-2"] {
        agent.prompt(turn, &text("go")).unwrap();
        let prompt = script.expect("session/prompt").await;
        script.say(r#"{"method":"session/update","params":{"content":[],"stopReason":"end_turn"}}"#).await;
        assert_eq!(retell(&next(&mut messages).await), format!("legacy  end_turn ended {turn}"));
        script.answer(&prompt, json!({ "stopReason": "end_turn" })).await;
        assert_eq!(retell(&next(&mut messages).await), format!("stray \"{turn}\""));
    }
}

#[tokio::test]
async fn noise_is_kept_and_ends_nothing() {
    let lines = ["npm warn", "", "[1]", "{\"half\":", "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700}}"];
    let expected = ["noise not_json", "noise empty", "noise not_rpc", "noise not_json", "noise null_id"];
    assert_eq!(told(&lines).await, expected);

    let (_agent, mut messages, mut script, log) = session(Settings::default()).await;
    script.raw(b"{\"method\":\"\xff\"}\n").await;
    let received = next(&mut messages).await;
    assert_eq!((retell(&received).as_str(), &received.raw[..]), ("noise invalid_utf8", &b"{\"method\":\"\xff\"}"[..]));
    // Half a character, and the rest of it later.
    let line = "{\"method\":\"session/update\",\"params\":{\"sessionId\":\"s1\",\"update\":{\"sessionUpdate\":\"agent_message_chunk\",\"content\":{\"text\":\"€uro\"}}}}\n";
    let middle = line.find('€').unwrap() + 1;
    script.raw(&line.as_bytes()[..middle]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    script.raw(&line.as_bytes()[middle..]).await;
    assert_eq!(retell(&next(&mut messages).await), "agent_message_chunk €uro Idle");
    script.raw(b"{\"method\":\"without a newline\"}").await;
    script.close().await;
    assert_eq!(retell(&next(&mut messages).await), "notifies without a newline");
    assert_eq!(retell(&next(&mut messages).await), "closed Eof - open 0");
    assert!(messages.recv().await.is_none());
    assert_eq!(log.lock().unwrap().len(), 4, "nobody was told about any of it");
}

#[tokio::test]
async fn a_line_of_forty_megabytes_is_cut() {
    let (_agent, mut messages, mut script, _) = session(Settings::default()).await;
    let length = 40 << 20;
    let writer = async {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            script.raw(&piece).await;
        }
        script.say("").await;
        script.update(json!({ "sessionUpdate": "plan", "entries": [] })).await;
        script
    };
    let reader = async {
        let long = next(&mut messages).await;
        assert_eq!(retell(&long), "noise oversize");
        assert_eq!((long.raw.len(), long.cut.unwrap().length), (Cut::KEPT, length));
        assert_eq!(retell(&next(&mut messages).await), "plan Idle");
    };
    tokio::join!(writer, reader);
}

#[tokio::test]
async fn every_request_is_answered() {
    let (agent, mut messages, mut script, log) = session(Settings::default()).await;
    let ask = |id: Value, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    for (line, told, code) in [
        (ask(json!(0), "fs/read_text_file", json!({ "path": "/x" })), "refused fs/read_text_file -32601", -32601),
        (ask(json!("a"), "terminal/create", json!({})), "refused terminal/create -32601", -32601),
        (ask(json!(null), "craft/drainMidTurnQueue", json!([])), "refused craft/drainMidTurnQueue -32601", -32601),
        (ask(json!(1.5), "session/request_permission", json!({})), "refused session/request_permission -32602", -32602),
        (ask(json!(2), "session/request_permission", json!(7)), "refused session/request_permission -32602", -32602),
        (
            ask(json!(3), "elicitation/create", json!({ "mode": "hologram" })),
            "refused elicitation/create -32602",
            -32602,
        ),
    ] {
        script.say(&line).await;
        assert_eq!(retell(&next(&mut messages).await), told);
        let answer = script.line().await.unwrap();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&line["id"], &json!(code)));
    }
    let last = log.lock().unwrap().iter().rev().find_map(|did| match did {
        Did::Kept(line) => Some((line.method().to_owned(), line.what.clone())),
        Did::Written(_) => None,
    });
    assert_eq!(last.unwrap().0, "elicitation/create");

    // A permission, chosen; a question, declined; one forgotten, and so cancelled.
    let once = json!([{ "optionId": "yes", "name": "Yes", "kind": "allow_once" }]);
    script.ask_permission(json!(7), once).await;
    let AgentMessage::PermissionAsked(asked) = next(&mut messages).await.message else { panic!() };
    assert_eq!(asked.tool_call.as_ref().unwrap().parse::<Value>().unwrap()["title"], "Go");
    assert!(asked.reply.is_open());
    let (id, reply) = (asked.reply.id().clone(), asked.reply);
    reply.send(&select("yes")).unwrap();
    assert!(matches!(agent.answer(&id, &select("yes")), Err(AnswerError::NotOpen)), "answered once");
    let answer = script.line().await.unwrap();
    assert_eq!(
        answer,
        json!({ "jsonrpc": "2.0", "id": 7, "result": { "outcome": { "outcome": "selected", "optionId": "yes" } } })
    );

    let form = json!({ "sessionId": "s1", "mode": "form", "message": "Why?", "requestedSchema": { "type": "object" } });
    script.say(ask(json!("q"), "elicitation/create", form.clone())).await;
    let AgentMessage::QuestionAsked(asked) = next(&mut messages).await.message else { panic!() };
    let id = asked.reply.keep_open();
    assert!(matches!(agent.answer(&id, &select("x")), Err(AnswerError::WrongKind(Ask::Question))));
    agent.answer(&id, &Answer::Accept(Some(json!({ "answer": 42 })))).unwrap();
    assert_eq!(script.line().await.unwrap()["result"], json!({ "action": "accept", "content": { "answer": 42 } }));

    script.say(ask(json!("q"), "elicitation/create", form)).await;
    drop(next(&mut messages).await);
    assert_eq!(script.line().await.unwrap()["result"], json!({ "action": "cancel" }));
}

#[tokio::test]
async fn permissions_are_read_as_far_as_they_go() {
    for (options, expected) in [
        (json!([]), "asks permission []"),
        (json!(7), "asks permission []"),
        (json!([{ "optionId": "a", "kind": "frobnicate" }, { "name": "no id" }, 5]), "asks permission [a=frobnicate]"),
        (
            json!([{ "optionId": "a", "name": 5 }, { "optionId": "b", "kind": "allow_once" }]),
            "asks permission [a= b=allow_once]",
        ),
    ] {
        let (_agent, mut messages, mut script, _) = session(Settings::default()).await;
        script.ask_permission(json!(0), options).await;
        assert_eq!(retell(&next(&mut messages).await), expected);
    }
    let (_agent, mut messages, mut script, _) = session(Settings::default()).await;
    let many: Vec<Value> = (0..1000).map(|at| json!({ "optionId": at.to_string(), "kind": "allow_once" })).collect();
    script.ask_permission(json!(0), json!(many)).await;
    let AgentMessage::PermissionAsked(asked) = next(&mut messages).await.message else { panic!() };
    assert_eq!(asked.options.len(), 1000);
}

#[tokio::test]
async fn ids_may_be_used_again_but_not_at_once() {
    let (_agent, mut messages, mut script, _) = session(Settings::default()).await;
    script.ask_permission(json!(0), json!([])).await;
    let AgentMessage::PermissionAsked(first) = next(&mut messages).await.message else { panic!() };
    script.ask_permission(json!(0), json!([])).await;
    assert_eq!(retell(&next(&mut messages).await), "repeated session/request_permission");
    let old = first.reply.keep_open();
    first_answer(&mut script, &old, &_agent).await;
    script.ask_permission(json!(0), json!([])).await;
    let AgentMessage::PermissionAsked(second) = next(&mut messages).await.message else { panic!() };
    // The old name does not reach the new request.
    assert!(matches!(_agent.answer(&old, &Answer::Cancelled), Err(AnswerError::NotOpen)));
    assert!(second.reply.is_open());
    script.say(json!({ "jsonrpc": "2.0", "id": 99, "result": {} })).await;
    assert_eq!(retell(&next(&mut messages).await), "stray 99");
    script.say(json!({ "jsonrpc": "2.0", "method": "$/cancel_request", "params": { "requestId": 0 } })).await;
    assert_eq!(retell(&next(&mut messages).await), "withdraws 0");
    assert_eq!(script.line().await.unwrap()["error"]["code"], -32800);
    script.say(json!({ "jsonrpc": "2.0", "method": "$/cancel_request", "params": { "requestId": 0 } })).await;
    assert_eq!(retell(&next(&mut messages).await), "notifies $/cancel_request");
}

async fn first_answer(script: &mut Script, id: &ReplyId, agent: &Agent) {
    agent.answer(id, &Answer::Cancelled).unwrap();
    assert_eq!(script.line().await.unwrap()["result"]["outcome"]["outcome"], "cancelled");
}

#[tokio::test]
async fn only_so_many_requests_are_open() {
    let settings = Settings { open_requests: 2, ..Settings::default() };
    let (agent, mut messages, mut script, _) = session(settings).await;
    let mut replies = Vec::new();
    for id in 0..3 {
        script.ask_permission(json!(id), json!([])).await;
        let received = next(&mut messages).await;
        match received.message {
            AgentMessage::PermissionAsked(asked) => replies.push(asked.reply),
            _ => assert_eq!(retell(&received), "refused session/request_permission -32602"),
        }
    }
    assert_eq!(replies.len(), 2);
    assert_eq!(script.line().await.unwrap()["id"], 2);
    assert_eq!(agent.close_open().len(), 2);
    assert!(replies.iter().all(|reply| !reply.is_open()));
}

#[tokio::test]
async fn a_cancel_answers_everything_in_one_place() {
    let (agent, mut messages, mut script, _) = session(Settings::default()).await;
    agent.prompt("turn-1", &text("go")).unwrap();
    assert!(matches!(agent.prompt("turn-2", &text("go")), Err(PromptError::TurnRunning(turn)) if turn == "turn-1"));
    let prompt = script.expect("session/prompt").await;
    assert_eq!(prompt["id"], "turn-1");
    script.ask_permission(json!(0), json!([])).await;
    let AgentMessage::PermissionAsked(asked) = next(&mut messages).await.message else { panic!() };
    assert_eq!(agent.cancel().unwrap(), [asked.reply.id().clone()]);
    script.expect("session/cancel").await;
    let cancelled = json!({ "outcome": { "outcome": "cancelled" } });
    assert_eq!(script.line().await.unwrap()["result"], cancelled);
    assert!(!asked.reply.is_open());
    // Asked while the cancel was on its way; and news until the end.
    script.ask_permission(json!(1), json!([])).await;
    let AgentMessage::PermissionAsked(late) = next(&mut messages).await.message else { panic!() };
    assert!(!late.reply.is_open());
    assert_eq!(script.line().await.unwrap(), json!({ "jsonrpc": "2.0", "id": 1, "result": cancelled }));
    script.update(json!({ "sessionUpdate": "plan" })).await;
    assert_eq!(retell(&next(&mut messages).await), "plan untyped Cancelling");
    script.answer(&prompt, json!({ "stopReason": "cancelled" })).await;
    assert_eq!(retell(&next(&mut messages).await), "ended turn-1 cancelled");
    // Harmless without a turn, and the next turn is not cancelled.
    assert!(agent.cancel().unwrap().is_empty());
    script.expect("session/cancel").await;
    agent.prompt("turn-2", &text("go")).unwrap();
    script.expect("session/prompt").await;
    script.ask_permission(json!(2), json!([])).await;
    let AgentMessage::PermissionAsked(asked) = next(&mut messages).await.message else { panic!() };
    assert!(asked.reply.is_open());
}

#[tokio::test]
async fn turns_end_in_every_way() {
    let (agent, mut messages, mut script, _) = session(Settings::default()).await;
    for (at, (answer, expected)) in [
        (json!({ "result": { "stopReason": "end_turn", "usage": { "totalTokens": 7 } } }), "end_turn"),
        (json!({ "result": { "stopReason": "refusal" } }), "refusal"),
        (json!({ "result": { "stopReason": "tired" } }), "tired"),
        (json!({ "result": null }), "unreadable"),
        (json!({ "result": { "stopReason": 5 } }), "unreadable"),
        (json!({ "error": { "code": 400, "message": "bad model", "data": [1] } }), "failed bad model (code 400)"),
        (json!({ "error": { "code": "500", "message": 5 } }), "failed 5 (code 500)"),
        (json!({ "error": "no" }), "failed no (code 0)"),
        (json!({ "error": { "code": -32603 } }), "failed the agent gave no message (code -32603)"),
        (json!({ "error": { "code": -32000, "message": "log in" } }), "login needed"),
    ]
    .into_iter()
    .enumerate()
    {
        let turn = format!("turn-{at}");
        agent.prompt(&turn, &text("go")).unwrap();
        let prompt = script.expect("session/prompt").await;
        // It asks and does not wait.
        script.ask_permission(json!(at), json!([])).await;
        let AgentMessage::PermissionAsked(asked) = next(&mut messages).await.message else { panic!() };
        let mut answer = answer;
        answer["id"] = prompt["id"].clone();
        script.say(&answer).await;
        assert_eq!(retell(&next(&mut messages).await), format!("ended {turn} {expected} withdrawn"));
        assert_eq!(script.line().await.unwrap()["result"]["outcome"]["outcome"], "cancelled");
        assert!(!asked.reply.is_open());
        script.say(&answer).await;
        assert_eq!(retell(&next(&mut messages).await), format!("stray \"{turn}\""), "a turn ends once");
        assert_eq!(agent.turn(), None);
    }
}

#[tokio::test]
async fn lines_are_kept_before_they_are_written() {
    let (agent, _messages, mut script, log) = session(Settings::default()).await;
    agent.prompt("turn-1", &text("go")).unwrap();
    agent.cancel().unwrap();
    script.expect("session/prompt").await;
    script.expect("session/cancel").await;
    tokio::task::yield_now().await;
    let log = log.lock().unwrap().clone();
    let mut numbers = Vec::new();
    for pair in log.chunks(2) {
        let [Did::Kept(line), Did::Written(number)] = pair else { panic!("{pair:?}") };
        assert_eq!(line.number, *number);
        numbers.push((line.number, line.method().to_owned()));
    }
    let methods = ["initialize", "session/new", "session/prompt", "session/cancel"];
    assert_eq!(numbers, (1..).zip(methods.map(str::to_owned)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_not_kept_is_not_said() {
    let Ends { read, write, mut script } = ends(1 << 16);
    let outlet = Noted { inner: WriteTo(write), log: Log::default(), fail_at: Some(2) };
    let settings = Settings { last_words: (Duration::from_millis(50), Duration::from_secs(1)), ..Settings::default() };
    let (connection, mut messages) =
        Connection::open(read_lines(read, MAX_LINE), outlet, settings, &TaskTracker::new());
    connection.notify("one", json!({})).unwrap();
    connection.notify("two", json!({})).unwrap();
    script.expect("one").await;
    let closed = next(&mut messages).await;
    assert_eq!(retell(&closed), "closed NotKept(\"the disk is full\") - open 0");
    assert!(script.line().await.is_none());
    assert!(matches!(connection.notify("three", json!({})), Err(SendError::Closed)));
}

#[tokio::test]
async fn an_agent_that_goes_takes_everything_with_it() {
    let (agent, mut messages, mut script, _) = session(Settings::default()).await;
    agent.prompt("turn-1", &text("go")).unwrap();
    script.expect("session/prompt").await;
    script.ask_permission(json!(0), json!([])).await;
    let AgentMessage::PermissionAsked(asked) = next(&mut messages).await.message else { panic!() };
    let setting = agent.set_mode("x");
    let going = async {
        script.expect("session/set_mode").await;
        script.close().await;
    };
    let (set, ()) = tokio::join!(setting, going);
    assert!(matches!(set, Err(RequestError::Closed)));
    assert_eq!(retell(&next(&mut messages).await), "closed Eof turn-1 open 1");
    assert!(matches!(asked.reply.send(&select("x")), Err(AnswerError::NotOpen)));
    assert!(matches!(agent.prompt("turn-2", &text("x")), Err(PromptError::Send(SendError::Closed))));
}

#[tokio::test]
async fn a_deaf_agent_is_given_up() {
    let Ends { read, write, mut script } = ends(4 << 10);
    let settings = Settings {
        write_deadline: Duration::from_millis(100),
        last_words: (Duration::from_millis(100), Duration::from_secs(1)),
        outgoing: 4,
        ..Settings::default()
    };
    let (connection, mut messages) =
        Connection::open(read_lines(read, MAX_LINE), WriteTo(write), settings, &TaskTracker::new());
    for _ in 0..4 {
        connection.notify("long", json!({ "text": "x".repeat(4 << 10) })).unwrap();
    }
    assert!(matches!(connection.notify("one more", json!({})), Err(SendError::Busy)));
    // It does not read, and it goes on asking: its requests do not pile up here.
    for id in 0..10 {
        script.say(json!({ "id": id, "method": "fs/read_text_file", "params": {} })).await;
    }
    let begun = Instant::now();
    let mut refused = 0;
    let closed = loop {
        let received = next(&mut messages).await;
        match received.message {
            AgentMessage::Closed(closed) => break closed,
            _ => refused += 1,
        }
    };
    assert!(matches!(closed.why, CloseReason::Deaf(_)), "{:?}", closed.why);
    assert_eq!(refused, 10, "what it said is heard all the same");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_slow_listener_holds_up_the_agent() {
    let settings = Settings { queue: 8, queue_bytes: 4 << 10, ..Settings::default() };
    let Ends { read, write, mut script } = ends(1 << 10);
    let (_connection, mut messages) =
        Connection::open(read_lines(read, MAX_LINE), WriteTo(write), settings, &TaskTracker::new());
    let mut said = 0;
    let line = "x".repeat(1000);
    while tokio::time::timeout(Duration::from_millis(200), script.say(&line)).await.is_ok() {
        said += 1;
        assert!(said < 200, "nothing holds it up");
    }
    // Everything that was said arrives, in order, once somebody listens; a line larger than all of the queue, too.
    let writer = async {
        script.raw(b"\n").await;
        script.say("y".repeat(20 << 10)).await;
        script.close().await;
    };
    let reader = async {
        let mut lines = Vec::new();
        loop {
            let mut batch: Vec<Received> = Vec::new();
            messages.recv_many(&mut batch, 64).await;
            for received in batch {
                if matches!(received.message, AgentMessage::Closed(_)) {
                    return lines;
                }
                lines.push((received.number, received.raw));
            }
        }
    };
    let ((), lines) = tokio::join!(writer, reader);
    let numbers: Vec<u64> = lines.iter().map(|line| line.0).collect();
    assert_eq!(numbers, (1..=lines.len() as u64).collect::<Vec<_>>());
    assert_eq!(lines.last().unwrap().1, Bytes::from("y".repeat(20 << 10)));
    assert!(lines.len() >= said);
}
