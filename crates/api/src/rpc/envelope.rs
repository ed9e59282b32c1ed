//! One message: a call, or a batch of them. Reads the envelope, has each call carried out, and puts the answers together.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use jsonrpsee::core::server::{
    BatchResponseBuilder, ConnectionId, Extensions, MethodCallback, MethodResponse, SubscriptionState,
};
use jsonrpsee::types::error::{
    INVALID_REQUEST_CODE, METHOD_NOT_FOUND_CODE, PARSE_ERROR_CODE, TOO_BIG_BATCH_REQUEST_CODE,
    TOO_BIG_BATCH_RESPONSE_CODE, TOO_MANY_SUBSCRIPTIONS_CODE,
};
use jsonrpsee::types::{Id, InvalidRequest, Params, TwoPointZero};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tracing::{Instrument, debug_span};

use super::Caller;
use super::errors::{error, with_code};
use super::methods::{Asked, METHODS};
use crate::body::MOST_BYTES;
use crate::problem::{Code, Problem};

/// Calls of one batch.
pub const MOST_CALLS: usize = 100;
/// One answer, and about as much of a batch: once its answers weigh so much, what is left of it is not carried out.
pub const MOST_ANSWER_BYTES: usize = 32 << 20;
/// What is too large is refused by us, with a word about it; the envelope around the rest is no reason to refuse it.
const MOST_ENVELOPE_BYTES: usize = MOST_ANSWER_BYTES + MOST_BYTES + (64 << 10);

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(rename = "jsonrpc")]
    _version: TwoPointZero,
    /// Not there, where no answer is wanted. Null is an id.
    #[serde(borrow, default, deserialize_with = "there")]
    id: Option<Id<'a>>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id<'de>>, D::Error> {
    Id::deserialize(deserializer).map(Some)
}

/// `None` when nothing in the message wants an answer, or a subscription has answered by itself.
pub async fn answer(caller: &Caller, message: &[u8], key: Option<&str>) -> Option<String> {
    if message.len() > MOST_BYTES {
        let problem = Problem::new(Code::TooLarge, format!("a message has at most {MOST_BYTES} bytes here"));
        return Some(MethodResponse::error(Id::Null, error(&problem)).as_ref().to_owned());
    }
    let whole = match serde_json::from_slice::<&RawValue>(message) {
        Ok(whole) => whole,
        Err(why) => {
            let problem = Problem::new(Code::MalformedJson, format!("the message is not JSON: {why}"));
            return Some(refused(Id::Null, PARSE_ERROR_CODE, &problem).as_ref().to_owned());
        }
    };
    if !whole.get().starts_with('[') {
        return Some(one(caller, whole, key.map(str::to_owned), Alone::Yes).await?.as_ref().to_owned());
    }
    let Ok(calls) = serde_json::from_str::<Vec<&RawValue>>(whole.get()) else { return None };
    if calls.is_empty() {
        let problem = Problem::new(Code::BadRequest, "a batch has at least one call");
        return Some(refused(Id::Null, INVALID_REQUEST_CODE, &problem).as_ref().to_owned());
    }
    if calls.len() > MOST_CALLS {
        let detail = format!("a batch has at most {MOST_CALLS} calls; nothing of this one was carried out");
        let problem = Problem::new(Code::BadRequest, detail);
        return Some(refused(Id::Null, TOO_BIG_BATCH_REQUEST_CODE, &problem).as_ref().to_owned());
    }
    let mut answers = BatchResponseBuilder::new_with_limit(usize::MAX);
    let mut bytes = 0;
    for (at, call) in calls.into_iter().enumerate() {
        // One after the other: what a program puts in an order is done in that order.
        let answer = if bytes < MOST_ANSWER_BYTES {
            let key = key.map(|key| format!("{key}#{at}"));
            one(caller, call, key, Alone::No).await
        } else {
            let problem = Problem::new(Code::TooLarge, "the answers before it are too large; it was not carried out");
            Some(refused(id_of(call), TOO_BIG_BATCH_RESPONSE_CODE, &problem))
        };
        if let Some(answer) = answer {
            bytes += answer.as_ref().len();
            // The limit is ours, above: it names each call that was left out.
            let _ = answers.append(answer);
        }
    }
    if answers.is_empty() {
        return None;
    }
    Some(MethodResponse::from_batch(answers.finish()).as_ref().to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    Yes,
    /// Within a batch.
    No,
}

async fn one(caller: &Caller, text: &RawValue, key: Option<String>, alone: Alone) -> Option<MethodResponse> {
    let Ok(call) = serde_json::from_str::<Call>(text.get()) else {
        let detail = "not a call: {\"jsonrpc\": \"2.0\", \"id\": …, \"method\": …, \"params\": {…}}";
        return Some(refused(id_of(text), INVALID_REQUEST_CODE, &Problem::new(Code::BadRequest, detail)));
    };
    let wants_answer = call.id.is_some();
    let id = call.id.unwrap_or(Id::Null).into_owned();
    let Some((name, method)) = METHODS.method_with_name(&call.method) else {
        caller.api.meter.called("(none)", Some(METHOD_NOT_FOUND_CODE));
        let problem = Problem::not_found("method", &call.method);
        return wants_answer.then(|| refused(id, METHOD_NOT_FOUND_CODE, &problem));
    };
    let subscribes = matches!(method, MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_));
    if subscribes && !(wants_answer && alone == Alone::Yes) {
        let problem = Problem::new(Code::BadRequest, "subscriptions need an id, and stand in no batch");
        return wants_answer.then(|| refused(id, INVALID_REQUEST_CODE, &problem));
    }
    let params = Params::new(call.params.map(RawValue::get));
    let mut extensions = Extensions::new();
    extensions.insert(Asked { caller: caller.clone(), method: name, key });
    let nobody = id.clone();
    let carried_out =
        carried_out(caller, method, id, params, extensions).instrument(debug_span!("call", method = name));
    let done = match AssertUnwindSafe(carried_out).catch_unwind().await {
        Ok(done) => done,
        Err(_) => {
            let problem = Problem::internal(format!("{name} panicked"));
            Done::Answer(MethodResponse::error(nobody, error(&problem)))
        }
    };
    let (response, is_sent) = match done {
        Done::Answer(response) => (response, false),
        Done::Sent(response) => (response, true),
    };
    caller.api.meter.called(name, response.as_error_code());
    (wants_answer && !is_sent).then_some(response)
}

