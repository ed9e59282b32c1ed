//! A second engine, over TCP, whose paths are not taken for this machine's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kanvoy_runtime::cage::{Place, Refusal};
use kanvoy_runtime::docker::{Address, DockerConfig, TlsFiles, TreeLimits, pack, unpack_untrusted};
use kanvoy_runtime::{Absence, DockerRuntime, ExitCause, Happening, Keep, Runtime, RuntimeError, compile, launch};
use tokio::io::AsyncWriteExt;

use crate::world::{World, in_world, installation, line, progress, runtime, with_world};

/// An engine of its own, with nothing shared with the machine's.
pub struct Engine {
    process: Child,
    dir: tempfile::TempDir,
    pub address: Address,
}

impl Engine {
    /// `None`, with a line that says why, where it cannot be.
    pub async fn start(name: &str, tls: bool) -> Option<Self> {
        if !rustix::process::getuid().is_root() || !on_path("dockerd") || (tls && !on_path("openssl")) {
            println!("SKIPPED {name}: a second engine needs root, dockerd and openssl");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("kanvoy-engine-").tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let files = tls.then(|| certificates(dir.path()));
        let process = daemon(dir.path(), &host, files.as_ref());
        let engine = Self { process, dir, address: Address::Tcp { host, tls: files } };
        engine.answers().await;
        Some(engine)
    }

    async fn answers(&self) {
        let rt = DockerRuntime::new(DockerConfig::new(self.address.clone(), "test"));
        let until = Instant::now() + Duration::from_secs(60);
        while let Err(error) = rt.facts().await {
            assert!(Instant::now() < until, "{error}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn end(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        self.process.wait().ok();
    }

    async fn restart(&mut self) {
        self.end();
        let Address::Tcp { host, tls } = &self.address else { unreachable!() };
        self.process = daemon(self.dir.path(), host, tls.as_ref());
        self.answers().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

fn daemon(dir: &Path, host: &str, tls: Option<&TlsFiles>) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let mut command = Command::new("dockerd");
    command
        .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=overlay2"])
        .arg(format!("--host=tcp://{host}"))
        .arg(format!("--data-root={}", dir.join("data").display()))
        .arg(format!("--exec-root={}", dir.join("exec").display()))
        .arg(format!("--pidfile={}", dir.join("pid").display()))
        .stdout(Stdio::null())
        .stderr(log);
    if tls.is_some() {
        let file = |name: &str| dir.join(name).display().to_string();
        command.arg("--tlsverify").arg(format!("--tlscacert={}", file("ca.pem")));
        command.arg(format!("--tlscert={}", file("server.pem"))).arg(format!("--tlskey={}", file("server-key.pem")));
    } else {
        command.arg("--tls=false");
    }
    command.spawn().unwrap()
}

fn on_path(program: &str) -> bool {
    Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        || Path::new("/usr/sbin").join(program).exists()
}

fn certificates(dir: &Path) -> TlsFiles {
    let script = r#"
        set -e
        new() { openssl req -newkey rsa:2048 -nodes -keyout "$1-key.pem" -out "$1.csr" -subj "/CN=$1" -batch; }
        sign() { openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -out "$1.pem" -extfile "$1.ext"; }
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=ca -batch
        printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >server.ext
        printf 'extendedKeyUsage=clientAuth\n' >client.ext
        new server; sign server; new client; sign client
        cp client.pem cert.pem; cp client-key.pem key.pem
    "#;
    let made =
        Command::new("sh").args(["-c", script]).current_dir(dir).stderr(Stdio::null()).stdout(Stdio::null()).status();
    assert!(made.unwrap().success());
    TlsFiles::in_dir(dir)
}

async fn fails(address: Address) -> Absence {
    match DockerRuntime::new(DockerConfig::new(address, "test")).facts().await {
        Err(RuntimeError::EngineAbsent { why, hint, .. }) => {
            println!("{hint}");
            why
        }
        other => panic!("{other:?}"),
    }
}

/// Work goes out as a tree, is done in a cage, and comes back as a tree.
async fn work_travels(world: &World) {
    let from = world.path("from");
    std::fs::create_dir_all(from.join("src")).unwrap();
    std::fs::write(from.join("src/main.rs"), "fn main() {}").unwrap();
    std::fs::write(from.join("big"), vec![1; 3 << 20]).unwrap();

    let mut spec = world.spec(&["/probe", "report"]);
    spec.workspace = Place::Bind { path: from.clone() };
    let refused = compile(&spec, &world.facts).unwrap_err();
    assert!(matches!(refused, Refusal::NotLocal { .. }), "{refused}");

    let volume = format!("kanvoy-work-{}", spec.instance);
    spec.workspace = Place::Volume { name: volume.clone() };
    let run = world.launchable(&spec);
    world.rt.prepare(&run, &progress()).await.unwrap();
    world.rt.send_tree(&volume, pack(from, run.cage.uid, run.cage.gid)).await.unwrap();
    let report = world.report(&spec).await;
    assert_eq!(report["write /workspace"], "yes");

    let to = world.path("to");
    std::fs::create_dir(&to).unwrap();
    let back = world.rt.fetch_tree(&volume).await.unwrap();
    assert_eq!(unpack_untrusted(back, to.clone(), TreeLimits::default()).await.unwrap(), 0);
    assert_eq!(std::fs::read_to_string(to.join("src/main.rs")).unwrap(), "fn main() {}");
    assert_eq!(std::fs::read(to.join("big")).unwrap(), vec![1; 3 << 20]);
    assert!(world.rt.send_tree("kanvoy-nobodys", futures_util::stream::empty().boxed()).await.is_err());
}

async fn talks(world: &World) {
    let spec = world.spec(&["/probe", "cat"]);
    let mut launched = world.run(&spec).await;
    launched.attached.stdin.write_all(b"hello from afar\n").await.unwrap();
    launched.attached.stdin.flush().await.unwrap();
    assert_eq!(line(&mut launched.attached).await, "hello from afar\n");
    world.end(&spec.instance).await;
}

#[test]
fn an_engine_over_tcp() {
    runtime().block_on(async {
        let Some(engine) = Engine::start("tcp", false).await else { return };
        in_world("tcp", DockerConfig::new(engine.address.clone(), &installation("tcp")), |world| async move {
            assert!(!world.facts.engine.local);
            talks(world).await;
            work_travels(world).await;
        })
        .await;
    });
}

#[test]
fn an_engine_over_tls() {
    runtime().block_on(async {
        let Some(engine) = Engine::start("tls", true).await else { return };
        let engine = &engine;
        in_world("tls", DockerConfig::new(engine.address.clone(), &installation("tls")), |world| async move {
            talks(world).await;
            let Address::Tcp { host, tls: Some(files) } = &engine.address else { unreachable!() };
            // Speaking plainly to it, trusting another authority, and showing no certificate of the right one.
            let plain = fails(Address::Tcp { host: host.clone(), tls: None }).await;
            assert!(matches!(plain, Absence::NotAnEngine | Absence::Tls), "{plain:?}");
            let other = world.path("other");
            std::fs::create_dir(&other).unwrap();
            let strange = certificates(&other);
            let distrusted = TlsFiles { ca: strange.ca.clone(), ..files.clone() };
            assert_eq!(fails(Address::Tcp { host: host.clone(), tls: Some(distrusted) }).await, Absence::Tls);
            let unknown = TlsFiles { ca: files.ca.clone(), ..strange };
            assert_eq!(fails(Address::Tcp { host: host.clone(), tls: Some(unknown) }).await, Absence::Tls);
            let gone = TlsFiles::in_dir(&PathBuf::from("/nowhere"));
            assert_eq!(fails(Address::Tcp { host: host.clone(), tls: Some(gone) }).await, Absence::Tls);
        })
        .await;
    });
}

#[test]
fn an_engine_that_restarts() {
    runtime().block_on(async {
        let Some(mut engine) = Engine::start("restart", false).await else { return };
        let engine = &mut engine;
        in_world("restart", DockerConfig::new(engine.address.clone(), &installation("restart")), |world| async move {
            let spec = world.spec(&["/probe", "ignore-term"]);
            let mut events = world.rt.events(None);
            let (first, mut launched) = tokio::join!(events.next(), async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                world.run(&spec).await
            });
            assert_eq!(first.unwrap().what, Happening::Created);
            line(&mut launched.attached).await;
            let waiting = tokio::time::timeout(Duration::from_secs(90), world.rt.wait(&spec.instance));
            let ((), waited) = tokio::join!(engine.restart(), waiting);
            let exit = waited.unwrap().unwrap().unwrap();
            assert_eq!(exit.cause, ExitCause::Killed { signal: 9 });
            let mut seen = Vec::new();
            while seen.last() != Some(&Happening::Reconnected) {
                let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap();
                seen.push(event.what);
            }
            assert!(seen.iter().any(|what| matches!(what, Happening::EngineLost { .. })), "{seen:?}");
            // A spent instance is not launched again.
            let error = launch(&world.rt, &world.launchable(&spec), &progress()).await.unwrap_err();
            assert!(matches!(error, RuntimeError::NotRunning { .. }), "{error}");
            world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
        })
        .await;
    });
}

#[test]
fn an_engine_without_room() {
    runtime().block_on(async {
        if !rustix::process::getuid().is_root() {
            println!("SKIPPED room: needs root");
            return;
        }
        let Some(engine) = Engine::start("room", false).await else { return };
        // A small disk for volumes alone: what an engine says when one is full is the same wherever it happens.
        let volumes = engine.dir.path().join("data/volumes");
        in_world("room", DockerConfig::new(engine.address.clone(), &installation("room")), |world| async move {
            let spec = world.spec(&["/probe", "exit", "0"]);
            let volume = format!("kanvoy-work-{}", spec.instance);
            world.rt.prepare(&world.launchable(&spec), &progress()).await.unwrap();
            let disk = volumes.join(&volume).join("_data");
            let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&disk).status();
            assert!(mounted.unwrap().success());
            let from = world.path("from");
            std::fs::create_dir(&from).unwrap();
            std::fs::write(from.join("big"), vec![1; 3 << 20]).unwrap();
            let error = world.rt.send_tree(&volume, pack(from, 1, 1)).await.unwrap_err();
            assert!(Command::new("umount").arg(&disk).status().unwrap().success());
            assert!(matches!(error, RuntimeError::NoSpace { .. }), "{error}");
        })
        .await;
    });
}

#[test]
fn a_canary_tells_whether_paths_are_shared() {
    with_world("canary", |world| async move {
        let file = world.path("canary");
        std::fs::write(&file, "tweet").unwrap();
        assert!(world.rt.canary(&file).await.unwrap());
        assert!(world.rt.canary(&world.path("nobody")).await.is_err());
    });
}
