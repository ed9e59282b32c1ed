//! Puts every setting together: a flag before a variable before `kanvoy.toml` before the default. The only place that reads
//! the environment.

pub mod access;
mod file;
pub mod serving;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use access::AccessConfig;
use file::File;
use kanvoy_client::Url;
use serving::{DatabaseUrl, DockerHost, HostName, Listen, LogFormat, Runtime, WebUrl};

use crate::cli::{Global, ServeArgs};
use crate::exit::{Exit, Failure};

/// A value, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Variable(&'static str),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: Setting<PathBuf>,
    pub listen: Setting<Listen>,
    pub runtime: Setting<Runtime>,
    pub allow_process: Setting<bool>,
    pub docker_host: Setting<DockerHost>,
    /// An absolute file.
    pub database: Setting<PathBuf>,
    pub allowed_hosts: Setting<Vec<HostName>>,
    pub public_url: Setting<Option<WebUrl>>,
    pub drain: Setting<bool>,
    pub log_format: Setting<LogFormat>,
    pub log: Setting<String>,
    pub server: Setting<Option<WebUrl>>,
    pub token_file: Setting<PathBuf>,
    pub board: Setting<Option<String>>,
    pub token: Option<Token>,
    /// Holds the password that the user `admin` gets when there is none yet.
    pub admin_password_file: Option<PathBuf>,
    pub access: AccessConfig,
    /// Set to anything: no colours.
    pub no_color: bool,
    /// Variables that begin like ours and mean nothing.
    pub unknown_variables: Vec<String>,
}

/// Never printed.
#[derive(Clone)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What the process was started with, as far as we look at it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub variables: BTreeMap<String, OsString>,
    pub working_dir: PathBuf,
}

const OURS: &[&str] = &[
    "KANVOY_ADMIN_PASSWORD_FILE",
    "KANVOY_ALLOWED_HOST",
    "KANVOY_ALLOW_PROCESS",
    "KANVOY_BOARD",
    "KANVOY_CONFIG",
    "KANVOY_DATABASE_URL",
    "KANVOY_DATA_DIR",
    "KANVOY_DOCKER_HOST",
    "KANVOY_DRAIN",
    "KANVOY_LISTEN",
    "KANVOY_LOG",
    "KANVOY_LOG_FORMAT",
    "KANVOY_PROXY_ROLE",
    "KANVOY_PROXY_SECRET_FILE",
    "KANVOY_PROXY_SECRET_HEADER",
    "KANVOY_PROXY_USER_HEADER",
    "KANVOY_PUBLIC_URL",
    "KANVOY_RUNTIME",
    "KANVOY_TOKEN",
    "KANVOY_TOKEN_FILE",
    "KANVOY_TRUSTED_PROXY",
    "KANVOY_URL",
];

impl Environment {
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { variables: variables.collect(), working_dir: std::env::current_dir().unwrap_or_default() }
    }

    /// An empty variable counts as none.
    fn get(&self, name: &str) -> Result<Option<String>, Failure> {
        match self.variables.get(name) {
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => match value.to_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(wrong(format!("{name}: is not UTF-8"))),
            },
            None => Ok(None),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// `$XDG_<name>`, or its default below the home directory. XDG says that a relative one is to be ignored.
    fn xdg(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        let given = self.path(name).filter(|path| path.is_absolute());
        given.or_else(|| Some(self.path("HOME").filter(|home| home.is_absolute())?.join(below_home)))
    }
}

