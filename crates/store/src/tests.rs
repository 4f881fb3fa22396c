//! The port suite on each database, and what is particular to one of them.

mod postgres;
mod sqlite;

use kea_core::port::StoreError;
use tempfile::TempDir;

use crate::{
    SqlStore,
    suite::{self, every_store},
};

struct Opened {
    store: SqlStore,
    _folder: Option<TempDir>,
}

every_store!(memory, sqlite::in_memory());
every_store!(file, sqlite::in_a_file());
every_store!(server, postgres::on_a_server());

fn unavailable(outcome: Result<(), StoreError>, word: &str) {
    match outcome {
        Err(StoreError::Unavailable(why)) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}"),
    }
}
