//! Reading logs.

use kanvoy_domain::event::{EventKind, Log, NewEvent};
use kanvoy_domain::{Actor, BoardId, Timestamp};
use serde_json::json;

use super::world::{World, assert_refused, seqs};
use crate::{Change, EventQuery, Kinds, StoreError};

pub(super) async fn events_are_read_in_pages(world: &World) {
    let board = world.board("PAGES").await;
    let log = Log::Board(board.id);
    let (one, two) = (world.task(&board, "One").await, world.task(&board, "Two").await);
    let events = (0..20).map(|n| {
        let kind = if n % 4 == 0 { EventKind::TaskWaiting } else { EventKind::TaskUpdated };
        let task = if n % 2 == 0 { one.id } else { two.id };
        NewEvent::new(log, kind, world.now(), Actor::engine(), &json!({ "n": n })).about(task)
    });
    let committed = world.commit(vec![], events.collect()).await.expect("is kept");
    assert_eq!(committed.seqs, (4..=23).collect::<Vec<_>>());

    let read = |query: EventQuery| async move { world.store.events(&query).await.expect("reads").events };
    let all = world.all_of(log);
    let whole = read(all.clone()).await;
    assert_eq!(seqs(&whole), (1..=23).collect::<Vec<_>>());
    for event in &whole {
        let text: serde_json::Value = serde_json::from_slice(&event.text).expect("an event is JSON");
        assert_eq!((&text["seq"], &text["type"]), (&event.seq.into(), &event.kind.as_str().into()));
        assert_eq!(text["task_id"].as_str().map(str::to_owned), event.task.map(|task| task.to_string()));
    }
    let page = read(EventQuery { after: 5, limit: 3, ..all.clone() }).await;
    assert_eq!(page, whole[5..8]);
    assert_eq!(read(EventQuery { after: 23, ..all.clone() }).await, []);
    assert_eq!(read(EventQuery { after: u64::MAX, ..all.clone() }).await, []);

    let of_task = read(EventQuery { task: Some(one.id), after: 4, limit: 3, ..all.clone() }).await;
    assert_eq!(seqs(&of_task), [6, 8, 10]);
    let waiting = Kinds::Only(vec![EventKind::TaskWaiting]);
    let only = read(EventQuery { kinds: waiting, ..all.clone() }).await;
    assert_eq!(seqs(&only), [4, 8, 12, 16, 20]);
    let but = Kinds::AllBut(vec![EventKind::TaskUpdated, EventKind::TaskCreated]);
    let but = read(EventQuery { kinds: but, task: Some(one.id), limit: 2, ..all.clone() }).await;
    assert_eq!(seqs(&but), [4, 8]);
    let nothing = read(EventQuery { kinds: Kinds::Only(vec![]), ..all.clone() }).await;
    assert_eq!(nothing, []);

    let (first, second) = (whole[3].text.len(), whole[4].text.len());
    let within = |bytes| EventQuery { after: 3, max_bytes: bytes, ..all.clone() };
    assert_eq!(seqs(&read(within(first + second)).await), [4, 5]);
    assert_eq!(seqs(&read(within(first + second - 1)).await), [4]);
    assert_eq!(seqs(&read(within(1)).await), [4], "one is given, however long it is");

    // Whether there are more of what was asked for, however a page came to its end.
    let of_one = EventQuery { task: Some(one.id), ..all.clone() };
    let waiting = EventQuery { kinds: Kinds::Only(vec![EventKind::TaskWaiting]), ..all.clone() };
    for (more, query) in [
        (true, within(first + second)),
        (true, within(1)),
        (true, EventQuery { limit: 22, ..all.clone() }),
        (false, EventQuery { limit: 23, ..all.clone() }),
        (false, EventQuery { after: 23, ..all.clone() }),
        (false, EventQuery { after: 22, max_bytes: 1, ..all.clone() }),
        (true, EventQuery { limit: 10, ..of_one.clone() }),
        (false, EventQuery { limit: 11, ..of_one }),
        (true, EventQuery { limit: 4, ..waiting.clone() }),
        (false, EventQuery { limit: 5, ..waiting }),
    ] {
        assert_eq!(world.store.events(&query).await.expect("reads").more, more, "{query:?}");
    }

    assert_eq!(world.store.head(log).await.expect("reads"), 23);
    assert!(world.store.heads().await.expect("reads").contains(&(log, 23)));
    let unknown = Log::Board(BoardId::from_uuid(world.uuid()));
    assert_eq!(world.store.head(unknown).await.expect("reads"), 0);
    assert_eq!(world.log(unknown).await, []);
    assert_refused!(world.commit(vec![], vec![world.note(unknown, "nowhere")]).await, StoreError::NotFound);

    let system = world.store.head(Log::System).await.expect("reads");
    let both = vec![world.note(Log::System, "both"), world.note(log, "both"), world.note(Log::System, "both")];
    let committed = world.commit(vec![], both).await.expect("is kept");
    assert_eq!(committed.seqs, [system + 1, 24, system + 2], "each log counts for itself");
    assert!(world.store.heads().await.expect("reads").contains(&(Log::System, system + 2)));
}

