//! Makes a workspace: the agent's clone, and beside it the repositories in which its results are read. All of it grows
//! under another name and is renamed once it is whole, so a daemon that dies half-way leaves nothing that looks finished.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::git::Input;
use crate::names::{Branch, Commit, Id, Signature};
use crate::places::{Carry, Record, Task, carry_objects, hand_over, private_dir};
use crate::{Access, Inner, Source, Workspaces, inside};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Spec {
    pub id: Id,
    pub source: Source,
    /// Where the work begins; `None` is the repository's default branch.
    pub base: Option<Branch>,
    /// The branch to work on: `task/<number>-<slug>`.
    pub branch: Branch,
    /// Who a commit of ours would be by, and as whom the agent commits.
    pub by: Signature,
    pub access: Access,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub path: PathBuf,
    pub base_commit: Commit,
    pub branch: Branch,
}

impl Workspaces {
    /// Safe to ask again: a workspace that is there is answered as it is, if it is of the same repository and branch.
    pub async fn create(&self, spec: Spec) -> Result<Created, Error> {
        let inner = &self.inner;
        let _held = inner.hold(&spec.id).await;
        let task = inner.places.task(&spec.id);
        match task.read() {
            Ok(record) if record.branch == spec.branch && record.home == crate::places::source_key(&spec.source) => {
                return Ok(Created { path: task.work(), base_commit: record.base, branch: record.branch });
            }
            Ok(record) => {
                return Err(Error::Refused(format!(
                    "there is a workspace already, on branch {} or of another repository; remove it first",
                    record.branch
                )));
            }
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let making = inner.places.making(&spec.id);
        let failed = |error: std::io::Error| Error::io("making the workspace", &error);
        inside::clear(&making.dir).map_err(failed)?;
        private_dir(&making.dir).map_err(failed)?;
        let base = inner.make(&making, &spec).await?;
        // What is beside the clone has modes of its own; the clone must be reachable for a user that is not the daemon's.
        fs::set_permissions(&making.dir, std::os::unix::fs::PermissionsExt::from_mode(0o711)).map_err(failed)?;
        fs::rename(&making.dir, &task.dir).map_err(failed)?;
        tracing::info!(
            workspace.id = %spec.id, "workspace {} made on branch {} at {}", spec.id, spec.branch, base.short()
        );
        Ok(Created { path: task.work(), base_commit: base, branch: spec.branch })
    }
}

impl Inner {
    async fn make(&self, task: &Task, spec: &Spec) -> Result<Commit, Error> {
        let home = self.home(&spec.source, &spec.access, &spec.by).await?;
        let base = self.base(&home, spec).await?;
        self.set_ref(&home.dir, &Self::pin(&spec.id), &base).await?;
        let show = self.gits.at(&home.dir).args(["rev-parse", "--show-object-format"]);
        let format = show.line("reading the object format").await?;
        let refs = self.refs(&home.dir).await?;

        self.init_bare(&task.results(), &format).await?;
        self.init_bare(&task.incoming(), &format).await?;
        fs::create_dir_all(task.incoming().join("objects/info"))
            .and_then(|()| fs::write(task.incoming().join("objects/info/alternates"), "../../results.git/objects\n"))
            .map_err(|error| Error::io("making the workspace", &error))?;
        self.init_work(task, spec, &format).await?;
        let (from, results, git_dir) = (home.dir.clone(), task.results(), task.work().join(".git"));
        let packs = crate::blocking("copying the repository", move || {
            let failed = |error: std::io::Error| Error::io("copying the repository", &error);
            carry_objects(&from, &results, Carry::Link).map_err(failed)?;
            carry_objects(&from, &git_dir, Carry::Copy).map_err(failed)
        })
        .await?;
        drop(home);

        let remotes = refs.iter().filter(|(name, _)| name.starts_with("refs/remotes/"));
        let remotes: Vec<(String, String)> = remotes.cloned().collect();
        let mut ours = remotes.clone();
        ours.push(("refs/base".into(), base.to_string()));
        self.set_refs(&task.results(), &task.results(), &ours).await?;
        let mut theirs: Vec<(String, String)> =
            refs.iter().filter(|(name, _)| name.starts_with("refs/tags/")).cloned().collect();
        if !matches!(spec.source, Source::Kept(_)) {
            theirs.extend(remotes);
        }
        self.check_out(task, spec, &base, &theirs).await?;

        let converted = self.converted(task, &base).await?;
        let home = crate::places::source_key(&spec.source);
        let record = Record { base: base.clone(), branch: spec.branch.clone(), home, packs, converted };
        let (work, owner) = (task.work(), self.config.owner);
        crate::blocking("handing the clone over", move || {
            private_dir(&work)
                .and_then(|()| hand_over(&work, owner))
                .map_err(|error| Error::io("handing the clone over", &error))
        })
        .await?;
        task.write(&record).map_err(|error| Error::io("writing the workspace's record", &error))?;
        Ok(base)
    }

