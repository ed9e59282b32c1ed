//! What can go wrong, by what the caller does next. Every sentence says what to do, and none carries a credential.

use std::io;
use std::time::Duration;

use crate::names::{Commit, Invalid};

/// A variant where someone branches; a sentence where someone reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no {0}")]
    NotFound(String),
    #[error(
        "{host} wants a login for this repository, or refused the one it got: give the board a credential that may {act} it"
    )]
    AuthNeeded { host: String, act: &'static str },
    #[error("the repository's host {host} is not allowed: {why}")]
    HostRefused { host: String, why: String },
    #[error("the repository's host {host} cannot be reached: {why}; check the address and the network, then try again")]
    HostUnreachable { host: String, why: String },
    #[error("there is no branch {branch} in {repository}; {have}")]
    NoSuchBranch { branch: String, repository: String, have: String },
    #[error("{branch} has moved on meanwhile: merge it into the work first, then push again ({detail})")]
    NotFastForward { branch: String, detail: String },
    /// `tip` is what [`crate::Confirm::Unpushed`] has to name.
    #[error(
        "this would throw away {commits} commit(s) and {files} changed file(s) that are kept nowhere else; push or merge them, or confirm by naming {tip}{detail}"
    )]
    Unpushed { tip: Commit, commits: u64, files: usize, detail: String },
    #[error("the disk is full: free some space below the workspace directory, then try again")]
    DiskFull,
    #[error("{what} took longer than {after:?} and was stopped; try again, or raise the time it may take")]
    Timeout { what: String, after: Duration },
    #[error("{what} is larger than {limit} {unit}; {advice}")]
    TooLarge { what: String, limit: u64, unit: &'static str, advice: &'static str },
    #[error("refused: {0}")]
    Refused(String),
    #[error("{0}")]
    Invalid(#[from] Invalid),
    #[error("git 2.38 or newer is needed: {0}")]
    NoGit(String),
    #[error("{what} failed: {detail}")]
    Failed { what: String, detail: String },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Failed { what: what.into(), detail: error.to_string() },
        }
    }
}

/// Reads what git said. Messages are in English because the wrapper asks for `LC_ALL=C`; a sentence that is not
/// recognised stays a plain failure with git's own words.
pub(crate) fn from_git(what: &str, remote: Option<(&str, &'static str)>, stderr: &str) -> Error {
    let said = |needles: &[&str]| needles.iter().any(|needle| stderr.contains(needle));
    if said(&["No space left on device", "Disk quota exceeded"]) {
        return Error::DiskFull;
    }
    if let Some((host, act)) = remote {
        let auth = [
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "Permission denied (",
            "Permission denied, please try again",
            "returned error: 401",
            "returned error: 403",
            "HTTP Basic: Access denied",
        ];
        if said(&auth) {
            return Error::AuthNeeded { host: host.to_owned(), act };
        }
        // A host that hides private repositories says "not found" for want of a login; both readings are named.
        if said(&[
            "returned error: 404",
            "Repository not found",
            "repository not found",
            "does not appear to be a git repository",
            "' not found",
        ]) {
            return Error::NotFound(format!(
                "repository of that name on {host}, or the login may not see it; check the URL and the credential"
            ));
        }
        if said(&[
            "unable to update url base from redirection",
            "returned error: 301",
            "returned error: 302",
            "returned error: 307",
            "returned error: 308",
        ]) {
            return Error::Refused(format!(
                "{host} sends this URL elsewhere, and redirects are not followed; give the final URL (often the one that ends in .git)"
            ));
        }
        if said(&["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
            return Error::HostRefused {
                host: host.to_owned(),
                why: "its key is not the one that is known; add the right one to the known hosts".into(),
            };
        }
        if said(&[
            "Could not resolve",
            "Failed to connect",
            "Couldn't connect",
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "Connection closed",
            "Network is unreachable",
            "No route to host",
            "Operation timed out",
            "SSL certificate problem",
            "certificate verification failed",
            "server certificate verification",
        ]) {
            return Error::HostUnreachable { host: host.to_owned(), why: first_line(stderr) };
        }
    }
    if said(&["transport '", "not allowed"]) && said(&["transport"]) {
        return Error::Refused("only https and ssh repositories are taken".into());
    }
    // What fsck finds is `error: object <name>: <code>: <sentence>`.
    if let Some(found) = stderr.lines().find_map(|line| line.trim().strip_prefix("error: object ")) {
        let found: String = found.chars().filter(|c| !c.is_control()).take(300).collect();
        return Error::Refused(format!(
            "it holds an object that could harm whoever checks it out ({found}); take that out of the commits"
        ));
    }
    Error::Failed { what: what.to_owned(), detail: first_line(stderr) }
}

fn first_line(stderr: &str) -> String {
    let line = stderr
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("fatal:") || line.starts_with("error:") || line.starts_with("remote: error"))
        .or_else(|| stderr.lines().map(str::trim).find(|line| !line.is_empty()))
        .unwrap_or("git said nothing about it");
    line.chars().filter(|c| !c.is_control()).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stderr: &str) -> String {
        let text = format!("{:?}", from_git("fetching", Some(("git.example", "read")), stderr));
        text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn gits_words_become_what_to_do() {
        let rows = [
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", "AuthNeeded"),
            ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "AuthNeeded"),
            ("fatal: unable to access 'https://h/r/': The requested URL returned error: 403", "AuthNeeded"),
            ("remote: Repository not found.\nfatal: repository 'https://h/r/' not found", "NotFound"),
            ("fatal: unable to access 'https://h/r/': The requested URL returned error: 301", "Refused"),
            ("fatal: unable to access 'https://h/': Could not resolve host: h", "HostUnreachable"),
            ("fatal: write error: No space left on device", "DiskFull"),
            ("fatal: transport 'file' not allowed", "Refused"),
            (
                "error: object 12ab: gitmodulesUpdate: disallowed submodule update setting: !id\nfatal: fsck error in packed object",
                "Refused",
            ),
            ("fatal: something new", "Failed"),
        ];
        for (stderr, expected) in rows {
            assert_eq!(kind(stderr), expected, "{stderr}");
        }
    }
}
