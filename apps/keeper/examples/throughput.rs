//! Lines of 300 bytes a second through the keeper to its client, beside the same agent read from a bare pipe:
//! `cargo run --release -p kanvoy-keeper --example throughput`, with the keeper and the example `agent` built alike.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kanvoy_runtime::keeper::{Deadlines, Nonce, Output, Resume, attach};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio_util::task::TaskTracker;

const LINES: u64 = 1_000_000;
const LENGTH: usize = 291;
const ROUNDS: usize = 5;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let me = std::env::current_exe()?;
    let examples = me.parent().ok_or("no directory")?;
    let agent = examples.join("agent");
    let keeper = examples.parent().ok_or("no directory")?.join("kanvoy-keeper");
    for writes in ["each", "many"] {
        let (mut bare, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(piped(&agent, writes).await?);
            kept.push(through(&keeper, &agent, writes).await?);
        }
        let (bare, kept) = (median(bare), median(kept));
        let ratio = kept / bare;
        println!("{writes:>4}: bare pipe {bare:.0} lines/s, through the keeper {kept:.0} lines/s, ratio {ratio:.2}");
    }
    round_trips(&keeper, &agent).await
}

fn command(program: &Path, agent: &Path, writes: &str) -> Command {
    let mut command = Command::new(program);
    if program != agent {
        command.args(["--journal-max", "67108864", "--journal"]);
        command.arg(std::env::temp_dir().join(format!("kanvoy-throughput-{}", std::process::id())));
        command.arg("--").arg(agent);
    }
    command.args(["lines", &LINES.to_string(), &LENGTH.to_string(), writes]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn piped(agent: &Path, writes: &str) -> Result<f64, Failure> {
    let mut child = command(agent, agent, writes).spawn()?;
    let mut stdout = BufReader::with_capacity(192 * 1024, child.stdout.take().ok_or("no stdout")?);
    let (start, mut lines, mut line) = (Instant::now(), 0, Vec::new());
    while stdout.read_until(b'\n', &mut line).await? > 0 {
        lines += 1;
        line.clear();
    }
    child.wait().await?;
    Ok(rate(lines, start.elapsed()))
}

async fn through(keeper: &Path, agent: &Path, writes: &str) -> Result<f64, Failure> {
    let mut child = command(keeper, agent, writes).spawn()?;
    let start = Instant::now();
    let io = tokio::io::join(child.stdout.take().ok_or("no stdout")?, child.stdin.take().ok_or("no stdin")?);
    let tasks = TaskTracker::new();
    let (mut lines, handle) = attach(io, Nonce::random()?, Resume::default(), Deadlines::default(), &tasks).await?;
    let (mut count, mut batch) = (0, Vec::new());
    'all: loop {
        lines.batch(&mut batch, 1024).await?;
        for output in batch.drain(..) {
            match output {
                Output::Line { number, .. } => count = number,
                Output::Exit { number, .. } => {
                    handle.ack(number);
                    break 'all;
                }
                other => return Err(format!("{other:?}").into()),
            }
        }
        handle.ack(count);
    }
    let taken = start.elapsed();
    child.wait().await?;
    std::fs::remove_dir_all(std::env::temp_dir().join(format!("kanvoy-throughput-{}", std::process::id())))?;
    Ok(rate(count, taken))
}

/// A line to the agent and back, one at a time.
async fn round_trips(keeper: &Path, agent: &Path) -> Result<(), Failure> {
    let mut bare = Command::new(agent).arg("echo").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut stdin, mut stdout) = (bare.stdin.take().ok_or("no stdin")?, bare.stdout.take().ok_or("no stdout")?);
    let (mut piped, mut kept, mut answer) = (Vec::new(), Vec::new(), [0; 3]);
    for _ in 0..2000 {
        let start = Instant::now();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, b"hi\n").await?;
        stdout.read_exact(&mut answer).await?;
        piped.push(start.elapsed().as_secs_f64());
    }
    drop(stdin);
    bare.wait().await?;
    let mut child = Command::new(keeper);
    child.arg("--").arg(agent).arg("echo").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = child.spawn()?;
    let io = tokio::io::join(child.stdout.take().ok_or("no stdout")?, child.stdin.take().ok_or("no stdin")?);
    let tasks = TaskTracker::new();
    let (mut lines, handle) = attach(io, Nonce::random()?, Resume::default(), Deadlines::default(), &tasks).await?;
    for number in 1..=2000 {
        let start = Instant::now();
        handle.queue_line(number, "hi".into()).await?;
        lines.next().await?;
        kept.push(start.elapsed().as_secs_f64());
        handle.ack(number);
    }
    let micros = |times| median(times) * 1e6;
    println!(
        "line to the agent and back: bare pipe {:.0} µs, through the keeper {:.0} µs",
        micros(piped),
        micros(kept)
    );
    Ok(())
}

fn rate(lines: u64, taken: Duration) -> f64 {
    lines as f64 / taken.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
