//! `kanvoy task …`

use kanvoy_client::{Board, Client, Move, NewTask, Task, TaskEdit, TaskFilter};
use kanvoy_domain::actor::ActorKind;
use kanvoy_domain::state::{Facts, State, legal};
use serde_json::{Value, json};

use super::wait::wait_for;
use super::{Context, clearing, column_named, confirm, local_time, name_of, text_or_stdin, what_it_means};
use crate::clean;
use crate::cli::{Order, TaskCommand, TaskCreateArgs, TaskFilterArgs, TaskListArgs, TaskUpdateArgs, WaitArgs};
use crate::exit::{Exit, Failure};
use crate::show::{Cell, Ink, Screen, cell, ink_of};

pub async fn run(context: &Context, command: TaskCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        TaskCommand::Create(args) => return create(context, &client, *args).await,
        TaskCommand::List(args) => list(context, &client, args).await?,
        TaskCommand::Show { task } => {
            let task = client.task(&context.task_ref(&client, &task).await?).await?;
            let board = client.board(&task.board_id.to_string()).await?;
            show(context, &client, &board, &task).await?;
        }
        TaskCommand::Update(args) => update(context, &client, *args).await?,
        TaskCommand::Move { task, column, before, after, expect, wait } => {
            let task = client.task(&context.task_ref(&client, &task).await?).await?;
            let board = client.board(&task.board_id.to_string()).await?;
            let to = Move {
                column_id: column.map(|column| column_to_move_to(&board, &task, &column)).transpose()?,
                before: optional(context, &client, before.as_deref()).await?,
                after: optional(context, &client, after.as_deref()).await?,
                version: expect.version,
            };
            if to.column_id.is_none() && to.before.is_none() && to.after.is_none() {
                return Err(Failure::usage("where to? Say a column, --before TASK or --after TASK"));
            }
            let moved = client.move_task(&task.id.to_string(), &to).await;
            let moved = moved.map_err(|error| with_ways_out(error.into(), &board, &task))?;
            return end(context, &client, &board, &moved, &format!("moved to {}", column_of(&board, &moved)), wait)
                .await;
        }
        TaskCommand::State { task, state, reason, expect, wait } => {
            let task = client.task(&context.task_ref(&client, &task).await?).await?;
            let board = client.board(&task.board_id.to_string()).await?;
            let id = task.id.to_string();
            let changed = client.set_state(&id, state.as_str(), reason.as_deref(), expect.version).await;
            let changed = changed.map_err(|error| with_ways_out(error.into(), &board, &task))?;
            let what = format!("went from {} to {}", task.state, changed.state);
            return end(context, &client, &board, &changed, &what, wait).await;
        }
        TaskCommand::Archive { task } => archive(context, &client, &task, true).await?,
        TaskCommand::Unarchive { task } => archive(context, &client, &task, false).await?,
        TaskCommand::Delete { task, how } => {
            let reference = context.task_ref(&client, &task).await?;
            let (verb, means) = what_it_means(how.purge);
            confirm(&format!("{verb} {reference}? {means}"), how.yes)?;
            let task = client.delete_task(&reference, how.purge).await?;
            let board = client.board(&task.board_id.to_string()).await?;
            said(context.screen, &board, &task, if how.purge { "removed for good" } else { "deleted" })?;
        }
        TaskCommand::Watch { task, after, wait } => {
            let reference = context.task_ref(&client, &task).await?;
            return super::watch::run(context, &client, &reference, after, wait).await;
        }
        TaskCommand::Events { task, which } => {
            let reference = context.task_ref(&client, &task).await?;
            super::events::of_task(context, &client, &reference, which).await?;
        }
        TaskCommand::Explain { task } => {
            let task = client.task(&context.task_ref(&client, &task).await?).await?;
            let board = client.board(&task.board_id.to_string()).await?;
            explain(context, &client, &board, &task).await?;
        }
    }
    Ok(Exit::Done)
}

async fn create(context: &Context, client: &Client, args: TaskCreateArgs) -> Result<Exit, Failure> {
    let board = context.board(client).await?;
    let new = NewTask {
        title: args.title,
        description: text_or_stdin(args.description)?,
        state: args.state.map(|state| state.to_string()),
        priority: args.priority.map(|priority| priority.to_string()),
        agent_type: args.agent_type,
        repository_url: args.repository_url,
        branch: args.branch,
        labels: args.labels,
        blocked_by: context.task_ids(client, &args.blocked_by).await?,
        parent_id: optional(context, client, args.parent.as_deref()).await?,
        external_ref: args.external_ref,
    };
    let task = client.create_task(&board.id.to_string(), &new).await?;
    let what = format!("made in {}", column_of(&board, &task));
    end(context, client, &board, &task, &what, args.wait).await
}

