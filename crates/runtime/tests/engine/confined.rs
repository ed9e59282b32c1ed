//! The cage, asked of the engine and from inside.

use std::os::unix::fs::MetadataExt;

use kanvoy_runtime::cage::{Network, Place};
use kanvoy_runtime::{Keep, Runtime, Secrets, launch};

use crate::world::{progress, raw, with_world};

#[test]
fn the_engine_was_told_everything() {
    with_world("told", |world| async move {
        let mut spec = world.spec(&["/probe", "sleep", "60"]);
        spec.labels = [("run".to_owned(), "r1".to_owned()), ("board".to_owned(), "b1".to_owned())].into();
        let launched = world.run(&spec).await;
        let docker = raw(&kanvoy_runtime::docker::Address::parse(None, false, None).unwrap());
        let told = docker.inspect_container(&launched.created.engine_id, None).await.unwrap();
        assert_eq!(told.name.unwrap(), format!("/kanvoy-{}", spec.instance));
        let config = told.config.unwrap();
        let uid = world.compile(&spec).uid;
        assert_eq!(config.user.unwrap(), format!("{uid}:{uid}"));
        assert_eq!((config.open_stdin, config.stdin_once, config.tty), (Some(true), Some(false), Some(false)));
        let labels = config.labels.unwrap();
        assert_eq!(labels["kanvoy.instance"], spec.instance.as_str());
        assert_eq!(labels["kanvoy.installation"], world.installation);
        assert_eq!((labels["kanvoy.run"].as_str(), labels["kanvoy.board"].as_str()), ("r1", "b1"));
        assert!(labels.contains_key("kanvoy.version"));
        let host = told.host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert!(host.cap_add.unwrap_or_default().is_empty());
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges:true"]);
        assert_eq!((host.readonly_rootfs, host.privileged, host.init), (Some(true), Some(false), Some(true)));
        assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_000_000_000), Some(64)));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.ipc_mode.as_deref(), Some("private"));
        assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("none"));
        assert_eq!((host.oom_score_adj, host.auto_remove), (Some(500), Some(false)));
        assert!(host.devices.unwrap_or_default().is_empty() && host.binds.unwrap_or_default().is_empty());
        assert!(host.pid_mode.unwrap_or_default().is_empty() && host.userns_mode.unwrap_or_default().is_empty());
        let mut mounts: Vec<_> =
            told.mounts.unwrap().into_iter().map(|m| (m.destination.unwrap(), m.typ.unwrap(), m.rw.unwrap())).collect();
        mounts.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            mounts,
            [
                ("/home/agent".to_owned(), "volume".to_owned(), true),
                ("/workspace".to_owned(), "volume".to_owned(), true)
            ]
        );
        world.end(&spec.instance).await;
    });
}

#[test]
fn it_holds_from_inside() {
    with_world("inside", |world| async move {
        let spec = world.spec(&["/probe", "report"]);
        let uid = world.compile(&spec).uid;
        let report = world.report(&spec).await;
        let says = |name: &str| report.get(name).map_or("?", String::as_str);
        assert_eq!((says("uid"), says("gid")), (uid.to_string().as_str(), uid.to_string().as_str()));
        for caps in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(says(caps), "0000000000000000", "{caps}");
        }
        assert_eq!(says("NoNewPrivs"), "1");
        assert!(["", uid.to_string().as_str()].contains(&says("Groups")), "{}", says("Groups"));
        assert_eq!(says("Seccomp"), if world.facts.engine.seccomp { "2" } else { "0" });
        for dir in ["/", "/etc", "/proc/sys/kernel"] {
            assert!(says(&format!("write {dir}")).starts_with("no"), "{dir}: {}", says(&format!("write {dir}")));
        }
        for dir in ["/tmp", "/workspace", "/home/agent"] {
            assert_eq!(says(&format!("write {dir}")), "yes", "{dir}");
            assert_eq!(says(&format!("exec {dir}")), "yes", "{dir}");
        }
        // Its own, but for no programs.
        assert_eq!((says("write /run"), says("exec /run")), ("yes", "no (permission denied)"));
        assert_eq!((says("home"), says("cwd")), ("/home/agent", "/workspace"));
        assert_eq!(says("interfaces"), "lo");
        assert_eq!(says("memory"), (64 << 20).to_string());
        if world.facts.engine.cgroup_version == 1 {
            assert_eq!(says("memsw"), (64 << 20).to_string());
        }
        assert_eq!((says("pids"), says("nofile"), says("core")), ("64", "1024", "0"));
        assert_eq!((says("oom_score_adj"), says("init")), ("500", "docker-init"));
        for socket in ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"] {
            assert_eq!(says(&format!("exists {socket}")), "false");
        }
        let mut env: Vec<_> = says("env").split(' ').collect();
        env.sort_unstable();
        assert_eq!(env, ["HOME", "HOSTNAME", "LOGNAME", "PATH", "USER"]);
    });
}

