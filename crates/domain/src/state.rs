//! The lifecycle of a task: one table, one function that reads it, and refusals that say why and what is legal instead.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::actor::ActorKind;

/// Where a task stands. Spelled as the API spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    Backlog,
    Todo,
    Planning,
    InProgress,
    Review,
    Verify,
    Completed,
    Failed,
    Cancelled,
}

impl State {
    pub const ALL: [Self; 9] = [
        Self::Backlog,
        Self::Todo,
        Self::Planning,
        Self::InProgress,
        Self::Review,
        Self::Verify,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backlog => "BACKLOG",
            Self::Todo => "TODO",
            Self::Planning => "PLANNING",
            Self::InProgress => "IN_PROGRESS",
            Self::Review => "REVIEW",
            Self::Verify => "VERIFY",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Somebody or something is at work on it, or must soon be: such a task is never deleted unasked.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Planning | Self::InProgress | Self::Review | Self::Verify)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state: one of BACKLOG, TODO, PLANNING, IN_PROGRESS, REVIEW, VERIFY, COMPLETED, FAILED, CANCELLED")]
pub struct NotAState;

impl FromStr for State {
    type Err = NotAState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(NotAState)
    }
}

/// What the rows of the table may depend on. Everything else about a task is of no matter to its lifecycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The board names an agent that plans.
    pub planner: bool,
    /// The board wants work reviewed before it is done.
    pub review: bool,
    /// The board wants work verified before it is done.
    pub verify: bool,
    /// An agent is at work on the task now.
    pub live_run: bool,
}

/// Moves `from` one state `to` another, or says why not. The whole lifecycle is in [`TABLE`].
pub fn transition(from: State, to: State, actor: ActorKind, facts: Facts) -> Result<(), Refusal> {
    let mut why = Why::NoSuchMove;
    for row in TABLE.iter().filter(|row| row.from == from && row.to == to) {
        if row.who != actor {
            why = why.or(Why::NotYours(row.who));
        } else if let Some(unmet) = row.when.unmet(facts) {
            why = Why::Unmet(unmet);
        } else {
            return Ok(());
        }
    }
    Err(Refusal { from, to, why, legal: legal(from, actor, facts) })
}

/// Every state that `actor` may move the task to now, in the order of the board.
pub fn legal(from: State, actor: ActorKind, facts: Facts) -> Vec<State> {
    State::ALL
        .into_iter()
        .filter(|to| {
            TABLE
                .iter()
                .any(|row| row.from == from && row.to == *to && row.who == actor && row.when.unmet(facts).is_none())
        })
        .collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub from: State,
    pub to: State,
    pub why: Why,
    pub legal: Vec<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    NoSuchMove,
    NotYours(ActorKind),
    Unmet(&'static str),
}

impl Why {
    /// Keeps the more telling of two reasons.
    fn or(self, other: Self) -> Self {
        if self == Self::NoSuchMove { other } else { self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, why, legal } = self;
        match why {
            Why::NoSuchMove if from == to => write!(f, "the task is {from} already")?,
            Why::NoSuchMove => write!(f, "a task that is {from} cannot become {to}")?,
            Why::NotYours(ActorKind::Engine) => {
                write!(f, "a task goes from {from} to {to} by the outcome of its run, not by hand")?;
            }
            Why::NotYours(_) => write!(f, "only a person moves a task from {from} to {to}")?,
            Why::Unmet(unmet) => write!(f, "a task that is {from} cannot become {to}: {unmet}")?,
        }
        if legal.is_empty() {
            return f.write_str("; nothing can be done to it from here");
        }
        let legal: Vec<&str> = legal.iter().map(|state| state.as_str()).collect();
        write!(f, "; from here it can become {}", legal.join(", "))
    }
}

impl std::error::Error for Refusal {}

/// One way that a task may go.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub from: State,
    pub to: State,
    pub who: ActorKind,
    pub when: When,
}

/// A condition of a row, with the sentence that is said when it does not hold.
#[derive(Clone, Copy, Debug)]
pub enum When {
    Always,
    Planner,
    NoLiveRun,
    ReviewConfigured,
    VerifyWithoutReview,
    NeitherReviewNorVerify,
}

impl When {
    fn unmet(self, facts: Facts) -> Option<&'static str> {
        let (holds, sentence) = match self {
            Self::Always => return None,
            Self::Planner => (facts.planner, "this board has no planner; name one in its settings"),
            Self::NoLiveRun => (!facts.live_run, "an agent is at work on it; stop the run first"),
            Self::ReviewConfigured => (facts.review, "this board has no review"),
            Self::VerifyWithoutReview => {
                (facts.verify && !facts.review, "this board does not verify, or reviews first")
            }
            Self::NeitherReviewNorVerify => (!facts.review && !facts.verify, "it must be reviewed or verified first"),
        };
        (!holds).then_some(sentence)
    }
}

use ActorKind::{Engine, Person, Rule};
use State::{Backlog, Cancelled, Completed, Failed, InProgress, Planning, Review, Todo, Verify};

const fn row(from: State, to: State, who: ActorKind, when: When) -> Row {
    Row { from, to, who, when }
}

