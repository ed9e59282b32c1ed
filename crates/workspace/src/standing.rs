//! Where a workspace stands: what was committed, what was not, and what is kept nowhere else.

use crate::error::Error;
use crate::gather::Refs;
use crate::names::{Branch, Commit, Id};
use crate::places::{Record, Task};
use crate::snapshot::Snapshot;
use crate::walk::Skipped;
use crate::{Inner, Workspaces};

#[derive(Clone, Debug)]
pub struct Standing {
    /// Where the work began.
    pub base: Commit,
    /// The last commit of the branch that the clone is on.
    pub head: Commit,
    /// That branch; `None` if the clone is on a commit of no branch.
    pub on: Option<Branch>,
    /// The branch that the workspace was made for.
    pub branch: Branch,
    /// The head with the uncommitted changes in it, or the head. Changes when anything does.
    pub tip: Commit,
    /// Commits from the base to the head.
    pub ahead: u64,
    /// Files that differ from the head.
    pub dirty: usize,
    /// Commits of any branch that were neither pushed nor merged through us and were not there at the beginning.
    pub unpushed: u64,
    /// The uncommitted changes are part of what was pushed or merged.
    pub dirty_is_kept: bool,
    /// Branches, or a stash, with commits that the head does not have.
    pub elsewhere: Vec<Elsewhere>,
    /// Why the clone's repository could not be read, if so: `head` is then the last state that could.
    pub unread: Option<String>,
    pub skipped: Vec<Skipped>,
    /// A bound was met while reading the files: there may be more changes.
    pub cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// A branch, or `stash`.
    pub name: String,
    pub head: Commit,
    pub ahead: u64,
}

/// What every question begins with: the clone as it is now, read into our own repository.
pub(crate) struct Look {
    pub task: Task,
    pub record: Record,
    pub refs: Refs,
    pub unread: Option<String>,
    pub head: Commit,
    pub snapshot: Snapshot,
    _held: tokio::sync::OwnedMutexGuard<()>,
}

impl Look {
    pub(crate) fn tip(&self) -> &Commit {
        self.snapshot.commit.as_ref().unwrap_or(&self.head)
    }
}

/// What counts as kept: what was there, and what went out through us.
pub(crate) const KEPT: [&str; 3] = ["refs/base", "--glob=refs/remotes", "--glob=refs/kept"];

impl Workspaces {
    pub async fn standing(&self, id: &Id) -> Result<Standing, Error> {
        let look = self.inner.look(id).await?;
        self.inner.standing(&look).await
    }
}

impl Inner {
    pub(crate) async fn look(&self, id: &Id) -> Result<Look, Error> {
        let held = self.hold(id).await;
        let task = self.places.task(id);
        let record = task.read()?;
        let gathered = self.gather(&task, &record).await?;
        let head = gathered.refs.head.clone().unwrap_or_else(|| record.base.clone());
        let snapshot = self.snapshot(&task, &record, &head).await?;
        Ok(Look { task, record, refs: gathered.refs, unread: gathered.unread, head, snapshot, _held: held })
    }

    pub(crate) async fn standing(&self, look: &Look) -> Result<Standing, Error> {
        let results = look.task.results();
        let ahead = self.count(look, &[look.head.as_str(), "--not", look.record.base.as_str()]).await?;
        let mut unkept = vec!["--glob=refs/heads/work", "--glob=refs/past", look.head.as_str(), "--not"];
        unkept.extend(KEPT);
        let unpushed = self.count(look, &unkept).await?;
        let dirty_is_kept = match &look.snapshot.commit {
            None => true,
            Some(commit) => {
                self.tree_of(&results, "refs/kept-files").await? == self.tree_of(&results, commit.as_str()).await?
            }
        };
        let mut elsewhere = Vec::new();
        let heads = look.refs.heads.iter().map(|(branch, commit)| (branch.to_string(), commit));
        for (name, commit) in heads.chain(look.refs.stash.iter().map(|commit| ("stash".to_owned(), commit))).take(100) {
            if *commit == look.head {
                continue;
            }
            let mut range = vec![commit.as_str(), "--not", look.head.as_str()];
            range.extend(KEPT);
            let ahead = self.count(look, &range).await?;
            if ahead > 0 {
                elsewhere.push(Elsewhere { name, head: commit.clone(), ahead });
            }
        }
        Ok(Standing {
            base: look.record.base.clone(),
            head: look.head.clone(),
            on: look.refs.on.clone(),
            branch: look.record.branch.clone(),
            tip: look.tip().clone(),
            ahead,
            dirty: look.snapshot.files,
            unpushed,
            dirty_is_kept,
            elsewhere,
            unread: look.unread.clone(),
            skipped: look.snapshot.skipped.clone(),
            cut: look.snapshot.cut,
        })
    }

    async fn count(&self, look: &Look, range: &[&str]) -> Result<u64, Error> {
        let count = self.gits.at(&look.task.results()).args(["rev-list", "--count", "--ignore-missing"]).args(range);
        Ok(count.arg("--").line("counting commits").await?.trim().parse().unwrap_or(0))
    }

    pub(crate) async fn tree_of(&self, repo: &std::path::Path, name: &str) -> Result<Option<String>, Error> {
        let ask = self.gits.at(repo).args(["rev-parse", "--quiet", "--verify", "--end-of-options"]);
        let output = ask.arg(format!("{name}^{{tree}}")).run("looking up a commit").await?;
        Ok(output.text().lines().next().map(str::to_owned).filter(|_| output.code == Some(0)))
    }
}
