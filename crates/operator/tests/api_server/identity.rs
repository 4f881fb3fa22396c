//! Users, sessions and keys in Secrets, as several routers change them at once.

use std::sync::Arc;

use jiff::Timestamp;
use kea_core::port::{External, IdentityStore, RecordKind, User, UserStore};
use kea_operator::SecretUsers;

use crate::scene::Scene;

fn user(username: &str) -> User {
    User {
        username: username.into(),
        password_hash: "$argon2id$hash".into(),
        roles: vec!["admin".into()],
        disabled: true,
        id: "one".into(),
        stamp: "first".into(),
        created_at: Timestamp::UNIX_EPOCH,
        external: Some(External {
            provider: "corp".into(),
            issuer: "https://login.example".into(),
            subject: "7".into(),
            groups: vec!["ml".into()],
            roles: vec!["engineer".into()],
        }),
    }
}

async fn store(scene: &Scene) -> Arc<SecretUsers> {
    Arc::new(SecretUsers::new(&scene.client("router"), "kea"))
}

#[tokio::test]
async fn users_are_read_as_they_were_put_and_changed_on_what_was_seen_alone() {
    let scene = Scene::new().await;
    let store = store(&scene).await;
    assert_eq!((store.user_count().await.unwrap(), store.users().await.unwrap()), (0, Vec::new()));
    assert!(store.add_user(&user("ada@example.org")).await.unwrap());
    assert!(!store.add_user(&user("ada@example.org")).await.unwrap());
    store.put_user(&user("Bob")).await.unwrap();
    assert_eq!(store.users().await.unwrap(), ["Bob", "ada@example.org"].map(user));
    let seen = store.revision().await.unwrap();
    let enabled = User { disabled: false, ..user("Bob") };
    assert!(store.change_user("Bob", Some(&enabled), &seen).await.unwrap());
    assert_eq!(store.user("Bob").await.unwrap(), Some(enabled));
    assert!(!store.change_user("Bob", None, &seen).await.unwrap(), "it has changed since");
    let seen = store.revision().await.unwrap();
    assert!(!store.change_user("nobody", None, &seen).await.unwrap());
    assert!(store.change_user("Bob", None, &seen).await.unwrap());
    assert_eq!(store.user("Bob").await.unwrap(), None);
}

#[tokio::test]
async fn of_changes_on_one_state_one_is_made() {
    let scene = Scene::new().await;
    let store = store(&scene).await;
    for number in 0..4 {
        store.put_user(&user(&format!("user-{number}"))).await.unwrap();
    }
    let seen = store.revision().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (store, seen) = (store.clone(), seen.clone());
        tasks.spawn(async move { store.change_user(&format!("user-{number}"), None, &seen).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|made| *made).count(), 1);
    assert_eq!(store.users().await.unwrap().len(), 3);
}

#[tokio::test]
async fn records_are_swapped_for_what_they_still_are_and_kinds_are_apart() {
    let scene = Scene::new().await;
    let store = store(&scene).await;
    for kind in RecordKind::ALL {
        let before = store.revision().await.unwrap();
        let swap = async |before, after| store.swap_record(kind, "a", before, after).await.unwrap();
        assert!(swap(None, None).await && swap(None, Some("1")).await);
        assert_eq!(store.revision().await.unwrap() != before, kind.is_watched(), "{}", kind.name());
        assert!(!swap(None, Some("2")).await && !swap(Some("2"), Some("3")).await && !swap(Some("2"), None).await);
        assert_eq!(store.record(kind, "a").await.unwrap().as_deref(), Some("1"));
        assert!(swap(Some("1"), Some("2")).await);
        assert_eq!(store.records(kind).await.unwrap().len(), 1);
        assert!(swap(Some("2"), None).await);
        assert_eq!(store.record(kind, "a").await.unwrap(), None);
    }
    for number in 0..40 {
        let id = format!("id{number}");
        assert!(store.swap_record(RecordKind::Session, &id, None, Some("{}")).await.unwrap());
    }
    assert_eq!(store.records(RecordKind::Session).await.unwrap().len(), 40, "spread over Secrets, and all found");
    assert_eq!(store.user_count().await.unwrap(), 0, "none of it is a user");
}