async fn update(context: &Context, client: &Client, args: TaskUpdateArgs) -> Result<(), Failure> {
    let task = client.task(&context.task_ref(client, &args.task).await?).await?;
    let labels = labels_after(&task, &args.labels, &args.remove_label);
    let mut version = args.expect.version;
    if labels.is_some() {
        // The new labels are made from those that we read: somebody else's label must not be lost in between.
        version = version.or(Some(task.version));
    }
    let edit = TaskEdit {
        title: args.title,
        description: text_or_stdin(args.description)?,
        priority: args.priority.map(|priority| priority.to_string()),
        agent_type: clearing(args.agent_type),
        repository_url: clearing(args.repository_url),
        branch: clearing(args.branch),
        labels,
        blocked_by: match args.blocked_by {
            Some(tasks) => Some(context.task_ids(client, &tasks).await?),
            None => None,
        },
        parent_id: match args.parent.as_deref() {
            Some("") => Some(None),
            Some(parent) => Some(Some(context.task_id(client, parent).await?)),
            None => None,
        },
        external_ref: clearing(args.external_ref),
        archived: None,
        version,
    };
    if edit == TaskEdit::default() {
        return Err(Failure::usage("nothing to change; see kanvoy task update --help"));
    }
    let task = client.update_task(&task.id.to_string(), &edit).await?;
    let board = client.board(&task.board_id.to_string()).await?;
    said(context.screen, &board, &task, "changed")
}

fn labels_after(task: &Task, added: &[String], removed: &[String]) -> Option<Vec<String>> {
    if added.is_empty() && removed.is_empty() {
        return None;
    }
    let mut labels: Vec<String> = task.labels.iter().filter(|label| !removed.contains(label)).cloned().collect();
    labels.extend(added.iter().filter(|label| !task.labels.contains(label)).cloned());
    Some(labels)
}

async fn archive(context: &Context, client: &Client, task: &str, archived: bool) -> Result<(), Failure> {
    let reference = context.task_ref(client, task).await?;
    let edit = TaskEdit { archived: Some(archived), ..TaskEdit::default() };
    let task = client.update_task(&reference, &edit).await?;
    let board = client.board(&task.board_id.to_string()).await?;
    said(context.screen, &board, &task, if archived { "archived" } else { "taken out again" })
}

async fn optional(context: &Context, client: &Client, task: Option<&str>) -> Result<Option<uuid::Uuid>, Failure> {
    match task {
        Some(task) => Ok(Some(context.task_id(client, task).await?)),
        None => Ok(None),
    }
}

/// Says what was done, and waits if that was asked for. With `--json` the one document is the task as it is at the end.
async fn end(
    context: &Context,
    client: &Client,
    board: &Board,
    task: &Task,
    what: &str,
    wait: WaitArgs,
) -> Result<Exit, Failure> {
    let Some(state) = wait.wait else {
        said(context.screen, board, task, what)?;
        return Ok(Exit::Done);
    };
    if !context.screen.json {
        said(context.screen, board, task, what)?;
    }
    let reached = wait_for(client, task, state, wait.timeout).await;
    if context.screen.json && !matches!(&reached, Err(failure) if failure.exit == Exit::Unreachable) {
        context.screen.document(&client.task(&task.id.to_string()).await?)?;
    }
    let reached = reached?;
    if !context.screen.json {
        let state = context.screen.paint(&reached, ink_of(&reached)).into_owned();
        context.screen.line(format!("{} is {state}.", name_of(board, task)))?;
    }
    Ok(Exit::Done)
}

fn said(screen: Screen, board: &Board, task: &Task, what: &str) -> Result<(), Failure> {
    if screen.json {
        return screen.document(task);
    }
    let name = screen.paint(&name_of(board, task), Ink::Bold).into_owned();
    screen.line(format!("{name} ({}) {}.", clean::line(&task.title), clean::line(what)))
}

