//! The way to the daemon: our own stdin and stdout, or one client at a time on a Unix socket. Bytes only; what they mean is
//! [`crate::keeper`]'s.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use kanvoy_keeper::frames::{Channel, Cut, Frame, Kind, Splitter};
use kanvoy_keeper::words::Say;

use crate::sys;

/// Nobody has this much waiting who listens at all.
const DEAF: usize = 4 << 20;

pub struct Link {
    listener: Option<(UnixListener, PathBuf)>,
    input: Option<File>,
    output: Option<File>,
    splitter: Splitter,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
}

impl Link {
    pub fn stdio() -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        sys::nonblocking(&input)?;
        sys::nonblocking(&output)?;
        Ok(Self::over(None, Some(input), Some(output)))
    }

    /// `alone` says that the journal's lock is ours: a socket that is there was left by a keeper that was killed.
    pub fn socket(path: &Path, alone: bool) -> io::Result<Self> {
        if alone && path.exists() {
            std::fs::remove_file(path)?;
        }
        // Nobody but our own user may speak to the agent.
        let before = sys::umask(0o177);
        let listener = UnixListener::bind(path);
        sys::umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok(Self::over(Some((listener, path.to_owned())), None, None))
    }

    fn over(listener: Option<(UnixListener, PathBuf)>, input: Option<File>, output: Option<File>) -> Self {
        Self { listener, input, output, splitter: Splitter::new(0), out: Vec::new(), written: 0 }
    }

    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(|(listener, _)| listener.as_fd())
    }

    pub fn input(&self) -> Option<&File> {
        self.input.as_ref()
    }

    pub fn output(&self) -> Option<&File> {
        self.output.as_ref()
    }

    /// Takes a new client in place of the one there is. Tells whether one came.
    pub fn accept(&mut self) -> bool {
        let Some(Ok((client, _))) = self.listener.as_ref().map(|(listener, _)| listener.accept()) else { return false };
        let client = File::from(OwnedFd::from(client));
        let Ok(output) = client.try_clone() else { return false };
        if sys::nonblocking(&client).is_err() {
            return false;
        }
        (self.input, self.output) = (Some(client), Some(output));
        self.splitter.reset();
        self.silence();
        true
    }

    /// Reads what waits. False when the client is gone.
    pub fn read(&mut self) -> bool {
        let Some(mut input) = self.input.as_ref() else { return true };
        match input.read(self.splitter.space()) {
            Ok(bytes) if bytes > 0 => {
                self.splitter.filled(bytes);
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => true,
            // Our stdin ends once and for all, yet who reads our stdout may still be there.
            _ if self.listener.is_none() => {
                self.input = None;
                true
            }
            _ => self.gone(),
        }
    }

    /// Nobody can ever answer any more.
    pub fn is_mute(&self) -> bool {
        self.listener.is_none() && self.input.is_none()
    }

    pub fn next_line(&mut self) -> Option<Cut<'_>> {
        self.splitter.next_line()
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    pub fn say(&mut self, say: &Say) {
        let text = say.to_string();
        Frame { channel: Channel::Control, kind: Kind::Whole, number: 0, payload: text.as_bytes() }
            .encode(0, &mut self.out);
    }

    /// Whole frames.
    pub fn send(&mut self, frames: &[u8]) {
        self.out.extend_from_slice(frames);
    }

    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Forgets what waits, up to the frame that is on its way: it is finished, so that what follows begins at a boundary.
    pub fn cut_short(&mut self) {
        let begun = self.written > 0 && self.out[self.written - 1] != b'\n';
        let keep =
            if begun { kanvoy_keeper::frames::newline(&self.out[self.written..]).map_or(0, |at| at + 1) } else { 0 };
        self.out.truncate(self.written + keep);
        // Whatever the other side read before, a new line begins here.
        self.out.push(b'\n');
    }

    /// Writes as much as goes. False when the client is gone, or does not listen at all.
    pub fn flush(&mut self) -> bool {
        let Some(mut output) = self.output.as_ref() else {
            self.silence();
            return true;
        };
        while self.written < self.out.len() {
            match output.write(&self.out[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let deaf = self.waiting() > DEAF;
                    self.forget_written();
                    return if deaf { self.gone() } else { true };
                }
                Err(_) => return self.gone(),
            }
        }
        self.silence();
        true
    }

    /// What is written is not needed, but for its last byte: it says whether a frame is half written.
    fn forget_written(&mut self) {
        if self.written > self.out.len() / 2 {
            self.out.drain(..self.written - 1);
            self.written = 1;
        }
    }

    fn silence(&mut self) {
        self.out.clear();
        self.written = 0;
    }

    /// A socket waits for the next client. Our own stdin is kept: whoever attaches next speaks there.
    fn gone(&mut self) -> bool {
        if self.listener.is_some() {
            (self.input, self.output) = (None, None);
        }
        self.silence();
        false
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.listener {
            let _ = std::fs::remove_file(path);
        }
    }
}
