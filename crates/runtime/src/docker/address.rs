//! Where the engine is: what `DOCKER_HOST` means, as a value.

use std::fmt;
use std::path::{Path, PathBuf};

use bollard::{API_DEFAULT_VERSION, Docker};

pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Far beyond every deadline of `call`, which are the ones that count: the client knows only one number for all requests.
const CLIENT_SECONDS: u64 = 24 * 3600;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// `host:port`. Without TLS whoever reaches the port owns the engine's machine.
    Tcp {
        host: String,
        tls: Option<TlsFiles>,
    },
}

/// The three files of `DOCKER_CERT_PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl TlsFiles {
    pub fn in_dir(dir: &Path) -> Self {
        Self { ca: dir.join("ca.pem"), cert: dir.join("cert.pem"), key: dir.join("key.pem") }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("`{0}` is not the address of an engine: use unix:///path, tcp://host:port or https://host:port")]
    Unknown(String),
    #[error(
        "engines over ssh are not supported; forward its socket: ssh -L /tmp/docker.sock:/var/run/docker.sock host"
    )]
    Ssh,
    #[error("TLS is asked for, but no directory with ca.pem, cert.pem and key.pem is given (DOCKER_CERT_PATH)")]
    NoCertificates,
}

impl Address {
    /// `host` as in `DOCKER_HOST` (none is the local socket), `tls_verify` as in `DOCKER_TLS_VERIFY`, `certificates` as in
    /// `DOCKER_CERT_PATH`.
    pub fn parse(host: Option<&str>, tls_verify: bool, certificates: Option<&Path>) -> Result<Self, AddressError> {
        let host = host.map(str::trim).filter(|host| !host.is_empty());
        let Some(host) = host else {
            return Ok(Self::Unix(PathBuf::from(DEFAULT_SOCKET)));
        };
        let unknown = || AddressError::Unknown(host.to_owned());
        let (scheme, rest) = host.split_once("://").ok_or_else(unknown)?;
        let tls = || certificates.map(TlsFiles::in_dir).ok_or(AddressError::NoCertificates);
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "ssh" => Err(AddressError::Ssh),
            "tcp" | "http" | "https" => {
                let wants_tls = scheme == "https" || (scheme == "tcp" && tls_verify);
                let host = with_port(rest.trim_end_matches('/'), wants_tls).ok_or_else(unknown)?;
                Ok(Self::Tcp { host, tls: if wants_tls { Some(tls()?) } else { None } })
            }
            _ => Err(unknown()),
        }
    }

    /// Paths of this machine mean the same to the engine. A forwarded socket looks local and is not: `canary` proves it.
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, tls: None } => write!(f, "tcp://{host}"),
            Self::Tcp { host, tls: Some(_) } => write!(f, "tcp://{host} (TLS)"),
        }
    }
}

fn with_port(rest: &str, tls: bool) -> Option<String> {
    let plain =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
    if !plain(rest) {
        return None;
    }
    let port = rest.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    match port {
        Some((host, port)) => (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| rest.to_owned()),
        None => Some(format!("{rest}:{}", if tls { 2376 } else { 2375 })),
    }
}

pub(super) fn connect(address: &Address) -> Result<Docker, bollard::errors::Error> {
    match address {
        Address::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), CLIENT_SECONDS, API_DEFAULT_VERSION),
        Address::Tcp { host, tls: None } => {
            Docker::connect_with_http(&format!("http://{host}"), CLIENT_SECONDS, API_DEFAULT_VERSION)
        }
        Address::Tcp { host, tls: Some(TlsFiles { ca, cert, key }) } => {
            // Two providers may be compiled in; without a choice the client panics. A choice made earlier stands.
            rustls::crypto::ring::default_provider().install_default().ok();
            Docker::connect_with_ssl(&format!("https://{host}"), key, cert, ca, CLIENT_SECONDS, API_DEFAULT_VERSION)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_host_means_what_it_says() {
        let parse = |host: &str, tls| Address::parse(Some(host), tls, Some(Path::new("/certs"))).map(|a| a.to_string());
        let unknown = |host: &str| Err(AddressError::Unknown(host.to_owned()));
        assert_eq!(Address::parse(None, true, None).unwrap(), Address::Unix(DEFAULT_SOCKET.into()));
        assert_eq!(Address::parse(Some(" "), false, None).unwrap(), Address::Unix(DEFAULT_SOCKET.into()));
        assert_eq!(parse("unix:///run/user/1000/docker.sock", true), Ok("unix:///run/user/1000/docker.sock".into()));
        assert_eq!(parse("tcp://127.0.0.1:2375", false), Ok("tcp://127.0.0.1:2375".into()));
        assert_eq!(parse("tcp://box", false), Ok("tcp://box:2375".into()));
        assert_eq!(parse("tcp://box", true), Ok("tcp://box:2376 (TLS)".into()));
        assert_eq!(parse("tcp://[::1]:4/", true), Ok("tcp://[::1]:4 (TLS)".into()));
        assert_eq!(parse("tcp://[::1]", false), Ok("tcp://[::1]:2375".into()));
        assert_eq!(parse("https://box:1", false), Ok("tcp://box:1 (TLS)".into()));
        assert_eq!(parse("http://box:1", true), Ok("tcp://box:1".into()));
        assert_eq!(parse("ssh://me@box", true), Err(AddressError::Ssh));
        assert_eq!(Address::parse(Some("tcp://box"), true, None), Err(AddressError::NoCertificates));
        for bad in [
            "box",
            "tcp://",
            "tcp://:1",
            "tcp://a:b",
            "tcp://a/b?c",
            "unix://relative",
            "npipe:////./pipe",
            "tcp://a b",
        ] {
            assert_eq!(parse(bad, false), unknown(bad));
        }
    }
}