impl Config {
    pub fn resolve(global: &Global, serve: &ServeArgs, environment: &Environment) -> Result<Self, Failure> {
        let (mut file, path) = find_file(global, environment)?;
        let access_file = file.access();
        let layers = Layers { environment, path: path.as_deref() };

        let default_dir = environment.xdg("XDG_DATA_HOME", ".local/share").map(|dir| dir.join("kanvoy"));
        let data_dir = match layers.path("KANVOY_DATA_DIR", global.data_dir.clone(), file.data_dir) {
            Some(given) => given,
            None => {
                let value = default_dir.ok_or_else(|| {
                    wrong("there is no home directory to keep data in; say --data-dir DIR or set KANVOY_DATA_DIR")
                })?;
                Setting { value, origin: Origin::Default }
            }
        };
        let database = layers.parsed("KANVOY_DATABASE_URL", serve.database_url.clone(), file.database_url)?;
        let database = match database {
            Some(Setting { value: DatabaseUrl(path), origin }) => Setting { value: data_dir.value.join(path), origin },
            None => Setting { value: data_dir.value.join("kanvoy.db"), origin: Origin::Default },
        };
        let token_file = layers
            .path("KANVOY_TOKEN_FILE", global.token_file.clone(), file.token_file)
            .unwrap_or_else(|| Setting { value: data_dir.value.join("token"), origin: Origin::Default });
        // A flag is nearer than any variable.
        let token = match token_file.origin {
            Origin::Flag => None,
            _ => environment.get("KANVOY_TOKEN")?.map(Token),
        };
        let docker_host = match layers.parsed("KANVOY_DOCKER_HOST", serve.docker_host.clone(), file.docker_host)? {
            Some(given) => given,
            None => match environment.get("DOCKER_HOST")? {
                // What only a later Docker understands is not our mistake to report.
                Some(text) => {
                    Setting { value: text.parse().unwrap_or(DockerHost(text)), origin: Origin::Variable("DOCKER_HOST") }
                }
                None => Setting { value: DockerHost(DOCKER_SOCKET.to_owned()), origin: Origin::Default },
            },
        };
        let allowed_host = file.allowed_host.map(|hosts| hosts.into_text());
        let config = Self {
            listen: layers
                .parsed("KANVOY_LISTEN", serve.listen, file.listen)?
                .or_default(|| Listen(([127, 0, 0, 1], 8080).into())),
            runtime: layers.parsed("KANVOY_RUNTIME", serve.runtime, file.runtime)?.or_default(Runtime::default),
            allow_process: layers
                .switch("KANVOY_ALLOW_PROCESS", serve.allow_process, file.allow_process)?
                .or_default(bool::default),
            docker_host,
            database,
            allowed_hosts: layers.hosts(serve.allowed_host.clone(), allowed_host)?.or_default(Vec::new),
            public_url: layers
                .parsed("KANVOY_PUBLIC_URL", serve.public_url.clone(), file.public_url)?
                .map(Setting::some)
                .or_default(|| None),
            drain: layers.switch("KANVOY_DRAIN", serve.drain, file.drain)?.or_default(bool::default),
            log_format: layers
                .parsed("KANVOY_LOG_FORMAT", serve.log_format, file.log_format)?
                .or_default(LogFormat::default),
            log: layers.parsed("KANVOY_LOG", serve.log.clone(), file.log)?.or_default(|| "info".to_owned()),
            server: layers
                .parsed("KANVOY_URL", global.server.clone(), file.server)?
                .map(Setting::some)
                .or_default(|| None),
            token_file,
            board: layers
                .parsed("KANVOY_BOARD", global.board.clone(), file.board)?
                .map(Setting::some)
                .or_default(|| None),
            token,
            admin_password_file: layers
                .path("KANVOY_ADMIN_PASSWORD_FILE", None, file.admin_password_file)
                .map(|file| file.value),
            access: AccessConfig::resolve(&layers, &serve.access, access_file)?,
            no_color: environment.get("NO_COLOR")?.is_some()
                || environment.get("TERM")?.is_some_and(|term| term == "dumb"),
            unknown_variables: unknown(environment),
            data_dir,
        };
        Ok(config)
    }

    /// The file that the daemon writes while it listens.
    pub fn server_file(&self) -> PathBuf {
        self.data_dir.value.join("server.json")
    }

