//! Carries an agent's commits out of its clone: branches and objects are read by our own hands as files, believed by git
//! only in a repository of ours.
//!
//! Not `git fetch` from the clone: its `objects/info/alternates` would be followed into any repository that the daemon may
//! read, its configuration read, its pipes waited for. Here its configuration is never opened; the objects that were copied
//! are named anew and checked (`index-pack`, `fetch.fsckObjects`) on their way from `incoming.git` into `results.git`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::FileType;

use crate::error::Error;
use crate::git::Wire;
use crate::names::{Branch, Commit};
use crate::places::{Record, Task};
use crate::{Inner, Limits, blocking, inside};

/// What an agent's repository says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refs {
    pub head: Option<Commit>,
    pub on: Option<Branch>,
    pub heads: BTreeMap<Branch, Commit>,
    pub stash: Option<Commit>,
}

/// The last state that could be believed, and why it is not the present one, if so.
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    pub refs: Refs,
    pub unread: Option<String>,
}

impl Refs {
    /// As `refs/<area>/…`.
    fn named(&self, area: &str) -> BTreeMap<String, Commit> {
        let heads = self.heads.iter().map(|(branch, commit)| (format!("refs/{area}/heads/{branch}"), commit.clone()));
        let head = self.head.iter().map(|commit| (format!("refs/{area}/HEAD"), commit.clone()));
        let stash = self.stash.iter().map(|commit| (format!("refs/{area}/stash"), commit.clone()));
        heads.chain(head).chain(stash).collect()
    }
}

impl Inner {
    /// Never fails for what the agent did to its repository: then the last good state is answered, with the reason.
    pub(crate) async fn gather(&self, task: &Task, record: &Record) -> Result<Gathered, Error> {
        let results = task.results();
        let known = self.work_refs(&results).await?;
        let mut unread = None;
        for attempt in 0..2 {
            let (work, limits) = (task.work(), self.config.limits.clone());
            let refs = match blocking("reading the clone's branches", move || read_refs(&work, &limits)).await {
                Ok(refs) => refs,
                Err(Error::Refused(why)) => {
                    unread = Some(why);
                    break;
                }
                Err(error) => return Err(error),
            };
            if refs.named("heads/work") == known {
                return Ok(Gathered { refs, unread: None });
            }
            match self.carry(task, record, &refs).await {
                Ok(()) => {
                    self.keep_past(&results, &known, &refs).await?;
                    return Ok(Gathered { refs, unread: None });
                }
                Err(error @ (Error::DiskFull | Error::NoGit(_))) => return Err(error),
                // Objects may have been repacked under our hands: look again.
                Err(error) => {
                    tracing::debug!(
                        "carrying commits out of {} failed, attempt {attempt}: {error}",
                        task.dir.display()
                    );
                    unread = Some(error.to_string());
                }
            }
        }
        let mut refs = Refs { head: known.get("refs/heads/work/HEAD").cloned(), ..Refs::default() };
        refs.stash = known.get("refs/heads/work/stash").cloned();
        for (name, commit) in &known {
            if let Some(branch) = name.strip_prefix("refs/heads/work/heads/").and_then(|name| name.parse().ok()) {
                refs.heads.insert(branch, commit.clone());
            }
        }
        Ok(Gathered { refs, unread })
    }

    async fn work_refs(&self, results: &Path) -> Result<BTreeMap<String, Commit>, Error> {
        let list = self.gits.at(results).args(["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/work"]);
        let text = list.ok("listing the work's branches").await?.text();
        let split =
            |line: &str| line.split_once(' ').and_then(|(oid, name)| Some((name.to_owned(), oid.parse().ok()?)));
        Ok(text.lines().filter_map(split).collect())
    }

    async fn carry(&self, task: &Task, record: &Record, refs: &Refs) -> Result<(), Error> {
        crate::places::sweep(&task.results());
        crate::places::sweep(&task.incoming());
        let (from, to, record, limits) = (task.work(), task.incoming(), record.clone(), self.config.limits.clone());
        let packs =
            blocking("carrying commits out of the clone", move || copy_objects(&from, &to, &record, &limits)).await?;
        let incoming = task.incoming();
        for pack in packs {
            // The index that lay beside it is the agent's; this one is made from what the pack really holds.
            let (pack, done) =
                (incoming.join(&pack), incoming.join("objects/pack").join(pack.trim_start_matches("in-")));
            let index = self
                .gits
                .at(&incoming)
                .config("pack.writeReverseIndex", "false")
                .args(["index-pack", "-o"])
                .arg(done.with_extension("idx"))
                .arg(&pack);
            index.timeout(self.config.network_timeout).ok("checking a pack").await?;
            fs::rename(&pack, &done).map_err(|error| Error::io("keeping a pack", &error))?;
        }
        let mut lines = String::new();
        for (name, oid) in refs.named("in") {
            lines.push_str(&format!("{oid} {name}\n"));
        }
        fs::write(incoming.join("packed-refs"), lines).map_err(|error| Error::io("noting branches", &error))?;
        // Below refs/heads, because git lets only commits in there: a HEAD that names a blob is refused, not believed.
        let fetch = self.gits.at(&task.results()).wire(Wire::Disk).timeout(self.config.network_timeout);
        let fetch = fetch.args(["fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--atomic"]);
        let fetch = fetch.args(["--no-recurse-submodules", "--no-auto-maintenance", "--end-of-options"]);
        fetch.arg(&incoming).arg("+refs/in/*:refs/heads/work/*").ok("reading the clone's commits").await?;
        Ok(())
    }

