//! What changed, file by file, read in our own repository. Bounded in every direction, and it says where it stopped.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::names::{Commit, Id, RelPath};
use crate::standing::Look;
use crate::walk::Skipped;
use crate::{Inner, Workspaces};

/// Which changes are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// From where the work began to the files as they are now.
    All,
    /// From where the work began to the last commit.
    Committed,
    /// From the last commit to the files as they are now.
    Uncommitted,
    /// One commit, which must be part of the work or of what it began with.
    Commit(Commit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Added,
    Changed,
    Deleted,
    Renamed,
    /// A file became a link, or the reverse.
    Retyped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    pub path: RelPath,
    /// Where it was, if it was renamed.
    pub old_path: Option<RelPath>,
    pub status: Status,
    /// Git's modes: `100644`, `100755`, `120000` for links, `160000` for submodules; `000000` where there is none.
    pub old_mode: String,
    pub new_mode: String,
    /// Lines; `None` for content that is not text, or too large to be read as text.
    pub added: Option<u64>,
    pub removed: Option<u64>,
}

impl FileChange {
    pub fn is_binary(&self) -> bool {
        self.added.is_none()
    }
}

#[derive(Clone, Debug)]
pub struct FileDiff {
    pub change: FileChange,
    /// Git's text from `diff --git` on; bytes that are not UTF-8 became the replacement character.
    pub text: String,
    /// There is more than `text` holds.
    pub truncated: bool,
}

#[derive(Clone, Debug)]
pub struct Diff {
    pub from: Commit,
    pub to: Commit,
    pub files: Vec<FileDiff>,
    /// There are more files than are listed.
    pub more_files: bool,
    /// Files that were seen in the clone and not read. Of the present files only.
    pub skipped: Vec<Skipped>,
    /// A bound was met while reading the clone's files.
    pub cut: bool,
    /// Why the clone's commits could not be read, if so.
    pub unread: Option<String>,
}

/// The two ends of a range.
pub(crate) struct Ends {
    pub from: String,
    pub to: Commit,
}

impl Workspaces {
    pub async fn diff(&self, id: &Id, range: &Range) -> Result<Diff, Error> {
        let look = self.inner.look(id).await?;
        let ends = self.inner.ends(&look, range).await?;
        let (changes, more_files) = self.inner.changes(&look, &ends).await?;
        let texts = self.inner.texts(&look, &ends, &changes).await?;
        let files = changes.into_iter().zip(texts);
        let files = files.map(|(change, (text, truncated))| FileDiff { change, text, truncated }).collect();
        let from = ends.from.parse().unwrap_or_else(|_| look.record.base.clone());
        let Look { snapshot, unread, .. } = look;
        Ok(Diff { from, to: ends.to, files, more_files, skipped: snapshot.skipped, cut: snapshot.cut, unread })
    }

    /// The same without texts, and whether there are more than are listed.
    pub async fn files(&self, id: &Id, range: &Range) -> Result<(Vec<FileChange>, bool), Error> {
        let look = self.inner.look(id).await?;
        let ends = self.inner.ends(&look, range).await?;
        self.inner.changes(&look, &ends).await
    }
}

impl Inner {
    pub(crate) async fn ends(&self, look: &Look, range: &Range) -> Result<Ends, Error> {
        let results = look.task.results();
        Ok(match range {
            Range::Uncommitted => Ends { from: look.head.to_string(), to: look.tip().clone() },
            Range::Committed => Ends { from: self.begin(look).await?, to: look.head.clone() },
            Range::All => Ends { from: self.begin(look).await?, to: look.tip().clone() },
            Range::Commit(commit) => {
                // Only what is reachable: our repository also holds what was undone.
                let known = self.find_ref(&results, commit.as_str()).await?.as_ref() == Some(commit)
                    && self.is_ancestor(&results, commit, look.tip()).await?;
                if !known {
                    return Err(Error::NotFound(format!("commit {} in this workspace", commit.short())));
                }
                let parent = self.find_ref(&results, &format!("{commit}^1")).await?;
                let from = match parent {
                    Some(parent) => parent.to_string(),
                    None => self.empty_tree(look).await?,
                };
                Ends { from, to: commit.clone() }
            }
        })
    }

