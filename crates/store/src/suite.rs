//! What every implementation of the store's ports must do, written once: each function is a claim, and is given a
//! store that is empty.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kea_core::{
    Contract, Datatype, Field, Framework, Function, Layout, ServiceId, Settings, ValueType, VersionId,
    balancing::{Algorithm, LoadBalancing},
    port::{External, IdentityStore, Record, RecordKind, ServiceStore, StoreError, User, UserStore},
    rollout::Rollout,
    service::{Canary, ModelSpec, Resources, Service, Version},
    shadow::Shadow,
};

pub(crate) use crate::policy_suite::*;

pub(crate) type Outcome = Result<(), StoreError>;

/// Makes one test of each claim for the store that `$open` gives.
macro_rules! every_store {
    ($name:ident, $open:expr) => {
        mod $name {
            use super::*;

            every_store!(@each $open,
                a_service_is_read_as_it_was_put,
                services_are_listed_by_name,
                a_service_that_is_put_again_is_replaced,
                versions_are_listed_oldest_first,
                a_version_that_is_put_again_keeps_its_place,
                versions_of_two_services_are_apart,
                a_deleted_service_takes_its_versions_along,
                deleting_what_is_not_there_does_nothing,
                a_version_of_no_service_is_refused,
                a_service_and_its_version_are_put_together,
                services_put_at_once_are_all_kept,
                versions_put_at_once_are_all_kept,
                thousands_of_services_are_listed_at_once,
                a_user_is_read_as_it_was_put,
                a_user_of_a_provider_is_read_as_it_was_put,
                a_user_that_is_put_again_is_replaced,
                a_user_is_added_once,
                a_user_added_by_many_at_once_is_that_of_one,
                a_name_is_never_taken_for_sql,
                a_name_with_a_nul_is_nobodys,
                a_secret_is_kept_once,
                a_secret_kept_by_many_at_once_is_one,
                a_policy_is_read_as_it_was_put,
                what_is_put_again_is_replaced,
                roles_and_bindings_of_one_name_are_apart,
                each_change_of_the_policy_is_counted,
                changes_of_the_policy_at_once_are_all_counted,
                users_are_listed_by_name,
                a_user_is_changed_on_what_was_seen_alone,
                a_removed_user_is_gone,
                of_changes_of_users_on_one_state_one_is_made,
                a_record_is_swapped_for_what_it_still_is_alone,
                records_of_two_kinds_are_apart,
                of_swaps_of_one_record_at_once_one_is_made,
                the_revision_changes_with_what_all_have_to_know_alone,
            );
        }
    };
    (@each $open:expr, $($claim:ident,)*) => {
        $(
            #[tokio::test]
            async fn $claim() -> suite::Outcome {
                let opened = $open.await;
                suite::$claim(&opened.store).await
            }
        )*
    };
}
pub(crate) use every_store;

pub(crate) fn service(id: &str) -> Service {
    Service {
        id: id.parse().unwrap(),
        model_name: format!("The model `{id}`, \"quoted\" and in ünïcode"),
        version: version_id("1"),
        replicas: 2,
        settings: Settings::default(),
        canary: Some(Canary { version: version_id("2"), weight: 10 }),
        shadow: Some(Shadow { version: version_id("3"), percent: Some(20), tolerance: Some(0.001) }),
        rollout: Some(Rollout::begin(version_id("1"), Timestamp::UNIX_EPOCH)),
        live_history: vec![version_id("1")],
        may_break: vec![version_id("2")],
        deleted: false,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: "2024-02-29T12:34:56.789012345Z".parse().unwrap(),
    }
}

pub(crate) fn version(id: &str) -> Version {
    let model = ModelSpec {
        source: Some(format!("models/{id}.joblib")),
        framework: Some(Framework::ScikitLearn),
        requirements: vec!["scikit-learn==1.5.0".into()],
        command: Vec::new(),
        functions: Vec::new(),
        env: BTreeMap::from([("LEVEL".into(), "3".into())]),
        resources: Resources::default(),
    };
    Version { id: version_id(id), model, contract: None, prepared: None, created_at: Timestamp::UNIX_EPOCH }
}

