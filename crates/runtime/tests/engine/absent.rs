//! No engine, and the reason.

use std::os::unix::fs::PermissionsExt;

use kanvoy_runtime::docker::{Address, DockerConfig};
use kanvoy_runtime::{Absence, DockerRuntime, Happening, Runtime, RuntimeError};

use crate::world::runtime;

async fn why(address: Address) -> Absence {
    let rt = DockerRuntime::new(DockerConfig::new(address, "test"));
    match tokio::time::timeout(std::time::Duration::from_secs(15), rt.facts()).await.unwrap() {
        Err(RuntimeError::EngineAbsent { why, hint, socket }) => {
            println!("{socket}: {hint}");
            why
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_absence_has_its_reason() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        assert_eq!(why(Address::Unix(socket.clone())).await, Absence::NotRunning);
        // A socket that a dead engine left behind.
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert_eq!(why(Address::Unix(socket.clone())).await, Absence::NotRunning);
        if rustix::process::getuid().is_root() {
            println!("SKIPPED no permission: root may use every socket");
        } else {
            std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
            assert_eq!(why(Address::Unix(socket)).await, Absence::NoPermission);
        }
        let tcp = |host: &str| Address::parse(Some(&format!("tcp://{host}")), false, None).unwrap();
        assert_eq!(why(tcp("127.0.0.1:1")).await, Absence::NotRunning);
        assert_eq!(why(tcp("no-such-host.invalid:2375")).await, Absence::Unreachable);
        // Something that is no engine.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut read, mut write) = stream.split();
                tokio::io::AsyncReadExt::read(&mut read, &mut [0; 4096]).await.unwrap();
                let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
                tokio::io::AsyncWriteExt::write_all(&mut write, answer).await.unwrap();
            }
        };
        tokio::select! {
            why = why(tcp(&format!("127.0.0.1:{port}"))) => assert_eq!(why, Absence::NotAnEngine),
            () = serve => {}
        }
    });
}

#[test]
fn a_hung_engine_hangs_nobody() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let rt = DockerRuntime::new(DockerConfig::new(Address::Unix(socket), "test"));
        let error = tokio::time::timeout(std::time::Duration::from_secs(30), rt.facts()).await.unwrap().unwrap_err();
        assert!(matches!(error, RuntimeError::Deadline { call: "ping", .. }), "{error}");
    });
}

#[test]
fn events_say_that_the_engine_is_away() {
    runtime().block_on(async {
        use futures_util::StreamExt;
        let dir = tempfile::tempdir().unwrap();
        let rt = DockerRuntime::new(DockerConfig::new(Address::Unix(dir.path().join("docker.sock")), "test"));
        let event = rt.events(None).next().await.unwrap();
        assert!(matches!(event.what, Happening::EngineLost { .. }), "{event:?}");
    });
}
