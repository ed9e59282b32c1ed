//! A repository's home on this machine: a bare mirror that makes the second clone quick, and the place of the local
//! branches that finished work is merged into.
//!
//! `refs/remotes/origin/*` follow the remote, `refs/heads/*` are local merges, `refs/tasks/*` hold what workspaces stand on.
//! Nothing is pruned here while any of them may need it.

use std::path::{Path, PathBuf};

use crate::create::Spec;
use crate::error::Error;
use crate::git::{Git, Input, Wire, quoted};
use crate::names::{Branch, Commit, Id, Signature};
use crate::{Access, Inner, Source, inside, places};

/// A home under its lock.
pub(crate) struct Home {
    pub dir: PathBuf,
    _held: tokio::sync::OwnedMutexGuard<()>,
}

impl Inner {
    /// The home of a workspace that exists.
    pub(crate) async fn home_of(&self, key: &str) -> Result<Home, Error> {
        let held = self.hold_home(key).await;
        let dir = self.places.root.join("cache").join(format!("{key}.git"));
        if !dir.is_dir() {
            return Err(Error::NotFound("repository of this workspace any more: its cache was removed".into()));
        }
        places::sweep(&dir);
        Ok(Home { dir, _held: held })
    }

    /// The home of `source`, made if need be and brought up to what the remote has now. The remote is always asked, with
    /// the caller's login: the mirror is no way around a login that is missing.
    pub(crate) async fn home(&self, source: &Source, access: &Access, by: &Signature) -> Result<Home, Error> {
        let key = places::source_key(source);
        let held = self.hold_home(&key).await;
        let dir = self.places.home(source);
        if dir.is_dir() {
            places::sweep(&dir);
            self.fetch(&dir, source, access).await?;
        } else {
            let making = dir.with_extension("git.making");
            inside::clear(&making).map_err(|error| Error::io("clearing a half-made mirror", &error))?;
            let (format, default) = self.ask(source, access).await?;
            self.init_bare(&making, &format).await?;
            self.fetch(&making, source, access).await?;
            if let Source::Kept(_) = source {
                let first = self.empty_commit(&making, by, "Empty repository").await?;
                self.set_ref(&making, "refs/heads/main", &first).await?;
            }
            if let Some(branch) = default {
                let head = ["symbolic-ref", "refs/remotes/origin/HEAD"];
                let to = format!("refs/remotes/origin/{branch}");
                self.gits.at(&making).args(head).arg(to).ok("noting the default branch").await?;
            }
            std::fs::rename(&making, &dir).map_err(|error| Error::io("making a mirror", &error))?;
        }
        Ok(Home { dir, _held: held })
    }

    /// Turns a call to the remote; the login lives as long as what is returned with it.
    pub(crate) async fn turned(
        &self,
        git: Git,
        source: &Source,
        access: &Access,
        act: &'static str,
    ) -> Result<(Git, Option<crate::access::Login>, String), Error> {
        match source {
            Source::Remote(url) => {
                let address = self.config.hosts.judge(url, std::time::Duration::from_secs(20)).await?;
                let (git, login) = access.turn(git, url, address, &self.places.root, &self.config)?;
                Ok((git.remote(url.host(), act), Some(login), url.as_given().to_owned()))
            }
            Source::Local(path) => {
                let path = self.local(path)?;
                let text =
                    path.to_str().ok_or_else(|| Error::Refused("a local repository's path must be UTF-8".into()))?;
                Ok((git.wire(Wire::Disk).timeout(self.config.network_timeout), None, text.to_owned()))
            }
            Source::Kept(_) => {
                Err(Error::Refused("this board has no remote repository; give it one to push to".into()))
            }
        }
    }

    /// A local repository that the configuration allows, with every link on the way resolved.
    fn local(&self, path: &Path) -> Result<PathBuf, Error> {
        let refused = || {
            Error::Refused(format!(
                "{} is not below a directory from which local repositories may be taken; an administrator can allow it",
                path.display()
            ))
        };
        if !path.is_absolute() || self.config.local.is_empty() {
            return Err(refused());
        }
        let real = path.canonicalize().map_err(|_| Error::NotFound(format!("repository at {}", path.display())))?;
        let below = self.config.local.iter().filter_map(|allowed| allowed.canonicalize().ok());
        let ours = self.places.root.canonicalize().is_ok_and(|root| real.starts_with(root));
        if ours || !below.into_iter().any(|allowed| real.starts_with(allowed)) {
            return Err(refused());
        }
        Ok(real)
    }

