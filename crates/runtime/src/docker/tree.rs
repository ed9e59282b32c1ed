//! Directories as tar streams, to and from volumes.

use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tar::{Archive, Builder, EntryType, Header};
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::error::RuntimeError;

const PIECE: usize = 64 * 1024;

/// What a tree from a volume may amount to at most.
#[derive(Clone, Copy, Debug)]
pub struct TreeLimits {
    pub entries: u64,
    pub bytes: u64,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { entries: 2_000_000, bytes: 32 << 30 }
    }
}

/// A directory of this machine as a stream for a volume, everything in it given to `uid` and `gid`. Symbolic links stay links;
/// sockets, pipes and devices are left out.
pub fn pack(dir: PathBuf, uid: u32, gid: u32) -> BoxStream<'static, io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(8);
    tokio::task::spawn_blocking(move || {
        let pipe = Pipe { sender: sender.clone(), buffer: BytesMut::with_capacity(PIECE) };
        let packed = pack_into(&dir, pipe, u64::from(uid), u64::from(gid));
        if let Err(error) = packed {
            // A receiver that is gone wants no reason.
            sender.blocking_send(Err(error)).ok();
        }
    });
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed()
}

fn pack_into(dir: &Path, pipe: Pipe, uid: u64, gid: u64) -> io::Result<()> {
    let mut builder = Builder::new(pipe);
    let mut waiting = vec![PathBuf::new()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(dir.join(&at))? {
            let entry = entry?;
            let name = at.join(entry.file_name());
            let meta = entry.metadata()?;
            let mut header = Header::new_gnu();
            header.set_uid(uid);
            header.set_gid(gid);
            header.set_mtime(u64::try_from(meta.mtime()).unwrap_or_default());
            header.set_mode(meta.permissions().mode() & 0o777);
            header.set_size(0);
            if meta.is_symlink() {
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, &name, std::fs::read_link(entry.path())?)?;
            } else if meta.is_dir() {
                header.set_entry_type(EntryType::Directory);
                builder.append_data(&mut header, &name, io::empty())?;
                waiting.push(name);
            } else if meta.is_file() {
                header.set_entry_type(EntryType::Regular);
                header.set_size(meta.len());
                // Exactly as long as the header says, even if the file changes meanwhile.
                let file = std::fs::File::open(entry.path())?.chain(io::repeat(0)).take(meta.len());
                builder.append_data(&mut header, &name, file)?;
            }
        }
    }
    builder.into_inner()?.flush()
}

/// Unpacks what an agent wrote into an empty directory of this machine: files, directories and symbolic links inside it, and
/// nothing else. Owners, set-id bits, hard links and devices are not taken over. Links are made but never followed.
/// Returns how many entries were left out.
pub async fn unpack_untrusted(
    tar: BoxStream<'static, io::Result<Bytes>>,
    dir: PathBuf,
    limits: TreeLimits,
) -> Result<u64, RuntimeError> {
    let reader = SyncIoBridge::new(StreamReader::new(tar));
    let unpacked = tokio::task::spawn_blocking(move || unpack_from(reader, &dir, limits)).await;
    let local = |detail: String| RuntimeError::Local { what: "unpacking", detail };
    unpacked.map_err(|e| local(e.to_string()))?.map_err(|e| local(e.to_string()))
}

fn unpack_from(mut reader: impl Read, dir: &Path, limits: TreeLimits) -> io::Result<u64> {
    let mut archive = Archive::new(&mut reader);
    archive.set_preserve_permissions(false);
    archive.set_preserve_mtime(true);
    archive.set_overwrite(false);
    let (mut entries, mut bytes, mut left_out) = (0u64, 0u64, 0u64);
    for entry in archive.entries()? {
        let mut entry = entry?;
        entries += 1;
        bytes = bytes.saturating_add(entry.size());
        if entries > limits.entries || bytes > limits.bytes {
            return Err(io::Error::other("the tree is larger than allowed"));
        }
        let path = entry.path()?.into_owned();
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let kind = entry.header().entry_type();
        if !inside || !(kind.is_file() || kind.is_dir() || kind.is_symlink()) {
            left_out += 1;
            continue;
        }
        // Refuses to go through a link that an earlier entry made.
        match entry.unpack_in(dir) {
            Ok(true) => {}
            Ok(false) => left_out += 1,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error),
            Err(error) if kind.is_file() && entry.size() > 0 => return Err(error),
            Err(_) => left_out += 1,
        }
    }
    // To its end, or the sender sees a broken connection.
    io::copy(&mut reader, &mut io::sink())?;
    Ok(left_out)
}

