//! Every command as it is typed and as it answers: what a person sees, what a script gets, and the exit code. The answers
//! are in `snapshots/`; what differs from run to run (ids, times, ports, folders) is written as its name.

mod support;

use std::fmt::Write as _;

use support::{Daemon, Piped, Ran, Room};

/// A session at a terminal, as it would be copied from one.
#[derive(Default)]
struct Story(String);

impl Story {
    fn run(&mut self, room: &Room, args: &[&str]) -> Ran {
        let ran = room.run(args);
        self.tell(args, "", &ran);
        ran
    }

    fn run_with_input(&mut self, room: &Room, args: &[&str], input: &str) {
        let ran = room.run_with_input(args, input);
        self.tell(args, &format!("echo {input:?} | "), &ran);
    }

    fn tell(&mut self, args: &[&str], before: &str, ran: &Ran) {
        let plain =
            |arg: &str| arg.chars().all(|c| c.is_ascii_alphanumeric() || "-_=.,:/#!".contains(c)) && !arg.is_empty();
        let typed: Vec<String> =
            args.iter().map(|arg| if plain(arg) { (*arg).to_owned() } else { format!("{arg:?}") }).collect();
        let _ = writeln!(self.0, "$ {before}kanvoy {}", typed.join(" "));
        self.0.push_str(&ran.stdout);
        for line in ran.stderr.lines() {
            let _ = writeln!(self.0, "! {line}");
        }
        if ran.code != 0 {
            let _ = writeln!(self.0, "[exit {}]", ran.code);
        }
        self.0.push('\n');
    }