    /// A branch that was rewound or deleted leaves what it held under `refs/past`: an agent cannot make its work unhappen.
    async fn keep_past(&self, results: &Path, known: &BTreeMap<String, Commit>, refs: &Refs) -> Result<(), Error> {
        let now = refs.named("heads/work");
        for (name, old) in known.iter().filter(|(name, old)| now.get(*name) != Some(old)).take(50) {
            let count = self.gits.at(results).args(["rev-list", "--count", "--max-count=1", old.as_str(), "--not"]);
            let count = count.args(["--glob=refs/heads/work", "--glob=refs/past", "--glob=refs/remotes", "refs/base"]);
            if count.line("looking for rewound work").await? == "1" {
                tracing::debug!("{name} was rewound from {old}; it stays under refs/past");
                self.set_ref(results, &format!("refs/past/{old}"), old).await?;
            }
        }
        Ok(())
    }
}

fn unlike(why: &str) -> Error {
    Error::Refused(format!("the clone's repository cannot be read: {why}"))
}

/// Opens `.git`, which must be a directory: a file or link in its place points somewhere else.
fn open_git(work: &Path) -> Result<OwnedFd, Error> {
    let top = inside::open_top(work).map_err(|error| Error::io("opening the clone", &error))?;
    let found = inside::stat(top.as_fd(), b".git").map_err(|_| unlike("its .git is gone"))?;
    if inside::kind(&found) != FileType::Directory {
        return Err(unlike("its .git is no directory any more"));
    }
    let git = inside::open_dir(top.as_fd(), b".git").map_err(|_| unlike("its .git cannot be opened"))?;
    // `commondir` says that the branches and objects are elsewhere; shallow clones lack the history that makes sense of them.
    for (name, why) in [(&b"commondir"[..], "its .git has a commondir"), (b"shallow", "it was made shallow")] {
        if inside::stat(git.as_fd(), name).is_ok() {
            return Err(unlike(why));
        }
    }
    Ok(git)
}

fn read_refs(work: &Path, limits: &Limits) -> Result<Refs, Error> {
    let git = open_git(work)?;
    let failed = |_: io::Error| unlike("a file of its branches cannot be read");
    let mut found: HashMap<String, Commit> = HashMap::new();
    if let Some(packed) = inside::read_small(git.as_fd(), b"packed-refs", 16 << 20).map_err(failed)? {
        for line in String::from_utf8_lossy(&packed).lines() {
            let Some((oid, name)) = line.split_once(' ') else { continue };
            let ours = name.strip_prefix("refs/heads/").is_some_and(|name| name.parse::<Branch>().is_ok());
            if (ours || name == "refs/stash")
                && let Ok(commit) = oid.parse()
            {
                found.insert(name.to_owned(), commit);
            }
        }
    }
    if let Some(refs) = inside::absent_is_none(inside::open_dir(git.as_fd(), b"refs")).map_err(failed)? {
        if let Some(commit) = loose_ref(refs.as_fd(), b"stash") {
            found.insert("refs/stash".into(), commit);
        }
        if let Some(heads) = inside::absent_is_none(inside::open_dir(refs.as_fd(), b"heads")).map_err(failed)? {
            loose_refs(heads.as_fd(), "", 0, limits.refs, &mut found);
        }
    }
    if found.len() > limits.refs {
        return Err(unlike(&format!("it has more than {} branches", limits.refs)));
    }
    let head =
        inside::read_small(git.as_fd(), b"HEAD", 4_096).map_err(failed)?.ok_or_else(|| unlike("it has no HEAD"))?;
    let head = String::from_utf8_lossy(&head).trim().to_owned();
    let mut refs = Refs { stash: found.remove("refs/stash"), ..Refs::default() };
    for (name, commit) in found {
        if let Some(branch) = name.strip_prefix("refs/heads/").and_then(|name| name.parse().ok()) {
            refs.heads.insert(branch, commit);
        }
    }
    if let Some(name) = head.strip_prefix("ref:") {
        let branch = name.trim().strip_prefix("refs/heads/").and_then(|name| name.parse::<Branch>().ok());
        let branch = branch.ok_or_else(|| unlike("its HEAD names no branch"))?;
        refs.head = refs.heads.get(&branch).cloned();
        refs.on = Some(branch);
    } else {
        refs.head = Some(head.parse().map_err(|_| unlike("its HEAD is neither a branch nor a commit"))?);
    }
    if refs.head.is_none() {
        return Err(unlike("its HEAD is on a branch without a commit"));
    }
    Ok(refs)
}

