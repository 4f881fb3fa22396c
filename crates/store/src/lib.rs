//! The store: what is wanted of services, the users and the server's own secrets, in one SQLite file or on PostgreSQL.
//!
//! SQL is written in this crate alone, once for both; what is particular to one of them is in `sqlite.rs` and
//! `postgres.rs`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod database;
mod error;
mod identity;
mod policies;
#[cfg(test)]
mod policy_suite;
mod postgres;
mod row;
mod services;
mod sqlite;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
mod url;
mod users;

use std::path::Path;

use kea_core::port::StoreError;

use database::Database;
use url::Place;
pub use url::{DatabaseUrl, DatabaseUrlError};

/// The store in a database. Clones share its connections: one to SQLite, since KEA reads and writes only when what is
/// wanted changes, so that a second one would cost memory and gain nothing.
#[derive(Clone, Debug)]
pub struct SqlStore {
    database: Database,
}

impl SqlStore {
    /// Opens the database of that URL and brings its tables up to date. Several processes may do so at once. A file is
    /// made as by [`open`](Self::open); PostgreSQL's database is there already.
    ///
    /// # Errors
    /// `Unavailable` where the database cannot be reached or written, `Corrupt` where it is none or was made by a newer
    /// KEA. They name the database without user and password.
    pub async fn connect(url: &DatabaseUrl) -> Result<Self, StoreError> {
        match &url.0 {
            Place::Sqlite(path) => Self::open(path).await,
            Place::Postgres(server) => {
                let pool = postgres::open(server).await.map_err(|error| error.of(url))?;
                Ok(Self { database: Database::Postgres(pool) })
            }
        }
    }

    /// Opens the SQLite database in the file `path` and brings its tables up to date; makes the file, and the folders
    /// above it, where there is none. Only its owner may read it, since it holds secrets.
    ///
    /// # Errors
    /// `Unavailable` where the file cannot be opened or written, `Corrupt` where it is no database or was made by a
    /// newer KEA.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        sqlite::file(path).await.map(|pool| Self { database: Database::Sqlite(pool) })
    }

    /// Opens an empty database that ends with its last clone.
    ///
    /// # Errors
    /// `Unavailable` where there is no memory for it.
    pub async fn open_in_memory() -> Result<Self, StoreError> {
        sqlite::memory().await.map(|pool| Self { database: Database::Sqlite(pool) })
    }

    /// Waits for what is under way and closes the database; every later call answers `Unavailable`.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
