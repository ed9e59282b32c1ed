//! What is refused, what waits its turn, and what goes by itself.

mod house;

use house::{house, me, titled};
use kanvoy_domain::board::{BoardEdit, ColumnEdit, Retention, Settings};
use kanvoy_domain::task::TaskEdit;
use kanvoy_domain::{Log, NewBoard, NewTask, State};
use kanvoy_engine::{Beside, EngineError, MoveTo, Removal};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_want_the_same_all_have_their_turn() {
    let house = house().await;
    let board = house.board().await;
    let parent = house.task(board.id, "parent").await;
    let editing = (0..32).map(|n| {
        let engine = house.engine.clone();
        let edit = TaskEdit { title: Some(format!("title {n}")), ..TaskEdit::default() };
        async move { engine.update_task(&me(), parent.id, edit, None).await.map(drop) }
    });
    let making = (0..32).map(|n| {
        let engine = house.engine.clone();
        let new = NewTask { parent_id: Some(parent.id), ..titled(&format!("part {n}")) };
        async move { engine.create_task(&me(), board.id, new).await.map(drop) }
    });
    let columns = (0..20).map(|n| {
        let engine = house.engine.clone();
        let states = Some(vec![State::Todo]);
        let new = ColumnEdit { name: Some(format!("column {n}")), states, ..ColumnEdit::default() };
        async move { engine.add_column(&me(), board.id, new).await.map(drop) }
    });
    let boards = (0..32).map(|_| {
        let engine = house.engine.clone();
        let new = NewBoard { name: "One name".into(), ..NewBoard::default() };
        async move { engine.create_board(&me(), new).await.map(drop) }
    });
    let mut all = JoinSet::new();
    editing.for_each(|one| drop(all.spawn(one)));
    making.for_each(|one| drop(all.spawn(one)));
    columns.for_each(|one| drop(all.spawn(one)));
    boards.for_each(|one| drop(all.spawn(one)));
    for done in all.join_all().await {
        done.expect("nobody gave a version, so nobody is refused");
    }
    house.check(board.id).await;
}

#[tokio::test]
async fn retention_leaves_an_idle_board_alone() {
    let house = house().await;
    let board = house.board().await;
    for n in 0..20 {
        house.task(board.id, &format!("{n}")).await;
    }
    let settings = Settings { retention: Retention { max_events: Some(5), max_age_days: None }, ..Settings::default() };
    let edit = BoardEdit { settings: Some(settings), ..BoardEdit::default() };
    house.engine.update_board(&me(), board.id, edit, None).await.expect("is taken");
    house.engine.sweep().await.expect("sweeps");
    let after = house.store.board(board.id).await.expect("reads").expect("is there");
    assert_eq!((after.head_seq, after.first_seq), (22, 18), "the newest five are left");
    for _ in 0..3 {
        house.engine.sweep().await.expect("sweeps");
    }
    let later = house.store.board(board.id).await.expect("reads").expect("is there");
    assert_eq!((later.head_seq, later.first_seq), (22, 18), "nothing happened, so nothing more goes");
    assert_eq!(house.store.head(Log::System).await.expect("reads"), 1, "and it was told once");
}

