//! `kanvoy doctor`: looks at everything that a board needs, says what it found, and how to mend it. Changes nothing, and
//! works without a daemon.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use kanvoy_client::ClientError;
use kanvoy_engine::{Clock, SystemClock};
use rustix::fs::statvfs;
use serde::Serialize;
use serde_json::json;

use crate::commands::Context;
use crate::config::serving::Runtime;
use crate::data_dir::{Listening, holder};
use crate::engine_check::ContainerEngine;
use crate::exit::{Exit, Failure};
use crate::show::{Ink, Screen};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    about: &'static str,
    said: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

fn ok(about: &'static str, said: impl Into<String>) -> Finding {
    Finding { level: Level::Ok, about, said: said.into(), mend: None }
}

fn warn(about: &'static str, said: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { level: Level::Warn, about, said: said.into(), mend: Some(mend.into()) }
}

fn fail(about: &'static str, said: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { level: Level::Fail, about, said: said.into(), mend: Some(mend.into()) }
}

pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let mut findings = Vec::new();
    findings.extend(configuration(context));
    let dir = &context.config.data_dir.value;
    if dir.is_dir() {
        findings.push(private(dir, "data directory", 0o700));
        findings.push(private(&context.config.token_file.value, "token", 0o600));
        findings.push(lock(context));
        findings.push(disk(dir));
    } else {
        findings.push(warn("data directory", format!("{} is not there yet", dir.display()), "kanvoy serve makes it"));
    }
    findings.push(database(context).await);
    findings.extend(daemon(context).await);
    findings.push(engine(context).await);

    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    if context.screen.json {
        context.screen.document(&json!({ "ok": !failed, "findings": findings }))?;
    } else {
        for finding in &findings {
            draw(context.screen, finding)?;
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn draw(screen: Screen, finding: &Finding) -> Result<(), Failure> {
    let (word, ink) = match finding.level {
        Level::Ok => ("ok  ", Ink::Green),
        Level::Warn => ("warn", Ink::Yellow),
        Level::Fail => ("FAIL", Ink::Red),
    };
    let said = crate::clean::line(&finding.said);
    screen.line(format!("{}  {:<14}  {said}", screen.paint(word, ink), finding.about))?;
    match &finding.mend {
        Some(mend) => screen.line(format!("{}→ {}", " ".repeat(22), crate::clean::line(mend))),
        None => Ok(()),
    }
}

fn configuration(context: &Context) -> Vec<Finding> {
    let unknown = &context.config.unknown_variables;
    if unknown.is_empty() {
        return vec![ok("configuration", "every value is understood (kanvoy config show)")];
    }
    vec![warn(
        "configuration",
        format!("{} is set and means nothing to this version", unknown.join(", ")),
        "unset it, or look for a slip of the pen",
    )]
}

fn private(path: &Path, about: &'static str, wanted: u32) -> Finding {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return warn(about, format!("{} is not there yet", path.display()), "kanvoy serve makes it");
        }
        Err(error) => return fail(about, format!("{}: {error}", path.display()), "mend its permissions"),
    };
    let mode = metadata.mode() & 0o777;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        let said = format!("{} belongs to another user (uid {})", path.display(), metadata.uid());
        return warn(about, said, "run kanvoy as that user");
    }
    if mode & 0o077 != 0 {
        let mend = format!("chmod {wanted:o} {}    # the next kanvoy serve does it too", path.display());
        return fail(about, format!("{} is open to other users (mode {mode:o})", path.display()), mend);
    }
    ok(about, format!("{} is private", path.display()))
}

fn lock(context: &Context) -> Finding {
    let announced = Listening::read(&context.config.server_file());
    match (holder(&context.config.data_dir.value), announced) {
        (Ok(Some(pid)), _) => {
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            ok("lock", format!("held by a daemon{pid}"))
        }
        (Ok(None), Some(left)) => warn(
            "lock",
            format!("free, but a daemon (pid {}) left its address behind: it was killed", left.pid),
            "nothing to do; the next kanvoy serve clears it away",
        ),
        (Ok(None), None) => ok("lock", "free"),
        (Err(error), _) => {
            fail("lock", format!("cannot be read: {error}"), "mend the permissions of the data directory")
        }
    }
}

