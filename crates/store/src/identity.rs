//! Records of sessions and keys, and the revision by which processes hear of each other's changes.

use async_trait::async_trait;
use kea_core::port::{IdentityStore, Record, RecordKind, Revision, StoreError, User};

use crate::{
    SqlStore,
    database::Statement,
    error,
    users::{put_user, user_named},
};

const REVISION: &str = "SELECT number FROM identity_revision";

/// Every transaction that changes the revision does so first: whoever comes second waits here, and holds nothing that
/// the first could need.
pub(crate) const NEW_REVISION: &str = "UPDATE identity_revision SET number = number + 1";

const NEW_REVISION_AFTER: &str = "UPDATE identity_revision SET number = number + 1 WHERE number = CAST($1 AS BIGINT)";

const DELETE_USER: &str = "DELETE FROM users WHERE username = $1";

const RECORDS: &str = "SELECT id, body FROM records WHERE kind = $1";

const RECORD: &str = "SELECT id, body FROM records WHERE kind = $1 AND id = $2";

const ADD_RECORD: &str = "INSERT INTO records (kind, id, body) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO NOTHING";

const REPLACE_RECORD: &str = "UPDATE records SET body = $4 WHERE kind = $1 AND id = $2 AND body = $3";

const REMOVE_RECORD: &str = "DELETE FROM records WHERE kind = $1 AND id = $2 AND body = $3";

#[async_trait]
impl IdentityStore for SqlStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let number = self.database.number(Statement::new(REVISION)).await;
        let number = number.map_err(|error| error::statement(|| "the revision of users".into(), &error))?;
        Ok(Revision(number.to_string()))
    }

    async fn change_user(&self, username: &str, after: Option<&User>, seen: &Revision) -> Result<bool, StoreError> {
        let change = match after {
            Some(user) => put_user(user)?,
            None => Statement::new(DELETE_USER).text(username),
        };
        let statements = vec![Statement::new(NEW_REVISION_AFTER).text(&seen.0), change];
        let changed = self.database.write_if_each(statements).await;
        changed.map_err(|error| error::statement(|| user_named(username), &error))
    }

    async fn records(&self, kind: RecordKind) -> Result<Vec<Record>, StoreError> {
        let rows = self.database.pairs(Statement::new(RECORDS).text(kind.name())).await;
        let rows = rows.map_err(|error| error::statement(|| format!("the records `{}`", kind.name()), &error))?;
        Ok(rows.into_iter().map(|(id, body)| Record { id, body }).collect())
    }

    async fn record(&self, kind: RecordKind, id: &str) -> Result<Option<String>, StoreError> {
        let rows = self.database.pairs(Statement::new(RECORD).text(kind.name()).text(id)).await;
        let rows = rows.map_err(|error| error::statement(|| record_named(kind, id), &error))?;
        Ok(rows.into_iter().next().map(|(_, body)| body))
    }

    async fn swap_record(
        &self,
        kind: RecordKind,
        id: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<bool, StoreError> {
        let of = |sql| Statement::new(sql).text(kind.name()).text(id);
        let swap = match (before, after) {
            (None, None) => return Ok(self.record(kind, id).await?.is_none()),
            (None, Some(after)) => of(ADD_RECORD).text(after),
            (Some(before), Some(after)) => of(REPLACE_RECORD).text(before).text(after),
            (Some(before), None) => of(REMOVE_RECORD).text(before),
        };
        let revision = kind.is_watched().then(|| Statement::new(NEW_REVISION));
        let swapped = self.database.write_if_each(revision.into_iter().chain([swap]).collect()).await;
        swapped.map_err(|error| error::statement(|| record_named(kind, id), &error))
    }
}

fn record_named(kind: RecordKind, id: &str) -> String {
    format!("{} `{id}`", kind.name())
}
