//! Texts that come from outside, checked once: past this file a URL is no option, a branch no path and an id no directory
//! of somebody else's.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

/// Why a text was not taken, in a sentence for whoever typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
pub struct Invalid {
    pub what: &'static str,
    pub why: String,
}

fn invalid(what: &'static str, why: impl Into<String>) -> Invalid {
    Invalid { what, why: why.into() }
}

/// Names a workspace and its directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl FromStr for Id {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let sound = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid("the id", "must be 1 to 64 letters, digits, '-' or '_', and begin with a letter or digit"))
        }
    }
}

/// A branch as `git check-ref-format --branch` takes it, and nothing that could be an option. Given to git only as
/// `refs/heads/<branch>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Branch(String);

impl FromStr for Branch {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bad_char = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
        let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
        let bad = text.is_empty()
            || text.len() > 200
            || text == "@"
            || text == "HEAD"
            || text.starts_with('-')
            || text.ends_with('.')
            || text.contains("..")
            || text.contains("@{")
            || text.chars().any(bad_char)
            || text.split('/').any(bad_part);
        if bad { Err(invalid("the branch", "is not a name that git takes for one")) } else { Ok(Self(text.to_owned())) }
    }
}

impl Branch {
    pub(crate) fn full(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

/// The name of a commit in full: 40 hexadecimal digits, or 64 where a repository uses SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit(String);

impl FromStr for Commit {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let sound =
            matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid("the commit", "must be 40 or 64 small hexadecimal digits"))
        }
    }
}

impl Commit {
    /// As people write it.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
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
    )*};
}

text!(Id, Branch, Commit);

/// A path inside a tree. Bytes, since git's paths need not be UTF-8; never absolute, never `..`, never into a `.git`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Invalid> {
        let bytes = bytes.into();
        let bad = bytes.is_empty()
            || bytes.len() > 4096
            || bytes.contains(&0)
            || bytes
                .split(|b| *b == b'/')
                .any(|part| part.is_empty() || part == b"." || part == b".." || is_dot_git(part));
        if bad { Err(invalid("the path", "must lead to a file inside the workspace")) } else { Ok(Self(bytes)) }
    }

    /// What git wrote into a tree of ours, which it checked when the objects came in.
    pub(crate) fn from_git(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl FromStr for RelPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(text.as_bytes())
    }
}

/// For people: bytes that are not UTF-8 become the replacement character.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Names that some file system would open as `.git`, whoever the reader of the tree will be: by case (macOS, Windows), by
/// short name and trailing dots or streams (NTFS), by characters that HFS+ ignores.
pub(crate) fn is_dot_git(name: &[u8]) -> bool {
    let seen: String = String::from_utf8_lossy(name)
        .chars()
        .filter(
            |c| !matches!(*c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'),
        )
        .collect::<String>()
        .to_ascii_lowercase();
    let stem = seen.split([':', '\\']).next().unwrap_or_default().trim_end_matches(['.', ' ']);
    stem == ".git" || stem == "git~1"
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Ssh,
}

/// Where code comes from: `https://host/path`, `ssh://user@host/path` or `user@host:path`. Shown without its user where
/// that is `https`, since people put tokens there.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    pub(crate) scheme: Scheme,
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    path: String,
}

impl FromStr for Url {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let no = |why: &str| invalid("the repository URL", why);
        if text.len() > 2_000 {
            return Err(no("is longer than 2000 characters"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(no("must not hold blanks, backslashes or control characters"));
        }
        let wanted = "must be https://host/path, ssh://user@host/path or user@host:path";
        let (scheme, authority, path, short) = if let Some(rest) = text.strip_prefix("https://") {
            let (authority, path) = rest.split_once('/').ok_or_else(|| no("does not name a repository on its host"))?;
            (Scheme::Https, authority, path, false)
        } else if let Some(rest) = text.strip_prefix("ssh://") {
            let (authority, path) = rest.split_once('/').ok_or_else(|| no("does not name a repository on its host"))?;
            (Scheme::Ssh, authority, path, false)
        } else if let Some((authority, path)) = text.split_once(':').filter(|_| !text.contains("://")) {
            if !authority.contains('@') || authority.contains('/') {
                return Err(no(wanted));
            }
            (Scheme::Ssh, authority, path, true)
        } else {
            return Err(no(wanted));
        };
        let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains(':') {
            return Err(no("must not carry a password; keep it as a secret"));
        }
        if user.starts_with('-') || place.starts_with('-') || path.starts_with('-') {
            return Err(no("must not have a part that begins with '-'"));
        }
        if !user.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+')) {
            return Err(no("has a user name with characters that are not taken"));
        }
        let (host, port) = host_and_port(place, short).map_err(no)?;
        if path.trim_matches('/').is_empty() || path.contains(['?', '#']) {
            return Err(no("does not name a repository on its host"));
        }
        Ok(Self { text: text.to_owned(), scheme, user: user.to_owned(), host, port, path: path.to_owned() })
    }
}

