//! Tasks, their numbers and their arrows.

use std::collections::BTreeSet;

use kanvoy_domain::event::{EventKind, Log, NewEvent};
use kanvoy_domain::task::{Failure, TaskEdit};
use kanvoy_domain::{Actor, Priority, State, Task, TaskId};
use tokio::task::JoinSet;

use super::world::{World, assert_refused, seqs};
use crate::{Blocker, Change, Commit, Edge, EdgeKind, StoreError, TaskQuery};

pub(super) async fn tasks_are_made_and_changed(world: &World) {
    let board = world.board("TASK").await;
    let mut task = world.unmade_task(&board, "Made with everything");
    task.description = "Several\nlines, an ümlaut and 看板.".into();
    task.priority = Priority::High;
    task.agent_type = Some("demo".parse().expect("a name"));
    task.repository_url = Some("https://example.com/repo".parse().expect("a url"));
    task.branch = Some("main".parse().expect("a branch"));
    task.labels = vec!["ui".into(), "a bug, really".into()];
    task.external_ref = Some("GH-1".into());
    task.attempts = 3;
    let failure =
        Failure { code: "exit".into(), detail: "It went.".into(), exit_code: Some(1), oom: None, stderr_tail: None };
    task.failure = Some(failure);
    let task = world.add(task).await;
    assert_eq!(task.number, 1);
    let row = world.seen_task(task.id).await.expect("is there");
    assert_eq!(row.task, task, "a task is read as it was written");
    assert_eq!(world.store.task_numbered(board.id, 1).await.expect("reads"), Some(row));
    let log = world.log(Log::Board(board.id)).await;
    let created: serde_json::Value = serde_json::from_slice(&log[1].text).expect("an event is JSON");
    assert_eq!(
        (&created["seq"], &created["data"]["task"]["number"]),
        (&2.into(), &1.into()),
        "the event knows the number"
    );

    let edit = TaskEdit {
        title: Some("Changed".into()),
        labels: Some(vec![]),
        agent_type: Some(None),
        external_ref: Some(Some("GH-2".into())),
        archived: Some(true),
        ..TaskEdit::default()
    };
    let (mut edited, _) = task.edited(edit, world.now()).expect("an edit");
    edited.state = State::InProgress;
    edited.column_id = board.home(State::InProgress).expect("has one").id;
    edited.failure = None;
    let moved = world.moved(task.state, &edited);
    world.commit(vec![Change::Task(edited.clone())], vec![moved]).await.expect("is changed");
    let now = Task { rev: 2, ..edited.clone() };
    assert_eq!(world.seen_task(task.id).await.expect("is there").task, now);
    assert_refused!(world.change(Change::Task(edited)).await, StoreError::Conflict);
    assert_refused!(world.change(Change::Task(world.unmade_task(&board, "Never made"))).await, StoreError::NotFound);
    let again = Task { external_ref: None, ..now.clone() };
    assert_refused!(world.change(Change::NewTask(again)).await, StoreError::Taken("id"));

    let mut second = world.unmade_task(&board, "The same reference");
    second.external_ref = Some("GH-2".into());
    assert_refused!(world.change(Change::NewTask(second.clone())).await, StoreError::Taken("external_ref"));
    second.external_ref = Some("GH-1".into());
    let second = world.add(second).await;
    assert_eq!(second.number, 2, "what was refused has used no number");
    let taken = Task { external_ref: Some("GH-2".into()), ..second.clone() };
    assert_refused!(world.change(Change::Task(taken)).await, StoreError::Taken("external_ref"));
    world.change(Change::DeleteTask(now)).await.expect("is deleted");
    let free = Task { external_ref: Some("GH-2".into()), ..second };
    world.change(Change::Task(free)).await.expect("a deleted task holds no reference");

    // All or nothing: a commit of two, of which one is refused, and its event.
    let (good, stale) = (world.unmade_task(&board, "Good"), Task { rev: 9, ..world.task(&board, "Stale").await });
    let head = world.store.head(Log::Board(board.id)).await.expect("reads");
    let events = vec![world.note(Log::Board(board.id), "never")];
    let both = vec![Change::NewTask(good.clone()), Change::Task(stale)];
    assert_refused!(world.commit(both, events).await, StoreError::Conflict);
    assert_eq!(world.seen_task(good.id).await, None);
    assert_eq!(world.store.head(Log::Board(board.id)).await.expect("reads"), head);
    let known = world.store.known_tasks(board.id, &[good.id, free_id(world), task.id]).await.expect("reads");
    assert_eq!(known, [], "neither unmade nor deleted tasks are known");
}

