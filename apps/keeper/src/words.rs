//! What is said on the control channel, and the notes that stand in for lines. Plain words and `key=value`; unknown words and
//! keys are skipped, so that a newer daemon can talk to an older keeper that is still at work in its container.

use std::fmt;

use crate::frames::PIECE;

/// How many bytes of an oversize line its note shows.
pub const HEAD: usize = 1024;

/// From the daemon to the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Hello(Hello),
    /// Everything up to this number is stored and need not be kept any longer.
    Ack(u64),
    /// After this line was delivered. It need not have come yet.
    CloseStdin {
        id: u64,
        after: u64,
    },
    /// To the agent's process group.
    Signal {
        id: u64,
        signal: i32,
    },
    Ping(u64),
    /// Nobody wants the rest: end as soon as the agent has.
    Bye,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    pub nonce: String,
    /// The last line of the agent that is stored.
    pub resume: u64,
    /// The last line for the agent that the daemon believes sent.
    pub sent: u64,
    /// The last line of stderr seen.
    pub stderr: u64,
}

/// From the keeper to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    Welcome(Box<Welcome>),
    /// Every line for the agent up to this number was written to its stdin, whole.
    Took(u64),
    /// No room: this line and what follows it were not accepted. `Ready` comes when there is.
    Busy(u64),
    Ready(u64),
    /// Something was torn, or a number left out: send again from this line on, and requests too.
    Want(u64),
    /// The agent's stdin is closed; lines after this number will never be delivered.
    Deaf(u64),
    Done {
        id: u64,
    },
    Pong(u64),
    /// The agent's process is gone. Its last lines and the numbered note of its exit still follow.
    Exited(Exit),
    /// The agent is held: its lines cannot be kept at the moment.
    Stalled(String),
    Flowing,
}

/// The keeper's state at a hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    pub nonce: String,
    /// The last line the agent wrote that is in the journal.
    pub last: u64,
    /// The oldest line that can still be resent; `last + 1` when there is none.
    pub oldest: u64,
    /// Lines for the agent: taken in whole, begun to be written to it, written whole.
    pub accepted: u64,
    pub begun: u64,
    pub delivered: u64,
    pub agent: AgentState,
    /// The agent's process, which is its process group too. 0 when it is not running.
    pub pid: u32,
    pub stdin_open: bool,
    /// Why the agent is held, when it is.
    pub stalled: Option<String>,
    /// Of the journal's lines, keyed by the keeper: two reports that agree describe the same journal.
    pub digest: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentState {
    #[default]
    Running,
    Exited,
    /// An earlier keeper ran it and was killed; this one serves what was left.
    Lost,
}

/// How the agent's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub end: End,
    /// The last signal that the keeper sent it, by request or passed on.
    pub sent: Option<i32>,
    /// Processes of the same cage that were killed for want of memory meanwhile; not always the agent itself.
    pub out_of_memory: u64,
    /// Something that the agent left behind still held its stdout when the time to drain it was over.
    pub held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
    /// It could not be started: the operating system's error.
    Failed(i32),
    /// It died with an earlier keeper, of which only the journal is left.
    Lost,
}

/// Stands in the numbered stream in place of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note<'a> {
    /// One line that was too long, or for which there was no space: its length, checksum (CRC-32) and beginning.
    Oversize { length: u64, checksum: u32, no_space: bool, head: &'a [u8] },
    /// Lines up to the note's own number that cannot be given.
    Gap { from: u64, cause: Cause },
    /// The end of the stream.
    Exit(Exit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What is in the journal is not what was written there.
    Tampered,
    /// Acknowledged by an earlier session, and gone.
    Trimmed,
    /// The keeper was killed while writing.
    Torn,
}

impl Ask {
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut words = Words::of(text)?;
        Some(match words.word()? {
            "hello" => Self::Hello(Hello {
                nonce: words.word()?.to_owned(),
                resume: words.number("resume")?,
                sent: words.number("sent")?,
                stderr: words.number("stderr").unwrap_or_default(),
            }),
            "ack" => Self::Ack(words.word()?.parse().ok()?),
            "close-stdin" => Self::CloseStdin { id: words.word()?.parse().ok()?, after: words.word()?.parse().ok()? },
            "signal" => Self::Signal { id: words.word()?.parse().ok()?, signal: words.word()?.parse().ok()? },
            "ping" => Self::Ping(words.word()?.parse().ok()?),
            "bye" => Self::Bye,
            _ => return None,
        })
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(Hello { nonce, resume, sent, stderr }) => {
                write!(to, "hello {nonce} resume={resume} sent={sent} stderr={stderr}")
            }
            Self::Ack(number) => write!(to, "ack {number}"),
            Self::CloseStdin { id, after } => write!(to, "close-stdin {id} {after}"),
            Self::Signal { id, signal } => write!(to, "signal {id} {signal}"),
            Self::Ping(number) => write!(to, "ping {number}"),
            Self::Bye => to.write_str("bye"),
        }
    }
}

