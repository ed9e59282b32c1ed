//! Goes through the agent's files while the agent may be changing them, and says what differs from a tree.
//!
//! Every step is from an open directory to one name in it ([`crate::inside`]), so a link exchanged for a directory at the
//! right moment leads nowhere. No attribute, filter or configuration of the tree has a say; `.gitignore` does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{FileType, Stat};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::names::{RelPath, is_dot_git};
use crate::{Limits, inside, places};

/// Something in the tree that was seen and not read. If it is in the commit, it counts as unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub path: RelPath,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its size in bytes.
    TooLarge(u64),
    /// A pipe, a socket, a device.
    NotAFile,
    /// Its permissions keep us out, or it vanished while being read.
    Unreadable,
    TooDeep,
    /// A hard link to a file of another user.
    Foreign,
    /// Some file system would take its name for `.git`.
    Name,
}

/// A tree as git lists it: path to mode and name of content.
pub(crate) type Tree = BTreeMap<Vec<u8>, (u32, String)>;

/// What a file was when it was last read, by everything that the kernel changes when the content changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(String);

pub(crate) type Seen = HashMap<Vec<u8>, (Stamp, String)>;

pub(crate) enum Change {
    /// `Known` content is in our repository already.
    File {
        path: Vec<u8>,
        mode: u32,
        content: Content,
    },
    Gone {
        path: Vec<u8>,
    },
}

pub(crate) enum Content {
    Bytes(Vec<u8>),
    Known(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    pub(crate) fn of(oid: &str) -> Self {
        if oid.len() == 64 { Self::Sha256 } else { Self::Sha1 }
    }

    pub(crate) fn blob(self, content: &[u8]) -> String {
        let head = format!("blob {}\0", content.len());
        match self {
            Self::Sha1 => places::hex(&Sha1::new().chain_update(head).chain_update(content).finalize()),
            Self::Sha256 => places::hex(&Sha256::new().chain_update(head).chain_update(content).finalize()),
        }
    }

    /// Without holding the content. `None` if it is not as long as it was said to be.
    fn blob_of(self, file: File, size: u64) -> io::Result<Option<String>> {
        fn feed<D: Digest>(mut file: impl Read, size: u64) -> io::Result<Option<String>> {
            let mut digest = D::new().chain_update(format!("blob {size}\0"));
            let (mut piece, mut all) = (vec![0; 128 << 10], 0u64);
            loop {
                let read = file.read(&mut piece)?;
                if read == 0 {
                    return Ok((all == size).then(|| places::hex(&digest.finalize())));
                }
                all += read as u64;
                digest.update(&piece[..read]);
            }
        }
        match self {
            Self::Sha1 => feed::<Sha1>(file.take(size + 1), size),
            Self::Sha256 => feed::<Sha256>(file.take(size + 1), size),
        }
    }
}

pub(crate) struct Walk<'a> {
    pub limits: &'a Limits,
    pub format: Format,
    /// What is still to be found; at the end, what is gone.
    pub tree: Tree,
    pub seen: Seen,
    /// Stamps younger than this, in seconds of the file system's clock, prove nothing: a second write could bear the same.
    pub young: i64,
    /// Content on disk to content in the tree, where the checkout converted; `None` to take everything as it lies there.
    pub converted: Option<HashMap<String, String>>,
    /// Takes a change; `false` ends the walk.
    pub take: &'a mut dyn FnMut(Change) -> bool,
}

#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub seen: Vec<(Vec<u8>, Stamp, String)>,
    pub changes: usize,
    pub skipped: Vec<Skipped>,
    /// A bound was met: what was not reached counts as unchanged.
    pub cut: bool,
}

struct Level {
    prefix: usize,
    rules: Gitignore,
}

struct Going<'a> {
    walk: Walk<'a>,
    done: Walked,
    converted_to: HashSet<String>,
    entries: usize,
    bytes: u64,
    until: Instant,
    owner: u32,
    stopped: bool,
}

