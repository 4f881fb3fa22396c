//! Signing keys and API keys.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use kea_core::{
    management::{KeyRequest, UserChange, UserRequest},
    port::{IdentityStore, RecordKind, UserStore},
};
use serde_json::Value;

use super::{bearing, login, name_of, on, store};
use crate::{Authenticator, IdentityError, signing::PUBLISHED_BEFORE};

fn kid(token: &str) -> String {
    decode_header(token).unwrap().kid.unwrap()
}

/// Lets it look as if a signing key had been made a while ago.
async fn age(store: &dyn IdentityStore, id: &str, by: Duration) {
    let before = store.record(RecordKind::SigningKey, id).await.unwrap().unwrap();
    let mut body: Value = serde_json::from_str(&before).unwrap();
    let made: Timestamp = body["createdAt"].as_str().unwrap().parse().unwrap();
    body["createdAt"] = (made - by).to_string().into();
    let after = body.to_string();
    assert!(store.swap_record(RecordKind::SigningKey, id, Some(&before), Some(&after)).await.unwrap());
}

#[tokio::test]
async fn a_rotation_logs_nobody_out() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let before = login(&auth, "admin", "secret").await.unwrap();
    let id = auth.rotate_keys().await.unwrap();
    let just_after = login(&auth, "admin", "secret").await.unwrap();
    assert_eq!(kid(&just_after.token), kid(&before.token), "others may not know the new key yet");
    age(&*store, &id, PUBLISHED_BEFORE).await;
    auth.follow().await.unwrap();
    let after = login(&auth, "admin", "secret").await.unwrap();
    assert_eq!(kid(&after.token), id);
    for session in [&before, &just_after, &after] {
        assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "admin");
    }
    let published: Vec<_> = auth.public_keys().into_iter().map(|key| key.kid).collect();
    assert_eq!(published.len(), 2);
    assert!(published.contains(&id) && published.contains(&kid(&before.token)));
}

#[tokio::test]
async fn another_process_knows_a_new_key_before_it_signs() {
    let store = store().await;
    let (here, there) = (on(store.clone()).await, on(store.clone()).await);
    let id = here.rotate_keys().await.unwrap();
    there.follow().await.unwrap();
    assert!(there.public_keys().iter().any(|key| key.kid == id));
}

#[tokio::test]
async fn a_key_that_has_had_its_time_gets_a_successor_and_goes_once_nothing_is_left_of_it() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let first = auth.public_keys().remove(0).kid;
    auth.look_after_keys(Timestamp::now()).await.unwrap();
    assert_eq!(auth.public_keys().len(), 1, "it is young");
    age(&*store, &first, Duration::from_secs(31 * 24 * 3600)).await;
    auth.follow().await.unwrap();
    auth.look_after_keys(Timestamp::now()).await.unwrap();
    assert_eq!(auth.public_keys().len(), 2);
    auth.look_after_keys(Timestamp::now()).await.unwrap();
    assert_eq!(auth.public_keys().len(), 2, "tokens of the old one are good still");
    let later = Timestamp::now() + Duration::from_secs(3 * 3600);
    auth.look_after_keys(later).await.unwrap();
    auth.follow().await.unwrap();
    let left: Vec<_> = auth.public_keys().into_iter().map(|key| key.kid).collect();
    assert!(left.len() == 1 && left[0] != first, "{left:?}");
}

#[tokio::test]
async fn a_published_key_checks_tokens_elsewhere() {
    let auth = on(store().await).await;
    let token = login(&auth, "admin", "secret").await.unwrap().token;
    let published = auth.public_keys().remove(0);
    let key = DecodingKey::from_ed_components(&published.x).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["kea"]);
    assert_eq!(decode::<Value>(&token, &key, &validation).unwrap().claims["sub"], "admin");
    let shown = serde_json::to_value(&published).unwrap();
    assert_eq!((&shown["kty"], &shown["crv"], &shown["use"]), (&"OKP".into(), &"Ed25519".into(), &"sig".into()));
    assert_eq!(shown.as_object().unwrap().len(), 6, "nothing of the private key: {shown}");
}

pub(super) fn request(name: &str) -> KeyRequest {
    KeyRequest { name: name.into(), owner: None, roles: None, scopes: None, expires_at: None }
}

fn sent(header: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(header), HeaderValue::from_str(value).unwrap())])
}

pub(super) async fn user(auth: &Authenticator, username: &str, roles: &[&str]) {
    let roles = roles.iter().map(|role| role.parse().unwrap()).collect();
    let request = UserRequest { username: username.parse().unwrap(), password: "a password".into(), roles };
    auth.create_user(request).await.unwrap();
}

#[tokio::test]
async fn a_key_stands_for_its_owner_in_either_header() {
    let auth = on(store().await).await;
    user(&auth, "ada", &["engineer", "consumer"]).await;
    let scopes = vec!["predict:grades/get_grades".to_string()];
    let asked = KeyRequest { scopes: Some(scopes.clone()), ..request("ci") };
    let made = auth.create_key("ada", asked).await.unwrap();
    for headers in [bearing(&made.key), sent("x-api-key", &made.key)] {
        let caller = auth.authenticate(&headers).unwrap();
        assert_eq!((&*caller.username, caller.key.as_deref()), ("ada", Some(made.info.id.as_str())));
        assert_eq!((caller.session, caller.roles.len()), (None, 2));
        assert_eq!(caller.scopes.as_deref(), Some(scopes.as_slice()));
    }
}

