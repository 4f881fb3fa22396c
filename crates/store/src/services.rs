//! Services and their versions.

use async_trait::async_trait;
use kea_core::{
    ServiceId,
    port::{ServiceStore, StoreError},
    service::{Service, Version},
};
use sqlx::{Executor, Sqlite};

use crate::{SqlStore, error, row};

const SERVICES: &str = "SELECT id, body FROM services ORDER BY id";

const PUT_SERVICE: &str = "INSERT INTO services (id, body) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET body = excluded.body";

const DELETE_SERVICE: &str = "DELETE FROM services WHERE id = $1";

const VERSIONS: &str = "SELECT id, body FROM versions WHERE service_id = $1 ORDER BY position";

/// A version that is replaced keeps its position.
const PUT_VERSION: &str = "INSERT INTO versions (service_id, id, position, body)
    VALUES ($1, $2, (SELECT COALESCE(MAX(position), 0) + 1 FROM versions WHERE service_id = $1), $3)
    ON CONFLICT (service_id, id) DO UPDATE SET body = excluded.body";

#[async_trait]
impl ServiceStore for SqlStore {
    async fn services(&self) -> Result<Vec<Service>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(SERVICES)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| error::statement(|| "the list of services".into(), &error))?;
        rows.iter().map(|(id, body)| read_service(id, body)).collect()
    }

    async fn put_service(&self, service: &Service) -> Result<(), StoreError> {
        put_service(&self.pool, service).await
    }

    async fn delete_service(&self, id: &ServiceId) -> Result<(), StoreError> {
        let deleted = sqlx::query(DELETE_SERVICE).bind(id.as_str()).execute(&self.pool).await;
        deleted.map(drop).map_err(|error| error::statement(|| service_named(id.as_str()), &error))
    }

    async fn versions(&self, id: &ServiceId) -> Result<Vec<Version>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(VERSIONS)
            .bind(id.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(|error| error::statement(|| format!("the versions of service `{id}`"), &error))?;
        rows.iter().map(|(version, body)| read_version(id, version, body)).collect()
    }

    async fn put_version(&self, id: &ServiceId, version: &Version) -> Result<(), StoreError> {
        put_version(&self.pool, id, version).await
    }

    async fn put_service_and_version(&self, service: &Service, version: &Version) -> Result<(), StoreError> {
        let failed = |error| error::statement(|| service_named(service.id.as_str()), &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        put_service(&mut *transaction, service).await?;
        put_version(&mut *transaction, &service.id, version).await?;
        transaction.commit().await.map_err(failed)
    }
}

async fn put_service(database: impl Executor<'_, Database = Sqlite>, service: &Service) -> Result<(), StoreError> {
    let what = || service_named(service.id.as_str());
    let body = row::write(what, service)?;
    let put = sqlx::query(PUT_SERVICE).bind(service.id.as_str()).bind(body).execute(database).await;
    put.map(drop).map_err(|error| error::statement(what, &error))
}

async fn put_version(
    database: impl Executor<'_, Database = Sqlite>,
    id: &ServiceId,
    version: &Version,
) -> Result<(), StoreError> {
    let what = || version_named(id, version.id.as_str());
    let body = row::write(what, version)?;
    let put = sqlx::query(PUT_VERSION).bind(id.as_str()).bind(version.id.as_str()).bind(body).execute(database).await;
    put.map(drop).map_err(|error| match error.as_database_error() {
        Some(refused) if refused.is_foreign_key_violation() => {
            StoreError::Unavailable(format!("there is no service `{id}` for version `{}`", version.id))
        }
        _ => error::statement(what, &error),
    })
}

fn read_service(id: &str, body: &str) -> Result<Service, StoreError> {
    let what = || service_named(id);
    let service: Service = row::read(what, body)?;
    row::same_key(what, id, service.id.as_str())?;
    Ok(service)
}

fn read_version(service: &ServiceId, id: &str, body: &str) -> Result<Version, StoreError> {
    let what = || version_named(service, id);
    let version: Version = row::read(what, body)?;
    row::same_key(what, id, version.id.as_str())?;
    Ok(version)
}

fn service_named(id: &str) -> String {
    format!("service `{id}`")
}

fn version_named(service: &ServiceId, id: &str) -> String {
    format!("version `{id}` of service `{service}`")
}