const LINK: u32 = 0o120_000;
const MODULE: u32 = 0o160_000;
const MOST_SKIPPED: usize = 1_000;
const IGNORE_FILE: u64 = 256 << 10;

impl Walk<'_> {
    pub(crate) fn go(self, top: &Path) -> io::Result<Walked> {
        let dir = inside::open_top(top)?;
        let owner = rustix::fs::fstat(&dir)?.st_uid;
        let converted_to = self.converted.iter().flat_map(HashMap::values).cloned().collect();
        let until = Instant::now() + self.limits.walk;
        let (entries, bytes) = (self.limits.entries, self.limits.files_total);
        let done = Walked::default();
        let mut going = Going { walk: self, done, converted_to, entries, bytes, until, owner, stopped: false };
        going.dir(dir.as_fd(), &mut Vec::new(), &mut Vec::new(), false, 0)?;
        going.gone();
        Ok(going.done)
    }
}

impl Going<'_> {
    fn dir(
        &mut self,
        dir: BorrowedFd<'_>,
        path: &mut Vec<u8>,
        levels: &mut Vec<Level>,
        ignored: bool,
        depth: usize,
    ) -> io::Result<()> {
        let (names, more) = inside::names(dir, self.entries)?;
        self.done.cut |= more;
        let rules = if ignored { None } else { self.rules(dir, path, &names) };
        let pushed = rules.is_some();
        levels.extend(rules);
        let stem = path.len();
        for name in names {
            if self.stopped || self.entries == 0 || Instant::now() > self.until {
                self.done.cut = true;
                break;
            }
            self.entries -= 1;
            path.truncate(stem);
            if stem > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if is_dot_git(&name) {
                // The clone's own, and that of a repository which the agent made inside: its files are shown, it is not.
                if name != b".git" {
                    self.skip(path, Why::Name);
                }
                continue;
            }
            self.entry(dir, &name, path, levels, ignored, depth);
        }
        path.truncate(stem);
        if pushed {
            levels.pop();
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &mut Vec<u8>,
        levels: &mut Vec<Level>,
        ignored: bool,
        depth: usize,
    ) {
        let Ok(stat) = inside::stat(dir, name) else { return };
        let kind = inside::kind(&stat);
        let ignored = ignored || is_ignored(levels, path, kind == FileType::Directory);
        match kind {
            FileType::Directory => {
                if self.walk.tree.get(path.as_slice()).is_some_and(|(mode, _)| *mode == MODULE) {
                    self.walk.tree.remove(path.as_slice());
                    return;
                }
                if ignored && !self.holds_tracked(path) {
                    return;
                }
                if depth + 1 >= self.walk.limits.depth || path.len() > 4_000 {
                    self.skip(path, Why::TooDeep);
                    return;
                }
                let below = inside::open_dir(dir, name);
                let gone = below.and_then(|below| self.dir(below.as_fd(), path, levels, ignored, depth + 1));
                if gone.is_err() {
                    self.skip(path, Why::Unreadable);
                }
            }
            FileType::RegularFile => {
                if ignored && !self.walk.tree.contains_key(path.as_slice()) {
                    return;
                }
                match self.file(dir, name, path) {
                    Ok(None) => {}
                    Ok(Some(why)) => self.skip(path, why),
                    Err(_) => self.skip(path, Why::Unreadable),
                }
            }
            FileType::Symlink => {
                let tracked = self.walk.tree.remove(path.as_slice());
                if ignored && tracked.is_none() {
                    return;
                }
                let Ok(target) = inside::read_link(dir, name) else {
                    return self.skip(path, Why::Unreadable);
                };
                let target = target.into_bytes();
                let oid = self.walk.format.blob(&target);
                if tracked != Some((LINK, oid)) {
                    self.change(Change::File { path: path.clone(), mode: LINK, content: Content::Bytes(target) });
                }
            }
            _ => {
                if !ignored || self.walk.tree.contains_key(path.as_slice()) {
                    self.skip(path, Why::NotAFile);
                }
            }
        }
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> io::Result<Option<Why>> {
        let Some((file, stat)) = inside::open_file(dir, name)? else { return Ok(Some(Why::NotAFile)) };
        if stat.st_nlink > 1 && stat.st_uid != self.owner {
            return Ok(Some(Why::Foreign));
        }
        let mode = if stat.st_mode & 0o100 == 0 { 0o100_644 } else { 0o100_755 };
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let tracked = self.walk.tree.get(path).cloned().filter(|(mode, _)| *mode != LINK && *mode != MODULE);
        let stamp = stamp(&stat);
        let (oid, content) = match self.walk.seen.get(path) {
            Some((known, oid)) if *known == stamp => (oid.clone(), None),
            _ if size > self.walk.limits.file => {
                // Not to be held, but whether a large file was touched can be told.
                let Some((_, oid)) = tracked.as_ref().filter(|_| size <= self.walk.limits.file.saturating_mul(32))
                else {
                    return Ok(Some(Why::TooLarge(size)));
                };
                match self.walk.format.blob_of(file, size)? {
                    Some(now) if now == *oid => (now, None),
                    _ => return Ok(Some(Why::TooLarge(size))),
                }
            }
            _ => {
                let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
                file.take(self.walk.limits.file + 1).read_to_end(&mut content)?;
                if content.len() as u64 > self.walk.limits.file {
                    return Ok(Some(Why::TooLarge(content.len() as u64)));
                }
                self.as_kept(content, tracked.as_ref().map(|(_, oid)| oid.as_str()))
            }
        };
        let same = tracked.as_ref().is_some_and(|(was, is)| *is == oid && (*was == 0o100_755) == (mode == 0o100_755));
        if !same {
            let content = match content {
                Some(bytes) if tracked.as_ref().is_none_or(|(_, is)| *is != oid) => {
                    let Some(left) = self.bytes.checked_sub(bytes.len() as u64) else {
                        self.done.cut = true;
                        return Ok(Some(Why::TooLarge(size)));
                    };
                    self.bytes = left;
                    Content::Bytes(bytes)
                }
                _ => Content::Known(oid.clone()),
            };
            self.change(Change::File { path: path.to_vec(), mode, content });
        }
        self.walk.tree.remove(path);
        if stat_seconds(&stat) < self.walk.young {
            self.done.seen.push((path.to_vec(), stamp, oid));
        }
        Ok(None)
    }

    /// The content as the tree would keep it, and its name: line endings that only the checkout made are undone.
    fn as_kept(&self, content: Vec<u8>, tracked: Option<&str>) -> (String, Option<Vec<u8>>) {
        let oid = self.walk.format.blob(&content);
        let Some(converted) = &self.walk.converted else { return (oid, Some(content)) };
        if let Some(kept) = converted.get(&oid) {
            return (kept.clone(), None);
        }
        let Some(tracked) = tracked.filter(|tracked| *tracked != oid) else { return (oid, Some(content)) };
        if content.windows(2).any(|pair| pair == b"\r\n") {
            let plain = without_returns(&content);
            let plain_oid = self.walk.format.blob(&plain);
            if plain_oid == tracked || self.converted_to.contains(tracked) {
                return (plain_oid, Some(plain));
            }
        }
        (oid, Some(content))
    }

    fn rules(&self, dir: BorrowedFd<'_>, path: &[u8], names: &[Vec<u8>]) -> Option<Level> {
        names.binary_search_by(|name| name.as_slice().cmp(b".gitignore")).ok()?;
        let text = inside::read_small(dir, b".gitignore", IGNORE_FILE).ok()??;
        let mut rules = GitignoreBuilder::new("");
        for line in String::from_utf8_lossy(&text).lines().take(5_000) {
            // A line that is no pattern matches nothing, as with git.
            let _ = rules.add_line(None, line);
        }
        Some(Level { prefix: if path.is_empty() { 0 } else { path.len() + 1 }, rules: rules.build().ok()? })
    }

    fn holds_tracked(&self, dir: &[u8]) -> bool {
        self.below(dir).next().is_some()
    }

    fn below<'b>(&'b self, dir: &[u8]) -> impl Iterator<Item = &'b Vec<u8>> + use<'b> {
        let mut prefix = dir.to_vec();
        prefix.push(b'/');
        let from = prefix.clone();
        self.walk.tree.range(from..).map(|(path, _)| path).take_while(move |path| path.starts_with(&prefix))
    }

    fn skip(&mut self, path: &[u8], why: Why) {
        let hidden: Vec<Vec<u8>> = self.below(path).cloned().collect();
        for path in hidden {
            self.walk.tree.remove(&path);
        }
        self.walk.tree.remove(path);
        if self.done.skipped.len() < MOST_SKIPPED {
            self.done.skipped.push(Skipped { path: RelPath::from_git(path), why });
        } else {
            self.done.cut = true;
        }
    }

    fn change(&mut self, change: Change) {
        self.done.changes += 1;
        if !(self.walk.take)(change) {
            self.stopped = true;
        }
    }

    /// What is in the tree and was not met. After a cut walk nobody knows, and nothing is said to be gone.
    fn gone(&mut self) {
        if self.done.cut {
            return;
        }
        let tree = std::mem::take(&mut self.walk.tree);
        for (path, (mode, _)) in tree {
            if mode != MODULE {
                self.change(Change::Gone { path });
            }
        }
    }
}

