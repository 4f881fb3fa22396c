//! What the database's errors mean to KEA.

use std::fmt::Display;

use kea_core::port::StoreError;
use sqlx::{migrate::MigrateError, postgres::PgDatabaseError, sqlite::SqliteError};

/// SQLite's primary result codes; an extended code has one of them in its lowest byte.
mod sqlite_code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

/// PostgreSQL's codes for a table and an index that are damaged.
const POSTGRES_CORRUPT: [&str; 2] = ["XX001", "XX002"];

/// PostgreSQL's codes are letters and digits, and some are read as numbers that mean something else to SQLite.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let error = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    let code = sqlx::error::DatabaseError::code(error)?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

fn postgres_code(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// Whether another process holds the file just now.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(sqlite_code::BUSY)
}

fn is_corrupt(error: &sqlx::Error) -> bool {
    let unreadable =
        matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::TypeNotFound { .. });
    let damaged = matches!(sqlite_code(error), Some(sqlite_code::CORRUPT | sqlite_code::NOT_A_DATABASE));
    unreadable || damaged || postgres_code(error).is_some_and(|code| POSTGRES_CORRUPT.contains(&code))
}

/// What went wrong with a statement. `what` names what it reads or writes.
pub(crate) fn statement(what: impl FnOnce() -> String, error: &sqlx::Error) -> StoreError {
    if is_corrupt(error) {
        return StoreError::Corrupt { what: what(), why: error.to_string() };
    }
    StoreError::Unavailable(match error {
        sqlx::Error::PoolTimedOut => "the database gives no connection".into(),
        error => error.to_string(),
    })
}

/// What went wrong with opening a database.
pub(crate) enum OpenError {
    /// It cannot be reached or read.
    Connect(sqlx::Error),
    /// Its tables cannot be brought up to date.
    Migrate(MigrateError),
}

impl OpenError {
    /// Says of which database, by the name that it is shown with.
    pub(crate) fn of(self, database: &dyn Display) -> StoreError {
        let what = format!("the database `{database}`");
        match self {
            Self::Connect(error) => opening(&what, &error),
            Self::Migrate(error) => migrating(what, error),
        }
    }
}

fn opening(what: &str, error: &sqlx::Error) -> StoreError {
    match statement(|| what.into(), error) {
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{what}: {why}")),
        corrupt @ StoreError::Corrupt { .. } => corrupt,
    }
}

fn migrating(what: String, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => opening(&what, &error),
        MigrateError::VersionMissing(version) => {
            StoreError::Corrupt { what, why: format!("a newer KEA made it (its tables are of {version})") }
        }
        other => StoreError::Corrupt { what, why: other.to_string() },
    }
}
