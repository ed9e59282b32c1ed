//! Circles among arrows between tasks, for the checks.

use std::collections::{HashMap, HashSet};

use kanvoy_domain::{TaskId, graph};

/// Takes away whatever points at nothing, until nothing is left or only what leads into a circle.
pub fn a_circle(arrows: &[(TaskId, TaskId)]) -> Option<Vec<TaskId>> {
    let mut left: HashMap<TaskId, HashSet<TaskId>> = HashMap::new();
    let mut into: HashMap<TaskId, Vec<TaskId>> = HashMap::new();
    for (from, to) in arrows {
        left.entry(*from).or_default().insert(*to);
        into.entry(*to).or_default().push(*from);
    }
    let mut free: Vec<TaskId> = into.keys().filter(|task| !left.contains_key(task)).copied().collect();
    while let Some(task) = free.pop() {
        for from in into.remove(&task).unwrap_or_default() {
            if let Some(targets) = left.get_mut(&from) {
                targets.remove(&task);
                if targets.is_empty() {
                    left.remove(&from);
                    free.push(from);
                }
            }
        }
    }
    let mut arrows: Vec<(TaskId, TaskId)> =
        left.into_iter().flat_map(|(from, targets)| targets.into_iter().map(move |to| (from, to))).collect();
    // The same circle each time it is asked for.
    arrows.sort_unstable();
    arrows.iter().find_map(|(start, target)| graph::circle(*start, &[*target], &arrows))
}
