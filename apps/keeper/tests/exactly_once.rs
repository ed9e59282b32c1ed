//! Nothing lost and nothing doubled, in either direction, however the connection breaks.

mod cage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use cage::{Cage, Random, acts, brief, to_the_end, until, within};
use kanvoy_keeper::frames::{self, Channel, Frame, Kind, seed_of};
use kanvoy_runtime::keeper::{Cause, KeeperError, Lines, Output, Resume};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot, watch};

/// Between the client and the keeper's stdin and stdout, as a container engine is: one client after another, each cut off
/// after so many bytes in either direction, and what the keeper says while nobody is attached is thrown away.
struct Wire {
    connect: mpsc::Sender<(DuplexStream, u64, u64)>,
}

impl Wire {
    fn new(cage: &mut Cage) -> Self {
        let stdin = cage.keeper.stdin.take().expect("its stdin");
        let stdout = cage.keeper.stdout.take().expect("its stdout");
        let (connect, clients) = mpsc::channel(1);
        cage.tasks.spawn(carry(stdin, stdout, clients));
        Self { connect }
    }

    /// A connection that breaks after `to` bytes to the keeper or `from` bytes from it.
    async fn connect(&self, to: u64, from: u64) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        self.connect.send((theirs, to, from)).await.expect("a wire");
        ours
    }
}

