//! The connection to a Redis, which is its own circuit breaker: where there is none, nothing is asked and nobody waits.
//!
//! A connection that breaks, or that is too slow several times in a row, is given up. One task makes another one, asks it
//! what requests ask, and only then lets requests have it: a Redis that is there, and will not do what it is for, is away.

mod url;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};

pub use url::{RedisUrl, RedisUrlError};

/// Failures in a row after which a connection is given up.
const PATIENCE: u32 = 5;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Pauses between attempts to connect, from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long a connection has to hold for the pauses to begin anew: one that does not is told of, and tried, less often.
const STEADY: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Clone, Copy)]
pub(crate) struct Purpose {
    /// As the log calls it.
    pub(crate) name: &'static str,
    /// How long a request waits for an answer.
    pub(crate) limit: Duration,
    /// Asks for something of the kind that requests ask for.
    pub(crate) question: fn(MultiplexedConnection) -> BoxFuture<'static, RedisResult<()>>,
}

/// Redis did not answer, and why.
#[derive(Debug)]
pub(crate) struct Away(pub(crate) String);

/// The connection, and the task that keeps it.
pub(crate) struct Link {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

struct Shared {
    connection: ArcSwapOption<MultiplexedConnection>,
    given_up: Notify,
    /// Failures since the last answer.
    in_a_row: AtomicU32,
    failures: AtomicU64,
    purpose: Purpose,
    place: String,
}

impl Link {
    pub(crate) fn open(url: &RedisUrl, purpose: Purpose) -> Self {
        let shared = Arc::new(Shared {
            connection: ArcSwapOption::empty(),
            given_up: Notify::new(),
            in_a_row: AtomicU32::new(0),
            failures: AtomicU64::new(0),
            purpose,
            place: url.to_string(),
        });
        let keeper = tokio::spawn(keep(shared.clone(), url.client.clone()));
        Self { shared, keeper }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.shared.connection.load().is_some()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Asks Redis something, for at most `limit`.
    pub(crate) async fn ask<T>(
        &self,
        limit: Duration,
        question: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Away> {
        let connection = self.shared.connection.load_full();
        let connection = connection.ok_or_else(|| Away("there is no connection to Redis".into()))?;
        match timeout(limit, question(MultiplexedConnection::clone(&connection))).await {
            Ok(Ok(answer)) => {
                self.shared.in_a_row.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.shared.failed(&connection, error.is_unrecoverable_error(), reason(&error))),
            Err(_elapsed) => Err(self.shared.failed(&connection, false, late(limit))),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Shared {
    /// Counts a failure, and gives the connection up where it is broken or has failed too often.
    fn failed(&self, connection: &Arc<MultiplexedConnection>, broken: bool, reason: String) -> Away {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if broken || in_a_row >= PATIENCE {
            // Of all who failed on this connection, one takes it away and says so.
            let current = self.connection.compare_and_swap(&Some(connection.clone()), None);
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
                let Self { place, purpose, .. } = self;
                tracing::warn!(redis = place, reason, "{} is bypassed until Redis answers again", purpose.name);
                self.given_up.notify_one();
            }
        }
        Away(reason)
    }
}

/// Makes one connection after the other.
async fn keep(shared: Arc<Shared>, client: Client) {
    let mut told = false;
    let mut pause = PAUSES.0;
    loop {
        match connect(&client, &shared.purpose).await {
            Ok(connection) => {
                shared.in_a_row.store(0, Ordering::Relaxed);
                shared.connection.store(Some(Arc::new(connection)));
                tracing::info!(redis = shared.place, "{} is in Redis", shared.purpose.name);
                told = true;
                let since = Instant::now();
                shared.given_up.notified().await;
                if since.elapsed() >= STEADY {
                    pause = PAUSES.0;
                }
            }
            Err(reason) if !told => {
                let name = shared.purpose.name;
                tracing::warn!(redis = shared.place, reason, "Redis cannot be used: {name} is bypassed");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// A connection on which Redis has answered what requests ask. The first answer may take as long as connecting, as a script
/// is sent with it; the second one no longer than requests wait.
async fn connect(client: &Client, purpose: &Purpose) -> Result<MultiplexedConnection, String> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
    let connected = async {
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        (purpose.question)(connection.clone()).await?;
        Ok(connection)
    };
    let connection = within(CONNECT, connected).await?;
    within(purpose.limit, (purpose.question)(connection.clone())).await?;
    Ok(connection)
}

async fn within<T>(limit: Duration, asked: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match timeout(limit, asked).await {
        Ok(answered) => answered.map_err(|error| reason(&error)),
        Err(_elapsed) => Err(late(limit)),
    }
}

fn late(limit: Duration) -> String {
    format!("it did not answer within {} ms", limit.as_millis())
}

/// Errors of Redis hold no secrets: a password is sent, and never repeated.
fn reason(error: &RedisError) -> String {
    error.to_string()
}
