//! Opening a SQLite database: its file, its settings and its tables.

use std::{
    io::ErrorKind,
    path::Path,
    time::{Duration, Instant},
};

use kea_core::port::StoreError;
use sqlx::{
    SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::error::{self, OpenError};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// How long to wait for another process that holds the database: far longer than any of KEA's transactions.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between attempts to open a database that another process is just opening. SQLite has no event for it.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn file(path: &Path) -> Result<SqlitePool, StoreError> {
    make_private_file(path).await.map_err(|error| StoreError::Unavailable(format!("`{}`: {error}", path.display())))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // An answered deploy survives a power cut; deploys are rare enough to pay for it.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connect(options.clone()).await {
            // Turning on the write-ahead log needs the file alone for a moment, and SQLite does not wait for that.
            Err(OpenError::Connect(error)) if error::is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            opened => return opened.map_err(|error| error.of(&path.display())),
        }
    }
}

pub(crate) async fn memory() -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new().in_memory(true);
    connect(options).await.map_err(|error| error.of(&":memory:"))
}

async fn connect(options: SqliteConnectOptions) -> Result<SqlitePool, OpenError> {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        // The connection lives as long as the store: with it, a database in memory would go.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(OpenError::Connect)?;
    // One transaction that writes from its start: two processes that open a new file do not both make its tables.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(OpenError::Connect)?;
    MIGRATIONS.run_direct(None, &mut *transaction, false).await.map_err(OpenError::Migrate)?;
    transaction.commit().await.map_err(OpenError::Connect)?;
    Ok(pool)
}

/// SQLite gives the files that it makes beside the database the mode of the database. A file that exists is never
/// opened here: closing it would release the locks that SQLite holds on it in this process.
async fn make_private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let made = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await;
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut permissions = tokio::fs::metadata(path).await?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(permissions.mode() & !0o077);
        tokio::fs::set_permissions(path, permissions).await?;
    }
    Ok(())
}
