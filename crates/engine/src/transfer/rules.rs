//! What must hold of the tasks of a file as a whole.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kanvoy_domain::graph::any_circle;
use kanvoy_domain::{Task, TaskId, TaskNumber, Version};

use super::*;

/// Counts and versions begin with 1.
pub(super) const fn sound(count: Version) -> bool {
    count > 0 && count < TOO_HIGH
}

/// What an import remembers of the tasks, so that the whole of them can be held to the rules: no texts, but numbers and
/// arrows.
#[derive(Default)]
pub(super) struct Read {
    pub(super) known: HashMap<TaskId, Known>,
    numbers: HashMap<TaskNumber, TaskId>,
    pub(super) last_number: TaskNumber,
    /// Who bears which external reference in the store, by its fingerprint.
    references: HashMap<u128, TaskId>,
    /// Tasks whose external reference another one still bears: one that changed meanwhile, and comes again without it.
    pub(super) later: HashMap<TaskId, (Task, bool)>,
    gone: HashMap<TaskId, u64>,
    arrows: usize,
    /// The last task that an event was about and that is in no file.
    pub(super) stranger: Option<TaskId>,
}

pub(super) struct Known {
    number: TaskNumber,
    line: u64,
    deleted: bool,
    /// Most tasks have none.
    ties: Option<Box<Ties>>,
}

#[derive(Default)]
pub(super) struct Ties {
    blocked_by: Box<[TaskId]>,
    parent: Option<TaskId>,
    /// As it is in the store: a task that waits still bears its old one there.
    reference: Option<u128>,
}

pub(super) enum Goes {
    Now,
    /// An earlier one may be waiting to be restored.
    Instead,
    Later,
}

/// A refusal: the line, and what is wrong there.
pub(super) type Wrong = (u64, String);

impl Read {
    pub(super) fn task(&mut self, task: &Task, deleted: bool, line: u64) -> Result<Goes, String> {
        let (id, number) = (task.id, task.number);
        if self.numbers.get(&number).is_some_and(|other| *other != id) {
            return Err(format!("two tasks have the number {number}"));
        }
        let before = self.known.remove(&id);
        if let Some(before) = &before
            && before.number != number
        {
            return Err(format!("task {number} has the id of task {}", before.number));
        }
        if self.known.len() >= MOST_TASKS {
            return Err(format!("a file has at most {MOST_TASKS} tasks"));
        }
        let again = before.is_some();
        let ties = before.and_then(|before| before.ties).unwrap_or_default();
        self.arrows -= ties.blocked_by.len() + usize::from(ties.parent.is_some());
        self.arrows += task.blocked_by.len() + usize::from(task.parent_id.is_some());
        if self.arrows > MOST_ARROWS {
            return Err(format!("the tasks of a file wait for each other at most {MOST_ARROWS} times"));
        }
        self.later.remove(&id);
        let wanted = reference(task, deleted);
        let free = wanted.is_none_or(|wanted| self.references.get(&wanted).is_none_or(|bearer| *bearer == id));
        if free {
            self.bear(id, ties.reference, wanted);
        } else if self.later.len() >= PIECE_ITEMS as usize {
            let reference = task.external_ref.as_deref().unwrap_or_default();
            return Err(format!("task {number} has the external_ref {reference} of another task"));
        }
        let ties = Ties {
            blocked_by: task.blocked_by.clone().into_boxed_slice(),
            parent: task.parent_id,
            reference: if free { wanted } else { ties.reference },
        };
        let tied = ties.parent.is_some() || ties.reference.is_some() || !ties.blocked_by.is_empty();
        self.numbers.insert(number, id);
        self.last_number = self.last_number.max(number);
        self.known.insert(id, Known { number, line, deleted, ties: tied.then(|| Box::new(ties)) });
        Ok(match (free, again) {
            (false, _) => Goes::Later,
            (true, false) => Goes::Now,
            (true, true) => Goes::Instead,
        })
    }

