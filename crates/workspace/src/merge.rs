//! Merges finished work into a local branch of the repository's home. No tree is checked out for it: git computes the
//! merged tree in a bare repository, and a conflict is an answer, not a state that somebody has to clean up.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Error;
use crate::git::Wire;
use crate::home::{Home, no_such_branch};
use crate::names::{Branch, Commit, Id, RelPath, Signature};
use crate::standing::Look;
use crate::{Inner, Source, Workspaces};

/// What of the work is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    Commits,
    /// The uncommitted changes too, as one more commit.
    Everything,
}

#[derive(Clone, Debug)]
pub struct MergeSpec {
    pub into: Branch,
    pub include: Include,
    /// Of the merge, and of the commit that uncommitted changes become.
    pub message: String,
    pub by: Signature,
}

#[derive(Clone, Debug)]
pub enum Merged {
    Done {
        /// What the branch is on now.
        commit: Commit,
        /// The work's last commit that is in it.
        work: Commit,
    },
    /// The branch had all of it already.
    Nothing { commit: Commit },
    /// Nothing was changed. `onto` is what the branch was on.
    Conflicts { onto: Commit, work: Commit, conflicts: Vec<Conflict>, more: bool },
}

/// One file that both sides changed.
#[derive(Clone, Debug)]
pub struct Conflict {
    pub path: RelPath,
    /// Git's sentence about it.
    pub about: String,
    pub base: Option<Side>,
    /// The branch's.
    pub ours: Option<Side>,
    /// The work's.
    pub theirs: Option<Side>,
    /// The file with git's marks in it, where there is one.
    pub marked: Option<Side>,
}

/// A file as one side has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    pub mode: String,
    pub content: Vec<u8>,
    pub truncated: bool,
}

const MOST_CONFLICTS: usize = 200;

impl Workspaces {
    pub async fn merge_into(&self, id: &Id, spec: &MergeSpec) -> Result<Merged, Error> {
        let inner = &self.inner;
        let look = inner.look(id).await?;
        let work = inner.included(&look, spec.include, &spec.message, &spec.by).await?;
        let home = inner.home_of(&look.record.home).await?;
        let target = spec.into.full();
        let local = inner.find_ref(&home.dir, &target).await?;
        let remote = inner.find_ref(&home.dir, &format!("refs/remotes/origin/{}", spec.into)).await?;
        let Some(onto) = local.or(remote) else {
            let have = inner.branches(&home.dir).await?;
            let source = Source::Kept("home".parse()?);
            return Err(no_such_branch(&spec.into, &source, &have));
        };
        let merged = inner.merge(&look, &home, &onto, &work, spec).await?;
        match &merged {
            Merged::Done { commit, .. } => {
                inner.bring_home(&look, &home, commit, &target).await?;
                inner.mark_kept(&look, &format!("merged/{}", spec.into), &work).await?;
                tracing::info!(workspace.id = %id, "workspace {id} merged into {} as {}", spec.into, commit.short());
            }
            // It may have come in by a merge that died before it was noted.
            Merged::Nothing { .. } => inner.mark_kept(&look, &format!("merged/{}", spec.into), &work).await?,
            Merged::Conflicts { .. } => {}
        }
        Ok(merged)
    }
}

impl Inner {
    /// The commit that is meant; uncommitted changes become one of their own, once for the same changes and message.
    pub(crate) async fn included(
        &self,
        look: &Look,
        include: Include,
        message: &str,
        by: &Signature,
    ) -> Result<Commit, Error> {
        if let Some(why) = &look.unread {
            return Err(Error::Refused(format!(
                "{why}; repair the clone's .git first, or take the changes as a patch"
            )));
        }
        match (include, &look.snapshot.commit) {
            (Include::Everything, _) if look.snapshot.cut => Err(Error::Refused(
                "there are too many uncommitted files to be read in full; let the agent commit what belongs to the work".into(),
            )),
            (Include::Everything, Some(snapshot)) => {
                let results = look.task.results();
                let tree = self.tree_of(&results, snapshot.as_str()).await?;
                let tree = tree.ok_or_else(|| Error::NotFound("snapshot of the uncommitted changes".into()))?;
                // A second attempt after a merge or push that was cut off finds its own commit.
                if let Some(before) = self.find_ref(&results, "refs/kept-files").await?
                    && self.tree_of(&results, before.as_str()).await?.as_ref() == Some(&tree)
                    && self.find_ref(&results, &format!("{before}^1")).await?.as_ref() == Some(&look.head)
                {
                    return Ok(before);
                }
                self.commit(&results, &tree, &[&look.head], by, message).await
            }
            _ => Ok(look.head.clone()),
        }
    }

    /// Notes that `work` is now somewhere else too.
    pub(crate) async fn mark_kept(&self, look: &Look, name: &str, work: &Commit) -> Result<(), Error> {
        let results = look.task.results();
        if look.snapshot.commit.is_some() && *work != look.head {
            self.set_ref(&results, "refs/kept-files", work).await?;
        }
        // By commit, not only by branch: what went out once stays out, whatever the branch does next.
        self.set_ref(&results, &format!("refs/kept/{work}"), work).await?;
        tracing::debug!("{} is kept as {name}", work.short());
        Ok(())
    }

    /// Moves a branch of the home forward to a commit of the workspace. Not by force: a branch that has moved meanwhile
    /// stays. Until now the home had nothing of the work, so no other clone made from it has any either.
    async fn bring_home(&self, look: &Look, home: &Home, commit: &Commit, branch: &str) -> Result<(), Error> {
        self.set_ref(&look.task.results(), "refs/out", commit).await?;
        self.between(&home.dir, &look.task.results(), &format!("refs/out:{branch}"), "moving the branch").await
    }