enum Done {
    Answer(MethodResponse),
    /// The answer of a subscription goes its own way, ahead of what it gives.
    Sent(MethodResponse),
}

async fn carried_out(
    caller: &Caller,
    method: &MethodCallback,
    id: Id<'static>,
    params: Params<'_>,
    extensions: Extensions,
) -> Done {
    let connection = caller.line.as_ref().map_or(ConnectionId(0), |line| line.id);
    match (method, &caller.line) {
        (MethodCallback::Sync(verb), _) => Done::Answer(verb(id, params, MOST_ENVELOPE_BYTES, extensions)),
        (MethodCallback::Async(verb), _) => {
            Done::Answer(verb(id, params.into_owned(), connection, MOST_ENVELOPE_BYTES, extensions).await)
        }
        (MethodCallback::Subscription(subscribe), Some(line)) => {
            let Some(subscription_permit) = line.subscriptions.acquire() else {
                let detail = format!("a socket has at most {} subscriptions; end one first", line.subscriptions.max());
                let problem = Problem::new(Code::TooManyRequests, detail);
                return Done::Answer(refused(id, TOO_MANY_SUBSCRIPTIONS_CODE, &problem));
            };
            let state = SubscriptionState { conn_id: connection, id_provider: line.as_ref(), subscription_permit };
            Done::Sent(subscribe(id, params, line.sink.clone(), state, extensions).await)
        }
        (MethodCallback::Unsubscription(unsubscribe), Some(_)) => {
            Done::Answer(unsubscribe(id, params, connection, MOST_ENVELOPE_BYTES, extensions))
        }
        (MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_), None) => {
            let problem = Problem::new(Code::UpgradeRequired, "events come over a WebSocket: open one on this path");
            Done::Answer(MethodResponse::error(id, error(&problem)))
        }
    }
}

fn id_of(text: &RawValue) -> Id<'static> {
    serde_json::from_str::<InvalidRequest>(text.get()).map_or(Id::Null, |call| call.id.into_owned())
}

fn refused(id: Id<'_>, code: i32, problem: &Problem) -> MethodResponse {
    MethodResponse::error(id, with_code(code, problem))
}
