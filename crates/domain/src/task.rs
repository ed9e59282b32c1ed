//! A piece of work: its row, what somebody may say when making or changing one, and what keeps it from being removed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{BoardId, ColumnId, TaskId};
use crate::rank::Rank;
use crate::state::State;
use crate::text::{self, AgentTypeName, BranchName, Invalid, RepositoryUrl};
use crate::time::Timestamp;

/// The `12` of `KAN-12`: counted per board, given by the store in the commit that makes the task, never reused.
pub type TaskNumber = u64;

/// Grows with every edit by a person; sent back with a change, it keeps one edit from undoing another unseen.
pub type Version = u64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Urgent,
    High,
    #[default]
    Normal,
    Low,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Urgent, Self::High, Self::Normal, Self::Low];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a priority: one of urgent, high, normal, low")]
pub struct NotAPriority;

impl FromStr for Priority {
    type Err = NotAPriority;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text).ok_or(NotAPriority)
    }
}

/// Why a task failed: a code to branch on and a sentence to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: String,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_tail: Option<String>,
}

/// The row. What is derived from other rows (waiting, live, open requests) is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub board_id: BoardId,
    /// 0 until the store has given it one.
    pub number: TaskNumber,
    pub title: String,
    pub description: String,
    pub state: State,
    pub column_id: ColumnId,
    pub rank: Rank,
    pub priority: Priority,
    pub agent_type: Option<AgentTypeName>,
    pub repository_url: Option<RepositoryUrl>,
    pub branch: Option<BranchName>,
    pub labels: Vec<String>,
    pub blocked_by: Vec<TaskId>,
    pub parent_id: Option<TaskId>,
    pub external_ref: Option<String>,
    pub attempts: u32,
    pub failure: Option<Failure>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub archived_at: Option<Timestamp>,
    pub version: Version,
    /// Grows with every write of the row, by whomever: fences a read-modify-write, and is nobody's business outside.
    #[serde(skip, default = "first_rev")]
    pub rev: u64,
}

const fn first_rev() -> u64 {
    1
}

pub const MAX_BLOCKED_BY: usize = 100;

/// A task that was tried more often was not tried but written down wrongly.
pub const MAX_ATTEMPTS: u32 = 1_000_000;

/// What somebody says when making a task; everything is checked by [`NewTask::checked`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTask {
    pub title: String,
    pub description: String,
    pub state: Option<State>,
    pub priority: Priority,
    pub agent_type: Option<String>,
    pub repository_url: Option<String>,
    pub branch: Option<String>,
    pub labels: Vec<String>,
    pub blocked_by: Vec<TaskId>,
    pub parent_id: Option<TaskId>,
    pub external_ref: Option<String>,
}

/// Where a new task is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub board_id: BoardId,
    pub column_id: ColumnId,
    pub rank: Rank,
}

impl NewTask {
    /// A task begins parked or ready; everything later is reached by moving it.
    pub fn first_state(&self) -> Result<State, Invalid> {
        match self.state {
            None | Some(State::Todo) => Ok(State::Todo),
            Some(State::Backlog) => Ok(State::Backlog),
            Some(other) => Err(Invalid::new("state", format!("a task begins as BACKLOG or TODO, not as {other}"))),
        }
    }

    pub fn checked(self, id: TaskId, place: Place, now: Timestamp) -> Result<Task, Invalid> {
        let state = self.first_state()?;
        Ok(Task {
            id,
            board_id: place.board_id,
            number: 0,
            title: text::line("title", &self.title, text::MAX_TITLE)?,
            description: text::prose("description", &self.description, text::MAX_DESCRIPTION)?,
            state,
            column_id: place.column_id,
            rank: place.rank,
            priority: self.priority,
            agent_type: parsed(self.agent_type)?,
            repository_url: parsed(self.repository_url)?,
            branch: parsed(self.branch)?,
            labels: text::labels(&self.labels)?,
            blocked_by: blockers(self.blocked_by)?,
            parent_id: self.parent_id,
            external_ref: external_ref(self.external_ref)?,
            attempts: 0,
            failure: None,
            created_at: now,
            updated_at: now,
            archived_at: None,
            version: 1,
            rev: first_rev(),
        })
    }
}

