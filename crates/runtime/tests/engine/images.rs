//! Pulling, from a registry on this machine.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bollard::query_parameters::{
    ImportImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::TryStreamExt;
use kanvoy_runtime::docker::Address;
use kanvoy_runtime::{ImageFault, Login, Progress, Pull, PullWhen, Runtime, RuntimeError};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::world::{IMAGE, World, probe_tar, raw, with_world};

/// `let-me-in`, for the user `ada`.
const HTPASSWD: &str = "ada:$2b$05$emw1tbw6Ye4VEfU1ihUK7.hLEN10NFExI0Jfgd9ywlPtdWSuRE.e.\n";

pub struct Registry {
    process: Child,
    pub port: u16,
}

impl Registry {
    /// `None`, with a line that says so, where the program is not installed.
    pub async fn start(world: &World, name: &str, closed: bool) -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = world.path(&format!("registry-{port}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        let auth = format!("auth:\n  htpasswd:\n    realm: r\n    path: {}/htpasswd\n", dir.display());
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{}",
            dir.display(),
            if closed { &auth } else { "" }
        );
        let path = dir.join("config.yml");
        std::fs::write(&path, config).unwrap();
        let started =
            Command::new("docker-registry").arg("serve").arg(&path).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(process) = started else {
            println!("SKIPPED {name}: the program docker-registry is not installed");
            return None;
        };
        let registry = Self { process, port };
        let until = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < until, "the registry does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(registry)
    }

    pub fn image(&self, name: &str) -> String {
        format!("localhost:{}/{name}:1", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn local() -> bollard::Docker {
    raw(&Address::parse(None, false, None).unwrap())
}

fn ada() -> Login {
    Login { user: "ada".to_owned(), password: "let-me-in".to_owned() }
}

/// Puts the probe's image into the registry and takes it off the engine.
async fn publish(registry: &Registry, name: &str, login: Option<Login>) -> String {
    let docker = local();
    let image = registry.image(name);
    let (repo, tag) = image.rsplit_once(':').unwrap();
    docker.tag_image(IMAGE, Some(TagImageOptionsBuilder::default().repo(repo).tag(tag).build())).await.unwrap();
    let login = login.map(|login| bollard::auth::DockerCredentials {
        username: Some(login.user),
        password: Some(login.password),
        ..Default::default()
    });
    let push = PushImageOptionsBuilder::default().tag(tag).build();
    docker.push_image(repo, Some(push), login).try_collect::<Vec<_>>().await.unwrap();
    forget(&image).await;
    image
}

async fn forget(image: &str) {
    local().remove_image(image, Some(RemoveImageOptionsBuilder::default().build()), None).await.unwrap();
}

async fn prepare(world: &World, image: &str, pull: Pull) -> (Result<(), RuntimeError>, Vec<Progress>) {
    let mut spec = world.spec(&["/probe", "exit", "0"]);
    spec.image = image.to_owned();
    let mut run = world.launchable(&spec);
    run.pull = pull;
    let (sender, mut receiver) = mpsc::channel(100);
    let prepared = world.rt.prepare(&run, &sender).await;
    let mut told = Vec::new();
    while let Ok(step) = receiver.try_recv() {
        told.push(step);
    }
    (prepared, told)
}

fn fault(prepared: Result<(), RuntimeError>) -> ImageFault {
    match prepared {
        Err(RuntimeError::Image { fault, image, detail }) => {
            println!("{image}: {fault:?}: {detail}");
            fault
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_is_pulled_when_it_is_missing() {
    with_world("pull", |world| async move {
        let Some(registry) = Registry::start(world, "pull", false).await else { return };
        let image = publish(&registry, "probe", None).await;
        let never = Pull { when: PullWhen::Never, ..Pull::default() };
        assert_eq!(fault(prepare(world, &image, never).await.0), ImageFault::NoSuchImage);
        let (pulled, told) = prepare(world, &image, Pull::default()).await;
        pulled.unwrap();
        assert_eq!(told.first(), Some(&Progress::PullStarted { image: image.clone(), attempt: 1 }));
        assert!(told.iter().any(|step| matches!(step, Progress::Pulling { .. })), "{told:?}");
        assert!(
            told.contains(&Progress::Pulled { image: image.clone() }) && told.contains(&Progress::StorageReady),
            "{told:?}"
        );
        let (again, told) = prepare(world, &image, Pull::default()).await;
        again.unwrap();
        assert_eq!(told, [Progress::StorageReady], "what is there is not pulled again");
        let always = Pull { when: PullWhen::Always, ..Pull::default() };
        let (_, told) = prepare(world, &image, always).await;
        assert!(told.contains(&Progress::Pulled { image: image.clone() }), "{told:?}");
        forget(&image).await;

        let (missing, told) = prepare(world, &registry.image("no-such"), Pull::default()).await;
        assert_eq!(fault(missing), ImageFault::NoSuchImage);
        let tries = |told: &[Progress]| told.iter().filter(|step| matches!(step, Progress::PullStarted { .. })).count();
        assert_eq!(tries(&told), 1, "what is not there is asked for once");

        let gone = registry.image("probe");
        drop(registry);
        let began = Instant::now();
        let (unreachable, told) = prepare(world, &gone, Pull::default()).await;
        assert_eq!(fault(unreachable), ImageFault::RegistryUnreachable);
        assert_eq!(tries(&told), 3);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let last = told.iter().rfind(|step| matches!(step, Progress::PullFailed { .. })).unwrap();
        assert!(matches!(last, Progress::PullFailed { attempt: 3, again: false, .. }), "{last:?}");
    });
}

#[test]
fn a_closed_registry_wants_a_login() {
    with_world("login", |world| async move {
        let Some(registry) = Registry::start(world, "login", true).await else { return };
        let image = publish(&registry, "closed", Some(ada())).await;
        assert_eq!(fault(prepare(world, &image, Pull::default()).await.0), ImageFault::NoAccess);
        let wrong = Pull { login: Some(Login { password: "wrong".to_owned(), ..ada() }), ..Pull::default() };
        assert_eq!(fault(prepare(world, &image, wrong).await.0), ImageFault::NoAccess);
        let right = Pull { login: Some(ada()), ..Pull::default() };
        assert!(!format!("{right:?}").contains("let-me-in"));
        prepare(world, &image, right).await.0.unwrap();
        forget(&image).await;
    });
}

/// An image that says what it is made for; importing would say the engine's own.
async fn load(image: &str, arch: &str) {
    let layer = probe_tar();
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]});
    let config = serde_json::json!({"architecture": arch, "os": "linux", "config": {}, "rootfs": rootfs}).to_string();
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]).to_string();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in
        [("config.json", config.as_bytes()), ("layer.tar", layer.as_ref()), ("manifest.json", manifest.as_bytes())]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    }
    let options = ImportImageOptionsBuilder::default().build();
    let body = bollard::body_full(tar.into_inner().unwrap().into());
    local().import_image(options, body, None).try_collect::<Vec<_>>().await.unwrap();
}

#[test]
fn another_processor_is_said_before_anything_starts() {
    with_world("arch", |world| async move {
        let other = if world.facts.engine.arch == "arm64" { "amd64" } else { "arm64" };
        let image = format!("kanvoy-test/{other}:1");
        load(&image, other).await;
        assert_eq!(fault(prepare(world, &image, Pull::default()).await.0), ImageFault::WrongArchitecture);
        forget(&image).await;
    });
}
