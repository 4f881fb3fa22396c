//! What is particular to SQLite's files.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use kea_core::{
    port::{ServiceStore, StoreError, UserStore},
    service::Service,
};
use sqlx::SqlitePool;
use tempfile::TempDir;

use super::{Opened, unavailable};
use crate::{
    SqlStore,
    database::Database,
    suite::{service, version},
};

pub(super) async fn in_memory() -> Opened {
    Opened { store: SqlStore::open_in_memory().await.unwrap(), _folder: None }
}

pub(super) async fn in_a_file() -> Opened {
    let (folder, path) = somewhere();
    Opened { store: SqlStore::open(&path).await.unwrap(), _folder: Some(folder) }
}

fn somewhere() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data").join("kea.db");
    (folder, path)
}

fn pool(store: &SqlStore) -> &SqlitePool {
    match &store.database {
        Database::Sqlite(pool) => pool,
        Database::Postgres(_) => panic!("it is on PostgreSQL"),
    }
}

async fn execute(store: &SqlStore, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool(store)).await.unwrap();
}

#[tokio::test]
async fn what_was_put_is_there_when_the_file_is_opened_again() {
    let (_folder, path) = somewhere();
    let store = SqlStore::open(&path).await.unwrap();
    store.put_service_and_version(&service("iris"), &version("1")).await.unwrap();
    store.keep_secret("key", b"value").await.unwrap();
    drop(store);
    let store = SqlStore::open(&path).await.unwrap();
    assert_eq!(store.services().await.unwrap(), [service("iris")]);
    assert_eq!(store.versions(&service("iris").id).await.unwrap(), [version("1")]);
    assert_eq!(store.secret("key").await.unwrap(), Some(b"value".to_vec()));
}

#[tokio::test]
async fn a_file_is_opened_by_its_url_too() {
    let (_folder, path) = somewhere();
    SqlStore::open(&path).await.unwrap().keep_secret("key", b"value").await.unwrap();
    let url = format!("sqlite:{}", path.display()).parse().unwrap();
    let store = SqlStore::connect(&url).await.unwrap();
    assert_eq!(store.secret("key").await.unwrap(), Some(b"value".to_vec()));
}

#[tokio::test]
async fn only_its_owner_may_read_the_file() {
    let (_folder, path) = somewhere();
    let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let store = SqlStore::open(&path).await.unwrap();
    store.put_service(&service("iris")).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600, "what is not yet in the file is as private");
    drop(store);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    SqlStore::open(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_that_open_and_write_one_new_file_at_once_agree() {
    let (_folder, path) = somewhere();
    let mut tasks = tokio::task::JoinSet::new();
    for handle in 0..4 {
        let path = path.clone();
        tasks.spawn(async move {
            let store = SqlStore::open(&path).await?;
            for number in 0..25 {
                let one = service(&format!("service-{handle}-{number}"));
                store.put_service_and_version(&one, &version("1")).await?;
            }
            store.keep_secret("key", &[handle]).await
        });
    }
    let secrets: Vec<_> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
    let store = SqlStore::open(&path).await.unwrap();
    assert_eq!(store.services().await.unwrap().len(), 100);
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(pool(&store)).await.unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn a_version_that_does_not_fit_leaves_its_service_as_it_was() {
    let Opened { store, _folder } = in_a_file().await;
    store.put_service_and_version(&service("iris"), &version("1")).await.unwrap();
    execute(&store, "CREATE TRIGGER no BEFORE INSERT ON versions BEGIN SELECT RAISE(FAIL, 'no'); END").await;
    let mut changed = service("iris");
    changed.replicas = 9;
    assert!(store.put_service_and_version(&changed, &version("2")).await.is_err());
    assert_eq!(store.services().await.unwrap(), [service("iris")]);
}

/// SQLite answers with the same code as for a disk without room, until it opens the file anew.
async fn fill(store: &SqlStore) {
    execute(store, "PRAGMA max_page_count = 1").await;
}

fn large() -> Service {
    Service { model_name: "x".repeat(1 << 20), ..service("large") }
}

#[tokio::test]
async fn what_is_put_after_a_full_disk_and_a_refusal_is_there_to_stay() {
    let (_folder, path) = somewhere();
    let store = SqlStore::open(&path).await.unwrap();
    fill(&store).await;
    unavailable(store.put_service(&large()).await, "full");
    unavailable(store.put_version(&service("none").id, &version("1")).await, "no service");
    store.put_service(&service("iris")).await.unwrap();
    let other = SqlStore::open(&path).await.unwrap();
    assert_eq!(other.services().await.unwrap(), [service("iris")]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_is_kept_can_still_be_read() {
    let Opened { store, _folder } = in_a_file().await;
    store.put_service(&service("iris")).await.unwrap();
    let large = large();
    fill(&store).await;
    unavailable(store.put_service(&large).await, "full");
    fill(&store).await;
    unavailable(store.put_service_and_version(&large, &version("1")).await, "full");
    assert_eq!(store.services().await.unwrap(), [service("iris")]);
    store.put_service(&large).await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told() {
    let Opened { store, _folder } = in_a_file().await;
    execute(&store, "PRAGMA query_only = ON").await;
    unavailable(store.put_service(&service("iris")).await, "readonly");
    assert!(store.keep_secret("key", b"value").await.is_err());
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let Opened { store, _folder } = in_a_file().await;
    store.close().await;
    unavailable(store.put_service(&service("iris")).await, "closed");
}

#[tokio::test]
async fn a_path_that_cannot_be_a_file_is_told_by_name() {
    let folder = TempDir::new().unwrap();
    let opened = SqlStore::open(folder.path()).await.map(drop);
    unavailable(opened, &folder.path().display().to_string());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("kea.db");
    let text = "This is a letter, not a database. ".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let Err(StoreError::Corrupt { what, .. }) = SqlStore::open(&path).await else { panic!("it was opened") };
    assert!(what.contains("kea.db"), "{what}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_database_of_a_newer_kea_is_refused() {
    let (_folder, path) = somewhere();
    let store = SqlStore::open(&path).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', TRUE, x'00', 0)";
    execute(&store, newer).await;
    drop(store);
    let Err(StoreError::Corrupt { why, .. }) = SqlStore::open(&path).await else { panic!("it was opened") };
    assert!(why.contains("newer KEA"), "{why}");
}

async fn corrupt_row(sql: &'static str) -> String {
    let store = in_memory().await.store;
    store.put_service_and_version(&service("iris"), &version("1")).await.unwrap();
    execute(&store, sql).await;
    let read = match store.services().await {
        Ok(_) => store.versions(&service("iris").id).await.map(drop),
        Err(error) => Err(error),
    };
    read.unwrap_err().to_string()
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named() {
    let cases = [
        ("UPDATE services SET body = '{'", "service `iris` in the store cannot be read"),
        ("UPDATE services SET body = '{\"id\":\"iris\"}'", "missing field `modelName`"),
        ("UPDATE services SET body = replace(body, '\"id\":\"iris\"', '\"id\":\"wine\"')", "its row holds `wine`"),
        ("UPDATE versions SET body = 'null'", "version `1` of service `iris` in the store cannot be read"),
        ("UPDATE services SET body = x'ff00'", "in the store cannot be read"),
    ];
    for (sql, expected) in cases {
        let told = corrupt_row(sql).await;
        assert!(told.contains(expected), "{told}");
    }
}
