//! Why a task is not at work: derived each time it is shown, never stored.

use kanvoy_domain::State;
use kanvoy_store::TaskRow;
use serde::Serialize;

/// A code to branch on and a sentence to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub code: &'static str,
    pub detail: String,
}

/// Everything that keeps the task from being worked on, in the order in which a person would mend it. Only a task that is
/// ready can wait.
pub fn waiting(row: &TaskRow) -> Vec<Reason> {
    if row.task.state != State::Todo {
        return Vec::new();
    }
    let mut reasons: Vec<Reason> = row
        .blockers
        .iter()
        .filter(|blocker| blocker.state != State::Completed)
        .map(|blocker| Reason {
            code: "blocked",
            detail: match blocker.state {
                State::Cancelled | State::Failed => {
                    format!("waits for #{}, which is {}: reopen that task or unlink it", blocker.number, blocker.state)
                }
                state => format!("waits for #{}, which is {state}", blocker.number),
            },
        })
        .collect();
    if let Some(agent_type) = &row.task.agent_type {
        reasons.push(Reason {
            code: "no_agents",
            detail: format!("this server runs no agents yet: nobody will start {agent_type} by itself"),
        });
    }
    reasons
}
