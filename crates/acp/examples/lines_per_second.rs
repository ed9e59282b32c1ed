//! How many lines of 300 bytes one core reads, from bytes to [`Received`] values in a listener's hands.
//!
//! `cargo run --release -p kanvoy-acp --example lines_per_second`
//!
//! Everything runs on one thread, so lines per second are lines per second of one core. The rows are steps of the same way:
//! what a row costs more than the one above is what its step costs.

use std::hint::black_box;

use bytes::Bytes;
use futures_util::stream;
use kanvoy_acp::{
    AgentMessage, Connection, Incoming, MAX_LINE, Received, Settings, Splitter, WriteTo, envelope, read_lines,
};
use tokio::io::AsyncWriteExt;
use tokio_util::task::TaskTracker;

const LINES: usize = 1_000_000;
const LENGTH: usize = 300;
const PIECE: usize = 64 << 10;

fn main() -> std::io::Result<()> {
    let text = format!("{}\n", line());
    let bytes = Bytes::from(text.repeat(LINES).into_bytes());
    let pieces: Vec<Bytes> =
        (0..bytes.len()).step_by(PIECE).map(|at| bytes.slice(at..bytes.len().min(at + PIECE))).collect();
    println!("{LINES} lines of {LENGTH} bytes, {} MB", bytes.len() >> 20);

    let batches = split(&pieces);
    report("split into lines", || split(&pieces).len());
    report("envelope, borrowed", || {
        let read = batches.iter().flatten().filter(|line| envelope::read(black_box(&line.bytes)).is_ok());
        read.count()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let numbered = split(&pieces);
    report("lines → Received, through the queue", move || {
        let lines = stream::iter(numbered.clone().into_iter().map(Ok));
        runtime.block_on(listen(lines, Typed::No))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    report("pieces → Received (splitting, too)", || {
        let (mut splitter, pieces) = (Splitter::new(1, MAX_LINE), pieces.clone());
        let lines = stream::iter(pieces.into_iter().map(move |piece| {
            let mut lines = Vec::new();
            splitter.push(&piece, &mut lines);
            Ok(lines)
        }));
        runtime.block_on(listen(lines, Typed::No))
    });
    report("the same, and every update as its type", || {
        let lines = stream::iter(split(&pieces).into_iter().map(Ok));
        runtime.block_on(listen(lines, Typed::Yes))
    });
    report("a pipe → Received", || {
        runtime.block_on(async {
            let (mut write, read) = tokio::io::duplex(1 << 20);
            let pieces = pieces.clone();
            let tasks = TaskTracker::new();
            tasks.spawn(async move {
                for piece in pieces {
                    write.write_all(&piece).await.ok();
                }
            });
            listen(read_lines(read, MAX_LINE), Typed::No).await
        })
    });
    Ok(())
}

#[derive(Clone, Copy)]
enum Typed {
    No,
    Yes,
}

async fn listen<L>(lines: L, typed: Typed) -> usize
where
    L: futures_util::Stream<Item = std::io::Result<Vec<Incoming>>> + Send + Unpin + 'static,
{
    let outlet = WriteTo(tokio::io::sink());
    let (_connection, mut messages) = Connection::open(lines, outlet, Settings::default(), &TaskTracker::new());
    let (mut batch, mut updates): (Vec<Received>, usize) = (Vec::new(), 0);
    while messages.recv_many(&mut batch, 256).await > 0 {
        for received in batch.drain(..) {
            if let AgentMessage::Update(update) = &received.message {
                updates += match typed {
                    Typed::No => 1,
                    Typed::Yes => usize::from(update.typed().is_some()),
                };
            }
            black_box(&received);
        }
    }
    updates
}

fn split(pieces: &[Bytes]) -> Vec<Vec<Incoming>> {
    let mut splitter = Splitter::new(1, MAX_LINE);
    pieces
        .iter()
        .map(|piece| {
            let mut lines = Vec::new();
            splitter.push(piece, &mut lines);
            lines
        })
        .collect()
}

/// The best of five, in time of the processor: what else runs on the machine is no cost of ours.
fn report(what: &str, mut run: impl FnMut() -> usize) {
    let mut best = f64::MAX;
    let mut count = 0;
    for _ in 0..5 {
        let begun = busy();
        count = run();
        best = best.min(busy() - begun);
    }
    println!("{what:42} {:8.2} M lines per CPU second   ({count})", LINES as f64 / best / 1e6);
}

/// Seconds this thread has worked.
fn busy() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn line() -> String {
    let (before, after) = (
        r#"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"sess-0190a7","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":""#,
        r#""},"messageId":"msg-1"}}}"#,
    );
    format!("{before}{}{after}", "x".repeat(LENGTH - before.len() - after.len()))
}