fn free_id(world: &World) -> TaskId {
    TaskId::from_uuid(world.uuid())
}

/// Sixty-four callers at once, every fifth of whose commits fails in one way or another, on two boards.
pub(super) async fn numbers_have_no_holes(world: &World) {
    const CALLERS: usize = 64;
    const EACH: usize = 10;
    let boards = [world.board("MANY1").await, world.board("MANY2").await];
    let shared = world.task(&boards[0], "Everybody changes it").await;
    let (bell, mut rings) = tokio::sync::mpsc::channel(100_000);
    world.teller.set_bell(Some(bell));
    let store = world.store.clone();
    let mut watcher = JoinSet::new();
    watcher.spawn(async move {
        while let Some((log, seq)) = rings.recv().await {
            let head = store.head(log).await.expect("reads");
            assert!(head >= seq, "{seq} was told before it could be read: the head is {head}");
        }
    });

    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        for turn in 0..EACH {
            let board = &boards[caller / 7 % 2];
            let log = Log::Board(board.id);
            let mut task = world.unmade_task(board, "One of many");
            let created = NewEvent::created(&task, world.now(), Actor::person("ada"));
            let noted = world.note(log, "one of many");
            let commit = match (caller + turn * 7) % 10 {
                0 => {
                    task.column_id = kanvoy_domain::ColumnId::from_uuid(world.uuid());
                    Commit::new(vec![Change::NewTask(task)], vec![created])
                }
                1 => {
                    task.external_ref = Some("only one of us".into());
                    Commit::new(vec![Change::NewTask(task)], vec![created])
                }
                2 => Commit::new(vec![Change::NewTask(task), Change::Task(shared.clone())], vec![created, noted]),
                3 => Commit::new(vec![Change::Task(shared.clone())], vec![noted.clone(), noted]),
                4 => Commit::new(Vec::new(), vec![noted, world.note(Log::System, "for the system")]),
                _ => Commit::new(vec![Change::NewTask(task)], vec![created, noted]),
            };
            let store = world.store.clone();
            callers.spawn(async move { (commit.clone(), store.commit(commit).await) });
        }
    }
    let mut given = [BTreeSet::new(), BTreeSet::new()];
    let mut numbers = [BTreeSet::new(), BTreeSet::from([shared.number])];
    numbers.reverse();
    let (mut shared_changed, mut reference_taken, mut failed) = (0, 0, 0);
    while let Some(done) = callers.join_next().await {
        let (commit, result) = done.expect("no caller panics");
        let place = |log: Log| boards.iter().position(|board| Log::Board(board.id) == log);
        match result {
            Ok(committed) => {
                assert_eq!(committed.seqs.len(), commit.events.len());
                for (event, seq) in commit.events.iter().zip(&committed.seqs) {
                    if let Some(at) = place(event.log) {
                        assert!(given[at].insert(*seq), "{seq} was given twice");
                    }
                }
                let mut numbered = committed.numbers.iter();
                for change in &commit.changes {
                    match change {
                        Change::NewTask(task) => {
                            let number = *numbered.next().expect("a number for each");
                            let at = place(Log::Board(task.board_id)).expect("one of the two");
                            assert!(numbers[at].insert(number), "{number} was given twice");
                            reference_taken += usize::from(task.external_ref.is_some());
                            let row = world.seen_task(task.id).await.expect("what was committed is there");
                            assert_eq!(row.task.number, number);
                        }
                        Change::Task(_) => shared_changed += 1,
                        other => panic!("nobody has sent {other:?}"),
                    }
                }
            }
            Err(StoreError::Conflict | StoreError::Taken("external_ref")) => failed += 1,
            Err(other) => panic!("nobody expects {other:?}"),
        }
    }
    assert_eq!(shared_changed, 1, "of those who have read the same row, one changes it");
    assert_eq!(reference_taken, 2, "one on each board has the reference");
    assert!(failed > 100, "{failed} have failed, as they should");
    world.teller.set_bell(None);
    watcher.join_next().await.expect("watched").expect("nothing was told before it could be read");

    for (at, board) in boards.iter().enumerate() {
        let row = world.store.board(board.id).await.expect("reads").expect("is there");
        let log = world.log(Log::Board(board.id)).await;
        assert_eq!(seqs(&log), (1..=row.head_seq).collect::<Vec<_>>(), "the log has no hole");
        let count = numbers[at].len() as u64;
        assert_eq!(numbers[at], (1..=count).collect(), "the numbers have no hole");
        assert_eq!(row.next_number, count + 1);
        assert_eq!(world.teller.told_of(Log::Board(board.id)), log, "all of it was told, in order");
    }
}