#[tokio::test]
async fn a_key_is_kept_as_a_hash() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let made = auth.create_key("admin", request("ci")).await.unwrap();
    let secret = made.key.rsplit('_').next().unwrap();
    let kept = store.record(RecordKind::ApiKey, &made.info.id).await.unwrap().unwrap();
    assert!(secret.len() == 43 && !kept.contains(secret), "{kept}");
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let auth = on(store().await).await;
    let made = auth.create_key("admin", request("ci")).await.unwrap();
    let id = &made.info.id;
    let other = auth.create_key("admin", request("ci")).await.unwrap();
    let swapped = format!("kea_{id}_{}", other.key.rsplit('_').next().unwrap());
    for key in ["kea_", "kea_a_b", &format!("kea_{id}_"), &format!("kea_{id}"), &swapped, &format!("{}x", made.key)] {
        assert_eq!(name_of(auth.authenticate(&bearing(key))), "InvalidKey", "{key}");
    }
    assert_eq!(name_of(auth.authenticate(&sent("x-api-key", "abc"))), "InvalidKey");
}

#[tokio::test]
async fn a_revoked_key_and_an_ended_one_stop_at_once() {
    let auth = on(store().await).await;
    let end = Timestamp::now() + Duration::from_secs(100);
    let made = auth.create_key("admin", KeyRequest { expires_at: Some(end), ..request("ci") }).await.unwrap();
    let headers = bearing(&made.key);
    assert_eq!(name_of(auth.authenticate_at(&headers, end.as_second() - 1)), "admin");
    assert_eq!(name_of(auth.authenticate_at(&headers, end.as_second())), "ExpiredKey");
    auth.revoke_key(&made.info.id).await.unwrap();
    assert_eq!(name_of(auth.authenticate(&headers)), "InvalidKey");
    let past = KeyRequest { expires_at: Some(Timestamp::UNIX_EPOCH), ..request("ci") };
    assert!(matches!(auth.create_key("admin", past).await, Err(IdentityError::InThePast)));
}

#[tokio::test]
async fn a_key_never_has_more_roles_than_its_owner() {
    let auth = on(store().await).await;
    user(&auth, "ada", &["engineer", "consumer"]).await;
    let asked = |role: &str| KeyRequest { roles: Some(vec![role.parse().unwrap()]), ..request("ci") };
    let refused = auth.create_key("ada", asked("security")).await;
    assert!(matches!(refused, Err(IdentityError::RoleNotHeld { role, .. }) if role == "security"));
    let of_admin = auth.create_key("admin", asked("security")).await.unwrap();
    assert!(auth.authenticate(&bearing(&of_admin.key)).unwrap().has_role("security"), "an admin gives any");
    let made = auth.create_key("ada", asked("engineer")).await.unwrap();
    assert_eq!(&*auth.authenticate(&bearing(&made.key)).unwrap().roles, ["engineer"]);
    let consumer = UserChange { roles: Some(vec!["consumer".parse().unwrap()]), ..UserChange::default() };
    auth.change_user("ada", consumer).await.unwrap();
    assert!(auth.authenticate(&bearing(&made.key)).unwrap().roles.is_empty(), "the owner has lost it");
}

#[tokio::test]
async fn keys_of_who_is_disabled_or_gone_are_refused() {
    let store = store().await;
    let auth = on(store.clone()).await;
    user(&auth, "ada", &[]).await;
    let made = auth.create_key("ada", request("ci")).await.unwrap();
    let disable = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    auth.change_user("ada", disable(true)).await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&made.key))), "InvalidKey");
    auth.change_user("ada", disable(false)).await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&made.key))), "ada");
    let record = store.record(RecordKind::ApiKey, &made.info.id).await.unwrap();
    auth.delete_user("ada").await.unwrap();
    assert_eq!(auth.api_keys(None).await.unwrap(), []);
    user(&auth, "ada", &[]).await;
    store.swap_record(RecordKind::ApiKey, &made.info.id, None, record.as_deref()).await.unwrap();
    auth.follow().await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&made.key))), "InvalidKey", "this is another ada");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept_by_and_by_and_survives() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let made = auth.create_key("admin", request("ci")).await.unwrap();
    let last_use = async |auth: &Authenticator| auth.api_keys(None).await.unwrap().remove(0).last_used_at;
    assert_eq!(last_use(&auth).await, None);
    auth.authenticate_at(&bearing(&made.key), 1_000).unwrap();
    auth.authenticate_at(&bearing(&made.key), 900).unwrap();
    assert_eq!(store.records(RecordKind::KeyUse).await.unwrap(), [], "not while the request waits");
    auth.keep_uses().await.unwrap();
    let revision = store.revision().await.unwrap();
    auth.keep_uses().await.unwrap();
    let other = Arc::new(on(store.clone()).await);
    assert_eq!(last_use(&other).await.map(Timestamp::as_second), Some(1_000));
    assert_eq!(store.revision().await.unwrap(), revision, "nobody has to hear of it");
    assert_eq!(store.user_count().await.unwrap(), 1);
}
