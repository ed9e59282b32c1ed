//! Every way to end has a name.

use std::time::Duration;

use kanvoy_runtime::cage::Place;
use kanvoy_runtime::{CageSpec, ExitCause, Happening, ImageFault, Keep, Runtime, RuntimeError, State, launch};
use tokio::io::AsyncReadExt;

use crate::world::{World, line, progress, raw, with_world};

async fn cause(world: &World, spec: &CageSpec) -> ExitCause {
    let (text, exit) = world.output(spec).await;
    println!("{text}{exit:?}");
    exit.cause
}

#[test]
fn an_end_says_why() {
    with_world("ends", |world| async move {
        assert_eq!(cause(world, &world.spec(&["/probe", "exit", "0"])).await, ExitCause::Exited { code: 0 });
        assert_eq!(cause(world, &world.spec(&["/probe", "exit", "3"])).await, ExitCause::Exited { code: 3 });
        assert_eq!(cause(world, &world.spec(&["/probe", "abort"])).await, ExitCause::Killed { signal: 6 });
        assert_eq!(cause(world, &world.spec(&["/probe", "eat", "500"])).await, ExitCause::OutOfMemory);
        let child = cause(world, &world.spec(&["/probe", "eat-child", "500", "7"])).await;
        assert_eq!(child, ExitCause::ChildOutOfMemory { code: 7 });
        let missing = cause(world, &world.spec(&["/nope"])).await;
        assert!(matches!(&missing, ExitCause::CommandNotFound { detail } if detail.contains("/nope")), "{missing:?}");
        let text = cause(world, &world.spec(&["/text"])).await;
        assert!(matches!(&text, ExitCause::NotExecutable { .. }), "{text:?}");
    });
}

#[test]
fn killed_by_hand() {
    with_world("killed", |world| async move {
        let docker = raw(&kanvoy_runtime::docker::Address::parse(None, false, None).unwrap());
        let spec = world.spec(&["/probe", "sleep", "60"]);
        let mut launched = world.run(&spec).await;
        line(&mut launched.attached).await;
        docker.kill_container(&launched.created.engine_id, None).await.unwrap();
        let exit = world.rt.wait(&spec.instance).await.unwrap().unwrap();
        assert_eq!((exit.code, exit.oom, exit.cause), (137, false, ExitCause::Killed { signal: 9 }));
        let mut rest = Vec::new();
        launched.attached.stdout.read_to_end(&mut rest).await.unwrap();
        world.rt.remove(&spec.instance, Keep::Nothing).await.unwrap();

        // Removed by hand: a positive nothing.
        let spec = world.spec(&["/probe", "sleep", "60"]);
        let launched = world.run(&spec).await;
        let force = bollard::query_parameters::RemoveContainerOptionsBuilder::default().force(true).build();
        docker.remove_container(&launched.created.engine_id, Some(force)).await.unwrap();
        assert_eq!(world.rt.wait(&spec.instance).await.unwrap(), None);
        assert_eq!(world.rt.inspect(&spec.instance).await.unwrap(), None);
        let error = world.rt.attach(&spec.instance).await.unwrap_err();
        assert!(matches!(error, RuntimeError::NoSuchInstance { .. }), "{error}");
        world.end(&spec.instance).await;
    });
}