    /// What git runs at the other end on this disk. It does not inherit what stands on our command line, so it is told
    /// again; and it may be another user's repository, which is named exactly.
    pub(crate) fn other_end(program: &str, repo: &str) -> std::ffi::OsString {
        let mut line = std::ffi::OsString::from("git -c core.hooksPath=/dev/null -c core.fsmonitor=false");
        for dir in [repo.to_owned(), format!("{}/.git", repo.trim_end_matches('/'))] {
            line.push(" -c safe.directory=");
            line.push(quoted(Path::new(&dir)));
        }
        line.push(" ");
        line.push(program);
        line
    }

    /// The remote's object format and default branch.
    async fn ask(&self, source: &Source, access: &Access) -> Result<(String, Option<Branch>), Error> {
        if matches!(source, Source::Kept(_)) {
            return Ok(("sha1".into(), None));
        }
        let root = &self.places.root;
        let git = self.gits.call(&root.join("home"), &root.join("home"));
        let (git, _login, url) = self.turned(git, source, access, "read").await?;
        let mut git = git.args(["ls-remote", "--symref"]);
        if let Source::Local(_) = source {
            git = git.arg("--upload-pack").arg(Self::other_end("upload-pack", &url));
        }
        // The list may be long and is not needed in full.
        let output = git.cap(4 << 20).arg("--").arg(&url).ok("asking the remote for its branches").await?;
        let (mut format, mut default) = ("sha1", None);
        for line in output.text().lines() {
            let Some((left, right)) = line.split_once('\t') else { continue };
            if let Some(head) = left.strip_prefix("ref: refs/heads/").filter(|_| right == "HEAD") {
                default = head.parse().ok();
            } else if left.len() == 64 {
                format = "sha256";
            }
        }
        Ok((format.to_owned(), default))
    }

    pub(crate) async fn init_bare(&self, dir: &Path, format: &str) -> Result<(), Error> {
        places::private_dir(dir).map_err(|error| Error::io("making a repository", &error))?;
        let init = ["init", "--quiet", "--bare", "--template=", "--initial-branch=main"];
        self.gits.at(dir).args(init).arg(format!("--object-format={format}")).ok("making a repository").await?;
        Ok(())
    }

    async fn fetch(&self, dir: &Path, source: &Source, access: &Access) -> Result<(), Error> {
        if matches!(source, Source::Kept(_)) {
            return Ok(());
        }
        let (git, _login, url) = self.turned(self.gits.at(dir), source, access, "read").await?;
        let mut git = git.args(["fetch", "--quiet", "--prune", "--no-tags", "--no-recurse-submodules"]);
        git = git.args(["--no-write-fetch-head", "--no-auto-maintenance", "--no-show-forced-updates"]);
        if let Source::Local(_) = source {
            git = git.arg("--upload-pack").arg(Self::other_end("upload-pack", &url));
        }
        let refs = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        git.arg("--end-of-options").arg(url).args(refs).ok("fetching the repository").await?;
        Ok(())
    }

    pub(crate) async fn empty_commit(&self, repo: &Path, by: &Signature, message: &str) -> Result<Commit, Error> {
        let hash =
            self.gits.at(repo).args(["hash-object", "-t", "tree", "-w", "--stdin"]).stdin(Input::Bytes(Vec::new()));
        let tree = hash.line("making an empty tree").await?;
        self.commit(repo, &tree, &[], by, message).await
    }

    pub(crate) async fn commit(
        &self,
        repo: &Path,
        tree: &str,
        parents: &[&Commit],
        by: &Signature,
        message: &str,
    ) -> Result<Commit, Error> {
        let mut git = signed(self.gits.at(repo), by).args(["commit-tree", "--no-gpg-sign", "-F", "-"]);
        for parent in parents {
            git = git.arg("-p").arg(parent.as_str());
        }
        // NUL would end the message early.
        let message = message.replace('\0', " ");
        Ok(git.arg(tree).stdin(Input::Bytes(message.into_bytes())).line("making a commit").await?.parse()?)
    }

    pub(crate) async fn set_ref(&self, repo: &Path, name: &str, to: &Commit) -> Result<(), Error> {
        self.gits.at(repo).args(["update-ref", "--no-deref", name, to.as_str()]).ok("noting a branch").await?;
        Ok(())
    }

