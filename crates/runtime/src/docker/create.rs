//! A cage in the engine's words. Pure; every setting that keeps an agent in is here and nowhere else.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount as EngineMount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, MountVolumeOptions, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use crate::cage::{Cage, JOURNAL, KEEPER, Mount, Network, Source};
use crate::runtime::Secrets;

/// Above the daemon and the engine when the kernel has to choose.
const OOM_SCORE: i64 = 500;

/// What is sent to `POST /containers/create`. Names of secrets that have no value are left out.
pub fn body(cage: &Cage, secrets: &Secrets) -> ContainerCreateBody {
    let command = first_process(cage);
    let secret = |name: &String| secrets.reveal(name).map(|value| format!("{name}={value}"));
    let env = cage.env.iter().map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(cage.image.clone()),
        // The image's entrypoint is replaced, not extended: the first process is ours.
        entrypoint: Some(command[..1].to_vec()),
        cmd: Some(command[1..].to_vec()),
        env: Some(env.chain(cage.secret_env.iter().filter_map(secret)).collect()),
        user: Some(format!("{}:{}", cage.uid, cage.gid)),
        working_dir: Some(cage.working_dir.clone()),
        hostname: Some("kanvoy".to_owned()),
        labels: Some(cage.labels.clone().into_iter().collect()),
        // The agent's two streams outlive whoever is attached to them.
        open_stdin: Some(true),
        stdin_once: Some(false),
        tty: Some(false),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        // An image's health check would run a command of the image's beside the agent.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        stop_signal: Some("SIGTERM".to_owned()),
        host_config: Some(host_config(cage)),
        ..ContainerCreateBody::default()
    }
}

/// The keeper with the agent's command behind it, or in tests the command itself.
fn first_process(cage: &Cage) -> Vec<String> {
    let Some(_) = &cage.keeper else { return cage.command.clone() };
    let keeper = [KEEPER, "--journal", JOURNAL, "--"].map(str::to_owned);
    keeper.into_iter().chain(cage.command.iter().cloned()).collect()
}

fn host_config(cage: &Cage) -> HostConfig {
    let memory = i64::try_from(cage.memory_bytes).unwrap_or(i64::MAX);
    HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(Vec::new()),
        // The engine's default seccomp profile stays, since none is named here.
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        privileged: Some(false),
        readonly_rootfs: Some(true),
        memory: Some(memory),
        // Equal means none: what is over the limit is killed instead of swapped.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::try_from(cage.nano_cpus).unwrap_or(i64::MAX)),
        pids_limit: Some(i64::from(cage.pids)),
        ulimits: Some(vec![ulimit("nofile", cage.nofile), ulimit("core", 0)]),
        oom_score_adj: Some(OOM_SCORE),
        // Reaps what agents leave behind, and passes SIGTERM on: a first process without a handler would never see it.
        init: Some(true),
        network_mode: Some(match cage.network {
            Network::None | Network::Allowlist(_) => "none".to_owned(),
            Network::Open => cage.instance.network(),
        }),
        publish_all_ports: Some(false),
        ipc_mode: Some("private".to_owned()),
        // The journal is the record. The engine's own corrupts long lines and fills disks.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: Some(HashMap::new()) }),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        auto_remove: Some(false),
        mounts: Some(cage.mounts.iter().filter_map(engine_mount).collect()),
        tmpfs: Some(cage.mounts.iter().filter_map(|mount| tmpfs(cage, mount)).collect()),
        ..HostConfig::default()
    }
}

fn ulimit(name: &str, value: u32) -> ResourcesUlimits {
    let value = Some(i64::from(value));
    ResourcesUlimits { name: Some(name.to_owned()), soft: value, hard: value }
}

fn engine_mount(mount: &Mount) -> Option<EngineMount> {
    let base =
        EngineMount { target: Some(mount.target.clone()), read_only: Some(mount.read_only), ..EngineMount::default() };
    match &mount.source {
        Source::Bind { path } => Some(EngineMount {
            typ: Some(MountType::BIND),
            source: Some(path.to_string_lossy().into_owned()),
            bind_options: Some(MountBindOptions {
                // What the agent's machine mounts below it later stays out.
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                ..MountBindOptions::default()
            }),
            ..base
        }),
        Source::Volume { name } => Some(EngineMount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            // What an image has at this path is not copied in: it would bring the image's owner with it.
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..base
        }),
        Source::Tmpfs { .. } => None,
    }
}

fn tmpfs(cage: &Cage, mount: &Mount) -> Option<(String, String)> {
    let Source::Tmpfs { bytes, mode, exec } = mount.source else { return None };
    let exec = if exec { "exec" } else { "noexec" };
    // Without an owner it is root's, and the agent cannot write there.
    let options = format!("rw,nosuid,nodev,{exec},size={bytes},mode={mode:o},uid={},gid={}", cage.uid, cage.gid);
    Some((mount.target.clone(), options))
}
