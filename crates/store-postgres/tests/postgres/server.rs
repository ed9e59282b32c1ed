//! A PostgreSQL server of the tests' own, in a folder that goes away with it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub struct Server {
    bin: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    /// Whom the server runs as; it refuses to run as root.
    user: Option<(u32, u32)>,
    /// Stops the server when its standard input ends: when this is dropped, and also when the tests are killed.
    watcher: Child,
}

impl Server {
    /// The one server of all tests that only need databases. It ends with the last test that holds it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// One that a test may stop and start as it likes.
    pub fn start() -> Self {
        let bin = binaries();
        let folder = tempfile::Builder::new().prefix("kanvoy-pg-").tempdir().expect("a folder");
        let user = rustix::process::geteuid().is_root().then(unprivileged);
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("is given away");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let data = folder.path().join("data");
        run(as_user(&bin.join("initdb"), user).arg("-D").arg(&data).args([
            "--username=kanvoy",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]));
        // What is tested is what the server does, not what the disk does.
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = off\n\
             max_connections = 200\nshared_buffers = 32MB\n",
            folder.path().display()
        );
        let file = data.join("postgresql.auto.conf");
        fs::write(&file, settings).expect("is written");
        let mut watcher = as_user(Path::new("sh"), user);
        watcher
            .args(["-c", "cat; exec \"$0\" -D \"$1\" -m immediate -w stop"])
            .arg(bin.join("pg_ctl"))
            .arg(&data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let watcher = watcher.spawn().expect("sh runs");
        let server = Self { bin, folder, port, user, watcher };
        server.control(&["start"]);
        server
    }

    /// `pg_ctl` with these words.
    pub fn control(&self, words: &[&str]) {
        let mut command = as_user(&self.bin.join("pg_ctl"), self.user);
        command.arg("-D").arg(self.folder.path().join("data")).arg("-w").arg("-l").arg(self.folder.path().join("log"));
        // The server inherits these, and must not hold the tests' own open.
        run(command.args(words));
    }

    /// A new, empty database.
    pub async fn database(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("connects");
        let made = sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")));
        made.execute(&mut connection).await.expect("is made");
        connection.close().await.expect("closes");
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://kanvoy@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        self.watcher.wait().ok();
    }
}

/// Where `initdb` and `pg_ctl` are: the newest of those that are installed.
fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for versions in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let bin = versions.path().join("bin");
        if let Some(version) = versions.file_name().to_str().and_then(|name| name.parse().ok())
            && bin.join("initdb").exists()
        {
            found.push((version, bin));
        }
    }
    for bin in ["/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin"].map(PathBuf::from) {
        if bin.join("initdb").exists() {
            found.push((0, bin));
        }
    }
    found.sort();
    let newest = found.pop().map(|(_, bin)| bin);
    newest.expect("these tests need PostgreSQL 15 or later: apt-get install -y postgresql (or run `make setup`)")
}

/// A user that is not root and has a name, as `initdb` wants it.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("reads");
    let named = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    named("postgres").or_else(|| named("nobody")).expect("there is a user called postgres or nobody")
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn run(command: &mut Command) {
    // Not `output`, which would wait until the server closes what it has inherited.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}");
}
