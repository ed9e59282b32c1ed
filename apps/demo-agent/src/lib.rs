//! An agent without a model: it speaks the Agent Client Protocol and does what its prompt says, line by line, the same way
//! every time. For demonstrations, tests and benchmarks. [`words`] is the language, [`serve`] the agent.

pub mod ledger;
pub mod words;

mod requests;
mod sessions;
mod turn;
mod wire;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use crate::ledger::Ledger;
use crate::requests::Desk;
use crate::wire::Wire;

/// How it behaves before anybody has prompted it. Everything from outside comes in here: it reads no variable by itself.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Reads everything and never answers.
    pub never_initialize: bool,
    /// Answers initialize with this version of the protocol.
    pub old_protocol: Option<u16>,
    /// Wants `authenticate` with the method `demo-login` before this.
    pub auth_required: Option<AuthAt>,
    /// Waits before it reads anything.
    pub slow_start: Duration,
    pub ledger: Option<PathBuf>,
    /// Sessions are kept below it.
    pub home: Option<PathBuf>,
    /// What `env` tells.
    pub env: Vec<(String, String)>,
    /// The program `child` runs, with `--be-child SECONDS`.
    pub program: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AuthAt {
    New,
    Prompt,
}

/// How it came to its end. A program does the same; in a test the process goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its input was closed.
    Eof,
    Exit(i32),
    /// To be done by a signal.
    Crash,
}

/// Serves one client until its input ends or a prompt says otherwise. Blocks; it has a thread that reads and one for the
/// turn, and leaves them behind if they hang.
pub fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    settings: Settings,
) -> std::io::Result<Ending> {
    let ledger = settings.ledger.as_deref().map(Ledger::open).transpose()?;
    let wire = Arc::new(Wire::new(Box::new(output), ledger));
    let (end, ended): (SyncSender<Ending>, _) = sync_channel(8);
    std::thread::sleep(settings.slow_start);
    let desk = Desk::new(wire.clone(), settings, end.clone());
    std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        desk.read(input);
        end.send(Ending::Eof).ok();
    })?;
    let ending = ended.recv().unwrap_or(Ending::Eof);
    wire.hang_up();
    Ok(ending)
}