fn contract() -> Arc<Contract> {
    let mut field = Field::new("petal width (cm)", ValueType::Scalar { datatype: Datatype::Fp64 });
    field.example = Some(serde_json::json!(0.2));
    field.minimum = Some(0.1 + 0.2);
    let predict = Function {
        name: "predict".into(),
        description: "Says which iris it is.".into(),
        layout: Layout::Features,
        inputs: vec![field],
        outputs: Vec::new(),
        idempotent: true,
        deterministic: true,
    };
    Arc::new(Contract { functions: vec![predict], ..Contract::default() })
}

fn version_id(text: &str) -> VersionId {
    text.parse().unwrap()
}

fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}

async fn service_names(store: &dyn ServiceStore) -> Result<Vec<String>, StoreError> {
    Ok(store.services().await?.into_iter().map(|service| service.id.into()).collect())
}

async fn version_names(store: &dyn ServiceStore, service: &str) -> Result<Vec<String>, StoreError> {
    Ok(store.versions(&id(service)).await?.into_iter().map(|version| version.id.into()).collect())
}

pub(crate) async fn a_service_is_read_as_it_was_put(store: &dyn ServiceStore) -> Outcome {
    let mut iris = service("iris");
    iris.settings.load_balancer =
        Some(LoadBalancing { algorithm: Some(Algorithm::IpHash), ..LoadBalancing::default() });
    iris.settings.cache.enabled = true;
    let mut first = version("1");
    first.contract = Some(contract());
    store.put_service(&iris).await?;
    store.put_version(&iris.id, &first).await?;
    assert_eq!(store.services().await?, [iris.clone()]);
    assert_eq!(store.versions(&iris.id).await?, [first]);
    Ok(())
}

pub(crate) async fn services_are_listed_by_name(store: &dyn ServiceStore) -> Outcome {
    for name in ["b", "ab", "a", "a-c"] {
        store.put_service(&service(name)).await?;
    }
    assert_eq!(service_names(store).await?, ["a", "a-c", "ab", "b"]);
    Ok(())
}

pub(crate) async fn a_service_that_is_put_again_is_replaced(store: &dyn ServiceStore) -> Outcome {
    let mut iris = service("iris");
    store.put_service_and_version(&iris, &version("1")).await?;
    iris.replicas = 7;
    iris.deleted = true;
    store.put_service(&iris).await?;
    assert_eq!(store.services().await?, [iris]);
    assert_eq!(version_names(store, "iris").await?, ["1"], "its versions stay");
    Ok(())
}

pub(crate) async fn versions_are_listed_oldest_first(store: &dyn ServiceStore) -> Outcome {
    store.put_service(&service("iris")).await?;
    for name in ["9", "10", "beta", "2"] {
        store.put_version(&id("iris"), &version(name)).await?;
    }
    assert_eq!(version_names(store, "iris").await?, ["9", "10", "beta", "2"]);
    Ok(())
}

pub(crate) async fn a_version_that_is_put_again_keeps_its_place(store: &dyn ServiceStore) -> Outcome {
    store.put_service(&service("iris")).await?;
    for name in ["1", "2", "3"] {
        store.put_version(&id("iris"), &version(name)).await?;
    }
    let mut second = version("2");
    second.contract = Some(contract());
    store.put_version(&id("iris"), &second).await?;
    assert_eq!(version_names(store, "iris").await?, ["1", "2", "3"]);
    assert_eq!(store.versions(&id("iris")).await?[1], second);
    Ok(())
}

pub(crate) async fn versions_of_two_services_are_apart(store: &dyn ServiceStore) -> Outcome {
    store.put_service_and_version(&service("iris"), &version("1")).await?;
    store.put_service_and_version(&service("wine"), &version("2")).await?;
    assert_eq!(version_names(store, "iris").await?, ["1"]);
    assert_eq!(version_names(store, "wine").await?, ["2"]);
    assert_eq!(version_names(store, "other").await?, [""; 0]);
    Ok(())
}

pub(crate) async fn a_deleted_service_takes_its_versions_along(store: &dyn ServiceStore) -> Outcome {
    store.put_service_and_version(&service("iris"), &version("1")).await?;
    store.put_service_and_version(&service("wine"), &version("1")).await?;
    store.delete_service(&id("iris")).await?;
    store.put_service(&service("iris")).await?;
    assert_eq!(version_names(store, "iris").await?, [""; 0]);
    assert_eq!(version_names(store, "wine").await?, ["1"]);
    Ok(())
}

