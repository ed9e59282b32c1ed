//! Why a request did not do what was asked: one variant for each thing that a caller does about it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answered, or the connection broke before the answer was whole. Start the daemon, or ask again.
    #[error("nothing answers at {url}: {why}")]
    Unreachable { url: String, why: String },
    /// The token is missing, wrong or no longer good.
    #[error("{0}")]
    Unauthenticated(Box<Problem>),
    /// The server understood and said no. `code` is what to branch on.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// What came back is not Kanvoy's API: another program listens there, or a proxy answered.
    #[error("that was not an answer of Kanvoy: {0}")]
    Protocol(String),
    /// The file that was to be sent or received could not be read or written here.
    #[error("{0}")]
    Local(#[from] std::io::Error),
}

impl ClientError {
    /// The problem document, if the server sent one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Unauthenticated(problem) | Self::Problem(problem) => Some(problem),
            Self::Unreachable { .. } | Self::Protocol(_) | Self::Local(_) => None,
        }
    }

    /// True for this `code` of a problem.
    pub fn is(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }
}

/// RFC 9457, with the members that Kanvoy adds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub status: u16,
    pub code: String,
    pub title: String,
    pub detail: String,
    /// The one member or parameter that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldProblem>,
    /// What could be done instead: the states that an illegal move could have gone to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub legal: Vec<String>,
    /// The way round of a dependency cycle.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// A command that mends it.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FieldProblem {
    pub pointer: String,
    pub detail: String,
}

impl Problem {
    /// Not from Kanvoy and not from something that stands before it and passes: another program listens there.
    pub(crate) fn is_foreign(&self) -> bool {
        self.code.is_empty() && !matches!(self.status, 401 | 403 | 407 | 408 | 429 | 502..=504)
    }

    /// Reads a problem document; anything else that came with an error status becomes a problem without a `code`.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Self>(body) {
            Ok(mut problem) => {
                problem.status = status;
                problem
            }
            Err(_) => Self {
                status,
                title: format!("HTTP {status}"),
                // A page for people says nothing to a program.
                detail: if body.starts_with(b"<") { String::new() } else { beginning(body) },
                ..Self::default()
            },
        }
    }
}

fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(300).collect()
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.detail.is_empty(), self.title.is_empty()) {
            (false, _) => f.write_str(&self.detail),
            (true, false) => f.write_str(&self.title),
            (true, true) => write!(f, "HTTP {}", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_with_all_that_it_brings() {
        let body = br#"{"type":"x","title":"Illegal transition","status":409,"code":"illegal_transition",
            "detail":"a task that is TODO cannot become REVIEW","legal":["BACKLOG","COMPLETED"],"novel":{"a":1}}"#;
        let problem = Problem::read(409, body);
        assert_eq!(problem.code, "illegal_transition");
        assert_eq!(problem.legal, ["BACKLOG", "COMPLETED"]);
        assert_eq!(problem.rest["novel"]["a"], 1);
    }

    #[test]
    fn what_a_proxy_says_is_a_problem_without_a_code() {
        let problem = Problem::read(502, b"<html>Bad gateway</html>");
        assert_eq!((problem.status, problem.code.as_str()), (502, ""));
        assert_eq!(problem.to_string(), "HTTP 502");
        assert!(!problem.is_foreign(), "it may be gone in a moment");
        assert!(Problem::read(404, b"<html>").is_foreign());
        assert_eq!(Problem::read(503, b"no backend\n").to_string(), "no backend");
    }
}
