//! Hosts: a real git over a stand-in for ssh that keeps a ledger of how it was called.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kanvoy_workspace::{Access, Confirm, Error, Hosts, Include, PushSpec, Secret, Source, Spec, What};

use crate::yard::{Yard, agent, branch, by, id, plain_git};

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nkeep-this-to-yourself\n-----END OPENSSH PRIVATE KEY-----";

struct Host {
    yard: Yard,
    ledger: PathBuf,
    _place: tempfile::TempDir,
}

impl Host {
    /// `answer` is shell; `$command` is what git asked the host to run.
    fn new(answer: &str, change: impl FnOnce(&mut kanvoy_workspace::Config)) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let (ssh, ledger) = (place.path().join("s s h"), place.path().join("ledger"));
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{ledger}'; env >> '{ledger}'; for command; do :; done\n\
             for o; do case $o in IdentityFile=/proc/*) stat -Lc 'key mode %a' \"${{o#*=}}\" >> '{ledger}'; cat \"${{o#*=}}\" >> '{ledger}.key';; esac; done\n{answer}\n",
            ledger = ledger.display()
        );
        std::fs::write(&ssh, script).expect("a script");
        std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
        let yard = Yard::with(|config| {
            config.ssh = ssh;
            config.hosts = Hosts { private: vec!["127.0.0.1".into(), "localhost".into()], ..Hosts::default() };
            change(config);
        });
        Self { yard, ledger, _place: place }
    }

    fn spec(&self, name: &str, access: Access) -> Spec {
        let url = format!("ssh://git@localhost:2222{}", self.yard.upstream().display());
        Spec { source: Source::Remote(url.parse().expect("a URL")), access, ..self.yard.spec(name) }
    }

    fn ledger(&self) -> String {
        std::fs::read_to_string(&self.ledger).unwrap_or_default()
    }
}

#[tokio::test]
async fn ssh_is_pinned_alone_and_gets_its_key_from_memory() {
    let host = Host::new("eval \"exec $command\"", |_| {});
    let key = || Access::SshKey { key: Secret::new(KEY) };
    let made = host.yard.workspaces.create(host.spec("a", key())).await.expect("a workspace");
    let ledger = host.ledger();
    for wanted in [
        "HostName=127.0.0.1",
        "HostKeyAlias=[localhost]:2222",
        "ProxyCommand=none",
        "BatchMode=yes",
        "IdentityAgent=none",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=accept-new",
        "/dev/null",
        "git@localhost",
        "2222",
        "key mode 600",
    ] {
        assert!(ledger.lines().any(|line| line == wanted), "{wanted} is missing in {ledger}");
    }
    assert!(!ledger.contains("keep-this-to-yourself"), "neither an argument nor an environment holds the key");
    assert!(!ledger.contains("SSH_AUTH_SOCK=") && !ledger.contains("CARGO"), "the environment is ours: {ledger}");
    let key_file = host.ledger.with_extension("key");
    assert!(std::fs::read_to_string(key_file).expect("the key arrived").starts_with(KEY));

    let config = std::fs::read_to_string(made.path.join(".git/config")).expect("a configuration");
    assert!(config.contains("url = ssh://git@localhost:2222"), "{config}");
    agent(&made.path, "echo x > x; git add x; git commit -qm x");
    let what = What::Work { include: Include::Commits, message: String::new(), by: by() };
    let to = host.spec("a", Access::None).source;
    let push = PushSpec { to, branch: branch("task/1-a"), what, access: key() };
    host.yard.workspaces.push(&id("a"), &push).await.expect("a push");
    assert_eq!(plain_git(&host.yard.upstream(), &["show", "task/1-a:x"]), "x");
    host.yard.workspaces.remove(&id("a"), &Confirm::Nothing).await.expect("removed");
    let mut left = vec![host.yard.root()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(path).expect("a directory").flatten().map(|entry| entry.path()));
        } else {
            let content = std::fs::read(&path).expect("a file");
            assert!(!String::from_utf8_lossy(&content).contains("keep-this"), "the key lies in {}", path.display());
        }
    }
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let rows = [
        ("echo 'git@localhost: Permission denied (publickey).' >&2; exit 255", "wants a login"),
        ("echo 'Host key verification failed.' >&2; exit 255", "its key is not the one"),
        ("echo 'ssh: connect to host localhost port 2222: Connection refused' >&2; exit 255", "cannot be reached"),
        ("echo 'ERROR: Repository not found.' >&2; exit 1", "repository of that name"),
        ("echo 'fatal: write error: No space left on device' >&2; exit 1", "the disk is full"),
    ];
    for (answer, wanted) in rows {
        let host = Host::new(answer, |_| {});
        let error = host.yard.workspaces.create(host.spec("a", Access::None)).await.expect_err("a failure");
        assert!(error.to_string().contains(wanted), "{answer}: {error}");
        assert!(!host.yard.work("a").exists());
        assert_eq!(
            std::fs::read_dir(host.yard.root().join("cache")).expect("a cache").count(),
            0,
            "no mirror of a failure"
        );
    }
}

/// A mirror is no way around a login that is missing.
#[tokio::test]
async fn a_mirror_does_not_answer_for_the_host() {
    let host = Host::new(
        "test -e \"$0.shut\" && { echo 'Permission denied (publickey).' >&2; exit 255; }; eval \"exec $command\"",
        |_| {},
    );
    host.yard.workspaces.create(host.spec("a", Access::None)).await.expect("a workspace");
    let mut shut = host.yard.config.ssh.clone().into_os_string();
    shut.push(".shut");
    std::fs::write(shut, "").expect("a file");
    let second = host.yard.workspaces.create(host.spec("b", Access::None)).await;
    assert!(matches!(second, Err(Error::AuthNeeded { .. })), "{second:?}");
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_not_called() {
    let host = Host::new("exit 1", |config| config.hosts = Hosts::default());
    let refused = host.yard.workspaces.create(host.spec("a", Access::None)).await;
    assert!(matches!(refused, Err(Error::HostRefused { .. })), "{refused:?}");
    for url in ["https://127.0.0.1:1/x", "https://169.254.169.254/latest", "git@10.0.0.1:x", "https://[::1]/x"] {
        let source = Source::Remote(url.parse().expect("a URL"));
        let refused = host.yard.workspaces.create(Spec { source, ..host.yard.spec("a") }).await;
        assert!(matches!(refused, Err(Error::HostRefused { .. })), "{url}: {refused:?}");
    }
    assert_eq!(host.ledger(), "");
}

#[tokio::test]
async fn a_host_that_never_answers_is_left_with_all_its_helpers() {
    let answer = "sh -c 'trap \"\" TERM HUP; echo $$ >> \"$0\".pids; exec sleep 60' \"$0\" & echo $$ >> \"$0\".pids; exec sleep 60";
    let host = Host::new(answer, |config| config.network_timeout = Duration::from_secs(2));
    let began = Instant::now();
    let late = host.yard.workspaces.create(host.spec("a", Access::None)).await;
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let mut pids = host.yard.config.ssh.clone().into_os_string();
    pids.push(".pids");
    let pids = std::fs::read_to_string(pids).expect("the helpers' numbers");
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        let alive = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        for _ in 0..100 {
            if !alive() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!alive(), "process {pid} lives on");
    }
}