/// What somebody changes of a task. `None` leaves a field alone; `Some(None)` clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskEdit {
    pub title: Option<String>,
    pub description: Option<String>,
    pub priority: Option<Priority>,
    pub agent_type: Option<Option<String>>,
    pub repository_url: Option<Option<String>>,
    pub branch: Option<Option<String>>,
    pub labels: Option<Vec<String>>,
    pub blocked_by: Option<Vec<TaskId>>,
    pub parent_id: Option<Option<TaskId>>,
    pub external_ref: Option<Option<String>>,
    pub archived: Option<bool>,
}

impl Task {
    /// The task after the edit, with the names of the fields that really changed. Nothing changed, nothing grows.
    pub fn edited(&self, edit: TaskEdit, now: Timestamp) -> Result<(Self, Vec<&'static str>), Invalid> {
        let mut task = self.clone();
        if let Some(title) = edit.title {
            task.title = text::line("title", &title, text::MAX_TITLE)?;
        }
        if let Some(description) = edit.description {
            task.description = text::prose("description", &description, text::MAX_DESCRIPTION)?;
        }
        if let Some(priority) = edit.priority {
            task.priority = priority;
        }
        if let Some(agent_type) = edit.agent_type {
            task.agent_type = parsed(agent_type)?;
        }
        if let Some(repository_url) = edit.repository_url {
            task.repository_url = parsed(repository_url)?;
        }
        if let Some(branch) = edit.branch {
            task.branch = parsed(branch)?;
        }
        if let Some(labels) = edit.labels {
            task.labels = text::labels(&labels)?;
        }
        if let Some(blocked_by) = edit.blocked_by {
            task.blocked_by = blockers(blocked_by)?;
        }
        if let Some(parent_id) = edit.parent_id {
            task.parent_id = parent_id;
        }
        if let Some(reference) = edit.external_ref {
            task.external_ref = external_ref(reference)?;
        }
        if let Some(archived) = edit.archived {
            task.archived_at = archived.then(|| self.archived_at.unwrap_or(now));
        }
        let changed = self.differences(&task);
        if !changed.is_empty() {
            task.touched(now);
        }
        Ok((task, changed))
    }

    /// The task as a file has it, held to the rules of every change that is made here.
    pub fn checked(mut self) -> Result<Self, Invalid> {
        self.title = text::line("title", &self.title, text::MAX_TITLE)?;
        self.description = text::prose("description", &self.description, text::MAX_DESCRIPTION)?;
        self.labels = text::labels(&self.labels)?;
        self.blocked_by = blockers(self.blocked_by)?;
        self.external_ref = external_ref(self.external_ref)?;
        if self.attempts > MAX_ATTEMPTS {
            return Err(Invalid::new("attempts", format!("are {}; at most {MAX_ATTEMPTS} are taken", self.attempts)));
        }
        if let Some(failure) = &self.failure {
            text::line("failure", &failure.code, text::MAX_NAME)?;
        }
        Ok(self)
    }

    /// Counts a person's change.
    pub fn touched(&mut self, now: Timestamp) {
        self.version += 1;
        self.updated_at = now;
    }

    /// The fields, by their names outside, in which the two differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let fields = [
            ("title", self.title != other.title),
            ("description", self.description != other.description),
            ("column_id", self.column_id != other.column_id),
            ("rank", self.rank != other.rank),
            ("priority", self.priority != other.priority),
            ("agent_type", self.agent_type != other.agent_type),
            ("repository_url", self.repository_url != other.repository_url),
            ("branch", self.branch != other.branch),
            ("labels", self.labels != other.labels),
            ("blocked_by", self.blocked_by != other.blocked_by),
            ("parent_id", self.parent_id != other.parent_id),
            ("external_ref", self.external_ref != other.external_ref),
            ("archived_at", self.archived_at != other.archived_at),
        ];
        fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    /// Everything that search looks at, folded.
    pub fn search_text(&self) -> String {
        let mut all = String::with_capacity(self.title.len() + self.description.len() + 32);
        all.push_str(&self.title);
        for part in self.labels.iter().chain(&self.external_ref) {
            all.push('\n');
            all.push_str(part);
        }
        all.push('\n');
        all.push_str(&self.description);
        text::folded(&all)
    }
}

