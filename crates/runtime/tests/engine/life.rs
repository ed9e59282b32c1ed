//! From creation to removal, and everything twice.

use std::time::{Duration, Instant};

use kanvoy_runtime::docker::DockerConfig;
use kanvoy_runtime::{DockerRuntime, ExitCause, Keep, Launched, Runtime, RuntimeError, State, launch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{engine, in_world, installation, line, probe, progress, raw, runtime, with_world};

async fn echo(launched: &mut Launched, text: &str) {
    launched.attached.stdin.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    launched.attached.stdin.flush().await.unwrap();
    assert_eq!(line(&mut launched.attached).await, format!("{text}\n"));
}

#[test]
fn bytes_go_both_ways_and_survive_a_dropped_attachment() {
    with_world("attach", |world| async move {
        let spec = world.spec(&["/probe", "cat"]);
        let mut launched = world.run(&spec).await;
        echo(&mut launched, "one").await;
        // A line larger than any frame, both ways.
        let long = "é".repeat(1 << 20);
        let (mut stdin, mut stdout) = (launched.attached.stdin, launched.attached.stdout);
        let mut back = vec![0; long.len()];
        let (wrote, read) = tokio::join!(stdin.write_all(long.as_bytes()), stdout.read_exact(&mut back));
        wrote.unwrap();
        read.unwrap();
        assert!(back == long.as_bytes());
        drop((stdin, stdout));
        assert_eq!(
            world.rt.inspect(&spec.instance).await.unwrap().unwrap().state,
            State::Running,
            "a drop ends nothing"
        );

        let mut again = world.rt.attach(&spec.instance).await.unwrap();
        again.stdin.write_all(b"two\n").await.unwrap();
        assert_eq!(line(&mut again).await, "two\n");
        // A second one takes the place of the first.
        let mut third = world.rt.attach(&spec.instance).await.unwrap();
        assert!(again.stdin.write_all(b"x").await.is_err());
        assert_eq!(again.stdout.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
        third.stdin.write_all(b"three\n").await.unwrap();
        assert_eq!(line(&mut third).await, "three\n");
        world.end(&spec.instance).await;
        let mut rest = Vec::new();
        third.stdout.read_to_end(&mut rest).await.ok();
    });
}

#[test]
fn a_name_that_is_taken_is_adopted_or_refused() {
    with_world("adopt", |world| async move {
        let spec = world.spec(&["/probe", "cat"]);
        let run = world.launchable(&spec);
        world.rt.prepare(&run, &progress()).await.unwrap();
        let first = world.rt.create(&run).await.unwrap();
        let second = world.rt.create(&run).await.unwrap();
        assert_eq!((second.adopted, second.state, &second.engine_id), (true, State::Created, &first.engine_id));
        // The whole launch, made by another life of the daemon.
        let address = engine("adopt").await.unwrap();
        let other = DockerRuntime::new(DockerConfig::new(address.clone(), &world.installation));
        let mut launched = launch(&other, &run, &progress()).await.unwrap();
        assert!(launched.created.adopted);
        echo(&mut launched, "hello").await;
        let again = launch(&world.rt, &run, &progress()).await.unwrap();
        assert_eq!(again.created.state, State::Running);
        world.rt.start(&spec.instance).await.unwrap();
        drop((again, launched));
        // Another installation sees a stranger, whatever it asks.
        let stranger = DockerRuntime::new(DockerConfig::new(address, "somebody-else"));
        let error = stranger.create(&run).await.unwrap_err();
        assert!(matches!(error, RuntimeError::NameTaken { .. }), "{error}");
        let error = stranger.remove(&spec.instance, Keep::Nothing).await.unwrap_err();
        assert!(matches!(error, RuntimeError::NameTaken { .. }), "{error}");
        assert_eq!(stranger.list_ours().await.unwrap(), []);
        assert_eq!(stranger.remove_ours(&|_| true).await.unwrap(), []);
        // What has ended is not started again.
        world.rt.stop(&spec.instance, Duration::from_secs(1)).await.unwrap();
        let error = launch(&world.rt, &run, &progress()).await.unwrap_err();
        assert!(matches!(error, RuntimeError::NotRunning { .. }), "{error}");
        let error = world.rt.attach(&spec.instance).await.unwrap_err();
        assert!(matches!(error, RuntimeError::NotRunning { .. }), "{error}");
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
        assert_eq!(world.rt.stop(&spec.instance, Duration::from_secs(1)).await.unwrap(), None);
    });
}

#[test]
fn a_stop_is_polite_and_then_insists() {
    with_world("stop", |world| async move {
        let spec = world.spec(&["/probe", "sleep", "60"]);
        let mut launched = world.run(&spec).await;
        line(&mut launched.attached).await;
        let exit = world.rt.stop(&spec.instance, Duration::from_secs(20)).await.unwrap().unwrap();
        assert_eq!(exit.cause, ExitCause::Killed { signal: 15 });
        assert_eq!(world.rt.stop(&spec.instance, Duration::from_secs(1)).await.unwrap().unwrap(), exit);
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();

        let spec = world.spec(&["/probe", "ignore-term"]);
        let mut launched = world.run(&spec).await;
        line(&mut launched.attached).await;
        let began = Instant::now();
        let exit = world.rt.stop(&spec.instance, Duration::from_secs(2)).await.unwrap().unwrap();
        assert_eq!(exit.cause, ExitCause::Killed { signal: 9 });
        assert!((Duration::from_secs(2)..Duration::from_secs(8)).contains(&began.elapsed()), "{:?}", began.elapsed());
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();

        // Created and never started.
        let spec = world.spec(&["/probe", "sleep", "60"]);
        let run = world.launchable(&spec);
        world.rt.prepare(&run, &progress()).await.unwrap();
        world.rt.create(&run).await.unwrap();
        assert_eq!(world.rt.stop(&spec.instance, Duration::from_secs(1)).await.unwrap(), None);
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
    });
}

#[test]
fn an_unread_attachment_blocks_neither_removal_nor_the_next_one() {
    with_world("wedged", |world| async move {
        let spec = world.spec(&["/probe", "flood"]);
        let mut launched = world.run(&spec).await;
        line(&mut launched.attached).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(world.rt.wedged(Duration::from_secs(1)), std::slice::from_ref(&spec.instance));
        assert_eq!(world.rt.wedged(Duration::from_secs(60)), []);
        let stats = world.rt.stats(&spec.instance).await.unwrap();
        assert!(stats.pids >= 1 && stats.memory_limit_bytes == 64 << 20, "{stats:?}");

        let mut next =
            tokio::time::timeout(Duration::from_secs(5), world.rt.attach(&spec.instance)).await.unwrap().unwrap();
        assert!(line(&mut next).await.starts_with('x'));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
}

#[test]
fn every_line_of_a_short_life_arrives() {
    with_world("short", |world| async move {
        let lives = (0..8).map(|_| async {
            let spec = world.spec(&["/probe", "count", "2000"]);
            let (text, exit) = world.output(&spec).await;
            assert_eq!((text.lines().count(), exit.code), (2000, 0));
        });
        futures_util::future::join_all(lives).await;
        assert_eq!(world.rt.free_starts(), 4);
    });
}

#[test]
fn the_first_process_may_speak_on_stderr() {
    with_world("stderr", |world| async move {
        let spec = world.spec(&["/probe", "stderr", "what a day"]);
        let mut launched = world.run(&spec).await;
        let mut text = String::new();
        launched.attached.stdout.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), launched.attached.stderr.text().as_str()), ("", "what a day\n"));
        assert_eq!(world.rt.tail(&spec.instance).await.unwrap(), b"what a day\n");
        world.end(&spec.instance).await;
    });
}

/// Here the keeper is the probe itself: what matters is that its bytes are where they belong.
#[test]
fn the_keeper_is_installed_once_and_again_when_the_engine_lost_it() {
    runtime().block_on(async {
        let Some(address) = engine("keeper").await else { return };
        let mut config = DockerConfig::new(address.clone(), &installation("keeper"));
        config.keeper = Some([probe().as_ref(), b"a keeper"].concat().into());
        let docker = raw(&address);
        in_world("keeper", config, |world| async move {
            let spec = world.spec(&["/probe", "cat"]);
            let run = world.launchable(&spec);
            let volume = kanvoy_runtime::cage::keeper_volume(world.rt.keeper_digest().unwrap());
            let error = world.rt.create(&run).await.unwrap_err();
            assert_eq!(error, RuntimeError::KeeperMissing);
            world.rt.prepare(&run, &progress()).await.unwrap();
            world.rt.prepare(&run, &progress()).await.unwrap();
            docker.remove_volume(&volume, None::<bollard::query_parameters::RemoveVolumeOptions>).await.unwrap();
            let error = world.rt.create(&run).await.unwrap_err();
            assert_eq!(error, RuntimeError::KeeperMissing);
            world.rt.prepare(&run, &progress()).await.unwrap();
            world.rt.create(&run).await.unwrap();
            let told = docker.inspect_container(&spec.instance.container(), None).await.unwrap();
            let config = told.config.unwrap();
            assert_eq!(config.entrypoint.unwrap(), ["/kanvoy/keeper"]);
            assert!(config.cmd.unwrap().ends_with(&["--".to_owned(), "/probe".to_owned(), "cat".to_owned()]));
            let mount = told.mounts.unwrap().into_iter().find(|m| m.destination.as_deref() == Some("/kanvoy")).unwrap();
            assert_eq!((mount.rw, mount.name.as_deref()), (Some(false), Some(volume.as_str())));
            world.rt.remove(&spec.instance, Keep::Journal).await.unwrap();
            let left = world.rt.list_ours().await.unwrap();
            assert!(left.iter().any(|found| found.name == spec.instance.journal_volume()), "{left:?}");
            world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
            docker.remove_volume(&volume, None::<bollard::query_parameters::RemoveVolumeOptions>).await.unwrap();
        })
        .await;
    });
}
