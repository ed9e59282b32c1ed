//! An installation for one test: a runtime, an image with the probe alone in it, and the proof that nothing is left.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{CreateImageOptionsBuilder, ListContainersOptionsBuilder};
use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt};
use kanvoy_runtime::cage::{Facts, Limits, Place};
use kanvoy_runtime::docker::{Address, DockerConfig};
use kanvoy_runtime::{
    Attached, Cage, CageSpec, DockerRuntime, InstanceId, Keep, Launch, Launched, Progress, Pull, PullWhen, Runtime,
    Secrets, compile, launch,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

pub const IMAGE: &str = "kanvoy-test/probe:1";

/// The environment of a test run, which no room of ours reads by itself.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment which engine to use")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub struct World {
    pub rt: DockerRuntime,
    pub facts: Facts,
    pub installation: String,
    pub dir: tempfile::TempDir,
    made: AtomicU32,
}

/// Runs a test in a world of its own, and cleans up and looks around whatever became of it.
pub fn with_world<F>(name: &'static str, test: impl FnOnce(&'static World) -> F)
where
    F: Future<Output = ()>,
{
    runtime().block_on(async {
        let Some(address) = engine(name).await else { return };
        in_world(name, DockerConfig::new(address, &installation(name)), test).await;
    });
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn installation(name: &str) -> String {
    format!("test-{name}-{}", std::process::id())
}

/// The engine to test with, or a line that says why there is none.
pub async fn engine(name: &str) -> Option<Address> {
    let told = variable("KANVOY_TEST_ENGINE");
    let told = told.as_deref();
    if told == Some("off") {
        println!("SKIPPED {name}: KANVOY_TEST_ENGINE=off");
        return None;
    }
    let host = told.filter(|told| *told != "required");
    let address = Address::parse(host, false, None).unwrap();
    match DockerRuntime::new(DockerConfig::new(address.clone(), "test")).facts().await {
        Ok(_) => Some(address),
        Err(error) => {
            assert!(told.is_none(), "{error}");
            println!("SKIPPED {name}: {error}");
            None
        }
    }
}

pub async fn in_world<F>(name: &'static str, config: DockerConfig, test: impl FnOnce(&'static World) -> F)
where
    F: Future<Output = ()>,
{
    let rt = DockerRuntime::new(config.clone());
    let docker = raw(&config.address);
    probe_image(&docker).await;
    let engine = rt.facts().await.unwrap();
    let facts = Facts {
        engine,
        daemon_uid: rustix::process::getuid().as_raw(),
        daemon_gid: rustix::process::getgid().as_raw(),
        keeper: rt.keeper_digest().map(str::to_owned),
        host_files: BTreeMap::new(),
        mount_roots: Vec::new(),
    };
    let dir = tempfile::Builder::new().prefix(&format!("kanvoy-{name}-")).tempdir().unwrap();
    // Leaked: tests borrow it in tasks and streams, and there are a few dozen.
    let world: &'static World = Box::leak(Box::new(World {
        rt,
        facts,
        installation: config.installation.clone(),
        dir,
        made: AtomicU32::new(0),
    }));
    let outcome = AssertUnwindSafe(tokio::time::timeout(Duration::from_secs(180), test(world))).catch_unwind().await;
    // Only what a failed test left is removed here; a good one has removed all but the stores of its tasks.
    let left = leftovers(&docker, &world.installation).await;
    world.rt.remove_ours(&|_| true).await.unwrap();
    std::fs::remove_dir_all(world.dir.path()).ok();
    match outcome {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(Err(_)) => panic!("{name} took longer than 180 s"),
        Ok(Ok(())) => {}
    }
    let stores: Vec<_> =
        left.iter().filter(|name| !name.contains("kanvoy-home-") && !name.contains("kanvoy-work-")).collect();
    assert!(stores.is_empty(), "{name} left {stores:?}");
    let left = leftovers(&docker, &world.installation).await;
    assert!(left.is_empty(), "the sweep of {name} left {left:?}");
}

