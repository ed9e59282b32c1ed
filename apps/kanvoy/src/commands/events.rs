//! `kanvoy events` and `kanvoy task events`: what happened, page by page or live.

use kanvoy_client::{Client, Cursor, EventPage, Follow};
use tokio::signal::ctrl_c;

use super::Context;
use super::watch::Drawn;
use crate::cli::{EventFilterArgs, EventsArgs};
use crate::exit::{Exit, Failure};
use crate::show::aside;

/// The API's own limit.
const PAGE: usize = 200;

pub async fn run(context: &Context, args: EventsArgs) -> Result<Exit, Failure> {
    let client = context.client()?;
    if args.follow {
        let following = follow(context, &client, args);
        return tokio::select! {
            ended = following => ended.map(|()| Exit::Done),
            _ = ctrl_c() => Ok(Exit::Interrupted),
        };
    }
    let after = match args.after.as_deref() {
        Some(text) => text.parse().map_err(|_| Failure::usage(format!("{text} is no number of an event")))?,
        None => 0,
    };
    let board = if args.system { None } else { Some(context.board(&client).await?) };
    let mut drawn = Drawn::of_log(context, &client, board.as_slice());
    let named = board.map(|board| board.id.to_string());
    let (mut after, mut left) = (after, args.limit.get());
    loop {
        let page = client.events(named.as_deref(), after, piece(left), &args.types).await?;
        for event in &page.items {
            drawn.event(event).await?;
        }
        if !goes_on(&page, &mut after, &mut left) {
            break;
        }
    }
    drawn.finish()?;
    Ok(Exit::Done)
}

pub async fn of_task(context: &Context, client: &Client, task: &str, which: EventFilterArgs) -> Result<(), Failure> {
    let mut drawn = Drawn::of_task(context, client);
    let (mut after, mut left) = (which.after, which.limit.get());
    loop {
        let page = client.task_events(task, after, piece(left), &which.types).await?;
        for event in &page.items {
            drawn.event(event).await?;
        }
        if !goes_on(&page, &mut after, &mut left) {
            break;
        }
    }
    drawn.finish()
}

fn piece(left: usize) -> u32 {
    u32::try_from(left.clamp(1, PAGE)).unwrap_or(1)
}

fn goes_on(page: &EventPage, after: &mut u64, left: &mut usize) -> bool {
    *left = left.saturating_sub(page.items.len());
    let Some(last) = page.items.last() else { return false };
    *after = last.seq;
    if page.next_cursor.is_some() && *left == 0 {
        aside(&format!("There are more; say --after {after}."));
    }
    page.next_cursor.is_some() && *left > 0
}

async fn follow(context: &Context, client: &Client, args: EventsArgs) -> Result<(), Failure> {
    // Without a board that was named, all logs: the only board may not stay the only one.
    let everything = args.system || context.config.board.value.is_none();
    let (follow, boards) = if everything {
        (Follow::Everything, client.boards(true).await?)
    } else {
        let board = context.board(client).await?;
        (Follow::Board(board.id.to_string()), vec![board])
    };
    let after = args.after.as_deref().map(|text| {
        Cursor::read(text).ok_or_else(|| Failure::usage(format!("{text} is no place in a log: 118, or ID:3,system:7")))
    });
    let mut drawn = Drawn::of_log(context, client, &boards);
    let mut events = client.follow(follow, after.transpose()?).of_types(args.types);
    while drawn.next(&mut events).await?.is_some() {}
    drawn.finish()
}
