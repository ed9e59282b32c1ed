//! Moving a board with its log, as an import does.

use kanvoy_domain::event::{self, EventKind, Log, NewEvent};
use kanvoy_domain::{Actor, Board, BoardId, ColumnId, Task, TaskId};
use serde_json::json;

use super::world::{World, assert_refused, seqs};
use crate::{Change, Restored, StoreError, StoredEvent};

/// Out of one board and into another, under another key and other ids, as two daemons would do it.
pub(super) async fn a_board_moves_with_its_log(world: &World) {
    let board = world.board("FROM").await;
    let log = Log::Board(board.id);
    let deleted = world.task(&board, "Deleted").await;
    let late = world.task(&board, "Waited for").await;
    let early = Task { blocked_by: vec![late.id], parent_id: Some(late.id), ..deleted.clone() };
    world.change(Change::Task(early)).await.expect("is changed");
    let deleted = world.seen_task(deleted.id).await.expect("is there").task;
    world.change(Change::DeleteTask(deleted)).await.expect("is deleted");
    world.commit(vec![Change::Prune { board: board.id, through: 1 }], vec![]).await.expect("is pruned");
    let exported = world.store.export_tasks(board.id, 0, 1).await.expect("reads");
    assert_eq!((exported.len(), exported[0].1), (1, true), "a deleted task is exported as one");
    assert_eq!((exported[0].0.blocked_by.as_slice(), exported[0].0.parent_id), (&[late.id][..], Some(late.id)));
    let rest = world.store.export_tasks(board.id, 1, 10).await.expect("reads");
    assert_eq!(rest.iter().map(|(task, deleted)| (task.id, *deleted)).collect::<Vec<_>>(), [(late.id, false)]);
    let events = world.log(log).await;
    assert_eq!(events[0].kind, EventKind::StreamGap);

    let moved = Board { key: "TO".parse().expect("a key"), ..renamed_board(world, &board) };
    let column_of = |old: ColumnId| {
        let at = board.columns.iter().position(|column| column.id == old).expect("one of its columns");
        moved.columns[at].id
    };
    let id_of = |old: TaskId| {
        if old == late.id {
            TaskId::from_uuid(uuid::Uuid::from_u128(77))
        } else {
            TaskId::from_uuid(uuid::Uuid::from_u128(78))
        }
    };
    let renamed = |task: &Task| Task {
        id: id_of(task.id),
        board_id: moved.id,
        column_id: column_of(task.column_id),
        blocked_by: task.blocked_by.iter().copied().map(id_of).collect(),
        parent_id: task.parent_id.map(id_of),
        ..task.clone()
    };
    let tasks: Vec<(Task, bool)> = exported.iter().chain(&rest).map(|(task, gone)| (renamed(task), *gone)).collect();
    let restore = |piece: Restored| world.change(Change::Restore(piece));

    restore(Restored::Board(Box::new(moved.clone()))).await.expect("begins");
    let same_key = Board { id: BoardId::from_uuid(world.uuid()), ..moved.clone() };
    let same_key = Board { columns: renamed_board(world, &board).columns, ..same_key };
    assert_refused!(restore(Restored::Board(Box::new(same_key))).await, StoreError::Taken("key"));
    let same_id = Board { key: "TOO".parse().expect("a key"), ..moved.clone() };
    assert_refused!(restore(Restored::Board(Box::new(same_id))).await, StoreError::Taken("id"));
    let older = vec![(Task { title: "An older state of it".into(), ..tasks[0].0.clone() }, false)];
    restore(Restored::Tasks(older)).await.expect("refers to what is still to come");
    restore(Restored::Tasks(tasks.clone())).await.expect("replaces what came before");
    let stolen = vec![(Task { id: late.id, ..tasks[1].0.clone() }, false)];
    assert_refused!(restore(Restored::Tasks(stolen)).await, StoreError::Taken(_));
    assert!(world.seen_task(late.id).await.is_some(), "another board's task is out of an import's reach");
    for piece in events.chunks(2) {
        let events = piece.to_vec();
        restore(Restored::Events { board: moved.id, events }).await.expect("goes on");
    }
    let hole = vec![StoredEvent {
        seq: 40,
        text: event::with_seq(40, ",\"timestamp\":\"2026-11-20T07:00:00Z\"}").into(),
        ..events[1].clone()
    }];
    assert_refused!(restore(Restored::Events { board: moved.id, events: hole }).await, StoreError::Damaged(_));
    assert_eq!(world.seen_board(moved.id).await, None, "hidden until it is finished");
    assert_eq!(world.store.half_imported().await.expect("reads"), [moved.id]);
    assert_refused!(world.change(Change::Board(moved.clone())).await, StoreError::NotFound);

    let head = events.last().expect("has some").seq;
    let finished = Restored::Finished { board: moved.id, head, next_number: 2 };
    let imported =
        NewEvent::new(Log::Board(moved.id), EventKind::BoardImported, world.now(), Actor::person("ada"), &json!({}));
    let committed = world.commit(vec![Change::Restore(finished)], vec![imported]).await.expect("is finished");
    assert_eq!(committed.seq(), head + 1);
    assert_eq!(world.store.half_imported().await.expect("reads"), []);
    assert_eq!(world.seen_board(moved.id).await, Some(moved.clone()));
    let again = world.store.export_tasks(moved.id, 0, 10).await.expect("reads");
    assert_eq!(again, tasks, "tasks are as they were");
    let log = world.log(Log::Board(moved.id)).await;
    assert_eq!(seqs(&log)[1..], seqs(&events)[1..].iter().copied().chain([head + 1]).collect::<Vec<_>>());
    for (before, after) in events.iter().zip(&log).skip(1) {
        assert_eq!(before, after, "events are kept to the letter");
    }
    assert_eq!((log[0].kind, log[0].seq), (events[0].kind, events[0].seq), "what was pruned is a gap still");
    assert_eq!(world.task(&moved, "Goes on").await.number, 3, "not below the highest that was restored");
    assert!(world.teller.told_of(Log::Board(moved.id)).iter().all(|event| event.seq > head));
}

