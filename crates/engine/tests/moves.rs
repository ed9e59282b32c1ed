//! No sequence of moves breaks what always holds: driven at random through the engine's verbs, on a real store.

mod house;

use house::{House, house, me, titled};
use std::sync::Arc;

use kanvoy_domain::board::{BoardEdit, ColumnEdit};
use kanvoy_domain::task::TaskEdit;
use kanvoy_domain::{BoardId, Log, NewTask, State, TaskId};
use kanvoy_engine::{Beside, EngineError, MoveTo, Removal};
use kanvoy_store::{EventQuery, Kinds};
use proptest::prelude::*;

#[tokio::test]
async fn cards_are_dropped_where_they_were_asked_to_be() {
    let house = house().await;
    let board = house.board().await;
    let todo = board.home(State::Todo).expect("is there").id;
    let (a, b, c) = (house.task(board.id, "a").await, house.task(board.id, "b").await, house.task(board.id, "c").await);
    let mut order = house.titles_in(board.id, todo).await;
    assert_eq!(order, ["a", "b", "c"]);

    let before = MoveTo { column: None, beside: Some(Beside::Before(a.id)) };
    let moved = house.engine.move_task(&me(), c.id, before, None).await.expect("moves").object.task;
    assert_eq!((moved.version, moved.state), (2, State::Todo));
    let after = MoveTo { column: None, beside: Some(Beside::After(b.id)) };
    house.engine.move_task(&me(), a.id, after, None).await.expect("moves");
    order = house.titles_in(board.id, todo).await;
    assert_eq!(order, ["c", "b", "a"]);

    // Another column is another state: the column's first legal one.
    let doing = board.home(State::InProgress).expect("is there").id;
    let to = MoveTo { column: Some(doing), beside: None };
    let moved = house.engine.move_task(&me(), b.id, to, None).await.expect("moves").object.task;
    assert_eq!((moved.state, moved.column_id), (State::InProgress, doing));
    let review = board.home(State::Review).expect("is there").id;
    let to = MoveTo { column: Some(review), beside: None };
    let refused = house.engine.move_task(&me(), c.id, to, None).await.expect_err("is refused");
    let EngineError::Illegal(refusal) = refused else { panic!("{refused}") };
    assert_eq!(refusal.legal, [State::Backlog, State::InProgress, State::Completed, State::Cancelled]);
    house.check(board.id).await;
}