fn parsed<T: FromStr<Err = Invalid>>(text: Option<String>) -> Result<Option<T>, Invalid> {
    text.map(|text| text.parse()).transpose()
}

fn external_ref(text: Option<String>) -> Result<Option<String>, Invalid> {
    text.map(|text| text::line("external_ref", &text, text::MAX_EXTERNAL_REF)).transpose()
}

fn blockers(mut given: Vec<TaskId>) -> Result<Vec<TaskId>, Invalid> {
    if given.len() > MAX_BLOCKED_BY {
        return Err(Invalid::new(
            "blocked_by",
            format!("names {} tasks; at most {MAX_BLOCKED_BY} are taken", given.len()),
        ));
    }
    let mut seen = Vec::with_capacity(given.len());
    given.retain(|id| {
        let new = !seen.contains(id);
        seen.push(*id);
        new
    });
    // Kept in the order of the ids, which is how the store gives them back.
    given.sort_unstable();
    Ok(given)
}

/// Something that keeps a task or a board from being removed: named, so that a person can mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    pub number: TaskNumber,
    pub because: Because,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It is at work.
    Active(State),
    /// It waits for the task that is to be removed.
    WaitsForIt,
    /// It is a part of the task that is to be removed.
    IsPartOfIt,
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.because {
            Because::Active(state) => write!(f, "#{} is {state}", self.number),
            Because::WaitsForIt => write!(f, "#{} waits for it", self.number),
            Because::IsPartOfIt => write!(f, "#{} is a sub-task of it", self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn place() -> Place {
        let id = Uuid::from_u128(7);
        Place {
            board_id: BoardId::from_uuid(id),
            column_id: ColumnId::from_uuid(id),
            rank: Rank::arrived(Timestamp::from_millis(0)),
        }
    }

    fn task(new: NewTask) -> Result<Task, Invalid> {
        new.checked(TaskId::from_uuid(Uuid::from_u128(1)), place(), Timestamp::from_millis(1))
    }

    fn titled(title: &str) -> NewTask {
        NewTask { title: title.into(), ..NewTask::default() }
    }

    #[test]
    fn a_task_begins_parked_or_ready() {
        assert_eq!(task(titled("a")).expect("is made").state, State::Todo);
        assert_eq!(
            task(NewTask { state: Some(State::Backlog), ..titled("a") }).expect("is made").state,
            State::Backlog
        );
        for state in State::ALL.into_iter().filter(|state| !matches!(state, State::Backlog | State::Todo)) {
            assert!(task(NewTask { state: Some(state), ..titled("a") }).is_err(), "{state}");
        }
    }

    #[test]
    fn an_edit_names_what_changed_and_counts_once() {
        let before = task(titled("a")).expect("is made");
        let edit = TaskEdit { title: Some("b".into()), priority: Some(Priority::Normal), ..TaskEdit::default() };
        let (after, changed) = before.edited(edit, Timestamp::from_millis(2)).expect("is taken");
        assert_eq!(changed, ["title"]);
        assert_eq!((after.version, after.updated_at.millis()), (2, 2));

        let (same, changed) = after.edited(TaskEdit::default(), Timestamp::from_millis(3)).expect("is taken");
        assert_eq!((same.version, changed.len()), (2, 0));

        let clear = TaskEdit { external_ref: Some(None), ..TaskEdit::default() };
        let referred = Task { external_ref: Some("GH-1".into()), ..after };
        assert_eq!(referred.edited(clear, Timestamp::from_millis(3)).expect("is taken").0.external_ref, None);
    }

    #[test]
    fn search_sees_title_labels_reference_and_description() {
        let new = NewTask {
            description: "Users CAN'T log in".into(),
            labels: vec!["Bug".into()],
            external_ref: Some("GH-7".into()),
            ..titled("Größe")
        };
        assert_eq!(task(new).expect("is made").search_text(), "größe\nbug\ngh-7\nusers can't log in");
    }
}