fn loose_ref(dir: BorrowedFd<'_>, name: &[u8]) -> Option<Commit> {
    let text = inside::read_small(dir, name, 4_096).ok()??;
    String::from_utf8_lossy(&text).trim().parse().ok()
}

fn loose_refs(dir: BorrowedFd<'_>, prefix: &str, depth: usize, most: usize, found: &mut HashMap<String, Commit>) {
    let Ok((names, _)) = inside::names(dir, most) else { return };
    for name in names {
        if found.len() > most || depth > 16 {
            return;
        }
        let Ok(text) = std::str::from_utf8(&name) else { continue };
        let branch = format!("{prefix}{text}");
        if branch.parse::<Branch>().is_err() {
            continue;
        }
        match inside::stat(dir, &name).map(|stat| inside::kind(&stat)) {
            Ok(FileType::Directory) => {
                if let Ok(below) = inside::open_dir(dir, &name) {
                    loose_refs(below.as_fd(), &format!("{branch}/"), depth + 1, most, found);
                }
            }
            Ok(FileType::RegularFile) => {
                if let Some(commit) = loose_ref(dir, &name) {
                    found.insert(format!("refs/heads/{branch}"), commit);
                }
            }
            _ => {}
        }
    }
}

/// Copies what `incoming` does not have yet. Returns the packs that came, each as `in-<name>` in `incoming`, not yet indexed.
fn copy_objects(work: &Path, incoming: &Path, record: &Record, limits: &Limits) -> Result<Vec<String>, Error> {
    let git = open_git(work)?;
    let failed = |error: io::Error| Error::io("carrying commits out of the clone", &error);
    let objects = inside::open_dir(git.as_fd(), b"objects").map_err(|_| unlike("its objects are no directory"))?;
    let (names, _) = inside::names(objects.as_fd(), 4_096).map_err(failed)?;
    let mut copy = Copy { limits, bytes: 0, count: 0 };
    let is_hex = |name: &[u8]| name.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    for name in names.iter().filter(|name| name.len() == 2 && is_hex(name)) {
        let Ok(dir) = inside::open_dir(objects.as_fd(), name) else { continue };
        let fan = incoming.join("objects").join(String::from_utf8_lossy(name).as_ref());
        let (files, _) = inside::names(dir.as_fd(), limits.objects).map_err(failed)?;
        for file in files.iter().filter(|file| matches!(file.len(), 38 | 62) && is_hex(file)) {
            let target = fan.join(String::from_utf8_lossy(file).as_ref());
            if !target.exists() {
                fs::create_dir_all(&fan).map_err(failed)?;
                copy.file(dir.as_fd(), file, &target)?;
            }
        }
    }
    // Packs after loose objects: what was packed meanwhile is found here.
    let mut packs = Vec::new();
    if let Ok(dir) = inside::open_dir(objects.as_fd(), b"pack") {
        let (files, _) = inside::names(dir.as_fd(), 10_000).map_err(failed)?;
        for file in files {
            let Ok(name) = String::from_utf8(file.clone()) else { continue };
            let Some(stem) = name.strip_prefix("pack-").and_then(|name| name.strip_suffix(".pack")) else { continue };
            let known = record.packs.contains(&name) || incoming.join("objects/pack").join(&name).exists();
            if known || !matches!(stem.len(), 40 | 64) || !is_hex(stem.as_bytes()) {
                continue;
            }
            let target = format!("in-{name}");
            if copy.file(dir.as_fd(), &file, &incoming.join(&target))? {
                packs.push(target);
            }
        }
    }
    Ok(packs)
}

struct Copy<'a> {
    limits: &'a Limits,
    bytes: u64,
    count: usize,
}

impl Copy<'_> {
    /// `false`: it is no plain file, or is not there any more.
    fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], target: &Path) -> Result<bool, Error> {
        let failed = |error: io::Error| Error::io("carrying commits out of the clone", &error);
        let large = |what: &str, limit: u64, unit: &'static str| Error::TooLarge {
            what: what.into(),
            limit,
            unit,
            advice: "the commits that hold it cannot be carried out of the clone",
        };
        let opened = inside::absent_is_none(inside::open_file(dir, name)).map_err(failed)?.flatten();
        let Some((file, stat)) = opened else { return Ok(false) };
        self.count += 1;
        if self.count > self.limits.objects {
            return Err(large("the number of new objects", self.limits.objects as u64, "files"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > self.limits.object {
            return Err(large("an object", self.limits.object >> 20, "MiB"));
        }
        if self.bytes.saturating_add(size) > self.limits.objects_total {
            return Err(large("what is new", self.limits.objects_total >> 20, "MiB"));
        }
        let part = target.with_extension("lock");
        let mut out = fs::File::create(&part).map_err(failed)?;
        // Not one byte more than was looked at, however it grows.
        self.bytes += io::copy(&mut file.take(size), &mut out).map_err(failed)?;
        fs::rename(&part, target).map_err(failed)?;
        Ok(true)
    }
}
