//! Which paths of the host may enter a cage, and where in it they may appear.

use std::path::{Component, Path, PathBuf};

use crate::cage::{Cage, MountWhy, Refusal, Source};

/// Whoever holds one of these holds the machine. Each also stands for the directories above it.
const ENGINE_PATHS: &[&str] = &[
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/docker",
    "/run/containerd",
    "/run/podman",
    "/run/crio",
    "/run/buildkit",
    "/var/run/docker",
    "/var/run/containerd",
    "/var/run/podman",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
];

const ENGINE_SOCKETS: &[&str] =
    &["docker.sock", "containerd.sock", "podman.sock", "crio.sock", "buildkitd.sock", "dockershim.sock"];

const KERNEL_PATHS: &[&str] = &["/proc", "/sys", "/dev", "/boot", "/etc"];

/// What the cage itself puts in place.
const OWN_TARGETS: &[&str] = &["/kanvoy", "/kanvoy-run", "/run", "/proc", "/sys", "/dev", "/etc"];

/// Absolute, without `.` and `..`, without NUL: the only form that is compared.
pub fn plain(path: &Path) -> bool {
    path.is_absolute()
        && !path.as_os_str().as_encoded_bytes().contains(&0)
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// Judges a path of the host by its text alone; [`check_sources`] judges what it really is.
pub fn source(path: &Path, engine: &str) -> Result<(), Refusal> {
    let refuse = |why| Err(Refusal::Mount { path: path.to_owned(), why });
    if !plain(path) {
        return refuse("it must be absolute, without `..`");
    }
    let engine = engine.strip_prefix("unix://").unwrap_or(engine);
    let named = path.file_name().is_some_and(|name| ENGINE_SOCKETS.iter().any(|socket| name == *socket));
    let holds =
        |held: &str| Path::new(held).is_absolute() && (Path::new(held).starts_with(path) || path.starts_with(held));
    if named || holds(engine) || ENGINE_PATHS.iter().any(|held| holds(held)) {
        return Err(Refusal::EngineSocket { path: path.to_owned() });
    }
    if KERNEL_PATHS.iter().any(|kernel| path.starts_with(kernel)) {
        return refuse("it is the machine's own");
    }
    Ok(())
}

/// A source that an agent type asks for must also lie in a directory that was set aside for this.
pub fn asked_source(path: &Path, engine: &str, roots: &[PathBuf]) -> Result<(), Refusal> {
    source(path, engine)?;
    if roots.iter().any(|root| path.starts_with(root)) {
        Ok(())
    } else {
        Err(Refusal::Mount { path: path.to_owned(), why: "it is in none of the directories set aside for mounts" })
    }
}

/// Where an agent type may have something mounted.
pub fn target(path: &Path) -> Result<(), Refusal> {
    let refuse = |why| Err(Refusal::Target { path: path.to_owned(), why });
    if !plain(path) || path.parent().is_none() {
        return refuse("it must be absolute, without `..`, and not the root");
    }
    if path.to_str().is_none_or(|text| text.contains([',', ':', '\n'])) {
        return refuse("it has a character that engines give a meaning of their own");
    }
    if OWN_TARGETS.iter().any(|own| path.starts_with(own)) {
        return refuse("it belongs to the cage");
    }
    Ok(())
}

/// Looks at the sources on this machine, at the last moment before the engine is asked: a name may be a link to somewhere else.
pub fn check_sources(cage: &Cage, engine: &str) -> Result<(), Refusal> {
    for mount in &cage.mounts {
        let (Source::Bind { path }, MountWhy::Asked | MountWhy::HostMount | MountWhy::Workspace) =
            (&mount.source, mount.why)
        else {
            continue;
        };
        // What does not exist is the engine's to say.
        let Ok(real) = path.canonicalize() else { continue };
        source(&real, engine).map_err(|_| Refusal::EngineSocket { path: path.clone() })?;
        if mount.why == MountWhy::Asked && real != *path {
            return Err(Refusal::Mount { path: path.clone(), why: "it goes through a symbolic link; name its target" });
        }
        let socket = std::fs::metadata(&real).is_ok_and(|meta| is_socket(&meta));
        if socket {
            return Err(Refusal::Mount { path: path.clone(), why: "it is a socket" });
        }
    }
    Ok(())
}

fn is_socket(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    meta.file_type().is_socket()
}