pub(crate) async fn deleting_what_is_not_there_does_nothing(store: &dyn ServiceStore) -> Outcome {
    store.put_service(&service("iris")).await?;
    store.delete_service(&id("wine")).await?;
    assert_eq!(service_names(store).await?, ["iris"]);
    Ok(())
}

pub(crate) async fn a_version_of_no_service_is_refused(store: &dyn ServiceStore) -> Outcome {
    let refused = store.put_version(&id("iris"), &version("1")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(why)) if why.contains("no service `iris`")));
    store.put_service(&service("iris")).await?;
    assert_eq!(version_names(store, "iris").await?, [""; 0]);
    Ok(())
}

pub(crate) async fn a_service_and_its_version_are_put_together(store: &dyn ServiceStore) -> Outcome {
    store.put_service_and_version(&service("iris"), &version("1")).await?;
    let mut changed = service("iris");
    changed.version = version_id("2");
    store.put_service_and_version(&changed, &version("2")).await?;
    assert_eq!(store.services().await?, [changed]);
    assert_eq!(version_names(store, "iris").await?, ["1", "2"]);
    Ok(())
}

pub(crate) async fn services_put_at_once_are_all_kept<S>(store: &S) -> Outcome
where
    S: ServiceStore + Clone + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let store = store.clone();
        tasks.spawn(async move {
            let one = service(&format!("service-{}", number % 25));
            store.put_service_and_version(&one, &version(&number.to_string())).await
        });
    }
    for outcome in tasks.join_all().await {
        outcome?;
    }
    assert_eq!(store.services().await?.len(), 25);
    assert_eq!(store.versions(&id("service-3")).await?.len(), 2);
    Ok(())
}

pub(crate) async fn versions_put_at_once_are_all_kept<S>(store: &S) -> Outcome
where
    S: ServiceStore + Clone + 'static,
{
    store.put_service(&service("iris")).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let store = store.clone();
        tasks.spawn(async move { store.put_version(&id("iris"), &version(&number.to_string())).await });
    }
    for outcome in tasks.join_all().await {
        outcome?;
    }
    assert_eq!(store.versions(&id("iris")).await?.len(), 40);
    Ok(())
}

pub(crate) async fn thousands_of_services_are_listed_at_once(store: &dyn ServiceStore) -> Outcome {
    let first = version("1");
    for number in 0..5_000 {
        store.put_service_and_version(&service(&format!("service-{number:04}")), &first).await?;
    }
    let start = Instant::now();
    let services = store.services().await?;
    let took = start.elapsed();
    assert_eq!(services.len(), 5_000);
    assert_eq!(services[4_321].id.as_str(), "service-4321");
    assert!(took < Duration::from_secs(2), "{took:?}");
    Ok(())
}

fn user(username: &str) -> User {
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
    User {
        username: username.into(),
        password_hash: hash.into(),
        roles: vec!["admin".into(), "a \"b\"".into()],
        disabled: true,
        id: "one".into(),
        stamp: "first".into(),
        created_at: "2024-02-29T12:34:56Z".parse().unwrap(),
        external: None,
    }
}

pub(crate) async fn a_user_of_a_provider_is_read_as_it_was_put(store: &dyn UserStore) -> Outcome {
    let external = External {
        provider: "corp".into(),
        issuer: "https://login.example".into(),
        subject: "7 \"\u{0}\"".into(),
        groups: vec!["ml".into(), "ö".into()],
        roles: vec!["engineer".into()],
    };
    let ada = User { password_hash: String::new(), external: Some(external), ..user("corp:ada") };
    store.put_user(&ada).await?;
    assert_eq!(store.user("corp:ada").await?, Some(ada));
    Ok(())
}

pub(crate) async fn a_user_is_read_as_it_was_put(store: &dyn UserStore) -> Outcome {
    assert_eq!((store.user_count().await?, store.user("ada").await?), (0, None));
    store.put_user(&user("ada")).await?;
    assert_eq!((store.user_count().await?, store.user("ada").await?), (1, Some(user("ada"))));
    assert_eq!(store.user("Ada").await?, None, "names are told apart by case");
    Ok(())
}

pub(crate) async fn a_user_that_is_put_again_is_replaced(store: &dyn UserStore) -> Outcome {
    store.put_user(&user("ada")).await?;
    let changed = User { password_hash: "other".into(), roles: Vec::new(), ..user("ada") };
    store.put_user(&changed).await?;
    assert_eq!((store.user_count().await?, store.user("ada").await?), (1, Some(changed)));
    Ok(())
}

