//! `events.subscribe`: a stream as notifications. Reads with the very cursors of [`crate::live`], so the rules are theirs:
//! replay from `after`, then live, no gap and no double; who reads slowly is fed from the store.

use std::time::Duration;

use jsonrpsee::core::server::{
    Extensions, PendingSubscriptionSink, RpcModule, SubscriptionCloseResponse, SubscriptionMessage, SubscriptionSink,
};
use jsonrpsee::core::{RegisterMethodError, SubscriptionError};
use jsonrpsee::types::Params;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::timeout;

use super::errors::error;
use super::fields::Fields;
use super::methods::{Asked, asked};
use crate::app::Api;
use crate::live::Stream;
use crate::problem::{Code, Problem};
use crate::routes::streams::{board_stream, every_stream, task_stream};

const SUBSCRIBE: &str = "events.subscribe";
const UNSUBSCRIBE: &str = "events.unsubscribe";
const NOTIFICATION: &str = "events.event";

/// So often somebody looks whether the board is still there, when nothing happens on it.
const LOOK_EVERY: Duration = Duration::from_secs(20);

pub fn add(table: &mut RpcModule<()>) -> Result<(), RegisterMethodError> {
    let subscribe = |params, pending, _, extensions| subscribe(params, pending, extensions);
    table.register_subscription(SUBSCRIBE, NOTIFICATION, UNSUBSCRIBE, subscribe).map(drop)
}

async fn subscribe(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    extensions: Extensions,
) -> SubscriptionCloseResponse {
    let begun = async {
        let asked = asked(&extensions)?;
        let fields = Fields::read(params.as_str())?;
        Ok((asked.caller.api.clone(), stream(asked, fields).await?))
    };
    let (api, stream) = match begun.await {
        Ok(begun) => begun,
        Err(problem) => {
            let problem: Problem = problem;
            pending.reject(error(&problem)).await;
            return SubscriptionCloseResponse::None;
        }
    };
    // Stopping waits for whatever still reads the store.
    let _token = api.connections.token();
    let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
    api.meter.subscriptions.increment(1.0);
    let ended = follow(&api, &sink, stream).await;
    api.meter.subscriptions.decrement(1.0);
    match ended {
        Ended::Unwanted => SubscriptionCloseResponse::None,
        Ended::Because(problem) => match to_raw_value(&error(&problem)) {
            Ok(said) => SubscriptionCloseResponse::NotifErr(SubscriptionError::from_json(said)),
            Err(_) => SubscriptionCloseResponse::None,
        },
    }
}

/// Of one board, of one task, or of everything.
async fn stream(asked: Asked, mut fields: Fields) -> Result<Stream, Problem> {
    let (api, who) = (asked.caller.api, asked.caller.who);
    let board = fields.id_if_any("board")?;
    let task = fields.id_if_any("task")?;
    let all = fields.flag("all")?;
    let after = fields.position("after")?;
    let after = after.as_deref().map(|after| ("after", after));
    let params = fields.query(&["types"])?;
    match (board, task, all) {
        (Some(board), None, false) => board_stream(&api, who, &board, after, &params).await,
        (None, Some(task), false) => task_stream(&api, who, &task, after, &params).await,
        (None, None, true) => every_stream(&api, who, after, &params).await,
        _ => Err(Problem::new(Code::InvalidBody, "say what to follow: one of board, task and all (true)")),
    }
}

enum Ended {
    /// The client has ended it, or is gone.
    Unwanted,
    Because(Problem),
}

async fn follow(api: &Api, sink: &SubscriptionSink, mut stream: Stream) -> Ended {
    if send(sink, &stream.ready).await.is_err() {
        return Ended::Unwanted;
    }
    loop {
        let lines = tokio::select! {
            biased;
            () = sink.closed() => return Ended::Unwanted,
            lines = timeout(LOOK_EVERY, stream.source.next()) => lines,
        };
        let lines = match lines {
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => return Ended::Because(error.into()),
            Err(_) if stream.source.still_there().await => continue,
            Err(_) => return Ended::Because(deleted()),
        };
        api.meter.events_sent.increment(lines.lines.len() as u64);
        for line in &lines.lines {
            if send(sink, &line.text).await.is_err() {
                return Ended::Unwanted;
            }
        }
        if lines.over {
            return Ended::Because(deleted());
        }
    }
}

fn deleted() -> Problem {
    Problem::new(Code::NotFound, "the board was deleted")
}

/// The event goes out as it is kept, not a byte of it changed. Waits while the socket is busy, for as long as its client likes.
async fn send(sink: &SubscriptionSink, event: &[u8]) -> Result<(), ()> {
    let event: &RawValue = serde_json::from_slice(event).map_err(|error| {
        tracing::error!("an event of the log is no JSON: {error}");
    })?;
    let message = SubscriptionMessage::new(NOTIFICATION, sink.subscription_id(), &event).map_err(drop)?;
    tokio::select! {
        biased;
        () = sink.closed() => Err(()),
        sent = sink.send(message) => sent.map_err(drop),
    }
}
