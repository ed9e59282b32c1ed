//! Whether the container engine is there: a connection and nothing more, until there are agents to run in it.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use kanvoy_api::{Checked, Health, HealthCheck};
use kanvoy_client::Url;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::serving::DockerHost;

const WITHIN: Duration = Duration::from_secs(1);

pub struct ContainerEngine {
    host: DockerHost,
}

impl ContainerEngine {
    pub const fn new(host: DockerHost) -> Self {
        Self { host }
    }

    /// The sentence is for a person who wants it to be there.
    pub async fn reach(&self) -> Result<(), String> {
        let tried = timeout(WITHIN, self.connect()).await;
        let error = match tried {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        };
        let why = match error.kind() {
            io::ErrorKind::NotFound => "nothing is there".to_owned(),
            io::ErrorKind::PermissionDenied => "this user may not use it".to_owned(),
            io::ErrorKind::ConnectionRefused => "nobody answers".to_owned(),
            _ => error.to_string(),
        };
        Err(format!("no container engine at {}: {why}", self.host))
    }

    async fn connect(&self) -> io::Result<()> {
        if let Some(socket) = self.host.socket() {
            return UnixStream::connect(socket).await.map(drop);
        }
        let unknown = || io::Error::new(io::ErrorKind::InvalidInput, "an address that this version does not know");
        let url = Url::parse(&self.host.0).map_err(|_| unknown())?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "tcp" | "http" | "https")).ok_or_else(unknown)?;
        let port = url.port_or_known_default().unwrap_or(2375);
        TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map(drop)
    }
}

#[async_trait]
impl HealthCheck for ContainerEngine {
    fn name(&self) -> &'static str {
        "engine"
    }

    async fn check(&self) -> Checked {
        match self.reach().await {
            Ok(()) => Checked { status: Health::Ok, detail: None },
            // The board works without it.
            Err(why) => Checked { status: Health::Degraded, detail: Some(why) },
        }
    }
}
