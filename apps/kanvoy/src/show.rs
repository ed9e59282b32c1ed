//! Draws what a command has to say: lines, tables, colours on a terminal, or one JSON document. The only place that writes
//! to stdout.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use kanvoy_client::Event;
use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::clean;
use crate::exit::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Magenta => "35",
            Self::Cyan => "36",
        }
    }
}

/// How a state is drawn, here as everywhere.
pub fn ink_of(state: &str) -> Ink {
    match state {
        "BACKLOG" | "CANCELLED" => Ink::Dim,
        "TODO" => Ink::Blue,
        "PLANNING" | "IN_PROGRESS" => Ink::Yellow,
        "REVIEW" | "VERIFY" => Ink::Magenta,
        "COMPLETED" => Ink::Green,
        "FAILED" => Ink::Red,
        _ => Ink::Plain,
    }
}

/// One piece of text, clean, with its colour.
pub struct Cell {
    text: String,
    ink: Ink,
}

pub fn cell(text: impl AsRef<str>) -> Cell {
    Cell { text: clean::line(text.as_ref()).into_owned(), ink: Ink::Plain }
}

impl Cell {
    pub fn ink(mut self, ink: Ink) -> Self {
        self.ink = ink;
        self
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub json: bool,
    colour: bool,
    terminal: bool,
    /// Columns, on a terminal.
    width: Option<usize>,
}

impl Screen {
    pub fn of_process(json: bool, no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        Self { json, colour: terminal && !no_color, terminal, width: width.filter(|width| terminal && *width >= 40) }
    }

    pub fn paint(self, text: &str, ink: Ink) -> Cow<'_, str> {
        if !self.colour || ink == Ink::Plain || text.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(format!("\x1b[{}m{text}\x1b[0m", ink.code()))
    }

    /// A line of our own words; what came from the server must be clean already.
    pub fn line(self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.write(text.as_ref())?;
        self.write("\n")
    }

    /// Without a line break, and at once.
    pub fn write(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Ok(());
        }
        Ok(out.flush()?)
    }

    pub fn flush(self) -> Result<(), Failure> {
        Ok(io::stdout().lock().flush()?)
    }

    /// The one document of `--json`.
    pub fn document(self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(document).map_err(io::Error::other)?;
        self.line(if self.terminal { clean::json(&text) } else { Cow::Borrowed(text.as_str()) })
    }

    /// One line of NDJSON: the event as the server sent it.
    pub fn event_line(self, event: &Event) -> Result<(), Failure> {
        let text = if event.text.contains('\n') {
            // Only a server that is not ours sends an event on several lines.
            let value: serde_json::Value = serde_json::from_str(&event.text).map_err(io::Error::other)?;
            Cow::Owned(value.to_string())
        } else {
            Cow::Borrowed(&*event.text)
        };
        let text = if self.terminal { clean::json(&text) } else { text };
        self.line(text)?;
        self.flush()
    }

    /// Columns under their names. The column at `wide` gives way when the terminal is too narrow.
    pub fn table(self, names: &[&str], rows: &[Vec<Cell>], wide: usize) -> Result<(), Failure> {
        let mut widths: Vec<usize> = names.iter().map(|name| name.width()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        if let Some(screen) = self.width {
            let others: usize = widths.iter().enumerate().filter(|(i, _)| *i != wide).map(|(_, width)| width + 2).sum();
            if let Some(width) = widths.get_mut(wide) {
                *width = (*width).min(screen.saturating_sub(others).max(20));
            }
        }
        let head: Vec<Cell> = names.iter().map(|name| cell(name).ink(Ink::Dim)).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(rows) {
            let mut line = String::new();
            let last = row.len().saturating_sub(1);
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let shown = shortened(&cell.text, *width);
                line.push_str(&self.paint(&shown, cell.ink));
                if i != last {
                    line.push_str(&" ".repeat(width - shown.width() + 2));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        self.write(&text)
    }

    /// Names and values, one pair a line; pairs without a value are left out.
    pub fn pairs(self, pairs: &[(&str, Option<String>)]) -> Result<(), Failure> {
        let width = pairs.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name.width()).max().unwrap_or(0);
        for (name, value) in pairs {
            if let Some(value) = value {
                let pad = " ".repeat(width - name.width() + 2);
                self.line(format!("{}{pad}{}", self.paint(name, Ink::Dim), clean::line(value)))?;
            }
        }
        Ok(())
    }

    /// What to type next.
    pub fn next(self, commands: &[String]) -> Result<(), Failure> {
        if commands.is_empty() {
            return Ok(());
        }
        self.line("\nNext:")?;
        for command in commands {
            self.line(format!("  {}", self.paint(&clean::line(command), Ink::Cyan)))?;
        }
        Ok(())
    }
}

/// Says on stderr, for people, what does not belong to the answer.
pub fn aside(text: &str) {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{}", clean::block(text));
}

fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used >= width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_gives_way_by_what_it_takes_on_the_screen() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
        assert_eq!(shortened("木木木", 4), "木…");
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        let screen = |colour| Screen { json: false, colour, terminal: colour, width: None };
        assert_eq!(screen(false).paint("a", Ink::Red), "a");
        assert_eq!(screen(true).paint("a", Ink::Red), "\x1b[31ma\x1b[0m");
    }
}
