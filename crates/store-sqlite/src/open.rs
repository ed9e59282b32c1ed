//! Opening: the file and its mode, the version of its tables, the backup before they change, and the connections.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kanvoy_store::{StoreError, Tell};
use kanvoy_store_sql::{GROUP, Writer};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, SqlSafeStr, SqliteConnection};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::SqliteStore;
use crate::backup::copy;
use crate::ledger;
use crate::pen::FilePen;

/// Why the store did not open: which file, what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path} cannot be opened: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error(
        "{path} is in use by another daemon{}; stop that one, or give this one a database of its own",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error(
        "{path} is not a kanvoy database, or a damaged one ({detail}); move it away to begin anew, or put a backup in its place"
    )]
    NotADatabase { path: PathBuf, detail: String },
    #[error(
        "{path} was written by a newer kanvoy (its tables have version {found}, this one knows {known}); start that one, or put \
         a backup of before the upgrade in its place"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "{path} must be upgraded, but no backup could be written to {to} before: {error}; make room or mend its permissions, then \
         start again"
    )]
    NoBackup { path: PathBuf, to: PathBuf, error: StoreError },
    #[error("{path} could not be upgraded: {error}; the step that failed was taken back")]
    Upgrade { path: PathBuf, error: sqlx::migrate::MigrateError },
    #[error("{path} cannot be read: {error}")]
    Unreadable { path: PathBuf, error: StoreError },
}

/// Enough for the pages of some sockets and lists at a time: each reads for a few milliseconds.
const READERS: u32 = 4;

/// Commits that wait while a group is being written. More wait in their callers.
const QUEUE: usize = 4 * GROUP;

/// Backups of before an upgrade that are kept.
const BACKUPS: usize = 2;

/// How the tables came to be, one line a step.
pub(crate) fn migrations() -> Migrator {
    Migrator::with_migrations(vec![migration(1, "board", include_str!("../../../migrations/sqlite/0001_board.sql"))])
}

fn migration(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
}

impl SqliteStore {
    /// Opens the database in the file, or makes it. Nobody else opens it until this one is closed: what the writer has counted,
    /// nobody else may count. Copies and checks may look at it all the same.
    pub async fn open(path: &Path, tell: Arc<dyn Tell>) -> Result<Self, OpenError> {
        Self::open_with(path, tell, &migrations()).await
    }

    pub(crate) async fn open_with(path: &Path, tell: Arc<dyn Tell>, migrations: &Migrator) -> Result<Self, OpenError> {
        own(path).map_err(|error| OpenError::File { path: path.to_owned(), error })?;
        let lock = lock(path)?;
        let not_a_database = |error: sqlx::Error| match crate::error::broken(&error) {
            StoreError::Damaged(detail) => OpenError::NotADatabase { path: path.to_owned(), detail },
            error => OpenError::Unreadable { path: path.to_owned(), error },
        };
        let mut connection = writer(path).connect().await.map_err(not_a_database)?;
        upgrade(path, &mut connection, migrations).await?;
        let ledger = ledger::load(&mut connection)
            .await
            .map_err(|error| OpenError::Unreadable { path: path.to_owned(), error })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(reader(path))
            .await
            .map_err(not_a_database)?;

        let (asks, queue) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        let pen = FilePen::new(connection, path.to_owned(), readers.clone(), lock);
        tasks.spawn(Writer::new(pen, ledger, tell).run(queue));
        Ok(Self { readers, writer: asks, tasks, path: path.to_owned() })
    }
}

/// Makes the file ours alone before SQLite sees it: its write-ahead log and index get the same mode.
fn own(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        file.set_permissions(permissions)?;
    }
    Ok(())
}

/// `<file>.lock`, and in it the pid of whoever holds it. SQLite's own locks are let go between two commits. The file stays
/// when it is let go: whoever removed it could remove one that another has just taken.
fn lock(path: &Path) -> Result<File, OpenError> {
    // One file may have several names.
    let real = path.canonicalize().map_err(|error| OpenError::File { path: path.to_owned(), error })?;
    let mut name = real.into_os_string();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |error| OpenError::File { path: name.clone(), error };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(OpenError::InUse { path: path.to_owned(), pid: pid_in(&file) }),
        Err(error) => return Err(failed(error.into())),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(failed)?;
    Ok(file)
}

