//! How git logs in, without the secret ever being an argument, an environment variable or a file on disk: it lies in an
//! anonymous memory file that only processes of our own uid can open, for as long as the call takes.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{MemfdFlags, Mode};

use crate::Config;
use crate::error::Error;
use crate::git::{Git, Wire, quoted};
use crate::names::{Scheme, Url};

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A login for one call and for the one host of its URL.
#[derive(Clone, Debug, Default)]
pub enum Access {
    #[default]
    None,
    /// `username` may be empty: hosts that take tokens want any name.
    Https { username: String, password: Secret },
    /// A private key in OpenSSH's format, without a passphrase.
    SshKey { key: Secret },
    /// An agent's socket; the daemon's own is never used unasked.
    SshAgent { socket: PathBuf },
}

/// Held while git runs.
pub(crate) struct Login {
    _secret: Option<File>,
}

impl Access {
    /// Turns `git` to this URL: pinned to the judged address, with the login for this host only.
    pub(crate) fn turn(
        &self,
        mut git: Git,
        url: &Url,
        address: IpAddr,
        root: &Path,
        config: &Config,
    ) -> Result<(Git, Login), Error> {
        git = git.wire(Wire::Net).timeout(config.network_timeout);
        if !url.user.is_empty() && url.scheme == Scheme::Https {
            git = git.secrets([url.user.clone()]);
        }
        match url.scheme {
            Scheme::Https => {
                git = git.config("http.lowSpeedLimit", "1").config("http.lowSpeedTime", "60");
                if let Some(proxy) = &config.proxy {
                    git = git.config("http.proxy", proxy).secrets([proxy.clone()]);
                } else {
                    git = git.config("http.proxy", "");
                    let wrapped = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
                    let host = &url.host;
                    if host.parse::<IpAddr>().is_err() {
                        git = git.config("http.curloptResolve", format!("{host}:{}:{wrapped}", url.port_or_default()));
                    }
                }
                if let Some(file) = &config.ca_file {
                    git = git.config("http.sslCAInfo", file.to_string_lossy());
                }
                let Self::Https { username, password } = self else { return Ok((git, Login { _secret: None })) };
                if [username, &password.0].iter().any(|text| text.contains(['\n', '\r', '\0'])) {
                    return Err(Error::Refused("a login must be one line of text".into()));
                }
                let username = match (username.as_str(), url.user.as_str()) {
                    ("", "") => "x-access-token",
                    ("", user) => user,
                    (name, _) => name,
                };
                let (file, path) = in_memory(&format!("username={username}\npassword={}\n", password.0))?;
                // git runs a helper that begins with '!' through the shell; the path has nothing to quote.
                let helper = format!("!f() {{ test \"$1\" = get && cat {}; }}; f", path.display());
                let origin = url.public();
                let end = origin[8..].find('/').map_or(origin.len(), |at| at + 8);
                git = git.config(format!("credential.{}.helper", &origin[..end]), helper);
                git = git.secrets([password.0.clone()]);
                Ok((git, Login { _secret: Some(file) }))
            }
            Scheme::Ssh => {
                let alias = match url.port {
                    Some(port) if port != 22 => format!("[{}]:{port}", url.host),
                    _ => url.host.clone(),
                };
                let known = config.known_hosts.clone().unwrap_or_else(|| root.join("known_hosts"));
                // With a list of ours the key must be on it; without one the first key seen is remembered.
                let strict = if config.known_hosts.is_some() { "yes" } else { "accept-new" };
                let mut words = vec![quoted(&config.ssh)];
                let mut option = |text: String| {
                    words.push("-o".into());
                    words.push(quoted(Path::new(&text)));
                };
                for text in [
                    "BatchMode=yes",
                    "ForwardAgent=no",
                    "ForwardX11=no",
                    "ClearAllForwardings=yes",
                    "PermitLocalCommand=no",
                    "ProxyCommand=none",
                    "ProxyJump=none",
                    "ControlMaster=no",
                    "ControlPath=none",
                    "UpdateHostKeys=no",
                    "GlobalKnownHostsFile=/dev/null",
                    "ConnectTimeout=20",
                    "ServerAliveInterval=15",
                ] {
                    option(text.to_owned());
                }
                option(format!("StrictHostKeyChecking={strict}"));
                option(format!("UserKnownHostsFile={}", known.display()));
                option(format!("HostName={address}"));
                option(format!("HostKeyAlias={alias}"));
                // An agent's keys are all offered; a key that is given is the only one.
                let agent = matches!(self, Self::SshAgent { .. });
                option(format!("IdentitiesOnly={}", if agent { "no" } else { "yes" }));
                let mut secret = None;
                match self {
                    Self::SshKey { key } => {
                        let mut text = key.0.replace("\r\n", "\n");
                        if !text.ends_with('\n') {
                            text.push('\n');
                        }
                        let (file, path) = in_memory(&text)?;
                        option("IdentityAgent=none".into());
                        option(format!("IdentityFile={}", path.display()));
                        secret = Some(file);
                        git = git.secrets([key.0.clone()]);
                    }
                    Self::SshAgent { socket } => {
                        option("IdentityFile=none".into());
                        git = git.env("SSH_AUTH_SOCK", socket);
                    }
                    Self::None | Self::Https { .. } => {
                        option("IdentityAgent=none".into());
                        option("IdentityFile=none".into());
                    }
                }
                // Nobody's configuration file; the host is added by git.
                words.push("-F /dev/null".into());
                let line = words.join(std::ffi::OsStr::new(" "));
                Ok((git.env("GIT_SSH_COMMAND", line).env("GIT_SSH_VARIANT", "ssh"), Login { _secret: secret }))
            }
        }
    }
}

fn in_memory(text: &str) -> Result<(File, PathBuf), Error> {
    let make = || -> std::io::Result<(File, PathBuf)> {
        let file = rustix::fs::memfd_create("kanvoy-login", MemfdFlags::CLOEXEC)?;
        rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?;
        let path = format!("/proc/{}/fd/{}", process::id(), std::os::fd::AsRawFd::as_raw_fd(&file));
        let mut file = File::from(file);
        file.write_all(text.as_bytes())?;
        Ok((file, path.into()))
    };
    make().map_err(|error| Error::io("keeping a login in memory", &error))
}
