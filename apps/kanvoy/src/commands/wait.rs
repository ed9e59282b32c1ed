//! `--wait`: returns when a task has come to a state.

use std::time::Duration;

use kanvoy_client::{Client, Cursor, Event, Follow, Task};
use kanvoy_domain::State;

use crate::exit::{Exit, Failure};

/// Waits from the write that `task` is the answer to, missing nothing in between. Says the state that was reached.
pub async fn wait_for(
    client: &Client,
    task: &Task,
    wanted: State,
    timeout: Option<Duration>,
) -> Result<String, Failure> {
    let waiting = async {
        if let Some(end) = judged(&task.state, wanted) {
            return end;
        }
        let after = Cursor::Seq(task.seq.unwrap_or_default());
        let mut events = client.follow(Follow::Task(task.id.to_string()), Some(after));
        while let Some(event) = events.next_event().await? {
            if is_gone(&event) {
                return Err(gone());
            }
            if let Some(end) = reached(&event).and_then(|state| judged(state, wanted)) {
                return end;
            }
        }
        Err(gone())
    };
    match timeout {
        Some(limit) => tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| Err(timed_out(wanted))),
        None => waiting.await,
    }
}

/// The state that an event brought.
pub fn reached(event: &Event) -> Option<&str> {
    (event.kind == "task.state_changed").then(|| event.data["to"].as_str()).flatten()
}

pub fn is_gone(event: &Event) -> bool {
    matches!(event.kind.as_str(), "task.deleted" | "task.purged" | "board.deleted")
}

/// Whether this is the end of waiting. A task that has ended elsewhere will not come by itself any more.
pub fn judged(state: &str, wanted: State) -> Option<Result<String, Failure>> {
    if state == wanted.as_str() {
        return Some(Ok(state.to_owned()));
    }
    matches!(state, "COMPLETED" | "FAILED" | "CANCELLED")
        .then(|| Err(Failure::new(Exit::Failed, format!("it became {state}, not {wanted}"))))
}

pub fn gone() -> Failure {
    Failure::new(Exit::NotFound, "the task was deleted meanwhile")
}

pub fn timed_out(wanted: State) -> Failure {
    Failure::new(Exit::Retryable, format!("it has not become {wanted} in time"))
}