/// `None` when the holder has not written it yet.
fn pid_in(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

pub(crate) fn writer(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit is on the disk before it is answered.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        // Four times the default: half as much is written twice when many lines arrive, and 16 MB are read back after a
        // crash in no time.
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(256)
        .row_buffer_size(512)
        .disable_statement_logging()
}

pub(crate) fn reader(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .row_buffer_size(512)
        .disable_statement_logging()
}

/// For a look at a file that may be another process's.
pub(crate) async fn read_only(path: &Path) -> Result<SqliteConnection, StoreError> {
    reader(path).connect().await.map_err(|error| match crate::error::broken(&error) {
        StoreError::Damaged(why) => StoreError::Damaged(format!("{}: {why}", path.display())),
        other => StoreError::Unavailable(format!("{}: {other}", path.display())),
    })
}

async fn upgrade(path: &Path, connection: &mut SqliteConnection, migrations: &Migrator) -> Result<(), OpenError> {
    let unreadable = |error: sqlx::Error| match crate::error::broken(&error) {
        StoreError::Damaged(detail) => OpenError::NotADatabase { path: path.to_owned(), detail },
        error => OpenError::Unreadable { path: path.to_owned(), error },
    };
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
    match version(connection).await.map_err(unreadable)? {
        Tables::None => {}
        Tables::Foreign => {
            let detail = "it holds the tables of something else".to_owned();
            return Err(OpenError::NotADatabase { path: path.to_owned(), detail });
        }
        Tables::Version(found) if found > known => {
            return Err(OpenError::Newer { path: path.to_owned(), found, known });
        }
        Tables::Version(found) if found < known => {
            let to = back_up_before(path, connection, known).await?;
            info!("{} goes from version {found} to {known}; {} is as it was", path.display(), to.display());
        }
        Tables::Version(_) => {}
    }
    migrations
        .run_direct(None, connection, false)
        .await
        .map_err(|error| OpenError::Upgrade { path: path.to_owned(), error })
}

enum Tables {
    None,
    Foreign,
    Version(i64),
}

async fn version(connection: &mut SqliteConnection) -> Result<Tables, sqlx::Error> {
    let tables = "SELECT count(*), coalesce(sum(name = '_sqlx_migrations'), 0) FROM sqlite_schema WHERE type = 'table'";
    let row = sqlx::query(tables).fetch_one(&mut *connection).await?;
    match (row.get::<i64, _>(0), row.get::<i64, _>(1)) {
        (0, _) => Ok(Tables::None),
        (_, 0) => Ok(Tables::Foreign),
        _ => {
            let version = sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations");
            // Without a row it was stopped while it was made: there is nothing to lose.
            Ok(version.fetch_one(connection).await?.map_or(Tables::None, Tables::Version))
        }
    }
}

/// `<folder>/backups/before-<version>.db`, and no more than two of them.
async fn back_up_before(path: &Path, connection: &mut SqliteConnection, known: i64) -> Result<PathBuf, OpenError> {
    let folder = path.parent().unwrap_or(Path::new(".")).join("backups");
    let to = folder.join(format!("before-{known}.db"));
    let failed = |error: StoreError| OpenError::NoBackup { path: path.to_owned(), to: to.clone(), error };
    let io_failed = |error: io::Error| failed(StoreError::Unavailable(error.to_string()));
    match std::fs::DirBuilder::new().create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_failed(error)),
        _ => std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).map_err(io_failed)?,
    }
    // Of an upgrade that was tried before and failed after its backup.
    match std::fs::remove_file(&to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_failed(error)),
        _ => copy(connection, &to).await.map_err(failed)?,
    }
    forget_old_backups(&folder).map_err(io_failed)?;
    Ok(to)
}

