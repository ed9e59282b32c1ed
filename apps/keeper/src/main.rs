//! The first process in every cage. It runs the agent, numbers the lines it writes and keeps them until the daemon has stored
//! them, hands it lines exactly once, and outlives the daemon. What it speaks: [`kanvoy_keeper::frames`] and
//! [`kanvoy_keeper::words`]; how it works: [`keeper`].
//!
//! When the keeper dies the agent is killed with it, because lines that nobody keeps would be lost without a trace. What was
//! journalled is not lost: a keeper that finds a journal with a run in it starts nothing, and serves what is there.

mod agent;
mod inbox;
mod intake;
mod journal;
mod keeper;
mod link;
mod options;
mod recovery;
mod session;
mod spool;
mod state;
mod sys;
mod tail;

use std::process::ExitCode;

use crate::keeper::Keeper;
use crate::options::{Options, USAGE};

fn main() -> ExitCode {
    let options = match Options::read(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("kanvoy-keeper: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let session = if options.socket.is_some() { sys::own_session() } else { Ok(()) };
    match session.and_then(|()| Keeper::start(options)).and_then(Keeper::run) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("kanvoy-keeper: {error}");
            ExitCode::from(2)
        }
    }
}