    /// Every value as it is shown, in the order of the documents.
    pub fn shown(&self) -> Vec<(&'static str, Option<String>, &Origin)> {
        fn one<T: ToString>(setting: &Setting<T>) -> (Option<String>, &Origin) {
            (Some(setting.value.to_string()), &setting.origin)
        }
        fn maybe<T: ToString>(setting: &Setting<Option<T>>) -> (Option<String>, &Origin) {
            (setting.value.as_ref().map(T::to_string), &setting.origin)
        }
        fn path(setting: &Setting<PathBuf>) -> (Option<String>, &Origin) {
            (Some(setting.value.display().to_string()), &setting.origin)
        }
        let hosts = self.allowed_hosts.value.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut shown = vec![
            ("data_dir", path(&self.data_dir)),
            ("listen", one(&self.listen)),
            ("runtime", one(&self.runtime)),
            ("allow_process", one(&self.allow_process)),
            ("docker_host", one(&self.docker_host)),
            ("database_url", (Some(format!("sqlite:{}", self.database.value.display())), &self.database.origin)),
            ("allowed_host", ((!hosts.is_empty()).then_some(hosts), &self.allowed_hosts.origin)),
            ("public_url", maybe(&self.public_url)),
            ("drain", one(&self.drain)),
            ("log_format", one(&self.log_format)),
            ("log", one(&self.log)),
            ("server", maybe(&self.server)),
            ("token_file", path(&self.token_file)),
            ("board", maybe(&self.board)),
        ];
        shown.extend(self.access.shown());
        if self.token.is_some() {
            shown.push(("token", (Some("(hidden)".to_owned()), &Origin::Variable("KANVOY_TOKEN"))));
        }
        shown.into_iter().map(|(key, (value, origin))| (key, value, origin)).collect()
    }

    /// Where a daemon with this configuration would be: on this machine, whatever `listen` says.
    pub fn own_url(&self) -> Url {
        let address = self.listen.value.0;
        let port = if address.port() == 0 { 8080 } else { address.port() };
        let text = match address.ip() {
            std::net::IpAddr::V6(ip) if ip.is_loopback() => format!("http://[{ip}]:{port}"),
            std::net::IpAddr::V4(ip) if ip.is_loopback() => format!("http://{ip}:{port}"),
            _ => format!("http://127.0.0.1:{port}"),
        };
        // An address and a port always make a URL.
        Url::parse(&text).unwrap_or_else(|_| unreachable!("{text} is a URL"))
    }
}

const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

/// The file that was asked for, or the first there is: here, in the data directory, in the user's configuration.
fn find_file(global: &Global, environment: &Environment) -> Result<(File, Option<PathBuf>), Failure> {
    if let Some(path) = global.config.clone().or_else(|| environment.path("KANVOY_CONFIG")) {
        return Ok((File::read(&path)?, Some(path)));
    }
    let here = environment.working_dir.join("kanvoy.toml");
    let data_dir = global
        .data_dir
        .clone()
        .or_else(|| environment.path("KANVOY_DATA_DIR"))
        .or_else(|| Some(environment.xdg("XDG_DATA_HOME", ".local/share")?.join("kanvoy")));
    let beside_the_data = data_dir.map(|dir| dir.join("kanvoy.toml"));
    let of_the_user = environment.xdg("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("kanvoy/kanvoy.toml"));
    let places = [Some(here.clone()), beside_the_data.clone(), of_the_user.clone()];
    let Some(path) = places.into_iter().flatten().find(|path| path.is_file()) else {
        return Ok((File::default(), None));
    };
    let file = File::read(&path)?;
    // A checkout of somebody else's repository brings its own kanvoy.toml: it must not decide who gets the token, or whose
    // files are used.
    let ours = [beside_the_data, of_the_user].contains(&Some(here.clone()));
    if path == here && !ours {
        let refused = file.only_from_their_owner();
        if !refused.is_empty() {
            return Err(wrong(format!(
                "{}: {} may not be set in the working directory, since whoever wrote that file could be sent your token; \
                 say --config {} if you mean it, or put it into $XDG_CONFIG_HOME/kanvoy/kanvoy.toml",
                path.display(),
                refused.join(", "),
                path.display()
            )));
        }
    }
    Ok((file, Some(path)))
}

/// The three layers above the defaults.
struct Layers<'a> {
    environment: &'a Environment,
    path: Option<&'a Path>,
}

