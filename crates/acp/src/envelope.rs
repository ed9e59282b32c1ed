//! One line as JSON-RPC 2.0: borrowed pieces of the line on the way in, one compact line on the way out.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

pub const METHOD_NOT_FOUND: i64 = -32601;
pub const INVALID_PARAMS: i64 = -32602;
pub const REQUEST_CANCELLED: i64 = -32800;
pub const AUTH_REQUIRED: i64 = -32000;

/// What a line is, once it is JSON-RPC. The pieces are views of the line.
#[derive(Debug)]
pub enum Envelope<'a> {
    Request { id: &'a RawValue, method: Cow<'a, str>, params: Option<&'a RawValue> },
    Notification { method: Cow<'a, str>, params: Option<&'a RawValue> },
    Response { id: &'a RawValue, outcome: Result<&'a RawValue, &'a RawValue> },
}

/// Why a line means nothing. The line itself is kept all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    Empty,
    /// Longer than may be kept; the line is only its beginning.
    Oversize,
    InvalidUtf8,
    NotJson,
    /// JSON, but neither a request, a notification nor an answer.
    NotRpc,
    /// An answer to no request in particular; agents complain about unreadable lines that way.
    NullId,
}

impl Noise {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Oversize => "oversize",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NotJson => "not_json",
            Self::NotRpc => "not_rpc",
            Self::NullId => "null_id",
        }
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A member that is there and null is not the same as one that is missing: `"result":null` is an answer.
pub(crate) fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads the envelope and nothing else.
pub fn read(line: &[u8]) -> Result<Envelope<'_>, Noise> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let fields: Fields<'_> = object(line).ok_or_else(|| why_unreadable(line))?;
    let method = match fields.method {
        Some(method) => Some(text(method).ok_or(Noise::NotRpc)?),
        None => None,
    };
    match (method, fields.id) {
        (Some(method), None) => Ok(Envelope::Notification { method, params: fields.params }),
        (Some(method), Some(id)) => Ok(Envelope::Request { id, method, params: fields.params }),
        (None, Some(id)) if id.get() == "null" => Err(Noise::NullId),
        (None, Some(id)) => {
            let error = fields.error.filter(|error| error.get() != "null");
            // An answer with neither is what a program sends whose result is undefined: it means null.
            Ok(Envelope::Response { id, outcome: error.map_or(Ok(fields.result.unwrap_or(RawValue::NULL)), Err) })
        }
        (None, None) => Err(Noise::NotRpc),
    }
}

/// Reads an object, and only an object: left to itself, a list would be read as the members in their order.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let begins = json.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins == Some(&b'{') { serde_json::from_slice(json).ok() } else { None }
}

fn why_unreadable(line: &[u8]) -> Noise {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Noise::Empty;
    }
    match std::str::from_utf8(line) {
        Err(_) => Noise::InvalidUtf8,
        Ok(line) if serde_json::from_str::<&RawValue>(line).is_ok() => Noise::NotRpc,
        Ok(_) => Noise::NotJson,
    }
}

/// A JSON string as text; borrowed unless it has escapes.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw.get()).ok().map(Cow::Owned)
}

/// A piece of JSON that shares its line's memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Bytes);

impl Json {
    /// The piece `raw` of the line `line`.
    pub(crate) fn part_of(line: &Bytes, raw: &RawValue) -> Self {
        // What stands for a missing result is no piece of any line.
        if raw.get() == "null" { Self(Bytes::from_static(b"null")) } else { Self(line.slice_ref(raw.get().as_bytes())) }
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        // It was read as JSON, which is UTF-8, so the other branch never runs.
        std::str::from_utf8(&self.0).unwrap_or("null")
    }

    /// Types come after the raw piece has been kept; what does not fit them is `None`.
    pub fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.0).ok()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Self {
        Self(Bytes::copy_from_slice(raw.get().as_bytes()))
    }
}

/// An error an agent answered with. Codes of any kind are kept: real agents use those of HTTP, too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct AgentError {
    pub code: i64,
    pub message: String,
    pub data: Option<Json>,
}

impl AgentError {
    pub fn auth_required(&self) -> bool {
        self.code == AUTH_REQUIRED
    }

    /// Never fails: an error that is no object is its own message.
    pub(crate) fn read(line: &Bytes, raw: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Loose<'a> {
            #[serde(borrow, default, deserialize_with = "present")]
            code: Option<&'a RawValue>,
            #[serde(borrow, default, deserialize_with = "present")]
            message: Option<&'a RawValue>,
            #[serde(borrow, default, deserialize_with = "present")]
            data: Option<&'a RawValue>,
        }
        let Some(loose) = object::<Loose<'_>>(raw.get().as_bytes()) else {
            return Self {
                code: 0,
                message: text(raw).map_or_else(|| raw.get().to_owned(), Cow::into_owned),
                data: None,
            };
        };
        let code = loose.code.and_then(|code| text(code).unwrap_or(Cow::Borrowed(code.get())).parse::<f64>().ok());
        let message = loose.message.map(|m| text(m).map_or_else(|| m.get().to_owned(), Cow::into_owned));
        Self {
            // A code beyond 2^53 is nobody's; the cast saturates.
            code: code.unwrap_or(0.0) as i64,
            message: message.unwrap_or_else(|| "the agent gave no message".to_owned()),
            data: loose.data.filter(|data| data.get() != "null").map(|data| Json::part_of(line, data)),
        }
    }
}

#[derive(Serialize)]
struct Out<'a, P: Serialize> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<P>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<P>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<OutError<'a>>,
}

#[derive(Serialize)]
struct OutError<'a> {
    code: i64,
    message: &'a str,
}

pub fn request<P: Serialize>(id: &RawValue, method: &str, params: P) -> serde_json::Result<Bytes> {
    line(Out { id: Some(id), method: Some(method), params: Some(params), ..nothing() })
}

pub fn notification<P: Serialize>(method: &str, params: P) -> serde_json::Result<Bytes> {
    line(Out { method: Some(method), params: Some(params), ..nothing() })
}

pub fn result<P: Serialize>(id: &RawValue, result: P) -> serde_json::Result<Bytes> {
    line(Out { id: Some(id), result: Some(result), ..nothing() })
}

pub fn error(id: &RawValue, code: i64, message: &str) -> serde_json::Result<Bytes> {
    line(Out::<()> { id: Some(id), error: Some(OutError { code, message }), ..nothing() })
}

fn nothing<'a, P: Serialize>() -> Out<'a, P> {
    Out { jsonrpc: "2.0", id: None, method: None, params: None, result: None, error: None }
}

/// Compact JSON has no newline in it: those inside strings are escaped.
fn line<P: Serialize>(out: Out<'_, P>) -> serde_json::Result<Bytes> {
    serde_json::to_vec(&out).map(Bytes::from)
}
