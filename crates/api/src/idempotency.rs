//! The same key and the same body get the same answer, and the thing is done once.
//!
//! The key is claimed in the very commit that does the thing, so that a crash leaves either nothing or a claim; the answer is
//! kept right after. Requests of one key wait for each other within the process. A request that was refused leaves no claim:
//! mended, it may be sent again under its key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use kanvoy_domain::Timestamp;
use kanvoy_engine::By;
use kanvoy_store::{Answer, Claim};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::app::Api;
use crate::auth::Principal;
use crate::problem::{Code, Problem};

pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MOST_CHARS: usize = 200;

/// So long one request waits for another of the same key.
const WAITS: Duration = Duration::from_secs(30);

/// Answers that hold secrets are remembered here only, this long and this many.
const SECRETS_FOR: Duration = Duration::from_secs(600);
const MOST_SECRETS: usize = 1_000;

/// What a request was answered with.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Answered {
    pub fn json(status: StatusCode, body: &impl serde::Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(Problem::internal)?;
        Ok(Self { status, body: Bytes::from(body) })
    }
}

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Where an answer is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    InStore,
    /// It holds a secret that must not be written down.
    InMemory,
}

/// Reads the header. `None` without one.
pub fn claim(
    headers: &HeaderMap,
    who: &Principal,
    target: &str,
    body: &[u8],
    at: Timestamp,
) -> Result<Option<Claim>, Problem> {
    let Some(key) = key(headers)? else { return Ok(None) };
    let mut print = Fingerprint::of(target);
    print.take(body);
    Ok(Some(print.claim(who, key, at)))
}

/// The header's value, if there is one.
pub fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    checked(value.to_str().unwrap_or_default(), "Idempotency-Key").map(Some)
}

/// `field` is what the key was given as.
pub fn checked<'a>(key: &'a str, field: &str) -> Result<&'a str, Problem> {
    let is_key = (1..=MOST_CHARS).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    if is_key {
        return Ok(key);
    }
    Err(Problem::parameter(field, format!("must be 1 to {MOST_CHARS} printable ASCII characters")))
}

/// Tells one request from another, for bodies that are too large to be held as a whole.
pub struct Fingerprint(Sha256);

impl Fingerprint {
    pub fn of(target: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [b"POST ", target.as_bytes(), b"\n"] {
            hash.update(part);
        }
        Self(hash)
    }

