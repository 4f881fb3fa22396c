//! What the database's errors mean to KEA.

use std::path::Path;

use kea_core::port::StoreError;
use sqlx::migrate::MigrateError;

/// SQLite's primary result codes; an extended code has one of them in its lowest byte.
const BUSY: i32 = 5;
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

/// Whether another process holds the database just now.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(BUSY)
}

/// What went wrong with a statement. `what` names what it reads or writes.
pub(crate) fn statement(what: impl FnOnce() -> String, error: &sqlx::Error) -> StoreError {
    let unreadable =
        matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::TypeNotFound { .. });
    match primary_code(error) {
        Some(CORRUPT | NOT_A_DATABASE) => StoreError::Corrupt { what: what(), why: error.to_string() },
        _ if unreadable => StoreError::Corrupt { what: what(), why: error.to_string() },
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// What went wrong with opening the database in `path`.
pub(crate) fn opening(path: &Path, error: &sqlx::Error) -> StoreError {
    match statement(|| named(path), error) {
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{}: {why}", named(path))),
        corrupt @ StoreError::Corrupt { .. } => corrupt,
    }
}

/// What went wrong with bringing the tables in `path` up to date.
pub(crate) fn migrating(path: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => opening(path, &error),
        MigrateError::VersionMissing(version) => {
            StoreError::Corrupt { what: named(path), why: format!("a newer KEA made it (its tables are of {version})") }
        }
        other => StoreError::Corrupt { what: named(path), why: other.to_string() },
    }
}

fn named(path: &Path) -> String {
    format!("the database `{}`", path.display())
}
