//! `kanvoy export` and `kanvoy import`: a board with its log as a file.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use kanvoy_client::Client;
use serde_json::{Value, json};
use tokio::fs::{self, OpenOptions};

use super::Context;
use crate::clean;
use crate::cli::{ExportArgs, ImportArgs};
use crate::exit::{Exit, Failure};
use crate::show::aside;

pub async fn export(context: &Context, args: ExportArgs) -> Result<Exit, Failure> {
    let client = context.client()?;
    let board = context.board_named(&client, args.board_to_export.as_deref()).await?;
    let id = board.id.to_string();
    let Some(file) = args.output.filter(|file| file != Path::new("-")) else {
        if std::io::stdout().is_terminal() {
            aside("Writing to the terminal; say -o FILE for a file.");
        }
        client.export(&id, tokio::io::stdout()).await?;
        return Ok(Exit::Done);
    };
    let bytes = into_file(&client, &id, &file).await?;
    if context.screen.json {
        context.screen.document(&json!({ "board_id": id, "key": board.key, "file": file, "bytes": bytes }))?;
    } else {
        context.screen.line(format!("Board {} written to {} ({bytes} bytes).", board.key, file.display()))?;
    }
    Ok(Exit::Done)
}

/// The file is there whole or not at all.
async fn into_file(client: &Client, board: &str, file: &Path) -> Result<u64, Failure> {
    if fs::try_exists(file).await? {
        return Err(Failure::new(Exit::Conflict, format!("{} exists already", file.display())));
    }
    let mut part = PathBuf::from(file).into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    // What a board says may be nobody else's business.
    let to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).await;
    let mut to = to.map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", part.display())))?;
    let written = match client.export(board, &mut to).await {
        Ok(bytes) => to.sync_all().await.map(|()| bytes).map_err(Failure::from),
        Err(error) => Err(error.into()),
    };
    match written {
        Ok(bytes) => {
            fs::rename(&part, file).await?;
            Ok(bytes)
        }
        Err(failure) => {
            // Half a board is of no use to anybody.
            let _ = fs::remove_file(&part).await;
            Err(failure)
        }
    }
}

/// The server knows lines, not the name of the file.
fn named(failure: Failure, file: &Path) -> Failure {
    let malformed = failure.exit == Exit::BadRequest && failure.problem.is_some();
    let said = format!("{} is not an export of Kanvoy that can be read: {}", file.display(), failure.said);
    if malformed { Failure { said, ..failure } } else { failure }
}

pub async fn import(context: &Context, args: ImportArgs) -> Result<Exit, Failure> {
    let client = context.client()?;
    let (key, name) = (args.key.as_deref(), args.name.as_deref());
    let answer = if args.file == Path::new("-") {
        client.import(tokio::io::stdin(), key, name).await?
    } else {
        let file = fs::File::open(&args.file)
            .await
            .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", args.file.display())))?;
        client.import(file, key, name).await.map_err(|error| named(error.into(), &args.file))?
    };
    if context.screen.json {
        context.screen.document(&answer)?;
    } else {
        // The answer is the board, or has the board in it.
        let board = answer.get("board").unwrap_or(&answer);
        let word = |key: &str| clean::line(board[key].as_str().unwrap_or_default()).into_owned();
        let count = |what: &str| answer.get(what).and_then(Value::as_u64).map(|count| format!("{count} {what}"));
        let counts: Vec<String> = ["tasks", "events"].into_iter().filter_map(count).collect();
        let with = if counts.is_empty() { String::new() } else { format!(" with {}", counts.join(" and ")) };
        context.screen.line(format!("Board {} ({}) imported{with}.", word("key"), word("name")))?;
    }
    Ok(Exit::Done)
}
