//! How this room looks into a directory that an agent writes in, while it writes: from an open directory to a single name
//! in it, never along a path, never through a link. What is not a plain file, directory or link is named, not opened.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

/// Opens a directory of ours, from which everything else is reached.
pub(crate) fn open_top(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

pub(crate) fn stat(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Stat> {
    Ok(rustix::fs::statat(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::openat(dir, OsStr::from_bytes(name), flags, Mode::empty())?)
}

/// `None`: it is no plain file, or was exchanged for something else between the look and the opening. Non-blocking, since
/// opening a pipe would wait for its other end for ever.
pub(crate) fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<(File, Stat)>> {
    if kind(&stat(dir, name)?) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat(dir, OsStr::from_bytes(name), flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Ok(None),
        file => File::from(file?),
    };
    let stat = rustix::fs::fstat(&file)?;
    Ok((kind(&stat) == FileType::RegularFile).then_some((file, stat)))
}

/// A small file's content; `None` if it is absent, no plain file, or larger than `most`.
pub(crate) fn read_small(dir: BorrowedFd<'_>, name: &[u8], most: u64) -> io::Result<Option<Vec<u8>>> {
    let Some((file, stat)) = absent_is_none(open_file(dir, name))?.flatten() else { return Ok(None) };
    if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > most {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= most).then_some(content))
}

pub(crate) fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<CString> {
    Ok(rustix::fs::readlinkat(dir, OsStr::from_bytes(name), Vec::new())?)
}

/// The names in a directory, sorted, and whether there were more than `most`.
pub(crate) fn names(dir: BorrowedFd<'_>, most: usize) -> io::Result<(Vec<Vec<u8>>, bool)> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == most {
            names.sort();
            return Ok((names, true));
        }
        names.push(name.to_vec());
    }
    names.sort();
    Ok((names, false))
}

pub(crate) fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a tree, whatever an agent made of it: any depth (what lies too deep is first moved up), directories without
/// permissions, links (never followed). Stops at the first thing that cannot be removed.
pub(crate) fn clear(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Err(io::Error::other("no parent")) };
    let Some(name) = path.file_name() else { return Err(io::Error::other("no name")) };
    let Some(parent) = absent_is_none(open_top(parent))? else { return Ok(()) };
    let Some(found) = absent_is_none(stat(parent.as_fd(), name.as_bytes()))? else { return Ok(()) };
    if kind(&found) != FileType::Directory {
        return Ok(rustix::fs::unlinkat(&parent, name, AtFlags::empty())?);
    }
    let top = open_for_clearing(parent.as_fd(), name.as_bytes())?;
    let mut moved = 0u64;
    // Each round takes away what is at most so deep, and brings up what was deeper.
    while empty(top.as_fd(), top.as_fd(), 0, &mut moved)? {}
    Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
}

const DEEP: usize = 64;

fn empty(dir: BorrowedFd<'_>, top: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> io::Result<bool> {
    let mut again = false;
    loop {
        let (names, more) = names(dir, 10_000)?;
        let before = *moved;
        for name in &names {
            let os = OsStr::from_bytes(name);
            match rustix::fs::unlinkat(dir, os, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => continue,
                Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
            if depth == DEEP {
                *moved += 1;
                rustix::fs::renameat(dir, os, top, format!(".deep-{moved}-{}", name.len()))?;
                again = true;
                continue;
            }
            let below = open_for_clearing(dir, name)?;
            again |= empty(below.as_fd(), top, depth + 1, moved)?;
            drop(below);
            match rustix::fs::unlinkat(dir, os, AtFlags::REMOVEDIR) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(rustix::io::Errno::NOTEMPTY) => again = true,
                Err(error) => return Err(error.into()),
            }
        }
        if !more || *moved != before {
            return Ok(again || more);
        }
    }
}

fn open_for_clearing(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    match open_dir(dir, name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            rustix::fs::chmodat(dir, OsStr::from_bytes(name), Mode::RWXU, AtFlags::empty())?;
            open_dir(dir, name)
        }
        // Listing is not enough for removing.
        Ok(opened) => {
            let _ = rustix::fs::fchmod(&opened, Mode::RWXU);
            Ok(opened)
        }
        failed => failed,
    }
}