fn is_ignored(levels: &[Level], path: &[u8], is_dir: bool) -> bool {
    for level in levels.iter().rev() {
        let here = Path::new(OsStr::from_bytes(&path[level.prefix..]));
        match level.rules.matched(here, is_dir) {
            ignore::Match::None => {}
            found => return found.is_ignore(),
        }
    }
    false
}

fn without_returns(content: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(content.len());
    for (at, byte) in content.iter().enumerate() {
        if !(*byte == b'\r' && content.get(at + 1) == Some(&b'\n')) {
            plain.push(*byte);
        }
    }
    plain
}

/// The change time is the kernel's: an agent can set a file's time, not this one.
fn stamp(stat: &Stat) -> Stamp {
    Stamp(format!(
        "{:o}:{}:{}:{}:{}.{}:{}.{}",
        stat.st_mode,
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec
    ))
}

pub(crate) fn stat_seconds(stat: &Stat) -> i64 {
    stat.st_ctime
}

/// Reads what [`write_seen`] wrote. Whatever is wrong with it costs only the reading of files again.
pub(crate) fn read_seen(path: &Path) -> Seen {
    let bytes = std::fs::read(path).unwrap_or_default();
    let line = |line: &[u8]| {
        let mut parts = line.splitn(3, |b| *b == b' ');
        let (oid, stamp, path) = (parts.next()?, parts.next()?, parts.next()?);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some((path.to_vec(), (Stamp(text(stamp)?), text(oid)?)))
    };
    bytes.split(|b| *b == 0).filter_map(line).collect()
}

pub(crate) fn write_seen(path: &Path, seen: &[(Vec<u8>, Stamp, String)]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for (path, stamp, oid) in seen {
        bytes.extend_from_slice(format!("{oid} {} ", stamp.0).as_bytes());
        bytes.extend_from_slice(path);
        bytes.push(0);
    }
    let making = path.with_extension("making");
    std::fs::write(&making, bytes)?;
    std::fs::rename(making, path)
}

/// The file system's clock, read off a file that was just written: stamps are compared with it and with no other.
pub(crate) fn file_clock(path: &Path) -> io::Result<i64> {
    let file = File::create(path)?;
    rustix::fs::futimens(
        &file,
        &rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
            last_modification: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        },
    )?;
    Ok(stat_seconds(&rustix::fs::fstat(&file)?))
}

/// So long after its last change must a file be seen for its stamp to be believed later.
pub(crate) const SETTLED: Duration = Duration::from_secs(2);
