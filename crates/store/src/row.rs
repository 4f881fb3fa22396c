//! Rows and the things that they keep as JSON.

use kea_core::port::StoreError;
use serde::{Serialize, de::DeserializeOwned};

/// The JSON of `thing`; `what` names it.
pub(crate) fn write(what: impl FnOnce() -> String, thing: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(thing).map_err(|error| StoreError::Corrupt { what: what(), why: error.to_string() })
}

/// The thing that `json` was made of; `what` names it.
pub(crate) fn read<T: DeserializeOwned>(what: impl FnOnce() -> String, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Corrupt { what: what(), why: error.to_string() })
}

/// Refuses a row whose key is not that of the thing in it: one of them is not what it was.
pub(crate) fn same_key(what: impl FnOnce() -> String, key: &str, inside: &str) -> Result<(), StoreError> {
    if key == inside {
        return Ok(());
    }
    Err(StoreError::Corrupt { what: what(), why: format!("its row holds `{inside}`") })
}