impl Say {
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut words = Words::of(text)?;
        let word = words.word()?;
        if word == "welcome" {
            return Some(Self::Welcome(Box::new(Welcome::read(&mut words)?)));
        }
        if word == "exited" {
            return Some(Self::Exited(Exit::read(&mut words)?));
        }
        if word == "stalled" {
            return Some(Self::Stalled(words.rest.to_owned()));
        }
        if word == "flowing" {
            return Some(Self::Flowing);
        }
        let number = words.word()?.parse().ok()?;
        Some(match word {
            "took" => Self::Took(number),
            "busy" => Self::Busy(number),
            "ready" => Self::Ready(number),
            "want" => Self::Want(number),
            "deaf" => Self::Deaf(number),
            "done" => Self::Done { id: number },
            "pong" => Self::Pong(number),
            _ => return None,
        })
    }
}

impl fmt::Display for Say {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome(welcome) => write!(to, "welcome {welcome}"),
            Self::Took(number) => write!(to, "took {number}"),
            Self::Busy(number) => write!(to, "busy {number}"),
            Self::Ready(number) => write!(to, "ready {number}"),
            Self::Want(number) => write!(to, "want {number}"),
            Self::Deaf(number) => write!(to, "deaf {number}"),
            Self::Done { id } => write!(to, "done {id}"),
            Self::Pong(number) => write!(to, "pong {number}"),
            Self::Exited(exit) => write!(to, "exited {exit}"),
            Self::Stalled(why) => write!(to, "stalled {why}"),
            Self::Flowing => to.write_str("flowing"),
        }
    }
}

impl Welcome {
    fn read(words: &mut Words<'_>) -> Option<Self> {
        Some(Self {
            nonce: words.word()?.to_owned(),
            last: words.number("last")?,
            oldest: words.number("oldest")?,
            accepted: words.number("accepted")?,
            begun: words.number("begun")?,
            delivered: words.number("delivered")?,
            agent: match words.value("agent")? {
                "running" => AgentState::Running,
                "exited" => AgentState::Exited,
                "lost" => AgentState::Lost,
                _ => return None,
            },
            pid: words.number("pid")?,
            stdin_open: words.value("stdin")? == "open",
            digest: u64::from_str_radix(words.value("digest")?, 16).ok()?,
            stalled: words.last_value("stalled").map(str::to_owned),
        })
    }
}

impl fmt::Display for Welcome {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nonce, last, oldest, accepted, begun, delivered, pid, digest, .. } = self;
        let stdin = if self.stdin_open { "open" } else { "closed" };
        let agent = match self.agent {
            AgentState::Running => "running",
            AgentState::Exited => "exited",
            AgentState::Lost => "lost",
        };
        write!(to, "{nonce} last={last} oldest={oldest} accepted={accepted} begun={begun} delivered={delivered} ")?;
        write!(to, "agent={agent} pid={pid} stdin={stdin} digest={digest:x}")?;
        // The last one, because its text has spaces.
        self.stalled.iter().try_for_each(|why| write!(to, " stalled={why}"))
    }
}

impl Exit {
    pub fn of(end: End) -> Self {
        Self { end, sent: None, out_of_memory: 0, held: false }
    }

    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::read(&mut Words::of(text)?)
    }

    fn read(words: &mut Words<'_>) -> Option<Self> {
        let how = words.word()?;
        let number = words.word()?.parse().ok()?;
        let end = match how {
            "code" => End::Code(number),
            "signal" => End::Signal(number),
            "failed" => End::Failed(number),
            "lost" => End::Lost,
            _ => return None,
        };
        Some(Self {
            end,
            sent: words.number("sent"),
            out_of_memory: words.number("oom").unwrap_or_default(),
            held: words.value("held").is_some(),
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            End::Code(code) => write!(to, "code {code}")?,
            End::Signal(signal) => write!(to, "signal {signal}")?,
            End::Failed(error) => write!(to, "failed {error}")?,
            End::Lost => write!(to, "lost 0")?,
        }
        if let Some(signal) = self.sent {
            write!(to, " sent={signal}")?;
        }
        if self.out_of_memory > 0 {
            write!(to, " oom={}", self.out_of_memory)?;
        }
        if self.held { write!(to, " held=1") } else { Ok(()) }
    }
}