#[test]
fn a_fork_bomb_stays_small() {
    with_world("forks", |world| async move {
        let spec = world.spec(&["/probe", "forks"]);
        let (text, _) = world.output(&spec).await;
        let count: u32 = text.split(['=', ' ']).nth(1).unwrap().parse().unwrap();
        assert!((10..64).contains(&count), "{text}");
    });
}

#[test]
fn a_home_outlives_its_instance_and_a_bind_is_the_agents() {
    with_world("stores", |world| async move {
        let work = world.path("work");
        std::fs::create_dir(&work).unwrap();
        let mut spec = world.spec(&["/probe", "report"]);
        let uid = world.compile(&spec).uid;
        std::os::unix::fs::chown(&work, Some(uid), Some(uid)).ok();
        spec.workspace = Place::Bind { path: work.clone() };
        let report = world.report(&spec).await;
        assert_eq!(report["write /workspace"], "yes");
        assert_eq!(std::fs::metadata(&work).unwrap().uid(), uid);
        let Place::Volume { name: home } = &spec.home else { unreachable!() };
        let ours = world.rt.list_ours().await.unwrap();
        assert_eq!(ours.iter().map(|found| &found.name).collect::<Vec<_>>(), [home]);
        assert_eq!(ours[0].instance(), None, "a home belongs to no instance");
        world.rt.remove_store(home).await.unwrap();
        world.rt.remove_store(home).await.unwrap();
        assert_eq!(world.rt.list_ours().await.unwrap(), []);
    });
}

#[test]
fn an_open_network_is_its_own_and_goes_with_the_instance() {
    with_world("open", |world| async move {
        let mut first = world.spec(&["/probe", "sleep", "60"]);
        first.network = Network::Open;
        let launched = world.run(&first).await;
        let mut second = world.spec(&["/probe", "sleep", "60"]);
        second.network = Network::Open;
        world.run(&second).await;
        let docker = raw(&kanvoy_runtime::docker::Address::parse(None, false, None).unwrap());
        let told = docker.inspect_container(&launched.created.engine_id, None).await.unwrap();
        let networks = told.network_settings.unwrap().networks.unwrap();
        assert_eq!(networks.keys().collect::<Vec<_>>(), [&first.instance.network()]);
        let address = networks.values().next().unwrap().ip_address.clone().unwrap();
        // From one cage into another there is no way.
        let mut third = world.spec(&["/probe", "connect", &format!("{address}:1")]);
        third.network = Network::Open;
        let (text, _) = world.output(&third).await;
        assert_ne!(text.trim(), "connect=Ok(())");
        assert_ne!(text.trim(), "connect=Err(\"connection refused\")", "it was reached");
        // A launch that is made again finds its network.
        launch(&world.rt, &world.launchable(&first), &progress()).await.unwrap();
        world.end(&first.instance).await;
        world.end(&second.instance).await;
        assert!(docker.inspect_network(&first.instance.network(), None).await.is_err());
    });
}

#[test]
fn a_secret_is_in_the_agents_environment_and_not_in_the_record() {
    with_world("secret", |world| async move {
        let mut spec = world.spec(&["/probe", "secret"]);
        spec.secret_env = ["TOKEN".to_owned()].into();
        let mut run = world.launchable(&spec);
        run.secrets = Secrets::new([("TOKEN".to_owned(), "s3cr3t".to_owned())].into());
        assert!(
            !format!("{run:?}").contains("s3cr3t") && !serde_json::to_string(&run.cage).unwrap().contains("s3cr3t")
        );
        let mut launched = launch(&world.rt, &run, &progress()).await.unwrap();
        assert_eq!(crate::world::line(&mut launched.attached).await, "secret=s3cr3t\n");
        world.rt.wait(&spec.instance).await.unwrap();
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
    });
}
