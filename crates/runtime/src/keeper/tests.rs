//! The client against a keeper that is played by the test, byte by byte. With real keepers it is tested where those are built.

use std::time::Duration;

use kanvoy_keeper::frames::{self, Channel, Cut, Frame, Kind, Splitter, seed_of};
use kanvoy_keeper::words::{Note, Say};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const NONCE: Nonce = Nonce(7);

/// The keeper's end of the connection.
struct Played {
    io: DuplexStream,
    splitter: Splitter,
}

impl Played {
    fn new(io: DuplexStream) -> Self {
        Self { io, splitter: Splitter::new(0) }
    }

    /// What is said next: requests as they are, lines as `number kind bytes`.
    async fn hears(&mut self) -> String {
        loop {
            if let Some(cut) = self.splitter.next_line() {
                let Cut::Line(line) = cut else { panic!("no frame") };
                let seed = seed_of(&NONCE.to_string());
                let frame = frames::parse(line, seed).or_else(|| frames::parse(line, 0)).expect("a frame");
                return match frame.channel {
                    Channel::Control => String::from_utf8_lossy(frame.payload).into_owned(),
                    _ => format!("{} {:?} {}", frame.number, frame.kind, frame.payload.len()),
                };
            }
            let bytes = self.io.read(self.splitter.space()).await.expect("bytes");
            assert!(bytes > 0, "the client is gone");
            self.splitter.filled(bytes);
        }
    }

    async fn says(&mut self, say: Say) {
        self.io.write_all(&said(&say)).await.expect("written");
    }

    async fn welcomes(&mut self, welcome: Welcome) {
        assert_eq!(self.hears().await.split(' ').next(), Some("hello"));
        self.says(Say::Welcome(Box::new(welcome))).await;
    }
}

fn said(say: &Say) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame { channel: Channel::Control, kind: Kind::Whole, number: 0, payload: say.to_string().as_bytes() }
        .encode(0, &mut bytes);
    bytes
}

fn welcome(nonce: Nonce) -> Welcome {
    Welcome { nonce: nonce.to_string(), oldest: 1, stdin_open: true, ..Welcome::default() }
}

async fn attached(welcome: Welcome) -> (Lines, Handle, Played, TaskTracker) {
    attached_for(welcome, Deadlines::default()).await
}

async fn attached_for(welcome: Welcome, deadlines: Deadlines) -> (Lines, Handle, Played, TaskTracker) {
    let (ours, theirs) = duplex(1 << 20);
    let (tasks, mut keeper) = (TaskTracker::new(), Played::new(theirs));
    let attaching = attach(ours, NONCE, Resume::default(), deadlines, &tasks);
    let (attached, ()) = tokio::join!(attaching, keeper.welcomes(welcome));
    let (lines, handle) = attached.expect("attached");
    (lines, handle, keeper, tasks)
}

#[tokio::test(start_paused = true)]
async fn every_wait_ends() {
    let tasks = TaskTracker::new();
    let (ours, _theirs) = duplex(1 << 20);
    let refused = attach(ours, NONCE, Resume::default(), Deadlines::default(), &tasks).await.map(drop);
    assert_eq!(refused, Err(KeeperError::NoWelcome(Duration::from_secs(10))));

    let (ours, theirs) = duplex(1 << 20);
    drop(theirs);
    let refused = attach(ours, NONCE, Resume::default(), Deadlines::default(), &tasks).await.map(drop);
    assert!(matches!(refused, Err(KeeperError::Closed | KeeperError::Io(_))), "{refused:?}");

    // Asked for a sign of life, it gives none.
    let (mut lines, handle, mut keeper, tasks) = attached(welcome(NONCE)).await;
    let reading = tasks.spawn(async move { lines.next().await });
    assert_eq!(keeper.hears().await, "ping 1");
    keeper.says(Say::Pong(1)).await;
    assert_eq!(keeper.hears().await, "ping 2");
    assert_eq!(reading.await.expect("no panic"), Err(KeeperError::Silent(Duration::from_secs(30))));
    assert_eq!(handle.signal(1).await, Err(KeeperError::Silent(Duration::from_secs(30))));
    tasks.close();
    tasks.wait().await;

    // A line that is not taken, a request that is not answered.
    let (_lines, handle, _keeper, _tasks) = attached(welcome(NONCE)).await;
    let after = Duration::from_secs(60);
    assert_eq!(handle.send_line(1, Bytes::new()).await, Err(KeeperError::NotTaken { number: 1, after }));
    assert_eq!(handle.close_stdin().await, Err(KeeperError::NoAnswer(Duration::from_secs(10))));

    // Nobody takes what is written.
    let write = Duration::from_secs(5);
    let (mut lines, handle, keeper, tasks) =
        attached_for(welcome(NONCE), Deadlines { write, ..Deadlines::default() }).await;
    handle.queue_line(1, vec![b'x'; 10 << 20].into()).await.expect("room");
    drop(handle);
    assert_eq!(lines.next().await, Err(KeeperError::Stuck(write)));
    drop(keeper);
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn what_is_not_confirmed_is_sent_again_when_it_is_asked_for() {
    let (mut lines, handle, mut keeper, _tasks) =
        attached(Welcome { accepted: 2, delivered: 1, ..welcome(NONCE) }).await;
    for number in 1..=4 {
        handle.queue_line(number, vec![b'x'; 40_000 * number as usize].into()).await.expect("room");
    }
    let asking = handle.signal(15);
    let scene = async {
        // The first two it has.
        assert_eq!(keeper.hears().await, "signal 1 15");
        assert_eq!(keeper.hears().await, "3 First 65536");
        assert_eq!(keeper.hears().await, "3 Last 54464");
        keeper.says(Say::Busy(3)).await;
        while keeper.hears().await != "4 Last 28928" {}
        keeper.says(Say::Ready(3)).await;
        assert_eq!(keeper.hears().await, "3 First 65536");
        keeper.says(Say::Took(3)).await;
        while keeper.hears().await != "4 Last 28928" {}
        // Something was torn, and nobody knows what.
        handle.ack(9);
        assert_eq!(keeper.hears().await, "ack 9");
        keeper.says(Say::Want(4)).await;
        for again in ["ack 9", "signal 1 15", "4 First 65536", "4 More 65536", "4 Last 28928"] {
            assert_eq!(keeper.hears().await, again);
        }
        keeper.says(Say::Done { id: 1 }).await;
        keeper.says(Say::Took(4)).await;
        handle.delivered(4).await.expect("delivered");
        handle.bye();
        assert_eq!(keeper.hears().await, "bye");
    };
    let reading = async { panic!("{:?}", lines.next().await) };
    tokio::select! {
        (asked, ()) = async { tokio::join!(asking, scene) } => asked.expect("done"),
        () = reading => {}
    }
}

#[tokio::test]
async fn another_daemons_welcome_ends_ours_and_its_reason_stays() {
    let (mut lines, handle, mut keeper, _tasks) = attached(welcome(NONCE)).await;
    keeper.says(Say::Welcome(Box::new(welcome(Nonce(8))))).await;
    assert_eq!(lines.next().await, Err(KeeperError::Displaced));
    assert_eq!(lines.next().await, Err(KeeperError::Displaced));
    assert_eq!(handle.send_line(1, Bytes::new()).await, Err(KeeperError::Displaced));
}

/// What an agent's stream may hold.
fn contents() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let payload = proptest::collection::vec(any::<u8>().prop_filter("a newline", |byte| *byte != b'\n'), 0..300);
    proptest::collection::vec((0..12_u8, payload), 0..40)
}

