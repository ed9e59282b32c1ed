//! How a command ends: an exit code that a script can branch on, and a sentence that a person can act on.

use std::process::ExitCode;

use kanvoy_client::{ClientError, Problem};

/// The contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    BadRequest = 2,
    Unreachable = 3,
    Auth = 4,
    NotFound = 5,
    Conflict = 6,
    Retryable = 7,
    /// Ctrl-C, as shells count it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub said: String,
    /// What to type instead or next.
    pub next: Vec<String>,
    /// What the server said, whole.
    pub problem: Option<Box<Problem>>,
}

impl Failure {
    pub fn new(exit: Exit, said: impl Into<String>) -> Self {
        Self { exit, said: said.into(), next: Vec::new(), problem: None }
    }

    pub fn usage(said: impl Into<String>) -> Self {
        Self::new(Exit::BadRequest, said)
    }

    pub fn with_next(mut self, command: impl Into<String>) -> Self {
        self.next.push(command.into());
        self
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { url, why } => {
                let url = url.trim_end_matches('/');
                let why = if why.contains("refused") { String::new() } else { format!(" ({why})") };
                Self::new(Exit::Unreachable, format!("no daemon at {url}{why}"))
                    .with_next("kanvoy serve")
                    .with_next("kanvoy doctor")
            }
            ClientError::Unauthenticated(problem) => {
                let said = format!("not logged in: {}", said_by(&problem));
                Self { problem: Some(problem), ..Self::new(Exit::Auth, said) }
                    .with_next("kanvoy config show    # which token, and from where")
            }
            ClientError::Problem(problem) => {
                let failure = Self::new(exit_of(&problem), said_by(&problem));
                let next: Vec<String> = problem.attempt.iter().cloned().collect();
                Self { problem: Some(problem), next, ..failure }
            }
            ClientError::Protocol(_) => Self::new(Exit::Failed, error.to_string()).with_next("kanvoy doctor"),
            ClientError::Local(error) => error.into(),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Whoever read our output has enough of it.
            std::io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            _ => Self::new(Exit::Failed, error.to_string()),
        }
    }
}

fn exit_of(problem: &Problem) -> Exit {
    match (problem.status, problem.code.as_str()) {
        (_, "contended") => Exit::Retryable,
        (400 | 405 | 411 | 413 | 414 | 415 | 422 | 431, _) => Exit::BadRequest,
        (401 | 403, _) => Exit::Auth,
        (404 | 410, _) => Exit::NotFound,
        (409 | 412, _) => Exit::Conflict,
        (408 | 425 | 429 | 502 | 503 | 504, _) => Exit::Retryable,
        _ => Exit::Failed,
    }
}

fn said_by(problem: &Problem) -> String {
    let mut said = problem.to_string();
    for field in &problem.fields {
        let name = field.pointer.trim_start_matches('/');
        if !field.detail.is_empty() && !said.contains(&field.detail) {
            said.push_str(&format!("\n  {name}: {}", field.detail));
        }
    }
    if let Some(version) = problem.current_version.filter(|_| !said.contains("version")) {
        said.push_str(&format!(" (its version is {version} now)"));
    }
    if let Some(seconds) = problem.retry_after {
        said.push_str(&format!(" (try again in {seconds} s)"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_refusal_has_its_code() {
        let exit = |status, code: &str| exit_of(&Problem { status, code: code.into(), ..Problem::default() });
        for (status, code, expected) in [
            (400, "malformed_json", Exit::BadRequest),
            (422, "invalid_body", Exit::BadRequest),
            (413, "too_large", Exit::BadRequest),
            (403, "forbidden", Exit::Auth),
            (404, "not_found", Exit::NotFound),
            (409, "illegal_transition", Exit::Conflict),
            (409, "contended", Exit::Retryable),
            (429, "too_many_requests", Exit::Retryable),
            (503, "unavailable", Exit::Retryable),
            (500, "internal", Exit::Failed),
        ] {
            assert_eq!(exit(status, code), expected, "{status} {code}");
        }
    }
}