    /// Compares with what is kept.
    #[track_caller]
    fn ends(self, name: &str, room: &Room) {
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let folder = room.path().display().to_string().replace('.', r"\.");
        for (pattern, name) in [
            (folder.as_str(), "<room>"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
            (r"\d{4}-\d\d-\d\d[ -]\d\d[:-]\d\d[:-]\d\d", "<time>"),
            (r"(?m)^\d\d:\d\d:\d\d", "<clock>"),
            (r"127\.0\.0\.1:\d+", "<address>"),
            (r"/login/[A-Za-z0-9_-]+", "/login/<code>"),
            (r#"("rank": ?)"[^"]+""#, "$1<rank>"),
            (r"pid \d+", "pid <pid>"),
            (r"\d+ MiB free", "<n> MiB free"),
            (r"\d+ bytes", "<n> bytes"),
            (r#"("bytes": )\d+"#, "$1<n>"),
            (r"kanvoy 0\.1\.0", "kanvoy <version>"),
            (r#"("version": )"0\.1\.0""#, "$1<version>"),
        ] {
            settings.add_filter(pattern, name);
        }
        settings.bind(|| insta::assert_snapshot!(name, self.0));
    }
}

#[test]
fn boards() {
    let daemon = Daemon::start();
    let (room, mut story) = (&daemon.room, Story::default());
    story.run(room, &["board", "list"]);
    story.run(room, &["task", "list"]);
    story.run(
        room,
        &["board", "create", "Kanvoy", "--key", "KAN", "--repository-url", "https://example.com/kanvoy.git"],
    );
    story.run_with_input(room, &["board", "create", "Second board", "-d", "-"], "What it is about:\n\n- this\n");
    story.run(room, &["board", "create", "Again", "--key", "KAN"]);
    story.run(room, &["board", "create", "", "--key", "no key"]);
    story.run(room, &["board", "list"]);
    story.run(room, &["board", "show"]);
    story.run(room, &["board", "show", "KAN"]);
    story.run(room, &["board", "show", "kan", "--json"]);
    story.run(room, &["board", "update", "KAN"]);
    let update = ["board", "update", "KAN", "--name", "Kanvoy!", "--review", "person", "--keep-events", "1000"];
    story.run(room, &update);
    story.run(room, &["board", "update", "KAN", "--repository-url", "", "--version", "1"]);
    story.run(room, &["board", "update", "KAN", "--repository-url", "", "--version", "2"]);
    story.run(room, &["board", "show", "KAN"]);
    story.run(room, &["board", "archive", "KAN"]);
    story.run(room, &["task", "create", "Too late", "--board", "KAN"]);
    story.run(room, &["board", "list"]);
    story.run(room, &["board", "list", "--archived"]);
    story.run(room, &["board", "unarchive", "KAN"]);
    story.run(room, &["board", "delete", "KAN"]);
    story.run(room, &["board", "delete", "KAN"]);
    story.run(room, &["board", "list", "--json"]);
    story.ends("boards", room);
}

#[test]
fn columns() {
    let daemon = Daemon::start();
    let (room, mut story) = (&daemon.room, Story::default());
    room.run(&["board", "create", "Kanvoy", "--key", "KAN"]).ok();
    story.run(room, &["column", "list"]);
    story.run(room, &["column", "add", "QA", "--state", "review,verify", "--position", "4", "--wip-limit", "3"]);
    story.run(room, &["column", "update", "qa", "--name", "Quality", "--wip-limit", "0"]);
    story.run(room, &["column", "update", "quality"]);
    story.run(room, &["column", "list"]);
    story.run(room, &["column", "list", "--json"]);
    story.run(room, &["column", "remove", "Done"]);
    story.run(room, &["column", "remove", "nowhere"]);
    story.run(room, &["column", "add", "Empty", "--state", "DOING"]);
    story.run(room, &["column", "remove", "Quality"]);
    story.ends("columns", room);
}

#[test]
fn tasks() {
    let daemon = Daemon::start();
    let (room, mut story) = (&daemon.room, Story::default());
    room.run(&["board", "create", "Kanvoy", "--key", "KAN"]).ok();
    let create = ["task", "create", "Fix the login", "-l", "bug,ui", "-p", "high", "--external-ref", "GH-7"];
    story.run(room, &create);
    story.run_with_input(room, &["task", "create", "Second", "-d", "-", "--blocked-by", "1"], "Line one\nLine two\n");
    story.run(room, &["task", "create", "Part", "--parent", "KAN-1", "--state", "backlog"]);
    story.run(room, &["task", "create", "Again", "--external-ref", "GH-7"]);
    story.run(room, &["task", "create", ""]);
    story.run(room, &["task", "list"]);
    story.run(room, &["task", "list", "--state", "todo", "--label", "bug"]);
    story.run(room, &["task", "list", "--query", "second"]);
    story.run(room, &["task", "list", "--column", "backlog"]);
    story.run(room, &["task", "list", "--parent", "1", "--limit", "1", "--order", "newest"]);
    story.run(room, &["task", "show", "1"]);
    story.run(room, &["task", "show", "#2"]);
    story.run(room, &["task", "show", "kan-1", "--json"]);
    story.run(room, &["task", "update", "2", "--title", "Second, better", "-l", "docs", "--priority", "urgent"]);
    story.run(room, &["task", "update", "1", "--remove-label", "ui", "--external-ref", "", "--blocked-by", "2"]);
    story.run(room, &["task", "update", "1", "--remove-label", "ui", "--external-ref", ""]);
    story.run(room, &["task", "update", "1", "--title", "Stale", "--version", "1"]);
    story.run(room, &["task", "explain", "2"]);
    story.run(room, &["task", "explain", "2", "--json"]);
    story.run(room, &["task", "archive", "3"]);
    story.run(room, &["task", "list"]);
    story.run(room, &["task", "list", "--archived"]);
    story.run(room, &["task", "unarchive", "3"]);
    story.run(room, &["task", "delete", "1"]);
    story.run(room, &["task", "delete", "3"]);
    story.run(room, &["task", "show", "3"]);
    story.run(room, &["task", "delete", "2", "--purge", "--yes"]);
    story.run(room, &["task", "show", "two"]);
    story.run(room, &["task", "show", "ZZ-1"]);
    story.ends("tasks", room);
}

#[test]
fn moves() {
    let daemon = Daemon::start();
    let (room, mut story) = (&daemon.room, Story::default());
    room.run(&["board", "create", "Kanvoy", "--key", "KAN"]).ok();
    for title in ["One", "Two", "Three"] {
        room.run(&["task", "create", title]).ok();
    }
    story.run(room, &["task", "move", "3", "--before", "1"]);
    story.run(room, &["task", "list"]);
    story.run(room, &["task", "move", "1"]);
    story.run(room, &["task", "move", "1", "In progress"]);
    story.run(room, &["task", "move", "1", "Backlog"]);
    story.run(room, &["task", "move", "1", "Nowhere"]);
    story.run(room, &["task", "state", "1", "review", "--reason", "have a look"]);
    story.run(room, &["task", "state", "1", "DOING"]);
    story.run(room, &["task", "state", "1", "backlog", "--json"]);
    story.run(room, &["task", "state", "1", "completed", "--wait"]);
    story.run(room, &["task", "state", "2", "cancelled", "--wait"]);
    story.run(room, &["task", "create", "Four", "--wait", "--timeout", "100ms"]);
    story.run(room, &["task", "create", "Five", "--wait=todo", "--json"]);
    story.run(room, &["task", "watch", "1", "--wait"]);
    story.run(room, &["task", "watch", "1", "--wait=completed", "--json", "--after", "6"]);
    story.run(room, &["task", "watch", "2", "--wait"]);
    story.run(room, &["task", "events", "1", "--types", "task.state_changed", "--limit", "1"]);
    story.ends("moves", room);
}

#[test]
fn looking() {
    let daemon = Daemon::start();
    let (room, mut story) = (&daemon.room, Story::default());
    story.run(room, &["status"]);
    story.run(room, &["search", "login"]);
    room.run(&["board", "create", "Kanvoy", "--key", "KAN"]).ok();
    room.run(&["task", "create", "Fix the login"]).ok();
    room.run(&["task", "create", "Log in again", "--blocked-by", "1"]).ok();
    room.run(&["task", "state", "1", "in-progress"]).ok();
    room.run(&["task", "state", "1", "review"]).ok();
    room.run(&["board", "create", "Other", "--key", "OTH"]).ok();
    room.run(&["task", "create", "Login there", "--board", "OTH"]).ok();
    story.run(room, &["status"]);
    story.run(room, &["status", "--json"]);
    story.run(room, &["search", "login"]);
    story.run(room, &["search", "login", "--board", "OTH"]);
    story.run(room, &["search", "nothing", "like", "this"]);
    story.run(room, &["search", "login", "--state", "review", "--json"]);
    story.run(room, &["task", "list"]);
    story.run(room, &["events", "--board", "KAN"]);
    story.run(room, &["events", "--board", "KAN", "--after", "2", "--limit", "1"]);
    story.run(room, &["events", "--board", "KAN", "--types", "board.created", "--json"]);
    story.run(room, &["events", "--system"]);
    story.run(room, &["events", "--board", "KAN", "--types", "no.kind"]);
    story.run(room, &["events", "--board", "KAN", "--after", "x"]);
    story.ends("looking", room);
}

#[test]
fn keeping() {
    let daemon = Daemon::start();
    let (room, mut story) = (&daemon.room, Story::default());
    room.run(&["board", "create", "Kanvoy", "--key", "KAN"]).ok();
    room.run(&["task", "create", "One"]).ok();
    let file = room.path().join("kan.ndjson").display().to_string();
    story.run(room, &["export", "KAN", "-o", &file]);
    story.run(room, &["export", "KAN", "-o", &file, "--json"]);
    story.run(room, &["import", &file]);
    room.run(&["board", "delete", "KAN", "--purge", "--yes"]).ok();
    story.run(room, &["import", &file, "--key", "CPY", "--name", "Copy"]);
    story.run(room, &["task", "show", "CPY-1"]);
    story.run_with_input(room, &["import", "-"], "{\"no\":\"board\"}\n");
    story.run(room, &["import", "/nowhere"]);
    let copy = room.path().join("copy.db").display().to_string();
    story.run(room, &["db", "backup", &copy]);
    story.run(room, &["db", "backup", &copy]);
    story.run(room, &["db", "backup"]);
    story.run(room, &["db", "check"]);
    story.run(room, &["db", "check", "--json"]);
    story.ends("keeping", room);
}

#[test]
fn access() {
    let daemon = Daemon::start();
    let (room, mut story) = (&daemon.room, Story::default());
    story.run(room, &["auth", "me"]);
    story.run(room, &["auth", "me", "--json"]);
    story.run(room, &["auth", "link"]);
    story.run(room, &["auth", "link", "--json"]);
    let wrong = room.path().join("wrong");
    std::fs::write(&wrong, "0123456789012345678901234567890123456789").expect("is written");
    story.run(room, &["auth", "me", "--token-file", &wrong.display().to_string()]);
    story.run(room, &["auth", "me", "--token-file", "/nowhere", "--json"]);
    story.run(room, &["auth", "me", "--server", "https://kanvoy.example"]);
    let server = daemon.url.clone();
    let token = room.data().join("token").display().to_string();
    story.run(room, &["board", "list", "--server", &server, "--token-file", &token]);
    story.ends("access", room);
}

/// Whoever wrote the folder that a command is typed in gets no token, however the folder leads to its server.
#[test]
fn a_foreign_folder_gets_no_token() {
    use std::io::Read;
    let room = Room::new();
    let elsewhere = std::net::TcpListener::bind("0.0.0.0:0").expect("binds");
    let port = elsewhere.local_addr().expect("is bound").port();
    elsewhere.set_nonblocking(true).expect("is set");
    let own = room.path().join("kanvoy.toml");
    let hidden = room.path().join(".k");
    std::fs::create_dir(&hidden).expect("is made");
    // An address that reaches this listener and is not loopback.
    let foreign = format!("http://0.0.0.0:{port}");
    let json = format!(r#"{{"url":"{foreign}","pid":1,"version":"0"}}"#);
    let list = |data: Option<&str>| -> Ran {
        let mut command = room.command();
        command.args(["board", "list"]).env_remove("KANVOY_DATA_DIR").env("KANVOY_TOKEN", "s3cret-of-the-user");
        if let Some(data) = data {
            command.args(["--data-dir", data]);
        }
        command.output().expect("is started").into()
    };
    std::fs::write(hidden.join("server.json"), &json).expect("is written");
    std::fs::write(&own, "data_dir = '.k'\n").expect("is written");
    let refused = list(None);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("data_dir"), "{}", refused.stderr);
    // Also where the folder is the user's choice: what lies in it leads to this machine only.
    std::fs::write(&own, "listen = '127.0.0.1:9'\n").expect("is written");
    assert_ne!(list(Some(".k")).code, 0);
    std::fs::remove_file(hidden.join("server.json")).expect("is there");
    std::fs::write(&own, "listen = '192.0.2.1:9'\n").expect("is written");
    let own_url = list(None);
    assert!(!own_url.stderr.contains("192.0.2.1"), "{}", own_url.stderr);
    if let Ok((mut caller, _)) = elsewhere.accept() {
        let mut said = String::new();
        let _ = caller.read_to_string(&mut said);
        panic!("the foreign server was called: {said}");
    }
}

#[test]
fn looking_after_itself() {
    let mut daemon = Daemon::start();
    let mut story = Story::default();
    story.run(&daemon.room, &["doctor"]);
    story.run(&daemon.room, &["config", "show", "--json"]);
    // Its columns are as wide as the folder's name.
    assert!(daemon.run(&["config", "show"]).ok().stdout.contains("KANVOY_DATA_DIR"));
    story.run(&daemon.room, &["version"]);
    story.run(&daemon.room, &["version", "--json"]);
    daemon.kill();
    let address = daemon.address().to_owned();
    story.run(&daemon.room, &["doctor"]);
    story.run(&daemon.room, &["status"]);
    story.run(&daemon.room, &["status", "--json"]);
    story.run(&daemon.room, &["board", "list", "--server", &format!("http://{address}")]);
    let nowhere = daemon.room.path().join("nowhere").display().to_string();
    story.run(&daemon.room, &["doctor", "--json", "--data-dir", &nowhere, "--server", "http://127.0.0.1:9"]);
    story.run(&daemon.room, &["db", "check", "--data-dir", &nowhere]);
    story.ends("looking_after_itself", &daemon.room);
}

#[test]
fn a_watcher_stays_whatever_becomes_of_the_daemon() {
    let mut daemon = Daemon::start();
    daemon.run(&["board", "create", "Kanvoy", "--key", "KAN"]).ok();
    daemon.run(&["task", "create", "Watched"]).ok();
    let mut command = daemon.room.command();
    command.args(["task", "watch", "1", "--wait", "--timeout", "30s"]);
    let mut watcher = Piped::start(command);
    watcher.until("made “Watched” as TODO");
    daemon.run(&["task", "state", "1", "in-progress"]).ok();
    watcher.until("TODO → IN_PROGRESS");
    assert!(daemon.stop().success());
    watcher.until("connection lost (the daemon stops or restarts)");
    daemon.start_again();
    watcher.until("connected again");
    daemon.kill();
    daemon.start_again();
    daemon.run(&["task", "state", "1", "completed"]).ok();
    let (code, said) = watcher.end();
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches(" → ").count(), 2, "each once: {said}");
}

#[test]
fn every_log_can_be_followed_at_once() {
    let daemon = Daemon::start();
    daemon.run(&["board", "create", "Kanvoy", "--key", "KAN"]).ok();
    daemon.run(&["task", "create", "Old"]).ok();
    let mut command = daemon.room.command();
    command.args(["events", "--follow"]);
    let mut follower = Piped::start(command);
    // It is live from some moment on: the first that it sees of these says when.
    let mut tries = 0;
    while !follower.said().contains("Now") {
        daemon.run(&["task", "update", "1", "--title", &format!("Now {tries}")]).ok();
        tries += 1;
        assert!(tries < 200, "{}", follower.said());
    }
    assert!(follower.said().contains("KAN-1"), "{}", follower.said());
    daemon.run(&["board", "create", "Other", "--key", "OTH"]).ok();
    daemon.run(&["task", "create", "There", "--board", "OTH"]).ok();
    follower.until("OTH-1  made “There” as TODO");
    follower.interrupt();
    let (code, said) = follower.end();
    assert_eq!(code, 130, "{said}");
    assert!(!said.contains("Old"), "live only: {said}");
}

#[test]
fn completions_are_made_for_every_shell() {
    let room = Room::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = room.run(&["completions", shell]).ok();
        assert!(ran.stdout.contains("kanvoy") && ran.stdout.contains("watch"), "{shell}");
    }
    assert_eq!(room.run(&["completions", "cmd"]).code, 2);
    assert_eq!(room.run(&[]).code, 2);
    assert_eq!(room.run(&["task", "fly"]).code, 2);
    room.run(&["--help"]).ok();
}

#[test]
fn what_others_wrote_does_not_command_the_terminal() {
    let daemon = Daemon::start();
    daemon.run(&["board", "create", "B\u{202e}oard", "--key", "KAN"]).ok();
    let text = "\u{202e}desrever\u{2066}\u{85}";
    let created = daemon.run(&["task", "create", "A title", "-d", &format!("one\n{text}")]);
    let shown = if created.code == 0 { daemon.run(&["task", "show", "1"]).ok().stdout } else { created.stderr };
    for output in [shown, daemon.run(&["board", "list"]).ok().stdout, daemon.run(&["events"]).ok().stdout] {
        assert!(!output.contains(['\u{202e}', '\u{2066}', '\u{85}', '\x1b']), "{output:?}");
    }
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let daemon = Daemon::start();
    daemon.run(&["board", "create", "Kanvoy"]).ok();
    for i in 0..20 {
        daemon.run(&["task", "create", &format!("Task {i}")]).ok();
    }
    let mut command = daemon.room.command();
    command.args(["events", "--json"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("is started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
