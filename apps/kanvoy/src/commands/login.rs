//! The login that `kanvoy auth login` leaves behind: a private file in the data directory, kept fresh, and good for one daemon.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use kanvoy_client::{Client, ClientError, ClientOptions, Tokens, Url};
use rustix::fs::{FlockOperation, flock};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::{Deserialize, Serialize};

use super::{Context, PATIENCE};
use crate::config::{Config, Origin};
use crate::exit::{Exit, Failure};

/// Refreshed when it would last no longer than this.
const SECONDS_LEFT: i64 = 60;

#[derive(Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The daemon that it is for: it is sent to no other.
    server: String,
    pub access_token: String,
    expires_at: i64,
    refresh_token: String,
}

fn path(config: &Config) -> PathBuf {
    config.data_dir.value.join("login.json")
}

fn read(config: &Config) -> Option<Kept> {
    serde_json::from_slice(&fs::read(path(config)).ok()?).ok()
}

/// The login that is kept for this daemon.
pub fn kept_for(config: &Config, url: &Url) -> Option<Kept> {
    read(config).filter(|kept| kept.server == url.as_str())
}

/// Keeps it where nobody else can read it.
pub fn keep(config: &Config, url: &Url, tokens: &Tokens) -> Result<(), Failure> {
    let kept = Kept {
        server: url.as_str().to_owned(),
        access_token: tokens.access_token.clone(),
        expires_at: now() + tokens.expires_in,
        refresh_token: tokens.refresh_token.clone(),
    };
    let path = path(config);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(&serde_json::to_vec_pretty(&kept).map_err(io::Error::other)?)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(())
}

pub fn forget(config: &Config) {
    let _ = fs::remove_file(path(config));
}

/// Before anything else is asked: a login that is about to run out gets its next tokens. One command at a time, since a
/// refresh token is good once.
pub async fn refresh(context: &Context) -> Result<(), Failure> {
    let config = &context.config;
    let url = context.address();
    let unused = config.token.is_some() || config.token_file.origin != Origin::Default;
    let is_fresh = |kept: &Kept| kept.expires_at - now() > SECONDS_LEFT;
    if unused || kept_for(config, &url).is_none_or(|kept| is_fresh(&kept)) {
        return Ok(());
    }
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(config.data_dir.value.join("login.lock"))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(io::Error::from)?;
    // Somebody else may have done it meanwhile.
    let Some(kept) = kept_for(config, &url).filter(|kept| !is_fresh(kept)) else { return Ok(()) };
    let client = Client::new(ClientOptions { url: url.clone(), token: None, patience: PATIENCE })?;
    match client.refresh(&kept.refresh_token).await {
        Ok(tokens) => keep(config, &url, &tokens),
        Err(ClientError::Unauthenticated(_)) => {
            forget(config);
            Err(Failure::new(Exit::Auth, "the login has ended").with_next("kanvoy auth login NAME"))
        }
        // Whoever asks next will say what is wrong with the daemon.
        Err(_) => Ok(()),
    }
}

fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a command has no clock but the machine's")]
    chrono::Utc::now().timestamp()
}

/// Asks at a terminal, unseen; else reads one line of stdin.
pub fn password(question: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    let terminal = stdin.is_terminal();
    let before = if terminal { tcgetattr(&stdin).ok() } else { None };
    if let Some(before) = &before {
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &unseen).map_err(io::Error::from)?;
        eprint!("{question}: ");
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(before) = &before {
        let _ = tcsetattr(&stdin, OptionalActions::Flush, before);
        eprintln!();
    }
    read?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::usage("no password came from the terminal or from stdin"));
    }
    Ok(password.to_owned())
}

/// Typed twice where nobody can see it.
pub fn new_password(whose: &str) -> Result<String, Failure> {
    let first = password(&format!("New password of {whose}"))?;
    if io::stdin().is_terminal() && password("Once more")? != first {
        return Err(Failure::usage("the two are not the same; nothing was done"));
    }
    Ok(first)
}
