//! Compiling: what is asked becomes one record, or a refusal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use kanvoy_runtime::cage::{Cage, Facts, HostMount, Limits, MountAsk, Network, Place, Refusal, TmpfsAsk, UserPolicy};
use kanvoy_runtime::docker::body;
use kanvoy_runtime::{CageSpec, EngineFacts, InstanceId, Kind, Secrets, compile};
use proptest::prelude::*;

fn spec() -> CageSpec {
    let instance = InstanceId::parse("0199-aaaa").unwrap();
    let workspace = Place::Bind { path: "/data/workspaces/12".into() };
    let mut spec = CageSpec::new(instance, "inst", "kanvoy/demo-agent:latest", &["/demo-agent", "--fast"], workspace);
    spec.home = Place::Volume { name: "kanvoy-home-12".to_owned() };
    spec.version = "1.2.3".to_owned();
    spec.labels = BTreeMap::from([("run".to_owned(), "r".to_owned()), ("board".to_owned(), "b".to_owned())]);
    spec.env = BTreeMap::from([("K".to_owned(), "V".to_owned())]);
    spec
}

fn facts() -> Facts {
    let engine = EngineFacts {
        kind: Kind::Docker,
        address: "unix:///srv/engine/api.sock".to_owned(),
        local: true,
        version: "20.10.24".to_owned(),
        api_version: "1.41".to_owned(),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        cpus: 4,
        memory_bytes: 8 << 30,
        cgroup_version: 2,
        rootless: false,
        seccomp: true,
        apparmor: true,
        limits_memory: true,
        limits_swap: true,
        limits_pids: true,
        limits_cpu: true,
        live_restore: true,
        warnings: Vec::new(),
    };
    Facts {
        engine,
        daemon_uid: 1000,
        daemon_gid: 1000,
        keeper: Some("0123456789abcdef0123".to_owned()),
        host_files: BTreeMap::from([(HostMount::Ssh, PathBuf::from("/home/ada/.ssh"))]),
        mount_roots: vec!["/srv/shared".into(), "/srv/engine".into(), "/".into()],
    }
}

fn cage(change: impl FnOnce(&mut CageSpec, &mut Facts)) -> Cage {
    let (mut spec, mut facts) = (spec(), facts());
    change(&mut spec, &mut facts);
    compile(&spec, &facts).unwrap()
}

fn refused(change: impl FnOnce(&mut CageSpec, &mut Facts)) -> Refusal {
    let (mut spec, mut facts) = (spec(), facts());
    change(&mut spec, &mut facts);
    compile(&spec, &facts).unwrap_err()
}

fn codes(cage: &Cage) -> Vec<&str> {
    cage.warnings.iter().map(|warning| warning.code.as_str()).collect()
}

#[test]
fn the_record() {
    let cage = cage(|_, _| {});
    assert!(cage.enforced && cage.warnings.is_empty());
    insta::assert_json_snapshot!("record", cage);
    let back: Cage = serde_json::from_str(&serde_json::to_string(&cage).unwrap()).unwrap();
    assert_eq!(back, cage);
    // Sorted: the engine's types keep their maps in no order.
    let told = serde_json::to_value(body(&cage, &Secrets::default())).unwrap();
    insta::assert_json_snapshot!("told-to-the-engine", told);
}

#[test]
fn nobody_is_root() {
    assert_eq!((cage(|_, _| {}).uid, cage(|_, _| {}).gid), (1000, 1000));
    let root = cage(|_, facts| (facts.daemon_uid, facts.daemon_gid) = (0, 0));
    assert_eq!((root.uid, root.gid), (10_001, 10_001));
    let in_roots_group = cage(|_, facts| facts.daemon_gid = 0);
    assert_eq!((in_roots_group.uid, in_roots_group.gid), (1000, 1000));
    let chosen = cage(|spec, _| spec.user = UserPolicy::Id { uid: 7, gid: 8 });
    assert_eq!((chosen.uid, chosen.gid), (7, 8));
    for user in [UserPolicy::Id { uid: 0, gid: 5 }, UserPolicy::Id { uid: 5, gid: 0 }] {
        assert_eq!(refused(|spec, _| spec.user = user), Refusal::Root);
    }
}

#[test]
fn what_an_engine_cannot_enforce_is_said() {
    let cage = cage(|_, facts| {
        facts.engine.limits_swap = false;
        facts.engine.seccomp = false;
        facts.engine.apparmor = false;
    });
    assert!(!cage.enforced);
    let lacking: Vec<_> = cage.rules.iter().filter(|rule| !rule.enforced).map(|rule| rule.rule.as_str()).collect();
    assert_eq!(lacking, ["seccomp", "swap"]);
    assert_eq!(codes(&cage), ["no_apparmor"]);
}

