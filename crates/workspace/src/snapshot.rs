//! What an agent has not committed, as a commit of ours: its files are read by [`crate::walk`] and handed to git as bytes
//! over a pipe, into our own repository.

use std::collections::HashMap;
use std::path::Path;

use tokio::sync::mpsc;

use crate::error::Error;
use crate::git::Input;
use crate::names::Commit;
use crate::places::{Record, Task};
use crate::walk::{Change, Content, Format, SETTLED, Skipped, Tree, Walk, Walked, file_clock, read_seen, write_seen};
use crate::{Inner, Limits, blocking};

pub(crate) const SNAPSHOT: &str = "refs/snapshot";

#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The commit's files with the uncommitted changes in them; `None` if there are none. The same changes on the same
    /// commit have the same name: author and time are the commit's and ours, not the clock's.
    pub commit: Option<Commit>,
    pub files: usize,
    pub skipped: Vec<Skipped>,
    pub cut: bool,
}

impl Inner {
    pub(crate) async fn snapshot(&self, task: &Task, record: &Record, head: &Commit) -> Result<Snapshot, Error> {
        match self.try_snapshot(task, record, head).await {
            // An object that the stamps speak of may be gone; without them every file is read again.
            Err(Error::Failed { .. }) if task.seen().exists() => {
                let _ = std::fs::remove_file(task.seen());
                self.try_snapshot(task, record, head).await
            }
            done => done,
        }
    }

    async fn try_snapshot(&self, task: &Task, record: &Record, head: &Commit) -> Result<Snapshot, Error> {
        let results = task.results();
        let tree = self.tree(&results, head).await?;
        let when = self.gits.at(&results).args(["show", "-s", "--format=%ct", "--end-of-options", head.as_str()]);
        let when: i64 = when.line("reading a commit").await?.parse().unwrap_or(0);
        let header = format!(
            "commit {SNAPSHOT}\ncommitter kanvoy <kanvoy> {} +0000\ndata 20\nUncommitted changes\n\nfrom {head}\n",
            when.clamp(0, 4_000_000_000)
        );
        // One piece under way, one being read: two files of the largest size in memory at most.
        let (send, mut pieces) = mpsc::channel::<Vec<u8>>(1);
        let walk = walking(task.clone(), record, head, tree, self.config.limits.clone(), send);
        let walk = tokio::task::spawn_blocking(walk);
        let mut commit = None;
        if let Some(piece) = pieces.recv().await {
            let mut first = header.into_bytes();
            first.extend_from_slice(&piece);
            // `--done`: a stream that ends early leaves no commit.
            let import = self.gits.at(&results).args(["fast-import", "--quiet", "--force", "--done"]);
            let import = import.timeout(self.config.limits.walk + self.config.local_timeout);
            import.stdin(Input::Stream(first, pieces)).ok("keeping the uncommitted changes").await?;
            commit = self.find_ref(&results, SNAPSHOT).await?;
        }
        let walked = match walk.await {
            Ok(walked) => walked?,
            Err(error) => {
                return Err(Error::Failed { what: "reading the workspace's files".into(), detail: error.to_string() });
            }
        };
        let seen = task.seen();
        blocking("noting what was read", move || {
            write_seen(&seen, &walked.seen).map_err(|error| Error::io("noting what was read", &error))?;
            Ok(Snapshot { commit, files: walked.changes, skipped: walked.skipped, cut: walked.cut })
        })
        .await
    }

    /// Files that a fresh checkout wrote otherwise than they are kept, by their content.
    pub(crate) async fn converted(&self, task: &Task, base: &Commit) -> Result<Vec<(String, String)>, Error> {
        let tree = self.tree(&task.results(), base).await?;
        let (work, limits, format) = (task.work(), self.config.limits.clone(), Format::of(base.as_str()));
        blocking("reading the clone's files", move || {
            let mut pairs = Vec::new();
            let kept = tree.clone();
            let mut take = |change| {
                if let Change::File { path, content: Content::Bytes(bytes), mode } = change
                    && mode != 0o120_000
                    && let Some((_, kept)) = kept.get(&path)
                {
                    pairs.push((format.blob(&bytes), kept.clone()));
                }
                pairs.len() < 50_000
            };
            let walk = Walk {
                limits: &limits,
                format,
                tree,
                seen: HashMap::new(),
                young: i64::MIN,
                converted: None,
                take: &mut take,
            };
            walk.go(&work).map_err(|error| Error::io("reading the clone's files", &error))?;
            pairs.sort();
            pairs.dedup();
            Ok(pairs)
        })
        .await
    }

    async fn tree(&self, repo: &Path, commit: &Commit) -> Result<Tree, Error> {
        let list = self.gits.at(repo).args(["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit.as_str()]);
        let output = list.cap(512 << 20).ok("listing a commit's files").await?;
        if output.truncated {
            let advice = "the repository is too large for this machine's limits";
            return Err(Error::TooLarge { what: "the list of files".into(), limit: 512, unit: "MiB", advice });
        }
        let entry = |line: &[u8]| {
            let tab = line.iter().position(|b| *b == b'\t')?;
            let mut words = std::str::from_utf8(&line[..tab]).ok()?.split(' ');
            let (mode, _kind, oid) = (words.next()?, words.next()?, words.next()?);
            Some((line[tab + 1..].to_vec(), (u32::from_str_radix(mode, 8).ok()?, oid.to_owned())))
        };
        Ok(output.stdout.split(|b| *b == 0).filter_map(entry).collect())
    }
}

/// The part that reads files: turns each change into a line of git's import language.
fn walking(
    task: Task,
    record: &Record,
    head: &Commit,
    tree: Tree,
    limits: Limits,
    send: mpsc::Sender<Vec<u8>>,
) -> impl FnOnce() -> Result<Walked, Error> + Send + 'static {
    let converted: HashMap<String, String> = record.converted.iter().cloned().collect();
    let format = Format::of(head.as_str());
    move || {
        let failed = |error: std::io::Error| Error::io("reading the workspace's files", &error);
        let now = file_clock(&task.dir.join("now")).map_err(failed)?;
        let young = now.saturating_sub(SETTLED.as_secs().cast_signed());
        let seen = read_seen(&task.seen());
        let mut take = |change: Change| send.blocking_send(line(change)).is_ok();
        let walk = Walk { limits: &limits, format, tree, seen, young, converted: Some(converted), take: &mut take };
        let walked = walk.go(&task.work()).map_err(failed)?;
        if walked.changes > 0 {
            let _ = send.blocking_send(b"done\n".to_vec());
        }
        Ok(walked)
    }
}

fn line(change: Change) -> Vec<u8> {
    match change {
        Change::Gone { path } => {
            let mut line = b"D ".to_vec();
            quote(&mut line, &path);
            line.push(b'\n');
            line
        }
        Change::File { path, mode, content } => {
            let source = match &content {
                Content::Bytes(_) => "inline",
                Content::Known(oid) => oid,
            };
            let mut line = format!("M {mode:o} {source} ").into_bytes();
            quote(&mut line, &path);
            line.push(b'\n');
            if let Content::Bytes(bytes) = content {
                line.extend_from_slice(format!("data {}\n", bytes.len()).as_bytes());
                line.extend_from_slice(&bytes);
                line.push(b'\n');
            }
            line
        }
    }
}

fn quote(line: &mut Vec<u8>, path: &[u8]) {
    line.push(b'"');
    for byte in path {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
            0..0x20 | 0x7f => line.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            byte => line.push(*byte),
        }
    }
    line.push(b'"');
}
