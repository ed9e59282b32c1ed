//! `kanvoy status`: where things stand, and what to type next.

use std::collections::BTreeMap;

use kanvoy_client::{Board, Client, Task, TaskFilter};
use kanvoy_domain::State;
use serde_json::json;

use super::{Context, name_of};
use crate::clean;
use crate::exit::{Exit, Failure};
use crate::show::{Cell, Ink, Screen, cell, ink_of};

/// Tasks that are counted on one board; a board with more is shown with a plus sign.
const COUNTED: usize = 2_000;
/// Waiting tasks that are named.
const NAMED: usize = 10;
const COMMANDS: usize = 5;

struct Standing {
    board: Board,
    counts: BTreeMap<String, usize>,
    /// There are more tasks than were counted.
    more: bool,
    /// Tasks that wait for something, and tasks that wait for a person to decide.
    waiting: Vec<Task>,
}

pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let client = context.client()?;
    let health = client.health().await?;
    let mut standings = Vec::new();
    for board in client.boards(false).await? {
        standings.push(stand(&client, board).await?);
    }
    let next = next_commands(&standings);
    if context.screen.json {
        let boards: Vec<_> = standings
            .iter()
            .map(|standing| {
                json!({
                    "id": standing.board.id, "key": standing.board.key, "name": standing.board.name,
                    "counts": standing.counts, "more": standing.more, "waiting": standing.waiting,
                })
            })
            .collect();
        let server = json!({ "url": client.url().as_str().trim_end_matches('/'), "ready": health.body });
        context.screen.document(&json!({ "server": server, "boards": boards, "next": next }))?;
    } else {
        draw(context.screen, &client, &health.body["status"], &standings)?;
        context.screen.next(&next)?;
    }
    Ok(if health.ready { Exit::Done } else { Exit::Retryable })
}

async fn stand(client: &Client, board: Board) -> Result<Standing, Failure> {
    let filter = TaskFilter { order: Some("updated"), ..TaskFilter::default() };
    let page = client.tasks(&board.id.to_string(), &filter, COUNTED).await?;
    let mut counts = BTreeMap::new();
    for task in &page.items {
        *counts.entry(task.state.clone()).or_insert(0) += 1;
    }
    let waits = |task: &Task| !task.waiting.is_empty() || matches!(task.state.as_str(), "REVIEW" | "FAILED");
    let waiting = page.items.into_iter().filter(waits).take(NAMED).collect();
    Ok(Standing { board, counts, more: page.next_cursor.is_some(), waiting })
}

fn draw(screen: Screen, client: &Client, status: &serde_json::Value, standings: &[Standing]) -> Result<(), Failure> {
    let status = status.as_str().unwrap_or("not ready");
    let ink = if status == "ok" { Ink::Green } else { Ink::Yellow };
    let url = client.url().as_str().trim_end_matches('/');
    screen.line(format!("{url}  {}", screen.paint(&clean::line(status), ink)))?;
    if standings.is_empty() {
        return screen.line("\nThere is no board yet.");
    }
    screen.line("")?;
    let used: Vec<&str> = State::ALL
        .into_iter()
        .map(State::as_str)
        .filter(|state| standings.iter().any(|standing| standing.counts.contains_key(*state)))
        .collect();
    let mut names = vec!["BOARD", "NAME"];
    names.extend(&used);
    let rows: Vec<Vec<Cell>> = standings
        .iter()
        .map(|standing| {
            let mut row = vec![cell(&standing.board.key).ink(Ink::Bold), cell(&standing.board.name)];
            row.extend(used.iter().map(|state| match standing.counts.get(*state) {
                Some(count) => cell(format!("{count}{}", if standing.more { "+" } else { "" })).ink(ink_of(state)),
                None => cell("·").ink(Ink::Dim),
            }));
            row
        })
        .collect();
    screen.table(&names, &rows, 1)?;

    let waiting: Vec<(&Standing, &Task)> =
        standings.iter().flat_map(|standing| standing.waiting.iter().map(move |task| (standing, task))).collect();
    if !waiting.is_empty() {
        screen.line("\nWaiting:")?;
    }
    for (standing, task) in waiting.iter().take(NAMED) {
        let why = match (task.waiting.first(), task.state.as_str()) {
            (Some(reason), _) if !reason.detail.is_empty() => reason.detail.clone(),
            (Some(reason), _) => reason.code.clone(),
            (None, "REVIEW") => "waits for somebody to look at the work".to_owned(),
            (None, _) => "failed".to_owned(),
        };
        let name = screen.paint(&name_of(&standing.board, task), Ink::Bold).into_owned();
        screen.line(format!("  {name}  {}: {}", clean::line(&task.title), clean::line(&why)))?;
    }
    Ok(())
}

/// What would help most, first: work that waits for a word, then work that can begin, then more work.
fn next_commands(standings: &[Standing]) -> Vec<String> {
    let Some(first) = standings.first() else {
        return vec!["kanvoy board create \"My board\"".to_owned(), "kanvoy auth link".to_owned()];
    };
    let mut commands = Vec::new();
    for standing in standings {
        for task in &standing.waiting {
            let name = name_of(&standing.board, task);
            match task.state.as_str() {
                "REVIEW" => commands.push(format!("kanvoy task state {name} COMPLETED")),
                "FAILED" => commands.push(format!("kanvoy task explain {name}")),
                _ => {}
            }
        }
    }
    for standing in standings {
        if standing.counts.contains_key("TODO") {
            commands.push(format!("kanvoy task list --state TODO --board {}", standing.board.key));
        }
        if standing.counts.contains_key("IN_PROGRESS") {
            commands.push(format!("kanvoy task list --state IN_PROGRESS --board {}", standing.board.key));
        }
    }
    commands.truncate(COMMANDS - 1);
    let board = if standings.len() > 1 { format!(" --board {}", first.board.key) } else { String::new() };
    commands.push(format!("kanvoy task create \"…\"{board}"));
    commands
}
