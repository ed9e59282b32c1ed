//! The folder where everything lies: private, locked by one daemon at a time, with the token and the address of the daemon.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Ours alone, for as long as this value lives.
pub struct DataDir {
    path: PathBuf,
    /// The lock goes with the last handle of the file, however the process ends.
    _lock: File,
    /// What was open to others and has been closed.
    pub mended: Vec<String>,
}

/// Why the folder cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    #[error(
        "another daemon{} has {} already; use that one, stop it first, or say another --data-dir",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display()
    )]
    Locked { path: PathBuf, pid: Option<u32> },
    #[error("{} belongs to another user (uid {owner}); say another --data-dir, or start as that user", path.display())]
    NotOurs { path: PathBuf, owner: u32 },
    #[error("{} is not a folder; say another --data-dir, or move it away", path.display())]
    NotAFolder { path: PathBuf },
    #[error("{} is no token: it must hold 32 characters or more; remove it, and a new one is made", path.display())]
    BadToken { path: PathBuf },
    #[error("{} cannot be used: {error}; mend its permissions or say another --data-dir", path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Where the running daemon is. Written when it listens, removed when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    pub url: String,
    pub pid: u32,
    pub version: String,
}

const SHORTEST_TOKEN: usize = 32;

impl DataDir {
    /// Makes the folder if need be and locks it. Nothing in it is touched before the lock is ours.
    pub fn take(path: &Path) -> Result<Self, DirError> {
        let failed = |error| DirError::Io { path: path.to_owned(), error };
        if !path.exists() {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(DirError::NotAFolder { path: path.to_owned() });
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(DirError::NotOurs { path: path.to_owned(), owner: metadata.uid() });
        }
        let lock = lock(path)?;
        let mut mended = Vec::new();
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
            mended.push(format!("{} was open to other users (mode {:o})", path.display(), metadata.mode() & 0o777));
        }
        Ok(Self { path: path.to_owned(), _lock: lock, mended })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The admin token: made once, then the same for ever.
    pub fn token(&mut self) -> Result<String, DirError> {
        let path = self.path.join("token");
        let failed = |error| DirError::Io { path: path.clone(), error };
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() < SHORTEST_TOKEN => Err(DirError::BadToken { path }),
            Ok(text) => {
                let mode = fs::metadata(&path).map_err(failed)?.mode();
                if mode & 0o077 != 0 {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
                    self.mended.push(format!("{} was open to other users (mode {:o})", path.display(), mode & 0o777));
                }
                Ok(text.trim().to_owned())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0_u8; 32];
                getrandom::fill(&mut bytes).map_err(|error| failed(io::Error::other(error.to_string())))?;
                let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                put(&path, &format!("{token}\n")).map_err(failed)?;
                Ok(token)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Lets the command line find this daemon. What it returns is removed when it goes.
    pub fn announce(&self, listening: &Listening) -> Result<Announced, DirError> {
        let path = self.path.join("server.json");
        let failed = |error| DirError::Io { path: path.clone(), error };
        let text = serde_json::to_string(listening).map_err(|error| failed(error.into()))?;
        put(&path, &format!("{text}\n")).map_err(failed)?;
        Ok(Announced { path })
    }
}

pub struct Announced {
    path: PathBuf,
}

impl Drop for Announced {
    fn drop(&mut self) {
        // One that is left behind only names an address where nobody answers.
        let _ = fs::remove_file(&self.path);
    }
}

impl Listening {
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

/// Whether a daemon has the folder now, and its pid. Changes nothing.
pub fn holder(path: &Path) -> io::Result<Option<Option<u32>>> {
    let mut file = match File::open(path.join("lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => Ok(Some(pid_in(&mut file))),
        Err(error) => Err(error.into()),
    }
}

fn lock(dir: &Path) -> Result<File, DirError> {
    let path = dir.join("lock");
    let failed = |error| DirError::Io { path: path.clone(), error };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(DirError::Locked { path: dir.to_owned(), pid: pid_in(&mut file) });
        }
        Err(error) => return Err(failed(error.into())),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(failed)?;
    Ok(file)
}

/// `None` when the holder has not written it yet.
fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The file is there whole or not at all, and nobody else ever could read it.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_held_once() {
        let dir = tempfile::tempdir().expect("is made");
        let path = dir.path().join("a/b");
        let taken = DataDir::take(&path).expect("is taken");
        assert_eq!(fs::metadata(&path).expect("is there").mode() & 0o777, 0o700);
        assert_eq!(holder(&path).expect("is read"), Some(Some(std::process::id())));
        let Err(second) = DataDir::take(&path) else { panic!("taken twice") };
        assert!(second.to_string().contains(&format!("pid {}", std::process::id())), "{second}");
        drop(taken);
        assert_eq!(holder(&path).expect("is read"), None);
        DataDir::take(&path).expect("is free again");
    }

    #[test]
    fn the_token_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().expect("is made");
        let token = DataDir::take(dir.path()).expect("is taken").token().expect("is made");
        assert_eq!(token.len(), 64);
        let path = dir.path().join("token");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("is opened");
        let mut again = DataDir::take(dir.path()).expect("is taken");
        assert_eq!(again.token().expect("is read"), token);
        assert_eq!(fs::metadata(&path).expect("is there").mode() & 0o777, 0o600);
        assert_eq!(again.mended.len(), 1, "the token, since the folder was private: {:?}", again.mended);
        fs::write(&path, "short").expect("is written");
        assert!(matches!(again.token(), Err(DirError::BadToken { .. })));
    }

    #[test]
    fn what_was_open_is_closed() {
        let dir = tempfile::tempdir().expect("is made");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("is opened");
        assert_eq!(DataDir::take(dir.path()).expect("is taken").mended.len(), 1);
        assert_eq!(fs::metadata(dir.path()).expect("is there").mode() & 0o777, 0o700);
    }

    #[test]
    fn an_announcement_goes_with_its_daemon() {
        let dir = tempfile::tempdir().expect("is made");
        let taken = DataDir::take(dir.path()).expect("is taken");
        let listening = Listening { url: "http://127.0.0.1:1".into(), pid: 1, version: "0".into() };
        let announced = taken.announce(&listening).expect("is written");
        assert_eq!(Listening::read(&dir.path().join("server.json")), Some(listening));
        drop(announced);
        assert_eq!(Listening::read(&dir.path().join("server.json")), None);
    }
}
