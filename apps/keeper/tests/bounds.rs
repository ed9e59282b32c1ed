//! Whatever an agent or a client does, the keeper stays small and goes on.

mod cage;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cage::{Cage, Random, acts, brief, to_the_end, within};
use kanvoy_keeper::frames::{self, Channel, Crc, Frame, Kind, seed_of};
use kanvoy_runtime::keeper::{Output, Resume};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the keeper may take, in KiB, whatever passes through it. About 2 MiB are its code and its runtime.
const MEMORY: u64 = 8 * 1024;

#[tokio::test]
async fn a_line_of_two_hundred_megabytes_becomes_a_note() {
    let length = 200_000_000;
    let cage = Cage::new("", &acts(&format!("long {length}")));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let told = to_the_end_of(&cage, &mut lines, 2).await;
    let crc = (0..length / 1000).fold(Crc::seeded(0), |crc, _| crc.with(&[b'x'; 1000])).value();
    assert_eq!(brief(&told), [format!("oversize {length} {crc:x} head 1024"), "after".to_owned()]);
    handle.bye();
}

#[tokio::test]
async fn a_line_of_sixty_megabytes_passes_whole_through_a_small_journal_in_both_directions() {
    let length = 60_000_000;
    let cage = Cage::new("--journal-max 1000000", &acts("echo"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let line: Bytes = vec![b'x'; length].into();
    let (sent, told) = tokio::join!(handle.send_line(1, line.clone()), to_the_end_of(&cage, &mut lines, 1));
    sent.expect("delivered");
    assert!(matches!(&told[..], [Output::Line { number: 1, bytes }] if *bytes == line));
}

/// So many outputs, and the keeper's memory as it is then.
async fn to_the_end_of(cage: &Cage, lines: &mut kanvoy_runtime::keeper::Lines, count: usize) -> Vec<Output> {
    let mut told = Vec::new();
    while told.len() < count {
        told.push(within(lines.next()).await.expect("output"));
    }
    println!("the keeper had {} KiB at most", cage.most_memory());
    assert!(cage.most_memory() < MEMORY, "{} KiB", cage.most_memory());
    told
}

#[tokio::test]
async fn a_flood_of_stderr_is_cut_and_counted_and_stdout_does_not_wait_for_it() {
    let cage = Cage::new("", &acts("flood 500000"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let (mut told, mut complaints, mut dropped, mut last) = (Vec::new(), 0, 0, Bytes::new());
    loop {
        match within(lines.next()).await.expect("output") {
            Output::Stderr { bytes, dropped: before, .. } => {
                complaints += 1;
                dropped += before;
                last = bytes;
            }
            Output::Exit { .. } => break,
            line => told.push(line),
        }
    }
    assert_eq!((told.len(), complaints + dropped), (500, 500_000), "each is shown or counted");
    assert!(dropped > 0 && complaints >= 200, "{complaints} shown");
    assert_eq!(&last[..], b"complaint 500000");
    assert!(cage.most_memory() < MEMORY, "{} KiB", cage.most_memory());
    handle.bye();
}

#[tokio::test]
async fn random_bytes_from_a_client_neither_stop_it_nor_reach_the_agent() {
    let mut random = Random::new();
    let cage = Cage::new("", &acts("echo"));
    let (start, mut rounds) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(3) {
        rounds += 1;
        let mut bytes = Vec::new();
        for _ in 0..random.below(30) {
            let payload: Vec<u8> =
                (0..random.below(300)).map(|_| random.next() as u8 & 0x7f).filter(|byte| *byte != b'\n').collect();
            let number = random.below(5);
            match random.below(6) {
                0 => bytes.extend(payload),
                1 => bytes.push(b'\n'),
                // Words that are nearly right, to a session that exists and to one that does not.
                2 => {
                    let words = [
                        "hello n resume=0 sent=0",
                        "hello n resume=9 sent=0",
                        "ack x",
                        "signal 9 0",
                        "close-stdin",
                        "ping 1",
                    ];
                    let payload = words[random.below(6) as usize].as_bytes();
                    let seed = if payload.starts_with(b"hello") { 0 } else { seed_of("n") };
                    Frame { channel: Channel::Control, kind: Kind::Whole, number, payload }.encode(seed, &mut bytes);
                }
                3 => Frame { channel: Channel::Mcp, kind: Kind::Note, number, payload: &payload }
                    .encode(seed_of("n"), &mut bytes),
                // Pieces of lines that never begin, or never end.
                4 => {
                    let kind = if random.below(2) == 0 { Kind::More } else { Kind::First };
                    Frame { channel: Channel::Agent, kind, number, payload: &payload }.encode(seed_of("n"), &mut bytes);
                }
                _ => {
                    Frame { channel: Channel::Agent, kind: Kind::Whole, number, payload: &payload }
                        .encode(1, &mut bytes);
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
            }
        }
        let mut stream = cage.connect().await;
        let _ = within(stream.write_all(&bytes)).await;
        if random.below(3) == 0 {
            let _ = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut [0; 1000])).await;
        }
    }
    println!("{rounds} rounds");
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    assert_eq!((handle.welcome().accepted, handle.welcome().last), (0, 0));
    let (sent, line) = tokio::join!(handle.send_line(1, Bytes::from("still here")), lines.next());
    sent.expect("delivered");
    assert_eq!(brief(&[line.expect("a line")]), ["still here"]);
    assert!(cage.most_memory() < MEMORY, "{} KiB", cage.most_memory());
}

#[tokio::test]
async fn a_client_that_never_reads_costs_only_itself() {
    let cage = Cage::new("", &acts("echo"));
    let mut deaf = cage.connect().await;
    let mut bytes = vec![b'\n'];
    let hello = b"hello n resume=0 sent=0";
    Frame { channel: Channel::Control, kind: Kind::Whole, number: 0, payload: hello }.encode(0, &mut bytes);
    for number in 1..=2000 {
        frames::encode_line(Channel::Agent, number, &[b'x'; 1000], seed_of("n"), &mut bytes);
        Frame { channel: Channel::Control, kind: Kind::Whole, number: 0, payload: b"ping 1" }
            .encode(seed_of("n"), &mut bytes);
    }
    within(deaf.write_all(&bytes)).await.expect("it listens");
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    for number in 1..=handle.welcome().accepted {
        let line = within(lines.next()).await.expect("a line");
        assert_eq!(line.number(), Some(number));
    }
    assert!(cage.most_memory() < MEMORY, "{} KiB", cage.most_memory());
}

/// The binary as it is put into containers, where there is nothing else: no libraries, no /proc, no /dev, no shell.
#[tokio::test]
async fn it_runs_alone_in_an_empty_directory() {
    let target = Path::new(cage::KEEPER).ancestors().nth(2).expect("the target directory").join("static");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "-p", "kanvoy-keeper", "--bin", "kanvoy-keeper"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(here)
        .status();
    assert!(built.expect("cargo").success());
    let root = tempfile::tempdir().expect("a directory");
    let built = Command::new("rustc")
        .args(["--edition", "2024", "-C", "target-feature=+crt-static", "-o"])
        .arg(root.path().join("agent"))
        .arg(here.join("examples").join("agent.rs"))
        .status();
    assert!(built.expect("rustc").success());
    let built = target.join("x86_64-unknown-linux-gnu").join("release").join("kanvoy-keeper");
    std::fs::copy(built, root.path().join("keeper")).expect("copied");
    let size = std::fs::metadata(root.path().join("keeper")).expect("a file").len();
    assert!(size < 2 << 20, "{size} bytes are carried into every cage");
    println!("{size} bytes");
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut keeper = if is_root {
        let mut keeper = tokio::process::Command::new("chroot");
        keeper.arg(root.path()).args(["/keeper", "--journal", "/journal", "--", "/agent", "lines", "1000"]);
        keeper
    } else {
        println!("not root, so without chroot");
        let mut keeper = tokio::process::Command::new(root.path().join("keeper"));
        keeper.arg("--journal").arg(root.path().join("journal")).arg("--");
        keeper.arg(root.path().join("agent")).args(["lines", "1000"]).env_clear();
        keeper
    };
    let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("a keeper");
    let io = tokio::io::join(keeper.stdout.take().expect("out"), keeper.stdin.take().expect("in"));
    let cage = Cage::new("", &acts("exit 0"));
    let (mut lines, handle) = cage.attach_over(io, Resume::default()).await.expect("attached");
    let told = brief(&to_the_end(&mut lines, &handle).await);
    assert_eq!((told.len(), told[999].as_str(), told[1000].as_str()), (1001, "1000 ", "exit code 0"));
    assert_eq!(within(keeper.wait()).await.expect("its end").code(), Some(0));
}

/// A disk of two megabytes under the journal, gone with the value.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn on(place: &Path) -> Option<Self> {
        let journal = place.join("journal");
        std::fs::create_dir(&journal).expect("a directory");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&journal).output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self(journal))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_holds_the_agent_and_a_line_that_will_never_fit_becomes_a_note() {
    let place = tempfile::tempdir().expect("a directory");
    let Some(disk) = SmallDisk::on(place.path()) else { return println!("not allowed to mount: nothing tested") };
    let cage = Cage::within(place, "--journal-max 100000000", &acts("lines 50000 90"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let mut status = handle.watch();
    let mut told = Vec::new();
    // Nothing is acknowledged until it says why it stops.
    let stalled = within(status.wait_for(|status| status.stalled.is_some()));
    tokio::select! {
        stalled = stalled => {
            let why = stalled.expect("a status").stalled.clone().expect("a reason");
            assert!(why.contains("No space left"), "{why}");
        }
        () = async { loop { told.push(lines.next().await.expect("a line")) } } => {}
    }
    handle.ack(told.len() as u64);
    told.extend(to_the_end(&mut lines, &handle).await);
    assert_eq!((told.len(), brief(&told)[50_000].as_str()), (50_001, "exit code 0"));
    assert!((1..).zip(brief(&told)).take(50_000).all(|(number, line)| line.starts_with(&format!("{number} "))));
    drop(disk);

    // One finds no room in the spool; the other leaves none for the journal.
    for length in [5_000_000, 1_500_000] {
        let place = tempfile::tempdir().expect("a directory");
        let _disk = SmallDisk::on(place.path()).expect("as before");
        let cage = Cage::within(place, "--journal-max 100000000", &acts(&format!("long {length}")));
        let (mut lines, handle) = cage.attach(Resume::default()).await;
        let told = to_the_end(&mut lines, &handle).await;
        let crc = (0..length / 1000).fold(Crc::seeded(0), |crc, _| crc.with(&[b'x'; 1000])).value();
        assert!(matches!(told[0], Output::Oversize { no_space: true, .. }), "{told:?}");
        assert_eq!(brief(&told), [&format!("oversize {length} {crc:x} head 1024"), "after", "exit code 0"]);
    }
}

#[tokio::test]
async fn when_its_own_stdin_has_ended_it_says_what_there_is_and_ends() {
    let mut cage = Cage::on_stdio("", &acts("lines 3"));
    let mut bytes = Vec::new();
    let payload = b"hello n resume=0 sent=0";
    Frame { channel: Channel::Control, kind: Kind::Whole, number: 0, payload }.encode(0, &mut bytes);
    let mut stdin = cage.keeper.stdin.take().expect("in");
    within(stdin.write_all(&bytes)).await.expect("written");
    drop(stdin);
    let mut said = String::new();
    within(cage.keeper.stdout.take().expect("out").read_to_string(&mut said)).await.expect("its end");
    let payloads = said
        .lines()
        .filter_map(|line| frames::parse(line.as_bytes(), 0))
        .filter(|frame| frame.channel == Channel::Agent);
    let payloads: Vec<_> = payloads.map(|frame| String::from_utf8_lossy(frame.payload).into_owned()).collect();
    assert_eq!(payloads, ["1 ", "2 ", "3 ", "exit code 0"]);
    assert_eq!(cage.code().await, Some(0));
}