fn host_and_port(place: &str, short: bool) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (inner, rest) = rest.split_once(']').ok_or("does not name a host")?;
        inner.parse::<std::net::Ipv6Addr>().map_err(|_| "does not name a host")?;
        (inner, rest.strip_prefix(':'))
    } else {
        match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    if short && port.is_some() {
        return Err("does not name a host");
    }
    let port = port.map(|port| port.parse::<u16>().map_err(|_| "has a port that is not a number")).transpose()?;
    if place.starts_with('[') {
        return Ok((host.to_owned(), port));
    }
    let sound = !host.is_empty()
        && host.len() <= 253
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && host.trim_end_matches('.').split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
    if !sound {
        return Err("does not name a host");
    }
    // 2130706433, 0x7f.1 and 127.1 are addresses to a resolver; an address is written plainly or not taken.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    if numeric && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err("has a host that is a number in disguise; write the address as a.b.c.d");
    }
    Ok((host.to_ascii_lowercase(), port))
}

impl Url {
    /// As typed, the user included.
    pub(crate) fn as_given(&self) -> &str {
        &self.text
    }

    /// What may be shown, stored in a clone and written into an error.
    pub fn public(&self) -> String {
        match self.scheme {
            Scheme::Ssh => self.text.clone(),
            Scheme::Https => {
                let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
                let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("https://{host}{port}/{}", self.path)
            }
        }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(match self.scheme {
            Scheme::Https => 443,
            Scheme::Ssh => 22,
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({})", self.public())
    }
}

/// Who a commit of ours is by, and when. The time comes in, as everywhere: this room has no clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) seconds: i64,
}

impl Signature {
    /// Characters that git's identity line cannot hold are left out; an empty name becomes `kanvoy`.
    pub fn new(name: &str, email: &str, seconds: i64) -> Self {
        let clean = |text: &str| -> String {
            let kept: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).take(200).collect();
            let kept = kept
                .trim_matches(|c: char| c.is_whitespace() || matches!(c, '.' | ',' | ':' | ';' | '"' | '\'' | '\\'));
            if kept.is_empty() { "kanvoy".to_owned() } else { kept.to_owned() }
        };
        Self { name: clean(name), email: clean(email), seconds: seconds.clamp(0, 4_000_000_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_on_a_host() {
        let good = [
            "https://github.com/user/repo",
            "https://token@git.example:8443/team/repo",
            "https://[2001:db8::1]:8443/r",
            "ssh://git@host/repo",
            "ssh://host:2222/~user/repo",
            "git@github.com:user/repo.git",
            "https://127.0.0.1/r",
        ];
        for url in good {
            assert!(url.parse::<Url>().is_ok(), "{url}");
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
            "fd::17",
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
            "https://2130706433/r",
            "https://0x7f.1/r",
            "https://127.1/r",
            "https://0177.0.0.1/r",
            "https://host:99999/r",
            "https://a..b/r",
            "https://[::1/r",
            "git@host:22:x/../..\\",
            "https://host/r?x#y",
            "a/b@host:x",
            "https://-host/r",
            "https://ho%73t/r",
        ];
        for url in bad {
            assert!(url.parse::<Url>().is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_token() {
        let url: Url = "https://ghp_secret@git.example:8443/team/repo".parse().expect("a URL");
        for shown in [url.public(), url.to_string(), format!("{url:?}")] {
            assert!(!shown.contains("ghp_secret"), "{shown}");
            assert!(shown.contains("https://git.example:8443/team/repo"), "{shown}");
        }
    }

    #[test]
    fn branches_are_gits_and_no_options() {
        for good in ["main", "feature/login", "v1.2", "task/12-fix-login", "über"] {
            assert!(good.parse::<Branch>().is_ok(), "{good}");
        }
        let bad = [
            "",
            "-x",
            "--upload-pack=id",
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
            "a\nb",
            "../x",
        ];
        for bad in bad {
            assert!(bad.parse::<Branch>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_directory_names_of_their_own() {
        assert!("0199-aF_3".parse::<Id>().is_ok());
        for bad in ["", ".", "..", "a/b", "-x", "a.git", "a\0b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Id>().is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b.rs", "dir/.gitignore", "with space", "näme", "a\nb", "git"] {
            assert!(good.parse::<RelPath>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/shadow",
            "../x",
            "a/../b",
            "a//b",
            "./a",
            ".git/config",
            "a/.GIT/x",
            "git~1/x",
            ".git ",
            ".g\u{200c}it/x",
            "a\0",
        ] {
            assert!(bad.parse::<RelPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn signatures_fit_on_gits_line() {
        let by = Signature::new("Ada <x>\n\"Lovelace\"", "", -5);
        assert_eq!((by.name.as_str(), by.email.as_str(), by.seconds), ("Ada x\"Lovelace", "kanvoy", 0));
    }
}