#[test]
fn a_launch_that_cannot_be_says_why() {
    with_world("cannot", |world| async move {
        let fails = async |spec: &CageSpec| {
            let error = launch(&world.rt, &world.launchable(spec), &progress()).await.unwrap_err();
            // Cleaning up after half a launch is what it is for.
            world.end(&spec.instance).await;
            error
        };
        let mut spec = world.spec(&["/probe"]);
        spec.image = "kanvoy-test/no-such-image:1".to_owned();
        let error = fails(&spec).await;
        assert!(matches!(&error, RuntimeError::Image { fault: ImageFault::NoSuchImage, .. }), "{error}");

        let mut spec = world.spec(&["/probe"]);
        spec.image = "Kanvoy/UPPER".to_owned();
        let error = fails(&spec).await;
        assert!(matches!(&error, RuntimeError::Image { fault: ImageFault::BadName, .. }), "{error}");

        let mut spec = world.spec(&["/probe"]);
        spec.workspace = Place::Bind { path: world.path("nowhere") };
        let error = fails(&spec).await;
        assert!(matches!(&error, RuntimeError::MountMissing { .. }), "{error}");

        // Without prepare: the engine itself says that the image is missing.
        let mut spec = world.spec(&["/probe"]);
        spec.image = "kanvoy-test/no-such-image:1".to_owned();
        let error = world.rt.create(&world.launchable(&spec)).await.unwrap_err();
        assert!(matches!(&error, RuntimeError::Image { fault: ImageFault::NoSuchImage, .. }), "{error}");
        let error = world.rt.start(&spec.instance).await.unwrap_err();
        assert!(matches!(&error, RuntimeError::NoSuchInstance { .. }), "{error}");

        // A link in the asked path, and a link to the engine's socket as a workspace.
        let link = world.path("link");
        std::os::unix::fs::symlink("/var/run", &link).unwrap();
        let mut spec = world.spec(&["/probe"]);
        spec.workspace = Place::Bind { path: link };
        let error = fails(&spec).await;
        assert!(matches!(&error, RuntimeError::Refused(refusal) if refusal.code() == "engine_socket"), "{error}");
    });
}

#[test]
fn events_tell_what_hands_do() {
    with_world("events", |world| async move {
        use futures_util::StreamExt;
        let mut events = world.rt.events(None);
        let spec = world.spec(&["/probe", "eat-child", "500", "0"]);
        // The stream listens from its first poll.
        let (first, ()) = tokio::join!(events.next(), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.output(&spec).await;
        });
        let mut seen = vec![first.unwrap()];
        while seen.last().unwrap().what != Happening::Removed {
            seen.push(tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap());
        }
        let what: Vec<_> = seen
            .iter()
            .filter(|event| event.instance.as_ref() == Some(&spec.instance))
            .map(|event| event.what.clone())
            .collect();
        assert_eq!(what[..2], [Happening::Created, Happening::Started]);
        assert!(
            what.contains(&Happening::OutOfMemory) && what.contains(&Happening::Died { code: Some(0) }),
            "{what:?}"
        );

        let since = seen.last().unwrap().at;
        let spec = world.spec(&["/probe", "sleep", "60"]);
        let mut launched = world.run(&spec).await;
        line(&mut launched.attached).await;
        world.rt.pause(&spec.instance).await.unwrap();
        world.rt.pause(&spec.instance).await.unwrap();
        assert_eq!(world.rt.inspect(&spec.instance).await.unwrap().unwrap().state, State::Paused);
        world.rt.unpause(&spec.instance).await.unwrap();
        world.rt.unpause(&spec.instance).await.unwrap();
        world.rt.pause(&spec.instance).await.unwrap();
        // A frozen agent can be stopped.
        let exit = world.rt.stop(&spec.instance, Duration::from_secs(2)).await.unwrap().unwrap();
        println!("{exit:?}");
        world.end(&spec.instance).await;
        let error = world.rt.pause(&spec.instance).await.unwrap_err();
        assert!(matches!(error, RuntimeError::NoSuchInstance { .. }), "{error}");
        // From an instant on: nothing is missed, and nothing of that instant comes twice to one listener.
        let mut again = world.rt.events(Some(since));
        let mut what = Vec::new();
        while what.iter().filter(|what| **what == Happening::Removed).count() < 2 {
            let event = tokio::time::timeout(Duration::from_secs(10), again.next()).await.unwrap().unwrap();
            if event.instance.is_some() {
                what.push(event.what);
            }
        }
        let expected = [Happening::Paused, Happening::Unpaused, Happening::Paused];
        let paused: Vec<_> = what.iter().filter(|what| expected.contains(what)).cloned().collect();
        assert_eq!(paused[..3], expected, "{what:?}");
        assert!(what.iter().any(|what| matches!(what, Happening::Signalled { signal: 15 })), "{what:?}");
    });
}