    pub fn take(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub fn claim(self, who: &Principal, key: &str, at: Timestamp) -> Claim {
        Claim { person: who.person.to_string(), key: key.to_owned(), fingerprint: self.0.finalize().into(), at }
    }
}

/// Does `work` and answers; under a claim, once.
pub async fn once<W, F>(
    api: &Arc<Api>,
    who: &Principal,
    claim: Option<Claim>,
    kept: Kept,
    work: W,
) -> Result<Response, Problem>
where
    W: FnOnce(By) -> F + Send + 'static,
    F: Future<Output = Result<Answered, Problem>> + Send + 'static,
{
    let by = By { claim: claim.clone(), ..By::person(&who.person) };
    let Some(claim) = claim else {
        return work(by).await.map(IntoResponse::into_response);
    };
    // Boxed, since most requests have no key and should not carry this.
    Box::pin(claimed(api, claim, kept, Box::new(move || work(by)))).await
}

async fn claimed<F>(
    api: &Arc<Api>,
    claim: Claim,
    kept: Kept,
    work: Box<dyn FnOnce() -> F + Send>,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Answered, Problem>> + Send + 'static,
{
    let until = Instant::now() + WAITS;
    loop {
        let turn = api.flights.join(&claim)?;
        match turn {
            Turn::Remembered(answered) => return Ok(replayed(answered)),
            Turn::Wait(mut flight) => {
                let left = until.saturating_duration_since(Instant::now());
                // An error means that the other is through: its answer is in the store, or it failed.
                if tokio::time::timeout(left, flight.changed()).await.is_err() {
                    let detail = "another request with this Idempotency-Key is still being worked on";
                    return Err(Problem::new(Code::Contended, detail).retry_after(2));
                }
            }
            Turn::Go(flight) => {
                let api = Arc::clone(api);
                let tracker = api.connections.clone();
                // Apart from the request, so that a caller who hangs up still finds the answer when asking again.
                let done = tracker.spawn(async move {
                    let _flight = flight;
                    lead(&api, &claim, kept, work).await
                });
                return done.await.unwrap_or_else(|error| Err(Problem::internal(error)));
            }
        }
    }
}

async fn lead<F>(
    api: &Arc<Api>,
    claim: &Claim,
    kept: Kept,
    work: Box<dyn FnOnce() -> F + Send>,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Answered, Problem>> + Send,
{
    // Asked first, for a world that has moved on since must not change the answer.
    if let Some(answer) = api.store.answer(claim).await? {
        return recalled(claim, answer);
    }
    match work().await {
        Ok(answered) => {
            keep(api, claim, kept, &answered).await;
            Ok(answered.into_response())
        }
        // Another process on the same store was faster.
        Err(problem) if problem.is(Code::IdempotencyKeyReused) => match api.store.answer(claim).await? {
            Some(answer) => recalled(claim, answer),
            None => Err(problem),
        },
        Err(problem) => Err(problem),
    }
}

pub async fn keep(api: &Arc<Api>, claim: &Claim, kept: Kept, answered: &Answered) {
    match kept {
        Kept::InMemory => api.flights.remember(claim, answered.clone()),
        Kept::InStore => {
            let said = Some((answered.status.as_u16(), answered.body.clone()));
            let answer = Answer { fingerprint: claim.fingerprint, said };
            if let Err(error) = api.engine.keep_answer(claim, answer).await {
                // It is done and durable: the caller gets the answer, only a repetition will not.
                tracing::warn!("an answer could not be kept for its idempotency key: {error}");
            }
        }
    }
}

/// What the first asker was told, if this is the same request.
pub fn recalled(claim: &Claim, answer: Answer) -> Result<Response, Problem> {
    if answer.fingerprint != claim.fingerprint {
        return Err(reused());
    }
    match answer.said {
        Some((status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            Ok(replayed(Answered { status, body }))
        }
        None => Err(Problem::new(
            Code::AnswerLost,
            "the request with this Idempotency-Key was carried out, but the server ended before it could keep the answer; \
             look at the board's newest events to see what was made",
        )
        .with_try("kanvoy task list --order newest")),
    }
}

fn replayed(answered: Answered) -> Response {
    let mut response = answered.into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn reused() -> Problem {
    let detail = "this Idempotency-Key was used for another request; take a new one for each thing that you want done";
    Problem::new(Code::IdempotencyKeyReused, detail)
}

/// Who is doing what under which key, in this process.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<Inner>>);

type Key = (String, String);

#[derive(Default)]
struct Inner {
    flying: HashMap<Key, ([u8; 32], watch::Receiver<()>)>,
    secrets: HashMap<Key, ([u8; 32], Answered, Instant)>,
}

enum Turn {
    Go(Flight),
    Wait(watch::Receiver<()>),
    Remembered(Answered),
}

/// Ends when dropped, however the work ends: those who wait hear of it.
struct Flight {
    flights: Flights,
    key: Key,
    _landing: watch::Sender<()>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.lock().flying.remove(&self.key);
    }
}

impl Flights {
    fn join(&self, claim: &Claim) -> Result<Turn, Problem> {
        let key = (claim.person.clone(), claim.key.clone());
        let mut inner = self.0.lock();
        if let Some((fingerprint, flight)) = inner.flying.get(&key) {
            let same = *fingerprint == claim.fingerprint;
            return if same { Ok(Turn::Wait(flight.clone())) } else { Err(reused()) };
        }
        if let Some((fingerprint, answered, until)) = inner.secrets.get(&key)
            && *until > Instant::now()
        {
            let same = *fingerprint == claim.fingerprint;
            return if same { Ok(Turn::Remembered(answered.clone())) } else { Err(reused()) };
        }
        let (landing, flight) = watch::channel(());
        inner.flying.insert(key.clone(), (claim.fingerprint, flight));
        Ok(Turn::Go(Flight { flights: self.clone(), key, _landing: landing }))
    }

    fn remember(&self, claim: &Claim, answered: Answered) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        inner.secrets.retain(|_, (.., until)| *until > now);
        if inner.secrets.len() < MOST_SECRETS {
            let key = (claim.person.clone(), claim.key.clone());
            inner.secrets.insert(key, (claim.fingerprint, answered, now + SECRETS_FOR));
        }
    }
}