#[tokio::test]
async fn what_is_at_work_is_not_archived_and_what_is_archived_does_not_move() {
    let house = house().await;
    let board = house.board().await;
    let (working, idle) = (house.task(board.id, "working").await, house.task(board.id, "idle").await);
    house.engine.set_state(&me(), working.id, State::InProgress, None, None).await.expect("moves");

    let archive = BoardEdit { archived: Some(true), ..BoardEdit::default() };
    let refused = house.engine.update_board(&me(), board.id, archive.clone(), None).await.expect_err("is refused");
    assert!(refused.to_string().contains("#1 is IN_PROGRESS"), "{refused}");

    let away = TaskEdit { archived: Some(true), ..TaskEdit::default() };
    house.engine.update_task(&me(), idle.id, away, None).await.expect("is archived");
    let refused = house.engine.set_state(&me(), idle.id, State::InProgress, None, None).await.expect_err("is refused");
    assert!(matches!(refused, EngineError::Archived { .. }), "{refused}");
    let refused = house.engine.move_task(&me(), idle.id, MoveTo::default(), None).await.expect_err("is refused");
    assert!(refused.to_string().contains("DEMO-2 is archived"), "{refused}");

    house.engine.set_state(&me(), working.id, State::Cancelled, None, None).await.expect("moves");
    house.engine.update_board(&me(), board.id, archive, None).await.expect("is archived now");
    let edit = TaskEdit { title: Some("x".into()), ..TaskEdit::default() };
    let refused = house.engine.update_task(&me(), working.id, edit, None).await.expect_err("is refused");
    assert!(refused.to_string().contains("board DEMO is archived"), "{refused}");
    let column = ColumnEdit { name: Some("c".into()), states: Some(vec![State::Todo]), ..ColumnEdit::default() };
    let refused = house.engine.add_column(&me(), board.id, column).await.expect_err("is refused");
    assert!(matches!(refused, EngineError::Archived { .. }), "{refused}");
    house.engine.delete_board(&me(), board.id, Removal::Hide).await.expect("an archived board can go");
    house.engine.delete_board(&me(), board.id, Removal::Hide).await.expect_err("is out of sight");
    house.engine.delete_board(&me(), board.id, Removal::Purge).await.expect("can be purged all the same");
    let gone = house.engine.delete_board(&me(), board.id, Removal::Purge).await.expect_err("is gone");
    assert!(matches!(gone, EngineError::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn what_comes_later_lies_below_what_was_dropped_at_the_end() {
    let house = house().await;
    let board = house.board().await;
    let todo = board.home(State::Todo).expect("is there").id;
    let (x, _) = (house.task(board.id, "x").await, house.task(board.id, "y").await);
    let last = house.cards(board.id).await.pop().expect("is there");
    let end = MoveTo { column: None, beside: Some(Beside::After(last.id)) };
    house.engine.move_task(&me(), x.id, end, None).await.expect("moves");
    house.task(board.id, "z").await;
    assert_eq!(house.titles_in(board.id, todo).await, ["y", "x", "z"]);

    let doing = board.home(State::InProgress).expect("is there").id;
    for _ in 0..200 {
        house.engine.set_state(&me(), x.id, State::InProgress, None, None).await.expect("moves");
        house.engine.set_state(&me(), x.id, State::Todo, None, None).await.expect("moves");
    }
    let ranks: Vec<usize> = house.cards(board.id).await.iter().map(|task| task.rank.as_str().len()).collect();
    assert!(ranks.iter().all(|length| *length <= 12), "{ranks:?}");
    assert_eq!(house.titles_in(board.id, doing).await, Vec::<String>::new());
}

#[tokio::test]
async fn cards_of_a_column_that_goes_keep_their_order() {
    let house = house().await;
    let board = house.board().await;
    let todo = board.home(State::Todo).expect("is there").id;
    let states = Some(vec![State::Todo]);
    let extra = ColumnEdit { name: Some("Next".into()), states, ..ColumnEdit::default() };
    let next = house.engine.add_column(&me(), board.id, extra).await.expect("is made").object.1;
    let mut cards = Vec::new();
    for title in ["a", "b", "c", "d"] {
        cards.push(house.task(board.id, title).await);
    }
    for card in cards.iter().rev() {
        let to = MoveTo { column: Some(next), beside: None };
        house.engine.move_task(&me(), card.id, to, None).await.expect("moves");
    }
    assert_eq!(house.titles_in(board.id, next).await, ["d", "c", "b", "a"]);
    house.engine.remove_column(&me(), next).await.expect("goes");
    assert_eq!(house.titles_in(board.id, todo).await, ["d", "c", "b", "a"]);
}