    /// The agent's repository, with a configuration that holds no login and asks for no upkeep.
    async fn init_work(&self, task: &Task, spec: &Spec, format: &str) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::io("making the clone", &error);
        let (work, git_dir) = (task.work(), task.work().join(".git"));
        private_dir(&work).map_err(failed)?;
        let init = self.gits.call(&git_dir, &work).env("GIT_WORK_TREE", &work);
        let init = init.args(["init", "--quiet", "--template="]).arg(format!("--object-format={format}"));
        init.arg(format!("--initial-branch={}", spec.branch)).ok("making the clone").await?;
        fs::create_dir_all(git_dir.join("info")).map_err(failed)?;
        let mut settings = vec![
            ("gc.auto".to_owned(), "0".to_owned()),
            ("maintenance.auto".to_owned(), "false".to_owned()),
            ("user.name".to_owned(), spec.by.name.clone()),
            ("user.email".to_owned(), spec.by.email.clone()),
        ];
        let url = match &spec.source {
            Source::Remote(url) => Some(url.public()),
            Source::Local(path) => Some(path.display().to_string()),
            Source::Kept(_) => None,
        };
        if let Some(url) = url {
            settings.push(("remote.origin.url".into(), url));
            settings.push(("remote.origin.fetch".into(), "+refs/heads/*:refs/remotes/origin/*".into()));
        }
        for (key, value) in settings {
            let set = self.gits.call(&git_dir, &work).args(["config", "--local", "--", &key, &value]);
            set.ok("configuring the clone").await?;
        }
        // Writing GIT_WORK_TREE down would pin the clone to a path that it does not have in a container.
        let unset = self.gits.call(&git_dir, &work).args(["config", "--local", "--unset-all", "core.worktree"]);
        unset.run("configuring the clone").await?;
        Ok(())
    }

    /// The only time that git works in the clone: nobody but us has written in it yet, and filters exist only where a
    /// configuration defines them, which none of ours does.
    async fn check_out(&self, task: &Task, spec: &Spec, base: &Commit, refs: &[(String, String)]) -> Result<(), Error> {
        let (work, git_dir) = (task.work(), task.work().join(".git"));
        self.set_refs(&git_dir, &work, refs).await?;
        self.set_refs(&git_dir, &work, &[(spec.branch.full(), base.to_string())]).await?;
        let read = self.gits.call(&git_dir, &work).env("GIT_WORK_TREE", &work);
        let read = read.args(["read-tree", "--reset", "-u", "--no-recurse-submodules"]).arg(base.as_str());
        read.timeout(self.config.network_timeout).ok("checking the files out").await?;
        Ok(())
    }

    async fn refs(&self, repo: &Path) -> Result<Vec<(String, String)>, Error> {
        let list = self.gits.at(repo).args(["for-each-ref", "--format=%(objectname) %(refname) %(symref)"]);
        let text = list.args(["refs/remotes/origin", "refs/tags"]).ok("listing branches").await?.text();
        let split = |line: &str| {
            let mut words = line.split(' ');
            let (oid, name) = (words.next()?, words.next()?);
            // A symbolic ref would be written as a plain one.
            words.next().is_none_or(str::is_empty).then(|| (name.to_owned(), oid.to_owned()))
        };
        Ok(text.lines().filter_map(split).collect())
    }

    async fn set_refs(&self, git_dir: &Path, cwd: &Path, refs: &[(String, String)]) -> Result<(), Error> {
        if refs.is_empty() {
            return Ok(());
        }
        let lines: String = refs.iter().map(|(name, oid)| format!("update {name}\0{oid}\0\0")).collect();
        let update = self.gits.call(git_dir, cwd).args(["update-ref", "--stdin", "-z", "--no-deref"]);
        update.stdin(Input::Bytes(lines.into_bytes())).ok("writing branches").await?;
        Ok(())
    }
}