/// A state where a column is asked for is another command.
fn column_to_move_to(board: &Board, task: &Task, named: &str) -> Result<uuid::Uuid, Failure> {
    column_named(board, named).map_err(|failure| match named.trim().to_ascii_uppercase().parse::<State>() {
        Ok(state) => failure.with_next(format!("kanvoy task state {} {state}", name_of(board, task))),
        Err(_) => failure,
    })
}

/// After a refused move: the commands that would have been taken.
fn with_ways_out(mut failure: Failure, board: &Board, task: &Task) -> Failure {
    if let Some(problem) = &failure.problem {
        let name = name_of(board, task);
        failure.next.extend(problem.legal.iter().map(|state| format!("kanvoy task state {name} {state}")));
    }
    failure
}

fn column_of(board: &Board, task: &Task) -> String {
    let column = board.columns.iter().find(|column| column.id == task.column_id);
    column.map_or_else(|| task.state.clone(), |column| column.name.clone())
}

pub fn filter_of(args: &TaskFilterArgs) -> TaskFilter {
    TaskFilter {
        states: args.states.iter().map(ToString::to_string).collect(),
        labels: args.labels.clone(),
        priorities: args.priorities.iter().map(ToString::to_string).collect(),
        agent_type: args.agent_type.clone(),
        external_ref: args.external_ref.clone(),
        archived: match (args.all, args.archived) {
            (true, _) => Some("all"),
            (_, true) => Some("true"),
            _ => None,
        },
        ..TaskFilter::default()
    }
}

async fn list(context: &Context, client: &Client, args: TaskListArgs) -> Result<(), Failure> {
    let board = context.board(client).await?;
    let filter = TaskFilter {
        words: args.query,
        column_id: args.column.map(|column| column_named(&board, &column)).transpose()?,
        parent_id: optional(context, client, args.parent.as_deref()).await?,
        order: Some(match args.order {
            Order::Oldest => "oldest",
            Order::Newest => "newest",
            Order::Updated => "updated",
            Order::Lie => "lie",
        }),
        ..filter_of(&args.filter)
    };
    let page = client.tasks(&board.id.to_string(), &filter, args.filter.limit.get()).await?;
    if context.screen.json {
        return context.screen.document(&page);
    }
    table(context.screen, &page.items, |task| (name_of(&board, task), column_of(&board, task)))?;
    if page.next_cursor.is_some() {
        crate::show::aside("There are more; say --limit N.");
    }
    Ok(())
}

/// `names` says what a task is called and which column it lies in.
pub fn table(screen: Screen, tasks: &[Task], names: impl Fn(&Task) -> (String, String)) -> Result<(), Failure> {
    if tasks.is_empty() {
        return screen.line("No tasks.");
    }
    let rows: Vec<Vec<Cell>> = tasks
        .iter()
        .map(|task| {
            let (name, column) = names(task);
            let priority = if task.priority == "normal" { "" } else { task.priority.as_str() };
            vec![
                cell(name).ink(Ink::Bold),
                cell(&task.state).ink(ink_of(&task.state)),
                cell(column),
                cell(priority).ink(if priority == "urgent" { Ink::Red } else { Ink::Plain }),
                cell(&task.title),
                cell(task.labels.join(", ")).ink(Ink::Cyan),
            ]
        })
        .collect();
    screen.table(&["TASK", "STATE", "COLUMN", "PRIORITY", "TITLE", "LABELS"], &rows, 4)
}

async fn show(context: &Context, client: &Client, board: &Board, task: &Task) -> Result<(), Failure> {
    let screen = context.screen;
    if screen.json {
        return screen.document(task);
    }
    let state = screen.paint(&task.state, ink_of(&task.state)).into_owned();
    let name = screen.paint(&name_of(board, task), Ink::Bold).into_owned();
    screen.line(format!("{name}  {}  {state}", clean::line(&task.title)))?;
    let parent = match task.parent_id {
        Some(id) => Some(named(client, board, id).await),
        None => None,
    };
    let mut blockers = Vec::new();
    for id in &task.blocked_by {
        blockers.push(named(client, board, *id).await);
    }
    let text = |key: &str| task.rest.get(key).and_then(Value::as_str).map(str::to_owned);
    screen.pairs(&[
        ("column", Some(column_of(board, task))),
        ("priority", Some(task.priority.clone())),
        ("labels", (!task.labels.is_empty()).then(|| task.labels.join(", "))),
        ("agent", task.agent_type.clone()),
        ("repository", text("repository_url")),
        ("branch", text("branch")),
        ("part of", parent),
        ("waits for", (!blockers.is_empty()).then(|| blockers.join(", "))),
        ("reference", task.external_ref.clone()),
        ("made", Some(local_time(&task.created_at))),
        ("changed", Some(local_time(&task.updated_at))),
        ("archived", task.archived_at.as_deref().map(local_time)),
        ("version", Some(task.version.to_string())),
        ("id", Some(task.id.to_string())),
    ])?;
    reasons(screen, task)?;
    if !task.description.is_empty() {
        screen.line(format!("\n{}", clean::block(task.description.trim_end())))?;
    }
    Ok(())
}

