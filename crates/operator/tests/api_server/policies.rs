//! Roles and bindings in a Secret: what the store's own suite claims of databases, with several routers at once.

use std::sync::Arc;

use kea_core::{
    policy::{Binding, BindingSpec, Permission, Policy, PolicyName, Role, RoleSpec, Subject, SubjectKind},
    port::PolicyStore,
};
use kea_operator::SecretPolicies;

use crate::scene::{NAMESPACE, Scene};

fn name(text: &str) -> PolicyName {
    text.parse().unwrap()
}

fn role(text: &str, permission: &str) -> Role {
    let rules = vec![permission.parse::<Permission>().unwrap().rule()];
    Role { name: name(text), spec: RoleSpec { description: String::new(), rules } }
}

fn binding(text: &str, user: &str) -> Binding {
    let subjects = vec![Subject { kind: SubjectKind::User, name: user.into() }];
    Binding { name: name(text), spec: BindingSpec { role: name("teacher"), subjects } }
}

fn store(scene: &Scene) -> SecretPolicies {
    SecretPolicies::new(&scene.client("router"), NAMESPACE)
}

#[tokio::test]
async fn roles_and_bindings_are_read_as_they_were_put() {
    let scene = Scene::new().await;
    let (here, there) = (store(&scene), store(&scene));
    assert_eq!(here.policy().await.unwrap(), Policy::default());
    for text in ["teacher", "Student", "a_b@c"] {
        here.put_role(&role(text, "read:*")).await.unwrap();
    }
    here.put_role(&role("teacher", "predict:grades")).await.unwrap();
    here.put_binding(&binding("teacher", "ada")).await.unwrap();
    let kept = there.policy().await.unwrap();
    assert_eq!(kept.roles, [role("Student", "read:*"), role("a_b@c", "read:*"), role("teacher", "predict:grades")]);
    assert_eq!(kept.bindings, [binding("teacher", "ada")]);
    assert_eq!(there.policy_revision().await.unwrap(), kept.revision);

    assert!(there.delete_role(&name("teacher")).await.unwrap());
    assert!(!there.delete_role(&name("teacher")).await.unwrap());
    assert_ne!(here.policy_revision().await.unwrap(), kept.revision);
    let kept = here.policy().await.unwrap();
    assert_eq!((kept.roles.len(), kept.bindings.len()), (2, 1), "the binding of that name stays");
}

#[tokio::test]
async fn what_two_routers_put_at_once_is_all_kept() {
    let scene = Scene::new().await;
    let (here, there) = (Arc::new(store(&scene)), Arc::new(store(&scene)));
    for number in 0..8 {
        let (one, other) = (role(&format!("here-{number}"), "audit"), role(&format!("there-{number}"), "audit"));
        let put = tokio::join!(here.put_role(&one), there.put_role(&other));
        assert!(put.0.is_ok() && put.1.is_ok(), "{put:?}");
    }
    assert_eq!(here.policy().await.unwrap().roles.len(), 16);
}
