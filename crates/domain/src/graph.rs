//! What waits for what, and what is part of what: both must stay free of circles.

use std::collections::{HashMap, HashSet};

use crate::ids::TaskId;

/// Looks for a way from `start` back to itself if `start` came to point at `targets`, given all other arrows. The way is
/// named in order and begins and ends with `start`; `None` when there is no circle.
pub fn circle(start: TaskId, targets: &[TaskId], arrows: &[(TaskId, TaskId)]) -> Option<Vec<TaskId>> {
    let mut next: HashMap<TaskId, Vec<TaskId>> = HashMap::new();
    for (from, to) in arrows.iter().filter(|(from, _)| *from != start) {
        next.entry(*from).or_default().push(*to);
    }
    // Depth first with an explicit stack of paths' ends: `came_from` is enough to tell the way back.
    let mut came_from: HashMap<TaskId, TaskId> = HashMap::new();
    let mut seen: HashSet<TaskId> = HashSet::new();
    let mut stack: Vec<(TaskId, TaskId)> = targets.iter().rev().map(|target| (start, *target)).collect();
    while let Some((from, at)) = stack.pop() {
        if at == start {
            let mut way = vec![start];
            let mut step = from;
            while step != start {
                way.push(step);
                step = came_from[&step];
            }
            way.push(start);
            way.reverse();
            return Some(way);
        }
        if seen.insert(at) {
            came_from.insert(at, from);
            stack.extend(next.get(&at).into_iter().flatten().map(|to| (at, *to)));
        }
    }
    None
}

/// Any circle among all these arrows, named as [`circle`] names it: for many that came at once, in one walk over them.
pub fn any_circle(arrows: &[(TaskId, TaskId)]) -> Option<Vec<TaskId>> {
    let mut out: HashMap<TaskId, usize> = HashMap::new();
    let mut into: HashMap<TaskId, Vec<TaskId>> = HashMap::new();
    for (from, to) in arrows {
        *out.entry(*from).or_default() += 1;
        out.entry(*to).or_default();
        into.entry(*to).or_default().push(*from);
    }
    // What points at nothing is in no circle, nor is what then points at nothing any more.
    let mut free: Vec<TaskId> = out.iter().filter(|(_, count)| **count == 0).map(|(at, _)| *at).collect();
    while let Some(at) = free.pop() {
        out.remove(&at);
        for from in into.get(&at).into_iter().flatten() {
            if let Some(count) = out.get_mut(from) {
                *count -= 1;
                if *count == 0 {
                    free.push(*from);
                }
            }
        }
    }
    // From each of the others an arrow leads on to another of them, so that a walk comes to a place twice.
    let next: HashMap<TaskId, TaskId> =
        arrows.iter().filter(|(from, to)| out.contains_key(from) && out.contains_key(to)).copied().collect();
    let mut at = *next.keys().min()?;
    let mut seen = HashSet::new();
    while seen.insert(at) {
        at = *next.get(&at)?;
    }
    let mut way = vec![at];
    loop {
        let step = *next.get(way.last()?)?;
        way.push(step);
        if step == at {
            return Some(way);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn task(number: u128) -> TaskId {
        TaskId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn names_the_way() {
        let arrows = [(task(2), task(3)), (task(3), task(4)), (task(4), task(1)), (task(2), task(9))];
        assert_eq!(circle(task(1), &[task(2)], &arrows), Some(vec![task(1), task(2), task(3), task(4), task(1)]));
        assert_eq!(circle(task(1), &[task(1)], &arrows), Some(vec![task(1), task(1)]));
        assert_eq!(circle(task(1), &[task(9)], &arrows), None);
        // Old arrows of the task itself are being replaced: they do not count.
        assert_eq!(circle(task(4), &[task(9)], &arrows), None);
    }

    proptest! {
        /// Adding arrows one by one, only where no circle is found, never makes a circle (checked by sorting), and each
        /// refusal is a real one (checked by walking it).
        #[test]
        fn no_sequence_makes_a_circle(asked in prop::collection::vec((0u128..12, 0u128..12), 0..80)) {
            let mut arrows: Vec<(TaskId, TaskId)> = Vec::new();
            for (from, to) in asked {
                let (from, to) = (task(from), task(to));
                let mut targets: Vec<TaskId> =
                    arrows.iter().filter(|(start, _)| *start == from).map(|(_, to)| *to).collect();
                targets.push(to);
                match circle(from, &targets, &arrows) {
                    None => arrows.push((from, to)),
                    Some(way) => {
                        prop_assert_eq!(way.first(), way.last());
                        for step in way.windows(2) {
                            let known = arrows.contains(&(step[0], step[1])) || (step[0], step[1]) == (from, to);
                            prop_assert!(known, "{:?} is no arrow", step);
                        }
                    }
                }
            }
            let mut left: HashSet<TaskId> = (0..12).map(task).collect();
            while let Some(free) =
                left.iter().copied().find(|at| !arrows.iter().any(|(from, to)| from == at && left.contains(to)))
            {
                left.remove(&free);
            }
            prop_assert!(left.is_empty());
            prop_assert_eq!(any_circle(&arrows), None);
        }

        /// What is found is a circle, and what is not found is none.
        #[test]
        fn any_circle_is_found(asked in prop::collection::vec((0u128..12, 0u128..12), 0..30)) {
            let arrows: Vec<(TaskId, TaskId)> = asked.into_iter().map(|(from, to)| (task(from), task(to))).collect();
            match any_circle(&arrows) {
                Some(way) => {
                    prop_assert!(way.len() > 1 && way.first() == way.last());
                    for step in way.windows(2) {
                        prop_assert!(arrows.contains(&(step[0], step[1])), "{:?} is no arrow", step);
                    }
                }
                None => for (from, to) in &arrows {
                    let targets: Vec<TaskId> =
                        arrows.iter().filter(|(start, _)| start == from).map(|(_, to)| *to).collect();
                    prop_assert_eq!(circle(*from, &targets, &arrows), None, "by way of {:?}", to);
                },
            }
        }
    }
}