async fn carry(mut stdin: ChildStdin, mut stdout: ChildStdout, mut clients: mpsc::Receiver<(DuplexStream, u64, u64)>) {
    let mut nowhere = vec![0; 64 * 1024];
    loop {
        let (client, to, from) = tokio::select! {
            client = clients.recv() => match client {
                Some(client) => client,
                None => return,
            },
            read = stdout.read(&mut nowhere) => match read {
                Ok(bytes) if bytes > 0 => continue,
                _ => return,
            },
        };
        let (read, mut write) = tokio::io::split(client);
        let (mut read, mut said) = (read.take(to), (&mut stdout).take(from));
        // A little of each in turn, so that neither direction is done before the other has begun. What was read and not
        // yet written when the other breaks is lost: that is what a broken connection does.
        let (mut there, mut back) = ([0; 700], [0; 700]);
        loop {
            let alive = tokio::select! {
                bytes = read.read(&mut there) => match bytes {
                    Ok(bytes) if bytes > 0 => stdin.write_all(&there[..bytes]).await.is_ok(),
                    _ => false,
                },
                bytes = said.read(&mut back) => match bytes {
                    Ok(bytes) if bytes > 0 => write.write_all(&back[..bytes]).await.is_ok(),
                    _ => false,
                },
            };
            if !alive {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// What a daemon keeps across its own deaths.
#[derive(Default)]
struct Kept {
    lines: Vec<Bytes>,
    sent: u64,
}

/// One daemon's life: it stores lines in batches, hands lines over, and is gone when the connection breaks.
async fn live(cage: &Cage, io: DuplexStream, kept: &mut Kept, all: u64) {
    let resume = Resume { received: kept.lines.len() as u64, sent: kept.sent, stderr: 0 };
    let Ok((mut lines, handle)) = cage.attach_over(io, resume).await else { return };
    let stored = watch::Sender::new(resume.received);
    // What was delivered without our hearing of it.
    kept.sent = kept.sent.max(handle.welcome().delivered);
    let (delivered, so_far) = (AtomicU64::new(kept.sent), kept.sent);
    let sending = async {
        for first in (so_far + 1..=all).step_by(500) {
            let last = all.min(first + 499);
            for number in first..=last {
                handle.queue_line(number, format!("to the agent {number}").into()).await?;
            }
            handle.delivered(last).await?;
            delivered.store(last, SeqCst);
        }
        Ok::<_, KeeperError>(())
    };
    let reading = async {
        let mut batch = Vec::new();
        while within(lines.batch(&mut batch, 256)).await.is_ok() {
            // One transaction, and only then the acknowledgement.
            for output in batch.drain(..) {
                let Output::Line { number, bytes } = output else { panic!("{output:?}") };
                assert_eq!(number, kept.lines.len() as u64 + 1);
                kept.lines.push(bytes);
            }
            handle.ack(kept.lines.len() as u64);
            stored.send_replace(kept.lines.len() as u64);
        }
    };
    let everything = async {
        if sending.await.is_err() || stored.subscribe().wait_for(|stored| *stored == all).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = everything => {}
    }
    kept.sent = delivered.load(SeqCst);
}

#[tokio::test]
async fn two_hundred_broken_connections_and_a_hundred_thousand_lines_each_way() {
    const LINES: u64 = 100_000;
    let mut random = Random::new();
    let ledger = tempfile::NamedTempFile::new().expect("a file");
    let command = acts(&format!("talk {LINES} {}", ledger.path().display()));
    let mut cage = Cage::on_stdio("--journal-max 300000", &command);
    let wire = Wire::new(&mut cage);
    let (mut kept, mut cuts) = (Kept::default(), 0);
    for _ in 0..200 {
        // About a two-hundredth of everything, so that there is something to break to the end.
        let io = wire.connect(random.below(60_000), random.below(60_000)).await;
        live(&cage, io, &mut kept, LINES).await;
        cuts += 1;
    }
    println!("after {cuts} cuts: {} lines from the agent, {} to it", kept.lines.len(), kept.sent);
    let io = wire.connect(u64::MAX, u64::MAX).await;
    let resume = Resume { received: kept.lines.len() as u64, sent: kept.sent, stderr: 0 };
    let (mut lines, handle) = cage.attach_over(io, resume).await.expect("attached");
    let (told, ()) = tokio::join!(to_the_end(&mut lines, &handle), async {
        for number in kept.sent + 1..=LINES {
            handle.queue_line(number, format!("to the agent {number}").into()).await.expect("room");
        }
        handle.close_stdin().await.expect("closed");
    });
    let mut all =
        brief(&kept.lines.iter().map(|bytes| Output::Line { number: 0, bytes: bytes.clone() }).collect::<Vec<_>>());
    all.extend(brief(&told));
    assert_eq!(all.pop().as_deref(), Some("exit code 0"));
    assert_eq!(all.len() as u64, LINES, "lines lost or doubled");
    assert!((1..).zip(&all).all(|(number, line)| *line == format!("{number} ")), "lines changed");
    let heard = std::fs::read_to_string(ledger.path()).expect("the ledger");
    assert_eq!(heard.lines().count() as u64, LINES, "lines to the agent lost or doubled");
    assert!((1..).zip(heard.lines()).all(|(number, line)| line == format!("to the agent {number}")), "lines changed");
    assert_eq!(cage.code().await, Some(0));
}

/// A hello, written by hand.
fn hello(nonce: &str, resume: u64) -> Vec<u8> {
    let text = format!("hello {nonce} resume={resume} sent=0");
    let mut bytes = vec![b'\n'];
    Frame { channel: Channel::Control, kind: Kind::Whole, number: 0, payload: text.as_bytes() }.encode(0, &mut bytes);
    bytes
}

#[tokio::test]
async fn a_daemon_that_dies_while_it_writes_leaves_no_half_line_behind() {
    let mut random = Random::new();
    let line = vec![b'y'; 200_000];
    let cage = Cage::new("", &acts("count"));
    for round in 0..50 {
        let mut bytes = hello("first", 0);
        frames::encode_line(Channel::Agent, 1, &line, seed_of("first"), &mut bytes);
        // Never the whole of the first line.
        bytes.truncate(random.below(bytes.len() as u64 - 1) as usize);
        let mut stream = cage.connect().await;
        // The keeper may not take all of it: the next one that connects is preferred.
        let _ = within(stream.write_all(&bytes)).await;
        if round % 2 == 0 {
            drop(stream);
        }
    }
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    assert_eq!(handle.welcome().accepted, 0);
    let (sent, said) = tokio::join!(handle.send_line(1, line.clone().into()), lines.next());
    sent.expect("delivered");
    assert_eq!(brief(&[said.expect("a line")]), ["200000"]);
    // It was delivered, and whoever sends it again has not heard of that.
    let (mut lines, handle) = cage.attach(Resume { received: 1, sent: 0, stderr: 0 }).await;
    let twice = async {
        handle.send_line(1, line.into()).await.expect("delivered before");
        handle.send_line(2, Bytes::from("two")).await.expect("delivered");
    };
    let ((), said) = tokio::join!(twice, lines.next());
    assert_eq!(brief(&[said.expect("a line")]), ["3"]);
}

#[tokio::test]
async fn what_an_earlier_daemon_left_in_the_pipe_is_not_taken_for_ours_and_spoils_nothing() {
    let mut cage = Cage::on_stdio("", &acts("count"));
    let (mut stdin, mut stdout) = (cage.keeper.stdin.take().expect("in"), cage.keeper.stdout.take().expect("out"));
    let (old, new) = (seed_of("old"), seed_of("new"));
    let mut bytes = hello("old", 0);
    bytes.extend(hello("new", 0));
    // The old daemon's bytes come late, whole and torn, in the middle of ours.
    let frame = |seed: u32, number: u64, kind: Kind, payload: &[u8]| {
        let mut bytes = Vec::new();
        Frame { channel: Channel::Agent, kind, number, payload }.encode(seed, &mut bytes);
        bytes
    };
    bytes.extend(frame(old, 1, Kind::Whole, b"from the old one"));
    bytes.extend(frame(new, 1, Kind::First, b"12"));
    bytes.extend(&frame(old, 1, Kind::Whole, b"half of")[..20]);
    bytes.push(b'\n');
    // The rest of an interrupted line is not a line.
    bytes.extend(frame(new, 1, Kind::Last, b"345"));
    within(stdin.write_all(&bytes)).await.expect("written");
    let mut heard = Heard::default();
    heard.until(&mut stdout, "want 1").await;
    within(stdin.write_all(&frame(new, 1, Kind::Whole, b"12345"))).await.expect("written");
    heard.until(&mut stdout, "took 1").await;
    heard.until(&mut stdout, "5").await;
}

#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
}

impl Heard {
    /// Reads until a frame says so.
    async fn until(&mut self, from: &mut ChildStdout, payload: &str) {
        let says = |bytes: &[u8]| {
            let mut frames = bytes.split(|byte| *byte == b'\n').filter_map(|line| frames::parse(line, 0));
            frames.any(|frame| frame.payload == payload.as_bytes())
        };
        while !says(&self.bytes) {
            let read = within(from.read_buf(&mut self.bytes)).await.expect("bytes");
            assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&self.bytes));
        }
    }
}

#[tokio::test]
async fn a_new_client_takes_the_place_of_the_old_one() {
    let cage = Cage::new("", &acts("echo"));
    let (mut first, _one) = cage.attach(Resume::default()).await;
    let (mut second, handle) = cage.attach(Resume::default()).await;
    assert_eq!(within(first.next()).await, Err(KeeperError::Closed));
    let (sent, line) = tokio::join!(handle.send_line(1, Bytes::from("hello")), second.next());
    sent.expect("delivered");
    assert_eq!(brief(&[line.expect("a line")]), ["hello"]);

    // On stdin and stdout nobody is cut off; the one before is told.
    let mut cage = Cage::on_stdio("", &acts("deaf"));
    let (mut stdin, stdout) = (cage.keeper.stdin.take().expect("in"), cage.keeper.stdout.take().expect("out"));
    let (client, engine) = tokio::io::simplex(1 << 20);
    let (go, gone) = oneshot::channel::<()>();
    cage.tasks.spawn(async move {
        let mut client = client;
        tokio::select! {
            _ = tokio::io::copy(&mut client, &mut stdin) => {}
            _ = gone => {}
        }
        let _ = stdin.write_all(&hello("another", 0)).await;
        std::future::pending::<()>().await
    });
    let (mut lines, _handle) =
        within(cage.attach_over(tokio::io::join(stdout, engine), Resume::default())).await.expect("attached");
    assert_eq!(brief(&[within(lines.next()).await.expect("a line")]), ["deaf"]);
    go.send(()).expect("a wire");
    assert_eq!(within(lines.next()).await, Err(KeeperError::Displaced));
}

#[tokio::test]
async fn a_full_journal_holds_the_agent_and_loses_nothing() {
    let cage = Cage::new("--journal-max 200000", &acts("lines 50000 90"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let mut status = handle.watch();
    let stored = Arc::new(AtomicU64::new(0));
    // Nothing is acknowledged, and it stops of itself.
    let reading = async {
        loop {
            let output = lines.next().await.expect("a line");
            stored.store(output.number().expect("a number"), SeqCst);
        }
    };
    tokio::select! {
        () = reading => {}
        _ = within(status.wait_for(|status| status.stalled.is_some())) => {}
    }
    let size = || {
        let files = std::fs::read_dir(cage.journal()).expect("the journal").flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>()
    };
    assert!(size() >= 200_000 && size() < 500_000, "{}", size());
    let (mut lines, handle) = cage.attach(Resume { received: 0, sent: 0, stderr: 0 }).await;
    assert_eq!(handle.welcome().stalled.as_deref(), Some("the journal is full"));
    assert!(handle.welcome().last < 10_000 && handle.welcome().last >= stored.load(SeqCst));
    let told = brief(&to_the_end(&mut lines, &handle).await);
    assert_eq!((told.len(), told[50_000].as_str()), (50_001, "exit code 0"));
    assert!((1..).zip(&told[..50_000]).all(|(number, line)| line.starts_with(&format!("{number} "))));
    assert_eq!(handle.status().stalled, None);
}

#[tokio::test]
async fn a_journal_that_was_changed_has_gaps_and_nothing_false() {
    let cage = Cage::new("", &acts("lines 20000 100"));
    until("all is written", || {
        std::fs::read(cage.journal().join("state"))
            .is_ok_and(|state| String::from_utf8_lossy(&state).contains("code 0"))
    })
    .await;
    let mut segments: Vec<_> =
        std::fs::read_dir(cage.journal()).expect("the journal").flatten().map(|entry| entry.path()).collect();
    segments.retain(|path| path.to_string_lossy().contains("lines."));
    let bytes = std::fs::read(&segments[0]).expect("a segment");
    // A line that is well made in every way, but was never written.
    let at = bytes.len() / 2 + frames::newline(&bytes[bytes.len() / 2..]).expect("a line") + 1;
    let old = &bytes[at..at + frames::newline(&bytes[at..]).expect("a line")];
    let frame = frames::parse(old, 0).expect("a frame");
    let (number, forged) = (frame.number, vec![b'!'; frame.payload.len()]);
    let mut new = bytes.clone();
    let mut line = Vec::new();
    Frame { payload: &forged, ..frame }.encode(0, &mut line);
    line.resize(old.len() + 1, b'\n');
    new[at..at + line.len()].copy_from_slice(&line);
    std::fs::write(&segments[0], new).expect("tampered");

    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let told = to_the_end(&mut lines, &handle).await;
    let gaps: Vec<(u64, u64)> = told
        .iter()
        .filter_map(|output| match output {
            Output::Gap { from, to, cause: Cause::Tampered } => Some((*from, *to)),
            _ => None,
        })
        .collect();
    assert!(matches!(gaps[..], [(from, to)] if (from..=to).contains(&number) && to - from < 3000), "{gaps:?}");
    let (from, to) = gaps[0];
    assert_eq!(told.len() as u64, 20_000 - (to - from + 1) + 1 + 1);
    assert!(told.iter().all(|output| match output {
        Output::Line { number, bytes } => bytes.starts_with(format!("{number} ").as_bytes()),
        _ => true,
    }));
}

#[tokio::test]
async fn a_resume_from_another_run_is_refused_and_costs_nothing() {
    let cage = Cage::new("", &acts("lines 10"));
    let refused = cage.attach_over(cage.connect().await, Resume { received: 5000, sent: 0, stderr: 0 }).await;
    assert!(matches!(refused.map(drop), Err(KeeperError::Foreign { stored: 5000, .. })));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    assert_eq!(to_the_end(&mut lines, &handle).await.len(), 11);
}

#[expect(dead_code, reason = "says that lines can be sent to another task")]
fn lines_are_send(lines: Lines) -> impl Send {
    lines
}