impl<'a> Note<'a> {
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let space = payload.iter().position(|byte| *byte == b' ')?;
        let (word, rest) = (&payload[..space], &payload[space + 1..]);
        match word {
            b"exit" => Exit::parse(rest).map(Self::Exit),
            b"gap" => {
                let mut words = Words::of(rest)?;
                let from = words.word()?.parse().ok()?;
                let cause = match words.word()? {
                    "tampered" => Cause::Tampered,
                    "trimmed" => Cause::Trimmed,
                    "torn" => Cause::Torn,
                    _ => return None,
                };
                Some(Self::Gap { from, cause })
            }
            b"oversize" => {
                let mut parts = rest.splitn(4, |byte| *byte == b' ');
                let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
                let length = text()?.parse().ok()?;
                let checksum = u32::from_str_radix(text()?, 16).ok()?;
                let no_space = text()? == "space";
                Some(Self::Oversize { length, checksum, no_space, head: parts.next()? })
            }
            _ => None,
        }
    }

    /// The payload of the note's frame.
    pub fn payload(&self) -> Vec<u8> {
        match self {
            Self::Exit(exit) => format!("exit {exit}").into_bytes(),
            Self::Gap { from, cause } => {
                let cause = match cause {
                    Cause::Tampered => "tampered",
                    Cause::Trimmed => "trimmed",
                    Cause::Torn => "torn",
                };
                format!("gap {from} {cause}").into_bytes()
            }
            Self::Oversize { length, checksum, no_space, head } => {
                let why = if *no_space { "space" } else { "size" };
                let mut payload = format!("oversize {length} {checksum:x} {why} ").into_bytes();
                payload.extend_from_slice(&head[..head.len().min(HEAD)]);
                debug_assert!(payload.len() <= PIECE);
                payload
            }
        }
    }
}

/// The words of a text, and the values of its keys.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(text).ok().map(|rest| Self { rest })
    }

    fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.rest.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn last_value(&self, key: &str) -> Option<&'a str> {
        self.rest.split_once(&format!(" {key}=")).map(|(_, value)| value)
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.value(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_were_said() {
        let hello = Hello { nonce: "abc".into(), resume: 1, sent: 2, stderr: 3 };
        for ask in [
            Ask::Hello(hello),
            Ask::Ack(u64::MAX),
            Ask::CloseStdin { id: 4, after: 5 },
            Ask::Signal { id: 5, signal: 15 },
            Ask::Ping(6),
            Ask::Bye,
        ] {
            assert_eq!(Ask::parse(ask.to_string().as_bytes()), Some(ask));
        }
        let exit = Exit { end: End::Signal(9), sent: Some(15), out_of_memory: 2, held: true };
        let mut welcome = Welcome { nonce: "abc".into(), last: 1, oldest: 2, accepted: 3, ..Welcome::default() };
        (welcome.digest, welcome.pid, welcome.stdin_open) = (u64::MAX, 17, true);
        let stalled = Welcome { stalled: Some("the journal is full".into()), ..welcome.clone() };
        for say in [
            Say::Welcome(Box::new(welcome)),
            Say::Welcome(Box::new(stalled)),
            Say::Took(1),
            Say::Busy(2),
            Say::Ready(3),
            Say::Want(4),
            Say::Deaf(5),
            Say::Done { id: 6 },
            Say::Pong(7),
            Say::Exited(exit),
            Say::Exited(Exit::of(End::Lost)),
            Say::Stalled("no space left".into()),
            Say::Flowing,
        ] {
            assert_eq!(Say::parse(say.to_string().as_bytes()), Some(say));
        }
        for note in [
            Note::Exit(Exit::of(End::Code(-1))),
            Note::Exit(Exit::of(End::Failed(2))),
            Note::Gap { from: 3, cause: Cause::Torn },
            Note::Oversize { length: 1 << 40, checksum: 0xabc, no_space: false, head: b" \xff a b " },
            Note::Oversize { length: 1, checksum: 0, no_space: true, head: b"" },
        ] {
            assert_eq!(Note::parse(&note.payload()), Some(note));
        }
    }

    #[test]
    fn what_nobody_says_is_nothing() {
        for text in
            ["", " ", "hello", "hello x", "ack", "ack x", "ack -1", "signal 1", "welcome x last=1", "took", "new 1"]
        {
            assert_eq!(Ask::parse(text.as_bytes()), None, "{text}");
            assert_eq!(Say::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Note::parse(b"oversize 1 zz size "), None);
        assert_eq!(Note::parse(b"exit"), None);
        assert_eq!(Ask::parse(b"hello n resume=1 sent=2 colour=blue").map(|_| ()), Some(()), "a newer key is skipped");
    }
}