fn disk(dir: &Path) -> Finding {
    const MIB: u64 = 1 << 20;
    let free = match statvfs(dir) {
        Ok(stat) => stat.f_bavail * stat.f_frsize / MIB,
        Err(error) => return warn("disk", format!("cannot be asked: {error}"), "look with df"),
    };
    let said = format!("{free} MiB free for {}", dir.display());
    match free {
        0..100 => fail("disk", said, "make room: with a full disk nothing can be written"),
        100..1024 => warn("disk", said, "make room before it fills up"),
        _ => ok("disk", said),
    }
}

async fn database(context: &Context) -> Finding {
    const MANY: u64 = 1 << 30;
    let path = &context.config.database.value;
    let Ok(metadata) = path.metadata() else {
        return warn("database", format!("{} is not there yet", path.display()), "kanvoy serve makes it");
    };
    if metadata.len() > MANY {
        let said = format!("{} has {} MiB; not looked through", path.display(), metadata.len() >> 20);
        return warn("database", said, "kanvoy db check    # takes its time");
    }
    let lost = "stop the daemon and put a backup in its place";
    match kanvoy_store_sqlite::check(path).await {
        Ok(faults) if faults.is_empty() => ok("database", format!("{} is sound", path.display())),
        Ok(faults) => {
            let first = faults.first().map(String::as_str).unwrap_or_default();
            fail("database", format!("{}: {} faults, the first: {first}", path.display(), faults.len()), lost)
        }
        Err(error) => fail("database", format!("{}: {error}", path.display()), lost),
    }
}

async fn daemon(context: &Context) -> Vec<Finding> {
    let url = context.address();
    let url = url.as_str().trim_end_matches('/').to_owned();
    let client = match context.client_with(Duration::ZERO) {
        Ok(client) => client,
        Err(failure) => return vec![fail("daemon", failure.said, "say another --token-file")],
    };
    let health = match client.health().await {
        Ok(health) => health,
        Err(ClientError::Unreachable { why, .. }) => {
            return vec![warn("daemon", format!("nothing answers at {url} ({why})"), "kanvoy serve")];
        }
        Err(error) => {
            let mend = "another program may listen there; say --server URL, or --listen for kanvoy serve";
            return vec![fail("daemon", format!("{url}: {error}"), mend)];
        }
    };
    let status = health.body["status"].as_str().unwrap_or("unknown");
    let mut findings = vec![match (health.ready, status) {
        (true, "ok") => ok("daemon", format!("ready at {url}")),
        (true, other) => warn("daemon", format!("at {url}, {other}"), "see below, or the checks in /readyz"),
        (false, _) => fail("daemon", format!("at {url}, not ready: {}", health.body), "look into its log"),
    }];
    findings.extend(health.date.as_deref().and_then(clock_skew));
    findings.push(match client.me().await {
        Ok(_) => ok("login", "the token is taken"),
        Err(error) => fail("login", format!("{error}"), "kanvoy config show    # which token, and from where"),
    });
    findings
}

fn clock_skew(date: &str) -> Option<Finding> {
    const MOST_SECONDS: i64 = 5;
    let server = chrono::DateTime::parse_from_rfc2822(date).ok()?;
    let skew = SystemClock.now().millis() / 1000 - server.timestamp();
    Some(if skew.abs() <= MOST_SECONDS {
        ok("clock", "agrees with the daemon's")
    } else {
        let said = format!("differs from the daemon's by {} s", skew.abs());
        warn("clock", said, "set both by the network (timedatectl set-ntp true)")
    })
}

async fn engine(context: &Context) -> Finding {
    if context.config.runtime.value == Runtime::Process {
        return ok("engine", "not needed: the runtime is process");
    }
    let host = context.config.docker_host.value.clone();
    match ContainerEngine::new(host.clone()).reach().await {
        Ok(()) => ok("engine", format!("answers at {host}")),
        Err(why) => warn("engine", why, "not needed yet; start Docker before agents come, or set KANVOY_DOCKER_HOST"),
    }
}
