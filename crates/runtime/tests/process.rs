//! Plain processes under the real keeper.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use kanvoy_runtime::cage::{Facts, Place};
use kanvoy_runtime::keeper::{self, Deadlines, End, Handle, Lines, Nonce, Output, Resume};
use kanvoy_runtime::process::ProcessConfig;
use kanvoy_runtime::{
    Attached, CageSpec, ExitCause, Happening, InstanceId, Keep, Launch, ProcessRuntime, Pull, Runtime, RuntimeError,
    Secrets, State, compile, launch,
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

struct World {
    dir: tempfile::TempDir,
    rt: ProcessRuntime,
    tasks: TaskTracker,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rt = runtime(dir.path());
        Self { dir, rt, tasks: TaskTracker::new() }
    }

    async fn launchable(&self, id: &str, script: &str) -> Launch {
        let place = |name: &str| {
            let path = self.dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Place::Bind { path }
        };
        let instance = InstanceId::parse(id).unwrap();
        let mut spec = CageSpec::new(instance, "inst", "none", &["sh", "-c", script], place("work"));
        spec.home = place("home");
        spec.secret_env = ["TOKEN".to_owned()].into();
        let facts = Facts {
            engine: self.rt.facts().await.unwrap(),
            daemon_uid: rustix::process::getuid().as_raw(),
            daemon_gid: rustix::process::getgid().as_raw(),
            keeper: Some(self.rt.keeper_digest()),
            host_files: BTreeMap::new(),
            mount_roots: Vec::new(),
        };
        let secrets = Secrets::new([("TOKEN".to_owned(), "s3cr3t".to_owned())].into());
        Launch { cage: compile(&spec, &facts).unwrap(), secrets, pull: Pull::default() }
    }

    async fn launch(&self, id: &str, script: &str) -> (InstanceId, Lines, Handle) {
        let run = self.launchable(id, script).await;
        let launched = launch(&self.rt, &run, &mpsc::channel(1).0).await.unwrap();
        let (lines, handle) = self.talk(launched.attached, Resume::default()).await;
        (run.cage.instance, lines, handle)
    }

    async fn talk(&self, attached: Attached, resume: Resume) -> (Lines, Handle) {
        let (io, _, _) = attached.into_io();
        keeper::attach(io, Nonce::random().unwrap(), resume, Deadlines::default(), &self.tasks).await.unwrap()
    }

    /// Nothing runs, and nothing is left on disk.
    async fn end(self) {
        self.rt.remove_ours(&|_| true).await.unwrap();
        assert_eq!(self.rt.list_ours().await.unwrap(), []);
        let left: Vec<_> =
            std::fs::read_dir(self.dir.path().join("rt")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.len() == 1 && left[0].to_string_lossy().starts_with("keeper-"), "{left:?}");
    }
}

/// What a failed test left running; the agents die with their keepers.
impl Drop for World {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.dir.path().join("rt")).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(entry.path().join("pid")).unwrap_or_default();
            let pid = text.split(' ').next().and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
    }
}

fn runtime(dir: &Path) -> ProcessRuntime {
    ProcessRuntime::new(ProcessConfig {
        dir: dir.join("rt"),
        installation: "inst".to_owned(),
        keeper: support::keeper().clone(),
        path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
    })
}

