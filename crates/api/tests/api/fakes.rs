//! A deployer of three services, and a gateway that answers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::{body::Body, response::IntoResponse};
use http::{HeaderMap, Request, Response, StatusCode};
use jiff::Timestamp;
use kea_api::Gateway;
use kea_auth::Caller;
use kea_core::{
    Contract, Engine, Field, Framework, Function, Layout, ServiceId, Settings, ValueType, VersionId,
    balancing::LoadBalancing,
    management::{
        DeployRequest, KubernetesService, ReplicaStatus, ServiceDetails, Status, StepState, StepStatus, UpdateRequest,
        VersionInfo,
    },
    policy::{Binding, Policy, PolicyName, Role},
    port::{DeployError, Deployer, PolicyStore, StoreError},
    shadow::ShadowCounts,
    tensor::Datatype,
};
use kea_http::ApiError;

pub(crate) fn id(name: &str) -> ServiceId {
    name.parse().unwrap()
}

/// `iris` is deployed with two replicas, `shop` is public, `fresh` is on its way.
pub(crate) struct FakeDeployer(Mutex<Vec<ServiceDetails>>);

impl FakeDeployer {
    pub(crate) fn new() -> Self {
        let mut shop = details("shop", Status::Deployed);
        shop.settings.access.public = true;
        let mut fresh = details("fresh", Status::Deploying);
        fresh.reason = Some("the model is being fetched".into());
        fresh.framework = None;
        Self(Mutex::new(vec![fresh, details("iris", Status::Deployed), shop]))
    }

    fn change(&self, id: &ServiceId, change: impl FnOnce(&mut ServiceDetails)) -> Result<ServiceDetails, DeployError> {
        let mut services = self.0.lock().unwrap();
        let found = services.iter_mut().find(|service| service.service_id == *id);
        let service = found.ok_or_else(|| DeployError::NotFound(id.clone()))?;
        change(service);
        Ok(service.clone())
    }
}

