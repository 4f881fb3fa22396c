//! What is particular to PostgreSQL: a server that is away, ends connections or refuses, and several KEAs on one.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use kea_core::port::{ServiceStore, StoreError, UserStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::net::TcpListener;

use super::{Opened, unavailable};
use crate::{
    DatabaseUrl, SqlStore,
    suite::{self, service, version},
};

/// Names the server of the tests; `scripts/with-postgres` sets it.
const SERVER: &str = "KEA_TEST_POSTGRES";

fn server() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| {
        panic!(
            "{SERVER} names no PostgreSQL: run `make unit`, or `scripts/with-postgres cargo nextest run -p kea-store`"
        )
    })
}

/// A schema of the test's own, to which its connections are confined. The server goes after the tests, and it with it.
struct Schema {
    name: String,
}

impl Schema {
    async fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let schema = Self { name: format!("test_{}_{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) };
        schema.execute(&format!("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}", schema.name)).await;
        schema
    }

    fn url(&self) -> DatabaseUrl {
        self.url_with("")
    }

    fn url_with(&self, options: &str) -> DatabaseUrl {
        let text = format!("{}&options[search_path]={1}&application_name={1}{options}", server(), self.name);
        text.parse().unwrap()
    }

    async fn store(&self) -> SqlStore {
        SqlStore::connect(&self.url()).await.unwrap()
    }

    /// Runs SQL as another client, in this schema.
    async fn execute(&self, sql: &str) {
        let mut connection = PgConnection::connect(&server()).await.unwrap();
        let sql = AssertSqlSafe(format!("SET search_path = {}; {sql}", self.name));
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The number that SQL asks for, where `$1` is the name of the store's connections.
    async fn number(&self, sql: &'static str) -> i64 {
        let mut connection = PgConnection::connect(&server()).await.unwrap();
        let number = sqlx::query_scalar(sql).bind(&self.name).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    }
}

pub(super) async fn on_a_server() -> Opened {
    Opened { store: Schema::create().await.store().await, _folder: None }
}

async fn refused(url: &str) -> String {
    SqlStore::connect(&url.parse().unwrap()).await.map(drop).unwrap_err().to_string()
}

/// The server's URL with another password.
fn with_password(password: &str) -> String {
    let server = server();
    let (user, host) = server.split_once('@').unwrap();
    let (user, _) = user.rsplit_once(':').unwrap();
    format!("{user}:{password}@{host}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_that_start_on_one_empty_database_at_once_agree() {
    let schema = Schema::create().await;
    let mut tasks = tokio::task::JoinSet::new();
    for handle in 0..4 {
        let url = schema.url();
        tasks.spawn(async move {
            let store = SqlStore::connect(&url).await?;
            for number in 0..25 {
                let one = service(&format!("service-{handle}-{number}"));
                store.put_service_and_version(&one, &version("1")).await?;
            }
            store.keep_secret("key", &[handle]).await
        });
    }
    let secrets: Vec<_> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    assert_eq!(schema.store().await.services().await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_two_stores_wait_for_each_other() {
    let schema = Schema::create().await;
    let (one, two) = (schema.store().await, schema.store().await);
    one.put_service(&service("iris")).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let store = if number % 2 == 0 { one.clone() } else { two.clone() };
        tasks.spawn(async move { store.put_version(&service("iris").id, &version(&number.to_string())).await });
    }
    tasks.join_all().await.into_iter().for_each(|put| put.unwrap());
    assert_eq!(one.versions(&service("iris").id).await.unwrap(), two.versions(&service("iris").id).await.unwrap());
    assert_eq!(one.versions(&service("iris").id).await.unwrap().len(), 40);
}

#[tokio::test]
async fn writers_wait_for_each_other_where_the_server_would_rather_refuse() {
    let schema = Schema::create().await;
    let url = schema.url_with("&options[default_transaction_isolation]=serializable");
    let store = SqlStore::connect(&url).await.unwrap();
    suite::versions_put_at_once_are_all_kept(&store).await.unwrap();
    suite::a_secret_kept_by_many_at_once_is_one(&store).await.unwrap();
}

#[tokio::test]
async fn what_was_put_is_there_for_the_next_store() {
    let schema = Schema::create().await;
    let store = schema.store().await;
    store.put_service_and_version(&service("iris"), &version("1")).await.unwrap();
    store.keep_secret("key", &[0, 255]).await.unwrap();
    store.close().await;
    let store = schema.store().await;
    assert_eq!(store.services().await.unwrap(), [service("iris")]);
    assert_eq!(store.versions(&service("iris").id).await.unwrap(), [version("1")]);
    assert_eq!(store.secret("key").await.unwrap(), Some(vec![0, 255]));
}

#[tokio::test]
async fn a_version_that_does_not_fit_leaves_its_service_as_it_was() {
    let schema = Schema::create().await;
    let store = schema.store().await;
    store.put_service_and_version(&service("iris"), &version("1")).await.unwrap();
    schema.execute("ALTER TABLE versions ADD CHECK (id <> '2')").await;
    let mut changed = service("iris");
    changed.replicas = 9;
    unavailable(store.put_service_and_version(&changed, &version("2")).await, "check constraint");
    assert_eq!(store.services().await.unwrap(), [service("iris")]);
}

#[tokio::test]
async fn connections_that_the_server_has_ended_are_made_again() {
    let schema = Schema::create().await;
    let store = schema.store().await;
    store.put_service(&service("iris")).await.unwrap();
    let ended = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
    assert!(schema.number(ended).await > 0);
    store.put_service(&service("wine")).await.unwrap();
    assert_eq!(store.services().await.unwrap().len(), 2);
}

#[tokio::test]
async fn connections_are_encrypted_and_few() {
    let schema = Schema::create().await;
    let store = schema.store().await;
    suite::services_put_at_once_are_all_kept(&store).await.unwrap();
    let count =
        "SELECT COUNT(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = $1 AND ssl";
    assert!((1..=4).contains(&schema.number(count).await));
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused() {
    let server = server();
    let (url, _) = server.split_once("&sslrootcert").unwrap();
    let told = refused(url).await;
    assert!(told.contains("certificate"), "{told}");
}

#[tokio::test]
async fn a_socket_of_this_machine_will_do() {
    let mut connection = PgConnection::connect(&server()).await.unwrap();
    let folder: String = sqlx::query_scalar("SHOW unix_socket_directories").fetch_one(&mut connection).await.unwrap();
    let schema = Schema::create().await;
    let store = SqlStore::connect(&schema.url_with(&format!("&host={folder}&sslmode=prefer"))).await.unwrap();
    store.put_service(&service("iris")).await.unwrap();
    let count = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = $1 AND client_addr IS NULL";
    assert_eq!(schema.number(count).await, 1);
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let told = refused(&with_password("hunter2-%2F")).await;
    assert!(told.contains("password authentication failed"), "{told}");
    assert!(told.contains("127.0.0.1"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_by_name() {
    let told = refused(&server().replace("/postgres?", "/missing?")).await;
    assert!(told.contains("database \"missing\" does not exist"), "{told}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once() {
    let start = Instant::now();
    let told = refused("postgres://kea:hunter2@127.0.0.1:1/kea").await;
    assert!(told.contains("127.0.0.1:1/kea") && told.contains("refused"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let start = Instant::now();
    let told = refused(&format!("postgres://{}/kea", listener.local_addr().unwrap())).await;
    assert!(told.contains("not answered within 5 s"), "{told}");
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn who_waits_for_a_connection_in_vain_is_told() {
    let schema = Schema::create().await;
    let store = schema.store().await;
    store.put_service(&service("iris")).await.unwrap();
    let mut other = PgConnection::connect(&server()).await.unwrap();
    let lock = AssertSqlSafe(format!("BEGIN; LOCK TABLE {}.services", schema.name));
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let store = store.clone();
        tasks.spawn(async move { store.put_service(&service("iris")).await });
    }
    let first = tasks.join_next().await.unwrap().unwrap();
    unavailable(first, "no connection");
    other.close().await.unwrap();
    tasks.join_all().await.into_iter().for_each(|put| put.unwrap());
}

#[tokio::test]
async fn a_database_of_a_newer_kea_is_refused_and_others_are_not_held_up() {
    let schema = Schema::create().await;
    schema.store().await.close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', TRUE, '', 0)";
    schema.execute(newer).await;
    let Err(StoreError::Corrupt { what, why }) = SqlStore::connect(&schema.url()).await else {
        panic!("it was opened")
    };
    assert!(why.contains("newer KEA") && !what.contains("kea:"), "{what}: {why}");
    tokio::time::timeout(Duration::from_secs(10), on_a_server()).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let store = on_a_server().await.store;
    store.close().await;
    unavailable(store.put_service(&service("iris")).await, "closed");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named() {
    let schema = Schema::create().await;
    let store = schema.store().await;
    store.put_service(&service("iris")).await.unwrap();
    schema.execute("UPDATE services SET body = '{'").await;
    let Err(StoreError::Corrupt { what, .. }) = store.services().await else { panic!("it was read") };
    assert_eq!(what, "service `iris`");
}
