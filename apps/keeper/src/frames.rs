//! One frame is one line of bytes, so that any torn half ends at the next newline:
//!
//! ```text
//! K1<channel><kind> <number> <length> <checksum> <payload>\n
//! ```
//!
//! `K1` is the version. Numbers are hexadecimal. The checksum is a CRC-32 of everything between the version and itself, and of
//! the payload; towards the keeper it starts from a seed made of the session's nonce, so that what an earlier daemon
//! left in the pipe is not taken for the words of this one. No payload holds a newline. A line longer than [`PIECE`] travels
//! as several frames of the same number.

/// Bytes of payload in one frame at most. Bounds what a reader has to hold.
pub const PIECE: usize = 64 * 1024;

/// A frame's bytes around its payload at most.
pub const AROUND: usize = 4 + 1 + 16 + 1 + 8 + 1 + 8 + 1 + 1;

/// Lines longer than this are shortened to an oversize note, unless the keeper was told otherwise.
pub const LINE_MAX: u64 = 64 << 20;

const VERSION: &[u8; 2] = b"K1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The agent's stdin and stdout; every line has its number and none is lost or doubled.
    Agent,
    /// The tail of the agent's stderr; a jump of the number says how many lines were dropped.
    Stderr,
    Control,
    /// Reserved for a second stream of lines beside the agent's; carried, not journalled.
    Mcp,
}

