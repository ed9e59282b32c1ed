//! The same as a program: flags, variables, exit codes, and a child that stays behind.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Client;

fn program(arguments: &[&str], env: &[(&str, &str)]) -> (Client, Child) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kanvoy-demo-agent"));
    command.args(arguments).env_clear().envs(env.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (Client::new(Box::new(to), Box::new(from)), child)
}

#[test]
fn it_exits_as_it_is_told() {
    let (client, mut child) = program(&[], &[]);
    let mut client = client.ready(Path::new("/"));
    client.begin_prompt("exit 7");
    assert_eq!(child.wait().unwrap().code(), Some(7));

    let (client, mut child) = program(&[], &[]);
    let mut client = client.ready(Path::new("/"));
    client.begin_prompt("stderr going down\ncrash");
    assert_eq!(child.wait().unwrap().signal(), Some(6));
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(log, "going down\n");

    let (client, mut child) = program(&[], &[]);
    let mut client = client.ready(Path::new("/"));
    client.begin_prompt("wait for cancel");
    drop(client);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_child_outlives_it_and_holds_its_output() {
    for command in ["child 1", "detached child 1"] {
        let (client, mut agent) = program(&[], &[]);
        let mut client = client.ready(Path::new("/"));
        let begun = Instant::now();
        client.begin_prompt(&format!("{command}\nexit 0"));
        assert!(agent.wait().unwrap().success());
        assert!(begun.elapsed() < Duration::from_millis(900));
        while client.line().is_some() {}
        assert!(begun.elapsed() >= Duration::from_millis(900), "its output stayed open");
    }
}

#[test]
fn flags_come_from_the_command_line_or_the_environment() {
    for (arguments, env) in
        [(&["--old-protocol", "2"][..], &[][..]), (&[][..], &[("DEMO_AGENT", "old-protocol=2, auth-required=new")][..])]
    {
        let (mut client, mut child) = program(arguments, env);
        assert_eq!(client.initialize()["result"]["protocolVersion"], 2);
        drop(client);
        child.wait().unwrap();
    }
    for (arguments, env) in
        [(&["--never-initialize"][..], &[][..]), (&[][..], &[("DEMO_AGENT", "never-initialize")][..])]
    {
        let (mut client, mut child) = program(arguments, env);
        client.begin("initialize", serde_json::json!({ "protocolVersion": 1 }));
        std::thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none());
        let Client { to, mut from, .. } = client;
        drop(to);
        let mut told = String::new();
        from.read_to_string(&mut told).unwrap();
        assert_eq!(told, "");
        assert!(child.wait().unwrap().success());
    }
    let begun = Instant::now();
    let (mut client, mut child) = program(&["--slow-start", "0.3"], &[]);
    client.initialize();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    drop(client);
    child.wait().unwrap();
}

#[test]
fn help_has_the_language() {
    let help = Command::new(env!("CARGO_BIN_EXE_kanvoy-demo-agent")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("ask permission [TITLE]"), "{help}");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(kanvoy_demo_agent::words::HELP.trim_end()), "the README tells another language");
}
