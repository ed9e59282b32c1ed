//! What each client command does: one noun, one file. They ask the daemon through `kanvoy-client` and draw the answer.

pub mod auth;
pub mod board;
pub mod column;
pub mod config;
pub mod db;
pub mod events;
pub mod login;
pub mod member;
pub mod search;
pub mod status;
pub mod task;
pub mod token;
pub mod transfer;
pub mod user;
pub mod wait;
pub mod watch;

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use kanvoy_client::{Board, Client, ClientOptions, Task, Url, is_loopback};
use uuid::Uuid;

use crate::config::{Config, Origin};
use crate::data_dir::Listening;
use crate::exit::{Exit, Failure};
use crate::show::Screen;

/// For how long a command tries again before it says that nobody is there.
const PATIENCE: Duration = Duration::from_millis(800);

pub struct Context {
    pub config: Config,
    pub screen: Screen,
}

impl Context {
    pub const fn new(config: Config, screen: Screen) -> Self {
        Self { config, screen }
    }

    /// A client of the daemon that is meant.
    pub fn client(&self) -> Result<Client, Failure> {
        self.client_with(PATIENCE)
    }

    pub fn client_with(&self, patience: Duration) -> Result<Client, Failure> {
        let url = self.address();
        let token = self.token(&url)?;
        Ok(Client::new(ClientOptions { url, token, patience })?)
    }

    /// Where the daemon is: the server that was named, or on this machine.
    pub fn address(&self) -> Url {
        if let Some(server) = &self.config.server.value {
            return server.0.clone();
        }
        let announced = Listening::read(&self.config.server_file()).and_then(|found| Url::parse(&found.url).ok());
        // No daemon listens elsewhere: another address was written by somebody who would like our token.
        announced.filter(is_loopback).unwrap_or_else(|| self.config.own_url())
    }

    fn token(&self, url: &Url) -> Result<Option<String>, Failure> {
        // What is not on this machine was named by the user: nothing else leads there.
        let named = self.config.server.value.as_ref().is_some_and(|server| server.0 == *url);
        if !named && !is_loopback(url) {
            return Err(Failure::new(Exit::Auth, format!("no token is sent to {url}, which nobody has named")));
        }
        if let Some(token) = &self.config.token {
            return Ok(Some(token.0.clone()));
        }
        let path = &self.config.token_file.value;
        let chosen = self.config.token_file.origin != Origin::Default;
        if !chosen && let Some(login) = login::kept_for(&self.config, url) {
            return Ok(Some(login.access_token));
        }
        // The key of this machine's board is nobody else's business.
        if !chosen && !is_loopback(url) {
            return Err(Failure::new(
                Exit::Auth,
                format!("the token in {} is only sent to this machine, not to {url}", path.display()),
            )
            .with_next("kanvoy --token-file FILE …    # or the token in KANVOY_TOKEN"));
        }
        match fs::read_to_string(path) {
            Ok(token) => Ok(Some(token.trim().to_owned())),
            // Before the first start there is none; the daemon, if there is one, will say so.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !chosen => Ok(None),
            Err(error) => Err(Failure::new(Exit::Auth, format!("the token in {}: {error}", path.display()))),
        }
    }

    /// The current board.
    pub async fn board(&self, client: &Client) -> Result<Board, Failure> {
        if let Some(board) = &self.config.board.value {
            return Ok(client.board(board).await?);
        }
        let mut boards = client.boards(false).await?;
        match boards.len() {
            1 => Ok(boards.remove(0)),
            0 => {
                Err(Failure::new(Exit::NotFound, "there is no board yet").with_next("kanvoy board create \"My board\""))
            }
            _ => {
                let keys: Vec<&str> = boards.iter().map(|board| board.key.as_str()).collect();
                let said = format!("which board? There are {}; say --board KEY or set KANVOY_BOARD", keys.join(", "));
                Err(Failure::usage(said))
            }
        }
    }

