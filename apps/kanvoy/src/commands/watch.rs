//! `kanvoy task watch`: a task's events as they come, from its beginning, whatever happens to the connection.

use kanvoy_client::{Board, Client, Cursor, Event, Events, Follow, Heard};
use kanvoy_domain::State;
use tokio::signal::ctrl_c;

use super::Context;
use super::wait::{gone, is_gone, judged, reached, timed_out};
use crate::cli::WaitArgs;
use crate::exit::{Exit, Failure};
use crate::show::{Screen, aside};
use crate::transcript::Transcript;

pub async fn run(
    context: &Context,
    client: &Client,
    task: &str,
    after: Option<u64>,
    wait: WaitArgs,
) -> Result<Exit, Failure> {
    let watching = watch(context, client, task, after.unwrap_or_default(), wait.wait);
    let limit = async {
        match wait.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = watching => ended,
        () = limit => Err(timed_out(wait.wait.unwrap_or(State::Completed))),
        _ = ctrl_c() => Ok(Exit::Interrupted),
    }
}

async fn watch(
    context: &Context,
    client: &Client,
    task: &str,
    mut after: u64,
    wanted: Option<State>,
) -> Result<Exit, Failure> {
    /// The API's own limit.
    const PAGE: u32 = 200;
    let found = client.task(task).await?;
    let task = found.id.to_string();
    let mut state = found.state;
    let mut drawn = Drawn::of_task(context, client);

    // First what is past: a state that the task was in once is not one that it came to.
    loop {
        let page = client.task_events(&task, after, PAGE, &[]).await?;
        for event in &page.items {
            after = event.seq;
            drawn.event(event).await?;
            state = reached(event).map_or(state, str::to_owned);
        }
        if page.next_cursor.is_none() || page.items.is_empty() {
            break;
        }
    }
    let mut events = client.follow(Follow::Task(task), Some(Cursor::Seq(after)));
    loop {
        if let Some(end) = wanted.and_then(|wanted| judged(&state, wanted)) {
            drawn.finish()?;
            return end.map(|_| Exit::Done);
        }
        let Some(event) = drawn.next(&mut events).await? else {
            drawn.finish()?;
            return ended(wanted);
        };
        state = reached(&event).map_or(state, str::to_owned);
        if is_gone(&event) {
            drawn.finish()?;
            return ended(wanted);
        }
    }
}

/// There is no task any more: an end for who watches, a failure for who waits.
fn ended(wanted: Option<State>) -> Result<Exit, Failure> {
    if wanted.is_some() {
        return Err(gone());
    }
    aside("The task was deleted; nothing more comes.");
    Ok(Exit::Done)
}

/// A transcript on its screen.
pub struct Drawn {
    screen: Screen,
    client: Client,
    transcript: Transcript,
}

impl Drawn {
    pub fn of_task(context: &Context, client: &Client) -> Self {
        let screen = context.screen;
        Self { screen, client: client.clone(), transcript: Transcript::of_task(screen) }
    }

    pub fn of_log(context: &Context, client: &Client, boards: &[Board]) -> Self {
        let screen = context.screen;
        let names = boards.iter().map(|board| (board.id, board.key.clone()));
        Self { screen, client: client.clone(), transcript: Transcript::of_log(screen, names) }
    }

    pub async fn event(&mut self, event: &Event) -> Result<(), Failure> {
        if self.screen.json {
            return self.screen.event_line(event);
        }
        if let Some(task) = self.transcript.unnamed(event) {
            // One that is deleted keeps its id for a name.
            let found = self.client.task(&task.to_string()).await.ok();
            self.transcript.name(task, event.board_id, found.map(|task| task.number));
        }
        self.screen.write(&self.transcript.tell(event))?;
        self.screen.flush()
    }

    pub fn finish(&mut self) -> Result<(), Failure> {
        self.screen.write(&self.transcript.finish())
    }

    /// The next event, drawn; on stderr, what becomes of the connection meanwhile.
    pub async fn next(&mut self, events: &mut Events) -> Result<Option<Event>, Failure> {
        let mut lost = false;
        loop {
            match events.next().await? {
                Some(Heard::Event(event)) => {
                    self.event(&event).await?;
                    return Ok(Some(*event));
                }
                Some(Heard::Ready { .. }) if lost => aside("… connected again"),
                Some(Heard::Ready { .. }) => {}
                // Said once, however many tries it takes.
                Some(Heard::Lost { .. }) if lost => {}
                Some(Heard::Lost { why }) => {
                    lost = true;
                    self.finish()?;
                    aside(&format!("… connection lost ({why}); looking for it again"));
                }
                None => return Ok(None),
            }
        }
    }
}
