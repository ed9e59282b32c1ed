//! `kanvoy column …`

use kanvoy_client::{Board, Column, ColumnEdit, Page};

use super::{Context, column_named};
use crate::clean;
use crate::cli::{ColumnCommand, ColumnLayoutArgs};
use crate::exit::{Exit, Failure};
use crate::show::{Screen, cell};

pub async fn run(context: &Context, command: ColumnCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    let screen = context.screen;
    let board = context.board(&client).await?;
    match command {
        ColumnCommand::List if screen.json => {
            screen.document(&Page { items: board.columns, next_cursor: None })?;
        }
        ColumnCommand::List => table(screen, &board)?,
        ColumnCommand::Add { name, layout } if layout.states.is_empty() => {
            let said = format!("which cards go into {}? Say --state with one state or several", clean::line(&name));
            let next = format!("kanvoy column add {name:?} --state REVIEW,VERIFY");
            return Err(Failure::usage(said).with_next(next));
        }
        ColumnCommand::Add { name, layout } => {
            let new = ColumnEdit { name: Some(name), ..edit_of(layout)? };
            let column = client.add_column(&board.id.to_string(), &new).await?;
            said(screen, &board, &column, "added to")?;
        }
        ColumnCommand::Update { column, name, layout, expect } => {
            let edit = ColumnEdit { name, version: expect.version, ..edit_of(layout)? };
            if edit == ColumnEdit::default() {
                return Err(Failure::usage("nothing to change; see kanvoy column update --help"));
            }
            let column = client.update_column(column_named(&board, &column)?, &edit).await?;
            said(screen, &board, &column, "changed on")?;
        }
        ColumnCommand::Remove { column } => {
            let after = client.remove_column(column_named(&board, &column)?).await?;
            if screen.json {
                screen.document(&after)?;
            } else {
                screen.line(format!("Column {} removed from {}.", clean::line(&column), board.key))?;
            }
        }
    }
    Ok(Exit::Done)
}

pub fn table(screen: Screen, board: &Board) -> Result<(), Failure> {
    let rows: Vec<_> = board
        .columns
        .iter()
        .map(|column| {
            let limit = column.wip_limit.map(|limit| limit.to_string()).unwrap_or_default();
            vec![cell(&column.name), cell(column.states.join(", ")), cell(limit)]
        })
        .collect();
    screen.table(&["COLUMN", "STATES", "LIMIT"], &rows, 1)
}

fn edit_of(layout: ColumnLayoutArgs) -> Result<ColumnEdit, Failure> {
    let states: Vec<String> = layout.states.iter().map(ToString::to_string).collect();
    let position = match layout.position {
        Some(0) => return Err(Failure::usage("columns are counted from 1")),
        position => position.map(|position| position - 1),
    };
    Ok(ColumnEdit {
        states: (!states.is_empty()).then_some(states),
        wip_limit: layout.wip_limit.map(|limit| (limit > 0).then_some(limit)),
        position,
        ..ColumnEdit::default()
    })
}

fn said(screen: Screen, board: &Board, column: &Column, what: &str) -> Result<(), Failure> {
    if screen.json {
        return screen.document(column);
    }
    screen.line(format!("Column {} {what} {}: {}.", clean::line(&column.name), board.key, column.states.join(", ")))
}
