//! SQLite and PostgreSQL behind one face. Statements are written once, with `$1` and in words that both have; what is
//! particular to one of them is in `sqlite.rs` and `postgres.rs`.

use std::{
    io::{Error as IoError, ErrorKind},
    time::Duration,
};

use sqlx::{Connection, PgPool, SqlitePool};

/// How long to wait for an answer: far longer than any of KEA's statements takes. A server that has gone without a
/// word is otherwise waited for as long as the system tries to reach it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections to one of the two.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A statement with what it is given.
#[derive(Debug)]
pub(crate) struct Statement {
    sql: &'static str,
    values: Vec<Value>,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Bytes(Vec<u8>),
}

impl Statement {
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql, values: Vec::new() }
    }

    /// Gives the next of `$1`, `$2`, ….
    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.values.push(Value::Text(text.into()));
        self
    }

    /// Gives the next of `$1`, `$2`, ….
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.values.push(Value::Bytes(bytes.into()));
        self
    }
}

/// The same code for the pool of either database: `sqlx` has a type of its own for all that belongs to one.
macro_rules! on_either {
    ($database:expr, $pool:ident => $work:expr) => {
        match $database {
            Database::Sqlite($pool) => within_the_timeout(async { $work }).await,
            Database::Postgres($pool) => within_the_timeout(async { $work }).await,
        }
    };
}

/// The query that `$make` makes of a statement's words, with its values.
macro_rules! query {
    ($make:path, $statement:expr) => {
        $statement.values.into_iter().fold($make($statement.sql), |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    };
}

/// Runs statements as one transaction; tells how many rows the last has written, and whether each has written any. Where
/// `$each` is to, one that has not undoes the others.
macro_rules! run {
    ($connection:expr, $begin:expr, $statements:expr, $each:expr) => {
        async {
            let mut transaction = $connection.begin_with($begin).await?;
            let mut written = 0;
            let mut all = true;
            for statement in $statements {
                written = query!(sqlx::query, statement).execute(&mut *transaction).await?.rows_affected();
                all &= written > 0;
                if $each && !all {
                    break;
                }
            }
            match $each && !all {
                true => transaction.rollback().await?,
                false => transaction.commit().await?,
            }
            Ok::<_, sqlx::Error>((written, all))
        }
        .await
    };
}

impl Database {
    /// All rows of two texts.
    pub(crate) async fn pairs(&self, statement: Statement) -> Result<Vec<(String, String)>, sqlx::Error> {
        on_either!(self, pool => query!(sqlx::query_as, statement).fetch_all(pool).await)
    }

    /// The bytes of the one row, where there is one.
    pub(crate) async fn bytes(&self, statement: Statement) -> Result<Option<Vec<u8>>, sqlx::Error> {
        on_either!(self, pool => query!(sqlx::query_scalar, statement).fetch_optional(pool).await)
    }

    /// The number in the one row.
    pub(crate) async fn number(&self, statement: Statement) -> Result<i64, sqlx::Error> {
        on_either!(self, pool => query!(sqlx::query_scalar, statement).fetch_one(pool).await)
    }

    /// All rows of four texts.
    pub(crate) async fn quadruples(
        &self,
        statement: Statement,
    ) -> Result<Vec<(String, String, String, String)>, sqlx::Error> {
        on_either!(self, pool => query!(sqlx::query_as, statement).fetch_all(pool).await)
    }

    /// Runs all of the statements or none, and tells how many rows the last of them has written.
    pub(crate) async fn write(&self, statements: Vec<Statement>) -> Result<u64, sqlx::Error> {
        self.transact(statements, false).await.map(|(written, _)| written)
    }

    /// Runs all of the statements where each of them writes a row, else none; tells which of the two.
    pub(crate) async fn write_if_each(&self, statements: Vec<Statement>) -> Result<bool, sqlx::Error> {
        self.transact(statements, true).await.map(|(_, all)| all)
    }

    async fn transact(&self, statements: Vec<Statement>, each: bool) -> Result<(u64, bool), sqlx::Error> {
        let begin = self.begin();
        on_either!(self, pool => {
            let mut connection = pool.acquire().await?;
            let written = run!(connection, begin, statements, each);
            if written.is_err() && (connection.ping().await.is_err() || connection.is_in_transaction()) {
                // SQLite rolls back by itself where the disk is full, and sqlx then takes the transaction for open, and
                // what comes after for a part of it, which is never committed.
                let _ = connection.close().await;
            }
            written
        })
    }

    /// Whether writers run side by side, and so have to lock the rows that they rely on.
    pub(crate) fn locks_rows(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Waits for what is under way and closes all connections.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }

    fn begin(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN",
            // Each statement sees what others have committed. A server may be set up to begin otherwise.
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }
}

async fn within_the_timeout<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ANSWER_TIMEOUT, work).await.unwrap_or_else(|_| {
        let why = format!("the database has not answered within {} s", ANSWER_TIMEOUT.as_secs());
        Err(IoError::new(ErrorKind::TimedOut, why).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_is_given_up() {
        let never = std::future::pending::<Result<(), sqlx::Error>>();
        let told = within_the_timeout(never).await.unwrap_err().to_string();
        assert!(told.contains("not answered within 30 s"), "{told}");
    }
}