pub(crate) async fn a_user_is_added_once(store: &dyn UserStore) -> Outcome {
    assert!(store.add_user(&user("ada")).await?);
    let other = User { password_hash: "other".into(), ..user("ada") };
    assert!(!store.add_user(&other).await?);
    assert_eq!((store.user_count().await?, store.user("ada").await?), (1, Some(user("ada"))));
    Ok(())
}

pub(crate) async fn a_user_added_by_many_at_once_is_that_of_one<S>(store: &S) -> Outcome
where
    S: UserStore + Clone + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20u8 {
        let store = store.clone();
        let one = User { password_hash: number.to_string(), ..user("ada") };
        tasks.spawn(async move { store.add_user(&one).await.map(|added| added.then_some(one)) });
    }
    let mut added = Vec::new();
    for outcome in tasks.join_all().await {
        added.extend(outcome?);
    }
    assert_eq!(added.len(), 1);
    assert_eq!(store.user("ada").await?, added.pop());
    Ok(())
}

pub(crate) async fn a_name_is_never_taken_for_sql(store: &dyn UserStore) -> Outcome {
    let hostile = "'; DROP TABLE users; --";
    store.put_user(&user(hostile)).await?;
    assert_eq!(store.user(hostile).await?, Some(user(hostile)));
    assert_eq!(store.user("' OR '1'='1").await?, None);
    Ok(())
}

pub(crate) async fn a_name_with_a_nul_is_nobodys(store: &dyn UserStore) -> Outcome {
    store.put_user(&user("ada")).await?;
    assert_eq!(store.user("ada\0").await?, None);
    Ok(())
}

pub(crate) async fn a_secret_is_kept_once(store: &dyn UserStore) -> Outcome {
    assert_eq!(store.secret("key").await?, None);
    assert_eq!(store.keep_secret("key", &[0, 255, 1]).await?, [0, 255, 1]);
    assert_eq!(store.keep_secret("key", b"second").await?, [0, 255, 1]);
    assert_eq!(store.secret("key").await?, Some(vec![0, 255, 1]));
    assert_eq!(store.keep_secret("other", b"").await?, b"");
    Ok(())
}

pub(crate) async fn a_secret_kept_by_many_at_once_is_one<S>(store: &S) -> Outcome
where
    S: UserStore + Clone + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20u8 {
        let store = store.clone();
        tasks.spawn(async move { store.keep_secret("key", &[number]).await });
    }
    let kept = store.keep_secret("key", b"late").await?;
    for outcome in tasks.join_all().await {
        assert_eq!(outcome?, kept);
    }
    Ok(())
}

pub(crate) async fn users_are_listed_by_name(store: &dyn IdentityStore) -> Outcome {
    for name in ["bob", "Ada", "ada", "a-b"] {
        store.put_user(&user(name)).await?;
    }
    assert_eq!(store.users().await?, ["Ada", "a-b", "ada", "bob"].map(user));
    Ok(())
}

pub(crate) async fn a_user_is_changed_on_what_was_seen_alone(store: &dyn IdentityStore) -> Outcome {
    store.put_user(&user("ada")).await?;
    let seen = store.revision().await?;
    store.put_user(&user("bob")).await?;
    let enabled = User { disabled: false, ..user("ada") };
    assert!(!store.change_user("ada", Some(&enabled), &seen).await?, "bob came in between");
    assert_eq!(store.user("ada").await?, Some(user("ada")));
    let seen = store.revision().await?;
    assert!(store.change_user("ada", Some(&enabled), &seen).await?);
    assert_eq!(store.user("ada").await?, Some(enabled));
    assert!(!store.change_user("ada", None, &seen).await?, "the change was one too");
    Ok(())
}

pub(crate) async fn a_removed_user_is_gone(store: &dyn IdentityStore) -> Outcome {
    store.put_user(&user("ada")).await?;
    let seen = store.revision().await?;
    assert!(store.change_user("ada", None, &seen).await?);
    assert_eq!((store.user("ada").await?, store.users().await?.len()), (None, 0));
    let seen = store.revision().await?;
    assert!(!store.change_user("ada", None, &seen).await?, "there is nobody to remove");
    assert_eq!(store.revision().await?, seen, "and so nothing has changed");
    Ok(())
}