#[tokio::test]
async fn many_cards_of_one_moment_can_be_parted() {
    let house = house().await;
    let board = house.board().await;
    let todo = board.home(State::Todo).expect("is there").id;
    let mut making = Vec::new();
    for n in 0..40 {
        let engine = house.engine.clone();
        making.push(async move { engine.create_task(&me(), board.id, titled(&format!("{n}"))).await });
    }
    for task in futures_util::future::join_all(making).await {
        task.expect("is made");
    }
    let mut expected = house.titles_in(board.id, todo).await;
    assert_eq!(expected.len(), 40);
    for step in 0..40usize {
        let (from, to) = ((step * 7) % 40, (step * 13 + 5) % 40);
        if from == to {
            continue;
        }
        let cards = house.cards(board.id).await;
        let (card, target) = (&cards[from], &cards[to]);
        let beside = MoveTo { column: None, beside: Some(Beside::Before(target.id)) };
        house.engine.move_task(&me(), card.id, beside, None).await.expect("moves");
        let title = expected.remove(from);
        let at = expected.iter().position(|title| *title == target.title).expect("is there");
        expected.insert(at, title);
        assert_eq!(house.titles_in(board.id, todo).await, expected, "step {step}");
    }
    house.check(board.id).await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let house = house().await;
    let board = house.board().await;
    let first = house.task(board.id, "first").await;
    let second = NewTask { blocked_by: vec![first.id], ..titled("second") };
    let second = house.engine.create_task(&me(), board.id, second).await.expect("is made").object.task;
    let third = NewTask { parent_id: Some(first.id), blocked_by: vec![second.id], ..titled("third") };
    let third = house.engine.create_task(&me(), board.id, third).await.expect("is made").object.task;

    let circle = TaskEdit { blocked_by: Some(vec![third.id]), ..TaskEdit::default() };
    let refused = house.engine.update_task(&me(), first.id, circle, None).await.expect_err("is refused");
    let EngineError::Circle { path } = refused else { panic!("{refused}") };
    assert_eq!(path, ["DEMO-1", "DEMO-3", "DEMO-2", "DEMO-1"]);

    let refused = house.engine.delete_task(&me(), first.id, Removal::Hide).await.expect_err("is refused");
    let said = refused.to_string();
    assert!(said.contains("DEMO-1") && said.contains("#2 waits for it") && said.contains("#3 is a sub-task"), "{said}");

    house.engine.set_state(&me(), third.id, State::InProgress, None, None).await.expect("moves");
    let refused = house.engine.delete_task(&me(), third.id, Removal::Purge).await.expect_err("is refused");
    assert!(refused.to_string().contains("#3 is IN_PROGRESS"), "{refused}");
    let refused = house.engine.delete_board(&me(), board.id, Removal::Hide).await.expect_err("is refused");
    assert!(refused.to_string().contains("#3 is IN_PROGRESS"), "{refused}");

    house.engine.set_state(&me(), third.id, State::Cancelled, None, None).await.expect("moves");
    house.engine.delete_task(&me(), third.id, Removal::Hide).await.expect("is deleted");
    house.engine.delete_task(&me(), third.id, Removal::Purge).await.expect("is purged, though hidden");
    let again = house.engine.delete_task(&me(), third.id, Removal::Purge).await.expect_err("is gone");
    assert!(matches!(again, EngineError::NotFound { .. }), "{again}");
}

#[tokio::test]
async fn two_who_would_close_a_circle_together_do_not() {
    let house = house().await;
    let board = house.board().await;
    for _ in 0..20 {
        let (a, b) = (house.task(board.id, "a").await, house.task(board.id, "b").await);
        let wait = |task: TaskId, on: TaskId| {
            let edit = TaskEdit { blocked_by: Some(vec![on]), ..TaskEdit::default() };
            let engine = house.engine.clone();
            async move { engine.update_task(&me(), task, edit, None).await }
        };
        let (one, other) = tokio::join!(wait(a.id, b.id), wait(b.id, a.id));
        assert!(one.is_ok() != other.is_ok(), "exactly one arrow is drawn: {one:?} {other:?}");
    }
    house.check(board.id).await;
}

#[tokio::test]
async fn a_column_that_goes_sends_its_cards_home() {
    let house = house().await;
    let board = house.board().await;
    let extra = ColumnEdit {
        name: Some("Next".into()),
        states: Some(vec![State::Todo, State::Backlog]),
        ..ColumnEdit::default()
    };
    let next = house.engine.add_column(&me(), board.id, extra).await.expect("is made").object.1;
    let task = house.task(board.id, "a").await;
    let to = MoveTo { column: Some(next), beside: None };
    house.engine.move_task(&me(), task.id, to, None).await.expect("moves");

    // While it goes, somebody keeps putting cards there: whatever the order, no card is left without a place.
    let engine = house.engine.clone();
    let other = house.task(board.id, "b").await;
    let racing = async {
        for _ in 0..10 {
            let _ = engine.move_task(&me(), other.id, to, None).await;
        }
    };
    let by = me();
    let (removed, ()) = tokio::join!(house.engine.remove_column(&by, next), racing);
    removed.expect("is removed");
    let todo = board.home(State::Todo).expect("is there").id;
    assert_eq!(house.titles_in(board.id, todo).await.len(), 2);
    house.check(board.id).await;
}

