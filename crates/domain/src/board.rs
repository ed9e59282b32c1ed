//! A board and its columns. A column lists the states it holds; a card's state is always among those of its column.

use serde::{Deserialize, Serialize};

use crate::ids::{BoardId, ColumnId};
use crate::state::{Facts, State};
use crate::task::Version;
use crate::text::{self, AgentTypeName, BoardKey, BranchName, Invalid, RepositoryUrl};
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    pub id: BoardId,
    pub key: BoardKey,
    pub name: String,
    pub description: String,
    pub repository_url: Option<RepositoryUrl>,
    pub default_branch: Option<BranchName>,
    pub columns: Vec<Column>,
    pub settings: Settings,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub archived_at: Option<Timestamp>,
    pub version: Version,
    /// As a task's: grows with every write, and fences a read-modify-write.
    #[serde(skip, default = "first_rev")]
    pub rev: u64,
}

const fn first_rev() -> u64 {
    1
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub id: ColumnId,
    pub name: String,
    pub states: Vec<State>,
    pub wip_limit: Option<u32>,
}

/// How a board behaves. Every field has a default, so that a board made by an older version can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub review: Review,
    pub verify: bool,
    /// The agent type that plans; without one nothing goes to PLANNING.
    pub planner: Option<AgentTypeName>,
    /// The agent type that a page proposes for a new card; a card is given only what its maker says.
    pub default_agent_type: Option<AgentTypeName>,
    pub retention: Retention,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    #[default]
    Nobody,
    Person,
}

/// How much of the log is kept. Nothing set keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Events beyond this many, the oldest first, may go.
    pub max_events: Option<u64>,
    /// Events older than this many days may go.
    pub max_age_days: Option<u32>,
}

pub const MAX_COLUMNS: usize = 50;

/// What somebody says when making a board.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewBoard {
    pub name: String,
    pub description: String,
    pub key: Option<String>,
    pub repository_url: Option<String>,
    pub default_branch: Option<String>,
}

impl NewBoard {
    /// `key` is the one asked for or one made from the name; `columns` are the ids for the columns of a fresh board.
    pub fn checked(self, id: BoardId, key: BoardKey, columns: [ColumnId; 6], now: Timestamp) -> Result<Board, Invalid> {
        let default_columns = DEFAULT_COLUMNS.iter().zip(columns);
        Ok(Board {
            id,
            key,
            name: text::line("name", &self.name, text::MAX_NAME)?,
            description: text::prose("description", &self.description, text::MAX_DESCRIPTION)?,
            repository_url: self.repository_url.map(|url| url.parse()).transpose()?,
            default_branch: default_branch(self.default_branch)?,
            columns: default_columns
                .map(|((name, states), id)| Column {
                    id,
                    name: (*name).to_owned(),
                    states: states.to_vec(),
                    wip_limit: None,
                })
                .collect(),
            settings: Settings::default(),
            created_at: now,
            updated_at: now,
            archived_at: None,
            version: 1,
            rev: first_rev(),
        })
    }
}

const DEFAULT_COLUMNS: [(&str, &[State]); 6] = [
    ("Backlog", &[State::Backlog]),
    ("To do", &[State::Todo]),
    ("In progress", &[State::InProgress, State::Planning]),
    ("Review", &[State::Review, State::Verify]),
    ("Done", &[State::Completed]),
    ("Stopped", &[State::Failed, State::Cancelled]),
];

/// What somebody changes of a board. `None` leaves a field alone; `Some(None)` clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardEdit {
    pub name: Option<String>,
    pub description: Option<String>,
    pub repository_url: Option<Option<String>>,
    pub default_branch: Option<Option<String>>,
    pub settings: Option<Settings>,
    pub archived: Option<bool>,
}

/// What somebody says of a column, new or old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnEdit {
    pub name: Option<String>,
    pub states: Option<Vec<State>>,
    pub wip_limit: Option<Option<u32>>,
    /// Its place among the columns, from 0.
    pub position: Option<usize>,
}

impl Board {
    /// The column where cards of this state go by themselves: the first that lists it.
    pub fn home(&self, state: State) -> Option<&Column> {
        self.columns.iter().find(|column| column.holds(state))
    }

    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    pub fn facts(&self) -> Facts {
        Facts {
            planner: self.settings.planner.is_some(),
            review: self.settings.review != Review::Nobody,
            verify: self.settings.verify,
            live_run: false,
        }
    }

