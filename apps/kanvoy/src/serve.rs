//! `kanvoy serve`: takes the data directory, opens everything, listens, and ends in order when it is told to.

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kanvoy_api::LoginLink;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::admission;
use crate::config::Config;
use crate::config::serving::{Listen, LogFormat};
use crate::data_dir::{DataDir, DirError, Listening};
use crate::exit::{Exit, Failure};
use crate::wiring::Rooms;

const SWEEP_EVERY: Duration = Duration::from_secs(600);
const FIRST_SWEEP_AFTER: Duration = Duration::from_secs(60);
/// The doors end by themselves sooner than this; after it the process ends anyway, since all that was promised is on disk.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn run(config: &Config, json: bool) -> Result<Exit, Failure> {
    admission::refuse_strangers(config)?;
    // Whatever is made from here on is nobody else's business.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    log_to_stderr(config)?;
    for name in &config.unknown_variables {
        warn!("{name} is set and means nothing to this version");
    }
    allow_many_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(config, json));
    // What is left are reads that nobody waits for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// Every subscriber is an open file, and many systems begin a process with room for only 1,024. What may be had is taken.
fn allow_many_files() {
    let limits = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }) {
        warn!("the limit of open files stays at {:?}: {error}", limits.current);
    }
}

async fn serve(config: &Config, json: bool) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let mut dir = DataDir::take(&config.data_dir.value).map_err(cannot_start)?;
    let token = dir.token().map_err(cannot_start)?;
    for mended in &dir.mended {
        warn!("{mended}; it is private now");
    }
    let listener = listen(config.listen.value).await?;
    let address = listener.local_addr()?;
    let access = admission::access(config, dir.path())?;
    let database = &config.database.value;
    let rooms = Rooms::open(database).await.map_err(|error| {
        Failure::new(Exit::Failed, error.to_string()).with_next("kanvoy db check").with_next("kanvoy doctor")
    })?;
    admission::prepare(config, &rooms).await?;
    let cleared = rooms.engine.clear_half_imported().await.map_err(broken)?;
    if cleared > 0 {
        info!("{cleared} imports that were cut off have been cleared away");
    }
    rooms.engine.daemon_started(VERSION).await.map_err(broken)?;

    let shutdown = CancellationToken::new();
    let ready = Arc::new(AtomicBool::new(true));
    let api = rooms.doors(config, access, token, address, shutdown.clone(), Arc::clone(&ready));
    let router = kanvoy_api::router(Arc::clone(&api));
    let tasks = TaskTracker::new();
    tasks.spawn(sweeping(rooms.engine.clone(), shutdown.clone()));
    let mut serving = tasks.spawn(kanvoy_api::serve(listener, Arc::clone(&api), router));

    let url = format!("http://{}", reachable(address));
    let listening = Listening { url: url.clone(), pid: std::process::id(), version: VERSION.to_owned() };
    let announced = dir.announce(&listening).map_err(cannot_start)?;
    info!("kanvoy {VERSION} listens on {url}, data in {}", dir.path().display());
    greet(&url, &api.login_link().ok(), &dir, json);

    let ended = tokio::select! {
        which = signals.next() => {
            info!("{which}: stopping; a second signal ends at once");
            Exit::Done
        }
        ended = &mut serving => {
            error!("the doors have closed by themselves: {ended:?}");
            Exit::Failed
        }
    };
    ready.store(false, Ordering::Relaxed);
    shutdown.cancel();
    drop(announced);
    tasks.close();
    let ending = async {
        tasks.wait().await;
        rooms.store.close().await;
    };
    tokio::select! {
        ending = timeout(ENDS_WITHIN, ending) => if ending.is_err() {
            warn!("not everything ended in time; what was answered is kept");
        },
        which = signals.next() => {
            warn!("{which} again: ending at once");
            std::process::exit(which.code());
        }
    }
    info!("stopped");
    Ok(ended)
}

/// Nobody can go to `0.0.0.0`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn listen(address: Listen) -> Result<TcpListener, Failure> {
    TcpListener::bind(address.0).await.map_err(|error| {
        let (exit, said) = match error.kind() {
            io::ErrorKind::AddrInUse => (Exit::Conflict, "another program listens there".to_owned()),
            io::ErrorKind::PermissionDenied => (Exit::Failed, "this user may not; take a port above 1023".to_owned()),
            io::ErrorKind::AddrNotAvailable => (Exit::Failed, "this machine has no such address".to_owned()),
            _ => (Exit::Failed, error.to_string()),
        };
        Failure::new(exit, format!("cannot listen on {address}: {said}"))
            .with_next("kanvoy serve --listen 127.0.0.1:0    # any free port")
    })
}

async fn sweeping(engine: kanvoy_engine::Engine, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_SWEEP_AFTER, SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = engine.sweep().await {
            warn!("retention could not be kept: {error}");
        }
    }
}

/// For the person, or the program, that started it. Not the log's business, and no reason to stop when nobody reads it.
fn greet(url: &str, link: &Option<LoginLink>, dir: &DataDir, json: bool) {
    let token = dir.path().join("token");
    let text = if json {
        let link = link.as_ref();
        let document = json!({
            "url": url, "login_url": link.map(|link| &link.url), "login_expires_at": link.map(|link| link.expires_at),
            "token_file": token, "data_dir": dir.path(), "pid": std::process::id(), "version": VERSION,
        });
        format!("{document}\n")
    } else {
        let open = link.as_ref().map_or(url, |link| link.url.as_str());
        format!(
            "Kanvoy {VERSION} at {url}\n\n  in a browser   {open}\n                 (good once, for 15 minutes; \
             kanvoy auth link makes another)\n  in a shell     kanvoy status\n  token          {}\n\n",
            token.display()
        )
    };
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn log_to_stderr(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log.value)
        .map_err(|error| Failure::usage(format!("log ({}): {error}", config.log.origin)))?;
    let terminal = io::stderr().is_terminal();
    let json = match config.log_format.value {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let set = if json {
        log.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        log.with_ansi(terminal && !config.no_color).try_init()
    };
    set.map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

/// A hang-up is none of them: whoever starts it under `nohup` means that.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

#[derive(Clone, Copy)]
struct Told {
    name: &'static str,
    number: i32,
}

impl Told {
    /// As a shell counts a process that was ended by it.
    const fn code(self) -> i32 {
        128 + self.number
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told { name: "SIGTERM", number: 15 },
            _ = self.interrupt.recv() => Told { name: "SIGINT", number: 2 },
        }
    }
}

fn cannot_start(error: DirError) -> Failure {
    let exit = if matches!(error, DirError::Locked { .. }) { Exit::Conflict } else { Exit::Failed };
    Failure::new(exit, error.to_string())
}

fn broken(error: kanvoy_engine::EngineError) -> Failure {
    Failure::new(Exit::Failed, error.to_string()).with_next("kanvoy db check").with_next("kanvoy doctor")
}