pub(super) async fn retention_leaves_one_gap(world: &World) {
    let board = world.board("PRUNE").await;
    let log = Log::Board(board.id);
    let task = world.task(&board, "Much happens to it").await;
    let mut moments = Vec::new();
    for _ in 0..18 {
        let event = world.note(log, "happens").about(task.id);
        moments.push(event.at);
        world.commit(vec![], vec![event]).await.expect("is kept");
    }
    // Seqs 3 to 20 have the moments 0 to 17.
    let before = |moment: Timestamp| async move { world.store.seq_before(log, moment).await.expect("reads") };
    assert_eq!(before(moments[7]).await, 9);
    assert_eq!(before(Timestamp::from_millis(0)).await, 0);
    assert_eq!(before(world.now()).await, 20);
    let unknown = Log::Board(BoardId::from_uuid(world.uuid()));
    assert_eq!(world.store.seq_before(unknown, moments[7]).await.expect("reads"), 0);

    let whole = world.log(log).await;
    let pruned = world.note(log, "pruned");
    let prune = |through| Change::Prune { board: board.id, through };
    world.commit(vec![prune(9)], vec![pruned]).await.expect("is pruned");
    let row = world.store.board(board.id).await.expect("reads").expect("is there");
    assert_eq!((row.first_seq, row.head_seq), (10, 21));

    let read = |query: EventQuery| async move { world.store.events(&query).await.expect("reads").events };
    let all = world.all_of(log);
    let left = read(all.clone()).await;
    assert_eq!(seqs(&left), (9..=21).collect::<Vec<_>>());
    let gap: serde_json::Value = serde_json::from_slice(&left[0].text).expect("a gap is JSON");
    assert_eq!((left[0].kind, &gap["seq"]), (EventKind::StreamGap, &9.into()));
    assert_eq!(gap["data"], json!({ "from": 1, "to": 9, "reason": "retention" }));
    assert_eq!(gap["timestamp"], moments[6].to_string(), "the gap is as old as the youngest that is gone");
    assert_eq!(left[1..12], whole[9..20]);

    let from = |after| EventQuery { after, limit: 2, ..all.clone() };
    assert_eq!(seqs(&read(from(4)).await), [9, 10]);
    assert_eq!(seqs(&read(from(8)).await), [9, 10]);
    for (limit, more) in [(12, true), (13, false)] {
        let page = world.store.events(&EventQuery { limit, ..all.clone() }).await.expect("reads");
        assert_eq!((page.events.len(), page.more), (limit as usize, more), "the gap counts as one");
    }
    assert_eq!(seqs(&read(from(9)).await), [10, 11], "whoever has come past it sees no gap");
    let of_task = read(EventQuery { task: Some(task.id), ..from(0) }).await;
    assert_eq!(seqs(&of_task), [9, 10], "a task's reader is told too");
    let only = read(EventQuery { kinds: Kinds::Only(vec![EventKind::TaskCreated]), ..from(0) }).await;
    assert_eq!(seqs(&only), [9], "whatever was asked for");
    assert_eq!(world.store.seq_before(log, moments[8]).await.expect("reads"), 10);
    assert_eq!(world.store.seq_before(log, moments[2]).await.expect("reads"), 0);

    world.change(prune(5)).await.expect("what is gone is gone");
    assert_eq!(seqs(&world.log(log).await), (9..=21).collect::<Vec<_>>());
    world.change(prune(1_000)).await.expect("no more than there is");
    assert_eq!(seqs(&world.log(log).await), [21]);
    let next = world.commit(vec![], vec![world.note(log, "goes on")]).await.expect("goes on");
    assert_eq!(next.seq(), 22);
    assert_eq!(seqs(&world.log(log).await), [21, 22]);
    let unknown = Change::Prune { board: BoardId::from_uuid(world.uuid()), through: 1 };
    assert_refused!(world.change(unknown).await, StoreError::NotFound);
}