    /// Where the work begins to differ: the base, or what is left in common if the history was rewritten.
    async fn begin(&self, look: &Look) -> Result<String, Error> {
        let results = look.task.results();
        let base = &look.record.base;
        let ask = self.gits.at(&results).args(["merge-base", base.as_str(), look.head.as_str()]);
        let output = ask.run("looking for the common commit").await?;
        match output.text().lines().next().and_then(|line| line.parse::<Commit>().ok()) {
            Some(commit) => Ok(commit.to_string()),
            None => self.empty_tree(look).await,
        }
    }

    async fn empty_tree(&self, look: &Look) -> Result<String, Error> {
        let hash = self.gits.at(&look.task.results()).args(["hash-object", "-t", "tree", "-w", "--stdin"]);
        hash.stdin(crate::git::Input::Bytes(Vec::new())).line("making an empty tree").await
    }

    fn diff_tree(&self, look: &Look) -> crate::git::Git {
        let git = self.gits.at(&look.task.results()).args(["diff-tree", "-r", "-M", "--no-ext-diff", "--no-textconv"]);
        git.args([
            "--no-color",
            "--submodule=short",
            "--ignore-submodules=none",
            "--full-index",
            "--src-prefix=a/",
            "--dst-prefix=b/",
        ])
    }

    pub(crate) async fn changes(&self, look: &Look, ends: &Ends) -> Result<(Vec<FileChange>, bool), Error> {
        let git =
            self.diff_tree(look).args(["-z", "--raw", "--numstat", "--end-of-options", &ends.from, ends.to.as_str()]);
        let output = git.cap(64 << 20).ok("listing what changed").await?;
        if output.truncated {
            let advice = "ask for a smaller range";
            return Err(Error::TooLarge { what: "the list of changed files".into(), limit: 64, unit: "MiB", advice });
        }
        let mut changes = read_changes(&output.stdout);
        let more = changes.len() > self.config.limits.diff_files;
        changes.truncate(self.config.limits.diff_files);
        Ok((changes, more))
    }

    /// A text for each change, in their order.
    async fn texts(&self, look: &Look, ends: &Ends, changes: &[FileChange]) -> Result<Vec<(String, bool)>, Error> {
        let limits = &self.config.limits;
        let mut texts = Texts::new(changes, limits.diff_file, limits.diff_total);
        let git = self.diff_tree(look).args(["-p", "--end-of-options", &ends.from, ends.to.as_str()]);
        let output = git.each("reading what changed", &mut |bytes| texts.take(bytes)).await?;
        if output.code != Some(0) && !output.truncated {
            return Err(crate::error::from_git("reading what changed", None, &output.stderr));
        }
        Ok(texts.done(output.truncated))
    }
}

/// `--raw` entries begin with a colon, those of `--numstat` follow in the same order.
fn read_changes(bytes: &[u8]) -> Vec<FileChange> {
    let mut fields = bytes.split(|b| *b == 0).peekable();
    let mut changes = Vec::new();
    while let Some(head) = fields.next_if(|field| field.first() == Some(&b':')) {
        let text = String::from_utf8_lossy(&head[1..]);
        let words: Vec<&str> = text.split(' ').collect();
        let [old_mode, new_mode, _, _, status] = words[..] else { break };
        let Some(first) = fields.next() else { break };
        let (status, moved) = match status.as_bytes().first() {
            Some(b'A') => (Status::Added, false),
            Some(b'D') => (Status::Deleted, false),
            Some(b'R') => (Status::Renamed, true),
            Some(b'C') => (Status::Added, true),
            Some(b'T') => (Status::Retyped, false),
            _ => (Status::Changed, false),
        };
        let second = if moved { fields.next() } else { None };
        let (path, old_path) = match second {
            Some(second) => (second, Some(first)),
            None => (first, None),
        };
        changes.push(FileChange {
            path: RelPath::from_git(path),
            old_path: old_path.map(RelPath::from_git),
            status,
            old_mode: old_mode.to_owned(),
            new_mode: new_mode.to_owned(),
            added: None,
            removed: None,
        });
    }
    for change in &mut changes {
        let Some(line) = fields.next() else { break };
        let mut parts = line.splitn(3, |b| *b == b'\t');
        let mut number = || parts.next().and_then(|part| std::str::from_utf8(part).ok()?.parse::<u64>().ok());
        (change.added, change.removed) = (number(), number());
        // A renamed file has an empty third part, and its two names follow.
        if parts.next().is_none_or(<[u8]>::is_empty) {
            fields.next();
            fields.next();
        }
    }
    changes
}

