//! Roles and bindings. Each change counts up the revision in its transaction, so that other processes notice.

use async_trait::async_trait;
use kea_core::{
    policy::{Binding, BindingSpec, Policy, PolicyName, Role, RoleSpec},
    port::{PolicyStore, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{SqlStore, database::Statement, error, row};

const ROLE: &str = "role";

const BINDING: &str = "binding";

/// The revision comes as a row of its own, so that it is that of the rows it comes with.
const POLICY: &str = "SELECT kind || '/' || name, body FROM policies
    UNION ALL SELECT '', CAST(number AS TEXT) FROM policy_revision";

const REVISION: &str = "SELECT number FROM policy_revision";

const PUT: &str = "INSERT INTO policies (kind, name, body) VALUES ($1, $2, $3)
    ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body";

const DELETE: &str = "DELETE FROM policies WHERE kind = $1 AND name = $2";

/// First in each transaction: who changes something at the same time waits here.
const COUNT: &str = "UPDATE policy_revision SET number = number + 1";

#[async_trait]
impl PolicyStore for SqlStore {
    async fn policy(&self) -> Result<Policy, StoreError> {
        let rows = self.database.pairs(Statement::new(POLICY)).await;
        let mut rows = rows.map_err(|error| error::statement(|| "the roles and bindings".into(), &error))?;
        // Databases have orders of their own for texts.
        rows.sort_unstable();
        let mut policy = Policy::default();
        for (key, body) in &rows {
            match key.split_once('/') {
                None => policy.revision = row::read(|| "the revision of the policy".into(), body)?,
                Some((ROLE, name)) => {
                    let (name, spec) = read::<RoleSpec>(ROLE, name, body)?;
                    policy.roles.push(Role { name, spec });
                }
                Some((kind, name)) => {
                    let (name, spec) = read::<BindingSpec>(kind, name, body)?;
                    policy.bindings.push(Binding { name, spec });
                }
            }
        }
        Ok(policy)
    }

    async fn policy_revision(&self) -> Result<u64, StoreError> {
        let number = self.database.number(Statement::new(REVISION)).await;
        let number = number.map_err(|error| error::statement(|| "the revision of the policy".into(), &error))?;
        Ok(number.unsigned_abs())
    }

    async fn put_role(&self, role: &Role) -> Result<(), StoreError> {
        put(self, ROLE, &role.name, &role.spec).await
    }

    async fn delete_role(&self, name: &PolicyName) -> Result<bool, StoreError> {
        delete(self, ROLE, name).await
    }

    async fn put_binding(&self, binding: &Binding) -> Result<(), StoreError> {
        put(self, BINDING, &binding.name, &binding.spec).await
    }

    async fn delete_binding(&self, name: &PolicyName) -> Result<bool, StoreError> {
        delete(self, BINDING, name).await
    }
}

async fn put(store: &SqlStore, kind: &str, name: &PolicyName, spec: &impl Serialize) -> Result<(), StoreError> {
    let body = row::write(|| named(kind, name.as_str()), spec)?;
    let statement = Statement::new(PUT).text(kind).text(name.as_str()).text(body);
    change(store, kind, name, statement).await.map(drop)
}

async fn delete(store: &SqlStore, kind: &str, name: &PolicyName) -> Result<bool, StoreError> {
    let statement = Statement::new(DELETE).text(kind).text(name.as_str());
    Ok(change(store, kind, name, statement).await? > 0)
}

async fn change(store: &SqlStore, kind: &str, name: &PolicyName, statement: Statement) -> Result<u64, StoreError> {
    let written = store.database.write(vec![Statement::new(COUNT), statement]).await;
    written.map_err(|error| error::statement(|| named(kind, name.as_str()), &error))
}

fn read<T: DeserializeOwned>(kind: &str, name: &str, body: &str) -> Result<(PolicyName, T), StoreError> {
    let what = || named(kind, name);
    let parsed = name.parse().map_err(|error| StoreError::Corrupt { what: what(), why: format!("{error}") })?;
    Ok((parsed, row::read(what, body)?))
}

fn named(kind: &str, name: &str) -> String {
    format!("{kind} `{name}`")
}
