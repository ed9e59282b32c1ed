//! Where things lie below the root, and who may be at them at a time.
//!
//! ```text
//! root/git.config home/        what git gets for a configuration and a home
//! root/cache/<hash>.git        a repository's home here: the remote's branches, and the local ones that work is merged into
//! root/tasks/<id>/work         the clone that the agent writes in; everything beside it is out of its reach
//! root/tasks/<id>/incoming.git what was carried out of the clone, byte by byte, not yet believed
//! root/tasks/<id>/results.git  what was believed: every answer is read from here
//! root/attic/                  bundles of what was removed without having been kept anywhere
//! ```

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::names::{Branch, Commit, Id};
use crate::{Owner, Source};

pub(crate) struct Places {
    pub root: PathBuf,
}

impl Places {
    pub(crate) fn new(root: PathBuf) -> io::Result<Self> {
        // The root and the way to a clone can be walked through, not listed: an agent of another uid reaches only its own.
        for dir in [root.clone(), root.join("tasks")] {
            fs::create_dir_all(&dir)?;
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
        }
        for dir in ["cache", "attic"] {
            private_dir(&root.join(dir))?;
        }
        Ok(Self { root })
    }

    pub(crate) fn task(&self, id: &Id) -> Task {
        Task { dir: self.root.join("tasks").join(id.as_str()) }
    }

    /// Half-made and half-removed tasks bear a name that no id can have.
    pub(crate) fn making(&self, id: &Id) -> Task {
        Task { dir: self.root.join("tasks").join(format!("{id}.making")) }
    }

    pub(crate) fn removing(&self, id: &Id) -> PathBuf {
        self.root.join("tasks").join(format!("{id}.removing"))
    }

    pub(crate) fn attic(&self) -> PathBuf {
        self.root.join("attic")
    }

    pub(crate) fn home(&self, source: &Source) -> PathBuf {
        self.root.join("cache").join(format!("{}.git", source_key(source)))
    }
}

/// One home per URL as given: a private repository fetched with one login is not shown to a board that has another URL.
pub(crate) fn source_key(source: &Source) -> String {
    let text = match source {
        Source::Remote(url) => format!("remote {}", url.as_given()),
        Source::Local(path) => format!("local {}", path.display()),
        Source::Kept(id) => format!("kept {id}"),
    };
    hex(&Sha256::digest(text.as_bytes())[..20])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

/// A workspace's own directory.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub dir: PathBuf,
}

impl Task {
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.dir.join("results.git")
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.dir.join("incoming.git")
    }

    pub(crate) fn seen(&self) -> PathBuf {
        self.dir.join("seen")
    }

    fn record(&self) -> PathBuf {
        self.dir.join("workspace.json")
    }

    pub(crate) fn read(&self) -> Result<Record, Error> {
        let text = match fs::read(self.record()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = self.dir.file_name().unwrap_or_default().to_string_lossy();
                return Err(Error::NotFound(format!("workspace {id}")));
            }
            Err(error) => return Err(Error::io("reading a workspace's record", &error)),
        };
        let failed = |detail: String| Error::Failed { what: "reading a workspace's record".into(), detail };
        let kept: Kept = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        let (base, branch) = (kept.base.parse(), kept.branch.parse());
        Ok(Record {
            base: base.map_err(|error: crate::Invalid| failed(error.to_string()))?,
            branch: branch.map_err(|error: crate::Invalid| failed(error.to_string()))?,
            home: kept.home,
            packs: kept.packs,
            converted: kept.converted,
        })
    }

    pub(crate) fn write(&self, record: &Record) -> io::Result<()> {
        let kept = Kept {
            base: record.base.to_string(),
            branch: record.branch.to_string(),
            home: record.home.clone(),
            packs: record.packs.clone(),
            converted: record.converted.clone(),
        };
        let file = fs::File::create(self.record())?;
        serde_json::to_writer(&file, &kept)?;
        file.sync_all()
    }
}

/// What is known of a workspace from the day it was made.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub base: Commit,
    pub branch: Branch,
    /// The key of its repository's home.
    pub home: String,
    /// Packs that were copied into the clone: what they hold, `results.git` has.
    pub packs: Vec<String>,
    /// Files that the checkout wrote differently from how they are kept (line endings, encodings): name of the content on
    /// disk to name of the content in the tree.
    pub converted: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    base: String,
    branch: String,
    home: String,
    packs: Vec<String>,
    converted: Vec<(String, String)>,
}

/// Nobody else's, whatever the umask.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        done => done?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Carries a repository's objects over to another repository of ours: by link where both stay ours, by copy where the
/// copy is given away (a link would give away the original with it). Returns the packs' names.
pub(crate) fn carry_objects(from: &Path, to: &Path, how: Carry) -> io::Result<Vec<String>> {
    let mut packs = Vec::new();
    for dir in fs::read_dir(from.join("objects"))? {
        let dir = dir?;
        let name = dir.file_name();
        let name = name.to_string_lossy();
        if !(name == "pack" || name.len() == 2) || !dir.file_type()?.is_dir() {
            continue;
        }
        let target = to.join("objects").join(name.as_ref());
        fs::create_dir_all(&target)?;
        for file in fs::read_dir(dir.path())? {
            let file = file?;
            let file_name = file.file_name();
            let text = file_name.to_string_lossy();
            if text.starts_with("tmp_") || text.ends_with(".lock") || !file.file_type()?.is_file() {
                continue;
            }
            if text.ends_with(".pack") {
                packs.push(text.clone().into_owned());
            }
            match how {
                Carry::Link => fs::hard_link(file.path(), target.join(&file_name))?,
                Carry::Copy => drop(fs::copy(file.path(), target.join(&file_name))?),
            }
        }
    }
    Ok(packs)
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Carry {
    Link,
    Copy,
}

/// A git that was killed leaves its lock files and half-written packs. Nobody else works in this repository while the
/// caller holds its lock, so what lies there is nobody's.
pub(crate) fn sweep(repo: &Path) {
    let locks = |dir: &Path| {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".lock") || name.starts_with("tmp_") || name.starts_with("tmp-") {
                let _ = fs::remove_file(entry.path());
            }
        }
    };
    locks(repo);
    locks(&repo.join("objects/pack"));
    let mut dirs = vec![repo.join("refs")];
    while let Some(dir) = dirs.pop() {
        locks(&dir);
        let below = fs::read_dir(&dir).into_iter().flatten().flatten();
        dirs.extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
}

/// Gives a tree that nobody else has seen yet to the agent's user.
pub(crate) fn hand_over(dir: &Path, owner: Owner) -> io::Result<()> {
    let here = fs::symlink_metadata(dir)?;
    if (here.uid(), here.gid()) == (owner.uid, owner.gid) {
        return Ok(());
    }
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            } else {
                std::os::unix::fs::lchown(entry.path(), Some(owner.uid), Some(owner.gid))?;
            }
        }
        std::os::unix::fs::lchown(&dir, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(())
}

/// One at a time for each name, within this process; the daemon locks its data directory against another.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    pub(crate) async fn hold(&self, name: String) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(name).or_default())
        };
        lock.lock_owned().await
    }
}
