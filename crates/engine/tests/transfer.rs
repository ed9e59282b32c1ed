//! A board goes out as a file and comes in again: whatever is written meanwhile, and nothing that the API would refuse.

#[expect(dead_code, reason = "every test file uses some of it")]
mod house;

use house::{House, house, me, titled};
use kanvoy_domain::board::ColumnEdit;
use kanvoy_domain::task::TaskEdit;
use kanvoy_domain::{Board, BoardId, NewBoard, NewTask, State};
use kanvoy_engine::{EngineError, Export, ImportAs, Imported, MoveTo, Removal};
use kanvoy_store::Claim;
use serde_json::{Value, json};

async fn pull(export: &mut Export, file: &mut Vec<u8>) -> Result<bool, EngineError> {
    let piece = export.next().await?;
    file.extend_from_slice(piece.as_deref().unwrap_or_default());
    Ok(piece.is_some())
}

async fn rest_of(mut export: Export, mut file: Vec<u8>) -> String {
    while pull(&mut export, &mut file).await.expect("goes on") {}
    String::from_utf8(file).expect("is text")
}

async fn import(house: &House, file: &str) -> Result<Imported, EngineError> {
    import_as(house, file, None, None).await
}

async fn import_as(
    house: &House,
    file: &str,
    key: Option<&str>,
    claim: Option<Claim>,
) -> Result<Imported, EngineError> {
    let how = ImportAs { key: key.map(str::to_owned), name: None };
    let mut import = house.engine.import(&me(), how);
    for line in file.lines() {
        import.line(line.as_bytes()).await?;
    }
    import.finish(claim).await
}

fn lines(file: &str) -> Vec<Value> {
    file.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect()
}

/// The event's seq and type stay in front, as they are written.
fn text(lines: &[Value]) -> String {
    let line = |line: &Value| match line.get("event") {
        None => line.to_string(),
        Some(event) => {
            let mut rest = event.clone();
            let map = rest.as_object_mut().expect("is an object");
            let (seq, kind) = (map.remove("seq").expect("a seq"), map.remove("type").expect("a type"));
            format!("{{\"event\":{{\"seq\":{seq},\"type\":{kind},{}}}", &rest.to_string()[1..])
        }
    };
    lines.iter().map(|it| line(it) + "\n").collect()
}

/// A board with a task that waits for another, one that is part of it, and one that was deleted.
async fn some_board(house: &House) -> Board {
    let board = house.board().await;
    let first = house.task(board.id, "first").await;
    let second = NewTask { blocked_by: vec![first.id], external_ref: Some("GH-2".into()), ..titled("second") };
    house.engine.create_task(&me(), board.id, second).await.expect("is made");
    let third = NewTask { parent_id: Some(first.id), external_ref: Some("GH-3".into()), ..titled("third") };
    house.engine.create_task(&me(), board.id, third).await.expect("is made");
    let fourth = house.task(board.id, "fourth").await;
    house.engine.delete_task(&me(), fourth.id, Removal::Hide).await.expect("is deleted");
    board
}

async fn exported(house: &House, board: BoardId) -> String {
    rest_of(house.engine.export(board), Vec::new()).await
}