fn details(name: &str, status: Status) -> ServiceDetails {
    let replica = |ordinal: u16| ReplicaStatus {
        name: format!("{name}-1-{ordinal}"),
        version: VersionId::first(),
        state: "ready".into(),
        address: Some(format!("127.0.0.1:{}", 4000 + ordinal)),
        pid: Some(7),
        restarts: 0,
        reason: None,
    };
    ServiceDetails {
        service_id: id(name),
        model_name: format!("The {name} <b>model</b>"),
        status,
        kubernetes_service: KubernetesService { name: name.into(), cluster_ip: "127.0.0.1".into(), ports: vec![8080] },
        version: VersionId::first(),
        live_version: Some(VersionId::first()),
        framework: Some(Framework::ScikitLearn),
        engine: Some(Engine::Python),
        image: None,
        replicas: 2,
        ready_replicas: 2,
        url: format!("http://127.0.0.1:8080/api/v1/k8c/services/{name}/predict"),
        reason: None,
        breaking_changes: Vec::new(),
        incomplete: Vec::new(),
        steps: vec![StepStatus { name: "fetch the model".into(), state: StepState::Done, detail: String::new() }],
        replica_statuses: vec![replica(0), replica(1)],
        canary: None,
        shadow: None,
        rollout: None,
        settings: Settings::default(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

fn contract() -> Contract {
    let number = || ValueType::Scalar { datatype: Datatype::Fp64 };
    let predict = Function {
        name: "predict".into(),
        description: "Tells the species.".into(),
        layout: Layout::Features,
        inputs: vec![Field { example: Some(5.1.into()), ..Field::new("sepal_length", number()) }],
        outputs: vec![Field::new("label", number())],
        idempotent: true,
        deterministic: true,
    };
    Contract { functions: vec![predict], ..Contract::default() }
}

#[async_trait]
impl Deployer for FakeDeployer {
    async fn deploy(&self, request: DeployRequest) -> Result<ServiceDetails, DeployError> {
        if request.container_image.is_some() {
            let detail = "an image needs Kubernetes: send `sourceCode`".into();
            return Err(DeployError::Invalid { pointer: "/containerImage".into(), detail });
        }
        let name = ServiceId::derive(&request.model_name).unwrap();
        let new = details(name.as_str(), Status::Deploying);
        self.0.lock().unwrap().push(new.clone());
        Ok(new)
    }

    async fn update(&self, id: &ServiceId, change: UpdateRequest) -> Result<ServiceDetails, DeployError> {
        if let (Some("breaking"), None) = (change.version.as_ref().map(VersionId::as_str), change.allow_breaking) {
            let mut other = contract();
            other.functions[0].inputs.clear();
            let (version, live) = ("breaking".parse().unwrap(), VersionId::first());
            let changes = kea_core::compare::breaking(&contract(), &other);
            return Err(DeployError::Breaking { service: id.clone(), version, live, changes });
        }
        self.change(id, |service| service.replicas = change.replicas.unwrap_or(service.replicas))
    }

    async fn rollback(&self, id: &ServiceId) -> Result<ServiceDetails, DeployError> {
        match id.as_str() {
            "fresh" => Err(DeployError::Conflict("no version was live before".into())),
            _ => self.change(id, |_| {}),
        }
    }

    async fn delete(&self, id: &ServiceId) -> Result<(), DeployError> {
        self.change(id, |_| {})?;
        self.0.lock().unwrap().retain(|service| service.service_id != *id);
        Ok(())
    }

    async fn balance(&self, id: &ServiceId, rule: Option<LoadBalancing>) -> Result<(), DeployError> {
        self.change(id, |service| service.settings.load_balancer = rule).map(drop)
    }

    fn list(&self) -> Vec<ServiceDetails> {
        self.0.lock().unwrap().clone()
    }

    fn get(&self, id: &ServiceId) -> Option<ServiceDetails> {
        self.list().into_iter().find(|service| service.service_id == *id)
    }

    async fn versions(&self, id: &ServiceId) -> Result<Vec<VersionInfo>, DeployError> {
        let service = self.change(id, |_| {})?;
        Ok(vec![VersionInfo {
            version: service.version,
            live: true,
            was_live: true,
            framework: service.framework,
            source: Some("./model.joblib".into()),
            image: None,
            created_at: service.created_at,
        }])
    }

    async fn contract(
        &self,
        id: &ServiceId,
        version: Option<&VersionId>,
    ) -> Result<(VersionId, Option<Arc<Contract>>), DeployError> {
        let service = self.change(id, |_| {})?;
        match version {
            Some(version) if *version != service.version => Err(DeployError::NoSuchVersion {
                service: id.clone(),
                version: version.clone(),
                known: vec![service.version],
            }),
            _ => Ok((service.version, (id.as_str() != "fresh").then(|| Arc::new(contract())))),
        }
    }
}

/// Answers which function of which service was called, and has one answer cached.
pub(crate) struct FakeGateway;

#[async_trait]
impl Gateway for FakeGateway {
    async fn handle(&self, service: &str, function: &str, _: Request<Body>, _: SocketAddr) -> Response<Body> {
        let predictions = serde_json::json!({"predictions": [{"service": service, "function": function}]});
        axum::Json(predictions).into_response()
    }

    async fn clear_cache(&self, service: &str, function: Option<&str>) -> Result<(), ApiError> {
        let known = service == "iris" && function.is_none_or(|function| function == "predict");
        if known { Ok(()) } else { Err(ApiError::new(StatusCode::NOT_FOUND, "no-service", "there is none")) }
    }

    async fn clear_cached(&self, _: &str) -> Result<(), ApiError> {
        Ok(())
    }

    async fn cached(&self, caller: &Caller, key: &str, _: &HeaderMap) -> Option<Response<Body>> {
        let predictions = serde_json::json!({"predictions": [{"for": &*caller.username}]});
        (key == "known").then(|| axum::Json(predictions).into_response())
    }

    fn active_replicas(&self, id: &ServiceId) -> Vec<String> {
        vec![format!("{id}-1-0")]
    }

    fn shadowed(&self, _: &ServiceId, _: &VersionId) -> ShadowCounts {
        ShadowCounts::default()
    }

    fn validate(
        &self,
        service: &str,
        version: Option<&str>,
        function: &str,
        body: &[u8],
    ) -> Result<VersionId, ApiError> {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!((service, function), ("iris", "predict"));
        match body.get("inputs") {
            Some(_) => Ok(version.unwrap_or("1").parse().unwrap()),
            None => Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid-request", "the field `inputs` is missing")),
        }
    }
}

#[derive(Default)]
pub(crate) struct FakePolicies(Mutex<Policy>);

impl FakePolicies {
    fn change<T>(&self, change: impl FnOnce(&mut Policy) -> T) -> Result<T, StoreError> {
        let mut policy = self.0.lock().unwrap();
        policy.revision += 1;
        Ok(change(&mut policy))
    }
}

#[async_trait]
impl PolicyStore for FakePolicies {
    async fn policy(&self) -> Result<Policy, StoreError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn policy_revision(&self) -> Result<u64, StoreError> {
        Ok(self.0.lock().unwrap().revision)
    }

    async fn put_role(&self, role: &Role) -> Result<(), StoreError> {
        self.delete_role(&role.name).await?;
        self.change(|policy| policy.roles.push(role.clone()))
    }

    async fn delete_role(&self, name: &PolicyName) -> Result<bool, StoreError> {
        self.change(|policy| {
            let before = policy.roles.len();
            policy.roles.retain(|role| role.name != *name);
            policy.roles.len() < before
        })
    }

    async fn put_binding(&self, binding: &Binding) -> Result<(), StoreError> {
        self.delete_binding(&binding.name).await?;
        self.change(|policy| policy.bindings.push(binding.clone()))
    }

    async fn delete_binding(&self, name: &PolicyName) -> Result<bool, StoreError> {
        self.change(|policy| {
            let before = policy.bindings.len();
            policy.bindings.retain(|binding| binding.name != *name);
            policy.bindings.len() < before
        })
    }
}