/// Directories with an owner, for a place that exists already or does not.
pub(super) fn directories(names: &[String], uid: u32, gid: u32, mode: u32) -> Bytes {
    in_memory(|builder| {
        for name in names {
            let mut header = header(EntryType::Directory, 0, mode, uid, gid);
            builder.append_data(&mut header, name, io::empty())?;
        }
        Ok(())
    })
}

pub(super) fn one_file(name: &str, mode: u32, bytes: &[u8]) -> Bytes {
    in_memory(|builder| {
        let mut header = header(EntryType::Regular, bytes.len() as u64, mode, 0, 0);
        builder.append_data(&mut header, name, bytes)
    })
}

fn header(kind: EntryType, size: u64, mode: u32, uid: u32, gid: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(u64::from(uid));
    header.set_gid(u64::from(gid));
    header.set_mtime(0);
    header
}

fn in_memory(fill: impl FnOnce(&mut Builder<Vec<u8>>) -> io::Result<()>) -> Bytes {
    let mut builder = Builder::new(Vec::new());
    fill(&mut builder).and_then(|()| builder.into_inner()).map(Bytes::from).expect("writing to memory does not fail")
}

/// The writing end of a stream, on a thread that may block.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tree_goes_there_and_back() {
        let from = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(from.path().join("a/b")).unwrap();
        std::fs::write(from.path().join("a/b/run.sh"), "#!").unwrap();
        std::fs::set_permissions(from.path().join("a/b/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(from.path().join("big"), vec![7; 300_000]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).unwrap();
        let to = tempfile::tempdir().unwrap();
        let tar = pack(from.path().to_owned(), 10, 20);
        assert_eq!(unpack_untrusted(tar, to.path().to_owned(), TreeLimits::default()).await.unwrap(), 0);
        assert_eq!(std::fs::read(to.path().join("big")).unwrap(), vec![7; 300_000]);
        assert_eq!(std::fs::read_link(to.path().join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(std::fs::metadata(to.path().join("a/b/run.sh")).unwrap().permissions().mode() & 0o111, 0o111);
        assert!(pack(PathBuf::from("/nowhere/at/all"), 0, 0).next().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_hostile_tree_stays_inside() {
        let outside = tempfile::tempdir().unwrap();
        let tar = in_memory(|builder| {
            let mut link = header(EntryType::Symlink, 0, 0o777, 0, 0);
            builder.append_link(&mut link, "out", outside.path())?;
            let mut file = header(EntryType::Regular, 4, 0o4755, 0, 0);
            builder.append_data(&mut file, "out/evil", &b"evil"[..])?;
            let mut up = header(EntryType::Regular, 0, 0o644, 0, 0);
            up.as_old_mut().name[..10].copy_from_slice(b"../up.evil");
            up.set_cksum();
            builder.append(&up, io::empty())?;
            let mut hard = header(EntryType::Link, 0, 0o644, 0, 0);
            builder.append_link(&mut hard, "hard", "/etc/passwd")?;
            let mut fifo = header(EntryType::Fifo, 0, 0o644, 0, 0);
            builder.append_data(&mut fifo, "fifo", io::empty())
        });
        let to = tempfile::tempdir().unwrap();
        let inner = to.path().join("in");
        std::fs::create_dir(&inner).unwrap();
        let stream = stream::iter([Ok(tar)]).boxed();
        // Refused or left out, never written.
        unpack_untrusted(stream, inner.clone(), TreeLimits::default()).await.ok();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 1, "nothing beside it");
        let names: Vec<_> = std::fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["out"]);

        let tar = one_file("big", 0o644, &[0; 5000]);
        let small = TreeLimits { entries: 10, bytes: 4000 };
        assert!(unpack_untrusted(stream::iter([Ok(tar)]).boxed(), inner, small).await.is_err());
    }
}