#[test]
fn a_plain_process_is_no_cage_and_says_so() {
    let process = cage(|spec, facts| {
        facts.engine.kind = Kind::Process;
        spec.home = Place::Bind { path: "/data/homes/12".into() };
        spec.journal = Place::Bind { path: "/data/runs/1".into() };
    });
    assert!(!process.enforced && process.rules.iter().all(|rule| !rule.enforced));
    assert!(process.summary.starts_with("NOT A CAGE"), "{}", process.summary);
    assert_eq!(codes(&process), ["not_a_cage"]);
    assert_eq!((process.working_dir.as_str(), process.env["HOME"].as_str()), ("/data/workspaces/12", "/data/homes/12"));
}

#[test]
fn holes_are_opt_ins_and_loud() {
    let cage = cage(|spec, _| {
        spec.host_mounts.insert(HostMount::Ssh);
        spec.host_env.insert("GITHUB_TOKEN".to_owned());
        spec.secret_env.insert("OPENAI_API_KEY".to_owned());
        spec.network = Network::Open;
        spec.limits.cpus = 64.0;
        spec.mounts.push(MountAsk { source: "/srv/shared/cache".into(), target: "/cache".into(), read_only: false });
    });
    assert_eq!(
        codes(&cage),
        ["cpus_clamped", "host_path", "host_mount", "network_open", "host_token", "secret_in_env"]
    );
    let ssh = cage.mounts.iter().find(|mount| mount.target == "/home/agent/.ssh").unwrap();
    assert!(ssh.read_only);
    assert_eq!(cage.nano_cpus, 4_000_000_000);
    assert_eq!(
        refused(|spec, _| _ = spec.host_mounts.insert(HostMount::Gitconfig)),
        Refusal::HostMountMissing { mount: HostMount::Gitconfig }
    );
    // The names are in the record, and the values in what the engine is told alone.
    let secrets = Secrets::new(BTreeMap::from([("GITHUB_TOKEN".to_owned(), "ghp_x".to_owned())]));
    assert!(body(&cage, &secrets).env.unwrap().contains(&"GITHUB_TOKEN=ghp_x".to_owned()));
    assert!(!serde_json::to_string(&cage).unwrap().contains("ghp_x"));
}

#[test]
fn the_engine_is_never_given() {
    for path in [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/srv/engine/api.sock",
        "/srv/engine",
        "/srv/shared/docker.sock",
        "/srv/shared/containerd.sock",
        "/run/containerd/containerd.sock",
        "/run/podman",
        "/",
        "/run",
        "/var",
        "/var/run",
        "/var/lib/docker/volumes/x/_data",
    ] {
        let ask = MountAsk { source: path.into(), target: "/x".into(), read_only: true };
        let refusal = refused(|spec, _| spec.mounts.push(ask));
        assert_eq!(refusal.code(), "engine_socket", "{path}: {refusal}");
        let refusal = refused(|spec, _| spec.workspace = Place::Bind { path: path.into() });
        assert_eq!(refusal.code(), "engine_socket", "{path}: {refusal}");
    }
}

#[test]
fn mounts_stay_where_they_belong() {
    let roots = |facts: &mut Facts| facts.mount_roots = vec!["/srv/shared".into()];
    for path in ["/srv/other", "/srv/sharedx", "/etc/passwd", "/proc/1", "relative", "/srv/shared/../other"] {
        let ask = MountAsk { source: path.into(), target: "/x".into(), read_only: true };
        let refusal = refused(|spec, facts| {
            roots(facts);
            spec.mounts.push(ask);
        });
        assert_eq!(refusal.code(), "mount_refused", "{path}: {refusal}");
    }
    for target in
        ["/", "/etc", "/proc/x", "/kanvoy", "/kanvoy/keeper", "/kanvoy-run", "/run/x", "x", "/a/../b", "/a:b", "/a,b"]
    {
        let ask = MountAsk { source: "/srv/shared".into(), target: target.into(), read_only: true };
        let refusal = refused(|spec, _| spec.mounts.push(ask));
        assert_eq!(refusal.code(), "mount_refused", "{target}: {refusal}");
    }
    for target in ["/workspace", "/home/agent", "/tmp"] {
        let ask = MountAsk { source: "/srv/shared".into(), target: target.into(), read_only: true };
        assert!(matches!(refused(|spec, _| spec.mounts.push(ask)), Refusal::Target { .. }), "{target}");
    }
    for volume in ["other", "kanvoy-a/b", "kanvoy-a:b", "../x", ""] {
        let refusal = refused(|spec, _| spec.home = Place::Volume { name: volume.to_owned() });
        assert_eq!(refusal.code(), "mount_refused", "{volume}: {refusal}");
    }
    assert!(matches!(refused(|_, facts| facts.engine.local = false), Refusal::NotLocal { .. }));
}

