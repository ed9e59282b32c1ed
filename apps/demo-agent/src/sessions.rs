//! What the agent remembers of a session, in a file below its home, so that another process can take it up.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Of what was said, this much is kept for a replay.
const HISTORY_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub id: String,
    pub cwd: PathBuf,
    pub prompts: u64,
    pub mode: String,
    pub model: String,
    pub chatty: bool,
    pub history: Vec<Said>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub by_agent: bool,
    pub text: String,
}

impl Session {
    pub fn remember(&mut self, by_agent: bool, text: &str) {
        let so_far: usize = self.history.iter().map(|said| said.text.len()).sum();
        if so_far + text.len() <= HISTORY_BYTES {
            self.history.push(Said { by_agent, text: text.to_owned() });
        }
    }
}

/// Without a home it remembers nothing, and says so by not finding a session.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    directory: Option<PathBuf>,
    unkept: u64,
}

impl Sessions {
    pub fn below(home: Option<PathBuf>) -> Self {
        let directory = home.map(|home| home.join(".kanvoy-demo-agent"));
        // A home that cannot be written is as good as none.
        Self { directory: directory.filter(|directory| fs::create_dir_all(directory).is_ok()), unkept: 0 }
    }

    /// The lowest number that is free, so that the same story has the same names every time.
    pub fn create(&mut self, cwd: PathBuf) -> Session {
        let session = |id| Session {
            id,
            cwd: cwd.clone(),
            mode: "build".to_owned(),
            model: "demo-small".to_owned(),
            ..Session::default()
        };
        for number in 1..10_000 {
            let id = format!("demo-{number}");
            let Some(path) = self.path(&id) else { break };
            if fs::OpenOptions::new().write(true).create_new(true).open(path).is_ok() {
                return session(id);
            }
        }
        self.unkept += 1;
        session(format!("demo-unkept-{}", self.unkept))
    }

    pub fn load(&self, id: &str) -> Option<Session> {
        serde_json::from_slice(&fs::read(self.path(id)?).ok()?).ok()
    }

    pub fn save(&self, session: &Session) -> io::Result<()> {
        let Some(path) = self.path(&session.id) else { return Ok(()) };
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(session)?)?;
        fs::rename(new, path)
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        let number = id.strip_prefix("demo-")?;
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        plain.then_some(self.directory.as_ref()?.join(format!("{id}.json")))
    }
}
