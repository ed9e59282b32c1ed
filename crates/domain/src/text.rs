//! Texts that people and programs send in, checked once at the door: past it they are known to be short, printable and of
//! their kind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text was not taken. `field` is the name that the sender gave it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct Invalid {
    pub field: &'static str,
    pub detail: String,
}

impl Invalid {
    pub fn new(field: &'static str, detail: impl Into<String>) -> Self {
        Self { field, detail: detail.into() }
    }
}

/// Lengths are in characters, since that is what a person counts.
pub const MAX_NAME: usize = 200;
pub const MAX_TITLE: usize = 500;
pub const MAX_DESCRIPTION: usize = 100_000;
pub const MAX_LABEL: usize = 64;
pub const MAX_LABELS: usize = 64;
pub const MAX_EXTERNAL_REF: usize = 500;
pub const MAX_URL: usize = 2_000;
pub const MAX_BRANCH: usize = 200;
pub const MAX_AGENT_TYPE: usize = 64;

/// One line: trimmed, not empty, no control characters.
pub fn line(field: &'static str, text: &str, max: usize) -> Result<String, Invalid> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Invalid::new(field, "must not be empty"));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control() || is_line_break(*c)) {
        return Err(Invalid::new(field, format!("must be one line of text, but holds {}", named(bad))));
    }
    no_longer(field, text, max)?;
    Ok(text.to_owned())
}

/// Several lines: kept as they are; line breaks and tabs are the only control characters.
pub fn prose(field: &'static str, text: &str, max: usize) -> Result<String, Invalid> {
    if let Some(bad) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Invalid::new(field, format!("must be plain text, but holds {}", named(bad))));
    }
    no_longer(field, text, max)?;
    Ok(text.to_owned())
}

fn no_longer(field: &'static str, text: &str, max: usize) -> Result<(), Invalid> {
    // Bytes are counted first: most texts are far below the limit, and counting characters walks the whole text.
    if text.len() > max {
        let length = text.chars().count();
        if length > max {
            return Err(Invalid::new(field, format!("is {length} characters long; at most {max} are taken")));
        }
    }
    Ok(())
}

const fn is_line_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

fn named(c: char) -> String {
    format!("the control character U+{:04X}", c as u32)
}

/// Labels of a task: each one line, each once, in the order given.
pub fn labels(given: &[String]) -> Result<Vec<String>, Invalid> {
    if given.len() > MAX_LABELS {
        return Err(Invalid::new("labels", format!("are {}; at most {MAX_LABELS} are taken", given.len())));
    }
    let mut labels: Vec<String> = Vec::with_capacity(given.len());
    for label in given {
        let label = line("labels", label, MAX_LABEL)?;
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $error:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(text).map_err(|detail| Invalid::new($error, detail))?;
                Ok(Self(text.to_owned()))
            }
        }
    };
}

text_type!(
    /// What task numbers are written with: the `KAN` of `KAN-12`. Never reused, so that old links stay true.
    BoardKey,
    "key",
    |text| {
        let sound = (2..=10).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        if sound { Ok(()) } else { Err("must be 2 to 10 capital letters or digits and begin with a letter".into()) }
    }
);

text_type!(
    /// Where a task's code comes from: `https://`, `ssh://` or `git@host:path`. Never a local path, never an option.
    RepositoryUrl,
    "repository_url",
    repository_url
);

text_type!(
    /// A branch as git would accept it, and never something that git could take for an option.
    BranchName,
    "branch",
    branch_name
);

text_type!(
    /// The name under which an agent type is kept: `demo`, `claude-code`.
    AgentTypeName,
    "agent_type",
    |text| {
        let sound = (1..=MAX_AGENT_TYPE).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
        if sound {
            Ok(())
        } else {
            Err(format!(
                "must be at most {MAX_AGENT_TYPE} small letters, digits, '-', '_' or '.', and begin with a letter or digit"
            ))
        }
    }
);

impl BoardKey {
    /// A key out of a board's name: `Payments API` becomes `PAYM`. `taken` says which are in use.
    pub fn from_name(name: &str, taken: impl Fn(&str) -> bool) -> Self {
        let letters: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .skip_while(char::is_ascii_digit)
            .map(|c| c.to_ascii_uppercase())
            .take(4)
            .collect();
        let stem = if letters.len() < 2 { "BOARD".to_owned() } else { letters };
        let mut key = stem.clone();
        let mut next = 2u32;
        while taken(&key) {
            key = format!("{stem}{next}");
            next += 1;
        }
        Self(key)
    }
}

