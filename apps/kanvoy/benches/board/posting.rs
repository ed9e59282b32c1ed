//! Making a task: durable before it is answered, against a handler that only reads JSON and writes it back.

use std::time::Duration;

use crate::ROUNDS;
use crate::daemon::Server;
use crate::http::{Load, load, request};
use crate::report::{Reach, Report, median};

pub const BODY: &str = r#"{"title":"Teach the parser about tabs","description":"Users paste code that is indented with tabs. The parser takes a tab for one column, so that carets point at the wrong place."}"#;

pub async fn measure(report: &mut Report) {
    let (ours, floor) = (Server::ours().await, Server::floor().await);
    let board = ours.board("Bench").await;
    let path = format!("/api/v1/boards/{board}/tasks");
    let make = request("POST", &path, ours.address, &ours.token, BODY.as_bytes());
    let echo = request("POST", "/echo", floor.address, &floor.token, BODY.as_bytes());
    for (clients, reach) in [(1, Reach::AtLeast(0.2)), (64, Reach::AtLeast(0.4))] {
        let lasting = Duration::from_millis(1500);
        let (mut made, mut echoed): (Vec<Load>, Vec<Load>) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            echoed.push(load(floor.address, clients, lasting, &echo, 201).await);
            made.push(load(ours.address, clients, lasting, &make, 201).await);
        }
        let rate = |loads: &[Load]| median(loads.iter().map(|load| load.per_second).collect());
        report.ratio(format!("POST a task, {clients} clients"), "tasks/s", rate(&made), rate(&echoed), reach);
        let p99 = median(made.iter().map(|load| load.p99.as_secs_f64() * 1e3).collect());
        report.figure(format!("POST a task, {clients} clients, p99"), "ms", p99, Some(10.0));
    }
}