#[test]
fn words_that_cannot_be() {
    assert_eq!(refused(|spec, _| spec.network = Network::Allowlist(vec!["x".to_owned()])).code(), "not_available");
    assert_eq!(refused(|spec, _| _ = spec.secret_files.insert("A".to_owned())).code(), "not_available");
    assert_eq!(refused(|spec, _| spec.command.clear()).code(), "no_command");
    for image in ["", "-v", "a b", "a\nb", "ä", "$(x)"] {
        assert_eq!(refused(|spec, _| spec.image = image.to_owned()).code(), "bad_image_name", "{image}");
    }
    for name in ["", "A=B", "1A", "A-B", "A\0", "../x"] {
        assert_eq!(
            refused(|spec, _| _ = spec.env.insert(name.to_owned(), String::new())).code(),
            "bad_variable",
            "{name}"
        );
        assert_eq!(refused(|spec, _| _ = spec.secret_env.insert(name.to_owned())).code(), "bad_variable", "{name}");
    }
    assert_eq!(refused(|spec, _| _ = spec.env.insert("A".to_owned(), "\0".to_owned())).code(), "bad_variable");
    assert_eq!(refused(|spec, _| _ = spec.labels.insert("a b".to_owned(), String::new())).code(), "bad_label");
    let limits = Limits::default();
    for bad in [
        Limits { memory_mb: 1, ..limits },
        Limits { memory_mb: u64::MAX, ..limits },
        Limits { cpus: 0.0, ..limits },
        Limits { cpus: f64::NAN, ..limits },
        Limits { cpus: -1.0, ..limits },
        Limits { pids: 1, ..limits },
        Limits { nofile: 1, ..limits },
    ] {
        assert_eq!(refused(|spec, _| spec.limits = bad).code(), "bad_limit", "{bad:?}");
    }
    let ask = TmpfsAsk { target: "/cache".into(), size_mb: 1 << 40, exec: false };
    assert_eq!(refused(|spec, _| spec.tmpfs.push(ask)).code(), "bad_limit");
}

#[test]
fn nothing_asked_for_can_pass_for_another() {
    let cage = cage(|spec, _| {
        for label in ["instance", "installation", "version"] {
            spec.labels.insert(label.to_owned(), "another".to_owned());
        }
        spec.env.insert("HOME".to_owned(), "/root".to_owned());
    });
    assert_eq!((cage.labels["kanvoy.instance"].as_str(), cage.installation()), ("0199-aaaa", "inst"));
    assert_eq!(cage.env["HOME"], "/home/agent");
}

proptest! {
    /// Whatever is asked, a cage that comes out is a cage.
    #[test]
    fn every_cage_holds(
        uid in 0u32..3, gid in 0u32..3, memory_mb in 0u64..100_000, cpus in -1.0f64..100.0, pids in 0u32..10_000,
        open: bool, source in "(/[a-z.]{0,7}){0,4}", target in "(/[a-z.]{0,7}){0,3}", read_only: bool,
    ) {
        let (mut spec, mut facts) = (spec(), facts());
        (facts.daemon_uid, facts.daemon_gid) = (uid, gid);
        spec.limits = Limits { memory_mb, cpus, pids, nofile: 1024 };
        spec.network = if open { Network::Open } else { Network::None };
        spec.mounts.push(MountAsk { source: source.into(), target: target.into(), read_only });
        if let Ok(cage) = compile(&spec, &facts) {
            let body = body(&cage, &Secrets::default());
            let host = body.host_config.unwrap();
            prop_assert!(cage.uid != 0 && cage.gid != 0);
            prop_assert_eq!(host.cap_drop.unwrap(), vec!["ALL".to_owned()]);
            prop_assert_eq!((host.privileged, host.readonly_rootfs), (Some(false), Some(true)));
            prop_assert_eq!(host.memory, host.memory_swap);
            prop_assert!(host.memory.unwrap() > 0 && host.pids_limit.unwrap() > 0 && host.nano_cpus.unwrap() > 0);
            let network = if open { "kanvoy-net-0199-aaaa" } else { "none" };
            prop_assert_eq!(host.network_mode.unwrap(), network);
            for mount in host.mounts.unwrap() {
                let source = mount.source.unwrap();
                prop_assert!(!source.ends_with("docker.sock") && source != "/" && !source.starts_with("/proc"));
                let holds = "/srv/engine/api.sock".starts_with(&(source + "/"));
                prop_assert!(!holds);
            }
        }
    }
}
