//! Users: made, changed, disabled, removed.

use kea_core::{
    management::{UserChange, UserRequest},
    port::{User, UserStore},
};

use super::{bearing, cheap, keys::user, login, name_of, on, origin, settings, store};
use crate::{AuthError, Authenticator, IdentityError};

fn roles(names: &[&str]) -> UserChange {
    UserChange { roles: Some(names.iter().map(|name| name.parse().unwrap()).collect()), ..UserChange::default() }
}

fn disabled(disabled: bool) -> UserChange {
    UserChange { disabled: Some(disabled), ..UserChange::default() }
}

fn refused<T>(outcome: Result<T, IdentityError>) -> String {
    outcome.err().map_or_else(|| "done".into(), |error| format!("{error:?}"))
}

#[tokio::test]
async fn roles_of_a_user_hold_at_once_also_for_tokens_that_are_out() {
    let auth = on(store().await).await;
    user(&auth, "ada", &["consumer"]).await;
    let token = login(&auth, "ada", "a password").await.unwrap().token;
    let roles_of = || auth.authenticate(&bearing(&token)).unwrap().roles.to_vec();
    assert_eq!(roles_of(), ["consumer"]);
    auth.change_user("ada", roles(&["engineer", "security"])).await.unwrap();
    assert_eq!(roles_of(), ["engineer", "security"]);
}

#[tokio::test]
async fn who_is_disabled_stops_at_once_and_is_told_what_a_stranger_is() {
    let auth = on(store().await).await;
    user(&auth, "ada", &[]).await;
    let session = login(&auth, "ada", "a password").await.unwrap();
    auth.change_user("ada", disabled(true)).await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "Revoked");
    assert!(matches!(auth.refresh(&session.refresh_token).await, Err(AuthError::Revoked)));
    assert!(matches!(login(&auth, "ada", "a password").await, Err(AuthError::WrongCredentials)));
    auth.change_user("ada", disabled(false)).await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "Revoked", "old sessions stay ended");
    assert!(login(&auth, "ada", "a password").await.is_ok());
}

#[tokio::test]
async fn tokens_of_a_removed_user_are_not_those_of_the_next_one_of_that_name() {
    let auth = on(store().await).await;
    user(&auth, "ada", &["admin"]).await;
    let session = login(&auth, "ada", "a password").await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "ada");
    auth.delete_user("ada").await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "Revoked");
    user(&auth, "ada", &[]).await;
    assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "Revoked");
    assert!(matches!(auth.refresh(&session.refresh_token).await, Err(AuthError::Revoked)));
}

#[tokio::test]
async fn a_new_password_of_ones_own_ends_all_sessions_but_the_new_one() {
    let auth = on(store().await).await;
    let old = login(&auth, "admin", "secret").await.unwrap();
    let change = async |old: &str, new: &str| auth.change_password("admin", old, new.into(), &origin()).await;
    assert_eq!(refused(change("wrong", "a new password").await), "Auth(WrongCredentials)");
    assert_eq!(refused(change("secret", "short").await), "PasswordTooShort");
    let new = change("secret", "a new password").await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&old.token))), "Revoked");
    assert_eq!(name_of(auth.authenticate(&bearing(&new.token))), "admin");
    assert!(matches!(login(&auth, "admin", "secret").await, Err(AuthError::WrongCredentials)));
    assert!(login(&auth, "admin", "a new password").await.is_ok());
}

#[tokio::test]
async fn passwords_have_a_shortest_and_a_longest_length() {
    let auth = on(store().await).await;
    let make = async |password: String| {
        let request = UserRequest { username: "ada".parse().unwrap(), password, roles: Vec::new() };
        refused(auth.create_user(request).await)
    };
    assert_eq!(make("ü".repeat(7)).await, "PasswordTooShort");
    assert_eq!(make("x".repeat(1_025)).await, "PasswordTooLong");
    assert_eq!(make("ü".repeat(512)).await, "done");
    assert!(login(&auth, "ada", &"ü".repeat(512)).await.is_ok(), "it is hashed whole");
    assert!(matches!(login(&auth, "ada", &"ü".repeat(511)).await, Err(AuthError::WrongCredentials)));
    let long = "x".repeat(1_025);
    for username in ["ada", "nobody"] {
        assert!(matches!(login(&auth, username, &long).await, Err(AuthError::PasswordTooLong { limit: 1_024 })));
    }
}

#[tokio::test]
async fn somebody_can_always_administer() {
    let auth = on(store().await).await;
    user(&auth, "ada", &["admin"]).await;
    auth.change_user("ada", disabled(true)).await.unwrap();
    let last = "LastAdmin(\"admin\")";
    assert_eq!(refused(auth.delete_user("admin").await), last);
    assert_eq!(refused(auth.change_user("admin", disabled(true)).await), last);
    assert_eq!(refused(auth.change_user("admin", roles(&["engineer"])).await), last);
    auth.change_user("ada", disabled(false)).await.unwrap();
    assert_eq!(refused(auth.change_user("admin", roles(&[])).await), "done");
    assert_eq!(refused(auth.delete_user("ada").await), "LastAdmin(\"ada\")");
}

#[tokio::test]
async fn two_admins_who_remove_each_other_at_once_do_not_both_succeed() {
    let store = store().await;
    let (here, there) = (on(store.clone()).await, on(store.clone()).await);
    user(&here, "ada", &["admin"]).await;
    let (one, two) = tokio::join!(here.delete_user("ada"), there.delete_user("admin"));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|done| **done).count(), 1);
    assert_eq!(store.user_count().await.unwrap(), 1);
}

#[tokio::test]
async fn there_is_one_user_of_a_name() {
    let auth = on(store().await).await;
    let request = UserRequest { username: "admin".parse().unwrap(), password: "a password".into(), roles: Vec::new() };
    assert_eq!(refused(auth.create_user(request).await), "UserExists(\"admin\")");
    assert_eq!(refused(auth.change_user("nobody", disabled(true)).await), "NoUser(\"nobody\")");
    assert_eq!(refused(auth.delete_user("nobody").await), "NoUser(\"nobody\")");
    assert_eq!(refused(auth.user("nobody").await), "NoUser(\"nobody\")");
    assert_eq!(auth.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_user_of_an_early_version_is_known_as_before() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let before = store.user("admin").await.unwrap().unwrap();
    let early = User { id: String::new(), stamp: String::new(), ..before };
    store.put_user(&early).await.unwrap();
    auth.follow().await.unwrap();
    let session = login(&auth, "admin", "secret").await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "admin");
    auth.end_all("admin").await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "Revoked");
}

#[tokio::test]
async fn a_user_that_another_process_has_just_made_can_log_in_here() {
    let store = store().await;
    let here = on(store.clone()).await;
    let there = Authenticator::with_hashing(store, settings(), cheap()).await.unwrap();
    user(&here, "ada", &[]).await;
    let session = login(&there, "ada", "a password").await.unwrap();
    assert_eq!(name_of(there.authenticate(&bearing(&session.token))), "ada");
}