pub(super) async fn arrows_are_counted(world: &World) {
    let board = world.board("ARROW").await;
    let other = world.task(&world.board("ARROW2").await, "On another board").await;
    let (first, second) = (world.task(&board, "First").await, world.task(&board, "Second").await);
    let mut third = world.unmade_task(&board, "Waits for both, is part of the first");
    third.blocked_by = vec![first.id, second.id];
    third.parent_id = Some(first.id);
    let counted = 0;
    let arrows = Change::Arrows { board: board.id, counted };
    let committed = world.commit(vec![arrows.clone(), Change::NewTask(third.clone())], vec![]).await;
    third.number = committed.expect("is made").numbers[0];
    let row = world.seen_task(third.id).await.expect("is there");
    assert_eq!(row.task, third);
    let blocker = |task: &Task| Blocker { id: task.id, number: task.number, state: task.state };
    assert_eq!(row.blockers, [blocker(&first), blocker(&second)]);
    let edge = |kind, from: &Task, to: &Task| Edge { kind, from: from.id, to: to.id };
    let (mut edges, counted) = world.store.edges(board.id).await.expect("reads");
    edges.sort_by_key(|edge| (edge.kind == EdgeKind::PartOf, edge.to));
    let waits = |to| edge(EdgeKind::WaitsFor, &third, to);
    assert_eq!(edges, [waits(&first), waits(&second), edge(EdgeKind::PartOf, &third, &first)]);
    assert_eq!(counted, 1);

    let mut back = first.clone();
    back.blocked_by = vec![second.id];
    assert_refused!(world.commit(vec![arrows, Change::Task(back.clone())], vec![]).await, StoreError::Conflict);
    assert_eq!(world.seen_task(first.id).await.expect("is there").task, first, "a stale count changes nothing");
    let arrows = Change::Arrows { board: board.id, counted };
    world.commit(vec![arrows, Change::Task(back)], vec![]).await.expect("the right count does");
    assert_eq!(world.store.edges(board.id).await.expect("reads").1, 2);

    for wrong in [vec![other.id], vec![free_id(world)], vec![second.id, other.id]] {
        let task = Task { blocked_by: wrong.clone(), ..third.clone() };
        assert_refused!(world.change(Change::Task(task)).await, StoreError::Conflict);
        let task = Task { blocked_by: wrong, ..world.unmade_task(&board, "Waits for what is not there") };
        assert_refused!(world.change(Change::NewTask(task)).await, StoreError::Conflict);
    }
    let task = Task { parent_id: Some(other.id), ..third.clone() };
    assert_refused!(world.change(Change::Task(task)).await, StoreError::Conflict);
    let task = Task { parent_id: Some(other.id), ..world.unmade_task(&board, "Part of what is elsewhere") };
    assert_refused!(world.change(Change::NewTask(task)).await, StoreError::Conflict);

    let done = Task {
        state: State::Completed,
        column_id: board.home(State::Completed).expect("has one").id,
        ..second.clone()
    };
    let moved = world.moved(second.state, &done);
    world.commit(vec![Change::Task(done)], vec![moved]).await.expect("is done");
    let row = world.seen_task(third.id).await.expect("is there");
    assert_eq!(row.blockers[1].state, State::Completed, "a blocker is seen as it stands");
    let free = Task { blocked_by: vec![second.id], parent_id: None, ..third.clone() };
    world.change(Change::Task(free)).await.expect("waits for less");
    let row = world.seen_task(third.id).await.expect("is there");
    assert_eq!((row.task.blocked_by, row.task.parent_id), (vec![second.id], None));
}

