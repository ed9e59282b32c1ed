//! Bytes into lines. A read, a frame and a line have nothing to do with each other: any cutting of the same bytes gives the
//! same lines.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A longer line is cut: what is left of it is [`Cut::KEPT`] bytes, its length and its checksum.
pub const MAX_LINE: usize = 32 << 20;

/// Asked of the reader at once. An agent in a hurry writes large pieces, and lines share the piece they came in.
const PIECE: usize = 64 << 10;

/// One line as the agent wrote it, without its newline. Numbers begin at 1, have no hole, and are those of the journal if
/// there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub number: u64,
    pub bytes: Bytes,
    /// Set when `bytes` are only the beginning of a line that was too long.
    pub cut: Option<Box<Cut>>,
}

impl Incoming {
    pub fn new(number: u64, bytes: impl Into<Bytes>) -> Self {
        Self { number, bytes: bytes.into(), cut: None }
    }
}

/// What is known of a line that was too long to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub length: u64,
    pub sha256: [u8; 32],
}

impl Cut {
    /// The beginning that is kept, for a person to look at.
    pub const KEPT: usize = 4 << 10;
}

/// Cuts pieces of bytes into numbered lines, in memory bounded by the longest line it may keep.
#[derive(Debug)]
pub struct Splitter {
    next: u64,
    max: usize,
    partial: BytesMut,
    discarding: Option<Discarding>,
}

#[derive(Debug)]
struct Discarding {
    head: Vec<u8>,
    length: u64,
    sha256: Sha256,
}

impl Splitter {
    /// The first line gets the number `first`; lines longer than `max` bytes are cut.
    pub fn new(first: u64, max: usize) -> Self {
        Self { next: first, max, partial: BytesMut::new(), discarding: None }
    }

    /// Appends the lines that end within this piece.
    pub fn push(&mut self, piece: &Bytes, lines: &mut Vec<Incoming>) {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', piece) {
            if self.partial.is_empty() && self.discarding.is_none() && end - from <= self.max {
                // Nothing to join: the line is a view of the piece.
                self.emit(piece.slice(from..end), None, lines);
            } else {
                self.hold(&piece[from..end]);
                self.end_line(lines);
            }
            from = end + 1;
        }
        self.hold(&piece[from..]);
    }

    /// The end of the stream: what has no newline is a line as well, because it is all there will ever be of it.
    pub fn finish(&mut self, lines: &mut Vec<Incoming>) {
        if !self.partial.is_empty() || self.discarding.is_some() {
            self.end_line(lines);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some(discarding) = &mut self.discarding {
            discarding.add(bytes);
            return;
        }
        if self.partial.len() + bytes.len() <= self.max {
            self.partial.extend_from_slice(bytes);
            return;
        }
        let mut discarding = Discarding { head: Vec::new(), length: 0, sha256: Sha256::new() };
        discarding.add(&self.partial);
        discarding.add(bytes);
        self.discarding = Some(discarding);
        // Not only emptied: so long a buffer is given back.
        self.partial = BytesMut::new();
    }

    fn end_line(&mut self, lines: &mut Vec<Incoming>) {
        match self.discarding.take() {
            Some(Discarding { head, length, sha256 }) => {
                self.emit(Bytes::from(head), Some(Box::new(Cut { length, sha256: sha256.finalize().into() })), lines);
            }
            None => {
                let line = self.partial.split().freeze();
                self.emit(line, None, lines);
            }
        }
    }

    fn emit(&mut self, bytes: Bytes, cut: Option<Box<Cut>>, lines: &mut Vec<Incoming>) {
        lines.push(Incoming { number: self.next, bytes, cut });
        self.next += 1;
    }
}

impl Discarding {
    fn add(&mut self, bytes: &[u8]) {
        let room = Cut::KEPT.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.length += bytes.len() as u64;
        self.sha256.update(bytes);
    }
}

/// The lines of a plain reader, numbered from 1, in batches as they come.
pub fn read_lines<R>(reader: R, max: usize) -> impl Stream<Item = io::Result<Vec<Incoming>>> + Send + Unpin
where
    R: AsyncRead + Send + Unpin + 'static,
{
    struct State<R> {
        reader: R,
        splitter: Splitter,
        buffer: BytesMut,
        ended: bool,
    }
    let state = State { reader, splitter: Splitter::new(1, max), buffer: BytesMut::new(), ended: false };
    Box::pin(stream::unfold(state, |mut state| async move {
        let mut lines = Vec::new();
        while lines.is_empty() && !state.ended {
            state.buffer.reserve(PIECE);
            match state.reader.read_buf(&mut state.buffer).await {
                Ok(0) => {
                    state.ended = true;
                    state.splitter.finish(&mut lines);
                }
                Ok(_) => {
                    let piece = state.buffer.split().freeze();
                    state.splitter.push(&piece, &mut lines);
                }
                Err(error) => {
                    state.ended = true;
                    return Some((Err(error), state));
                }
            }
        }
        if lines.is_empty() { None } else { Some((Ok(lines), state)) }
    }))
}
