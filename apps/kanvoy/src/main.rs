//! The one binary: the daemon and every command that talks to it. Start reading at [`cli`] (what can be typed), [`serve`]
//! (the daemon's life) and [`commands`] (everything else).

mod admission;
mod clean;
mod cli;
mod commands;
mod config;
mod data_dir;
mod doctor;
mod engine_check;
mod exit;
mod serve;
mod show;
mod transcript;
mod wiring;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde_json::json;

use crate::cli::{Cli, Command, ConfigCommand, ServeArgs};
use crate::commands::Context;
use crate::config::{Config, Environment};
use crate::exit::{Exit, Failure};
use crate::show::Screen;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure, json),
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let json = cli.global.json;
    match &cli.command {
        Command::Completions { shell } => return completions(*shell),
        Command::Version => return version(json),
        _ => {}
    }
    let no_flags = ServeArgs::default();
    let serve_args = if let Command::Serve(args) = &cli.command { args.as_ref() } else { &no_flags };
    let config = Config::resolve(&cli.global, serve_args, &Environment::of_process())?;
    if let Command::Serve(_) = cli.command {
        return serve::run(&config, json);
    }
    let screen = Screen::of_process(json, config.no_color);
    let context = Context::new(config, screen);
    // A command asks one thing after another: one thread is enough, and starts sooner.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(client_command(&context, cli.command));
    // Stdin may be waited for on a thread that nothing can wake.
    runtime.shutdown_background();
    ended
}

async fn client_command(context: &Context, command: Command) -> Result<Exit, Failure> {
    if !matches!(command, Command::Auth(cli::AuthCommand::Login { .. }) | Command::Config(_)) {
        commands::login::refresh(context).await?;
    }
    match command {
        Command::Status => commands::status::run(context).await,
        Command::Board(command) => commands::board::run(context, command).await,
        Command::Column(command) => commands::column::run(context, command).await,
        // The largest by far: not every command should carry room for it.
        Command::Task(command) => Box::pin(commands::task::run(context, command)).await,
        Command::Search(args) => commands::search::run(context, args).await,
        Command::Events(args) => commands::events::run(context, args).await,
        Command::Export(args) => commands::transfer::export(context, args).await,
        Command::Import(args) => commands::transfer::import(context, args).await,
        Command::Auth(command) => commands::auth::run(context, command).await,
        Command::User(command) => commands::user::run(context, command).await,
        Command::Token(command) => commands::token::run(context, command).await,
        Command::Db(command) => commands::db::run(context, command).await,
        Command::Config(ConfigCommand::Show) => commands::config::show(context),
        Command::Doctor => doctor::run(context).await,
        Command::Serve(_) | Command::Completions { .. } | Command::Version => Ok(Exit::Done),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kanvoy", &mut script);
    Screen::of_process(false, true).write(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

fn version(json: bool) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let screen = Screen::of_process(json, true);
    if json {
        screen.document(&json!({ "name": "kanvoy", "version": version }))?;
    } else {
        screen.line(format!("kanvoy {version}"))?;
    }
    Ok(Exit::Done)
}

/// On stderr: with `--json` as one document, else for a person.
fn report(failure: &Failure, json: bool) -> ExitCode {
    if failure.exit == Exit::Done {
        return ExitCode::SUCCESS;
    }
    if json {
        let problem = failure.problem.as_ref().map(|problem| json!(problem));
        let code = failure.problem.as_ref().map(|problem| problem.code.clone());
        let document = json!({
            "error": failure.said, "exit_code": failure.exit as u8, "code": code, "next": failure.next,
            "problem": problem,
        });
        show::aside(&document.to_string());
    } else {
        show::aside(&format!("kanvoy: {}", failure.said));
        for command in &failure.next {
            show::aside(&format!("  try: {command}"));
        }
    }
    failure.exit.into()
}