/// Cuts one long patch into the files' parts. A line of content begins with a blank, `+`, `-`, `\` or `@`, so a line that
/// begins with `diff --git ` is always the head of the next file.
struct Texts {
    /// How many heads each change has: a file that became a link is a deletion and a creation.
    heads: Vec<usize>,
    parts: Vec<(Vec<u8>, bool)>,
    /// The part that is being read, and how many heads of it are still to come.
    now: Option<(usize, usize)>,
    line: Vec<u8>,
    at_start: bool,
    file_cap: usize,
    left: usize,
    /// A bound on what is skimmed, kept or not, to find the later files.
    skim: usize,
    full: bool,
}

const HEAD: &[u8] = b"diff --git ";

impl Texts {
    fn new(changes: &[FileChange], file_cap: usize, total: usize) -> Self {
        Self {
            heads: changes.iter().map(|change| if change.status == Status::Retyped { 2 } else { 1 }).collect(),
            parts: vec![(Vec::new(), false); changes.len()],
            now: None,
            line: Vec::new(),
            at_start: true,
            file_cap,
            left: total,
            skim: total.saturating_mul(16),
            full: false,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> ControlFlow<()> {
        self.skim = self.skim.saturating_sub(bytes.len());
        while !bytes.is_empty() {
            let end = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1);
            if self.at_start {
                let (piece, rest) = bytes.split_at(end.min(HEAD.len() - self.line.len()));
                self.line.extend_from_slice(piece);
                bytes = rest;
                if self.line.len() == HEAD.len() || !HEAD.starts_with(&self.line) {
                    self.begin_line();
                }
            } else {
                let (piece, rest) = bytes.split_at(end);
                self.push(piece);
                bytes = rest;
                self.at_start = piece.last() == Some(&b'\n');
            }
        }
        if self.full || self.skim == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn begin_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line == HEAD {
            self.now = match self.now {
                Some((part, more @ 1..)) => Some((part, more - 1)),
                Some((part, 0)) => Some((part + 1, self.heads.get(part + 1).map_or(0, |heads| heads - 1))),
                None => Some((0, self.heads.first().map_or(0, |heads| heads - 1))),
            };
        }
        self.at_start = line.last() == Some(&b'\n');
        self.push(&line);
    }

    fn push(&mut self, bytes: &[u8]) {
        let Some((part, _)) = self.now else { return };
        let Some((text, cut)) = self.parts.get_mut(part) else {
            self.full = true;
            return;
        };
        let room = self.file_cap.saturating_sub(text.len()).min(self.left);
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.left -= bytes.len().min(room);
        *cut |= bytes.len() > room;
        self.full |= self.left == 0;
    }

    fn done(mut self, stopped: bool) -> Vec<(String, bool)> {
        if !self.line.is_empty() {
            self.begin_line();
        }
        let reached = self.now.map_or(0, |(part, _)| part);
        let text = |(at, (text, cut)): (usize, (Vec<u8>, bool))| {
            (String::from_utf8_lossy(&text).into_owned(), cut || (stopped && at >= reached))
        };
        self.parts.into_iter().enumerate().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_falls_apart_at_its_heads_wherever_it_is_cut() {
        let change = |status| FileChange {
            path: RelPath::from_git(b"x"),
            old_path: None,
            status,
            old_mode: String::new(),
            new_mode: String::new(),
            added: None,
            removed: None,
        };
        let changes = [change(Status::Changed), change(Status::Retyped), change(Status::Added)];
        let a = "diff --git a/a b/a\n@@ -1 +1 @@\n-diff --git a/x\n+diff\n";
        let b = "diff --git a/b b/b\ndeleted\n\ndiff --git a/b b/b\nnew\n";
        let c = "diff --git a/c b/c\n+no end";
        let whole = format!("{a}{b}{c}");
        for size in 1..whole.len() {
            let mut texts = Texts::new(&changes, 1_000, 10_000);
            for piece in whole.as_bytes().chunks(size) {
                assert!(texts.take(piece).is_continue());
            }
            let texts = texts.done(false);
            assert_eq!(
                texts,
                [(a.to_owned(), false), (b.to_owned(), false), (c.to_owned(), false)],
                "cut every {size}"
            );
        }
        let mut texts = Texts::new(&changes, 30, 70);
        let stopped = texts.take(whole.as_bytes()).is_break();
        let texts = texts.done(stopped);
        assert_eq!(
            texts.iter().map(|(text, cut)| (text.len(), *cut)).collect::<Vec<_>>(),
            [(30, true), (30, true), (10, true)]
        );
    }
}