    pub fn edited(&self, edit: BoardEdit, now: Timestamp) -> Result<(Self, Vec<&'static str>), Invalid> {
        let mut board = self.clone();
        if let Some(name) = edit.name {
            board.name = text::line("name", &name, text::MAX_NAME)?;
        }
        if let Some(description) = edit.description {
            board.description = text::prose("description", &description, text::MAX_DESCRIPTION)?;
        }
        if let Some(url) = edit.repository_url {
            board.repository_url = url.map(|url| url.parse()).transpose()?;
        }
        if let Some(branch) = edit.default_branch {
            board.default_branch = default_branch(branch)?;
        }
        if let Some(settings) = edit.settings {
            settings.check()?;
            board.settings = settings;
        }
        if let Some(archived) = edit.archived {
            board.archived_at = archived.then(|| self.archived_at.unwrap_or(now));
        }
        Ok(self.changed_into(board, now))
    }

    /// The board with one column more.
    pub fn with_column(&self, id: ColumnId, new: ColumnEdit, now: Timestamp) -> Result<Self, Invalid> {
        if self.columns.len() >= MAX_COLUMNS {
            return Err(Invalid::new("columns", format!("a board has at most {MAX_COLUMNS}")));
        }
        let name = new.name.as_deref().unwrap_or_default();
        let column = Column {
            id,
            name: text::line("name", name, text::MAX_NAME)?,
            states: states(new.states.unwrap_or_default())?,
            wip_limit: wip_limit(new.wip_limit.flatten())?,
        };
        let mut board = self.clone();
        let at = new.position.unwrap_or(board.columns.len()).min(board.columns.len());
        board.columns.insert(at, column);
        Ok(self.changed_into(board, now).0)
    }

    /// The board with one column changed. Which cards must move to stay true is for the caller to ask of [`Self::home`].
    pub fn with_column_edited(&self, id: ColumnId, edit: ColumnEdit, now: Timestamp) -> Result<Self, LayoutError> {
        let mut board = self.clone();
        let at = board.columns.iter().position(|column| column.id == id).ok_or(LayoutError::NoSuchColumn)?;
        let mut column = board.columns.remove(at);
        if let Some(name) = edit.name {
            column.name = text::line("name", &name, text::MAX_NAME)?;
        }
        if let Some(new) = edit.states {
            column.states = states(new)?;
        }
        if let Some(limit) = edit.wip_limit {
            column.wip_limit = wip_limit(limit)?;
        }
        let to = edit.position.unwrap_or(at).min(board.columns.len());
        board.columns.insert(to, column);
        board.every_state_has_a_column()?;
        Ok(self.changed_into(board, now).0)
    }

    pub fn without_column(&self, id: ColumnId, now: Timestamp) -> Result<Self, LayoutError> {
        let mut board = self.clone();
        board.column(id).ok_or(LayoutError::NoSuchColumn)?;
        board.columns.retain(|column| column.id != id);
        board.every_state_has_a_column()?;
        Ok(self.changed_into(board, now).0)
    }

    /// The board as a file has it, held to the rules of every change that is made here.
    pub fn checked(mut self) -> Result<Self, LayoutError> {
        self.name = text::line("name", &self.name, text::MAX_NAME)?;
        self.description = text::prose("description", &self.description, text::MAX_DESCRIPTION)?;
        self.settings.check()?;
        if self.columns.len() > MAX_COLUMNS {
            return Err(Invalid::new("columns", format!("a board has at most {MAX_COLUMNS}")).into());
        }
        let mut ids = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            if ids.contains(&column.id) {
                return Err(Invalid::new("columns", format!("two have the id {}", column.id)).into());
            }
            ids.push(column.id);
            column.name = text::line("columns", &column.name, text::MAX_NAME)?;
            column.states = states(std::mem::take(&mut column.states))?;
            column.wip_limit = wip_limit(column.wip_limit)?;
        }
        self.every_state_has_a_column()?;
        Ok(self)
    }

    pub fn every_state_has_a_column(&self) -> Result<(), LayoutError> {
        let homeless: Vec<State> = State::ALL.into_iter().filter(|state| self.home(*state).is_none()).collect();
        if homeless.is_empty() { Ok(()) } else { Err(LayoutError::Homeless(homeless)) }
    }

    fn changed_into(&self, mut board: Self, now: Timestamp) -> (Self, Vec<&'static str>) {
        let fields = [
            ("name", self.name != board.name),
            ("description", self.description != board.description),
            ("repository_url", self.repository_url != board.repository_url),
            ("default_branch", self.default_branch != board.default_branch),
            ("columns", self.columns != board.columns),
            ("settings", self.settings != board.settings),
            ("archived_at", self.archived_at != board.archived_at),
        ];
        let changed: Vec<&'static str> =
            fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect();
        if !changed.is_empty() {
            board.version += 1;
            board.updated_at = now;
        }
        (board, changed)
    }
}

