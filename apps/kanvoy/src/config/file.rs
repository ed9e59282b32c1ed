//! `kanvoy.toml`: the same words as the flags, with `_` for `-`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::access::AccessFile;
use crate::exit::{Exit, Failure};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub data_dir: Option<PathBuf>,
    pub listen: Option<String>,
    pub runtime: Option<String>,
    pub allow_process: Option<bool>,
    pub docker_host: Option<String>,
    pub database_url: Option<String>,
    #[serde(alias = "allowed_hosts")]
    pub allowed_host: Option<Hosts>,
    pub public_url: Option<String>,
    pub drain: Option<bool>,
    pub admin_password_file: Option<PathBuf>,
    pub trusted_proxy: Option<Hosts>,
    pub proxy_secret_file: Option<PathBuf>,
    pub proxy_secret_header: Option<String>,
    pub proxy_user_header: Option<String>,
    pub proxy_role: Option<String>,
    pub log_format: Option<String>,
    pub log: Option<String>,
    pub server: Option<String>,
    pub token_file: Option<PathBuf>,
    pub board: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Hosts {
    One(String),
    Many(Vec<String>),
}

impl Hosts {
    pub fn into_text(self) -> Vec<String> {
        match self {
            Self::One(host) => vec![host],
            Self::Many(hosts) => hosts,
        }
    }
}

impl File {
    /// What it says of how people come in.
    pub fn access(&mut self) -> AccessFile {
        AccessFile {
            trusted_proxy: self.trusted_proxy.take(),
            proxy_secret_file: self.proxy_secret_file.take(),
            proxy_secret_header: self.proxy_secret_header.take(),
            proxy_user_header: self.proxy_user_header.take(),
            proxy_role: self.proxy_role.take(),
        }
    }

    /// Of what is set here, the keys that say where a token comes from or goes to, and whose data is used.
    pub fn only_from_their_owner(&self) -> Vec<&'static str> {
        let keys = [
            ("data_dir", self.data_dir.is_some()),
            ("server", self.server.is_some()),
            ("token_file", self.token_file.is_some()),
            ("database_url", self.database_url.is_some()),
            ("admin_password_file", self.admin_password_file.is_some()),
            ("trusted_proxy", self.trusted_proxy.is_some()),
            ("proxy_secret_file", self.proxy_secret_file.is_some()),
        ];
        keys.into_iter().filter_map(|(key, set)| set.then_some(key)).collect()
    }

    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(Exit::BadRequest, format!("{} cannot be read: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| {
            let said = format!("{}: {}", path.display(), error.to_string().trim_end());
            Failure::new(Exit::BadRequest, said)
        })
    }
}
