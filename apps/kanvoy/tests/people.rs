//! People at the command line: let in, logged in, kept apart and kept out.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use support::{Daemon, Room};

const PASSWORD: &str = "correct horse";

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("is there").mode() & 0o777
}

#[test]
fn the_first_admin_opens_the_door_to_others() {
    let room = Room::new();
    fs::create_dir_all(room.data()).expect("is made");
    let file = room.path().join("password");
    fs::write(&file, "short\n").expect("is written");
    let config = format!("admin_password_file = {:?}\n", file.display().to_string());
    fs::write(room.data().join("kanvoy.toml"), config).expect("is written");
    let refused = room.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("8 characters"), "{}", refused.stderr);

    fs::write(&file, format!("{PASSWORD}\n")).expect("is written");
    let mut daemon = Daemon::start_in(room, &["--listen", "0.0.0.0:0"]);
    let data = daemon.room.data();
    let login = daemon.room.run_with_input(&["auth", "login", "admin", "--json"], &format!("{PASSWORD}\n")).ok();
    assert_eq!(login.json()["role"], "admin", "{}", login.stdout);
    for name in ["login.json", "auth-keys.json"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    assert!(!fs::read_to_string(data.join("login.json")).expect("reads").contains(PASSWORD));
    assert!(daemon.stop().success());

    // It is made once, and later starts need its password no more.
    fs::remove_file(&file).expect("is removed");
    fs::remove_file(data.join("kanvoy.toml")).expect("is removed");
    daemon.start_again();
    daemon.run(&["auth", "me"]).ok();
    daemon.run(&["user", "disable", "admin"]).ok();
    assert_eq!(daemon.run(&["auth", "me"]).code, 4, "its login went with it");
    fs::remove_file(data.join("login.json")).expect("is there");
    assert!(daemon.stop().success());
    let refused = daemon.room.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2, "nobody can log in any more: {}", refused.stderr);
    assert!(refused.stderr.contains("no login"), "{}", refused.stderr);
}

#[test]
fn people_at_the_command_line() {
    let daemon = Daemon::start();
    let room = &daemon.room;
    let with = |args: &[&str], input: &str| room.run_with_input(args, input);
    with(&["user", "create", "ada"], "correct horse\n").ok();
    with(&["user", "create", "bob", "--role", "viewer"], "correct horse\n").ok();
    assert_eq!(with(&["user", "create", "ada"], "correct horse\n").code, 6, "the name is taken");
    assert_eq!(with(&["user", "create", "eve"], "short\n").code, 2, "too short");
    assert_eq!(with(&["user", "create", "eve", "--role", "queen"], "").code, 2);
    daemon.run(&["board", "create", "Ours", "--key", "OURS"]).ok();
    daemon.run(&["board", "create", "Mine", "--key", "MINE"]).ok();
    daemon.run(&["--board", "OURS", "board", "member", "add", "ada"]).ok();
    let members = daemon.run(&["--board", "OURS", "board", "member", "list", "--json"]).ok();
    assert_eq!(members.json()["items"][0]["name"], "ada", "{}", members.stdout);

    assert_eq!(with(&["auth", "login", "ada"], "wrong\n").code, 4);
    with(&["auth", "login", "ada"], "correct horse\n").ok();
    assert_eq!(daemon.run(&["auth", "me", "--json"]).ok().json()["name"], "ada");
    let boards = daemon.run(&["board", "list", "--json"]).ok().json();
    assert_eq!(boards["items"].as_array().map(Vec::len), Some(1), "{boards}");
    daemon.run(&["task", "create", "Hers"]).ok();
    assert_eq!(daemon.run(&["board", "show", "MINE"]).code, 5, "not there for her");
    assert_eq!(daemon.run(&["user", "list"]).code, 4, "not hers to see");
    let token = daemon.run(&["token", "create", "ci", "--scope", "read"]).ok().stdout.trim().to_owned();
    assert!(token.starts_with("kanvoy_pat_"), "{token}");
    with(&["user", "password"], "correct horse\nanother horse\n").ok();
    daemon.run(&["auth", "logout"]).ok();
    assert_eq!(daemon.run(&["auth", "me", "--json"]).ok().json()["id"], "local", "back to the machine's token");
    assert_eq!(with(&["auth", "login", "ada"], "correct horse\n").code, 4, "that was her password before");

    let as_program = |args: &[&str]| room.command().args(args).env("KANVOY_TOKEN", &token).output().expect("runs");
    assert!(as_program(&["task", "list", "--board", "OURS"]).status.success());
    assert_eq!(as_program(&["task", "create", "x", "--board", "OURS"]).status.code(), Some(4), "it only reads");
    daemon.run(&["auth", "rotate-keys"]).ok();
    daemon.run(&["user", "disable", "ada"]).ok();
    assert_eq!(as_program(&["task", "list", "--board", "OURS"]).status.code(), Some(4), "its owner is kept out");
    assert!(daemon.run(&["events", "--system"]).ok().stdout.contains("user."));
}
