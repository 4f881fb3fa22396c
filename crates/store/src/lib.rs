//! The embedded store: what is wanted of services, the users and the server's own secrets, in one SQLite file.
//!
//! SQL is written in this crate alone, in words that PostgreSQL has too; what is particular to SQLite is in `open.rs`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod open;
mod row;
mod services;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
mod users;

use std::path::Path;

use kea_core::port::StoreError;
use sqlx::SqlitePool;

/// The store in a SQLite database. Clones share one connection: KEA reads and writes it only when what is wanted
/// changes, so that a second one would cost memory and gain nothing.
#[derive(Clone, Debug)]
pub struct SqlStore {
    pool: SqlitePool,
}

impl SqlStore {
    /// Opens the database in the file `path` and brings its tables up to date; makes the file, and the folders above
    /// it, where there is none. Only its owner may read it, since it holds secrets.
    ///
    /// # Errors
    /// `Unavailable` where the file cannot be opened or written, `Corrupt` where it is no database or was made by a
    /// newer KEA.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        open::file(path).await.map(|pool| Self { pool })
    }

    /// Opens an empty database that ends with its last clone.
    ///
    /// # Errors
    /// `Unavailable` where there is no memory for it.
    pub async fn open_in_memory() -> Result<Self, StoreError> {
        open::memory().await.map(|pool| Self { pool })
    }

    /// Waits for what is under way and closes the database; every later call answers `Unavailable`.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
