//! What an idle listener costs. Alone in its process: whatever a neighbour allocates would be counted too.

mod house;

use std::time::Duration;

use house::{House, TOKEN};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const WARM: usize = 50;
const LISTENERS: usize = 200;
/// Each is a file of the client and one of the server, and there are the database, the runtime and the machine's own.
const FILES: u64 = 2 * (WARM + LISTENERS) as u64 + 200;
/// An idle listener takes some 6 KiB. The bound is one that a doubling of the smallest useful buffers would break.
const MOST_BYTES: usize = 20 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_listener_is_small() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < FILES) {
        let most = limit.maximum.map_or(FILES, |most| most.min(FILES));
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).expect("may be raised");
    }
    let house = House::new().await;
    let board = house.board("MEM").await;
    let request = format!(
        "GET /api/v1/boards/{board}/stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\nupgrade: websocket\r\n\
         connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    // Raw clients, so that what is measured is the server's own.
    let open = async |count: usize| {
        let mut sockets = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(house.address).await.expect("connects");
            stream.write_all(request.as_bytes()).await.expect("is sent");
            let mut begun = Vec::new();
            // To the first frame: the stream stands, and what it was opened with is let go.
            while !String::from_utf8_lossy(&begun).contains("stream.ready") {
                let mut piece = [0_u8; 512];
                let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut piece)).await;
                let read = read.expect("in time").expect("is answered");
                assert!(read > 0, "{}", String::from_utf8_lossy(&begun));
                begun.extend_from_slice(&piece[..read]);
            }
            assert!(begun.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&begun));
            sockets.push(stream);
        }
        sockets
    };
    let warm = open(WARM).await;
    let before = resident_bytes();
    let held = open(LISTENERS).await;
    let each = resident_bytes().saturating_sub(before) / LISTENERS;
    println!("{each} bytes for each idle listener");
    assert!(each <= MOST_BYTES, "{each} bytes for each idle listener");
    drop((warm, held));
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("is there");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<usize>().ok()).expect("a number") * 1024
}