/// As the keeper would send it, and what is to be told.
fn stream(contents: &[(u8, Vec<u8>)]) -> (Vec<u8>, Vec<Output>) {
    let (mut bytes, mut told, mut number) = (Vec::new(), Vec::new(), 0);
    for (what, payload) in contents {
        number += 1;
        let line = Bytes::from(payload.clone());
        let mut note = |number, note: Note<'_>| {
            Frame { channel: Channel::Agent, kind: Kind::Note, number, payload: &note.payload() }.encode(0, &mut bytes);
        };
        match what {
            0 => {
                let (length, checksum) = (1 << 40, 5);
                note(number, Note::Oversize { length, checksum, no_space: true, head: payload });
                told.push(Output::Oversize { number, length, checksum, no_space: true, head: line });
            }
            1 => {
                let (from, cause) = (number, Cause::Tampered);
                number += 3;
                note(number, Note::Gap { from, cause });
                told.push(Output::Gap { from, to: number, cause });
            }
            2 => {
                bytes.extend(said(&Say::Took(0)));
                bytes.extend(b"\n\n");
                number -= 1;
            }
            3 => {
                let long = payload.repeat(1000);
                frames::encode_line(Channel::Agent, number, &long, 0, &mut bytes);
                told.push(Output::Line { number, bytes: long.into() });
            }
            _ => {
                frames::encode_line(Channel::Agent, number, payload, 0, &mut bytes);
                told.push(Output::Line { number, bytes: line });
            }
        }
    }
    (bytes, told)
}

/// Attaches to a stream that is there already, and reads it to its end.
fn read(before: &[u8], after: &[u8], step: usize) -> Result<Vec<Output>, KeeperError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let all = [before, b"\n", &said(&Say::Welcome(Box::new(welcome(NONCE)))), after].concat();
    runtime.block_on(async move {
        let (ours, mut theirs) = duplex(1 << 20);
        let tasks = TaskTracker::new();
        let feeding = async {
            for piece in all.chunks(step) {
                if theirs.write_all(piece).await.is_err() {
                    break;
                }
            }
            theirs.shutdown().await.expect("shut");
        };
        let reading = async {
            let (mut lines, _handle) = attach(ours, NONCE, Resume::default(), Deadlines::default(), &tasks).await?;
            let mut told = Vec::new();
            while lines.batch(&mut told, 7).await.is_ok() {}
            Ok(told)
        };
        tokio::join!(feeding, reading).1
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever lies in the pipe when we attach: halves of frames, whole frames of earlier sessions, noise.
    #[test]
    fn nothing_before_our_welcome_is_taken_for_anything(
        noise in proptest::collection::vec(any::<u8>(), 0..2000),
        earlier in contents(),
        cut in any::<prop::sample::Index>(),
        ours in contents(),
        step in 1..5000_usize,
    ) {
        let mut before = said(&Say::Welcome(Box::new(welcome(Nonce(8)))));
        before.extend(stream(&earlier).0);
        before.extend(noise);
        before.truncate(cut.index(before.len() + 1));
        let (after, told) = stream(&ours);
        prop_assert_eq!(read(&before, &after, step), Ok(told));
    }

    /// A stream that is changed anywhere gives the beginning of what was said, and then ends.
    #[test]
    fn nothing_false_is_told(
        ours in contents(),
        at in any::<prop::sample::Index>(),
        with in proptest::collection::vec(any::<u8>(), 0..30),
        cut in 0..3000_usize,
        step in 1..5000_usize,
    ) {
        let (mut after, told) = stream(&ours);
        let at = at.index(after.len() + 1);
        let end = after.len().min(at + cut);
        after.splice(at..end, with);
        let read = read(b"", &after, step).expect("attached");
        prop_assert!(read.len() <= told.len() && read == told[..read.len()], "{:?}", read);
    }
}