#[tokio::test]
async fn a_refused_file_leaves_nothing() {
    let (from, to) = (house().await, house().await);
    let board = some_board(&from).await;
    let file = exported(&from, board.id).await;
    let all = lines(&file);
    let half = file.len() / 2;
    let mut no_tasks = all.clone();
    no_tasks.remove(1);
    for (bad, why) in [
        (file[..half].rsplit_once('\n').expect("has lines").0.to_owned(), "it has no end"),
        (text(&no_tasks), "lines are missing"),
        (format!("{file}{{}}\n"), "after the end"),
        (file.replace("first", "\\n"), "must not be empty"),
    ] {
        let refused = import(&to, &bad).await.expect_err(why).to_string();
        assert!(refused.contains(why) && refused.contains("line "), "{refused}");
        assert_eq!(to.store.half_imported().await.expect("reads"), Vec::new(), "{why}");
    }
    let claim = Claim { person: "ada".into(), key: "k".into(), fingerprint: [1; 32], at: board.created_at };
    let other = from.board().await;
    let other = exported(&from, other.id).await;
    import_as(&to, &other, None, Some(claim.clone())).await.expect("is taken");
    let refused = import_as(&to, &file, Some("AGAIN"), Some(claim)).await.expect_err("the key is used");
    assert!(matches!(refused, EngineError::Claimed), "{refused}");
    assert_eq!(to.store.half_imported().await.expect("reads"), Vec::new());

    let imported = import_as(&to, &file, Some("AGAIN"), None).await.expect("the whole file is taken now");
    assert_eq!((imported.tasks, imported.board.next_number), (4, 5));
    assert_eq!(to.store.check().await.expect("checks"), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_is_held_to_the_rules() {
    let (from, to) = (house().await, house().await);
    let board = some_board(&from).await;
    let file = lines(&exported(&from, board.id).await);
    let task = |number: usize| format!("/{number}/task");
    let (first, second) = (file[1]["task"]["id"].clone(), file[2]["task"]["id"].clone());
    let end = file.len() - 1;
    let nobody = "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111";
    let rows: Vec<(String, Value, &str)> = vec![
        ("/0/board/name".into(), json!(""), "line 1: name: must not be empty"),
        ("/0/board/description".into(), json!("\u{1b}[0m"), "line 1: description: must be plain text"),
        ("/0/board/columns/0/name".into(), json!("a\nb"), "line 1: columns: must be one line"),
        ("/0/board/columns/0/states".into(), json!([]), "line 1: states: a column holds"),
        ("/0/board/columns/0/states".into(), json!(["TODO"]), "line 1: no column would hold BACKLOG"),
        ("/0/board/columns/0/wip_limit".into(), json!(0), "line 1: wip_limit"),
        ("/0/board/columns/0/id".into(), file[0]["board"]["columns"][1]["id"].clone(), "line 1: columns: two have"),
        ("/0/board/settings/retention/max_events".into(), json!(0), "line 1: settings.retention.max_events"),
        ("/0/board/settings/retention/max_age_days".into(), json!(0), "line 1: settings.retention.max_age_days"),
        ("/0/board/settings/planner".into(), json!("No Name"), "line 1: "),
        ("/0/board/version".into(), json!(0), "line 1: the board's version"),
        ("/0/board/repository_url".into(), json!("/etc"), "line 1: "),
        (task(1) + "/title", json!("x".repeat(501)), "line 2: task 1: title: is 501"),
        (task(1) + "/title", json!("a\nb"), "line 2: task 1: title: must be one line"),
        (task(1) + "/labels", json!(["a\nb"]), "line 2: task 1: labels: must be one line"),
        (task(1) + "/external_ref", json!(""), "line 2: task 1: external_ref"),
        (task(1) + "/attempts", json!(4_000_000_000_u32), "line 2: task 1: attempts"),
        (task(1) + "/attempts", json!(-1), "line 2: "),
        (task(1) + "/rank", json!("not a rank"), "line 2: "),
        (task(1) + "/number", json!(0), "line 2: the task's number"),
        (task(1) + "/number", json!(1_u64 << 53), "line 2: the task's number"),
        (task(1) + "/version", json!(u64::MAX), "line 2: the task's number or version"),
        (task(1) + "/board_id", json!(nobody), "line 2: task 1 is of another board"),
        (task(1) + "/column_id", json!(nobody), "line 2: task 1 lies in no column"),
        (task(1) + "/blocked_by", json!([second]), "tasks would wait for each other: "),
        (task(1) + "/blocked_by", json!([first]), "line 2: tasks would wait for each other: 1 → 1"),
        (task(1) + "/parent_id", file[3]["task"]["id"].clone(), "line 4: tasks would be part of each other: "),
        (task(1) + "/blocked_by", json!([nobody]), "line 2: task 1: blocked_by: there is no task"),
        (task(1) + "/parent_id", json!(nobody), "line 2: task 1: parent_id: there is no task"),
        (task(1) + "/parent_id", file[4]["task"]["id"].clone(), "line 2: task 1: parent_id: there is no task"),
        (task(2) + "/number", json!(1), "line 3: two tasks have the number 1"),
        (task(2) + "/id", first.clone(), "line 3: task 2 has the id of task 1"),
        (task(3) + "/external_ref", json!("GH-2"), "line 4: task 3 has the external_ref GH-2 of task 2"),
        ("/5/event/seq".into(), json!(0), "line 6: the event's seq"),
        ("/5/event/seq".into(), json!(1_u64 << 53), "line 6: the event's seq"),
        ("/6/event/seq".into(), json!(3), "line 7: event 3 does not follow event 1"),
        ("/5/event/board_id".into(), json!(nobody), "line 6: event 1 is of another board"),
        ("/5/event/type".into(), json!("stream.gap"), "line 6: "),
        (format!("/{end}/end/head_seq"), json!(0), "head_seq or next_number"),
        (format!("/{end}/end/head_seq"), json!(1_u64 << 53), "head_seq or next_number"),
        (format!("/{end}/end/head_seq"), json!(3), "beyond the head"),
        (format!("/{end}/end/next_number"), json!(0), "head_seq or next_number"),
        (format!("/{end}/end/next_number"), json!(4), "next_number is the number of a task"),
    ];
    let all = json!(file);
    for (at, value, why) in rows {
        let mut bad = all.clone();
        *bad.pointer_mut(&at).unwrap_or_else(|| panic!("{at} is there")) = value.clone();
        let refused = import(&to, &text(bad.as_array().expect("a list"))).await;
        let refused = refused.err().unwrap_or_else(|| panic!("{at} = {value} is taken"));
        let EngineError::Invalid(invalid) = &refused else { panic!("{at} = {value}: {refused}") };
        assert!(invalid.detail.contains(why), "{at} = {value}: {refused}");
    }

    // Of another board of that server: the events' tasks, and the tasks themselves.
    let there = to.board().await;
    let foreign = to.task(there.id, "theirs").await;
    let mut bad = file.clone();
    bad[6]["event"]["task_id"] = json!(foreign.id);
    let refused = import_as(&to, &text(&bad), Some("OURS"), None).await.expect_err("is refused").to_string();
    assert!(refused.contains("line 7: there is an event about task"), "{refused}");
    bad[6]["event"]["task_id"] = json!(nobody);
    import_as(&to, &text(&bad), Some("OURS"), None).await.expect("what is in no file may have been purged");
}

#[tokio::test]
async fn what_changes_meanwhile_is_in_the_file_once_and_right() {
    let (from, to) = (house().await, house().await);
    let board = some_board(&from).await;
    for number in 5..=1_200 {
        from.task(board.id, &format!("task {number}")).await;
    }
    let cards = {
        let mut cards = Vec::new();
        for number in 1..=1_200 {
            let row = from.store.task_numbered(board.id, number).await.expect("reads");
            cards.extend(row.map(|row| row.task));
        }
        cards
    };
    let mut file = Vec::new();
    let mut export = from.engine.export(board.id);
    for _ in 0..2 {
        assert!(pull(&mut export, &mut file).await.expect("goes on"));
    }
    // What is out already is purged, changed and gives its reference to another; what is not out lies in a new column.
    from.engine.delete_task(&me(), cards[10].id, Removal::Purge).await.expect("is purged");
    let edit =
        |reference: Option<&str>| TaskEdit { external_ref: Some(reference.map(str::to_owned)), ..TaskEdit::default() };
    from.engine.update_task(&me(), cards[2].id, edit(None), None).await.expect("is changed");
    from.engine.update_task(&me(), cards[1].id, edit(Some("GH-3")), None).await.expect("is changed");
    from.engine.update_task(&me(), cards[1_000].id, edit(Some("GH-2")), None).await.expect("is changed");
    assert!(pull(&mut export, &mut file).await.expect("goes on"));
    let new = ColumnEdit { name: Some("QA".into()), states: Some(vec![State::Todo]), ..ColumnEdit::default() };
    let (shown, column) = from.engine.add_column(&me(), board.id, new).await.expect("is added").object;
    let move_to = MoveTo { column: Some(column), beside: None };
    from.engine.move_task(&me(), cards[1_150].id, move_to, None).await.expect("is moved");
    for _ in 0..2 {
        assert!(pull(&mut export, &mut file).await.expect("goes on"));
    }
    from.engine.delete_task(&me(), cards[11].id, Removal::Purge).await.expect("is purged");
    from.engine.move_task(&me(), cards[12].id, move_to, None).await.expect("is moved");
    let file = rest_of(export, file).await;

    let imported = import(&to, &file).await.expect("is taken");
    assert_eq!(imported.board.board.columns, shown.columns);
    assert_eq!(imported.tasks, 1_198);
    assert_eq!(to.store.check().await.expect("checks"), Vec::<String>::new());
    let tasks = async |house: &House| {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let page = house.store.export_tasks(board.id, after, 500).await.expect("reads");
            let Some((last, _)) = page.last() else { return all };
            after = last.number;
            all.extend(page.into_iter().map(|(task, deleted)| (kanvoy_domain::Task { rev: 1, ..task }, deleted)));
        }
    };
    assert_eq!(tasks(&to).await, tasks(&from).await);
    for purged in [10, 11] {
        let id = cards[purged].id.to_string();
        let kept = lines(&exported(&to, board.id).await);
        assert!(!kept.iter().any(|line| line["task"]["id"] == json!(id)), "task {purged} is gone");
    }
}

#[tokio::test]
async fn references_change_hands_while_the_file_is_written() {
    let to = house().await;
    let board = some_board(&to).await;
    let mut file = lines(&exported(&to, board.id).await);
    to.engine.delete_board(&me(), board.id, Removal::Purge).await.expect("is purged");
    // Task 2 and 3 swap theirs, and 2 comes first again.
    let (mut second, mut third) = (file[2].clone(), file[3].clone());
    second["task"]["external_ref"] = json!("GH-3");
    third["task"]["external_ref"] = json!("GH-2");
    file.insert(5, third);
    file.insert(5, second);
    let end = file.len() - 1;
    file[end]["end"]["tasks"] = json!(6);
    import_as(&to, &text(&file), Some("SWAP"), None).await.expect("is taken");
    let second = to.store.task_numbered(board.id, 2).await.expect("reads").expect("is there").task;
    assert_eq!(second.external_ref.as_deref(), Some("GH-3"));
    assert_eq!(to.store.check().await.expect("checks"), Vec::<String>::new());
}

#[tokio::test]
async fn deleted_cards_hold_no_column_back() {
    let (from, to) = (house().await, house().await);
    let board = from.board().await;
    let new = ColumnEdit { name: Some("QA".into()), states: Some(vec![State::Todo]), ..ColumnEdit::default() };
    let column = from.engine.add_column(&me(), board.id, new).await.expect("is added").object.1;
    let task = from.task(board.id, "x").await;
    let move_to = MoveTo { column: Some(column), beside: None };
    from.engine.move_task(&me(), task.id, move_to, None).await.expect("is moved");
    from.engine.delete_task(&me(), task.id, Removal::Hide).await.expect("is deleted");
    from.engine.remove_column(&me(), column).await.expect("goes");
    let file = exported(&from, board.id).await;
    import(&to, &file).await.expect("is taken");
    let first = exported(&to, board.id).await;
    assert!(first.starts_with(file.split_once("{\"end\"").expect("an end").0), "{first}");
}

#[tokio::test]
async fn numbers_are_not_used_again_after_a_move() {
    let (from, to) = (house().await, house().await);
    let board = from.board().await;
    let task = from.task(board.id, "x").await;
    from.engine.delete_task(&me(), task.id, Removal::Purge).await.expect("is purged");
    import(&to, &exported(&from, board.id).await).await.expect("is taken");
    assert_eq!(to.task(board.id, "y").await.number, 2);
}

#[tokio::test]
async fn a_board_that_never_rests_or_goes_ends_its_export() {
    let house = house().await;
    let board = house.board().await;
    house.task(board.id, "x").await;
    let mut export = house.engine.export(board.id);
    let mut file = Vec::new();
    for name in 0.. {
        let edit = kanvoy_domain::board::BoardEdit { name: Some(format!("n{name}")), ..Default::default() };
        house.engine.update_board(&me(), board.id, edit, None).await.expect("is changed");
        match pull(&mut export, &mut file).await {
            Ok(more) => assert!(more && name < 1_000, "it comes to an end"),
            Err(error) => {
                assert!(matches!(error, EngineError::Contended), "{error}");
                break;
            }
        }
    }
    for _ in 0..600 {
        house.task(board.id, "y").await;
    }
    let mut export = house.engine.export(board.id);
    file.clear();
    while !String::from_utf8_lossy(&file).contains("{\"event\"") {
        assert!(pull(&mut export, &mut file).await.expect("goes on"));
    }
    house.engine.delete_board(&me(), board.id, Removal::Hide).await.expect("is deleted");
    let mut ended = pull(&mut export, &mut file).await;
    while let Ok(true) = ended {
        ended = pull(&mut export, &mut file).await;
    }
    assert!(matches!(ended, Err(EngineError::NotFound { .. })), "a file of a board that went has no end");
}

#[tokio::test]
async fn the_board_that_is_in_the_way_is_named() {
    let house = house().await;
    let board = house.board().await;
    let file = exported(&house, board.id).await;
    let refused = import_as(&house, &file, Some("NEWK"), None).await.expect_err("is here").to_string();
    assert!(refused.contains(&format!("already, as {}", board.key)) && !refused.contains("NEWK"), "{refused}");

    house.engine.delete_board(&me(), board.id, Removal::Hide).await.expect("is deleted");
    let refused = import_as(&house, &file, Some("NEWK"), None).await.expect_err("is hidden").to_string();
    assert!(refused.contains(&format!("deleted, as {}", board.key)) && !refused.contains("NEWK"), "{refused}");

    let other = house.engine.create_board(&me(), NewBoard { name: "Other".into(), ..NewBoard::default() }).await;
    let file = exported(&house, other.expect("is made").object.id).await.replace("Other", "Othrr");
    let stolen = file.replace(&lines(&file)[0]["board"]["id"].to_string(), "\"01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111\"");
    let refused = import_as(&house, &stolen, Some("NEWK"), None).await.expect_err("its columns are here").to_string();
    assert!(refused.contains("a column of this board"), "{refused}");
    assert_eq!(house.store.half_imported().await.expect("reads"), Vec::new());
}
