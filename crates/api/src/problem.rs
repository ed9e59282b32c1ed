//! What is answered when something is refused or fails: RFC 9457, with a stable `code` and a sentence that helps.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kanvoy_domain::task::Hindrance;
use kanvoy_domain::{Invalid, State, Version};
use kanvoy_engine::EngineError;
use kanvoy_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! codes {
    ($($name:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// Every code there is. Stable: programs branch on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($name),+ }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

codes! {
    MalformedJson = "malformed_json", BAD_REQUEST, "The body is not JSON";
    BadRequest = "bad_request", BAD_REQUEST, "The request cannot be understood";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "Not logged in";
    Forbidden = "forbidden", FORBIDDEN, "Not allowed";
    HostNotAllowed = "host_not_allowed", FORBIDDEN, "This server does not go by that name";
    CrossSite = "cross_site", FORBIDDEN, "Refused because it comes from another site";
    NotFound = "not_found", NOT_FOUND, "Not found";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Not a method of this route";
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, "Nothing of that kind can be given";
    IllegalTransition = "illegal_transition", CONFLICT, "The task cannot go there from where it is";
    StaleVersion = "stale_version", CONFLICT, "It was changed meanwhile";
    DependencyCycle = "dependency_cycle", CONFLICT, "Tasks would wait for each other";
    KeyTaken = "key_taken", CONFLICT, "The key is taken";
    ExternalRefTaken = "external_ref_taken", CONFLICT, "The external reference is taken";
    IdTaken = "id_taken", CONFLICT, "The id is taken";
    Taken = "taken", CONFLICT, "It is taken";
    HasDependents = "has_dependents", CONFLICT, "Something stands in the way";
    LastColumnOfState = "last_column_of_state", CONFLICT, "A state would have no column";
    BoardArchived = "board_archived", CONFLICT, "The board is archived";
    IdempotencyKeyReused = "idempotency_key_reused", CONFLICT, "The idempotency key was used for something else";
    AnswerLost = "answer_lost", CONFLICT, "It was done, but its answer was lost";
    Contended = "contended", CONFLICT, "Too many changes at once";
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "Not a kind of body that is taken here";
    InvalidBody = "invalid_body", UNPROCESSABLE_ENTITY, "The body is not as it should be";
    InvalidParameter = "invalid_parameter", UNPROCESSABLE_ENTITY, "A parameter is not as it should be";
    UpgradeRequired = "upgrade_required", UPGRADE_REQUIRED, "This is a stream";
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, "Too many requests";
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something is wrong with the server";
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Not available now";
}

/// Boxed: most answers are no problem, and should not carry the room for one.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct Problem(Box<Told>);

/// An RFC 9457 problem document.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Told {
    #[serde(rename = "type")]
    #[schema(example = "https://kanvoy.dev/problems/not_found")]
    kind: String,
    /// The same for every problem of this code.
    title: &'static str,
    #[schema(example = 404)]
    status: u16,
    /// Stable: branch on this.
    #[schema(example = "not_found")]
    code: &'static str,
    /// What is wrong here and now, and what to do about it.
    detail: String,
    /// The parameter, header or field that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Where in the body, as JSON pointers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    fields: Vec<FieldProblem>,
    /// The states that the task can be moved to instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<crate::shapes::StateName>>)]
    legal: Option<Vec<State>>,
    /// The way round of a dependency cycle, as task numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    path: Vec<String>,
    /// What stands in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    hindrances: Vec<HindranceView>,
    /// The version that it has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<Version>,
    /// Seconds after which it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    /// A command that mends it.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// RFC 6901.
    #[schema(example = "/title")]
    pointer: String,
    detail: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HindranceView {
    number: u64,
    detail: String,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Told {
            kind: format!("https://kanvoy.dev/problems/{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            code: code.as_str(),
            detail: detail.into(),
            field: None,
            fields: Vec::new(),
            legal: None,
            path: Vec::new(),
            hindrances: Vec::new(),
            current_version: None,
            retry_after: None,
            command: None,
        }))
    }

    pub fn not_found(what: &str, id: &str) -> Self {
        // What was asked for is shown, but never at length: it came from outside.
        let shown: String = id.chars().filter(|c| !c.is_control()).take(80).collect();
        Self::new(Code::NotFound, format!("there is no {what} {shown}"))
    }

    pub fn parameter(name: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(Code::InvalidParameter, format!("{name} {detail}")).about(name)
    }

    pub fn body(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        let said = match pointer.trim_start_matches('/') {
            "" => detail.clone(),
            field => format!("{}: {detail}", field.replace('/', ".")),
        };
        let mut problem = Self::new(Code::InvalidBody, said);
        problem.0.fields.push(FieldProblem { pointer, detail });
        problem
    }

    /// For what a caller can neither mend nor should see; the log has the rest.
    pub fn internal(why: impl std::fmt::Display) -> Self {
        tracing::error!("a request failed: {why}");
        Self::new(Code::Internal, "the server failed; its log says why")
    }

    pub fn about(mut self, field: &str) -> Self {
        self.0.field = Some(field.to_owned());
        self
    }

    pub fn with_try(mut self, command: impl Into<String>) -> Self {
        self.0.command = Some(command.into());
        self
    }

    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    pub fn is(&self, code: Code) -> bool {
        self.0.code == code.as_str()
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status() {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            }
            _ => {}
        }
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::body(format!("/{}", invalid.field.replace('.', "/")), invalid.detail)
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let said = error.to_string();
        match error {
            EngineError::NotFound { .. } => Self::new(Code::NotFound, said),
            EngineError::Invalid(invalid) => invalid.into(),
            EngineError::Illegal(refusal) => {
                let mut problem = Self::new(Code::IllegalTransition, said);
                problem.0.legal = Some(refusal.legal);
                problem
            }
            EngineError::Stale { current } => {
                let mut problem = Self::new(Code::StaleVersion, said);
                problem.0.current_version = Some(current);
                problem
            }
            EngineError::Circle { path } => {
                let mut problem = Self::new(Code::DependencyCycle, said);
                problem.0.path = path;
                problem
            }
            EngineError::Taken { field, .. } => {
                let code = match field {
                    "key" => Code::KeyTaken,
                    "external_ref" => Code::ExternalRefTaken,
                    "id" => Code::IdTaken,
                    _ => Code::Taken,
                };
                Self::new(code, said).about(field)
            }
            EngineError::Hindered { hindrances, .. } => {
                let mut problem = Self::new(Code::HasDependents, said);
                let view = |it: &Hindrance| HindranceView { number: it.number, detail: it.to_string() };
                problem.0.hindrances = hindrances.iter().map(view).collect();
                problem
            }
            EngineError::Homeless { .. } => Self::new(Code::LastColumnOfState, said),
            EngineError::Archived { .. } => Self::new(Code::BoardArchived, said),
            EngineError::Contended => Self::new(Code::Contended, said).retry_after(1),
            // Met only when two processes share a store: within one, requests of one key wait for each other.
            EngineError::Claimed => Self::new(Code::IdempotencyKeyReused, said),
            EngineError::Unavailable(why) => Self::unavailable(&why),
            EngineError::Damaged(why) => Self::internal(why),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BadCursor => {
                Self::parameter("cursor", "is not one that this list has given out; begin again without it")
            }
            StoreError::Unavailable(why) => Self::unavailable(&why),
            other => EngineError::from(other).into(),
        }
    }
}

impl Problem {
    /// The reason names files and disks of the server: it is for the log.
    fn unavailable(why: &str) -> Self {
        tracing::error!("the database is unavailable: {why}");
        Self::new(Code::Unavailable, "the database is unavailable; nothing was changed")
            .retry_after(2)
            .with_try("kanvoy doctor")
    }
}
