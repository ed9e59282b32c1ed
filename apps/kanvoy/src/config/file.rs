//! `kanvoy.toml`: the same words as the flags, with `_` for `-`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

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
    /// Of what is set here, the keys that say where a token comes from or goes to, and whose data is used.
    pub fn only_from_their_owner(&self) -> Vec<&'static str> {
        let keys = [
            ("data_dir", self.data_dir.is_some()),
            ("server", self.server.is_some()),
            ("token_file", self.token_file.is_some()),
            ("database_url", self.database_url.is_some()),
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