fn repository_url(text: &str) -> Result<(), String> {
    if text.len() > MAX_URL {
        return Err(format!("is {} characters long; at most {MAX_URL} are taken", text.len()));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err("must not hold blanks, backslashes or control characters".into());
    }
    let (user, host, path) = if let Some(rest) = text.strip_prefix("https://") {
        split_authority(rest)?
    } else if let Some(rest) = text.strip_prefix("ssh://") {
        split_authority(rest)?
    } else if let Some((user_host, path)) = text.split_once(':').filter(|_| !text.contains("://")) {
        let (user, host) = user_host.split_once('@').ok_or_else(wanted)?;
        (user, host, path)
    } else {
        return Err(wanted());
    };
    if user.contains(':') {
        return Err("must not carry a password; keep it as a secret".into());
    }
    if user.starts_with('-') || host.starts_with('-') || path.starts_with('-') {
        return Err("must not have a part that begins with '-'".into());
    }
    let host_sound = !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'));
    let user_sound = user.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'));
    if !host_sound || !user_sound {
        return Err("does not name a host".into());
    }
    if path.trim_matches('/').is_empty() {
        return Err("does not name a repository on its host".into());
    }
    Ok(())
}

fn split_authority(rest: &str) -> Result<(&str, &str, &str), String> {
    let (authority, path) = rest.split_once('/').ok_or("does not name a repository on its host")?;
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    Ok((user, host, path))
}

fn wanted() -> String {
    "must be https://host/path, ssh://user@host/path or user@host:path".into()
}

/// The rules of `git check-ref-format --branch`, and no leading dash.
fn branch_name(text: &str) -> Result<(), String> {
    if text.len() > MAX_BRANCH {
        return Err(format!("is {} characters long; at most {MAX_BRANCH} are taken", text.len()));
    }
    let bad_char = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let bad = text.is_empty()
        || text == "@"
        || text == "HEAD"
        || text.starts_with('-')
        || text.ends_with('.')
        || text.contains("..")
        || text.contains("@{")
        || text.chars().any(bad_char)
        || text.split('/').any(bad_part);
    if bad { Err("is not a name that git takes for a branch".into()) } else { Ok(()) }
}

/// What search compares: small letters, one blank between words.
pub fn folded(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_printable() {
        assert_eq!(line("title", "  Fix login \n", 20), Ok("Fix login".into()));
        for bad in ["", "   ", "a\nb", "a\u{0}b", "a\u{1b}[31m", "a\u{2028}b", "a\u{7f}b"] {
            assert!(line("title", bad, 20).is_err(), "{bad:?}");
        }
        assert!(line("title", &"é".repeat(20), 20).is_ok(), "characters are counted, not bytes");
        let error = line("title", &"é".repeat(21), 20).expect_err("is too long");
        assert_eq!(error.to_string(), "title: is 21 characters long; at most 20 are taken");
    }

    #[test]
    fn prose_keeps_its_shape() {
        assert_eq!(prose("description", "  a\r\n\tb ", 20), Ok("  a\r\n\tb ".into()));
        assert!(prose("description", "a\u{1b}[0m", 20).is_err());
    }

    #[test]
    fn labels_are_few_and_each_once() {
        let many: Vec<String> = (0..10_000).map(|n| format!("label-{n}")).collect();
        assert!(labels(&many).is_err());
        assert_eq!(labels(&["bug".into(), " bug ".into(), "ui".into()]), Ok(vec!["bug".into(), "ui".into()]));
    }

    #[test]
    fn repositories_are_on_a_host() {
        let good = [
            "https://github.com/user/repo",
            "https://github.com/user/repo.git",
            "https://token@git.example:8443/team/repo",
            "ssh://git@host/repo",
            "ssh://host:2222/~user/repo",
            "git@github.com:user/repo.git",
        ];
        for url in good {
            assert!(url.parse::<RepositoryUrl>().is_ok(), "{url}");
        }
        let bad = [
            "",
            "/etc/passwd",
            "./repo",
            "file:///etc",
            "ext::sh -c id",
            "ext::sh",
            "git://host/repo",
            "http://host/repo",
            "--upload-pack=id",
            "-u@host:path",
            "ssh://-oProxyCommand=id/x",
            "https://user:secret@host/repo",
            "https://host",
            "https://host/",
            "https:///repo",
            "https://host/re po",
            "https://host/re\npo",
            "git@host:-x",
            "host:path",
        ];
        for url in bad {
            assert!(url.parse::<RepositoryUrl>().is_err(), "{url}");
        }
    }

    #[test]
    fn branches_are_gits() {
        for good in ["main", "feature/login", "v1.2", "task/12-fix-login", "über"] {
            assert!(good.parse::<BranchName>().is_ok(), "{good}");
        }
        let bad = [
            "",
            "-x",
            "--orphan=x",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "@",
            "a@{1}",
            "HEAD",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.",
            "a\u{7f}",
        ];
        for bad in bad {
            assert!(bad.parse::<BranchName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_come_from_names() {
        let key = |name: &str, taken: &[&str]| BoardKey::from_name(name, |key| taken.contains(&key)).to_string();
        assert_eq!(key("Payments API", &[]), "PAYM");
        assert_eq!(key("Payments API", &["PAYM", "PAYM2"]), "PAYM3");
        assert_eq!(key("2nd try", &[]), "NDTR");
        assert_eq!(key("看板", &[]), "BOARD");
        assert!(key("x", &[]).parse::<BoardKey>().is_ok());
    }
}
