//! The ports: what the rooms ask of the outside world, each with more than one implementation, or one and a fake.

mod identity;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    balancing::LoadBalancing,
    compare::ContractChange,
    contract::Contract,
    gate,
    management::{DeployRequest, ServiceDetails, UpdateRequest, VersionInfo},
    name::{ServiceId, VersionId},
    policy::{Binding, Policy, PolicyName, Role},
    routing::RoutingSnapshot,
    service::{Service, Version},
    tally::Tally,
};

pub use identity::{External, IdentityStore, Record, RecordKind, Revision, User, UserStore};

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database server refuses; the text is its own.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// What is stored cannot be read by this version of KEA.
    #[error("{what} in the store cannot be read: {why}")]
    Corrupt {
        /// Which row.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Keeps what is wanted of services.
#[async_trait]
pub trait ServiceStore: Send + Sync {
    /// All services, those on their way out too.
    async fn services(&self) -> Result<Vec<Service>, StoreError>;
    /// Inserts or replaces a service.
    async fn put_service(&self, service: &Service) -> Result<(), StoreError>;
    /// Removes a service and its versions; nothing happens where there is none.
    async fn delete_service(&self, id: &ServiceId) -> Result<(), StoreError>;
    /// A service's versions, oldest first.
    async fn versions(&self, id: &ServiceId) -> Result<Vec<Version>, StoreError>;
    /// Inserts or replaces a version of a service.
    async fn put_version(&self, id: &ServiceId, version: &Version) -> Result<(), StoreError>;
    /// Inserts or replaces a service together with a version of it; both or neither.
    async fn put_service_and_version(&self, service: &Service, version: &Version) -> Result<(), StoreError>;
}

/// Keeps roles and bindings. KEA's own roles are not among them.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// All of them as they are at one moment, each list by name.
    async fn policy(&self) -> Result<Policy, StoreError>;
    /// The number of the policy that is kept now, cheaper than the policy.
    async fn policy_revision(&self) -> Result<u64, StoreError>;
    /// Inserts or replaces a role.
    async fn put_role(&self, role: &Role) -> Result<(), StoreError>;
    /// Removes a role, and tells whether there was one.
    async fn delete_role(&self, name: &PolicyName) -> Result<bool, StoreError>;
    /// Inserts or replaces a binding.
    async fn put_binding(&self, binding: &Binding) -> Result<(), StoreError>;
    /// Removes a binding, and tells whether there was one.
    async fn delete_binding(&self, name: &PolicyName) -> Result<bool, StoreError>;
}

/// Why a deployer refuses. Each is the caller's to mend but for the last.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// There is no such service.
    #[error("there is no service `{0}`")]
    NotFound(ServiceId),
    /// There is no such version of the service.
    #[error("service `{service}` has no version `{version}`; it has {}", joined(.known))]
    NoSuchVersion {
        /// The service.
        service: ServiceId,
        /// The version asked for.
        version: VersionId,
        /// Versions that there are.
        known: Vec<VersionId>,
    },
    /// The request contradicts what there is.
    #[error("{0}")]
    Conflict(String),
    /// The version that is asked for would break callers of the live one, and that was not allowed.
    #[error("version `{version}` would break callers of version `{live}` of `{service}`: {}", gate::WHAT_TO_DO)]
    Breaking {
        /// The service.
        service: ServiceId,
        /// The version asked for.
        version: VersionId,
        /// The version that answers.
        live: VersionId,
        /// What it would break.
        changes: Vec<ContractChange>,
    },
    /// The request cannot be met; the text says what to do instead.
    #[error("{detail}")]
    Invalid {
        /// JSON pointer to the field of the request.
        pointer: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn joined(versions: &[VersionId]) -> String {
    versions.iter().map(VersionId::as_str).collect::<Vec<_>>().join(", ")
}

/// Follows the routes: the Request Router, to whoever knows of replicas.
pub trait RouteFollower: Send + Sync {
    /// Routes by `snapshot` from the return of this call on; requests under way finish by the one before.
    fn follow(&self, snapshot: &RoutingSnapshot);
}

/// Counts what versions answer: the Request Router, for whoever judges a new version.
pub trait Traffic: Send + Sync {
    /// What a version answered so far while another one was beside it; nothing of one that is not routed. Answers of the
    /// cache are not counted: no version gave them.
    fn tally(&self, service: &ServiceId, version: &VersionId) -> Tally;
}

/// The Service Deployer: makes what is wanted true, and tells what is.
#[async_trait]
pub trait Deployer: Send + Sync {
    /// Creates a service, or a new version of the one of that name.
    async fn deploy(&self, request: DeployRequest) -> Result<ServiceDetails, DeployError>;
    /// Changes a service.
    async fn update(&self, id: &ServiceId, change: UpdateRequest) -> Result<ServiceDetails, DeployError>;
    /// Returns to the version that was live before.
    async fn rollback(&self, id: &ServiceId) -> Result<ServiceDetails, DeployError>;
    /// Stops a service and forgets it.
    async fn delete(&self, id: &ServiceId) -> Result<(), DeployError>;
    /// Changes how replicas are chosen; `None` returns to the default.
    async fn balance(&self, id: &ServiceId, rule: Option<LoadBalancing>) -> Result<(), DeployError>;
    /// All services, by name.
    fn list(&self) -> Vec<ServiceDetails>;
    /// One service.
    fn get(&self, id: &ServiceId) -> Option<ServiceDetails>;
    /// A service's versions, oldest first.
    async fn versions(&self, id: &ServiceId) -> Result<Vec<VersionInfo>, DeployError>;
    /// The contract of a version, or of the live one (of the wanted one where none is live); `None` inside where it
    /// is not known yet.
    async fn contract(
        &self,
        id: &ServiceId,
        version: Option<&VersionId>,
    ) -> Result<(VersionId, Option<Arc<Contract>>), DeployError>;
}
