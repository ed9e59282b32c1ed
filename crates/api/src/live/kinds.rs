//! Which kinds of event a reader wants: `types=task.created,task.updated`, `types=task.*`, or all but some, `types=!task.*`.

use kanvoy_domain::EventKind;
use kanvoy_store::Kinds;

use crate::params::Params;
use crate::problem::Problem;

/// Kinds that the contract knows and this version has no cause to write: asking for them is no mistake, and gives none.
const TO_COME: &[&str] = &[
    "task.progress",
    "agent.started",
    "agent.running",
    "agent.completed",
    "agent.failed",
    "agent.stopped",
    "agent.paused",
    "agent.resumed",
    "agent.reattached",
    "agent.lost",
    "agent.log",
    "run.queued",
    "run.started",
    "run.waiting",
    "run.completed",
    "run.failed",
    "run.cancelled",
    "turn.started",
    "turn.ended",
    "acp.message",
    "acp.noise",
    "request.opened",
    "request.resolved",
    "request.expired",
    "request.withdrawn",
    "policy.decided",
    "cage.compiled",
    "cage.denied",
    "cage.limit_hit",
    "workspace.created",
    "workspace.committed",
    "workspace.merged",
    "workspace.conflict",
    "signal.accepted",
    "signal.refused",
    "review.approved",
    "review.changes_requested",
    "verify.passed",
    "verify.failed",
];

pub(crate) fn kinds(params: &Params) -> Result<Kinds, Problem> {
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    let (mut some_wanted, mut some_unwanted) = (false, false);
    for part in params.parts("types") {
        match part.strip_prefix('!') {
            Some(name) => {
                some_unwanted = true;
                unwanted.extend(named(name)?);
            }
            None => {
                some_wanted = true;
                wanted.extend(named(part)?);
            }
        }
    }
    match (some_wanted, some_unwanted) {
        (false, false) => Ok(Kinds::All),
        (false, true) => Ok(Kinds::AllBut(unwanted)),
        // With both, the ones named are thinned out by the ones negated.
        (true, _) => Ok(Kinds::Only(wanted.into_iter().filter(|kind| !unwanted.contains(kind)).collect())),
    }
}

fn named(name: &str) -> Result<Vec<EventKind>, Problem> {
    if let Some(family) = name.strip_suffix(".*") {
        let belongs = |full: &str| full.strip_prefix(family).is_some_and(|rest| rest.starts_with('.'));
        if !TO_COME.iter().copied().chain(EventKind::ALL.iter().map(|kind| kind.as_str())).any(belongs) {
            return Err(unknown(name));
        }
        return Ok(EventKind::ALL.iter().copied().filter(|kind| belongs(kind.as_str())).collect());
    }
    match name.parse() {
        Ok(kind) => Ok(vec![kind]),
        Err(_) if TO_COME.contains(&name) => Ok(Vec::new()),
        Err(_) => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(40).collect();
    Problem::parameter("types", format!("names {shown:?}, which is no type of event"))
}
