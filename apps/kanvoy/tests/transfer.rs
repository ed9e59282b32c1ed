//! A board goes from one daemon to another by way of a file, and nothing is lost on the way.

mod support;

use std::fs;

use support::{Daemon, Ran};

fn exported(daemon: &Daemon, name: &str) -> String {
    let file = daemon.room.path().join(name);
    daemon.run(&["export", "KAN", "-o", file.to_str().expect("is text")]).ok();
    fs::read_to_string(file).expect("is there")
}

#[test]
fn a_board_moves_to_another_daemon() {
    let (from, to) = (Daemon::start(), Daemon::start());
    let run = |args: &[&str]| -> Ran { from.run(args).ok() };
    run(&["board", "create", "Kanvoy", "--key", "KAN", "--repository-url", "https://example.com/kanvoy.git"]);
    run(&["board", "update", "KAN", "--review", "person", "--keep-events", "1000"]);
    run(&["task", "create", "Fix the login", "-l", "bug,ui", "-p", "high", "--external-ref", "GH-7"]);
    run(&["task", "create", "Größe \u{1f680} \"quoted\"", "--blocked-by", "1"]);
    run(&["task", "create", "Part", "--parent", "KAN-1", "--state", "backlog"]);
    run(&["task", "create", "Deleted"]);
    run(&["task", "create", "Purged"]);
    run(&["column", "add", "QA", "--state", "review,verify", "--position", "4", "--wip-limit", "3"]);
    run(&["task", "state", "1", "in-progress"]);
    run(&["task", "state", "1", "review", "--reason", "have a look"]);
    run(&["task", "move", "1", "QA"]);
    run(&["task", "move", "2", "--before", "3"]);
    run(&["task", "archive", "3"]);
    run(&["task", "delete", "4"]);
    run(&["task", "delete", "5", "--purge", "--yes"]);

    let sent = exported(&from, "sent");
    let file = from.room.path().join("sent");
    to.run(&["import", file.to_str().expect("is text")]).ok();
    let back = exported(&to, "back");

    // Its coming here is the one event more, and the last.
    let mut expected: Vec<&str> = sent.lines().collect();
    let mut found: Vec<&str> = back.lines().collect();
    let (old_end, new_end) = (expected.pop().expect("an end"), found.pop().expect("an end"));
    let imported = found.pop().expect("an event");
    assert!(imported.contains("\"type\":\"board.imported\""), "{imported}");
    assert_eq!(found, expected);
    let read = |end: &str| serde_json::from_str::<serde_json::Value>(end).expect("is JSON")["end"].clone();
    let (old_end, new_end) = (read(old_end), read(new_end));
    for (count, more) in [("tasks", 0), ("events", 1), ("head_seq", 1), ("next_number", 0)] {
        assert_eq!(new_end[count].as_u64(), old_end[count].as_u64().map(|old| old + more), "{count}");
    }

    let refused = to.run(&["import", file.to_str().expect("is text"), "--key", "NEWK"]);
    assert!(refused.code != 0 && refused.stderr.contains("as KAN;"), "{}", refused.stderr);
    let other = to.run(&["task", "create", "Next", "--json"]).ok().json();
    assert_eq!(other["number"], 6, "no number is used again: {other}");
}
