//! Every request's deadline, and what every error means.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as Fault;

use crate::docker::{Address, Inner, address};
use crate::error::{Absence, RuntimeError};

/// Deadlines by what an engine has to do. An engine under load takes seconds for what it usually does in milliseconds.
pub(super) const ASK: Duration = Duration::from_secs(10);
pub(super) const MAKE: Duration = Duration::from_secs(60);
pub(super) const START: Duration = Duration::from_secs(120);
pub(super) const REMOVE: Duration = Duration::from_secs(60);

/// Where an engine's programs usually lie; the search path is not asked for, since the environment is not read here.
const PROGRAMS: &[&str] =
    &["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd", "/snap/bin/dockerd", "/usr/bin/docker"];

impl Inner {
    pub(super) fn docker(&self) -> Result<Docker, RuntimeError> {
        let mut client = self.client.lock();
        if let Some(docker) = client.as_ref() {
            return Ok(docker.clone());
        }
        let docker = address::connect(&self.config.address).map_err(|fault| self.means("connect", &fault))?;
        Ok(client.insert(docker).clone())
    }

    /// One request. It is made once more when the connection broke on the way, so it must be one that may be made twice; all of
    /// ours are, since everything we make has a name of our choosing.
    pub(super) async fn call<T, F, Fut>(
        &self,
        call: &'static str,
        deadline: Duration,
        make: F,
    ) -> Result<T, RuntimeError>
    where
        F: Fn(Docker) -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        let docker = self.docker()?;
        let both = async {
            match make(docker.clone()).await {
                Err(fault) if broke_on_the_way(&fault) => make(docker).await,
                answer => answer,
            }
        };
        match tokio::time::timeout(deadline, both).await {
            Ok(answer) => answer.map_err(|fault| self.means(call, &fault)),
            Err(_) => Err(RuntimeError::Deadline { call, after: deadline }),
        }
    }

    pub(super) fn means(&self, call: &'static str, fault: &Fault) -> RuntimeError {
        match fault {
            Fault::DockerResponseServerError { status_code, message } => {
                RuntimeError::Engine { call, status: *status_code, detail: message.trim().to_owned() }
            }
            Fault::DockerStreamError { error } => {
                RuntimeError::Engine { call, status: 0, detail: error.trim().to_owned() }
            }
            Fault::SocketNotFoundError(_) => self.absent(io::ErrorKind::NotFound, fault),
            Fault::HyperLegacyError { err } if err.is_connect() => {
                self.absent(io_kind(fault).unwrap_or(io::ErrorKind::Other), fault)
            }
            Fault::CertPathError { .. } | Fault::CertMultipleKeys { .. } | Fault::CertParseError { .. } => {
                self.engine_absent(Absence::Tls, fault.to_string())
            }
            Fault::RequestTimeoutError => RuntimeError::Deadline { call, after: Duration::from_secs(0) },
            // Answers that are no answers of an engine: plain HTTP to a TLS port, or some other server.
            Fault::JsonDataError { .. } | Fault::JsonSerdeError { .. } => {
                self.engine_absent(Absence::NotAnEngine, format!("what answers there is no container engine ({fault})"))
            }
            _ => {
                let detail = chain(fault);
                // With TLS 1.3 a refused certificate is told after the handshake, in the place of an answer.
                if matches!(&self.config.address, Address::Tcp { tls: Some(_), .. }) && detail.contains("fatal alert") {
                    return self.engine_absent(Absence::Tls, format!("the engine refused the certificate: {detail}"));
                }
                RuntimeError::Broken { call, detail }
            }
        }
    }

    fn absent(&self, kind: io::ErrorKind, fault: &Fault) -> RuntimeError {
        let detail = chain(fault);
        match &self.config.address {
            Address::Unix(path) => match kind {
                io::ErrorKind::PermissionDenied => self.engine_absent(
                    Absence::NoPermission,
                    "this user may not use it; add it to the socket's group (`sudo usermod -aG docker \"$USER\"`) and log \
                     in again"
                        .to_owned(),
                ),
                io::ErrorKind::NotFound if !seems_installed(path) => self.engine_absent(
                    Absence::NotInstalled,
                    "no engine seems to be installed; install Docker (Debian, Ubuntu: `sudo apt install docker.io`), or use \
                     `--runtime process`, which is not a cage"
                        .to_owned(),
                ),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => self.engine_absent(
                    Absence::NotRunning,
                    "it is installed but does not run; start it (`sudo systemctl start docker`)".to_owned(),
                ),
                _ => self.engine_absent(Absence::Unreachable, detail),
            },
            Address::Tcp { tls, .. } => {
                let about_tls = ["certificate", "handshake", "tls", "corrupt message", "alert"]
                    .iter()
                    .any(|word| detail.to_ascii_lowercase().contains(word));
                if tls.is_some() && about_tls {
                    self.engine_absent(Absence::Tls, format!("the TLS connection failed: {detail}"))
                } else if kind == io::ErrorKind::ConnectionRefused {
                    self.engine_absent(Absence::NotRunning, "nobody listens at this address".to_owned())
                } else {
                    self.engine_absent(Absence::Unreachable, detail)
                }
            }
        }
    }

    pub(super) fn engine_absent(&self, why: Absence, hint: String) -> RuntimeError {
        RuntimeError::EngineAbsent { socket: self.config.address.to_string(), why, hint }
    }
}

/// An engine that has run leaves its directory behind even when its socket is gone.
fn seems_installed(socket: &Path) -> bool {
    let default = socket == Path::new(address::DEFAULT_SOCKET) || socket == Path::new("/run/docker.sock");
    !default || PROGRAMS.iter().any(|program| Path::new(program).exists())
}

fn broke_on_the_way(fault: &Fault) -> bool {
    match fault {
        Fault::HyperLegacyError { err } => !err.is_connect(),
        Fault::HyperResponseError { err } => err.is_incomplete_message() || err.is_closed(),
        _ => false,
    }
}

fn io_kind(fault: &Fault) -> Option<io::ErrorKind> {
    let mut cause = fault.source();
    let mut kind = None;
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            kind = Some(io.kind());
        }
        cause = error.source();
    }
    kind
}

/// The whole story of an error, without repeating itself.
fn chain(fault: &Fault) -> String {
    let mut story = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !story.contains(&part) {
            story.push_str(": ");
            story.push_str(&part);
        }
        cause = error.source();
    }
    story
}

/// `None` for a 404: a positive answer that there is no such thing.
pub(super) fn found<T>(answer: Result<T, RuntimeError>) -> Result<Option<T>, RuntimeError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(RuntimeError::Engine { status: 404, .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A 404 or 304 where the wish is already fulfilled.
pub(super) fn done(answer: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match answer {
        Err(RuntimeError::Engine { status: 404 | 304, .. }) => Ok(()),
        other => other,
    }
}
