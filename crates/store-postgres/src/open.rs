//! Opening: the server and how long it may take, the version of the tables, and the connections.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kanvoy_store::{StoreError, Tell};
use kanvoy_store_sql::{GROUP, Ledger, Writer};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Row, SqlSafeStr};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::error::broken;
use crate::pen::ServerPen;
use crate::{Doubts, PostgresStore};

/// Why the store did not open: which database, what is wrong, and what to do. No password is in any of them.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("this is no address of a Postgres database: {0}; write it as postgres://USER@HOST:PORT/DATABASE")]
    Address(String),
    #[error("{place} cannot be reached: {error}")]
    Unreachable { place: String, error: StoreError },
    #[error("{place} is PostgreSQL {found}, and kanvoy needs 15 or later")]
    TooOld { place: String, found: String },
    #[error("{place} holds the tables of something else; make a database for kanvoy alone: createdb kanvoy")]
    Foreign { place: String },
    #[error(
        "{place} was written by a newer kanvoy (its tables have version {found}, this one knows {known}); start that one, or put \
         a dump of before the upgrade in its place"
    )]
    Newer { place: String, found: i64, known: i64 },
    #[error("{place} could not be upgraded: {error}; the step that failed was taken back")]
    Upgrade { place: String, error: MigrateError },
    #[error("{place} cannot be read: {error}")]
    Unreadable { place: String, error: StoreError },
}

/// Enough for the pages of some sockets and lists at a time. With the writer's, one more than the server's
/// `max_connections` must have room for.
pub(crate) const READERS: u32 = 8;

/// How long a reader waits for a connection, and for a new one to be made.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// A server that does not answer is given up a little later than it would have given up the statement itself.
const ANSWERED_WITHIN: Duration = Duration::from_secs(40);

/// Reads that take several statements take them all in this time.
pub(crate) const READ_WITHIN: Duration = Duration::from_secs(60);

/// A connection that was used a moment ago is taken to be alive.
pub(crate) const ALIVE: Duration = Duration::from_secs(1);

/// Commits that wait while a group is being written. More wait in their callers.
const QUEUE: usize = 4 * GROUP;

/// What every connection asks of its server. Whoever has locked a log and then falls silent holds up everybody else's
/// commits to it, so the server does not wait long for us either.
const SESSION: &str = "SET application_name = 'kanvoy';
    SET statement_timeout = '30s';
    SET lock_timeout = '15s';
    SET idle_in_transaction_session_timeout = '30s';
    SET tcp_keepalives_idle = 30;
    SET tcp_keepalives_interval = 10;
    SET tcp_keepalives_count = 3;
    SET default_transaction_isolation = 'read committed';
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// How the tables came to be, one line a step.
pub(crate) fn migrations() -> Migrator {
    Migrator::with_migrations(vec![migration(1, "board", include_str!("../../../migrations/postgres/0001_board.sql"))])
}

fn migration(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
}

impl PostgresStore {
    /// Opens the database at this address (`postgres://…`, with `sslmode` and the rest as libpq has them), and makes its
    /// tables where there are none. Other processes may have it open too.
    pub async fn open(url: &str, tell: Arc<dyn Tell>) -> Result<Self, OpenError> {
        Self::open_with(url, tell, &migrations()).await
    }

    pub(crate) async fn open_with(url: &str, tell: Arc<dyn Tell>, migrations: &Migrator) -> Result<Self, OpenError> {
        let options = address(url)?;
        let place = place(&options);
        let unreachable = |error: sqlx::Error| OpenError::Unreachable { place: place.clone(), error: broken(&error) };
        let mut connection = connect(&options).await.map_err(unreachable)?;
        upgrade(&place, &mut connection, migrations).await?;
        let doubts = Doubts::default();
        let doubted = Arc::clone(&doubts);
        let readers = PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(CONNECTED_WITHIN)
            .test_before_acquire(false)
            .before_acquire(move |connection, before| {
                let doubtful = before.idle_for > ALIVE || doubted.load(Ordering::Relaxed) > 0;
                Box::pin(async move {
                    if doubtful {
                        answered(connection.ping()).await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| Box::pin(session(connection)))
            .connect_with(options.clone())
            .await
            .map_err(unreachable)?;

        let (asks, queue) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        let pen = ServerPen::new(connection, options.clone(), readers.clone());
        tasks.spawn(Writer::new(pen, Ledger::default(), tell).run(queue));
        Ok(Self { readers, writer: asks, tasks, options, doubts })
    }
}

pub(crate) fn address(url: &str) -> Result<PgConnectOptions, OpenError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(OpenError::Address("it does not begin with postgres://".into()));
    }
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| OpenError::Address(error.to_string()))?;
    Ok(options.statement_cache_capacity(256).disable_statement_logging())
}

/// The database by its name, without what is secret.
pub(crate) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(folder) => format!("the database {database} at {}", folder.display()),
        None => format!("the database {database} at {}:{}", options.get_host(), options.get_port()),
    }
}

pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connecting = async {
        let mut connection = options.connect().await?;
        session(&mut connection).await?;
        Ok(connection)
    };
    let timed = tokio::time::timeout(CONNECTED_WITHIN, connecting).await;
    timed.unwrap_or_else(|_| Err(sqlx::Error::Protocol("the database does not let us in".into())))
}

async fn session(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    answered(sqlx::raw_sql(SESSION).execute(connection)).await.map(drop)
}

/// The server's own limits end a statement that takes too long; this ends the wait for a server that is not there.
pub(crate) async fn answered<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let timed = tokio::time::timeout(ANSWERED_WITHIN, asked).await;
    timed.unwrap_or_else(|_| Err(sqlx::Error::Protocol("the database does not answer".into())))
}

async fn upgrade(place: &str, connection: &mut PgConnection, migrations: &Migrator) -> Result<(), OpenError> {
    let unreadable = |error: sqlx::Error| OpenError::Unreadable { place: place.to_owned(), error: broken(&error) };
    let server = "SELECT current_setting('server_version_num')::int8, current_setting('server_version')";
    let (number, found) =
        answered(sqlx::query_as::<_, (i64, String)>(server).fetch_one(&mut *connection)).await.map_err(unreadable)?;
    if number < 150_000 {
        return Err(OpenError::TooOld { place: place.to_owned(), found });
    }
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
    match version(connection).await.map_err(unreadable)? {
        Tables::None => {}
        Tables::Foreign => return Err(OpenError::Foreign { place: place.to_owned() }),
        Tables::Version(found) if found > known => {
            return Err(OpenError::Newer { place: place.to_owned(), found, known });
        }
        Tables::Version(found) if found < known => info!("{place} goes from version {found} to {known}"),
        Tables::Version(_) => return Ok(()),
    }
    // The migrator holds a lock of the whole database meanwhile, so of several processes one does it. A step may take as
    // long as it needs, and so may those who wait for it.
    let unlimited = "SET statement_timeout = 0; SET lock_timeout = 0";
    answered(sqlx::raw_sql(unlimited).execute(&mut *connection)).await.map_err(unreadable)?;
    migrations.run_direct(None, &mut *connection, false).await.map_err(|error| match error {
        // Somebody newer was quicker.
        MigrateError::VersionMissing(found) => OpenError::Newer { place: place.to_owned(), found, known },
        error => OpenError::Upgrade { place: place.to_owned(), error },
    })?;
    session(connection).await.map_err(unreadable)
}

enum Tables {
    None,
    Foreign,
    Version(i64),
}

async fn version(connection: &mut PgConnection) -> Result<Tables, sqlx::Error> {
    let tables = "SELECT count(*), count(*) FILTER (WHERE tablename = '_sqlx_migrations'),
            count(*) FILTER (WHERE tablename IN ('log', 'board', 'event'))
         FROM pg_tables WHERE schemaname = current_schema()";
    let row = answered(sqlx::query(tables).fetch_one(&mut *connection)).await?;
    match (row.get::<i64, _>(0), row.get::<i64, _>(1), row.get::<i64, _>(2)) {
        (0, _, _) => Ok(Tables::None),
        (_, 0, _) => Ok(Tables::Foreign),
        (_, _, ours) => {
            let version = sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations");
            Ok(match answered(version.fetch_one(connection)).await? {
                // Without a row it was stopped while it was made: there is nothing to lose.
                None => Tables::None,
                Some(_) if ours < 3 => Tables::Foreign,
                Some(version) => Tables::Version(version),
            })
        }
    }
}