fn renamed_board(world: &World, board: &Board) -> Board {
    let mut moved = Board { id: BoardId::from_uuid(world.uuid()), ..board.clone() };
    for column in &mut moved.columns {
        column.id = ColumnId::from_uuid(world.uuid());
    }
    moved
}

pub(super) async fn an_import_may_be_cut_off(world: &World) {
    let board = world.unmade_board("CUT");
    let restore = |piece: Restored| world.change(Change::Restore(piece));
    restore(Restored::Board(Box::new(board.clone()))).await.expect("begins");
    let task = Task { number: 4, ..world.unmade_task(&board, "Half imported") };
    restore(Restored::Tasks(vec![(task.clone(), false)])).await.expect("goes on");
    assert_eq!(world.seen_task(task.id).await, None);
    assert_eq!(world.store.half_imported().await.expect("reads"), [board.id]);
    numbers_too_high_are_refused(world, &board).await;
    world.change(Change::PurgeBoard(board.id)).await.expect("is purged");
    assert_eq!(world.store.half_imported().await.expect("reads"), []);

    // Once more, with nothing of the log: numbers go on behind what the exporter had given.
    restore(Restored::Board(Box::new(board.clone()))).await.expect("begins again");
    let finished = Restored::Finished { board: board.id, head: 30, next_number: 9 };
    world
        .commit(vec![Change::Restore(finished)], vec![world.note(Log::Board(board.id), "imported")])
        .await
        .expect("is finished");
    let log = world.log(Log::Board(board.id)).await;
    assert_eq!(seqs(&log), [30, 31]);
    assert_eq!(log[0].kind, EventKind::StreamGap);
    assert_eq!(world.task(&board, "Goes on").await.number, 9);

    // And with its beginning alone.
    let board = world.unmade_board("CUT2");
    restore(Restored::Board(Box::new(board.clone()))).await.expect("begins");
    let body = world.note(Log::Board(board.id), "the only one").body(|_| None);
    let only =
        StoredEvent { seq: 1, kind: EventKind::BoardUpdated, task: None, text: event::with_seq(1, &body).into() };
    restore(Restored::Events { board: board.id, events: vec![only.clone()] }).await.expect("goes on");
    let finished = Restored::Finished { board: board.id, head: 5, next_number: 1 };
    world
        .commit(vec![Change::Restore(finished)], vec![world.note(Log::Board(board.id), "imported")])
        .await
        .expect("is finished");
    let log = world.log(Log::Board(board.id)).await;
    assert_eq!((seqs(&log), &log[0]), (vec![1, 5, 6], &only));
    let gap: serde_json::Value = serde_json::from_slice(&log[1].text).expect("a gap is JSON");
    assert_eq!((&gap["data"]["from"], &gap["data"]["to"]), (&2.into(), &5.into()));
}

/// From the highest number there is, nothing could be counted on.
async fn numbers_too_high_are_refused(world: &World, board: &Board) {
    let log = Log::Board(board.id);
    for high in [1 << 53, u64::MAX] {
        let task = |number, version| Task { number, version, ..world.unmade_task(board, "Too high") };
        let body = world.note(log, "too high").body(|_| None);
        let text = event::with_seq(high, &body).into();
        let event = StoredEvent { seq: high, kind: EventKind::BoardUpdated, task: None, text };
        let pieces = [
            Restored::Board(Box::new(Board { version: high, ..world.unmade_board("HIGH") })),
            Restored::Tasks(vec![(task(high, 1), false)]),
            Restored::Tasks(vec![(task(5, high), true)]),
            Restored::Events { board: board.id, events: vec![event] },
            Restored::Finished { board: board.id, head: high, next_number: 9 },
            Restored::Finished { board: board.id, head: 9, next_number: high },
        ];
        for piece in pieces {
            assert_refused!(world.change(Change::Restore(piece)).await, StoreError::Damaged(_));
        }
    }
    let system = world.commit(vec![], vec![world.note(Log::System, "goes on")]).await;
    system.expect("others are not concerned");
}
