//! What no agent should do, and some do.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent_client_protocol_schema::v1::StopReason;
use serde_json::json;

use super::{Done, End, Memory, Turn};

/// What other programs print when they think a person is looking, and other things that are no protocol.
const GARBAGE: [&str; 6] = [
    "npm warn deprecated left-pad@1.0.0: use String.prototype.padStart",
    "\u{1b}[32m✔\u{1b}[0m ready in 12 ms",
    "{\"jsonrpc\":\"2.0\",\"method\":\"session/upd",
    "[{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{}}]",
    "42",
    "",
];

/// As large as a usual update.
const FLOOD_LINE: usize = 300;
const FLOOD_PIECE: usize = 64 << 10;

#[derive(Clone, Copy)]
pub(super) enum Until {
    Time(Duration),
    Bytes(u64),
}

impl Turn {
    pub(super) fn garbage(&self, lines: u64) -> Done {
        for line in (0..lines).zip(GARBAGE.iter().cycle()).map(|(_, line)| *line) {
            self.wire.line(line.as_bytes().to_vec())?;
        }
        Ok(())
    }

    pub(super) fn long_line(&self, bytes: u64) -> Done {
        let [before, after] = self.around_text();
        let filler = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(before.len() + after.len());
        let mut line = Vec::with_capacity(before.len() + filler + after.len() + 1);
        line.extend_from_slice(before.as_bytes());
        line.resize(before.len() + filler, b'x');
        line.extend_from_slice(after.as_bytes());
        Ok(self.wire.line(line)?)
    }

    pub(super) fn invalid_utf8(&self) -> Done {
        let [before, after] = self.around_text();
        // The middle of a character, a byte that never occurs, and a NUL.
        Ok(self.wire.line([before.as_bytes(), b"\xe2\x82", b"\xff", b"\0", after.as_bytes()].concat())?)
    }

    pub(super) fn flood(&self, memory: &Memory, until: Until) -> Done {
        let [before, after] = self.around_text();
        let begun = Instant::now();
        let (mut number, mut bytes) = (0_u64, 0_u64);
        loop {
            let over = match until {
                Until::Time(time) => begun.elapsed() >= time,
                Until::Bytes(most) => bytes >= most,
            };
            if over {
                return Ok(());
            }
            if !memory.deaf && self.wire.is_cancelled() {
                return Err(End::Stop(StopReason::Cancelled));
            }
            let mut piece = Vec::with_capacity(FLOOD_PIECE + FLOOD_LINE);
            while piece.len() < FLOOD_PIECE {
                number += 1;
                let text = format!("{before}flood {number:010} ");
                let filler = FLOOD_LINE.saturating_sub(text.len() + after.len());
                piece.extend_from_slice(text.as_bytes());
                piece.resize(piece.len() + filler, b'.');
                piece.extend_from_slice(after.as_bytes());
                piece.push(b'\n');
            }
            bytes += piece.len() as u64;
            self.wire.lines(&piece)?;
        }
    }

    /// A message chunk as a line, cut where its text stands.
    fn around_text(&self) -> [String; 2] {
        let before = format!(
            r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":{},"update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":""#,
            json!(self.session),
        );
        [before, "\"}}}}".to_owned()]
    }

    pub(super) fn unknown_update(&self) -> Done {
        let update = json!({ "sessionUpdate": "weather_update", "sky": "clear", "degrees": 21 });
        Ok(self.wire.notify("session/update", json!({ "sessionId": self.session, "update": update }))?)
    }

    pub(super) fn legacy(&self, text: &str) -> Done {
        let content = json!([{ "type": "text", "text": text }]);
        Ok(self.wire.notify("session/update", json!({ "sessionId": self.session, "content": content }))?)
    }

    pub(super) fn child(&self, memory: &mut Memory, time: Duration, detached: bool) -> Done {
        let Some(program) = &self.settings.program else { return self.say(memory, "I have no program to run\n") };
        let mut child = Command::new(program);
        child.arg("--be-child").arg(time.as_secs_f64().to_string()).env_clear().stdin(Stdio::null());
        if detached {
            child.process_group(0);
        }
        // Neither waited for nor killed: what becomes of it is somebody else's problem, which is the point.
        let text = match child.spawn() {
            Ok(child) => format!("child {} is running\n", child.id()),
            Err(error) => format!("no child: {error}\n"),
        };
        self.say(memory, &text)
    }

    pub(super) fn eat(&self, memory: &mut Memory, bytes: u64) -> Done {
        const PIECE: u64 = 1 << 20;
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(PIECE);
            // Not zero, so that every page is really there.
            memory.eaten.push(vec![0x5a; usize::try_from(piece).unwrap_or(0)]);
            left -= piece;
        }
        self.say(memory, &format!("ate {} MB\n", bytes >> 20))
    }
}
