//! A file without a name that holds what is too long for memory, until it has gone where it belongs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::sys;

pub struct Spool {
    file: File,
    len: u64,
}

impl Spool {
    /// On the journal's disk; in memory when there is none.
    pub fn new(place: Option<&Path>) -> io::Result<Self> {
        let file = match place {
            None => sys::file_in_memory()?,
            Some(place) => {
                let path = place.join("spool");
                let file =
                    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
                // Nobody else is to find it.
                std::fs::remove_file(&path)?;
                file
            }
        };
        Ok(Self { file, len: 0 })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// All of it or, on an error, nothing.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Fills `buffer` with what lies from there on; gives how much there was.
    pub fn read(&self, from: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(from)).unwrap_or(usize::MAX);
        let bytes = left.min(buffer.len());
        self.file.read_exact_at(&mut buffer[..bytes], from)?;
        Ok(bytes)
    }

    /// Forgets everything after `len`, and gives its space back.
    pub fn shorten(&mut self, len: u64) {
        self.len = self.len.min(len);
        // Without it the space comes back later, when it is written over.
        let _ = self.file.set_len(self.len);
    }

    /// Forgets everything before `from`. What is left moves to the front, so that the file does not grow for ever.
    pub fn forget_before(&mut self, from: u64) -> io::Result<()> {
        let mut piece = vec![0; 64 * 1024];
        let mut at = from;
        loop {
            let bytes = self.read(at, &mut piece)?;
            if bytes == 0 {
                break;
            }
            self.file.write_all_at(&piece[..bytes], at - from)?;
            at += bytes as u64;
        }
        self.shorten(self.len - from);
        Ok(())
    }
}