#[tokio::test]
async fn old_versions_and_archives_are_refused() {
    let house = house().await;
    let board = house.board().await;
    let task = house.task(board.id, "a").await;
    let edit = TaskEdit { title: Some("b".into()), ..TaskEdit::default() };
    house.engine.update_task(&me(), task.id, edit.clone(), Some(1)).await.expect("is taken");
    let stale = TaskEdit { title: Some("c".into()), ..TaskEdit::default() };
    let refused = house.engine.update_task(&me(), task.id, stale, Some(1)).await.expect_err("is refused");
    assert!(matches!(refused, EngineError::Stale { current: 2 }), "{refused}");

    let archive = BoardEdit { archived: Some(true), ..BoardEdit::default() };
    house.engine.update_board(&me(), board.id, archive, None).await.expect("is archived");
    let refused = house.engine.create_task(&me(), board.id, titled("d")).await.expect_err("is refused");
    assert!(matches!(refused, EngineError::Archived { .. }), "{refused}");
}

#[tokio::test]
async fn a_board_moves_house_with_its_log() {
    let (here, there) = (house().await, house().await);
    let board = here.board().await;
    let first = here.task(board.id, "first").await;
    let second = NewTask { blocked_by: vec![first.id], labels: vec!["bug".into()], ..titled("second") };
    here.engine.create_task(&me(), board.id, second).await.expect("is made");
    here.engine.set_state(&me(), first.id, State::InProgress, None, None).await.expect("moves");
    let gone = here.task(board.id, "gone").await;
    here.engine.delete_task(&me(), gone.id, Removal::Hide).await.expect("is deleted");

    let mut file = Vec::new();
    let mut export = here.engine.export(board.id);
    while let Some(piece) = export.next().await.expect("exports") {
        file.extend_from_slice(&piece);
    }
    let lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();

    // A file that was cut off leaves nothing behind.
    let mut cut = there.engine.import(&me(), kanvoy_engine::ImportAs::default());
    for line in &lines[..lines.len() - 2] {
        cut.line(line).await.expect("reads");
    }
    cut.finish(None).await.expect_err("is refused");
    assert_eq!(there.engine.clear_half_imported().await.expect("clears"), 0, "not even until the next start");

    let mut import = there.engine.import(&me(), kanvoy_engine::ImportAs::default());
    for line in &lines {
        import.line(line).await.expect("reads");
    }
    let imported = import.finish(None).await.expect("imports");
    assert_eq!(imported.tasks, 3);
    // `rev` counts writes in one store: it does not travel.
    let cards = async |house: &House| {
        let cards = house.cards(board.id).await;
        cards.into_iter().map(|task| kanvoy_domain::Task { rev: 1, ..task }).collect::<Vec<_>>()
    };
    assert_eq!(cards(&there).await, cards(&here).await);
    let log = |house: &House| {
        let store = Arc::clone(&house.store);
        async move {
            let query = EventQuery {
                log: Log::Board(board.id),
                after: 0,
                task: None,
                kinds: Kinds::All,
                limit: 1000,
                max_bytes: usize::MAX,
            };
            store.events(&query).await.expect("reads").events
        }
    };
    let (mine, theirs) = (log(&here).await, log(&there).await);
    assert_eq!(theirs[..mine.len()], mine[..], "the log is the same, byte for byte");
    assert_eq!(theirs.len(), mine.len() + 1, "and one event more says that it came from a file");
    there.check(board.id).await;
    let next = there.task(board.id, "next").await;
    assert_eq!(next.number, 4, "numbers go on where they were");

    let mut again = there.engine.import(&me(), kanvoy_engine::ImportAs::default());
    let refused = again.line(lines[0]).await.expect_err("is refused");
    assert!(matches!(refused, EngineError::Taken { .. }), "{refused}");
}