    async fn between(&self, to: &Path, from: &Path, refspec: &str, what: &str) -> Result<(), Error> {
        let fetch = self.gits.at(to).wire(Wire::Disk).args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]);
        let fetch = fetch.args(["--no-recurse-submodules", "--no-auto-maintenance", "--end-of-options"]);
        let fetch = fetch.arg(from).arg(refspec).timeout(self.config.network_timeout);
        fetch.ok(what).await?;
        Ok(())
    }

    /// Computed beside the workspace, in its own results.
    async fn merge(
        &self,
        look: &Look,
        home: &Home,
        onto: &Commit,
        work: &Commit,
        spec: &MergeSpec,
    ) -> Result<Merged, Error> {
        let results = look.task.results();
        self.set_ref(&home.dir, "refs/onto", onto).await?;
        self.between(&results, &home.dir, "+refs/onto:refs/onto", "reading the branch").await?;
        if self.is_ancestor(&results, work, onto).await? {
            return Ok(Merged::Nothing { commit: onto.clone() });
        }
        let git = self.gits.at(&results).args(["merge-tree", "--write-tree", "-z", "--messages"]);
        let output = git.args([onto.as_str(), work.as_str()]).run("merging").await?;
        let fields: Vec<&[u8]> = output.stdout.split(|b| *b == 0).collect();
        let tree = String::from_utf8_lossy(fields.first().copied().unwrap_or_default()).into_owned();
        match output.code {
            Some(0) => {
                let commit = self.commit(&results, &tree, &[onto, work], &spec.by, &spec.message).await?;
                Ok(Merged::Done { commit, work: work.clone() })
            }
            Some(1) => self.conflicts(&results, onto, work, &tree, &fields[1..]).await,
            _ if output.stderr.contains("unrelated histories") => Err(Error::Refused(format!(
                "branch {} of this workspace shares no commit with {}: its history was replaced; take the work as a patch",
                look.record.branch, spec.into
            ))),
            _ => Err(crate::error::from_git("merging", None, &output.stderr)),
        }
    }

    /// `fields`: `<mode> <name> <stage>\t<path>` for each side of each file, an empty one, then the sentences, each with
    /// its number of paths, the paths, its kind and its text.
    async fn conflicts(
        &self,
        repo: &Path,
        onto: &Commit,
        work: &Commit,
        tree: &str,
        fields: &[&[u8]],
    ) -> Result<Merged, Error> {
        let mut sides: BTreeMap<Vec<u8>, [Option<(String, String)>; 3]> = BTreeMap::new();
        let mut fields = fields.iter();
        for field in fields.by_ref() {
            let Some(tab) = field.iter().position(|b| *b == b'\t') else { break };
            let head = String::from_utf8_lossy(&field[..tab]);
            let words: Vec<&str> = head.split(' ').collect();
            let [mode, oid, stage] = words[..] else { continue };
            if let Some(stage) = stage.parse::<usize>().ok().filter(|stage| (1..=3).contains(stage)) {
                sides.entry(field[tab + 1..].to_vec()).or_default()[stage - 1] =
                    Some((mode.to_owned(), oid.to_owned()));
            }
        }
        let mut about: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        while let Some(count) = fields.next().and_then(|field| std::str::from_utf8(field).ok()?.parse::<usize>().ok()) {
            let paths: Vec<&[u8]> = fields.by_ref().take(count).copied().collect();
            let (kind, text) = (fields.next(), fields.next());
            let (Some(kind), Some(text)) = (kind, text) else { break };
            if kind.starts_with(b"CONFLICT") {
                for path in paths {
                    let all = about.entry(path.to_vec()).or_default();
                    all.push_str(&String::from_utf8_lossy(text));
                }
            }
        }
        let more = sides.len() > MOST_CONFLICTS;
        let mut conflicts = Vec::new();
        for (path, [base, ours, theirs]) in sides.into_iter().take(MOST_CONFLICTS) {
            let marked = self.entry(repo, tree, &path).await?;
            conflicts.push(Conflict {
                about: about.get(&path).map(|text| text.trim().to_owned()).unwrap_or_default(),
                base: self.side(repo, base).await?,
                ours: self.side(repo, ours).await?,
                theirs: self.side(repo, theirs).await?,
                marked: self.side(repo, marked).await?,
                path: RelPath::from_git(&path),
            });
        }
        Ok(Merged::Conflicts { onto: onto.clone(), work: work.clone(), conflicts, more })
    }

    async fn entry(&self, repo: &Path, tree: &str, path: &[u8]) -> Result<Option<(String, String)>, Error> {
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(path);
        let list =
            self.gits.at(repo).args(["--literal-pathspecs", "ls-tree", "-z", "--full-tree", tree, "--"]).arg(path);
        let text = list.ok("reading a conflict").await?.text();
        let head = text.split('\t').next().unwrap_or_default();
        let words: Vec<&str> = head.split(' ').collect();
        Ok(match words[..] {
            [mode, "blob", oid] => Some((mode.to_owned(), oid.to_owned())),
            _ => None,
        })
    }

    async fn side(&self, repo: &Path, side: Option<(String, String)>) -> Result<Option<Side>, Error> {
        let Some((mode, oid)) = side else { return Ok(None) };
        if mode == "160000" {
            return Ok(Some(Side { mode, content: oid.into_bytes(), truncated: false }));
        }
        let show = self.gits.at(repo).args(["cat-file", "blob", &oid]).cap(self.config.limits.conflict_side);
        let output = show.ok("reading a conflict").await?;
        Ok(Some(Side { mode, content: output.stdout, truncated: output.truncated }))
    }
}
