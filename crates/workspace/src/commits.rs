//! The work's commits, and the work as a patch to take away.

use crate::error::Error;
use crate::names::{Commit, Id};
use crate::{Range, Workspaces};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    pub id: Commit,
    pub parents: Vec<Commit>,
    pub author_name: String,
    pub author_email: String,
    /// Seconds since 1970, as the commit says; an agent may write any number there.
    pub authored_at: i64,
    pub committed_at: i64,
    pub subject: String,
    pub body: String,
}

#[derive(Clone, Debug)]
pub struct Commits {
    /// From the newest to the oldest.
    pub commits: Vec<CommitInfo>,
    /// There are older ones of the work that are not listed.
    pub more: bool,
    /// Why the clone's commits could not be read anew, if so.
    pub unread: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// For `git am`: one mail for each commit. Uncommitted changes and merges are not in it.
    Mail,
    /// For `git apply`: the difference, binary files included.
    Plain,
}

const FIELDS: usize = 8;
const MOST_TEXT: usize = 20_000;

impl Workspaces {
    /// The commits from where the work began to the clone's head.
    pub async fn commits(&self, id: &Id) -> Result<Commits, Error> {
        let inner = &self.inner;
        let look = inner.look(id).await?;
        let most = inner.config.limits.commits;
        let log =
            inner.gits.at(&look.task.results()).args(["log", "-z", "--no-color", "--no-show-signature", "--no-notes"]);
        let log = log.args(["--no-mailmap", "--no-decorate", "--encoding=UTF-8"]);
        let log = log.arg("--format=%H%x00%P%x00%an%x00%ae%x00%at%x00%ct%x00%s%x00%b");
        let log = log.arg(format!("--max-count={}", most + 1)).arg("--end-of-options").arg(look.head.as_str());
        let output = log.args([&format!("^{}", look.record.base), "--"]).cap(16 << 20).ok("listing commits").await?;
        let fields: Vec<&[u8]> = output.stdout.split(|b| *b == 0).collect();
        let mut commits: Vec<CommitInfo> = fields.chunks_exact(FIELDS).filter_map(read).collect();
        let more = output.truncated || commits.len() > most;
        commits.truncate(most);
        Ok(Commits { commits, more, unread: look.unread })
    }

    /// The work as a file. Whole or not at all: half a patch applies to nothing.
    pub async fn patch(&self, id: &Id, range: &Range, kind: PatchKind) -> Result<Vec<u8>, Error> {
        let inner = &self.inner;
        let look = inner.look(id).await?;
        let ends = inner.ends(&look, range).await?;
        let git = inner.gits.at(&look.task.results());
        let git = match kind {
            PatchKind::Mail => {
                let git =
                    git.args(["format-patch", "--stdout", "--binary", "--full-index", "--no-signature", "--no-color"]);
                let git = git.args(["--no-ext-diff", "--no-textconv", "--no-notes", "--no-attach", "--encoding=UTF-8"]);
                git.args(["--end-of-options", look.head.as_str(), &format!("^{}", ends.from), "--"])
            }
            PatchKind::Plain => {
                let git = git.args([
                    "diff-tree",
                    "-p",
                    "-r",
                    "-M",
                    "--binary",
                    "--full-index",
                    "--no-color",
                    "--no-ext-diff",
                ]);
                git.args(["--no-textconv", "--submodule=short", "--end-of-options", &ends.from, ends.to.as_str()])
            }
        };
        let limit = inner.config.limits.patch;
        let output = git.cap(limit).ok("making a patch").await?;
        if output.truncated {
            let advice = "push the branch, or fetch it from the workspace instead";
            return Err(Error::TooLarge { what: "the patch".into(), limit: (limit >> 20) as u64, unit: "MiB", advice });
        }
        Ok(output.stdout)
    }
}

fn read(fields: &[&[u8]]) -> Option<CommitInfo> {
    let text = |at: usize| -> String { String::from_utf8_lossy(fields[at]).chars().take(MOST_TEXT).collect() };
    let number = |at: usize| text(at).parse().unwrap_or(0);
    // With -z the record before ends in NUL, and nothing stands before the name of the next.
    Some(CommitInfo {
        id: text(0).trim().parse().ok()?,
        parents: text(1).split(' ').filter_map(|parent| parent.parse().ok()).collect(),
        author_name: text(2),
        author_email: text(3),
        authored_at: number(4),
        committed_at: number(5),
        subject: text(6),
        body: text(7).trim_end().to_owned(),
    })
}
