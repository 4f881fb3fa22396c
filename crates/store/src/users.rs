//! Users and the server's own secrets.

use async_trait::async_trait;
use jiff::Timestamp;
use kea_core::port::{External, StoreError, User, UserStore};
use serde::{Deserialize, Serialize};

use crate::{SqlStore, database::Statement, error, identity::NEW_REVISION, row};

const USER: &str = "SELECT username, password_hash, roles, details FROM users WHERE username = $1";

const USERS: &str = "SELECT username, password_hash, roles, details FROM users";

const USER_COUNT: &str = "SELECT COUNT(*) FROM users";

const PUT_USER: &str = "INSERT INTO users (username, password_hash, roles, details) VALUES ($1, $2, $3, $4)
    ON CONFLICT (username) DO UPDATE SET
        password_hash = excluded.password_hash, roles = excluded.roles, details = excluded.details";

const ADD_USER: &str = "INSERT INTO users (username, password_hash, roles, details) VALUES ($1, $2, $3, $4)
    ON CONFLICT (username) DO NOTHING";

const SECRET: &str = "SELECT value FROM secrets WHERE name = $1";

const KEEP_SECRET: &str = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

/// What the column `details` holds. An early version knew nothing of it.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    disabled: bool,
    id: String,
    stamp: String,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<External>,
}

#[async_trait]
impl UserStore for SqlStore {
    async fn user(&self, username: &str) -> Result<Option<User>, StoreError> {
        // PostgreSQL keeps no text with this, and so no such user, and refuses to look.
        if username.contains('\0') {
            return Ok(None);
        }
        let found = self.database.quadruples(Statement::new(USER).text(username)).await;
        let found = found.map_err(|error| error::statement(|| user_named(username), &error))?;
        found.into_iter().next().map(read_user).transpose()
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows = self.database.quadruples(Statement::new(USERS)).await;
        let mut rows = rows.map_err(|error| error::statement(|| "the list of users".into(), &error))?;
        // Databases have orders of their own for texts.
        rows.sort_unstable();
        rows.into_iter().map(read_user).collect()
    }

    async fn user_count(&self) -> Result<u64, StoreError> {
        let count = self.database.number(Statement::new(USER_COUNT)).await;
        let count = count.map_err(|error| error::statement(|| "the number of users".into(), &error))?;
        Ok(count.unsigned_abs())
    }

    async fn put_user(&self, user: &User) -> Result<(), StoreError> {
        write_user(self, write_of(PUT_USER, user)?, user).await.map(drop)
    }

    async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        write_user(self, write_of(ADD_USER, user)?, user).await
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.database.bytes(Statement::new(SECRET).text(name)).await;
        found.map_err(|error| error::statement(|| secret_named(name), &error))
    }

    async fn keep_secret(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let kept = self.database.write(vec![Statement::new(KEEP_SECRET).text(name).bytes(value)]).await;
        kept.map_err(|error| error::statement(|| secret_named(name), &error))?;
        // Whichever was first is there to stay: nothing removes a secret.
        let why = || StoreError::Corrupt { what: secret_named(name), why: "it was removed as it was kept".into() };
        self.secret(name).await?.ok_or_else(why)
    }
}

/// What puts a user in place of the one of that name.
pub(crate) fn put_user(user: &User) -> Result<Statement, StoreError> {
    write_of(PUT_USER, user)
}

fn write_of(sql: &'static str, user: &User) -> Result<Statement, StoreError> {
    let what = || user_named(&user.username);
    let User { username, password_hash, roles, disabled, id, stamp, created_at, external } = user;
    let details = Details {
        disabled: *disabled,
        id: id.clone(),
        stamp: stamp.clone(),
        created_at: *created_at,
        external: external.clone(),
    };
    let (roles, details) = (row::write(what, roles)?, row::write(what, &details)?);
    Ok(Statement::new(sql).text(username).text(password_hash).text(roles).text(details))
}

/// The revision first: who has written it is alone until the end.
async fn write_user(store: &SqlStore, write: Statement, user: &User) -> Result<bool, StoreError> {
    let written = store.database.write_if_each(vec![Statement::new(NEW_REVISION), write]).await;
    written.map_err(|error| error::statement(|| user_named(&user.username), &error))
}

fn read_user((username, password_hash, roles, details): (String, String, String, String)) -> Result<User, StoreError> {
    let what = || user_named(&username);
    let roles = row::read(what, &roles)?;
    let Details { disabled, id, stamp, created_at, external } = row::read(what, &details)?;
    Ok(User { username, password_hash, roles, disabled, id, stamp, created_at, external })
}

pub(crate) fn user_named(username: &str) -> String {
    format!("user `{username}`")
}

fn secret_named(name: &str) -> String {
    format!("secret `{name}`")
}