/// By label, asked without any code of ours.
async fn leftovers(docker: &Docker, installation: &str) -> Vec<String> {
    let label = HashMap::from([("label", vec![format!("kanvoy.installation={installation}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&label).build();
    let mut left: Vec<String> =
        docker.list_containers(Some(options)).await.unwrap().into_iter().filter_map(|c| c.names).flatten().collect();
    let volumes = bollard::query_parameters::ListVolumesOptionsBuilder::default().filters(&label).build();
    left.extend(
        docker.list_volumes(Some(volumes)).await.unwrap().volumes.unwrap_or_default().into_iter().map(|v| v.name),
    );
    let networks = bollard::query_parameters::ListNetworksOptionsBuilder::default().filters(&label).build();
    left.extend(docker.list_networks(Some(networks)).await.unwrap().into_iter().filter_map(|n| n.name));
    left
}

pub fn raw(address: &Address) -> Docker {
    let version = bollard::API_DEFAULT_VERSION;
    match address {
        Address::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), 120, version).unwrap(),
        Address::Tcp { host, tls: None } => Docker::connect_with_http(&format!("http://{host}"), 120, version).unwrap(),
        Address::Tcp { host, tls: Some(files) } => {
            rustls::crypto::ring::default_provider().install_default().ok();
            Docker::connect_with_ssl(&format!("https://{host}"), &files.key, &files.cert, &files.ca, 120, version)
                .unwrap()
        }
    }
}

pub fn probe() -> &'static Bytes {
    static PROBE: OnceLock<Bytes> = OnceLock::new();
    PROBE.get_or_init(|| {
        let kept = probe_path();
        if !kept.exists() {
            let building = kept.with_extension(std::process::id().to_string());
            let built = Command::new("rustc")
                .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
                .args([&building, &source()])
                .status();
            assert!(built.unwrap().success());
            std::fs::rename(building, &kept).unwrap();
        }
        std::fs::read(kept).unwrap().into()
    })
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/probe.rs")
}

/// Kept beside other things that are built, for another user of the tests too, who may have no compiler.
pub fn probe_path() -> PathBuf {
    let digest = Sha256::digest(include_bytes!("probe.rs"));
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probe-{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2]))
}

/// The probe, a text file and a script without an interpreter, and nothing else.
pub fn probe_tar() -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |name: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    put("probe", 0o755, probe());
    put("text", 0o644, b"hello");
    put("not-a-program", 0o755, b"hello");
    tar.into_inner().unwrap().into()
}

/// Made when the probe has changed, and kept for the next run.
async fn probe_image(docker: &Docker) {
    static MAKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one_at_a_time = MAKING.lock().await;
    let tar = probe_tar();
    let digest: String = Sha256::digest(&tar).iter().map(|byte| format!("{byte:02x}")).collect();
    if docker.inspect_image(IMAGE).await.is_ok_and(|image| image.comment.as_deref() == Some(digest.as_str())) {
        return;
    }
    let (repo, tag) = IMAGE.rsplit_once(':').unwrap();
    let options = CreateImageOptionsBuilder::default().from_src("-").repo(repo).tag(tag).message(&digest).build();
    docker.create_image(Some(options), Some(bollard::body_full(tar)), None).try_collect::<Vec<_>>().await.unwrap();
}

impl World {
    /// An instance of its own, with home and workspace in volumes.
    pub fn spec(&self, command: &[&str]) -> CageSpec {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{n}", self.installation.trim_start_matches("test-"));
        let instance = InstanceId::parse(&id).unwrap();
        let workspace = Place::Volume { name: format!("kanvoy-work-{id}") };
        let mut spec = CageSpec::new(instance, &self.installation, IMAGE, command, workspace);
        spec.limits = Limits { memory_mb: 64, cpus: 1.0, pids: 64, nofile: 1024 };
        spec
    }

    pub fn compile(&self, spec: &CageSpec) -> Cage {
        compile(spec, &self.facts).unwrap()
    }

    pub fn launchable(&self, spec: &CageSpec) -> Launch {
        let pull = Pull { when: PullWhen::Never, ..Pull::default() };
        Launch { cage: self.compile(spec), secrets: Secrets::default(), pull }
    }

    pub async fn run(&self, spec: &CageSpec) -> Launched {
        launch(&self.rt, &self.launchable(spec), &progress()).await.unwrap()
    }

    /// Launches, reads everything it says until its end, waits for the end and removes it.
    pub async fn output(&self, spec: &CageSpec) -> (String, kanvoy_runtime::Exit) {
        let mut launched = self.run(spec).await;
        let mut text = String::new();
        launched.attached.stdout.read_to_string(&mut text).await.unwrap();
        let exit = self.rt.wait(&spec.instance).await.unwrap().unwrap();
        self.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
        (text, exit)
    }

    /// What the probe reports, by name; names that come twice are joined.
    pub async fn report(&self, spec: &CageSpec) -> BTreeMap<String, String> {
        let (text, exit) = self.output(spec).await;
        assert_eq!(exit.code, 0, "{text}");
        let mut report: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let entry = report.entry(name.to_owned()).or_default();
            if !entry.is_empty() {
                entry.push(' ');
            }
            entry.push_str(value);
        }
        report
    }

    pub async fn end(&self, instance: &InstanceId) {
        self.rt.stop(instance, Duration::from_secs(1)).await.unwrap();
        self.rt.remove(instance, Keep::Nothing).await.unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

pub fn progress() -> mpsc::Sender<Progress> {
    mpsc::channel(1).0
}

pub async fn line(attached: &mut Attached) -> String {
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(1, &mut attached.stdout);
    tokio::time::timeout(Duration::from_secs(20), reader.read_line(&mut line)).await.unwrap().unwrap();
    line
}
