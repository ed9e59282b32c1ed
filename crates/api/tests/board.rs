//! Boards, columns and tasks through their doors: shapes, changes, lists, refusals.

mod house;

use house::{House, text, told};
use kanvoy_domain::{Actor, BoardId, EventKind, Log, NewEvent, Timestamp};
use kanvoy_store::Commit;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_board_from_its_making_to_its_end() {
    let house = House::new().await;
    let (status, board) =
        house.post("/api/v1/boards", json!({"name": "Kanvoy", "description": "d", "default_branch": "main"})).await;
    assert_eq!(status, StatusCode::CREATED, "{board}");
    assert_eq!((&board["key"], &board["version"], &board["seq"]), (&json!("KANV"), &json!(1), &json!(1)));
    assert_eq!(board["repository_url"], Value::Null);
    assert_eq!(board["columns"].as_array().map(Vec::len), Some(6));
    let defaults = json!({"review": "nobody", "verify": false, "planner": null, "default_agent_type": null,
        "retention": {"max_events": null, "max_age_days": null}});
    assert_eq!(board["settings"], defaults);

    let id = text(&board, "id");
    for name in [&id, "KANV", "kanv"] {
        let (status, shown) = house.get(&format!("/api/v1/boards/{name}")).await;
        assert_eq!((status, &shown["id"], &shown["head_seq"]), (StatusCode::OK, &board["id"], &json!(1)), "{name}");
        assert!(shown.get("seq").is_none());
    }

    let edit = json!({"name": "Kanvoy 2", "default_branch": null, "settings": {"review": "person"}, "version": 1});
    let (status, edited) = house.patch("/api/v1/boards/KANV", edit.clone()).await;
    assert_eq!((status, &edited["name"], &edited["version"]), (StatusCode::OK, &json!("Kanvoy 2"), &json!(2)));
    assert_eq!((&edited["default_branch"], &edited["settings"]["review"]), (&Value::Null, &json!("person")));
    assert_eq!((&edited["description"], &edited["seq"]), (&json!("d"), &json!(2)));

    let (status, stale) = house.patch("/api/v1/boards/KANV", edit).await;
    assert_eq!(
        (status, &stale["code"], &stale["current_version"]),
        (StatusCode::CONFLICT, &json!("stale_version"), &json!(2))
    );

    let (status, taken) = house.post("/api/v1/boards", json!({"name": "x", "key": "KANV"})).await;
    assert_eq!((status, &taken["code"]), (StatusCode::CONFLICT, &json!("key_taken")));

    let (status, gone) = house.delete("/api/v1/boards/KANV").await;
    assert_eq!((status, &gone["deleted"], &gone["name"]), (StatusCode::OK, &json!(true), &json!("Kanvoy 2")), "{gone}");
    let (status, missing) = house.get(&format!("/api/v1/boards/{id}")).await;
    assert_eq!((status, &missing["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_share_their_boards_version() {
    let house = House::new().await;
    let board = house.board("COL").await;
    let new = json!({"name": "Released", "states": ["COMPLETED"], "wip_limit": 3, "position": 0});
    let (status, column) = house.post(&format!("/api/v1/boards/{board}/columns"), new).await;
    assert_eq!(
        (status, &column["version"], &column["wip_limit"]),
        (StatusCode::CREATED, &json!(2), &json!(3)),
        "{column}"
    );
    assert_eq!((&column["board_id"], &column["states"]), (&json!(board), &json!(["COMPLETED"])));
    let path = format!("/api/v1/columns/{}", text(&column, "id"));

    let (status, edited) = house.patch(&path, json!({"name": "Out", "wip_limit": null, "position": 2})).await;
    assert_eq!((status, &edited["name"], &edited["wip_limit"]), (StatusCode::OK, &json!("Out"), &Value::Null));
    let (status, refused) = house.patch(&path, json!({"name": "Out", "version": 1})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("stale_version")));

    let (status, left) = house.delete(&path).await;
    assert_eq!((status, left["columns"].as_array().map(Vec::len)), (StatusCode::OK, Some(6)), "{left}");
    let todo = left["columns"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|it| it["states"] == json!(["TODO"]))
        .expect("is there");
    let (status, refused) = house.delete(&format!("/api/v1/columns/{}", text(todo, "id"))).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("last_column_of_state")), "{refused}");
    for path in ["/api/v1/columns/nothing", "/api/v1/columns/01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111"] {
        assert_eq!(house.patch(path, json!({"name": "x"})).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_from_its_making_to_its_end() {
    let house = House::new().await;
    let board = house.board("TSK").await;
    let new = json!({"title": "  Fix it ", "labels": ["bug", "bug"], "priority": "high", "external_ref": "GH-1",
        "agent_type": "demo", "branch": "fix/it"});
    let (status, task) = house.post(&format!("/api/v1/boards/{board}/tasks"), new.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{task}");
    for (field, value) in [
        ("title", json!("Fix it")),
        ("number", json!(1)),
        ("state", json!("TODO")),
        ("labels", json!(["bug"])),
        ("priority", json!("high")),
        ("description", json!("")),
        ("blocked_by", json!([])),
        ("parent_id", Value::Null),
        ("live", json!({"note": null, "percent": null, "cost": null})),
        ("current_run_id", Value::Null),
        ("open_requests", json!(0)),
        ("attempts", json!(0)),
        ("failure", Value::Null),
        ("version", json!(1)),
        ("repository_url", Value::Null),
        ("archived_at", Value::Null),
        ("board_id", json!(board)),
        ("seq", json!(2)),
    ] {
        assert_eq!(task[field], value, "{field}");
    }
    assert_eq!(task["waiting"][0]["code"], "no_agents");
    let id = text(&task, "id");
    let path = format!("/api/v1/tasks/{id}");
    assert_eq!(house.get("/api/v1/tasks/tsk-1").await.1["id"], json!(id));

    let (status, taken) = house.post(&format!("/api/v1/boards/{board}/tasks"), new).await;
    assert_eq!(
        (status, &taken["code"], &taken["field"]),
        (StatusCode::CONFLICT, &json!("external_ref_taken"), &json!("external_ref"))
    );

    // Left out stays, null clears, null where nothing can be cleared is refused and named.
    let (status, edited) = house.patch(&path, json!({"agent_type": null, "priority": "low", "version": 1})).await;
    assert_eq!(
        (status, &edited["agent_type"], &edited["branch"]),
        (StatusCode::OK, &Value::Null, &json!("fix/it")),
        "{edited}"
    );
    let (status, refused) = house.patch(&path, json!({"title": null})).await;
    assert_eq!(
        (status, &refused["fields"][0]["pointer"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("/title")),
        "{refused}"
    );

    let (status, refused) = house.patch(&format!("{path}/state"), json!({"state": "VERIFY"})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("illegal_transition")));
    assert_eq!(refused["legal"], json!(["BACKLOG", "IN_PROGRESS", "COMPLETED", "CANCELLED"]));
    let (status, started) = house.patch(&format!("{path}/state"), json!({"state": "IN_PROGRESS"})).await;
    assert_eq!((status, &started["state"]), (StatusCode::OK, &json!("IN_PROGRESS")), "{started}");

    let other = house.task(&board, "other").await;
    let (status, waits) =
        house.patch(&format!("/api/v1/tasks/{}", text(&other, "id")), json!({"blocked_by": [id]})).await;
    assert_eq!((status, &waits["waiting"][0]["code"]), (StatusCode::OK, &json!("blocked")), "{waits}");
    let (status, circle) = house.patch(&path, json!({"blocked_by": [other["id"]]})).await;
    assert_eq!((status, &circle["code"]), (StatusCode::CONFLICT, &json!("dependency_cycle")));
    assert_eq!(circle["path"], json!(["TSK-1", "TSK-2", "TSK-1"]));
    let (status, hindered) = house.delete(&path).await;
    assert_eq!((status, &hindered["code"]), (StatusCode::CONFLICT, &json!("has_dependents")), "{hindered}");

    let (_, all) = house.get(&format!("/api/v1/boards/{board}")).await;
    let done = all["columns"].as_array().expect("a list").iter().find(|it| it["name"] == "Done").expect("is there");
    let (status, moved) = house.post(&format!("{path}/move"), json!({"column_id": done["id"]})).await;
    assert_eq!(
        (status, &moved["state"], &moved["column_id"]),
        (StatusCode::OK, &json!("COMPLETED"), &done["id"]),
        "{moved}"
    );
    let (status, refused) = house.post(&format!("{path}/move"), json!({})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_body")));

    house.patch(&format!("/api/v1/tasks/{}", text(&other, "id")), json!({"blocked_by": []})).await;
    let (status, gone) = house.delete(&path).await;
    assert_eq!((status, &gone["deleted"]), (StatusCode::OK, &json!(true)), "{gone}");
    assert_eq!(house.get(&path).await.0, StatusCode::NOT_FOUND);
    let (status, events) = house.get(&format!("{path}/events?types=task.deleted")).await;
    assert_eq!((status, &events["items"][0]["type"]), (StatusCode::OK, &json!("task.deleted")), "{events}");
    let (status, gone) = house.delete(&format!("{path}?purge=true")).await;
    assert_eq!((status, &gone["purged"]), (StatusCode::OK, &json!(true)), "{gone}");
    assert_eq!(house.delete(&format!("{path}?purge=true")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_are_filtered() {
    let house = House::new().await;
    let board = house.board("LST").await;
    for number in 1..=5 {
        let priority = if number % 2 == 0 { "high" } else { "low" };
        let new =
            json!({"title": format!("Größe {number}"), "priority": priority, "labels": [format!("l{number}"), "all"]});
        house.post(&format!("/api/v1/boards/{board}/tasks"), new).await;
    }
    house.patch("/api/v1/tasks/LST-5/state", json!({"state": "COMPLETED"})).await;
    let tasks = format!("/api/v1/boards/{board}/tasks");
    let numbers = async |path: String| -> Vec<u64> {
        let (status, page) = house.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        page["items"].as_array().expect("a list").iter().filter_map(|it| it["number"].as_u64()).collect()
    };
    assert_eq!(numbers(tasks.clone()).await, [1, 2, 3, 4, 5]);
    assert_eq!(numbers(format!("{tasks}?order=newest")).await, [5, 4, 3, 2, 1]);
    assert_eq!(numbers(format!("{tasks}?state=COMPLETED&state=TODO&priority=high")).await, [2, 4]);
    assert_eq!(numbers(format!("{tasks}?state=COMPLETED,REVIEW")).await, [5]);
    assert_eq!(numbers(format!("{tasks}?label=l3&label=all")).await, [3]);
    assert_eq!(numbers(format!("{tasks}?q=gr%C3%B6%C3%9Fe%204")).await, [4]);
    assert_eq!(numbers("/api/v1/search?q=gr%C3%B6%C3%9Fe&board=LST&limit=2".into()).await, [1, 2]);
    assert_eq!(numbers("/api/v1/search?q=nothing".into()).await, [0; 0]);

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = house.get(&format!("{tasks}?limit=2&cursor={cursor}")).await;
        seen.extend(page["items"].as_array().expect("a list").iter().filter_map(|it| it["number"].as_u64()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);

    for key in ["LSA", "LSB"] {
        house.board(key).await;
    }
    let (_, first) = house.get("/api/v1/boards?limit=2").await;
    let next = text(&first, "next_cursor");
    let (_, second) = house.get(&format!("/api/v1/boards?limit=2&cursor={next}")).await;
    assert_eq!((second["items"].as_array().map(Vec::len), &second["next_cursor"]), (Some(1), &Value::Null));
    house.patch("/api/v1/boards/LSA", json!({"archived": true})).await;
    assert_eq!(house.get("/api/v1/boards").await.1["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(house.get("/api/v1/boards?archived=true").await.1["items"].as_array().map(Vec::len), Some(3));

    let (_, page) = house.get(&format!("/api/v1/boards/{board}/events?limit=3")).await;
    assert_eq!((&page["items"][0]["seq"], &page["next_cursor"]), (&json!(1), &json!("3")), "{page}");
    let (_, rest) = house.get(&format!("/api/v1/boards/{board}/events?after=3&types=task.*,!task.created")).await;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(1), "{rest}");
    assert_eq!((&rest["items"][0]["type"], &rest["next_cursor"]), (&json!("task.state_changed"), &Value::Null));

    for bad in [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=x",
        "state=DONE",
        "priority=1",
        "order=odd",
        "archived=2",
        "column_id=x",
        "parent_id=x",
    ] {
        let (status, refused) = house.get(&format!("{tasks}?{bad}")).await;
        assert_eq!(
            (status, &refused["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_parameter")),
            "{bad}"
        );
        assert_eq!(refused["field"], json!(bad.split('=').next()), "{bad}");
    }
    assert_eq!(house.get(&format!("{tasks}?nobody=knows&limit=")).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_goes_out_as_a_file_and_comes_in_again() {
    let house = House::new().await;
    let board = house.board("OUT").await;
    for number in 1..=30 {
        house.task(&board, &format!("task {number}")).await;
    }
    let file = house.ask(Method::GET, "/api/v1/boards/OUT/export").send().await.expect("is answered");
    assert_eq!(file.headers()["content-type"], "application/x-ndjson");
    assert_eq!(file.headers()["content-disposition"], "attachment; filename=\"OUT.kanvoy.ndjson\"");
    let file = file.bytes().await.expect("comes");

    let send = |body: Vec<u8>, query: &str| {
        let request = house.ask(Method::POST, &format!("/api/v1/boards/import{query}"));
        told(request.header("content-type", "application/x-ndjson").body(body))
    };
    let (status, refused) = send(file.to_vec(), "").await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert_eq!(house.delete("/api/v1/boards/OUT?purge=true").await.0, StatusCode::OK);
    let (status, refused) = send(file[..file.len() / 2].to_vec(), "").await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_body")), "{refused}");
    let (status, back) = send(file.to_vec(), "?key=BACK&name=Back").await;
    assert_eq!((status, &back["key"], &back["id"]), (StatusCode::CREATED, &json!("BACK"), &json!(board)), "{back}");
    assert_eq!(house.get("/api/v1/tasks/BACK-30").await.1["title"], "task 30");
    let (status, refused) = told(house.ask(Method::POST, "/api/v1/boards/import").json(&json!({}))).await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("unsupported_media_type")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_large_events_is_read_to_its_end() {
    let house = House::new().await;
    let board: BoardId = house.board("BIG").await.parse().expect("is an id");
    let large = |n: u64| {
        let data = json!({"n": n, "text": "x".repeat(1_500_000)});
        NewEvent::new(Log::Board(board), EventKind::BoardUpdated, Timestamp::from_millis(1), Actor::engine(), &data)
    };
    house.store.commit(Commit::new(vec![], (0..4).map(large).collect())).await.expect("is kept");
    let (mut seqs, mut pages, mut cursor) = (Vec::new(), 0, String::from("0"));
    loop {
        let (status, page) = house.get(&format!("/api/v1/boards/{board}/events?cursor={cursor}")).await;
        assert_eq!(status, StatusCode::OK);
        seqs.extend(page["items"].as_array().expect("a list").iter().filter_map(|event| event["seq"].as_u64()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((seqs, pages), (vec![1, 2, 3, 4, 5], 2), "an answer ends before it is too large, the log does not");
}
