//! What the keeper's tests run in place of an agent. It does one thing, named by its first argument.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::process::{Command, Stdio, exit};
use std::thread;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| arguments.get(at).map(String::as_str).unwrap_or_default();
    let number = |at: usize| word(at).parse::<u64>().unwrap_or_default();
    match word(0) {
        // lines COUNT [LENGTH [WRITES]]: numbered lines; with `each`, one write a line.
        "lines" => lines(number(1), number(2) as usize, word(3) == "each"),
        // talk COUNT LEDGER: writes lines, and at the same time keeps what it reads in a file; ends with its stdin.
        "talk" => {
            let (count, ledger) = (number(1), File::create(word(2))?);
            let reader = thread::spawn(move || {
                let mut ledger = BufWriter::new(ledger);
                io::copy(&mut io::stdin().lock(), &mut ledger).map(drop)
            });
            lines(count, 0, false)?;
            reader.join().unwrap_or(Ok(()))
        }
        // echo: every line back.
        "echo" => {
            let mut out = io::stdout().lock();
            for line in io::stdin().lock().split(b'\n') {
                let mut line = line?;
                line.push(b'\n');
                out.write_all(&line)?;
                out.flush()?;
            }
            Ok(())
        }
        // count: how long each line is.
        "count" => {
            for line in io::stdin().lock().split(b'\n') {
                println!("{}", line?.len());
            }
            Ok(())
        }
        // long BYTES: one line of that length.
        "long" => {
            let mut out = io::stdout().lock();
            let mut left = number(1);
            while left > 0 {
                let piece = left.min(64 * 1024);
                out.write_all(&vec![b'x'; piece as usize])?;
                left -= piece;
            }
            out.write_all(b"\nafter\n")
        }
        // deaf: says so, and reads nothing.
        "deaf" => {
            println!("deaf");
            loop {
                thread::park();
            }
        }
        // slow-ears: reads nothing until a file is there, then counts bytes.
        "slow-ears" => {
            println!("deaf");
            while !std::path::Path::new(word(1)).exists() {
                thread::yield_now();
            }
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes)?;
            println!("{read}");
            Ok(())
        }
        // flood COUNT: stderr, and a line of stdout for every thousand.
        "flood" => {
            let mut err = BufWriter::with_capacity(32 * 1024, io::stderr().lock());
            for line in 1..=number(1) {
                writeln!(err, "complaint {line}")?;
                if line % 1000 == 0 {
                    println!("{line}");
                }
            }
            err.flush()
        }
        // leave SECONDS: a child that holds stdout, and this ends.
        "leave" => {
            let child = Command::new("sleep").arg(word(1)).stdin(Stdio::null()).spawn()?;
            println!("{}", child.id());
            Ok(())
        }
        // late COUNT: a child that goes on writing after this ended, and is done.
        "late" => {
            let me = std::env::current_exe()?;
            let parent = std::process::id().to_string();
            Command::new(me).args(["orphan", word(1), &parent]).stdin(Stdio::null()).spawn()?;
            exit(7)
        }
        // orphan COUNT PARENT: waits until its parent is gone; then somebody else has taken it.
        "orphan" => {
            while u64::from(std::os::unix::process::parent_id()) == number(2) {
                thread::yield_now();
            }
            lines(number(1), 0, false)
        }
        "exit" => exit(number(1) as i32),
        // die SIGNAL
        "die" => {
            println!("dying");
            Command::new("kill").args([&format!("-{}", word(1)), &std::process::id().to_string()]).status()?;
            loop {
                thread::park();
            }
        }
        other => {
            eprintln!("there is no {other}");
            exit(64)
        }
    }
}

fn lines(count: u64, length: usize, each: bool) -> io::Result<()> {
    let filler = "x".repeat(length);
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    for line in 1..=count {
        writeln!(out, "{line} {filler}")?;
        if each {
            out.flush()?;
        }
    }
    out.flush()
}
