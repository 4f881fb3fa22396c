//! Sources and files as engineers write them, and the contract of each as a reviewed snapshot.
//!
//! A file or folder of `tests/corpus` is one; `tests/e2e/test_corpus.py` holds the document of each against the rules of
//! OpenAPI.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use kea_openapi::describe::describe;
use serde_json::{Value, json};

/// All of the corpus, in order.
fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn every_source_of_the_corpus_has_its_contract() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("corpus_snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for path in corpus() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let contract: Value = match describe(&path) {
                Ok(contract) => serde_json::to_value(contract).unwrap(),
                Err(error) => json!({"error": error.to_string().replace(&*path.to_string_lossy(), &name)}),
            };
            insta::assert_yaml_snapshot!(name, contract);
        }
    });
}

#[test]
fn no_snapshot_is_left_of_what_is_gone() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus_snapshots");
    let mut known: Vec<String> =
        corpus().iter().map(|path| format!("{}.snap", path.file_name().unwrap().to_string_lossy())).collect();
    known.sort();
    let mut snapshots: Vec<String> =
        fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    snapshots.retain(|name| !name.ends_with(".new"));
    snapshots.sort();
    assert_eq!(snapshots, known);
}
