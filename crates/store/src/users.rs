//! Users and the server's own secrets.

use async_trait::async_trait;
use kea_core::port::{StoreError, User, UserStore};

use crate::{SqlStore, database::Statement, error, row};

const USER: &str = "SELECT password_hash, roles FROM users WHERE username = $1";

const USER_COUNT: &str = "SELECT COUNT(*) FROM users";

const PUT_USER: &str = "INSERT INTO users (username, password_hash, roles) VALUES ($1, $2, $3)
    ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash, roles = excluded.roles";

const ADD_USER: &str = "INSERT INTO users (username, password_hash, roles) VALUES ($1, $2, $3)
    ON CONFLICT (username) DO NOTHING";

const SECRET: &str = "SELECT value FROM secrets WHERE name = $1";

const KEEP_SECRET: &str = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

#[async_trait]
impl UserStore for SqlStore {
    async fn user(&self, username: &str) -> Result<Option<User>, StoreError> {
        let what = || user_named(username);
        // PostgreSQL keeps no text with this, and so no such user, and refuses to look.
        if username.contains('\0') {
            return Ok(None);
        }
        let found = self.database.pairs(Statement::new(USER).text(username)).await;
        let found = found.map_err(|error| error::statement(what, &error))?;
        let Some((password_hash, roles)) = found.into_iter().next() else { return Ok(None) };
        Ok(Some(User { username: username.into(), password_hash, roles: row::read(what, &roles)? }))
    }

    async fn user_count(&self) -> Result<u64, StoreError> {
        let count = self.database.number(Statement::new(USER_COUNT)).await;
        let count = count.map_err(|error| error::statement(|| "the number of users".into(), &error))?;
        Ok(count.unsigned_abs())
    }

    async fn put_user(&self, user: &User) -> Result<(), StoreError> {
        write_user(self, PUT_USER, user).await.map(drop)
    }

    async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        Ok(write_user(self, ADD_USER, user).await? > 0)
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

async fn write_user(store: &SqlStore, sql: &'static str, user: &User) -> Result<u64, StoreError> {
    let what = || user_named(&user.username);
    let roles = row::write(what, &user.roles)?;
    let statement = Statement::new(sql).text(&user.username).text(&user.password_hash).text(roles);
    store.database.write(vec![statement]).await.map_err(|error| error::statement(what, &error))
}

fn user_named(username: &str) -> String {
    format!("user `{username}`")
}

fn secret_named(name: &str) -> String {
    format!("secret `{name}`")
}
