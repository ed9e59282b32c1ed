//! The official library plays the agent: two implementations check each other.

use agent_client_protocol::v1::schema as sdk;
use agent_client_protocol::{Agent as SdkAgent, ByteStreams};
use kanvoy_acp::*;
use serde_json::json;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};
use tokio_util::task::TaskTracker;

use crate::support::*;

/// An agent as its authors would write one: it asks for permission once and tells what it was told.
async fn agent(stream: tokio::io::DuplexStream) -> agent_client_protocol::Result<()> {
    let (read, write) = tokio::io::split(stream);
    SdkAgent
        .v1()
        .name("official")
        .on_receive_request(
            async move |asked: sdk::InitializeRequest, responder, _connection| {
                let can = sdk::AgentCapabilities::new().load_session(true);
                responder.respond(sdk::InitializeResponse::new(asked.protocol_version).agent_capabilities(can))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |_: sdk::NewSessionRequest, responder, _connection| {
                responder.respond(sdk::NewSessionResponse::new("official-1"))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |_: sdk::LoadSessionRequest, responder, _connection| {
                responder.respond_with_error(agent_client_protocol::Error::new(-32002, "no such session"))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |prompt: sdk::PromptRequest, responder, connection| {
                let session = prompt.session_id;
                let say = |text: &str| {
                    let chunk = sdk::SessionUpdate::AgentMessageChunk(sdk::ContentChunk::new(text.into()));
                    sdk::SessionNotification::new(session.clone(), chunk)
                };
                connection.send_notification(say("working"))?;
                let call = sdk::ToolCallUpdate::new("t1", sdk::ToolCallUpdateFields::new().title("Go".to_owned()));
                let options = vec![
                    sdk::PermissionOption::new("all", "Always", sdk::PermissionOptionKind::AllowAlways),
                    sdk::PermissionOption::new("one", "Once", sdk::PermissionOptionKind::AllowOnce),
                ];
                let asked = sdk::RequestPermissionRequest::new(session.clone(), call, options);
                let (again, told) = (connection.clone(), session.clone());
                connection.send_request(asked).on_receiving_result(async move |answer| {
                    let reason = match answer?.outcome {
                        sdk::RequestPermissionOutcome::Selected(chosen) => {
                            let text = format!("chosen {}", chosen.option_id);
                            let chunk = sdk::SessionUpdate::AgentMessageChunk(sdk::ContentChunk::new(text.into()));
                            again.send_notification(sdk::SessionNotification::new(told, chunk))?;
                            sdk::StopReason::EndTurn
                        }
                        _ => sdk::StopReason::Cancelled,
                    };
                    responder.respond(sdk::PromptResponse::new(reason))
                })
            },
            agent_client_protocol::on_receive_request!(),
        )
        .connect_to(ByteStreams::new(write.compat_write(), read.compat()))
        .await
}

#[tokio::test]
async fn the_official_agent_understands_us_and_we_it() {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let tasks = TaskTracker::new();
    tasks.spawn(agent(theirs));
    let (read, write) = tokio::io::split(ours);
    let (connection, mut messages) =
        Connection::open(read_lines(read, MAX_LINE), WriteTo(write), Settings::default(), &tasks);
    let session = SessionStart::Continue("earlier".to_owned());
    let options = ConnectOptions { session, ..ConnectOptions::new("/work") };
    let connected = connection.connect(&options).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((connected.how, connected.refused.len()), (SessionHow::New, 1));
    let agent = connected.agent;
    assert_eq!(agent.session(), "official-1");
    for expected in
        ["answered initialize", "answered session/load no such session (code -32002)", "answered session/new"]
    {
        assert_eq!(retell(&next(&mut messages).await), expected);
    }
    // Methods it does not know, noise it does not like, and then business as usual.
    assert!(matches!(agent.set_mode("x").await, Err(RequestError::Refused(error)) if error.code == -32601));
    next(&mut messages).await;
    connection.notify("_kanvoy/nothing", json!({})).unwrap();

    agent.prompt("turn-1", &text("go")).unwrap();
    assert_eq!(retell(&next(&mut messages).await), "agent_message_chunk working");
    let AgentMessage::PermissionAsked(asked) = next(&mut messages).await.message else { panic!() };
    let option = allow_once(&asked.options).unwrap().id.clone();
    asked.reply.send(&select(&option)).unwrap();
    assert_eq!(retell(&next(&mut messages).await), "agent_message_chunk chosen one");
    assert_eq!(retell(&next(&mut messages).await), "ended turn-1 end_turn");

    agent.prompt("turn-2", &text("go")).unwrap();
    assert_eq!(retell(&next(&mut messages).await), "agent_message_chunk working");
    let AgentMessage::PermissionAsked(asked) = next(&mut messages).await.message else { panic!() };
    agent.cancel().unwrap();
    assert!(!asked.reply.is_open());
    assert_eq!(retell(&next(&mut messages).await), "ended turn-2 cancelled");
    agent.connection().detach().await;
}