pub(super) async fn tasks_are_hidden_and_purged(world: &World) {
    let board = world.board("HIDE").await;
    let log = Log::Board(board.id);
    let (gone, child, stays) =
        (world.task(&board, "Goes").await, world.task(&board, "Its child").await, world.task(&board, "Stays").await);
    let child = Task { parent_id: Some(gone.id), blocked_by: vec![gone.id], ..child };
    world.change(Change::Task(child.clone())).await.expect("is changed");
    let noted = world.note(log, "about the one that goes").about(gone.id);
    let seq = world.commit(vec![], vec![noted]).await.expect("is noted").seq();

    world.change(Change::DeleteTask(gone.clone())).await.expect("is deleted");
    assert_refused!(world.change(Change::DeleteTask(gone.clone())).await, StoreError::NotFound);
    assert_refused!(world.change(Change::Task(Task { rev: 2, ..gone.clone() })).await, StoreError::NotFound);
    assert_eq!(world.seen_task(gone.id).await, None);
    assert_eq!(world.store.task_numbered(board.id, gone.number).await.expect("reads"), None);
    let hidden = world.store.deleted_task(gone.id).await.expect("reads").expect("is there");
    assert_eq!((hidden.title.as_str(), hidden.number), ("Goes", gone.number));
    assert_eq!(world.store.deleted_task(stays.id).await.expect("reads"), None);
    let listed = world.list(&TaskQuery { board: Some(board.id), limit: 1, ..TaskQuery::default() }).await;
    assert_eq!(listed.iter().map(|row| row.task.id).collect::<Vec<_>>(), [child.id, stays.id]);
    assert_eq!(listed[0].task.blocked_by, [], "what is hidden is not waited for");
    assert_eq!((listed[0].blockers.len(), listed[0].task.parent_id), (0, None));
    assert_eq!(world.store.edges(board.id).await.expect("reads").0, []);
    assert_eq!(world.store.lie_of(gone.column_id).await.expect("reads").len(), 2);
    let before = world.log(log).await;
    assert!(before.iter().any(|event| event.task == Some(gone.id)), "its events stay until they are purged");

    let at = world.now();
    let purge = |task: &Task| Change::PurgeTask { task: task.id, board: board.id, at };
    world.commit(vec![purge(&gone)], vec![world.note(log, "purged")]).await.expect("is purged");
    assert_refused!(world.change(purge(&gone)).await, StoreError::NotFound);
    let late = world.note(log, "late, about the one that is gone").about(gone.id);
    assert_refused!(world.commit(vec![], vec![late]).await, StoreError::NotFound);
    assert_eq!(world.store.deleted_task(gone.id).await.expect("reads"), None);
    let after = world.log(log).await;
    assert_eq!(seqs(&after), (1..=before.len() as u64 + 1).collect::<Vec<_>>(), "no hole is left");
    for (before, after) in before.iter().zip(&after) {
        if before.task == Some(gone.id) {
            let text: serde_json::Value = serde_json::from_slice(&after.text).expect("a tombstone is JSON");
            assert_eq!((after.kind, after.task), (EventKind::StreamGap, None));
            let data = serde_json::json!({ "from": before.seq, "to": before.seq, "reason": "purged" });
            assert_eq!((&text["seq"], &text["data"]), (&before.seq.into(), &data));
            assert_eq!(text["timestamp"], at.to_string());
        } else {
            assert_eq!(before, after);
        }
    }
    assert!(after.iter().any(|event| event.seq == seq && event.kind == EventKind::StreamGap));
    let exported = world.store.export_tasks(board.id, 0, 10).await.expect("reads");
    let child_now = &exported[0].0;
    assert_eq!((exported.len(), child_now.id, child_now.parent_id), (2, child.id, None));
    let next = world.task(&board, "The next").await;
    assert_eq!(next.number, 4, "the number of a purged task is not used again");
}
