//! Sends work, or a local branch that work was merged into, to the remote. Never with force.

use crate::error::Error;
use crate::git::Wire;
use crate::home::no_such_branch;
use crate::names::{Branch, Commit, Id, Signature};
use crate::{Access, Include, Inner, Source, Workspaces};

#[derive(Clone, Debug)]
pub enum What {
    /// The work of this workspace.
    Work { include: Include, message: String, by: Signature },
    /// A local branch of its repository.
    Merged(Branch),
}

#[derive(Clone, Debug)]
pub struct PushSpec {
    /// Where to; the workspace's own source, or another repository.
    pub to: Source,
    /// The branch there.
    pub branch: Branch,
    pub what: What,
    pub access: Access,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub commit: Commit,
    /// It was there already.
    pub nothing_new: bool,
}

impl Workspaces {
    pub async fn push(&self, id: &Id, spec: &PushSpec) -> Result<Pushed, Error> {
        let inner = &self.inner;
        let look = inner.look(id).await?;
        let (commit, work, repo, _home) = match &spec.what {
            What::Work { include, message, by } => {
                let work = inner.included(&look, *include, message, by).await?;
                (work.clone(), Some(work), look.task.results(), None)
            }
            What::Merged(branch) => {
                let home = inner.home_of(&look.record.home).await?;
                let Some(commit) = inner.find_ref(&home.dir, &branch.full()).await? else {
                    let have = inner.branches(&home.dir).await?;
                    return Err(no_such_branch(branch, &Source::Kept("home".parse()?), &have));
                };
                (commit, None, home.dir.clone(), Some(home))
            }
        };
        let pushed = inner.send(&repo, &commit, spec).await?;
        if let Some(work) = work {
            inner.mark_kept(&look, &format!("pushed/{}", spec.branch), &work).await?;
        }
        tracing::info!(workspace.id = %id, "workspace {id} pushed {} to branch {}", commit.short(), spec.branch);
        Ok(pushed)
    }
}

impl Inner {
    async fn send(&self, repo: &std::path::Path, commit: &Commit, spec: &PushSpec) -> Result<Pushed, Error> {
        let (git, _login, url) = self.turned(self.gits.at(repo), &spec.to, &spec.access, "write").await?;
        let mut git = git.args([
            "push",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-signed",
            "--no-recurse-submodules",
        ]);
        if let Source::Local(_) = &spec.to {
            git = git
                .wire(Wire::Disk)
                .arg(format!("--receive-pack={}", Self::other_end("receive-pack", &url).to_string_lossy()));
        }
        let refspec = format!("{commit}:{}", spec.branch.full());
        let host = match &spec.to {
            Source::Remote(url) => url.host().to_owned(),
            _ => "the repository".to_owned(),
        };
        let output = git.arg("--end-of-options").arg(url).arg(refspec).run("pushing").await?;
        let said = output.text();
        let line = said.lines().find(|line| line.contains(&format!(":{}", spec.branch.full()))).unwrap_or_default();
        if output.code == Some(0) {
            return Ok(Pushed { commit: commit.clone(), nothing_new: line.starts_with('=') });
        }
        let words = format!("{line}\n{}", output.stderr);
        if ["non-fast-forward", "fetch first", "stale info", "failed to update ref", "cannot lock ref"]
            .iter()
            .any(|why| words.contains(why))
        {
            return Err(Error::NotFastForward { branch: spec.branch.to_string(), detail: line.replace('\t', " ") });
        }
        // The other end's own refusal: a protected branch, a checked-out one, a hook.
        if line.starts_with('!') {
            let remote: Vec<&str> =
                output.stderr.lines().filter_map(|line| line.strip_prefix("remote: ")).take(5).collect();
            let why = line.rsplit('\t').next().unwrap_or(line);
            return Err(Error::Refused(
                format!("{host} did not take branch {}: {why} {}", spec.branch, remote.join(" ")).trim().into(),
            ));
        }
        let remote = matches!(spec.to, Source::Remote(_)).then_some((host.as_str(), "write"));
        Err(crate::error::from_git("pushing", remote, &output.stderr))
    }
}
