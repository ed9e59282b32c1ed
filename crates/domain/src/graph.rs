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
        }
    }
}