#[derive(Clone, Debug)]
enum Step {
    Create(bool),
    State(usize, usize),
    Drop { card: usize, beside: Option<(usize, bool)>, column: Option<usize> },
    Archive(usize, bool),
    Delete(usize, bool),
    Wait(usize, usize),
    AddColumn(usize, usize),
    RemoveColumn(usize),
    EditColumn(usize, Vec<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<bool>().prop_map(Step::Create),
        4 => (0usize..30, 0usize..9).prop_map(|(card, to)| Step::State(card, to)),
        4 => (0usize..30, prop::option::of((0usize..30, any::<bool>())), prop::option::of(0usize..10))
            .prop_map(|(card, beside, column)| Step::Drop { card, beside, column }),
        1 => (0usize..30, any::<bool>()).prop_map(|(card, on)| Step::Archive(card, on)),
        1 => (0usize..30, any::<bool>()).prop_map(|(card, purge)| Step::Delete(card, purge)),
        2 => (0usize..30, 0usize..30).prop_map(|(card, on)| Step::Wait(card, on)),
        1 => (0usize..9, 0usize..9).prop_map(|(a, b)| Step::AddColumn(a, b)),
        1 => (0usize..10).prop_map(Step::RemoveColumn),
        1 => (0usize..10, prop::collection::vec(0usize..9, 1..5)).prop_map(|(at, to)| Step::EditColumn(at, to)),
    ];
    prop::collection::vec(step, 1..60)
}

async fn take(house: &House, board: BoardId, step: Step) {
    let row = house.store.board(board).await.expect("reads").expect("is there").board;
    let cards = house.cards(board).await;
    let card = |at: usize| (!cards.is_empty()).then(|| cards[at % cards.len()].id);
    let column = |at: usize| row.columns[at % row.columns.len()].id;
    let engine = &house.engine;
    // Refusals are as good as successes here: what must hold is looked at afterwards.
    match step {
        Step::Create(parked) => {
            let state = parked.then_some(State::Backlog);
            engine.create_task(&me(), board, NewTask { state, ..titled("t") }).await.expect("is made");
        }
        Step::State(at, to) => {
            if let Some(card) = card(at) {
                let _ = engine.set_state(&me(), card, State::ALL[to], None, None).await;
            }
        }
        Step::Drop { card: at, beside, column: to } => {
            let beside = beside.and_then(|(at, above)| {
                card(at).map(|card| if above { Beside::Before(card) } else { Beside::After(card) })
            });
            if let Some(card) = card(at) {
                let _ = engine.move_task(&me(), card, MoveTo { column: to.map(column), beside }, None).await;
            }
        }
        Step::Archive(at, on) => {
            if let Some(card) = card(at) {
                let edit = TaskEdit { archived: Some(on), ..TaskEdit::default() };
                let _ = engine.update_task(&me(), card, edit, None).await;
            }
        }
        Step::Delete(at, purge) => {
            if let Some(card) = card(at) {
                let how = if purge { Removal::Purge } else { Removal::Hide };
                let _ = engine.delete_task(&me(), card, how).await;
            }
        }
        Step::Wait(at, on) => {
            if let (Some(card), Some(on)) = (card(at), card(on)) {
                let edit = TaskEdit { blocked_by: Some(vec![on]), ..TaskEdit::default() };
                let _ = engine.update_task(&me(), card, edit, None).await;
            }
        }
        Step::AddColumn(a, b) => {
            let states = Some(vec![State::ALL[a], State::ALL[b]]);
            let new = ColumnEdit { name: Some("c".into()), states, position: Some(a), ..ColumnEdit::default() };
            engine.add_column(&me(), board, new).await.expect("is made");
        }
        Step::RemoveColumn(at) => {
            let _ = engine.remove_column(&me(), column(at)).await;
        }
        Step::EditColumn(at, states) => {
            let states = Some(states.into_iter().map(|at| State::ALL[at]).collect());
            let edit = ColumnEdit { states, ..ColumnEdit::default() };
            let _ = engine.update_column(&me(), column(at), edit, None).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_moves_breaks_the_board(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let house = house().await;
            let board = house.board().await.id;
            for step in steps {
                take(&house, board, step).await;
            }
            house.check(board).await;
            house.store.close().await;
        });
    }
}