    pub(super) fn bear(&mut self, id: TaskId, before: Option<u128>, now: Option<u128>) {
        if let Some(before) = before
            && self.references.get(&before) == Some(&id)
        {
            self.references.remove(&before);
        }
        if let Some(now) = now {
            self.references.insert(now, id);
        }
    }

    /// Whether it had been there.
    pub(super) fn gone(&mut self, id: TaskId, line: u64) -> bool {
        let Some(known) = self.known.remove(&id) else { return false };
        let ties = known.ties.unwrap_or_default();
        self.arrows -= ties.blocked_by.len() + usize::from(ties.parent.is_some());
        self.bear(id, ties.reference, None);
        self.numbers.remove(&known.number);
        self.later.remove(&id);
        self.gone.insert(id, line);
        true
    }

    /// The tasks that waited for their external references, which must be free by now.
    pub(super) fn settle(&mut self) -> Result<Vec<(Task, bool)>, Wrong> {
        let mut later: Vec<(Task, bool)> = std::mem::take(&mut self.later).into_values().collect();
        later.sort_unstable_by_key(|(task, _)| task.number);
        for (task, _) in &later {
            let before = self.known.get(&task.id).and_then(|known| known.ties.as_ref()).and_then(|ties| ties.reference);
            self.bear(task.id, before, None);
        }
        for (task, deleted) in &later {
            let Some(wanted) = reference(task, *deleted) else { continue };
            if let Some(bearer) = self.references.insert(wanted, task.id) {
                let (line, other) = (self.line_of(task.id), self.number_of(bearer));
                let external_ref = task.external_ref.as_deref().unwrap_or_default();
                let detail = format!("task {} has the external_ref {external_ref} of task {other}", task.number);
                return Err((line, detail));
            }
        }
        Ok(later)
    }

    /// What tasks wait for and are part of is on the board, can be seen from where it is named, and makes no circle.
    pub(super) fn ties(&self) -> Result<(), Wrong> {
        let (mut waits, mut parts) = (Vec::new(), Vec::new());
        let mut first: Option<Wrong> = None;
        for (id, known) in &self.known {
            let Some(ties) = &known.ties else { continue };
            waits.extend(ties.blocked_by.iter().map(|to| (*id, *to)));
            parts.extend(ties.parent.map(|to| (*id, to)));
            for (field, to) in ties
                .blocked_by
                .iter()
                .map(|to| ("blocked_by", to))
                .chain(ties.parent.iter().map(|to| ("parent_id", to)))
            {
                let there = match self.known.get(to) {
                    Some(target) => known.deleted || !target.deleted,
                    // The store has cut its arrow when it went.
                    None => known.deleted && self.gone.get(to).is_some_and(|gone| *gone > known.line),
                };
                if !there && first.as_ref().is_none_or(|(line, _)| known.line < *line) {
                    let detail = format!("task {}: {field}: there is no task {to} on this board", known.number);
                    first = Some((known.line, detail));
                }
            }
        }
        if let Some(first) = first {
            return Err(first);
        }
        for (arrows, what) in [(waits, "wait for each other"), (parts, "be part of each other")] {
            if let Some(way) = any_circle(&arrows) {
                let line = way.iter().map(|id| self.line_of(*id)).max().unwrap_or_default();
                let way: Vec<String> = way.iter().map(|id| self.number_of(*id).to_string()).collect();
                return Err((line, format!("tasks would {what}: {}", way.join(" → "))));
            }
        }
        Ok(())
    }

    pub(super) fn line_of(&self, id: TaskId) -> u64 {
        self.known.get(&id).map_or(0, |known| known.line)
    }

    pub(super) fn number_of(&self, id: TaskId) -> TaskNumber {
        self.known.get(&id).map_or(0, |known| known.number)
    }
}

/// A fingerprint, since a million references would be much to hold. A deleted task bears none.
fn reference(task: &Task, deleted: bool) -> Option<u128> {
    let text = task.external_ref.as_deref().filter(|_| !deleted)?;
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    Some(half(0) << 64 | half(1))
}
