//! Services and their versions.

use crate::{SqlStore, database::Statement, error, row};
use async_trait::async_trait;
use kea_core::{
    ServiceId,
    port::{ServiceStore, StoreError},
    service::{Service, Version},
};

const SERVICES: &str = "SELECT id, body FROM services";

const PUT_SERVICE: &str = "INSERT INTO services (id, body) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET body = excluded.body";

const DELETE_SERVICE: &str = "DELETE FROM services WHERE id = $1";

const VERSIONS: &str = "SELECT id, body FROM versions WHERE service_id = $1 ORDER BY position";

/// Two versions that are put at once would take the same position: the second waits until the first has one.
const LOCK_SERVICE: &str = "SELECT id FROM services WHERE id = $1 FOR UPDATE";

/// A version that is replaced keeps its position.
const PUT_VERSION: &str = "INSERT INTO versions (service_id, id, position, body)
    VALUES ($1, $2, (SELECT COALESCE(MAX(position), 0) + 1 FROM versions WHERE service_id = $1), $3)
    ON CONFLICT (service_id, id) DO UPDATE SET body = excluded.body";

#[async_trait]
impl ServiceStore for SqlStore {
    async fn services(&self) -> Result<Vec<Service>, StoreError> {
        let rows = self.database.pairs(Statement::new(SERVICES)).await;
        let mut rows = rows.map_err(|error| error::statement(|| "the list of services".into(), &error))?;
        // Databases have orders of their own for texts.
        rows.sort_unstable();
        rows.iter().map(|(id, body)| read_service(id, body)).collect()
    }

    async fn put_service(&self, service: &Service) -> Result<(), StoreError> {
        let written = self.database.write(vec![put_service(service)?]).await;
        written.map(drop).map_err(|error| error::statement(|| service_named(service.id.as_str()), &error))
    }

    async fn delete_service(&self, id: &ServiceId) -> Result<(), StoreError> {
        let deleted = self.database.write(vec![Statement::new(DELETE_SERVICE).text(id.as_str())]).await;
        deleted.map(drop).map_err(|error| error::statement(|| service_named(id.as_str()), &error))
    }

    async fn versions(&self, id: &ServiceId) -> Result<Vec<Version>, StoreError> {
        let rows = self.database.pairs(Statement::new(VERSIONS).text(id.as_str())).await;
        let rows = rows.map_err(|error| error::statement(|| format!("the versions of service `{id}`"), &error))?;
        rows.iter().map(|(version, body)| read_version(id, version, body)).collect()
    }

    async fn put_version(&self, id: &ServiceId, version: &Version) -> Result<(), StoreError> {
        let lock = self.database.locks_rows().then(|| Statement::new(LOCK_SERVICE).text(id.as_str()));
        let statements = lock.into_iter().chain([put_version(id, version)?]).collect();
        self.database.write(statements).await.map(drop).map_err(|error| refused(id, version, &error))
    }

    async fn put_service_and_version(&self, service: &Service, version: &Version) -> Result<(), StoreError> {
        // Writing the service has locked it.
        let statements = vec![put_service(service)?, put_version(&service.id, version)?];
        self.database.write(statements).await.map(drop).map_err(|error| refused(&service.id, version, &error))
    }
}

fn put_service(service: &Service) -> Result<Statement, StoreError> {
    let body = row::write(|| service_named(service.id.as_str()), service)?;
    Ok(Statement::new(PUT_SERVICE).text(service.id.as_str()).text(body))
}

fn put_version(id: &ServiceId, version: &Version) -> Result<Statement, StoreError> {
    let body = row::write(|| version_named(id, version.id.as_str()), version)?;
    Ok(Statement::new(PUT_VERSION).text(id.as_str()).text(version.id.as_str()).text(body))
}

fn refused(id: &ServiceId, version: &Version, error: &sqlx::Error) -> StoreError {
    if error.as_database_error().is_some_and(|error| error.is_foreign_key_violation()) {
        return StoreError::Unavailable(format!("there is no service `{id}` for version `{}`", version.id));
    }
    error::statement(|| version_named(id, version.id.as_str()), error)
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
