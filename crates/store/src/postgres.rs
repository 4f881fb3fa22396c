//! Connecting to PostgreSQL, and its tables.

use std::{
    io::{Error as IoError, ErrorKind},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use url::Url;

use crate::error::OpenError;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// KEA writes only when what is wanted changes, and some at once; a server has a hundred connections for all.
const CONNECTIONS: u32 = 4;

/// How long whoever calls waits for a connection: someone who logs in waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the tables may take to be made, or another process that is just making them.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(60);

/// How to connect to what a URL names. What it does not say comes from the variables of PostgreSQL's own programs
/// (`PGPASSWORD`, `PGSSLROOTCERT`, …) and the file of passwords.
pub(crate) fn options(url: &Url) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_url(url)?;
    let named = options.get_application_name().is_some();
    Ok(if named { options } else { options.application_name("kea") })
}

/// Connections are made when they are needed, and again where the server was away: each is tried before it is used.
pub(crate) async fn open(url: &Url) -> Result<PgPool, OpenError> {
    let options = options(url).map_err(OpenError::Connect)?;
    migrate(&options).await?;
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_TIMEOUT);
    Ok(pool.connect_lazy_with(options))
}

/// Makes the tables on a connection of its own. The lock that keeps other processes from doing the same belongs to the
/// connection, and goes with it also where this fails.
async fn migrate(options: &PgConnectOptions) -> Result<(), OpenError> {
    let connecting = PgConnection::connect_with(options);
    let mut connection = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(OpenError::Connect)?,
        Err(_) => return Err(too_slow(CONNECT_TIMEOUT)),
    };
    // The server notes at each start that a table is there already, and sqlx would log that.
    sqlx::raw_sql("SET client_min_messages = warning").execute(&mut connection).await.map_err(OpenError::Connect)?;
    match tokio::time::timeout(MIGRATE_TIMEOUT, MIGRATIONS.run_direct(None, &mut connection, false)).await {
        Ok(migrated) => migrated.map_err(OpenError::Migrate)?,
        Err(_) => return Err(too_slow(MIGRATE_TIMEOUT)),
    }
    // All is there by now, and the server notices an end without a word too.
    let _ = connection.close().await;
    Ok(())
}

fn too_slow(timeout: Duration) -> OpenError {
    let why = format!("it has not answered within {} s", timeout.as_secs());
    OpenError::Connect(IoError::new(ErrorKind::TimedOut, why).into())
}
