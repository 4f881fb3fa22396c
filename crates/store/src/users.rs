//! Users and the server's own secrets.

use async_trait::async_trait;
use kea_core::port::{StoreError, User, UserStore};

use crate::{SqlStore, error, row};

const USER: &str = "SELECT password_hash, roles FROM users WHERE username = $1";

const USER_COUNT: &str = "SELECT COUNT(*) FROM users";

const PUT_USER: &str = "INSERT INTO users (username, password_hash, roles) VALUES ($1, $2, $3)
    ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash, roles = excluded.roles";

const SECRET: &str = "SELECT value FROM secrets WHERE name = $1";

const KEEP_SECRET: &str = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

#[async_trait]
impl UserStore for SqlStore {
    async fn user(&self, username: &str) -> Result<Option<User>, StoreError> {
        let what = || format!("user `{username}`");
        let found: Option<(String, String)> = sqlx::query_as(USER)
            .bind(username)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| error::statement(what, &error))?;
        let Some((password_hash, roles)) = found else { return Ok(None) };
        Ok(Some(User { username: username.into(), password_hash, roles: row::read(what, &roles)? }))
    }

    async fn user_count(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(USER_COUNT)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| error::statement(|| "the number of users".into(), &error))?;
        Ok(count.unsigned_abs())
    }

    async fn put_user(&self, user: &User) -> Result<(), StoreError> {
        let what = || format!("user `{}`", user.username);
        let roles = row::write(what, &user.roles)?;
        let put =
            sqlx::query(PUT_USER).bind(&user.username).bind(&user.password_hash).bind(roles).execute(&self.pool).await;
        put.map(drop).map_err(|error| error::statement(what, &error))
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar(SECRET)
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| error::statement(|| secret_named(name), &error))
    }

    async fn keep_secret(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let failed = |error| error::statement(|| secret_named(name), &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        sqlx::query(KEEP_SECRET).bind(name).bind(value).execute(&mut *transaction).await.map_err(failed)?;
        let kept = sqlx::query_scalar(SECRET).bind(name).fetch_one(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(kept)
    }
}

fn secret_named(name: &str) -> String {
    format!("secret `{name}`")
}
