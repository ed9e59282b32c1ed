//! Bodies: JSON only, of bounded size, read to the end or drained, and refused with the place where they are wrong.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::RequestExt;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kanvoy_store::Claim;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_path_to_error::{Path, Segment};

use crate::app::Api;
use crate::auth::Principal;
use crate::idempotency;
use crate::problem::{Code, Problem};

pub const MOST_BYTES: usize = 1 << 20;

/// How much, and for how long, of a refused body is read so that the sender gets to see the refusal.
const DRAINED_BYTES: usize = 1 << 30;
const DRAINED_FOR: Duration = Duration::from_secs(30);

/// The whole of a body must come within this time.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The body of a PATCH.
pub struct Json<T>(pub T);

/// The body of a POST, with the idempotency key it came with.
pub struct Post<T> {
    pub body: T,
    pub claim: Option<Claim>,
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let (headers, bytes) = read(request, api).await?;
        parse(&headers, &bytes).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Post<T> {
    type Rejection = Problem;

    async fn from_request(mut request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let who: Principal = request.extract_parts().await?;
        let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let (headers, bytes) = read(request, api).await?;
        let claim = idempotency::claim(&headers, &who, &target, &bytes, api.clock.now())?;
        Ok(Self { body: parse(&headers, &bytes)?, claim })
    }
}

/// Takes nothing, or an object without anything in it.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

async fn read(request: Request, api: &Arc<Api>) -> Result<(HeaderMap, Bytes), Problem> {
    let (parts, mut body) = request.into_parts();
    let all = async {
        let mut first: Option<Bytes> = None;
        let mut rest = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let cut_off = |_| Problem::new(Code::BadRequest, "the body ended before its end");
            let Ok(data) = frame.map_err(cut_off)?.into_data() else { continue };
            let have = first.as_ref().map_or(0, Bytes::len).max(rest.len());
            if have + data.len() > MOST_BYTES {
                return Err(too_large());
            }
            // Most bodies come in one piece and are not copied.
            match (&first, rest.is_empty()) {
                (None, true) => first = Some(data),
                (Some(begun), true) => {
                    rest.extend_from_slice(begun);
                    rest.extend_from_slice(&data);
                }
                (_, false) => rest.extend_from_slice(&data),
            }
        }
        Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
    };
    let read = tokio::time::timeout(READ_WITHIN, all).await;
    match read.unwrap_or_else(|_| Err(Problem::new(Code::BadRequest, "the body did not come in time"))) {
        Ok(bytes) => Ok((parts.headers, bytes)),
        Err(problem) => {
            drain(api, body);
            Err(problem)
        }
    }
}

pub fn too_large() -> Problem {
    Problem::new(Code::TooLarge, format!("a body has at most {MOST_BYTES} bytes here"))
}

/// Reads on in the background, so that a sender who looks for the answer only when all is sent does get it.
pub fn drain(api: &Arc<Api>, mut body: Body) {
    use axum::body::HttpBody;
    if body.is_end_stream() {
        return;
    }
    let stop = api.shutdown.clone();
    api.connections.spawn(async move {
        let all = async {
            let mut left = DRAINED_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(DRAINED_FOR, all) => {}
            () = stop.cancelled() => {}
        }
    });
}

pub fn parse<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        // Where every field may be left out the whole body may.
        return serde_json::from_str("{}")
            .map_err(|_| Problem::new(Code::MalformedJson, "the body is empty; send a JSON object"));
    }
    if !is_json(headers) {
        let detail = "send the body as JSON, with the header Content-Type: application/json";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Object(parsed) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().clone();
        refused(&path, error.inner(), bytes)
    })?;
    reader.end().map_err(|error| refused_syntax(&error))?;
    Ok(parsed)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn refused(path: &Path, error: &serde_json::Error, bytes: &[u8]) -> Problem {
    // What is no text where one of some names is expected counts as bad syntax to the reader, though it is sound JSON.
    if !error.is_data() && !is_sound(bytes) {
        return refused_syntax(error);
    }
    let said = error.to_string();
    // The place in the text helps nobody once the pointer is known.
    let detail = said.rsplit_once(" at line ").map_or(said.as_str(), |(detail, _)| detail);
    let detail = match detail {
        "expected value" | "key must be a string" => "must be a text, one of those that the API's description names",
        other => other,
    };
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => push(&mut pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    // A field that is missing or not known has no value that could have been walked to.
    for begin in ["missing field `", "unknown field `"] {
        let named = detail.strip_prefix(begin).and_then(|rest| rest.split_once('`'));
        if let Some((field, _)) = named {
            let mut own = String::new();
            push(&mut own, field);
            if !pointer.ends_with(&own) {
                pointer.push_str(&own);
            }
        }
    }
    Problem::body(shortened(&pointer), shortened(detail))
}

fn is_sound(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

fn push(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

/// Names and values in a refusal come from outside and may be of any length.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 300;
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn refused_syntax(error: &serde_json::Error) -> Problem {
    Problem::new(Code::MalformedJson, format!("the body is not JSON: {}", shortened(&error.to_string())))
}

/// For a PATCH: a field that is there, and is not null.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// For a PATCH: a field that is there, null to clear it.
pub fn clearable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// For a PATCH: an object that is there.
pub fn given_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Object::deserialize(deserializer).map(|Object(object)| Some(object))
}

/// Takes objects only: what is derived would take a list of the fields' values too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}
