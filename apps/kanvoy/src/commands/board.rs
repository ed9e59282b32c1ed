//! `kanvoy board …`

use kanvoy_client::{Board, BoardEdit, NewBoard, Page};
use serde_json::{Value, json};

use super::{Context, clearing, confirm, text_or_stdin};
use crate::clean;
use crate::cli::{BoardCommand, BoardUpdateArgs};
use crate::exit::{Exit, Failure};
use crate::show::{Ink, Screen, cell};

pub async fn run(context: &Context, command: BoardCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    let screen = context.screen;
    match command {
        BoardCommand::Create { name, key, description, repository_url, default_branch } => {
            let description = text_or_stdin(description)?;
            let new = NewBoard { name, key, description, repository_url, default_branch };
            let board = client.create_board(&new).await?;
            said(screen, &board, "made")?;
            if !screen.json {
                screen.next(&[format!("kanvoy task create \"…\" --board {}", board.key)])?;
            }
        }
        BoardCommand::List { archived } => {
            let boards = client.boards(archived).await?;
            if screen.json {
                screen.document(&Page { items: boards, next_cursor: None })?;
            } else if boards.is_empty() {
                screen.line("There is no board yet.")?;
                screen.next(&["kanvoy board create \"My board\"".to_owned()])?;
            } else {
                let rows: Vec<_> = boards.iter().map(row).collect();
                screen.table(&["KEY", "NAME", "EVENTS", ""], &rows, 1)?;
            }
        }
        BoardCommand::Show { board } => {
            let board = context.board_named(&client, board.as_deref()).await?;
            show(screen, &board)?;
        }
        BoardCommand::Update(args) => {
            let board = context.board_named(&client, args.board.as_deref()).await?;
            let edit = edit_of(args, &board)?;
            if edit == BoardEdit::default() {
                return Err(Failure::usage("nothing to change; see kanvoy board update --help"));
            }
            let board = client.update_board(&board.id.to_string(), &edit).await?;
            said(screen, &board, "changed")?;
        }
        BoardCommand::Member(command) => super::member::run(context, command).await?,
        BoardCommand::Archive { board } => archive(context, board.as_deref(), true).await?,
        BoardCommand::Unarchive { board } => archive(context, board.as_deref(), false).await?,
        BoardCommand::Delete { board, how } => {
            let found = client.board(&board).await?;
            let verb = if how.purge { "Remove for good" } else { "Delete" };
            confirm(&format!("{verb} {} ({}) with all its tasks?", found.key, found.name), how.yes)?;
            let board = client.delete_board(&found.id.to_string(), how.purge).await?;
            said(screen, &board, if how.purge { "removed for good" } else { "deleted" })?;
        }
    }
    Ok(Exit::Done)
}

async fn archive(context: &Context, board: Option<&str>, archived: bool) -> Result<(), Failure> {
    let client = context.client()?;
    let board = context.board_named(&client, board).await?;
    let edit = BoardEdit { archived: Some(archived), ..BoardEdit::default() };
    let board = client.update_board(&board.id.to_string(), &edit).await?;
    said(context.screen, &board, if archived { "archived" } else { "taken out again" })
}

fn edit_of(args: BoardUpdateArgs, board: &Board) -> Result<BoardEdit, Failure> {
    Ok(BoardEdit {
        settings: settings_of(&args, board),
        name: args.name,
        description: text_or_stdin(args.description)?,
        repository_url: clearing(args.repository_url),
        default_branch: clearing(args.default_branch),
        archived: None,
        version: args.expect.version,
    })
}

/// The settings are one value of the board: what is not named here goes back as it came.
fn settings_of(args: &BoardUpdateArgs, board: &Board) -> Option<Value> {
    let mut settings = board.settings.clone();
    let mut changed = false;
    let mut set = |pointer: [&str; 2], value: Option<Value>| {
        let Some(value) = value else { return };
        let place = match pointer {
            ["", key] => &mut settings[key],
            [group, key] => &mut settings[group][key],
        };
        *place = value;
        changed = true;
    };
    let kept = |number: Option<u64>| number.map(|number| if number == 0 { Value::Null } else { json!(number) });
    set(["", "review"], args.review.as_ref().map(|review| json!(review)));
    set(["", "verify"], args.verify.map(|verify| json!(verify)));
    set(["retention", "max_events"], kept(args.keep_events));
    set(["retention", "max_age_days"], kept(args.keep_days));
    changed.then_some(settings)
}

fn said(screen: Screen, board: &Board, what: &str) -> Result<(), Failure> {
    if screen.json {
        return screen.document(board);
    }
    let key = screen.paint(&board.key, Ink::Bold).into_owned();
    screen.line(format!("Board {key} ({}) {what}.", clean::line(&board.name)))
}

fn row(board: &Board) -> Vec<crate::show::Cell> {
    vec![
        cell(&board.key).ink(Ink::Bold),
        cell(&board.name),
        cell(board.head_seq.to_string()),
        cell(if board.archived_at.is_some() { "archived" } else { "" }).ink(Ink::Dim),
    ]
}

fn show(screen: Screen, board: &Board) -> Result<(), Failure> {
    if screen.json {
        return screen.document(board);
    }
    screen.line(format!("{}  {}", screen.paint(&board.key, Ink::Bold), clean::line(&board.name)))?;
    let retention = &board.settings["retention"];
    let kept = match (retention["max_events"].as_u64(), retention["max_age_days"].as_u64()) {
        (None, None) => None,
        (Some(events), None) => Some(format!("the last {events} events")),
        (None, Some(days)) => Some(format!("events of the last {days} days")),
        (Some(events), Some(days)) => Some(format!("the last {events} events, of the last {days} days")),
    };
    screen.pairs(&[
        ("id", Some(board.id.to_string())),
        ("repository", board.repository_url.clone()),
        ("branch", board.default_branch.clone()),
        ("review", board.settings["review"].as_str().map(str::to_owned)),
        ("verify", board.settings["verify"].as_bool().map(|verify| if verify { "yes" } else { "no" }.to_owned())),
        ("kept", kept),
        ("events", Some(board.head_seq.to_string())),
        ("version", Some(board.version.to_string())),
        ("archived", board.archived_at.as_deref().map(super::local_time)),
    ])?;
    screen.line("")?;
    super::column::table(screen, board)?;
    if !board.description.is_empty() {
        screen.line(format!("\n{}", clean::block(board.description.trim_end())))?;
    }
    Ok(())
}
