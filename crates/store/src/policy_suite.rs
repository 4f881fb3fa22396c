//! The claims of `suite.rs` about roles and bindings.

use kea_core::{
    policy::{Binding, BindingSpec, Policy, PolicyName, Role, RoleSpec, Rule, Subject, SubjectKind, Verb, Verbs},
    port::PolicyStore,
};

use crate::suite::Outcome;

fn name(text: &str) -> PolicyName {
    text.parse().unwrap()
}

fn role(text: &str, verb: Verb) -> Role {
    let rule = Rule { verbs: vec![Verbs::One(verb)], services: vec!["grades".into()], ..Rule::default() };
    Role { name: name(text), spec: RoleSpec { description: "it's \"one\"".into(), rules: vec![rule] } }
}

fn binding(text: &str, user: &str) -> Binding {
    let subjects = vec![Subject { kind: SubjectKind::User, name: user.into() }];
    Binding { name: name(text), spec: BindingSpec { role: name("teacher"), subjects } }
}

pub(crate) async fn a_policy_is_read_as_it_was_put(store: &dyn PolicyStore) -> Outcome {
    assert_eq!(store.policy().await?, Policy::default());
    for text in ["teacher", "Student", "a.b"] {
        store.put_role(&role(text, Verb::Predict)).await?;
    }
    store.put_binding(&binding("of-ada", "ada'; DROP TABLE policies; --")).await?;
    let kept = store.policy().await?;
    assert_eq!(kept.roles, ["Student", "a.b", "teacher"].map(|text| role(text, Verb::Predict)));
    assert_eq!(kept.bindings, [binding("of-ada", "ada'; DROP TABLE policies; --")]);
    assert_eq!(kept.revision, store.policy_revision().await?);
    Ok(())
}

pub(crate) async fn what_is_put_again_is_replaced(store: &dyn PolicyStore) -> Outcome {
    store.put_role(&role("teacher", Verb::Predict)).await?;
    store.put_role(&role("teacher", Verb::Read)).await?;
    store.put_binding(&binding("one", "ada")).await?;
    store.put_binding(&binding("one", "bob")).await?;
    let kept = store.policy().await?;
    assert_eq!((kept.roles, kept.bindings), (vec![role("teacher", Verb::Read)], vec![binding("one", "bob")]));
    Ok(())
}

pub(crate) async fn roles_and_bindings_of_one_name_are_apart(store: &dyn PolicyStore) -> Outcome {
    store.put_role(&role("teacher", Verb::Predict)).await?;
    store.put_binding(&binding("teacher", "ada")).await?;
    assert!(store.delete_role(&name("teacher")).await?);
    assert!(!store.delete_role(&name("teacher")).await?, "it is gone");
    let kept = store.policy().await?;
    assert_eq!((kept.roles.len(), kept.bindings.len()), (0, 1));
    assert!(store.delete_binding(&name("teacher")).await?);
    assert_eq!(store.policy().await?.bindings, []);
    Ok(())
}

pub(crate) async fn each_change_of_the_policy_is_counted(store: &dyn PolicyStore) -> Outcome {
    let mut before = store.policy_revision().await?;
    let mut changed = async |what: &str| {
        let after = store.policy_revision().await?;
        assert!(after > before, "{what}: {before}, {after}");
        before = after;
        Outcome::Ok(())
    };
    store.put_role(&role("teacher", Verb::Predict)).await?;
    changed("a role").await?;
    store.put_binding(&binding("teacher", "ada")).await?;
    changed("a binding").await?;
    store.delete_binding(&name("teacher")).await?;
    changed("no binding").await?;
    store.delete_role(&name("teacher")).await?;
    changed("no role").await
}

pub(crate) async fn changes_of_the_policy_at_once_are_all_counted<S>(store: &S) -> Outcome
where
    S: PolicyStore + Clone + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = store.clone();
        tasks.spawn(async move { store.put_role(&role(&format!("role-{number}"), Verb::Read)).await });
    }
    for outcome in tasks.join_all().await {
        outcome?;
    }
    let kept = store.policy().await?;
    assert_eq!((kept.roles.len(), kept.revision), (20, 20));
    Ok(())
}
