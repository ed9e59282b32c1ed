//! Makes text that came from elsewhere safe for a terminal: nothing in it can move the cursor, change the title, ring, or
//! make one line look like another. What is taken out is shown in its place.

use std::borrow::Cow;

/// For one line: line breaks and tabs are shown as marks.
pub fn line(text: &str) -> Cow<'_, str> {
    cleaned(text, |c| match c {
        '\n' => Some('␊'),
        '\r' => Some('␍'),
        '\t' => Some(' '),
        _ => None,
    })
}

/// For several lines: line breaks and tabs stay.
pub fn block(text: &str) -> Cow<'_, str> {
    cleaned(text, |c| matches!(c, '\n' | '\t').then_some(c))
}

/// For JSON on a terminal: it stays the same JSON, with what could harm written as escapes. Control characters below
/// space are escapes already.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_harmful(c) && c as u32 >= 0x7f) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) && c as u32 >= 0x7f {
            // All of them are below U+10000, so one escape is enough.
            out.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn cleaned(text: &str, kept: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if !is_harmful(c) => out.push(c),
            _ if kept(c).is_some() => out.extend(kept(c)),
            // There are pictures of the old control characters.
            '\0'..='\x1f' => out.extend(char::from_u32(0x2400 + c as u32)),
            '\x7f' => out.push('␡'),
            _ => out.push_str(&format!("<U+{:04X}>", c as u32)),
        }
    }
    Cow::Owned(out)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // What turns the direction of writing round: the text would read differently from what it is.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators, and the mark that some terminals take for one.
            | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        for (text, shown) in [
            ("plain – Größe 木 👩‍💻", "plain – Größe 木 👩‍💻"),
            ("\x1b]0;title\x07", "␛]0;title␇"),
            ("\x1b[2J", "␛[2J"),
            ("a\nb\tc\rd", "a␊b c␍d"),
            ("\u{9b}31m", "<U+009B>31m"),
            ("user\u{202e}nimda", "user<U+202E>nimda"),
            ("\x7f\0", "␡␀"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(block("a\n\tb\r\x1b[1A"), "a\n\tb␍␛[1A");
    }

    #[test]
    fn json_stays_json() {
        let text = "{\"a\":\"\u{202e}\u{9b}x\u{7f}\"}";
        let shown = json(text);
        assert_eq!(shown, r#"{"a":"\u202e\u009bx\u007f"}"#);
        let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("is JSON");
        assert_eq!(same(&shown), same(text));
    }
}
