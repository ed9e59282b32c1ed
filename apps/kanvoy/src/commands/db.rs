//! `kanvoy db …`: the database itself, whether a daemon is at work on it or not.

use std::path::{Path, PathBuf};

use kanvoy_engine::{Clock, SystemClock};
use kanvoy_store::StoreError;
use serde_json::json;

use super::Context;
use crate::clean;
use crate::cli::DbCommand;
use crate::exit::{Exit, Failure};
use crate::show::Ink;

pub async fn run(context: &Context, command: DbCommand) -> Result<Exit, Failure> {
    let database = &context.config.database.value;
    if !database.is_file() {
        return Err(Failure::new(Exit::NotFound, format!("there is no database at {}", database.display()))
            .with_next("kanvoy serve    # makes one")
            .with_next("kanvoy config show"));
    }
    match command {
        DbCommand::Backup { file } => backup(context, database, file).await,
        DbCommand::Check => check(context, database).await,
    }
}

async fn backup(context: &Context, database: &Path, file: Option<PathBuf>) -> Result<Exit, Failure> {
    let file = match file {
        Some(file) => file,
        None => {
            let folder = context.config.data_dir.value.join("backups");
            private_folder(&folder)?;
            let now = super::local_time(&SystemClock.now().to_string());
            folder.join(format!("kanvoy-{}.db", now.replace([' ', ':'], "-")))
        }
    };
    let file = std::path::absolute(&file)?;
    if file.exists() {
        return Err(Failure::new(Exit::Conflict, format!("{} exists already", file.display())));
    }
    let written = kanvoy_store_sqlite::backup(database, &file).await.map_err(|error| failed(&error))?;
    let bytes = std::fs::metadata(&written)?.len();
    if context.screen.json {
        context.screen.document(&json!({ "file": written, "bytes": bytes }))?;
    } else {
        context.screen.line(format!("Written to {} ({bytes} bytes).", written.display()))?;
    }
    Ok(Exit::Done)
}

async fn check(context: &Context, database: &Path) -> Result<Exit, Failure> {
    let faults = kanvoy_store_sqlite::check(database).await.map_err(|error| failed(&error))?;
    let screen = context.screen;
    if screen.json {
        screen.document(&json!({ "file": database, "ok": faults.is_empty(), "faults": faults }))?;
    } else if faults.is_empty() {
        screen.line(format!("{}: {}", database.display(), screen.paint("ok", Ink::Green)))?;
    } else {
        for fault in &faults {
            screen.line(clean::line(fault))?;
        }
    }
    if faults.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::new(
        Exit::Failed,
        format!("{} is damaged; stop the daemon and put a backup in its place", database.display()),
    ))
}

fn private_folder(folder: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Failure::new(Exit::Failed, format!("{}: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}

fn failed(error: &StoreError) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}