impl Channel {
    fn letter(self) -> u8 {
        match self {
            Self::Agent => b'a',
            Self::Stderr => b'e',
            Self::Control => b'c',
            Self::Mcp => b'm',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        match letter {
            b'a' => Some(Self::Agent),
            b'e' => Some(Self::Stderr),
            b'c' => Some(Self::Control),
            b'm' => Some(Self::Mcp),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole line.
    Whole,
    /// The pieces of a line that is too long for one frame. They are told apart so that the rest of an interrupted line is never
    /// taken for a line.
    First,
    More,
    Last,
    /// Stands for the line of that number: see [`crate::words::Note`].
    Note,
}

impl Kind {
    /// Of a piece of a line.
    pub fn of_piece(is_first: bool, is_last: bool) -> Self {
        match (is_first, is_last) {
            (true, true) => Self::Whole,
            (true, false) => Self::First,
            (false, false) => Self::More,
            (false, true) => Self::Last,
        }
    }

    /// Whether nothing of the same number comes before it.
    pub fn begins(self) -> bool {
        matches!(self, Self::Whole | Self::First | Self::Note)
    }

    /// Whether nothing of the same number comes after it.
    pub fn ends(self) -> bool {
        matches!(self, Self::Whole | Self::Last | Self::Note)
    }

    fn letter(self) -> u8 {
        match self {
            Self::Whole => b'.',
            Self::First => b'<',
            Self::More => b'+',
            Self::Last => b'>',
            Self::Note => b'!',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        match letter {
            b'.' => Some(Self::Whole),
            b'<' => Some(Self::First),
            b'+' => Some(Self::More),
            b'>' => Some(Self::Last),
            b'!' => Some(Self::Note),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub channel: Channel,
    pub kind: Kind,
    pub number: u64,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Appends the frame to `out`. The payload holds no newline and at most [`PIECE`] bytes; who has longer lines cuts them.
    pub fn encode(&self, seed: u32, out: &mut Vec<u8>) {
        debug_assert!(self.payload.len() <= PIECE && newline(self.payload).is_none());
        out.extend_from_slice(VERSION);
        let summed = out.len();
        out.extend_from_slice(&[self.channel.letter(), self.kind.letter(), b' ']);
        put_hex(out, self.number);
        out.push(b' ');
        put_hex(out, self.payload.len() as u64);
        let checksum = Crc::seeded(seed).with(&out[summed..]).with(self.payload).value();
        out.push(b' ');
        put_hex(out, u64::from(checksum));
        out.push(b' ');
        out.extend_from_slice(self.payload);
        out.push(b'\n');
    }
}

/// Appends a line of any length as frames of one number.
pub fn encode_line(channel: Channel, number: u64, line: &[u8], seed: u32, out: &mut Vec<u8>) {
    let mut at = 0;
    loop {
        let end = line.len().min(at + PIECE);
        let kind = Kind::of_piece(at == 0, end == line.len());
        Frame { channel, kind, number, payload: &line[at..end] }.encode(seed, out);
        if kind.ends() {
            return;
        }
        at = end;
    }
}

/// Reads one line (without its newline) as a frame. `None` for anything that is not exactly one.
pub fn parse(line: &[u8], seed: u32) -> Option<Frame<'_>> {
    let summed = line.strip_prefix(VERSION)?;
    let [channel, kind, b' ', rest @ ..] = summed else { return None };
    let (channel, kind) = (Channel::of(*channel)?, Kind::of(*kind)?);
    let (number, rest) = take_hex(rest, 16)?;
    let (length, rest) = take_hex(rest, 8)?;
    let head = &summed[..summed.len() - rest.len() - 1];
    let (checksum, payload) = take_hex(rest, 8)?;
    let whole = payload.len() as u64 == length && payload.len() <= PIECE;
    let sum = || u64::from(Crc::seeded(seed).with(head).with(payload).value());
    (whole && sum() == checksum).then_some(Frame { channel, kind, number, payload })
}

/// A seed for the checksums of one session.
pub fn seed_of(nonce: &str) -> u32 {
    Crc::seeded(0).with(nonce.as_bytes()).value()
}

/// Cuts a stream into lines without ever holding more than one frame and what was read along with it.
pub struct Splitter {
    buffer: Box<[u8]>,
    start: usize,
    /// No newline lies between `start` and here.
    seen: usize,
    end: usize,
    /// Inside a line that is too long for a frame, up to its newline.
    skipping: bool,
    /// Where `start` lies in the stream.
    offset: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Cut<'a> {
    /// Without its newline. Empty lines are left out: they are what separates a session from torn halves before it.
    Line(&'a [u8]),
    /// A line that no frame can be; it was thrown away.
    TooLong,
}

impl Splitter {
    /// `extra` bytes are held beyond one frame, to read larger pieces at once.
    pub fn new(extra: usize) -> Self {
        let buffer = vec![0; PIECE + AROUND + extra].into_boxed_slice();
        Self { buffer, start: 0, seen: 0, end: 0, skipping: false, offset: 0 }
    }

    /// Where to read into. Empty only while whole lines wait for [`Self::next_line`].
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.seen, self.end) = (0, 0, 0);
        } else if self.start > 0 && self.buffer.len() - self.end < self.buffer.len() / 4 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.seen, self.end) = (0, self.seen - self.start, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }

    /// That many bytes were read into [`Self::space`].
    pub fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
    }

    /// What follows comes from another stream: forget the half that waits.
    pub fn reset(&mut self) {
        (self.start, self.seen, self.end, self.skipping, self.offset) = (0, 0, 0, false, 0);
    }

    /// Where what was not given yet begins, counted from the beginning of the stream.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether a line is begun whose newline has not come.
    pub fn has_rest(&self) -> bool {
        self.start < self.end || self.skipping
    }

    pub fn next_line(&mut self) -> Option<Cut<'_>> {
        loop {
            let Some(found) = newline(&self.buffer[self.seen..self.end]) else {
                self.seen = self.end;
                if self.end - self.start >= PIECE + AROUND {
                    self.offset += (self.end - self.start) as u64;
                    self.start = self.end;
                    self.skipping = true;
                }
                return None;
            };
            let (from, to) = (self.start, self.seen + found);
            (self.start, self.seen) = (to + 1, to + 1);
            self.offset += (to + 1 - from) as u64;
            let skipped = std::mem::take(&mut self.skipping);
            if skipped || to - from > PIECE + AROUND {
                return Some(Cut::TooLong);
            }
            if to > from {
                return Some(Cut::Line(&self.buffer[from..to]));
            }
        }
    }
}

/// The place of the first newline.
pub fn newline(bytes: &[u8]) -> Option<usize> {
    // Blocks of a fixed size without an exit inside are what the compiler turns into vector instructions.
    let mut at = 0;
    for block in bytes.chunks_exact(32) {
        if block.iter().fold(false, |hit, byte| hit | (*byte == b'\n')) {
            break;
        }
        at += block.len();
    }
    bytes[at..].iter().position(|byte| *byte == b'\n').map(|found| at + found)
}

/// CRC-32 (IEEE), eight bytes a step.
#[derive(Clone, Copy, Debug)]
pub struct Crc(u32);

impl Crc {
    pub fn seeded(seed: u32) -> Self {
        Self(!seed)
    }