/// The lifecycle, row by row. What is not here is refused.
pub const TABLE: &[Row] = &[
    row(Backlog, Todo, Person, When::Always),
    row(Backlog, Todo, Rule, When::Always),
    row(Todo, Backlog, Person, When::Always),
    row(Todo, Planning, Person, When::Planner),
    row(Todo, Planning, Rule, When::Planner),
    row(Planning, Todo, Engine, When::Always),
    row(Todo, InProgress, Engine, When::Always),
    row(Todo, InProgress, Person, When::Always),
    row(Backlog, InProgress, Engine, When::Always),
    row(Backlog, InProgress, Person, When::Always),
    row(Todo, Completed, Person, When::Always),
    row(Backlog, Completed, Person, When::Always),
    row(InProgress, Review, Engine, When::ReviewConfigured),
    row(InProgress, Review, Person, When::Always),
    row(InProgress, Verify, Engine, When::VerifyWithoutReview),
    row(InProgress, Completed, Engine, When::NeitherReviewNorVerify),
    row(InProgress, Completed, Person, When::NoLiveRun),
    row(InProgress, Todo, Person, When::NoLiveRun),
    row(Review, InProgress, Engine, When::Always),
    row(Review, InProgress, Person, When::Always),
    row(Review, Verify, Engine, When::Always),
    row(Review, Verify, Person, When::Always),
    row(Review, Completed, Engine, When::Always),
    row(Review, Completed, Person, When::Always),
    row(Verify, InProgress, Engine, When::Always),
    row(Verify, Completed, Engine, When::Always),
    row(Planning, Failed, Engine, When::Always),
    row(InProgress, Failed, Engine, When::Always),
    row(Review, Failed, Engine, When::Always),
    row(Verify, Failed, Engine, When::Always),
    row(Backlog, Cancelled, Person, When::Always),
    row(Todo, Cancelled, Person, When::Always),
    row(Planning, Cancelled, Person, When::Always),
    row(InProgress, Cancelled, Person, When::Always),
    row(Review, Cancelled, Person, When::Always),
    row(Verify, Cancelled, Person, When::Always),
    row(Failed, Cancelled, Person, When::Always),
    row(Failed, Todo, Person, When::Always),
    row(Failed, Backlog, Person, When::Always),
    row(Cancelled, Todo, Person, When::Always),
    row(Cancelled, Backlog, Person, When::Always),
    row(Completed, InProgress, Person, When::Always),
    row(Completed, Review, Person, When::Always),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ACTORS: [ActorKind; 4] = [Person, Rule, Engine, ActorKind::Agent];

    /// Written from the contract, not from [`TABLE`]: one line a state, one mark an actor. `p` person, `r` rule, `e` engine.
    /// Facts: a planner, neither review nor verify, no live run.
    const CONTRACT: &str = "
        from        BACKLOG TODO PLANNING IN_PROGRESS REVIEW VERIFY COMPLETED FAILED CANCELLED
        BACKLOG     -       pr   -        pe          -      -      p         -      p
        TODO        p       -    pr       pe          -      -      p         -      p
        PLANNING    -       e    -        -           -      -      -         e      p
        IN_PROGRESS -       p    -        -           p      -      pe        e      p
        REVIEW      -       -    -        pe          -      pe     pe        e      p
        VERIFY      -       -    -        e           -      -      e         e      p
        COMPLETED   -       -    -        p           p      -      -         -      -
        FAILED      p       p    -        -           -      -      -         -      p
        CANCELLED   p       p    -        -           -      -      -         -      -
    ";

    #[test]
    fn every_state_to_every_state_by_every_actor() {
        let facts = Facts { planner: true, ..Facts::default() };
        let mut seen = 0;
        for line in CONTRACT.lines().map(str::trim).filter(|line| !line.is_empty()).skip(1) {
            let mut cells = line.split_whitespace();
            let from: State = cells.next().and_then(|cell| cell.parse().ok()).expect("a state begins the line");
            for (to, cell) in State::ALL.into_iter().zip(cells) {
                for actor in ACTORS {
                    let mark = match actor {
                        Person => 'p',
                        Rule => 'r',
                        Engine => 'e',
                        ActorKind::Agent => 'a',
                    };
                    let got = transition(from, to, actor, facts);
                    assert_eq!(got.is_ok(), cell.contains(mark), "{from} to {to} by {actor:?}: {got:?}");
                    if let Err(refusal) = got {
                        assert!(!refusal.legal.contains(&to), "{refusal:?} offers what it refuses");
                        for legal in refusal.legal {
                            assert!(transition(from, legal, actor, facts).is_ok(), "{from} to {legal} was offered");
                        }
                    }
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 9 * 9 * 4);
    }

    #[test]
    fn conditions_are_named_when_they_do_not_hold() {
        let check = |from, to, actor, facts: Facts, said: &str| {
            let refusal = transition(from, to, actor, facts).expect_err("is refused");
            assert!(refusal.to_string().contains(said), "{refusal}");
        };
        let none = Facts::default();
        let live = Facts { live_run: true, ..none };
        check(Todo, Planning, Person, none, "no planner");
        check(InProgress, Completed, Person, live, "stop the run first");
        check(InProgress, Todo, Person, live, "stop the run first");
        check(InProgress, Review, Engine, none, "no review");
        check(InProgress, Verify, Engine, Facts { verify: true, review: true, ..none }, "reviews first");
        check(InProgress, Completed, Engine, Facts { review: true, ..none }, "reviewed or verified first");
        check(Todo, Todo, Person, none, "TODO already");
        check(Verify, Completed, Person, none, "not by hand");
        check(Cancelled, Todo, Engine, none, "only a person");
        check(Completed, Todo, Person, none, "can become IN_PROGRESS, REVIEW");

        let reviewed = Facts { review: true, ..none };
        assert!(transition(InProgress, Review, Engine, reviewed).is_ok());
        assert!(transition(InProgress, Verify, Engine, Facts { verify: true, ..none }).is_ok());
    }
}