    /// The board that is named, else the current one.
    pub async fn board_named(&self, client: &Client, named: Option<&str>) -> Result<Board, Failure> {
        match named {
            Some(board) => Ok(client.board(board).await?),
            None => self.board(client).await,
        }
    }

    /// A task as the API names it, from `12`, `#12`, `KEY-12` or an id.
    pub async fn task_ref(&self, client: &Client, text: &str) -> Result<String, Failure> {
        let text = text.trim();
        let number = text.strip_prefix('#').unwrap_or(text);
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            let board = self.board(client).await?;
            return Ok(format!("{}-{number}", board.key));
        }
        let numbered = text.rsplit_once('-').is_some_and(|(key, number)| {
            let letters = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            letters && !key.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        if Uuid::parse_str(text).is_ok() {
            Ok(text.to_owned())
        } else if numbered {
            Ok(text.to_ascii_uppercase())
        } else {
            Err(Failure::usage(format!("{text} is no task: 12 on the current board, KEY-12, or an id")))
        }
    }

    pub async fn task_id(&self, client: &Client, text: &str) -> Result<Uuid, Failure> {
        if let Ok(id) = Uuid::parse_str(text.trim()) {
            return Ok(id);
        }
        let task = self.task_ref(client, text).await?;
        Ok(client.task(&task).await?.id)
    }

    pub async fn task_ids(&self, client: &Client, texts: &[String]) -> Result<Vec<Uuid>, Failure> {
        let mut ids = Vec::with_capacity(texts.len());
        for text in texts.iter().filter(|text| !text.trim().is_empty()) {
            ids.push(self.task_id(client, text).await?);
        }
        Ok(ids)
    }
}

/// A column of the board by its id or name; capitals do not matter.
pub fn column_named(board: &Board, named: &str) -> Result<Uuid, Failure> {
    let named = named.trim();
    let by_name = |name: &str| name.to_lowercase() == named.to_lowercase();
    let found = board.columns.iter().find(|column| column.id.to_string() == named || by_name(&column.name));
    found.map(|column| column.id).ok_or_else(|| {
        let names: Vec<&str> = board.columns.iter().map(|column| column.name.as_str()).collect();
        Failure::new(Exit::NotFound, format!("{} has no column {named}; it has {}", board.key, names.join(", ")))
    })
}

/// `KEY-12`, of a task whose board is known.
pub fn name_of(board: &Board, task: &Task) -> String {
    format!("{}-{}", board.key, task.number)
}

/// The text itself, or all of stdin for `-`.
pub fn text_or_stdin(text: Option<String>) -> Result<Option<String>, Failure> {
    /// More than the API takes, so that it is the API that says how much it takes.
    const MOST: u64 = 16 << 20;
    match text.as_deref() {
        Some("-") => {
            let mut text = String::new();
            io::stdin().lock().take(MOST).read_to_string(&mut text).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => Failure::usage("what came from stdin is not UTF-8 text"),
                _ => error.into(),
            })?;
            Ok(Some(text))
        }
        _ => Ok(text),
    }
}

/// An empty text clears.
pub fn clearing(text: Option<String>) -> Option<Option<String>> {
    text.map(|text| (!text.is_empty()).then_some(text))
}

/// Asks at a terminal; a script is taken at its word.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(());
    }
    eprint!("{} [y/N] ", crate::clean::line(question));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "nothing was done")),
    }
}

/// `2026-11-20T07:00:00.123Z` as a person here reads it.
pub fn local_time(timestamp: &str) -> String {
    shown_time(timestamp, "%Y-%m-%d %H:%M:%S")
}

pub fn clock_time(timestamp: &str) -> String {
    shown_time(timestamp, "%H:%M:%S")
}

fn shown_time(timestamp: &str, format: &str) -> String {
    match chrono::DateTime::parse_from_rfc3339(timestamp) {
        Ok(time) => time.with_timezone(&chrono::Local).format(format).to_string(),
        Err(_) => timestamp.to_owned(),
    }
}