async fn line(lines: &mut Lines) -> (u64, String) {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), lines.next()).await.unwrap().unwrap() {
            Output::Line { number, bytes } => return (number, String::from_utf8(bytes.to_vec()).unwrap()),
            Output::Stderr { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn exit(lines: &mut Lines, handle: &Handle) -> End {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), lines.next()).await.unwrap().unwrap() {
            Output::Exit { number, exit } => {
                handle.ack(number);
                // The acknowledgement goes out while somebody reads; then the keeper ends the connection.
                lines.next().await.unwrap_err();
                return exit.end;
            }
            Output::Stderr { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_talks_and_ends() {
    let world = World::new();
    let script =
        "echo home=$HOME token=$TOKEN cwd=$(pwd) session=$(ps -o sid= -p $$ | tr -d ' '); env | wc -l; cat; exit 3";
    let (instance, mut lines, handle) = world.launch("talks", script).await;
    let (number, said) = line(&mut lines).await;
    let dir = world.dir.path().display();
    assert!(said.starts_with(&format!("home={dir}/home token=s3cr3t cwd={dir}/work session=")), "{said}");
    let own = rustix::process::getsid(None).unwrap().as_raw_nonzero().to_string();
    assert!(number == 1 && !said.ends_with(&format!("session={own}")), "a session of its own: {said}");
    let vars: u32 = line(&mut lines).await.1.trim().parse().unwrap();
    assert!(vars < 12, "only what it was given: {vars}");
    let sent = handle.send_line(1, Bytes::from_static(b"hello"));
    let (sent, heard) = tokio::join!(sent, line(&mut lines));
    sent.unwrap();
    assert_eq!(heard, (3, "hello".to_owned()));
    let (closed, ended) = tokio::join!(handle.close_stdin(), exit(&mut lines, &handle));
    closed.unwrap();
    assert_eq!(ended, End::Code(3));
    let ended = world.rt.wait(&instance).await.unwrap().unwrap();
    assert_eq!(ended.cause, ExitCause::Exited { code: 3 });
    let cage = std::fs::read_to_string(world.dir.path().join("rt/talks/cage.json")).unwrap();
    assert!(!cage.contains("s3cr3t") && cage.contains("NOT A CAGE"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_life_of_the_daemon_goes_on_where_it_was() {
    let world = World::new();
    let (instance, mut lines, handle) =
        world.launch("lives", "n=0; while read l; do n=$((n+1)); echo $n $l; done").await;
    let (sent, heard) = tokio::join!(handle.send_line(1, Bytes::from_static(b"one")), line(&mut lines));
    sent.unwrap();
    assert_eq!(heard.1, "1 one");
    drop((lines, handle));
    let later = runtime(world.dir.path());
    let run = world.launchable("lives", "other").await;
    let again = launch(&later, &run, &mpsc::channel(1).0).await.unwrap();
    assert_eq!((again.created.adopted, again.created.state), (true, State::Running));
    let (mut lines, handle) = world.talk(again.attached, Resume { received: 1, sent: 1, stderr: 0 }).await;
    let (sent, heard) = tokio::join!(handle.send_line(2, Bytes::from_static(b"two")), line(&mut lines));
    sent.unwrap();
    assert_eq!(heard, (2, "2 two".to_owned()));
    assert_eq!(later.list_ours().await.unwrap()[0].instance(), Some("lives"));
    // Nobody of ours hears how it ended, and that is said.
    let stranger = ProcessRuntime::new(ProcessConfig {
        installation: "other".to_owned(),
        dir: world.dir.path().join("rt"),
        keeper: Bytes::new(),
        path: String::new(),
    });
    assert_eq!(stranger.list_ours().await.unwrap(), []);
    assert!(matches!(stranger.remove(&instance, Keep::Nothing).await, Err(RuntimeError::NameTaken { .. })));
    later.stop(&instance, Duration::from_secs(1)).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_insists_pause_freezes_and_what_was_said_is_kept() {
    let world = World::new();
    let mut events = world.rt.events(None);
    let script = "trap '' TERM; echo ready; while :; do echo tick; sleep 0.05; done";
    let launching = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.launch("stubborn", script).await
    };
    let (first, (instance, mut lines, _handle)) = tokio::join!(events.next(), launching);
    assert!(matches!(first.unwrap().what, Happening::Created));
    assert_eq!(line(&mut lines).await, (1, "ready".to_owned()));
    line(&mut lines).await;
    let stats = world.rt.stats(&instance).await.unwrap();
    assert!(stats.pids >= 2 && stats.memory_bytes > 0, "{stats:?}");

    world.rt.pause(&instance).await.unwrap();
    world.rt.pause(&instance).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.rt.inspect(&instance).await.unwrap().unwrap().state, State::Paused);
    while tokio::time::timeout(Duration::from_millis(300), lines.next()).await.is_ok() {}
    world.rt.unpause(&instance).await.unwrap();
    line(&mut lines).await;

    let began = std::time::Instant::now();
    drop(lines);
    let ended = world.rt.stop(&instance, Duration::from_secs(1)).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(ended.cause, ExitCause::Killed { signal: 9 });
    assert_eq!(world.rt.stop(&instance, Duration::from_secs(1)).await.unwrap().unwrap(), ended);
    let error = world.rt.attach(&instance).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NotRunning { .. }), "{error}");

    // What nobody had stored is still to be had, from the beginning, and nothing runs again.
    let revived = world.rt.revive(&instance).await.unwrap();
    let (mut lines, _handle) = world.talk(revived, Resume::default()).await;
    assert_eq!(line(&mut lines).await, (1, "ready".to_owned()));
    let mut last = None;
    while last.is_none() {
        match lines.next().await.unwrap() {
            Output::Exit { exit, .. } => last = Some(exit.end),
            Output::Line { bytes, .. } => assert_eq!(bytes, "tick"),
            other => println!("{other:?}"),
        }
    }
    // Whether the keeper still saw the agent go depends on which of the two was killed first.
    assert!(matches!(last, Some(End::Lost | End::Signal(9))), "{last:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_run_and_nobody_there() {
    let world = World::new();
    let mut run = world.launchable("missing", "true").await;
    run.cage.command = vec!["/no/such/agent".to_owned()];
    let launched = launch(&world.rt, &run, &mpsc::channel(1).0).await.unwrap();
    let (mut lines, handle) = world.talk(launched.attached, Resume::default()).await;
    assert_eq!(exit(&mut lines, &handle).await, End::Failed(2));
    let nobody = InstanceId::parse("nobody").unwrap();
    assert_eq!(world.rt.inspect(&nobody).await.unwrap(), None);
    assert_eq!(world.rt.stop(&nobody, Duration::ZERO).await.unwrap(), None);
    world.rt.remove(&nobody, Keep::Nothing).await.unwrap();
    assert!(matches!(world.rt.attach(&nobody).await, Err(RuntimeError::NoSuchInstance { .. })));
    assert!(matches!(world.rt.pause(&nobody).await, Err(RuntimeError::NoSuchInstance { .. })));
    assert!(matches!(world.rt.remove_store("x").await, Err(RuntimeError::Unsupported { .. })));
    world.end().await;
}
