//! Lists of tasks: every filter, every order, page by page to the end.

use kanvoy_domain::task::Priority;
use kanvoy_domain::text::folded;
use kanvoy_domain::{Board, Rank, State, Task};

use super::world::{World, assert_refused, numbers};
use crate::{Change, Order, StoreError, TaskQuery, WhichTasks};

pub(super) async fn every_filter_and_every_order(world: &World) {
    let board = world.board("LIST").await;
    let other = world.board("LIST2").await;
    let mut tasks = Vec::new();
    for n in 0..12u32 {
        tasks.push(world.add(one_of_many(world, &board, n, &tasks)).await);
    }
    let elsewhere = world.task(&other, "Café elsewhere").await;
    // Changed last: numbers 3 and 1.
    for n in [2, 0] {
        tasks[n].touched(world.now());
        world.change(Change::Task(tasks[n].clone())).await.expect("is changed");
    }

    let all = TaskQuery { board: Some(board.id), archived: WhichTasks::All, limit: 5, ..TaskQuery::default() };
    filters(world, &all, &tasks).await;
    orders(world, &all, &tasks).await;

    let both = TaskQuery { board: None, within: Some(vec![board.id, other.id]), ..all.clone() };
    let listed = world.list(&both).await;
    assert_eq!(listed.len(), 13);
    assert_eq!(listed[12].task.id, elsewhere.id, "boards are mixed by age");
    let newest = world.list(&TaskQuery { order: Order::Newest, ..both.clone() }).await;
    assert!(newest.iter().eq(listed.iter().rev()), "newest is oldest turned round");
    let lie = world.list(&TaskQuery { order: Order::Lie, limit: 2, ..both.clone() }).await;
    assert_eq!((lie.len(), lie[12].task.id), (13, elsewhere.id), "one board after the other");
    let updated = world.list(&TaskQuery { order: Order::Updated, limit: 3, ..both.clone() }).await;
    assert_eq!((updated.len(), updated[0].task.number, updated[1].task.number), (13, 1, 3));
    assert_eq!(world.list(&TaskQuery { within: Some(vec![]), ..both.clone() }).await, []);
    assert_eq!(world.list(&TaskQuery { within: Some(vec![other.id]), ..all.clone() }).await, [], "both must hold");
    let everywhere = world.list(&TaskQuery { within: None, words: vec![folded("CAFÉ")], ..both }).await;
    assert_eq!(everywhere.iter().map(|row| row.task.id).collect::<Vec<_>>(), [elsewhere.id]);

    // A position is good for its own order only, and nothing else is one.
    let page = world.store.tasks(&all).await.expect("lists");
    let next = page.next.expect("there is more");
    let lie = TaskQuery { order: Order::Lie, after: Some(next), ..all.clone() };
    assert_refused!(world.store.tasks(&lie).await, StoreError::BadCursor);
    for bad in ["", "x", "n", "1; DROP TABLE task", "\u{0}"] {
        for order in [Order::Oldest, Order::Newest, Order::Updated, Order::Lie] {
            let query = TaskQuery { order, after: Some(bad.into()), ..all.clone() };
            assert_refused!(world.store.tasks(&query).await, StoreError::BadCursor);
        }
    }
}

/// Numbers from 1, each with its own mix of what can be filtered by.
fn one_of_many(world: &World, board: &Board, n: u32, before: &[Task]) -> Task {
    let mut task = world.unmade_task(board, &format!("Täsk {n}: 100% _sure_"));
    task.description = if n.is_multiple_of(2) { "Even ONE".into() } else { "Odd one".into() };
    task.state = [State::Todo, State::Backlog, State::Review][n as usize % 3];
    task.column_id = board.home(task.state).expect("has one").id;
    task.priority = Priority::ALL[n as usize % 4];
    if n.is_multiple_of(3) {
        task.labels = vec!["bug".into(), format!("n{n}")];
    }
    if n.is_multiple_of(4) {
        task.agent_type = Some("demo".parse().expect("a name"));
    }
    if n > 9 {
        task.parent_id = Some(before[0].id);
        task.blocked_by = vec![before[1].id];
    }
    task.external_ref = (n == 5).then(|| "GH-5".into());
    task.archived_at = (n == 7).then(|| world.now());
    // Three share a rank: their numbers decide.
    task.rank = if n < 9 { task.rank } else { "A".parse::<Rank>().expect("a rank") };
    task
}