pub(crate) async fn of_changes_of_users_on_one_state_one_is_made<S>(store: &S) -> Outcome
where
    S: IdentityStore + Clone + 'static,
{
    let names: Vec<_> = (0..10).map(|number| format!("user-{number}")).collect();
    for name in &names {
        store.put_user(&user(name)).await?;
    }
    let seen = store.revision().await?;
    let mut tasks = tokio::task::JoinSet::new();
    for name in names {
        let (store, seen) = (store.clone(), seen.clone());
        tasks.spawn(async move { store.change_user(&name, None, &seen).await });
    }
    let mut made = 0;
    for outcome in tasks.join_all().await {
        made += usize::from(outcome?);
    }
    assert_eq!((made, store.users().await?.len()), (1, 9));
    Ok(())
}

const SESSION: RecordKind = RecordKind::Session;

pub(crate) async fn a_record_is_swapped_for_what_it_still_is_alone(store: &dyn IdentityStore) -> Outcome {
    assert!(store.swap_record(SESSION, "a", None, Some("1")).await?);
    assert!(!store.swap_record(SESSION, "a", None, Some("2")).await?);
    assert!(!store.swap_record(SESSION, "a", Some("2"), Some("3")).await?);
    assert_eq!(store.record(SESSION, "a").await?.as_deref(), Some("1"));
    assert!(store.swap_record(SESSION, "a", Some("1"), Some("2")).await?);
    assert!(!store.swap_record(SESSION, "a", Some("1"), None).await?);
    assert!(!store.swap_record(SESSION, "a", None, None).await?);
    assert!(store.swap_record(SESSION, "a", Some("2"), None).await?);
    assert!(!store.swap_record(SESSION, "a", Some("2"), Some("3")).await?);
    assert!(store.swap_record(SESSION, "a", None, None).await?);
    assert_eq!(store.record(SESSION, "a").await?, None);
    Ok(())
}

pub(crate) async fn records_of_two_kinds_are_apart(store: &dyn IdentityStore) -> Outcome {
    for kind in RecordKind::ALL {
        assert!(store.swap_record(kind, "same", None, Some(&format!("\"{}\"", kind.name()))).await?);
    }
    for kind in RecordKind::ALL {
        let body = format!("\"{}\"", kind.name());
        assert_eq!(store.records(kind).await?, [Record { id: "same".into(), body: body.clone() }]);
        assert_eq!(store.record(kind, "same").await?, Some(body));
    }
    for number in 0..40 {
        assert!(store.swap_record(SESSION, &format!("id-{number}"), None, Some("{}")).await?);
    }
    assert_eq!(store.records(SESSION).await?.len(), 41);
    Ok(())
}

pub(crate) async fn of_swaps_of_one_record_at_once_one_is_made<S>(store: &S) -> Outcome
where
    S: IdentityStore + Clone + 'static,
{
    for kind in [SESSION, RecordKind::ApiKey] {
        assert!(store.swap_record(kind, "a", None, Some("before")).await?);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..20 {
            let store = store.clone();
            let after = number.to_string();
            tasks.spawn(async move { store.swap_record(kind, "a", Some("before"), Some(&after)).await });
        }
        let mut made = 0;
        for outcome in tasks.join_all().await {
            made += usize::from(outcome?);
        }
        assert_eq!(made, 1);
    }
    Ok(())
}

pub(crate) async fn the_revision_changes_with_what_all_have_to_know_alone(store: &dyn IdentityStore) -> Outcome {
    let mut seen = store.revision().await?;
    let mut has_changed = async || {
        let before = std::mem::replace(&mut seen, store.revision().await?);
        Ok::<_, StoreError>(before != seen)
    };
    assert!(!has_changed().await?);
    for kind in RecordKind::ALL {
        let watched = kind.is_watched();
        store.swap_record(kind, "a", None, Some("1")).await?;
        assert_eq!(has_changed().await?, watched, "{}: added", kind.name());
        store.swap_record(kind, "a", Some("9"), Some("2")).await?;
        assert!(!has_changed().await?, "{}: refused", kind.name());
        store.swap_record(kind, "a", Some("1"), None).await?;
        assert_eq!(has_changed().await?, watched, "{}: removed", kind.name());
    }
    store.add_user(&user("ada")).await?;
    assert!(has_changed().await?);
    store.add_user(&user("ada")).await?;
    assert!(!has_changed().await?, "there is one of that name");
    store.put_user(&user("ada")).await?;
    assert!(has_changed().await?);
    Ok(())
}