impl Column {
    pub fn holds(&self, state: State) -> bool {
        self.states.contains(&state)
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), Invalid> {
        let Retention { max_events, max_age_days } = self.retention;
        if max_events == Some(0) {
            return Err(Invalid::new(
                "settings.retention.max_events",
                "must be at least 1, or null to keep everything",
            ));
        }
        if max_age_days == Some(0) {
            return Err(Invalid::new(
                "settings.retention.max_age_days",
                "must be at least 1, or null to keep everything",
            ));
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("the board has no such column")]
    NoSuchColumn,
    #[error("no column would hold {}", list(.0))]
    Homeless(Vec<State>),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

fn list(states: &[State]) -> String {
    states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", ")
}

fn states(mut given: Vec<State>) -> Result<Vec<State>, Invalid> {
    let mut seen = Vec::new();
    given.retain(|state| {
        let new = !seen.contains(state);
        seen.push(*state);
        new
    });
    if given.is_empty() {
        return Err(Invalid::new("states", "a column holds at least one state"));
    }
    Ok(given)
}

fn wip_limit(limit: Option<u32>) -> Result<Option<u32>, Invalid> {
    if limit == Some(0) {
        return Err(Invalid::new("wip_limit", "must be at least 1, or null for none"));
    }
    Ok(limit)
}

fn default_branch(branch: Option<String>) -> Result<Option<BranchName>, Invalid> {
    branch
        .map(|branch| branch.parse())
        .transpose()
        .map_err(|error: Invalid| Invalid { field: "default_branch", ..error })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn column_id(number: u128) -> ColumnId {
        ColumnId::from_uuid(Uuid::from_u128(number))
    }

    fn board() -> Board {
        let columns = [1, 2, 3, 4, 5, 6].map(column_id);
        let new = NewBoard { name: "Demo".into(), ..NewBoard::default() };
        let key = BoardKey::from_name("Demo", |_| false);
        new.checked(BoardId::from_uuid(Uuid::from_u128(1)), key, columns, Timestamp::from_millis(0)).expect("is made")
    }

    #[test]
    fn a_fresh_board_has_a_place_for_every_state() {
        let board = board();
        for state in State::ALL {
            assert!(board.home(state).is_some(), "{state}");
        }
        assert_eq!(board.home(State::Planning).map(|column| column.name.as_str()), Some("In progress"));
    }

    #[test]
    fn the_last_column_of_a_state_stays() {
        let board = board();
        let now = Timestamp::from_millis(1);
        let refused = board.without_column(column_id(6), now).expect_err("is refused");
        assert_eq!(refused.to_string(), "no column would hold FAILED, CANCELLED");

        let second = ColumnEdit {
            name: Some("Cold".into()),
            states: Some(vec![State::Failed, State::Cancelled]),
            ..ColumnEdit::default()
        };
        let board = board.with_column(column_id(7), second, now).expect("is taken");
        assert_eq!(board.home(State::Failed).map(|column| column.id), Some(column_id(6)));
        let board = board.without_column(column_id(6), now).expect("is taken now");
        assert_eq!(board.home(State::Failed).map(|column| column.id), Some(column_id(7)));
    }

    proptest! {
        /// Whatever is done to the columns, every state keeps a column and no column is empty of states.
        #[test]
        fn no_sequence_of_edits_leaves_a_state_homeless(
            steps in prop::collection::vec((0u8..3, 0u128..9, prop::collection::vec(0usize..9, 0..4), 0usize..8), 0..40)
        ) {
            let mut board = board();
            let mut next = 100;
            for (what, which, wanted, position) in steps {
                let states: Vec<State> = wanted.into_iter().map(|at| State::ALL[at]).collect();
                let edit = ColumnEdit {
                    name: Some("x".into()),
                    states: Some(states),
                    position: Some(position),
                    ..ColumnEdit::default()
                };
                let now = Timestamp::from_millis(1);
                let at = board.columns.get(which as usize % board.columns.len()).expect("is there").id;
                let changed = match what {
                    0 => {
                        next += 1;
                        board.with_column(column_id(next), edit, now).ok()
                    }
                    1 => board.with_column_edited(at, edit, now).ok(),
                    _ => board.without_column(at, now).ok(),
                };
                if let Some(changed) = changed {
                    prop_assert!(changed.version > board.version || changed == board);
                    board = changed;
                }
                for state in State::ALL {
                    prop_assert!(board.home(state).is_some());
                }
                prop_assert!(board.columns.iter().all(|column| !column.states.is_empty()));
            }
        }
    }
}
