//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use kanvoy_keeper::frames::LINE_MAX;

pub const USAGE: &str = "\
Usage: kanvoy-keeper [OPTIONS] -- COMMAND [ARGUMENTS]

Runs a command, numbers and keeps the lines it writes until they are acknowledged, and hands it lines, each once.
Speaks frames on its own stdin and stdout, or on a socket.

  --journal DIR        keep lines there (default: in memory). A journal that holds a run is served, not run again
  --journal-max BYTES  hold the command when so much is not acknowledged (default: 64 MiB; in memory 8 MiB)
  --socket PATH        listen there, in a session of our own, one client at a time
  --line-max BYTES     shorten longer lines to a note (default: 64 MiB)
  --stdin-max BYTES    refuse lines for the command when so much waits (default: 16 MiB)
  --drain SECONDS      after the command's end, for what still holds its stdout (default: 5)
  --linger SECONDS     after that, for the last acknowledgement (default: for ever)
";

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub journal: Option<PathBuf>,
    pub journal_max: u64,
    pub socket: Option<PathBuf>,
    pub line_max: u64,
    pub stdin_max: u64,
    pub drain: Duration,
    pub linger: Option<Duration>,
    pub command: Vec<OsString>,
}

impl Options {
    pub fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self {
            journal: None,
            journal_max: 0,
            socket: None,
            line_max: LINE_MAX,
            stdin_max: 16 << 20,
            drain: Duration::from_secs(5),
            linger: None,
            command: Vec::new(),
        };
        let mut journal_max = None;
        while let Some(name) = arguments.next() {
            let name = name.to_string_lossy().into_owned();
            if name == "--" {
                options.command = arguments.by_ref().collect();
                break;
            }
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            let number = || value.to_str().and_then(|text| text.parse().ok()).ok_or(format!("{name} needs a number"));
            let seconds = || {
                let seconds = value.to_str().and_then(|text| text.parse().ok());
                let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                seconds.ok_or(format!("{name} needs a number of seconds"))
            };
            match name.as_str() {
                "--journal" => options.journal = Some(value.into()),
                "--journal-max" => journal_max = Some(number()?),
                "--socket" => options.socket = Some(value.into()),
                "--line-max" => options.line_max = number()?,
                "--stdin-max" => options.stdin_max = number()?,
                "--drain" => options.drain = seconds()?,
                "--linger" => options.linger = Some(seconds()?),
                _ => return Err(format!("there is no option {name}")),
            }
        }
        if options.command.is_empty() {
            return Err("a command is needed, after --".to_owned());
        }
        let default = if options.journal.is_some() { 64 << 20 } else { 8 << 20 };
        // Room for at least one batch of every kind.
        options.journal_max = journal_max.unwrap_or(default).max(16 << 10);
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(line.split(' ').filter(|word| !word.is_empty()).map(OsString::from))
    }

    #[test]
    fn options_come_before_the_command() {
        let options = read("--journal /j --journal-max 1000000 --linger 0.5 -- agent --journal x").expect("options");
        assert_eq!((options.journal, options.journal_max), (Some("/j".into()), 1_000_000));
        assert_eq!((options.linger, options.command.len()), (Some(Duration::from_millis(500)), 3));
        for (line, why) in [
            ("", "a command is needed, after --"),
            ("--journal /j", "a command is needed, after --"),
            ("--", "a command is needed, after --"),
            ("--journal", "--journal needs a value"),
            ("--journal-max x -- a", "--journal-max needs a number"),
            ("--linger -1 -- a", "--linger needs a number of seconds"),
            ("--colour blue -- a", "there is no option --colour"),
        ] {
            assert_eq!(read(line), Err(why.to_owned()), "{line}");
        }
    }
}
