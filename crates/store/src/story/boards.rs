//! Boards and columns.

use kanvoy_domain::board::{BoardEdit, ColumnEdit};
use kanvoy_domain::event::Log;
use kanvoy_domain::{Board, BoardId, ColumnId, Retention, Settings, State};

use super::world::{World, assert_refused};
use crate::{Change, StoreError, TaskQuery};

pub(super) async fn boards_are_made_and_changed(world: &World) {
    let board = world.board("MADE").await;
    let row = world.store.board(board.id).await.expect("reads").expect("is there");
    assert_eq!(row.board, board, "a board is read as it was written");
    assert_eq!((row.head_seq, row.first_seq, row.next_number), (1, 1, 1));
    let by_key = world.store.board_by_key(&board.key).await.expect("reads");
    assert_eq!(by_key, Some(row.clone()));
    let by_column = world.store.board_of_column(board.columns[3].id).await.expect("reads");
    assert_eq!(by_column, Some(row));
    assert_eq!(world.store.board_of_column(ColumnId::from_uuid(world.uuid())).await.expect("reads"), None);

    let again = Board { id: BoardId::from_uuid(world.uuid()), ..world.unmade_board("MADE") };
    assert_refused!(world.change(Change::NewBoard(again)).await, StoreError::Taken("key"));
    let again = Board { id: board.id, ..world.unmade_board("OTHER") };
    assert_refused!(world.change(Change::NewBoard(again)).await, StoreError::Taken("id"));

    let edit = BoardEdit {
        name: Some("Renamed".into()),
        description: Some("Several\nlines.".into()),
        repository_url: Some(Some("https://example.com/repo".into())),
        default_branch: Some(Some("main".into())),
        settings: Some(
            Settings {
                verify: true,
                retention: Retention { max_events: Some(7), max_age_days: None },
                ..Settings::default()
            }
            .into(),
        ),
        archived: Some(true),
    };
    let (edited, _) = board.edited(edit, world.now()).expect("an edit");
    world.change(Change::Board(edited.clone())).await.expect("is changed");
    let read = world.seen_board(board.id).await.expect("is there");
    assert_eq!(read, Board { rev: board.rev + 1, ..edited.clone() }, "all that was changed is read back");
    assert_refused!(world.change(Change::Board(edited)).await, StoreError::Conflict);
    assert_refused!(world.change(Change::Board(world.unmade_board("NEVER"))).await, StoreError::NotFound);

    let live = world.store.boards(None, 100, false).await.expect("lists");
    assert!(!live.items.iter().any(|row| row.board.id == board.id), "an archived board is not listed unasked");
    let more = [world.board("MORE1").await, world.board("MORE2").await];
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = world.store.boards(after.as_deref(), 1, true).await.expect("lists");
        listed.extend(page.items.iter().map(|row| row.board.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, [board.id, more[0].id, more[1].id], "in the order of their making");
    for bad in ["", "x", "-1", "0", &board.id.to_string()] {
        assert_refused!(world.store.boards(Some(bad), 1, true).await, StoreError::BadCursor);
    }

    let page = world.store.boards(None, 2, true).await.expect("lists");
    world.change(Change::PurgeBoard(more[0].id)).await.expect("is purged");
    let rest = world.store.boards(page.next.as_deref(), 2, true).await.expect("lists");
    let rest: Vec<_> = rest.items.iter().map(|row| row.board.id).collect();
    assert_eq!(rest, [more[1].id], "the list goes on where a board was purged");
    world.board("MORE1").await;
}

pub(super) async fn columns_hold_their_cards(world: &World) {
    let board = world.board("COLS").await;
    let task = world.task(&board, "Lies in To do").await;
    let todo = task.column_id;
    let rev = |rev: u64| move |board: Board| Board { rev, ..board };

    let extra = ColumnId::from_uuid(world.uuid());
    let new = ColumnEdit {
        name: Some("Next".into()),
        states: Some(vec![State::Todo, State::Backlog]),
        wip_limit: Some(Some(3)),
        position: Some(0),
    };
    let wider = board.with_column(extra, new, world.now()).expect("a column more");
    world.change(Change::Board(wider.clone())).await.expect("is changed");
    let wider = rev(2)(wider);
    assert_eq!(world.seen_board(board.id).await, Some(wider.clone()), "columns are read in their order");

    let narrower = wider.without_column(todo, world.now()).expect("its states have another column");
    assert_refused!(world.change(Change::Board(narrower.clone())).await, StoreError::Conflict);
    let mut without_state = wider.clone();
    without_state.columns.iter_mut().find(|column| column.id == todo).expect("is there").states =
        vec![State::Cancelled];
    assert_refused!(world.change(Change::Board(without_state)).await, StoreError::Conflict);
    assert_eq!(world.seen_board(board.id).await, Some(wider), "what was refused has changed nothing");

    let mut moved = task.clone();
    moved.column_id = extra;
    let lying = world.store.tasks_in_column(todo).await.expect("reads");
    assert_eq!(lying, std::slice::from_ref(&task));
    let away = vec![Change::Task(moved.clone()), Change::Board(narrower.clone())];
    world.commit(away, vec![world.note(Log::Board(board.id), "a column goes")]).await.expect("goes in this order");
    assert_eq!(world.seen_board(board.id).await, Some(rev(3)(narrower.clone())));
    assert_eq!(world.store.lie_of(extra).await.expect("reads"), [(task.id, task.rank.clone())]);
    assert_eq!(world.store.last_rank(extra).await.expect("reads"), Some(task.rank.clone()));
    assert_eq!(world.store.last_rank(todo).await.expect("reads"), None);

    let mut lying = vec![world.seen_task(task.id).await.expect("is there").task];
    // The later, the further up; the last two share a rank, and the lower number lies first.
    for rank in ["Y", "M", "C", "C"] {
        let mut card = world.unmade_task(&board, rank);
        (card.column_id, card.rank) = (extra, rank.parse().expect("a rank"));
        lying.push(world.add(card).await);
    }
    lying.sort_by(|one, other| (&one.rank, one.number).cmp(&(&other.rank, other.number)));
    assert_eq!(lying.iter().map(|task| task.number).collect::<Vec<_>>()[..3], [4, 5, 3]);
    assert_eq!(world.store.tasks_in_column(extra).await.expect("reads"), lying, "as they lie");
    let places: Vec<_> = lying.iter().map(|task| (task.id, task.rank.clone())).collect();
    assert_eq!(world.store.lie_of(extra).await.expect("reads"), places);

    let mut swapped = rev(3)(narrower);
    swapped.columns.reverse();
    world.change(Change::Board(swapped.clone())).await.expect("columns change places");
    assert_eq!(world.seen_board(board.id).await, Some(rev(4)(swapped)));

    let wrong = [
        // A state that the column does not hold, and a column of another board.
        kanvoy_domain::Task { state: State::Completed, rev: 2, ..moved.clone() },
        kanvoy_domain::Task { column_id: ColumnId::from_uuid(world.uuid()), rev: 2, ..moved },
    ];
    for task in wrong {
        assert_refused!(world.change(Change::Task(task)).await, StoreError::Conflict);
    }
    let mut homeless = world.unmade_task(&board, "Nowhere");
    homeless.column_id = ColumnId::from_uuid(world.uuid());
    assert_refused!(world.change(Change::NewTask(homeless)).await, StoreError::Conflict);
    let other = world.store.board_by_key(&"MORE1".parse().expect("a key")).await.expect("reads").expect("is there");
    let mut elsewhere = world.unmade_task(&board, "In another board's column");
    elsewhere.column_id = other.board.home(State::Todo).expect("has one").id;
    assert_refused!(world.change(Change::NewTask(elsewhere)).await, StoreError::Conflict);
}

pub(super) async fn boards_are_hidden_and_purged(world: &World) {
    let board = world.board("GONE").await;
    let log = Log::Board(board.id);
    let task = world.task(&board, "Goes with its board").await;
    let stale = Board { rev: 9, ..board.clone() };
    assert_refused!(world.change(Change::DeleteBoard(stale)).await, StoreError::Conflict);
    let told = world.note(log, "the board goes");
    world.commit(vec![Change::DeleteBoard(board.clone())], vec![told]).await.expect("is deleted");

    assert_eq!(world.seen_board(board.id).await, None);
    assert_eq!(world.seen_task(task.id).await, None);
    assert_eq!(world.store.task_numbered(board.id, 1).await.expect("reads"), None);
    assert_eq!(world.store.board_of_column(task.column_id).await.expect("reads"), None);
    assert_eq!(world.store.lie_of(task.column_id).await.expect("reads"), []);
    assert_eq!(world.store.known_tasks(board.id, &[task.id]).await.expect("reads"), []);
    assert_eq!(world.log(log).await, []);
    assert_eq!(world.store.head(log).await.expect("reads"), 0);
    assert!(!world.store.heads().await.expect("reads").iter().any(|(of, _)| *of == log));
    let listed = world.list(&TaskQuery { limit: 100, ..TaskQuery::default() }).await;
    assert!(!listed.iter().any(|row| row.task.board_id == board.id));
    assert_eq!(world.teller.told_of(log).len(), 3, "its end was told all the same");

    let unmade = world.unmade_task(&board, "Too late");
    assert_refused!(world.change(Change::NewTask(unmade)).await, StoreError::NotFound);
    assert_refused!(world.change(Change::Task(task.clone())).await, StoreError::NotFound);
    let kept = world.store.deleted_board(board.id).await.expect("reads").expect("is kept");
    assert_eq!((kept.id, &kept.key, kept.columns.len()), (board.id, &board.key, board.columns.len()));
    assert_eq!(
        world.store.deleted_board_by_key(&board.key).await.expect("reads").map(|board| board.id),
        Some(board.id)
    );
    assert_refused!(world.change(Change::DeleteBoard(board.clone())).await, StoreError::NotFound);
    let again = world.unmade_board("GONE");
    assert_refused!(world.change(Change::NewBoard(again)).await, StoreError::Taken("key"));
    assert!(world.store.keys().await.expect("reads").contains(&"GONE".to_owned()), "its key stays taken");
    let kept = world.store.export_tasks(board.id, 0, 10).await.expect("reads");
    assert_eq!(kept.len(), 1, "an export finds what is hidden");

    world.change(Change::PurgeBoard(board.id)).await.expect("is purged");
    assert_refused!(world.change(Change::PurgeBoard(board.id)).await, StoreError::NotFound);
    assert!(!world.store.keys().await.expect("reads").contains(&"GONE".to_owned()));
    assert_eq!(world.store.export_tasks(board.id, 0, 10).await.expect("reads"), []);
    let again = world.board("GONE").await;
    assert_eq!(world.log(Log::Board(again.id)).await.len(), 1, "a new board begins with a log of its own");
}