    /// What `name` stands on, if there is such a ref.
    pub(crate) async fn find_ref(&self, repo: &Path, name: &str) -> Result<Option<Commit>, Error> {
        let ask = self.gits.at(repo).args(["rev-parse", "--quiet", "--verify", "--end-of-options"]);
        let output = ask.arg(format!("{name}^{{commit}}")).run("looking up a branch").await?;
        Ok(output.text().lines().next().and_then(|line| line.parse().ok()))
    }

    pub(crate) async fn is_ancestor(&self, repo: &Path, old: &Commit, new: &Commit) -> Result<bool, Error> {
        let ask = self.gits.at(repo).args(["merge-base", "--is-ancestor", old.as_str(), new.as_str()]);
        Ok(ask.run("comparing two commits").await?.code == Some(0))
    }

    /// Where new work begins: the local branch if it holds everything of the remote's, else the remote's. An empty remote
    /// begins with an empty commit.
    pub(crate) async fn base(&self, home: &Home, spec: &Spec) -> Result<Commit, Error> {
        let default = match &spec.base {
            Some(branch) => branch.clone(),
            None => self.default_branch(&home.dir).await?,
        };
        let local = self.find_ref(&home.dir, &default.full()).await?;
        let remote = self.find_ref(&home.dir, &format!("refs/remotes/origin/{default}")).await?;
        match (local, remote) {
            (Some(local), Some(remote)) if self.is_ancestor(&home.dir, &remote, &local).await? => Ok(local),
            (_, Some(remote)) => Ok(remote),
            (Some(local), None) => Ok(local),
            (None, None) => {
                let have = self.branches(&home.dir).await?;
                if have.is_empty() && spec.base.as_ref().is_none_or(|base| base.as_str() == "main") {
                    return self.empty_commit(&home.dir, &spec.by, "Empty repository").await;
                }
                Err(no_such_branch(&default, &spec.source, &have))
            }
        }
    }

    async fn default_branch(&self, home: &Path) -> Result<Branch, Error> {
        let ask = self.gits.at(home).args(["symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"]);
        let output = ask.run("looking up the default branch").await?;
        let named = output.text().trim().strip_prefix("refs/remotes/origin/").and_then(|name| name.parse().ok());
        if let Some(branch) = named {
            return Ok(branch);
        }
        let have = self.branches(home).await?;
        let usual = ["main", "master", "trunk"].iter().find(|name| have.iter().any(|have| have == *name));
        let name = usual.map_or_else(|| have.first().cloned(), |name| Some((*name).to_owned()));
        Ok(name.unwrap_or_else(|| "main".into()).parse()?)
    }

    /// Names of the branches that work can begin on.
    pub(crate) async fn branches(&self, home: &Path) -> Result<Vec<String>, Error> {
        let list =
            self.gits.at(home).args(["for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes/origin"]);
        let text = list.ok("listing branches").await?.text();
        let strip = |line: &str| {
            line.strip_prefix("refs/heads/").or_else(|| line.strip_prefix("refs/remotes/origin/")).map(str::to_owned)
        };
        let mut names: Vec<String> = text.lines().filter_map(strip).filter(|name| name != "HEAD").collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub(crate) fn pin(id: &Id) -> String {
        format!("refs/tasks/{id}")
    }
}

pub(crate) fn no_such_branch(branch: &Branch, source: &Source, have: &[String]) -> Error {
    let repository = match source {
        Source::Remote(url) => url.public(),
        Source::Local(path) => path.display().to_string(),
        Source::Kept(_) => "the board's own repository".into(),
    };
    let shown: Vec<&str> = have.iter().map(String::as_str).take(10).collect();
    let have = match (have.len(), shown.len()) {
        (0, _) => "it has none yet".to_owned(),
        (all, some) if all > some => format!("it has {}, and {} more", shown.join(", "), all - some),
        _ => format!("it has {}", shown.join(", ")),
    };
    Error::NoSuchBranch { branch: branch.to_string(), repository, have }
}

pub(crate) fn signed(git: Git, by: &Signature) -> Git {
    let date = format!("@{} +0000", by.seconds);
    let mut git = git;
    for who in ["AUTHOR", "COMMITTER"] {
        git = git
            .env(&format!("GIT_{who}_NAME"), &by.name)
            .env(&format!("GIT_{who}_EMAIL"), &by.email)
            .env(&format!("GIT_{who}_DATE"), &date);
    }
    git
}
