//! How people come in beside their passwords: by way of a proxy that has asked them who they are.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use kanvoy_domain::people::Role;

use super::{Layers, OrDefault, Origin, Setting};
use crate::exit::Failure;

#[derive(Clone, Debug, Default, Args)]
pub struct AccessArgs {
    /// A proxy that says who people are, by its address; may be given again. Believed only with the secret that both know
    /// [env: KANVOY_TRUSTED_PROXY, separated by commas]
    #[arg(long, value_name = "ADDRESS")]
    pub trusted_proxy: Option<Addresses>,
    /// A file that holds the secret which the proxy sends [env: KANVOY_PROXY_SECRET_FILE]
    #[arg(long, value_name = "FILE")]
    pub proxy_secret_file: Option<PathBuf>,
    /// The header in which the proxy sends the secret [env: KANVOY_PROXY_SECRET_HEADER] [default: X-Kanvoy-Proxy-Secret]
    #[arg(long, value_name = "NAME")]
    pub proxy_secret_header: Option<HeaderWord>,
    /// The header in which the proxy says who it is [env: KANVOY_PROXY_USER_HEADER] [default: X-Auth-Request-User]
    #[arg(long, value_name = "NAME")]
    pub proxy_user_header: Option<HeaderWord>,
    /// What somebody is who comes by way of the proxy for the first time: viewer, member or admin [env:
    /// KANVOY_PROXY_ROLE] [default: member]
    #[arg(long, value_name = "ROLE")]
    pub proxy_role: Option<Role>,
}

#[derive(Clone, Debug, Default)]
pub struct AccessFile {
    pub trusted_proxy: Option<super::file::Hosts>,
    pub proxy_secret_file: Option<PathBuf>,
    pub proxy_secret_header: Option<String>,
    pub proxy_user_header: Option<String>,
    pub proxy_role: Option<String>,
}

#[derive(Clone, Debug)]
pub struct AccessConfig {
    pub trusted_proxy: Setting<Addresses>,
    pub proxy_secret_file: Option<Setting<PathBuf>>,
    pub proxy_secret_header: Setting<HeaderWord>,
    pub proxy_user_header: Setting<HeaderWord>,
    pub proxy_role: Setting<Role>,
}

/// Separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(pub Vec<IpAddr>);

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let parsed = named.map(|one| one.parse().map_err(|_| format!("{one} is not an address such as 172.18.0.2")));
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderWord(pub String);

impl FromStr for HeaderWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim().to_ascii_lowercase();
        let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        // These mean something already.
        let taken = ["authorization", "cookie", "host", "origin"].contains(&name.as_str());
        if fits && !taken {
            Ok(Self(name))
        } else {
            Err("the name of a header, such as X-Auth-Request-User".to_owned())
        }
    }
}

impl fmt::Display for HeaderWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AccessConfig {
    pub(super) fn resolve(layers: &Layers<'_>, flags: &AccessArgs, file: AccessFile) -> Result<Self, Failure> {
        let addresses = file.trusted_proxy.map(|hosts| hosts.into_text().join(","));
        let word = |name: &str| HeaderWord(name.to_owned());
        let config = Self {
            trusted_proxy: layers
                .parsed("KANVOY_TRUSTED_PROXY", flags.trusted_proxy.clone(), addresses)?
                .or_default(Addresses::default),
            proxy_secret_file: layers.path(
                "KANVOY_PROXY_SECRET_FILE",
                flags.proxy_secret_file.clone(),
                file.proxy_secret_file,
            ),
            proxy_secret_header: layers
                .parsed("KANVOY_PROXY_SECRET_HEADER", flags.proxy_secret_header.clone(), file.proxy_secret_header)?
                .or_default(|| word("x-kanvoy-proxy-secret")),
            proxy_user_header: layers
                .parsed("KANVOY_PROXY_USER_HEADER", flags.proxy_user_header.clone(), file.proxy_user_header)?
                .or_default(|| word("x-auth-request-user")),
            proxy_role: layers
                .parsed("KANVOY_PROXY_ROLE", flags.proxy_role, file.proxy_role)?
                .or_default(|| Role::Member),
        };
        if !config.trusted_proxy.value.0.is_empty() && config.proxy_secret_file.is_none() {
            return Err(Failure::usage(
                "a trusted proxy needs a secret that both know: say --proxy-secret-file FILE, or anybody at its address \
                 could say who they are",
            ));
        }
        Ok(config)
    }

    /// Only where there is a proxy: otherwise none of it means anything.
    pub(super) fn shown(&self) -> Vec<(&'static str, (Option<String>, &Origin))> {
        if self.trusted_proxy.value.0.is_empty() {
            return Vec::new();
        }
        let mut shown = vec![
            ("trusted_proxy", (Some(self.trusted_proxy.value.to_string()), &self.trusted_proxy.origin)),
            ("proxy_user_header", (Some(self.proxy_user_header.value.to_string()), &self.proxy_user_header.origin)),
            (
                "proxy_secret_header",
                (Some(self.proxy_secret_header.value.to_string()), &self.proxy_secret_header.origin),
            ),
            ("proxy_role", (Some(self.proxy_role.value.to_string()), &self.proxy_role.origin)),
        ];
        if let Some(file) = &self.proxy_secret_file {
            shown.push(("proxy_secret_file", (Some(file.value.display().to_string()), &file.origin)));
        }
        shown
    }
}