fn forget_old_backups(folder: &Path) -> io::Result<()> {
    let mut backups: Vec<(i64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(version) = name.strip_prefix("before-").and_then(|rest| rest.strip_suffix(".db"))
            && let Ok(version) = version.parse()
        {
            backups.push((version, path));
        }
    }
    backups.sort();
    for (_, path) in backups.iter().rev().skip(BACKUPS) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kanvoy_store::{Change, Claim, Commit, Store};

    use super::*;

    fn up_to(version: i64) -> Migrator {
        let later = (2..=version).map(|version| {
            let sql = ["CREATE TABLE two (a)", "CREATE TABLE three (a)", "CREATE TABLE four (a)", "CREATE nonsense"];
            migration(version, "later", sql[usize::try_from(version).expect("small") - 2])
        });
        Migrator::with_migrations(migrations().iter().cloned().chain(later).collect())
    }

    async fn open(path: &Path, version: i64) -> Result<SqliteStore, OpenError> {
        SqliteStore::open_with(path, Arc::new(()), &up_to(version)).await
    }

    async fn version_of(path: &Path) -> i64 {
        let mut connection = read_only(path).await.expect("opens");
        let version = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations");
        version.fetch_one(&mut connection).await.expect("reads")
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("is there").permissions().mode() & 0o777
    }

    fn claim() -> Claim {
        let at = kanvoy_domain::Timestamp::from_millis(1);
        Claim { person: "ada".into(), key: "kept".into(), fingerprint: [1; 32], at }
    }

    #[tokio::test]
    async fn an_upgrade_keeps_what_was_before_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kanvoy.db");
        let backups = folder.path().join("backups");
        let store = open(&path, 1).await.expect("is made");
        store.commit(Commit::new(vec![Change::Claim(claim())], vec![])).await.expect("is kept");
        store.close().await;
        assert!(!backups.exists(), "a new database has nothing to keep");

        for version in [2, 3, 4] {
            let store = open(&path, version).await.expect("is upgraded");
            assert!(store.answer(&claim()).await.expect("reads").is_some(), "what was there is there");
            store.close().await;
            let backup = backups.join(format!("before-{version}.db"));
            assert_eq!((mode(&backups), mode(&backup)), (0o700, 0o600));
            assert_eq!((version_of(&path).await, version_of(&backup).await), (version, version - 1));
        }
        let mut kept: Vec<_> =
            backups.read_dir().expect("reads").map(|entry| entry.expect("reads").file_name()).collect();
        kept.sort();
        assert_eq!(kept, ["before-3.db", "before-4.db"], "the newest two");
        open(&path, 4).await.expect("opens as it is").close().await;

        let refused = open(&path, 1).await.err().expect("is refused").to_string();
        assert!(refused.contains("newer kanvoy") && refused.contains("kanvoy.db"), "{refused}");
        assert_eq!(version_of(&path).await, 4, "and left alone");

        // A backup can be put in the place of the upgraded file.
        let store = open(&backups.join("before-3.db"), 2).await.expect("opens");
        assert!(store.answer(&claim()).await.expect("reads").is_some());
        store.close().await;

        let refused = open(&path, 5).await.err().expect("is refused").to_string();
        assert!(refused.contains("could not be upgraded"), "{refused}");
        assert_eq!(version_of(&path).await, 4);
        open(&path, 4).await.expect("opens as it was").close().await;
    }

    #[tokio::test]
    async fn no_upgrade_without_a_backup() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kanvoy.db");
        open(&path, 1).await.expect("is made").close().await;
        std::fs::write(folder.path().join("backups"), "in the way").expect("writes");
        let refused = open(&path, 2).await.err().expect("is refused");
        assert!(matches!(refused, OpenError::NoBackup { .. }), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("before-2.db") && said.contains("start again"), "{said}");
        assert_eq!(version_of(&path).await, 1, "nothing was changed");
        std::fs::remove_file(folder.path().join("backups")).expect("removes");
        open(&path, 2).await.expect("is upgraded once there is room").close().await;
    }

    #[tokio::test]
    async fn the_files_are_ours_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kanvoy.db");
        std::fs::write(&path, "").expect("writes");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("is anybody's");
        let store = open(&path, 1).await.expect("is made");
        store.ready().await.expect("can write");
        for name in ["kanvoy.db", "kanvoy.db-wal", "kanvoy.db-shm"] {
            assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
        }
        store.close().await;
        assert!(!folder.path().join("kanvoy.db-wal").exists(), "all of it is in the file");
    }

    #[tokio::test]
    async fn two_never_have_one_database() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kanvoy.db");
        let other_name = folder.path().join("other.db");
        let store = open(&path, 1).await.expect("is made");
        std::os::unix::fs::symlink(&path, &other_name).expect("is linked");
        for name in [&path, &other_name] {
            let refused = open(name, 1).await.err().expect("is refused");
            assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
            let said = refused.to_string();
            let file = name.file_name().expect("has one").to_string_lossy();
            assert!(said.contains(&*file) && said.contains(&format!("pid {}", std::process::id())), "{said}");
        }
        assert_eq!(mode(&folder.path().join("kanvoy.db.lock")), 0o600);
        crate::backup(&path, &folder.path().join("copy.db")).await.expect("is copied meanwhile");
        assert_eq!(crate::check(&path).await.expect("is checked meanwhile"), Vec::<String>::new());
        store.ready().await.expect("the first one goes on");
        store.close().await;
        open(&other_name, 1).await.expect("is free").close().await;
    }

    #[tokio::test]
    async fn what_is_no_database_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kanvoy.db");
        let letter = "Dear diary, ".repeat(1_000);
        std::fs::write(&path, &letter).expect("writes");
        let refused = open(&path, 1).await.err().expect("is refused");
        assert!(matches!(refused, OpenError::NotADatabase { .. }), "{refused}");
        assert!(refused.to_string().contains("kanvoy.db"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), letter);

        let foreign = folder.path().join("foreign.db");
        let mut connection = writer(&foreign).create_if_missing(true).connect().await.expect("is made");
        sqlx::raw_sql("CREATE TABLE song (title)").execute(&mut connection).await.expect("is made");
        let refused = open(&foreign, 1).await.err().expect("is refused");
        assert!(refused.to_string().contains("something else"), "{refused}");

        let missing = folder.path().join("no/such/folder/kanvoy.db");
        let refused = open(&missing, 1).await.err().expect("is refused").to_string();
        assert!(refused.contains("no/such/folder/kanvoy.db") && refused.contains("No such file"), "{refused}");
    }
}
