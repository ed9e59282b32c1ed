//! The real keeper in a real cage.

use std::time::{Duration, Instant};

use bollard::query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptions, RemoveContainerOptionsBuilder};
use bytes::Bytes;
use futures_util::StreamExt;
use kanvoy_runtime::cage::Place;
use kanvoy_runtime::docker::DockerConfig;
use kanvoy_runtime::keeper::{self, Deadlines, End, Handle, Lines, Nonce, Output, Resume};
use kanvoy_runtime::{Attached, ExitCause, InstanceId, Keep, Runtime, RuntimeError, Secrets, State, launch};
use tokio_util::task::TaskTracker;

use crate::support::keeper as binary;
use crate::world::{World, engine, in_world, installation, progress, raw, runtime};

fn with_keeper<F>(name: &'static str, test: impl FnOnce(&'static World) -> F)
where
    F: Future<Output = ()>,
{
    runtime().block_on(async {
        let Some(address) = engine(name).await else { return };
        let mut config = DockerConfig::new(address, &installation(name));
        config.keeper = Some(binary().clone());
        in_world(name, config, test).await;
    });
}

async fn talk(attached: Attached, resume: Resume) -> (Lines, Handle) {
    let (io, _, _) = attached.into_io();
    let nonce = Nonce::random().unwrap();
    keeper::attach(io, nonce, resume, Deadlines::default(), &TaskTracker::new()).await.unwrap()
}