impl Layers<'_> {
    fn parsed<T>(
        &self,
        variable: &'static str,
        flag: Option<T>,
        file: Option<String>,
    ) -> Result<Option<Setting<T>>, Failure>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        if let Some(value) = flag {
            return Ok(Some(Setting { value, origin: Origin::Flag }));
        }
        if let Some(text) = self.environment.get(variable)? {
            let value = text.parse().map_err(|error| wrong(format!("{variable}={text}: {error}")))?;
            return Ok(Some(Setting { value, origin: Origin::Variable(variable) }));
        }
        file.map(|text| {
            let value = text.parse().map_err(|error| wrong(format!("{}: {text}: {error}", self.file_key(variable))))?;
            Ok(Setting { value, origin: self.of_file() })
        })
        .transpose()
    }

    fn switch(
        &self,
        variable: &'static str,
        flag: Option<bool>,
        file: Option<bool>,
    ) -> Result<Option<Setting<bool>>, Failure> {
        if let Some(value) = flag {
            return Ok(Some(Setting { value, origin: Origin::Flag }));
        }
        if let Some(text) = self.environment.get(variable)? {
            let value = match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => true,
                "0" | "false" | "no" | "off" => false,
                _ => return Err(wrong(format!("{variable}={text}: true or false"))),
            };
            return Ok(Some(Setting { value, origin: Origin::Variable(variable) }));
        }
        Ok(file.map(|value| Setting { value, origin: self.of_file() }))
    }

    fn path(&self, variable: &'static str, flag: Option<PathBuf>, file: Option<PathBuf>) -> Option<Setting<PathBuf>> {
        let here = &self.environment.working_dir;
        if let Some(path) = flag {
            return Some(Setting { value: here.join(path), origin: Origin::Flag });
        }
        if let Some(path) = self.environment.path(variable) {
            return Some(Setting { value: here.join(path), origin: Origin::Variable(variable) });
        }
        // What a file names lies beside it, wherever the command is typed.
        let beside = here.join(self.path.and_then(Path::parent).unwrap_or(Path::new("")));
        file.map(|path| Setting { value: beside.join(path), origin: self.of_file() })
    }

    fn hosts(
        &self,
        flags: Vec<HostName>,
        file: Option<Vec<String>>,
    ) -> Result<Option<Setting<Vec<HostName>>>, Failure> {
        const VARIABLE: &str = "KANVOY_ALLOWED_HOST";
        if !flags.is_empty() {
            return Ok(Some(Setting { value: flags, origin: Origin::Flag }));
        }
        let read = |hosts: Vec<String>, whence: &str| -> Result<Vec<HostName>, Failure> {
            let named = hosts.iter().filter(|host| !host.trim().is_empty());
            named.map(|host| host.parse().map_err(|error| wrong(format!("{whence}: {host}: {error}")))).collect()
        };
        if let Some(text) = self.environment.get(VARIABLE)? {
            let value = read(text.split(',').map(str::to_owned).collect(), VARIABLE)?;
            return Ok(Some(Setting { value, origin: Origin::Variable(VARIABLE) }));
        }
        file.map(|hosts| Ok(Setting { value: read(hosts, &self.file_key(VARIABLE))?, origin: self.of_file() }))
            .transpose()
    }

    fn of_file(&self) -> Origin {
        Origin::File(self.path.unwrap_or(Path::new("kanvoy.toml")).to_owned())
    }

    fn file_key(&self, variable: &str) -> String {
        let key = match variable {
            "KANVOY_URL" => "server".to_owned(),
            other => other.trim_start_matches("KANVOY_").to_ascii_lowercase(),
        };
        format!("{}: {key}", self.path.unwrap_or(Path::new("kanvoy.toml")).display())
    }
}

trait OrDefault<T> {
    fn or_default(self, default: impl FnOnce() -> T) -> Setting<T>;
}

impl<T> OrDefault<T> for Option<Setting<T>> {
    fn or_default(self, default: impl FnOnce() -> T) -> Setting<T> {
        self.unwrap_or_else(|| Setting { value: default(), origin: Origin::Default })
    }
}

impl<T> Setting<T> {
    fn some(self) -> Setting<Option<T>> {
        Setting { value: Some(self.value), origin: self.origin }
    }
}

fn unknown(environment: &Environment) -> Vec<String> {
    let names = environment.variables.keys();
    names.filter(|name| name.starts_with("KANVOY_") && !OURS.contains(&name.as_str())).cloned().collect()
}

fn wrong(said: impl Into<String>) -> Failure {
    Failure::new(Exit::BadRequest, said)
}

#[cfg(test)]
mod tests;
