//! The demo agent as a program: the protocol on its standard input and output, and nothing else there.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kanvoy_demo_agent::{AuthAt, Ending, Settings, serve, words};

/// An agent without a model: it does what its prompt says, line by line.
#[derive(Debug, Parser)]
#[command(version, after_long_help = words::HELP, after_help = "--help tells the language of its prompts.")]
struct Flags {
    /// Read everything and never answer.
    #[arg(long)]
    never_initialize: bool,
    /// Answer initialize with this version of the protocol.
    #[arg(long, value_name = "N")]
    old_protocol: Option<u16>,
    /// Want a login before a session is opened, or before a prompt.
    #[arg(long, value_enum, value_name = "AT")]
    auth_required: Option<AuthAt>,
    /// Wait before reading anything.
    #[arg(long, value_name = "SECONDS")]
    slow_start: Option<f64>,
    /// Append every line sent and received to this file.
    #[arg(long, value_name = "FILE", env = "DEMO_AGENT_LEDGER")]
    ledger: Option<PathBuf>,
    /// More of these flags, without their dashes: never-initialize old-protocol=0
    #[arg(long, env = "DEMO_AGENT", value_name = "FLAGS", hide_env_values = true)]
    also: Option<String>,
    /// Sessions are kept below it.
    #[arg(long, env = "HOME", value_name = "DIRECTORY", hide_env_values = true)]
    home: Option<PathBuf>,
    #[arg(long, hide = true)]
    be_child: Option<f64>,
}

fn main() -> ExitCode {
    let mut flags = Flags::parse();
    if let Some(seconds) = flags.be_child {
        std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    if let Some(also) = flags.also.take() {
        // After those on the command line, so that what is said twice is said here last.
        let more =
            also.split([' ', ',']).filter(|word| !word.is_empty()).map(|word| OsString::from(format!("--{word}")));
        flags.update_from(std::iter::once(OsString::from("demo-agent")).chain(more));
    }
    match run(flags) {
        Ok(Ending::Eof) => ExitCode::SUCCESS,
        // Not a return: threads may hang in a read or a write.
        Ok(Ending::Exit(code)) => std::process::exit(code),
        Ok(Ending::Crash) => std::process::abort(),
        Err(error) => {
            writeln!(std::io::stderr(), "demo-agent: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> std::io::Result<Ending> {
    let settings = Settings {
        never_initialize: flags.never_initialize,
        old_protocol: flags.old_protocol,
        auth_required: flags.auth_required,
        slow_start: flags.slow_start.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or_default(),
        ledger: flags.ledger,
        home: flags.home,
        env: std::env::vars_os().map(|(k, v)| (k.to_string_lossy().into(), v.to_string_lossy().into())).collect(),
        program: std::env::current_exe().ok(),
    };
    // The descriptor itself: standard output as the library wraps it would cut long lines into pieces.
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    serve(input, output, settings)
}
