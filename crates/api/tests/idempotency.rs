//! The same key and the same body get the same answer, and the thing is done once.

mod house;

use futures_util::future::join_all;
use house::{House, text};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn keyed(house: &House, path: &str, key: &str, body: Value) -> (StatusCode, bool, Value) {
    let request = house.ask(Method::POST, path).header("idempotency-key", key).json(&body);
    let response = request.send().await.expect("is answered");
    let replayed = response.headers().contains_key("idempotency-replayed");
    (response.status(), replayed, response.json().await.expect("is JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_make_one_task() {
    let house = House::new().await;
    let board = house.board("IDE").await;
    let path = format!("/api/v1/boards/{board}/tasks");
    let all = join_all((0..50).map(|_| keyed(&house, &path, "once", json!({"title": "x"})))).await;
    let first = &all[0].2;
    for (status, _, task) in &all {
        assert_eq!((status, task), (&StatusCode::CREATED, first));
    }
    assert_eq!(all.iter().filter(|(_, replayed, _)| !replayed).count(), 1, "one did it, the others heard of it");
    assert_eq!(house.get(&path).await.1["items"].as_array().map(Vec::len), Some(1));

    let (status, _, problem) = keyed(&house, &path, "once", json!({"title": "y"})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("idempotency_key_reused")));
    let (status, _, problem) = keyed(&house, "/api/v1/boards", "once", json!({"name": "x"})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("idempotency_key_reused")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_stays_whatever_becomes_of_the_world() {
    let house = House::new().await;
    let board = house.board("IDW").await;
    let path = format!("/api/v1/boards/{board}/tasks");
    let (_, _, task) = keyed(&house, &path, "k1", json!({"title": "x"})).await;
    let id = text(&task, "id");
    let (_, shown) = house.get("/api/v1/boards/IDW").await;
    let progress = json!({"column_id": shown["columns"][2]["id"]});
    let (status, _, moved) = keyed(&house, &format!("/api/v1/tasks/{id}/move"), "k2", progress.clone()).await;
    assert_eq!((status, &moved["state"]), (StatusCode::OK, &json!("IN_PROGRESS")), "{moved}");
    house.patch(&format!("/api/v1/tasks/{id}/state"), json!({"state": "COMPLETED"})).await;
    assert_eq!(house.delete(&format!("/api/v1/tasks/{id}")).await.0, StatusCode::OK);
    let again = keyed(&house, &format!("/api/v1/tasks/{id}/move"), "k2", progress).await;
    assert_eq!(again, (StatusCode::OK, true, moved));
    let again = keyed(&house, &path, "k1", json!({"title": "x"})).await;
    assert_eq!(again, (StatusCode::CREATED, true, task));

    let columns = "/api/v1/boards/IDW/columns";
    let column = json!({"name": "QA", "states": ["REVIEW"]});
    let (status, _, made) = keyed(&house, columns, "k3", column.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    let by_key = "/api/v1/boards/IDW/tasks";
    let (_, _, second) = keyed(&house, by_key, "k4", json!({"title": "y"})).await;
    // Neither by its id nor by its key is the board to be found any more.
    assert_eq!(house.delete("/api/v1/boards/IDW").await.0, StatusCode::OK);
    assert_eq!(keyed(&house, columns, "k3", column).await, (StatusCode::CREATED, true, made));
    assert_eq!(keyed(&house, by_key, "k4", json!({"title": "y"})).await, (StatusCode::CREATED, true, second));
    assert_eq!(keyed(&house, by_key, "k5", json!({"title": "y"})).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_holds_to_its_key_too() {
    let house = House::new().await;
    assert_eq!(keyed(&house, "/api/v1/boards", "k", json!({"name": "x"})).await.0, StatusCode::CREATED);
    let logout = async |key: &str| {
        let request = house.ask(Method::POST, "/api/v1/auth/logout").header("idempotency-key", key);
        let response = request.send().await.expect("is answered");
        (response.status(), response.headers().contains_key("idempotency-replayed"))
    };
    assert_eq!(logout("k").await, (StatusCode::CONFLICT, false));
    assert_eq!(logout("out").await, (StatusCode::NO_CONTENT, false));
    assert_eq!(logout("out").await, (StatusCode::NO_CONTENT, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_survive_a_restart() {
    let house = House::new().await;
    let made = keyed(&house, "/api/v1/boards", "k", json!({"name": "x"})).await;
    let (_, dir) = house.stop().await;
    let house = House::built(house::How { dir: Some(dir), ..house::How::default() }).await;
    let again = keyed(&house, "/api/v1/boards", "k", json!({"name": "x"})).await;
    assert_eq!(again, (StatusCode::CREATED, true, made.2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_does_not_use_the_key_up() {
    let house = House::new().await;
    let board = house.board("IDR").await;
    let (status, _, _) = keyed(&house, &format!("/api/v1/boards/{board}/tasks"), "k", json!({"title": ""})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _, _) = keyed(&house, "/api/v1/boards", "k", json!({"name": "y", "key": "IDR"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, replayed, _) = keyed(&house, "/api/v1/boards", "k", json!({"name": "y"})).await;
    assert_eq!((status, replayed), (StatusCode::CREATED, false));
    for bad in ["", &"x".repeat(201), "caf\u{e9}"] {
        let (status, _, problem) = keyed(&house, "/api/v1/boards", bad, json!({"name": "y"})).await;
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("Idempotency-Key")), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_answered_again_too() {
    let house = House::new().await;
    let (_, _, ticket) = keyed(&house, "/api/v1/auth/ticket", "t", json!({})).await;
    assert_eq!(keyed(&house, "/api/v1/auth/ticket", "t", json!({})).await, (StatusCode::CREATED, true, ticket));
    let (status, _, _) = keyed(&house, "/api/v1/auth/link", "t", json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_taken_once() {
    let house = House::new().await;
    house.board("OUT").await;
    let file = house.ask(Method::GET, "/api/v1/boards/OUT/export").send().await.expect("is answered");
    let file = file.text().await.expect("is text");
    assert_eq!(house.delete("/api/v1/boards/OUT?purge=true").await.0, StatusCode::OK);
    let take = async |file: &str| {
        let request = house.ask(Method::POST, "/api/v1/boards/import").header("idempotency-key", "file");
        let request = request.header("content-type", "application/x-ndjson").body(file.to_owned());
        let response = request.send().await.expect("is answered");
        let replayed = response.headers().contains_key("idempotency-replayed");
        (response.status(), replayed, response.json::<Value>().await.expect("is JSON"))
    };
    let (status, replayed, board) = take(&file).await;
    assert_eq!((status, replayed, &board["key"]), (StatusCode::CREATED, false, &json!("OUT")));
    assert_eq!(take(&file).await, (StatusCode::CREATED, true, board));
    let (status, _, problem) = take("{}").await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("idempotency_key_reused")));
}
