//! The values that can be configured: read from text the same way, whether they come from a flag, the environment or a file.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use kanvoy_client::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Listen {
    pub fn is_loopback(self) -> bool {
        match self.0.ip() {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
            }
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or("an address and a port, such as 127.0.0.1:8080")?;
        let port: u16 = port.parse().map_err(|_| format!("{port} is not a port: a number up to 65535"))?;
        match host {
            "localhost" => Ok(Self(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))),
            "ip6-localhost" => Ok(Self(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port))),
            _ => Err(format!("{host} is not an address: 127.0.0.1, [::1] or localhost")),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An http or https address without anything behind its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl(pub Url);

impl FromStr for WebUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim()).map_err(|error| format!("not an address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err("begins with http:// or https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds no name and no password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("ends with its path".to_owned());
        }
        Ok(Self(url))
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What `Host:` may say: a name or an address, perhaps with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(pub String);

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if text.is_empty() || !text.chars().all(fits) {
            return Err("a host name such as kanvoy.example, without http:// and without a path".to_owned());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerHost(pub String);

impl DockerHost {
    /// The socket's file, where it is one of this machine.
    pub fn socket(&self) -> Option<&Path> {
        self.0.strip_prefix("unix://").map(Path::new)
    }
}

impl FromStr for DockerHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let known = ["unix:///", "tcp://", "http://", "https://"];
        if known.iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme)) {
            return Ok(Self(text.to_owned()));
        }
        Err("unix:///var/run/docker.sock, or tcp://host:port".to_owned())
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where everything is kept. Relative files lie in the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrl(pub PathBuf);

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return Err("Postgres comes in a later version; leave this out, or say sqlite:FILE".to_owned());
        }
        let file = text.strip_prefix("sqlite:").ok_or("sqlite:FILE is all there is in this version")?;
        let file = file.strip_prefix("//").unwrap_or(file);
        if file.is_empty() || file == ":memory:" || file.contains(['?', '\0']) {
            return Err(
                "sqlite:FILE, with a file and nothing behind it; a board is kept, not held in memory".to_owned()
            );
        }
        Ok(Self(PathBuf::from(file)))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.0.display())
    }
}

macro_rules! words {
    ($name:ident { $($variant:ident = $text:literal),+ }) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text),+ })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text.trim() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(["one of", $($text),+].join(" ")),
                }
            }
        }
    };
}

/// What agents run in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    #[default]
    Docker,
    /// On the host itself: not a cage
    Process,
}

words!(Runtime { Docker = "docker", Process = "process" });

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Auto,
    Json,
    Text,
}

words!(LogFormat { Auto = "auto", Json = "json", Text = "text" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_loopback_or_not() {
        for (text, loopback) in [
            ("127.0.0.1:0", true),
            ("127.9.9.9:80", true),
            ("[::1]:80", true),
            ("localhost:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("[::ffff:127.0.0.1]:80", true),
            ("10.0.0.1:80", false),
        ] {
            assert_eq!(text.parse::<Listen>().map(Listen::is_loopback), Ok(loopback), "{text}");
        }
        for text in ["", "8080", "127.0.0.1", "127.0.0.1:99999", "kanvoy.example:80"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_file_is_a_database() {
        assert_eq!("sqlite:a.db".parse(), Ok(DatabaseUrl("a.db".into())));
        assert_eq!("sqlite:///var/a.db".parse(), Ok(DatabaseUrl("/var/a.db".into())));
        for text in
            ["postgres://localhost/kanvoy", "sqlite::memory:", "sqlite:", "mysql://x", "a.db", "sqlite:a?mode=ro"]
        {
            assert!(text.parse::<DatabaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_the_web_is_refused() {
        for text in ["ftp://a", "kanvoy.example", "http://u:p@a/", "http://a/?q", "http://a/#f"] {
            assert!(text.parse::<WebUrl>().is_err(), "{text}");
        }
        for text in ["http://a b", "a/b", ""] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
        assert!("docker".parse::<DockerHost>().is_err());
        assert!("unix://".parse::<DockerHost>().is_err());
    }
}
