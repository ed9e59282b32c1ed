//! A restart of ours while the agent runs on: what was stored is enough to go on.

use futures_util::stream;
use kanvoy_acp::*;
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::support::*;

/// Lines handed over from a journal instead of a pipe.
fn journal(
    lines: Vec<(u64, String)>,
) -> impl futures_util::Stream<Item = std::io::Result<Vec<Incoming>>> + Send + Unpin {
    let lines = lines.into_iter().map(|(number, line)| Incoming::new(number, line)).collect();
    // A journal does not end: the agent is still there.
    Box::pin(futures_util::StreamExt::chain(stream::iter([Ok(lines)]), stream::pending()))
}

fn resume(state: &AgentState, lines: Vec<(u64, String)>) -> (Agent, Messages, Script, Log) {
    let Ends { read: _, write, script } = ends(64 << 10);
    let log = Log::default();
    let outlet = Noted { inner: WriteTo(write), log: log.clone(), fail_at: None };
    let settings = Settings { generation: 2, ..Settings::default() };
    let stored: AgentState = serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap();
    let (agent, messages) =
        Agent::resume(stored, journal(lines), outlet, settings, Deadlines::default(), &TaskTracker::new());
    (agent, messages, script, log)
}

fn kept(log: &Log) -> Vec<Outgoing> {
    let log = log.lock().unwrap();
    log.iter().filter_map(|did| if let Did::Kept(line) = did { Some(line.clone()) } else { None }).collect()
}

fn permission(id: u64) -> String {
    json!({ "id": id, "method": "session/request_permission", "params": { "sessionId": "s1", "options": [] } })
        .to_string()
}

fn ended(turn: &str) -> String {
    json!({ "id": turn, "result": { "stopReason": "end_turn" } }).to_string()
}

/// A session in the middle of a turn, with one permission open, and what was stored of it.
async fn interrupted() -> AgentState {
    let (agent, mut messages, mut script, log) = session(Settings::default()).await;
    agent.prompt("turn-1", &text("go")).unwrap();
    script.expect("session/prompt").await;
    script.say(permission(0)).await;
    let mut state =
        AgentState { session: agent.session().to_owned(), offers: agent.offers().clone(), ..AgentState::default() };
    let received = next(&mut messages).await;
    // Stopped in good order: what is open stays open.
    agent.connection().detach().await;
    for line in kept(&log) {
        state.sent(&line);
    }
    state.received(&received);
    drop(received);
    assert_eq!(kept(&log).len(), 3, "nothing was said at the end");
    assert!(messages.recv().await.is_none());
    assert_eq!((state.turn.as_deref(), state.open.len(), state.next_line), (Some("turn-1"), 1, 4));
    state
}

#[tokio::test]
async fn an_answer_and_an_end_that_come_after_a_restart() {
    let state = interrupted().await;
    let (agent, mut messages, mut script, log) = resume(&state, vec![(4, ended("turn-1"))]);
    assert_eq!(retell(&next(&mut messages).await), "ended turn-1 end_turn withdrawn");
    assert_eq!(script.line().await.unwrap()["result"]["outcome"]["outcome"], "cancelled");
    assert_eq!(kept(&log)[0].number, 4, "numbers go on");
    assert_eq!(agent.turn(), None);

    let (agent, _messages, mut script, _) = resume(&state, vec![]);
    assert_eq!(agent.turn().as_deref(), Some("turn-1"));
    assert!(matches!(agent.prompt("turn-2", &text("x")), Err(PromptError::TurnRunning(_))));
    agent.answer(&state.open[0], &select("yes")).unwrap();
    let answer = script.line().await.unwrap();
    assert_eq!((&answer["id"], &answer["result"]["outcome"]["optionId"]), (&json!(0), &json!("yes")));
    assert!(matches!(agent.answer(&state.open[0], &select("yes")), Err(AnswerError::NotOpen)));
}

#[tokio::test]
async fn a_line_that_is_handed_over_again_is_not_a_second_one() {
    let state = interrupted().await;
    let asked = state.open[0].line;
    // The line was stored, and its acknowledgement was lost.
    let (agent, mut messages, mut script, _) = resume(&state, vec![(asked, permission(0))]);
    let AgentMessage::PermissionAsked(again) = next(&mut messages).await.message else { panic!() };
    assert_eq!(again.reply.id(), &state.open[0]);
    again.reply.send(&select("yes")).unwrap();
    assert_eq!(script.line().await.unwrap()["id"], 0);
    assert!(agent.close_open().is_empty());
}

#[tokio::test]
async fn an_answer_that_was_kept_before_its_question_is_not_given_twice() {
    // A cancel was on its way, so the answer went out at once; then we stopped before the question was stored.
    let mut state = interrupted().await;
    let question = ReplyId { rpc: "5".to_owned(), line: 9, ask: Ask::Permission };
    let sent = Outgoing { number: 4, bytes: "{}".into(), what: Sent::Answer { to: question } };
    state.sent(&sent);
    assert_eq!(state.answered_early[0].rpc, "5");
    let unknown = json!({ "id": 6, "method": "fs/read_text_file" }).to_string();
    state.sent(&Outgoing {
        number: 5,
        bytes: "{}".into(),
        what: Sent::Error { method: "x".to_owned(), code: -32601, line: 10 },
    });
    let (agent, mut messages, mut script, log) =
        resume(&state, vec![(9, permission(5)), (10, unknown.clone()), (11, unknown)]);
    let received = next(&mut messages).await;
    let AgentMessage::PermissionAsked(asked) = &received.message else { panic!() };
    assert!(!asked.reply.is_open());
    state.received(&received);
    assert!(state.answered_early.is_empty());
    assert_eq!(state.open.len(), 1);
    drop(received);
    for _ in 0..2 {
        assert_eq!(retell(&next(&mut messages).await), "refused fs/read_text_file -32601");
    }
    script.line().await.unwrap();
    assert_eq!(kept(&log).len(), 1, "only the line that had not been refused");
    assert_eq!(agent.close_open().len(), 1);
}

#[tokio::test]
async fn names_of_requests_do_not_meet_those_from_before() {
    let state = interrupted().await;
    let late = json!({ "id": "k1-1", "result": {} }).to_string();
    let (agent, mut messages, mut script, _) = resume(&state, vec![(4, late)]);
    let asking = async {
        let asked = script.expect("session/set_mode").await;
        assert_eq!(asked["id"], "k2-1");
    };
    let set = agent.set_mode("x");
    tokio::select! {
        () = asking => {}
        _ = set => panic!("answered by somebody else's answer"),
    }
    assert_eq!(retell(&next(&mut messages).await), "stray \"k1-1\"");
}