    pub fn value(self) -> u32 {
        !self.0
    }

    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let mut crc = self.0;
        let mut eights = bytes.chunks_exact(8);
        for eight in &mut eights {
            let low = crc ^ u32::from_le_bytes([eight[0], eight[1], eight[2], eight[3]]);
            crc = TABLES[7][(low & 0xff) as usize]
                ^ TABLES[6][(low >> 8 & 0xff) as usize]
                ^ TABLES[5][(low >> 16 & 0xff) as usize]
                ^ TABLES[4][(low >> 24) as usize]
                ^ TABLES[3][eight[4] as usize]
                ^ TABLES[2][eight[5] as usize]
                ^ TABLES[1][eight[6] as usize]
                ^ TABLES[0][eight[7] as usize];
        }
        for byte in eights.remainder() {
            crc = TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
        }
        Self(crc)
    }
}

static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut step = 1;
    while step < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[step - 1][byte];
            tables[step][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        step += 1;
    }
    tables
}

fn put_hex(out: &mut Vec<u8>, number: u64) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (digit * 4) & 0xf) as usize]);
    }
}

/// Reads digits up to a space; gives the number and what follows the space.
fn take_hex(bytes: &[u8], most: usize) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(most + 1) {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b' ' if at > 0 => return Some((number, &bytes[at + 1..])),
            _ => return None,
        };
        if at == most {
            return None;
        }
        number = number << 4 | u64::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(number: u64, payload: &[u8]) -> Frame<'_> {
        Frame { channel: Channel::Agent, kind: Kind::Whole, number, payload }
    }

    fn encoded(frame: &Frame<'_>, seed: u32) -> Vec<u8> {
        let mut out = Vec::new();
        frame.encode(seed, &mut out);
        out
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        assert_eq!(Crc::seeded(0).with(b"123456789").value(), 0xcbf4_3926);
        for (number, payload) in [(0, &b""[..]), (1, b"{}"), (u64::MAX, b"\0\r\xff K1a. 1 1 ")] {
            for seed in [0, 0xdead_beef] {
                let frame = agent(number, payload);
                let bytes = encoded(&frame, seed);
                assert!(bytes.len() <= payload.len() + AROUND);
                assert_eq!(parse(&bytes[..bytes.len() - 1], seed), Some(frame));
                assert_eq!(parse(&bytes[..bytes.len() - 1], seed ^ 1), None, "another session's frame was taken");
            }
        }
    }

    #[test]
    fn no_changed_byte_and_no_cut_is_taken_for_the_frame() {
        let whole = encoded(&agent(0x2a, b"a line of an agent"), 7);
        let line = &whole[..whole.len() - 1];
        for at in 0..line.len() {
            assert_eq!(parse(&line[..at], 7), None);
            assert_eq!(parse(&line[at + 1..], 7), None);
            for bit in 0..8 {
                let mut bent = line.to_vec();
                bent[at] ^= 1 << bit;
                assert_eq!(parse(&bent, 7), None, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_splitter_gives_the_same_lines_however_the_bytes_arrive() {
        let mut stream = Vec::new();
        for number in 1..200 {
            encode_line(Channel::Agent, number, &vec![b'x'; number as usize * 701 % 70_000], 0, &mut stream);
            stream.push(b'\n');
        }
        stream.extend(vec![b'y'; 3 * PIECE]);
        stream.push(b'\n');
        agent(200, b"after").encode(0, &mut stream);
        let cut = |step: usize, extra: usize| {
            let mut splitter = Splitter::new(extra);
            let (mut lines, mut long, mut rest) = (Vec::new(), 0, &stream[..]);
            while !rest.is_empty() {
                let space = splitter.space();
                let bytes = step.min(space.len()).min(rest.len());
                space[..bytes].copy_from_slice(&rest[..bytes]);
                rest = &rest[bytes..];
                splitter.filled(bytes);
                while let Some(cut) = splitter.next_line() {
                    match cut {
                        Cut::Line(line) => lines.push(line.to_vec()),
                        Cut::TooLong => long += 1,
                    }
                }
            }
            (lines, long)
        };
        let (expected, long) = cut(usize::MAX, 1 << 20);
        assert_eq!(long, 1);
        assert_eq!(parse(expected.last().expect("a line"), 0), Some(agent(200, b"after")));
        for (step, extra) in [(1, 0), (7, 3), (4096, 100), (PIECE, 0), (usize::MAX, 5)] {
            assert!(cut(step, extra) == (expected.clone(), 1), "step {step} extra {extra}");
        }
    }

    #[test]
    fn newlines_are_found_at_every_place() {
        for length in 0..100 {
            let mut bytes = vec![b'\t'; length];
            assert_eq!(newline(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = b'\n';
                assert_eq!(newline(&bytes), Some(at));
            }
        }
    }
}