async fn line(lines: &mut Lines) -> (u64, String) {
    match tokio::time::timeout(Duration::from_secs(20), lines.next()).await.unwrap().unwrap() {
        Output::Line { number, bytes } => (number, String::from_utf8(bytes.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

async fn end(lines: &mut Lines, handle: &Handle) -> keeper::Exit {
    loop {
        let output = tokio::time::timeout(Duration::from_secs(20), lines.next()).await.unwrap().unwrap();
        if let Some(number) = output.number() {
            handle.ack(number);
        }
        if let Output::Exit { exit, .. } = output {
            // The acknowledgement goes out while somebody reads; then the keeper ends, and with it the instance.
            lines.next().await.unwrap_err();
            return exit;
        }
    }
}

async fn gone(world: &World, instance: &InstanceId) -> ExitCause {
    let exit = world.rt.wait(instance).await.unwrap().unwrap();
    world.rt.remove(instance, Keep::Nothing).await.unwrap();
    exit.cause
}

#[test]
fn lines_go_both_ways_across_a_lost_connection() {
    with_keeper("kept", |world| async move {
        let spec = world.spec(&["/probe", "cat"]);
        let launched = world.run(&spec).await;
        let (mut lines, handle) = talk(launched.attached, Resume::default()).await;
        let (sent, heard) =
            tokio::join!(handle.send_line(1, Bytes::from_static("eins é".as_bytes())), line(&mut lines));
        sent.unwrap();
        assert_eq!(heard, (1, "eins é".to_owned()));
        world.rt.drop_attachment(&spec.instance);
        lines.next().await.unwrap_err();
        drop((lines, handle));
        let (mut lines, handle) =
            talk(world.rt.attach(&spec.instance).await.unwrap(), Resume { received: 0, sent: 1, stderr: 0 }).await;
        assert_eq!(line(&mut lines).await, (1, "eins é".to_owned()), "not acknowledged, so told again");
        let (sent, heard) = tokio::join!(handle.send_line(2, Bytes::from_static(b"zwei")), line(&mut lines));
        sent.unwrap();
        assert_eq!(heard, (2, "zwei".to_owned()));
        let (closed, exit) = tokio::join!(handle.close_stdin(), end(&mut lines, &handle));
        closed.unwrap();
        assert_eq!(exit.end, End::Code(0));
        assert_eq!(gone(world, &spec.instance).await, ExitCause::Exited { code: 0 });
    });
}

#[test]
fn the_keeper_knows_how_the_agent_ended() {
    with_keeper("ended", |world| async move {
        for (command, expected) in [
            (&["/probe", "exit", "5"][..], End::Code(5)),
            (&["/probe", "abort"], End::Signal(6)),
            (&["/probe", "eat", "500"], End::Signal(9)),
            (&["/nope"], End::Failed(2)),
            (&["/text"], End::Failed(13)),
            // libc tries what has no format it knows as a script, and there is no shell.
            (&["/not-a-program"], End::Failed(2)),
        ] {
            let spec = world.spec(command);
            let launched = world.run(&spec).await;
            let (mut lines, handle) = talk(launched.attached, Resume::default()).await;
            let exit = end(&mut lines, &handle).await;
            assert_eq!(exit.end, expected, "{command:?}");
            let cause = gone(world, &spec.instance).await;
            println!("{command:?}: {exit:?} {cause:?}");
            if command.contains(&"eat") {
                assert_eq!(cause, ExitCause::OutOfMemory);
                assert!(exit.out_of_memory > 0 || world.facts.engine.cgroup_version == 1, "{exit:?}");
            }
        }
    });
}

#[test]
fn what_a_killed_instance_had_said_is_still_to_be_had() {
    with_keeper("revived", |world| async move {
        let spec = world.spec(&["/probe", "sleep", "60"]);
        let launched = world.run(&spec).await;
        let (mut lines, handle) = talk(launched.attached, Resume::default()).await;
        assert_eq!(line(&mut lines).await, (1, "ready".to_owned()));
        drop((lines, handle));
        // The keeper lingers for its acknowledgement, so the stop has to insist.
        let exit = world.rt.stop(&spec.instance, Duration::from_secs(1)).await.unwrap().unwrap();
        println!("{exit:?}");
        assert!(matches!(world.rt.attach(&spec.instance).await, Err(RuntimeError::NotRunning { .. })));
        let (mut lines, handle) = talk(world.rt.revive(&spec.instance).await.unwrap(), Resume::default()).await;
        assert_eq!(line(&mut lines).await, (1, "ready".to_owned()));
        let exit = end(&mut lines, &handle).await;
        println!("{exit:?}");
        assert_eq!(world.rt.wait(&spec.instance).await.unwrap().map(|_| ()), Some(()));
        assert_eq!(world.rt.inspect(&spec.instance).await.unwrap().unwrap().state, State::Exited);
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();
    });
}

/// The first line of an agent: bare engine calls beside ours with keeper, interleaved.
#[test]
#[ignore = "a measurement, for a quiet machine"]
fn what_a_start_costs_beside_the_engine_itself() {
    with_keeper("cost", |world| async move {
        let docker = raw(&engine("cost").await.unwrap());
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for n in 0..20 {
            let mut spec = world.spec(&["/probe", "sleep", "60"]);
            let uid = world.compile(&spec).uid;
            let place = |name: &str| {
                let path = world.path(&format!("{name}-{n}"));
                std::fs::create_dir(&path).unwrap();
                std::os::unix::fs::chown(&path, Some(uid), Some(uid)).ok();
                Place::Bind { path }
            };
            (spec.workspace, spec.home, spec.journal) = (place("work"), place("home"), place("run"));
            let mut plain = world.launchable(&spec);

            let began = Instant::now();
            let launched = launch(&world.rt, &plain, &progress()).await.unwrap();
            let (mut lines, handle) = talk(launched.attached, Resume::default()).await;
            line(&mut lines).await;
            ours.push(began.elapsed());
            drop((lines, handle));
            world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();

            plain.cage.keeper = None;
            let body = kanvoy_runtime::docker::body(&plain.cage, &Secrets::default());
            let began = Instant::now();
            let none: Option<CreateContainerOptions> = None;
            let made = docker.create_container(none, body).await.unwrap().id;
            let options = AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).build();
            let mut attached = docker.attach_container(&made, Some(options)).await.unwrap();
            docker.start_container(&made, None).await.unwrap();
            attached.output.next().await.unwrap().unwrap();
            bare.push(began.elapsed());
            drop(attached);
            let force = RemoveContainerOptionsBuilder::default().force(true).build();
            docker.remove_container(&made, Some(force)).await.unwrap();
        }
        bare.sort();
        ours.sort();
        let ratio = ours[10].as_secs_f64() / bare[10].as_secs_f64();
        println!("median of 20: bare {:?}, ours {:?}, ratio {ratio:.3}", bare[10], ours[10]);
    });
}