async fn filters(world: &World, all: &TaskQuery, tasks: &[Task]) {
    let check = |name: &'static str, query: TaskQuery, expected: &'static [u64]| async move {
        assert_eq!(numbers(&world.list(&query).await), expected, "{name}");
    };
    check("all", all.clone(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).await;
    let seen = TaskQuery { archived: WhichTasks::Unarchived, ..all.clone() };
    check("unarchived", seen, &[1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12]).await;
    check("archived", TaskQuery { archived: WhichTasks::Archived, ..all.clone() }, &[8]).await;
    check("a state", TaskQuery { states: vec![State::Backlog], ..all.clone() }, &[2, 5, 8, 11]).await;
    let states = vec![State::Backlog, State::Review, State::Failed];
    check("states", TaskQuery { states, ..all.clone() }, &[2, 3, 5, 6, 8, 9, 11, 12]).await;
    let priorities = vec![Priority::Urgent, Priority::Low];
    check("priorities", TaskQuery { priorities, ..all.clone() }, &[1, 4, 5, 8, 9, 12]).await;
    check("a label", TaskQuery { labels: vec!["bug".into()], ..all.clone() }, &[1, 4, 7, 10]).await;
    let labels = vec!["bug".into(), "n3".into()];
    check("labels, all of them", TaskQuery { labels, ..all.clone() }, &[4]).await;
    check("no part of a label", TaskQuery { labels: vec!["bu".into()], ..all.clone() }, &[]).await;
    let column = Some(tasks[2].column_id);
    check("a column", TaskQuery { column, ..all.clone() }, &[3, 6, 9, 12]).await;
    check("a column, as it lies", TaskQuery { column, order: Order::Lie, ..all.clone() }, &[12, 3, 6, 9]).await;
    check("an agent type", TaskQuery { agent_type: Some("demo".into()), ..all.clone() }, &[1, 5, 9]).await;
    check("a parent", TaskQuery { parent: Some(tasks[0].id), ..all.clone() }, &[11, 12]).await;
    check("a reference", TaskQuery { external_ref: Some("GH-5".into()), ..all.clone() }, &[6]).await;
    let word = |word: &str| vec![folded(word)];
    check("a word of the text", TaskQuery { words: word("EVEN"), ..all.clone() }, &[1, 3, 5, 7, 9, 11]).await;
    check("a word of the title", TaskQuery { words: word("TÄSK 11"), ..all.clone() }, &[12]).await;
    check("a label as a word", TaskQuery { words: word("n9"), ..all.clone() }, &[10]).await;
    check("a reference as a word", TaskQuery { words: word("gh-5"), ..all.clone() }, &[6]).await;
    let words = vec![folded("one"), folded("odd"), folded("bug")];
    check("words, all of them", TaskQuery { words, ..all.clone() }, &[4, 10]).await;
    check("no patterns", TaskQuery { words: vec!["100_".into()], ..all.clone() }, &[]).await;
    let many = TaskQuery {
        states: vec![State::Todo],
        priorities: vec![Priority::Urgent, Priority::Low],
        labels: vec!["bug".into()],
        words: word("odd"),
        ..all.clone()
    };
    check("all at once", many, &[4]).await;
    let waits = world.list(&TaskQuery { parent: Some(tasks[0].id), ..all.clone() }).await;
    assert_eq!((waits[0].blockers.len(), waits[0].blockers[0].number), (1, 2), "a list knows what is waited for");
}

async fn orders(world: &World, all: &TaskQuery, tasks: &[Task]) {
    let by_number: Vec<u64> = (1..=12).collect();
    let falling: Vec<u64> = (1..=12).rev().collect();
    let mut updated = vec![1, 3];
    updated.extend(falling.iter().copied().filter(|number| ![1, 3].contains(number)));
    let mut lie: Vec<&Task> = tasks.iter().collect();
    // Columns stand as the states of the three do: Backlog, To do, Review.
    let column =
        |task: &Task| [State::Backlog, State::Todo, State::Review].iter().position(|state| *state == task.state);
    lie.sort_by_key(|task| (column(task), task.rank.clone(), task.number));
    let lie: Vec<u64> = lie.iter().map(|task| task.number).collect();
    let expected = [(Order::Oldest, by_number), (Order::Newest, falling), (Order::Updated, updated), (Order::Lie, lie)];
    for (order, expected) in expected {
        for limit in [1, 2, 5, 11, 12, 13] {
            let listed = world.list(&TaskQuery { order, limit, ..all.clone() }).await;
            assert_eq!(numbers(&listed), expected, "{order:?} in pages of {limit}");
        }
    }
}