fn reasons(screen: Screen, task: &Task) -> Result<(), Failure> {
    if let Some(failure) = &task.failure {
        let word = |key: &str| clean::line(failure[key].as_str().unwrap_or_default()).into_owned();
        screen.line(format!("{}  {} ({})", screen.paint("failed", Ink::Red), word("detail"), word("code")))?;
    }
    for reason in &task.waiting {
        let detail = if reason.detail.is_empty() { &reason.code } else { &reason.detail };
        screen.line(format!("{}  {}", screen.paint("waiting", Ink::Yellow), clean::line(detail)))?;
    }
    Ok(())
}

/// A task of the same board by its number and state; one that is gone by its id.
async fn named(client: &Client, board: &Board, id: uuid::Uuid) -> String {
    match client.task(&id.to_string()).await {
        Ok(task) => format!("{} ({})", name_of(board, &task), task.state),
        Err(_) => id.to_string(),
    }
}

async fn explain(context: &Context, client: &Client, board: &Board, task: &Task) -> Result<(), Failure> {
    let screen = context.screen;
    let ways = ways_out(board, task);
    let name = name_of(board, task);
    let next: Vec<String> = ways.iter().map(|state| format!("kanvoy task state {name} {state}")).collect();
    if screen.json {
        return screen.document(&json!({
            "task": name, "task_id": task.id, "state": task.state, "waiting": task.waiting, "failure": task.failure,
            "blocked_by": task.blocked_by, "legal": ways, "next": next,
        }));
    }
    let state = screen.paint(&task.state, ink_of(&task.state)).into_owned();
    screen.line(format!("{name}  {}  {state}", clean::line(&task.title)))?;
    screen.line(meaning(task))?;
    reasons(screen, task)?;
    for id in &task.blocked_by {
        screen.line(format!("after    {}", clean::line(&named(client, board, *id).await)))?;
    }
    screen.next(&next)
}

fn meaning(task: &Task) -> String {
    let agent = task.agent_type.as_deref().map(clean::line);
    match (task.state.as_str(), agent) {
        ("BACKLOG", _) => "It is parked: nothing happens until somebody makes it TODO.".to_owned(),
        ("TODO", None) => "It is ready and has no agent type: it waits for a person to take it.".to_owned(),
        ("TODO", Some(agent)) => {
            format!("It is ready for {agent}; this version has no agents yet, so a person must take it.")
        }
        ("PLANNING", _) => "A plan is being made.".to_owned(),
        ("IN_PROGRESS", None) => "It is worked on by hand.".to_owned(),
        ("IN_PROGRESS", Some(agent)) => format!("It is in progress, for {agent}."),
        ("REVIEW", _) => "It waits for somebody to look at the work.".to_owned(),
        ("VERIFY", _) => "The work is being verified.".to_owned(),
        ("COMPLETED", _) => "It is done.".to_owned(),
        ("FAILED", _) => "It failed.".to_owned(),
        ("CANCELLED", _) => "It was cancelled.".to_owned(),
        (other, _) => format!("It is {}.", clean::line(other)),
    }
}

/// What a person may do with it, by the same table that the daemon reads. Empty for a state that only a newer daemon knows.
pub fn ways_out(board: &Board, task: &Task) -> Vec<&'static str> {
    let Ok(state) = task.state.parse::<State>() else { return Vec::new() };
    let facts = Facts {
        planner: board.settings["planner"].is_string(),
        review: board.settings["review"].as_str().is_some_and(|review| review != "nobody"),
        verify: board.settings["verify"].as_bool().unwrap_or_default(),
        live_run: task.rest.get("current_run_id").is_some_and(Value::is_string),
    };
    legal(state, ActorKind::Person, facts).into_iter().map(State::as_str).collect()
}
