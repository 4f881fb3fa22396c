//! Logins as browsers, commands and devices make them, against a provider in memory and a real store.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use kea_core::management::{UserChange, UserRequest};
use kea_store::SqlStore;
use serde_json::json;

use super::*;
use crate::{
    AuthSettings, IdentityError,
    oidc::{
        Command, TrustedIssuers,
        tests::{Fake, query},
    },
    policy::Policies,
    tests::{login, origin},
};

const URL: &str = "http://kea.example";

/// SHA-256 of `verifier`, in base64url.
const CHALLENGE: &str = "iMnq5o6zALKXGivsnlom_0F5_WYda32GHkxlV7mq7hQ";

/// A KEA whose users a provider knows, too.
struct Scene {
    fake: Fake,
    store: Arc<SqlStore>,
    auth: Arc<Authenticator>,
    sso: Sso,
}

impl Scene {
    async fn new(more: &str) -> Self {
        let fake = Fake::start().await;
        let store = Arc::new(SqlStore::open_in_memory().await.unwrap());
        let provider = Arc::new(fake.provider(more));
        let auth = Authenticator::new(store.clone(), AuthSettings::default()).await.unwrap();
        let auth = Arc::new(auth.trusting(TrustedIssuers::new(std::slice::from_ref(&provider))));
        auth.ensure_admin(Some("a password")).await.unwrap();
        let sso = Sso::new(auth.clone(), vec![provider], URL.into()).await.unwrap();
        Self { fake, store, auth, sso }
    }

    /// A login that goes to the provider and comes back.
    async fn arrive(&self, to: Destination) -> Result<Arrival, SsoError> {
        let (url, cookie) = self.sso.begin("corp", to).await?;
        let asked = query(&url);
        self.fake.change(|behaviour| behaviour.nonce = asked["nonce"].as_str().unwrap().into());
        let state = asked["state"].as_str().map(Into::into);
        let answer = Answer { code: Some("c".into()), state, ..Answer::default() };
        self.sso.finish("corp", Some(&cookie), answer, &origin()).await
    }

    async fn log_in(&self) -> Result<Session, SsoError> {
        match self.arrive(Destination::Page("/docs/iris".into())).await? {
            Arrival::Page { session, next } if next == "/docs/iris" => Ok(*session),
            other => panic!("{other:?}"),
        }
    }

    /// What a browser brings to the command.
    async fn brought(&self) -> serde_json::Value {
        let command = Command { port: 4711, challenge: CHALLENGE.into(), state: "mine".into() };
        match self.arrive(Destination::Command(command)).await.unwrap() {
            Arrival::Command { url } if url.starts_with("http://127.0.0.1:4711/?") => query(&url),
            other => panic!("{other:?}"),
        }
    }

    fn caller(&self, token: &str) -> Result<crate::Caller, AuthError> {
        self.auth.authenticate(&bearing(token))
    }
}

fn bearing(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())])
}

const ML: &str = "[roles]\nml = [\"engineer\"]";

#[tokio::test]
async fn roles_and_groups_are_those_of_the_latest_login() {
    let scene = Scene::new(ML).await;
    let first = scene.log_in().await.unwrap();
    assert_eq!((first.username.as_str(), first.roles), ("corp:ada", vec!["engineer".to_string()]));
    let caller = scene.caller(&first.token).unwrap();
    assert_eq!((&*caller.groups, &*caller.roles), (&["ml".to_string()][..], &["engineer".to_string()][..]));
    scene.fake.change(|behaviour| behaviour.claims["groups"] = json!(["staff"]));
    scene.log_in().await.unwrap();
    let caller = scene.caller(&first.token).unwrap();
    assert_eq!((&*caller.groups, caller.roles.len()), (&["staff".to_string()][..], 0), "also for sessions before");
    let policies = Policies::open(scene.store.clone(), scene.store.clone()).await.unwrap();
    assert_eq!(policies.caller_named("corp:ada").await.unwrap().groups, caller.groups);
}

#[tokio::test]
async fn a_role_that_was_given_here_stays() {
    let scene = Scene::new(ML).await;
    let session = scene.log_in().await.unwrap();
    let change = UserChange { roles: Some(vec!["security".parse().unwrap()]), ..UserChange::default() };
    scene.auth.change_user("corp:ada", change).await.unwrap();
    let again = scene.log_in().await.unwrap();
    assert_eq!(again.roles, ["security", "engineer"]);
    let known = scene.auth.user("corp:ada").await.unwrap();
    assert_eq!((known.provider.as_deref(), known.roles, known.groups), (Some("corp"), again.roles, vec!["ml".into()]));
    assert!(scene.caller(&session.token).unwrap().has_role("security"));
}

#[tokio::test]
async fn a_key_loses_the_roles_of_a_group_with_its_owner() {
    let scene = Scene::new(ML).await;
    scene.log_in().await.unwrap();
    let request = serde_json::from_value(json!({"name": "nightly", "owner": "corp:ada"})).unwrap();
    let key = scene.auth.create_key("corp:ada", request).await.unwrap();
    assert_eq!(key.info.roles, ["engineer"]);
    assert!(scene.caller(&key.key).unwrap().has_role("engineer"));
    scene.fake.change(|behaviour| behaviour.claims["groups"] = json!([]));
    scene.log_in().await.unwrap();
    assert!(!scene.caller(&key.key).unwrap().has_role("engineer"));
}

#[tokio::test]
async fn a_name_of_somebody_else_is_never_taken_over() {
    let scene = Scene::new("username-prefix = \"\"").await;
    let ada = UserRequest { username: "ada".parse().unwrap(), password: "a password".into(), roles: Vec::new() };
    scene.auth.create_user(ada).await.unwrap();
    assert!(matches!(scene.log_in().await, Err(SsoError::NameTaken(name)) if name == "ada"));
    scene.auth.delete_user("ada").await.unwrap();
    scene.log_in().await.unwrap();
    // Another one at the provider, to whom the name was given.
    scene.fake.change(|behaviour| behaviour.claims["sub"] = json!("8"));
    assert!(matches!(scene.log_in().await, Err(SsoError::NameTaken(_))));
}

#[tokio::test]
async fn who_is_renamed_at_the_provider_stays_who_they_are() {
    let scene = Scene::new("").await;
    scene.log_in().await.unwrap();
    scene.fake.change(|behaviour| behaviour.claims["preferred_username"] = json!("ada.king"));
    assert_eq!(scene.log_in().await.unwrap().username, "corp:ada");
    assert_eq!(scene.auth.users().await.unwrap().len(), 2);
}

#[tokio::test]
async fn who_is_disabled_is_out_and_stays_out() {
    let scene = Scene::new("audiences = [\"kea-api\"]").await;
    let session = scene.log_in().await.unwrap();
    let disabled = UserChange { disabled: Some(true), ..UserChange::default() };
    scene.auth.change_user("corp:ada", disabled).await.unwrap();
    assert!(matches!(scene.caller(&session.token), Err(AuthError::Revoked)));
    assert!(matches!(scene.log_in().await, Err(SsoError::Disabled(_))));
    let token = scene.fake.token(&json!({}));
    scene.auth.hear(&bearing(&token)).await;
    assert!(matches!(scene.caller(&token), Err(AuthError::ForNobody(_))));
    // Once removed they would be unknown, and so let in again.
    assert!(matches!(scene.auth.delete_user("corp:ada").await, Err(IdentityError::WouldComeBack(_))));
    let enabled = UserChange { disabled: Some(false), ..UserChange::default() };
    scene.auth.change_user("corp:ada", enabled).await.unwrap();
    scene.auth.delete_user("corp:ada").await.unwrap();
}

#[tokio::test]
async fn a_user_of_a_provider_has_no_password() {
    let scene = Scene::new(ML).await;
    scene.log_in().await.unwrap();
    for password in ["", "a password"] {
        assert!(matches!(login(&scene.auth, "corp:ada", password).await, Err(AuthError::WrongCredentials)));
    }
    let change = UserChange { password: Some("another password".into()), ..UserChange::default() };
    assert!(matches!(scene.auth.change_user("corp:ada", change).await, Err(IdentityError::NoPassword(_))));
}

#[tokio::test]
async fn the_last_admin_with_a_password_stays() {
    let scene = Scene::new("[roles]\nml = [\"admin\"]").await;
    assert_eq!(scene.log_in().await.unwrap().roles, ["admin"]);
    assert!(matches!(scene.auth.delete_user("admin").await, Err(IdentityError::LastAdmin(_))));
}

#[tokio::test]
async fn a_login_ends_in_the_browser_that_began_it() {
    let scene = Scene::new("").await;
    let not_begun = |outcome| matches!(outcome, Err(SsoError::Provider(OidcError::NotBegun)));
    let (url, cookie) = scene.sso.begin("corp", Destination::Page("/docs".into())).await.unwrap();
    let answer = |state: &str| Answer { code: Some("c".into()), state: Some(state.into()), ..Answer::default() };
    let state = query(&url)["state"].as_str().unwrap().to_string();
    assert!(not_begun(scene.sso.finish("corp", None, answer(&state), &origin()).await));
    assert!(not_begun(scene.sso.finish("corp", Some("a.b.c"), answer(&state), &origin()).await));
    assert!(not_begun(scene.sso.finish("corp", Some(&cookie), answer("other"), &origin()).await));
    let other = Scene::new("").await;
    let (_, of_other) = other.sso.begin("corp", Destination::Page("/docs".into())).await.unwrap();
    assert!(not_begun(scene.sso.finish("corp", Some(&of_other), answer(&state), &origin()).await), "not of this KEA");
}

#[test]
fn a_path_that_a_browser_reads_as_another_server_is_no_own_page() {
    for path in ["/.//evil", "/x/..//evil", "/%2e//evil", "//evil", "/\\evil", "/./\\evil", "evil", ""] {
        assert!(!is_own_page(path), "{path}");
    }
    for path in
        ["/", "/docs", "/docs/iris?from=a%20link#call", "/docs?next=//x", "/a//b", "/a/../docs", "/login?next=/.//x"]
    {
        assert!(is_own_page(path), "{path}");
    }
}

#[tokio::test]
async fn a_login_leads_to_no_other_server() {
    let scene = Scene::new("").await;
    for page in ["//evil.example", "https://evil.example", "/\\evil.example", "docs", "", "/a\nb"] {
        let begun = scene.sso.begin("corp", Destination::Page(page.into())).await;
        assert!(matches!(begun, Err(SsoError::Nowhere(_))), "{page}");
    }
    let good = Command { port: 1, challenge: CHALLENGE.into(), state: "s".into() };
    assert!(scene.sso.begin("corp", Destination::Command(good.clone())).await.is_ok());
    for bad in [
        Command { port: 0, ..good.clone() },
        Command { challenge: "short".into(), ..good.clone() },
        Command { state: "a b".into(), ..good.clone() },
        Command { state: String::new(), ..good },
    ] {
        assert!(matches!(scene.sso.begin("corp", Destination::Command(bad)).await, Err(SsoError::Nowhere(_))));
    }
    assert!(matches!(scene.sso.begin("other", Destination::Page("/".into())).await, Err(SsoError::NoProvider(_))));
}

#[tokio::test]
async fn a_command_fetches_its_session_once_and_nobody_else_does() {
    let scene = Scene::new(ML).await;
    let fetch = async |code: &serde_json::Value, verifier: &str| {
        scene.sso.fetch("corp", code.as_str().unwrap(), verifier, &origin()).await
    };
    let brought = scene.brought().await;
    assert_eq!(brought["state"], "mine");
    let session = fetch(&brought["code"], "verifier").await.unwrap();
    assert_eq!(session.roles, ["engineer"]);
    assert!(scene.caller(&session.token).is_ok());
    assert!(matches!(fetch(&brought["code"], "verifier").await, Err(SsoError::NoSuchCode)), "again");
    let stolen = scene.brought().await;
    assert!(matches!(fetch(&stolen["code"], "guess").await, Err(SsoError::NoSuchCode)));
    assert!(matches!(fetch(&stolen["code"], "verifier").await, Err(SsoError::NoSuchCode)), "it is used up");
    assert!(matches!(fetch(&json!("../x"), "verifier").await, Err(SsoError::NoSuchCode)));
    let late = scene.brought().await;
    scene.auth.end_all("corp:ada").await.unwrap();
    assert!(matches!(fetch(&late["code"], "verifier").await, Err(SsoError::NoSuchCode)), "all sessions have ended");
}

#[tokio::test]
async fn a_command_hears_why_it_gets_no_session() {
    let scene = Scene::new("username-prefix = \"\"").await;
    scene.fake.change(|behaviour| behaviour.claims["preferred_username"] = json!("admin"));
    let brought = scene.brought().await;
    assert!(brought["error"].as_str().unwrap().contains("`admin`") && brought.get("code").is_none(), "{brought}");
}

#[tokio::test]
async fn a_device_gets_its_session_once_the_code_is_typed() {
    let scene = Scene::new(&format!("device = true\n{ML}")).await;
    let device = scene.sso.begin_device("corp", &origin()).await.unwrap();
    assert_eq!((device.user_code.as_str(), device.interval), ("ABCD", Duration::from_secs(2)));
    let polled = scene.sso.poll_device("corp", &device.handle, &origin()).await.unwrap();
    assert!(matches!(polled, DevicePoll::Pending(after) if after == Duration::from_secs(2)));
    // No nonce goes to the provider, so none comes back.
    scene.fake.change(|behaviour| behaviour.typed = true);
    match scene.sso.poll_device("corp", &device.handle, &origin()).await.unwrap() {
        DevicePoll::Done(session) => assert_eq!(session.username, "corp:ada"),
        DevicePoll::Pending(_) => panic!("the code was typed"),
    }
    assert!(matches!(scene.sso.poll_device("corp", "a.b.c", &origin()).await, Err(SsoError::NoSuchCode)));
}

#[tokio::test]
async fn a_device_logs_in_only_where_that_is_configured() {
    let scene = Scene::new("").await;
    let begun = scene.sso.begin_device("corp", &origin()).await.unwrap_err();
    assert!(matches!(&begun, SsoError::NoDevice(_)) && begun.to_string().contains("`device = true`"), "{begun}");
    assert!(matches!(scene.sso.poll_device("corp", "a.b.c", &origin()).await, Err(SsoError::NoDevice(_))));
}

#[tokio::test]
async fn roles_that_groups_have_no_more_end_at_the_next_start() {
    let prefix = "groups-prefix = \"c:\"\n";
    let scene = Scene::new(&format!("{prefix}{ML}")).await;
    let session = scene.log_in().await.unwrap();
    let request = serde_json::from_value(json!({"name": "nightly", "owner": "corp:ada"})).unwrap();
    let key = scene.auth.create_key("corp:ada", request).await.unwrap().key;
    let starts = async |providers: &[&str]| {
        let providers = providers.iter().map(|more| Arc::new(scene.fake.provider(&format!("{prefix}{more}"))));
        Sso::new(scene.auth.clone(), providers.collect(), URL.into()).await.unwrap();
        let roles = [&session.token, &key].map(|credential| scene.caller(credential).unwrap().roles);
        assert_eq!(scene.auth.user("corp:ada").await.unwrap().groups, ["c:ml"]);
        (roles[0].to_vec(), roles[1].to_vec())
    };
    let engineer = vec!["engineer".to_string()];
    assert_eq!(starts(&[ML]).await, (engineer.clone(), engineer.clone()));
    assert_eq!(starts(&["[roles]\nother = [\"engineer\"]"]).await, (vec![], vec![]));
    assert_eq!(starts(&["[roles]\nml = [\"security\"]"]).await.0, ["security"]);
    assert_eq!(starts(&[ML]).await.0, engineer);
    let revision = || async { kea_core::port::IdentityStore::revision(&*scene.store).await.unwrap() };
    let before = revision().await;
    starts(&[ML]).await;
    assert_eq!(revision().await, before, "nothing differs");
    assert_eq!(starts(&[]).await, (vec![], vec![]), "the provider is gone");
    assert!(scene.caller(&session.token).unwrap().groups.is_empty());
    assert_eq!(revision().await, before, "others may know it");
    assert_eq!(starts(&[ML]).await.0, engineer);
}

#[tokio::test]
async fn the_providers_session_is_ended_with_ones_own() {
    let scene = Scene::new("").await;
    let session = scene.log_in().await.unwrap();
    let id = scene.caller(&session.token).unwrap().session.unwrap();
    let url = scene.sso.logout(&id).await.unwrap();
    assert!(url.contains("/logout?") && query(&url)["id_token_hint"].is_string(), "{url}");
    assert_eq!(query(&url)["post_logout_redirect_uri"], "http://kea.example/login");
    let local = login(&scene.auth, "admin", "a password").await.unwrap();
    let id = scene.caller(&local.token).unwrap().session.unwrap();
    assert_eq!(scene.sso.logout(&id).await, None);
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_is_taken_like_one_of_ones_own() {
    let scene = Scene::new(&format!("audiences = [\"kea-api\"]\n{ML}")).await;
    let token = scene.fake.token(&json!({}));
    assert!(matches!(scene.caller(&token), Err(AuthError::Invalid)), "the key is not known yet");
    scene.auth.hear(&bearing(&token)).await;
    let caller = scene.caller(&token).unwrap();
    assert_eq!((&*caller.username, &*caller.roles), ("corp:sub:7", &["engineer".to_string()][..]));
    assert_eq!((caller.session, caller.key), (None, None));
    // Once they have logged in, what they were given here counts as well.
    scene.log_in().await.unwrap();
    let change = UserChange { roles: Some(vec!["security".parse().unwrap()]), ..UserChange::default() };
    scene.auth.change_user("corp:ada", change).await.unwrap();
    let caller = scene.caller(&token).unwrap();
    assert!(&*caller.username == "corp:ada" && caller.has_role("security"), "as the user that they are now");
    // Somebody else there, who has taken the same name.
    let other = scene.fake.token(&json!({"sub": "8"}));
    let caller = scene.caller(&other).unwrap();
    assert!(&*caller.username == "corp:sub:8" && !caller.has_role("security"));
    let other = scene.fake.token(&json!({"aud": "other"}));
    scene.auth.hear(&bearing(&other)).await;
    assert!(matches!(scene.caller(&other), Err(AuthError::Invalid)));
    scene.fake.change(|behaviour| behaviour.down = true);
    assert!(scene.caller(&scene.fake.token(&json!({"jti": "2"}))).is_ok(), "an outage changes nothing");
}

#[tokio::test]
async fn a_token_with_the_name_of_a_local_user_is_not_taken_for_theirs() {
    let scene = Scene::new("audiences = [\"kea-api\"]\nusername-prefix = \"\"").await;
    let token = scene.fake.token(&json!({"sub": "admin"}));
    scene.auth.hear(&bearing(&token)).await;
    let caller = scene.caller(&token).unwrap();
    assert!(&*caller.username == "sub:admin" && !caller.has_role("admin"), "{caller:?}");
}

#[tokio::test]
async fn a_verified_token_of_an_issuer_ends_in_its_time() {
    let scene = Scene::new("audiences = [\"kea-api\"]").await;
    let token = scene.fake.token(&json!({}));
    scene.auth.hear(&bearing(&token)).await;
    let now = jiff::Timestamp::now().as_second();
    assert!(scene.auth.authenticate_at(&bearing(&token), now).is_ok());
    assert!(matches!(scene.auth.authenticate_at(&bearing(&token), now + 400), Err(AuthError::Expired)));
}

fn is_throttled<T>(answer: &Result<T, SsoError>) -> bool {
    matches!(answer, Err(SsoError::Auth(AuthError::Throttled { .. })))
}

#[tokio::test]
async fn an_address_whose_logins_fail_has_to_wait() {
    let scene = Scene::new(ML).await;
    // Logins that succeed are no attempts to get in.
    for _ in 0..60 {
        scene.log_in().await.unwrap();
    }
    for cookie in [None, Some("no cookie of ours")] {
        for _ in 0..60 {
            let answer = scene.sso.finish("corp", cookie, Answer::default(), &origin()).await;
            assert!(
                matches!(answer, Err(SsoError::Provider(OidcError::NotBegun))),
                "any page can make a browser do so"
            );
        }
    }
    let (_, cookie) = scene.sso.begin("corp", Destination::Page("/docs".into())).await.unwrap();
    let mut tries = 0;
    while !is_throttled(&scene.sso.finish("corp", Some(&cookie), Answer::default(), &origin()).await) {
        tries += 1;
    }
    assert_eq!(tries, 50);
    assert!(is_throttled(&scene.log_in().await), "nor does anything else of the address get in meanwhile");
    let elsewhere = Origin { address: [10, 0, 0, 1].into(), ..origin() };
    let answer = scene.sso.finish("corp", Some(&cookie), Answer::default(), &elsewhere).await;
    assert!(answer.is_err() && !is_throttled(&answer), "others do not wait");
}

#[tokio::test]
async fn devices_that_begin_and_never_end_have_to_wait_and_those_that_end_do_not() {
    let scene = Scene::new(&format!("device = true\n{ML}")).await;
    let poll = async |handle: &str| scene.sso.poll_device("corp", handle, &origin()).await.unwrap();
    for _ in 0..60 {
        scene.fake.change(|behaviour| behaviour.typed = false);
        let device = scene.sso.begin_device("corp", &origin()).await.unwrap();
        assert!(matches!(poll(&device.handle).await, DevicePoll::Pending(_)));
        scene.fake.change(|behaviour| behaviour.typed = true);
        assert!(matches!(poll(&device.handle).await, DevicePoll::Done(_)));
    }
    for _ in 0..50 {
        scene.sso.begin_device("corp", &origin()).await.unwrap();
    }
    assert!(is_throttled(&scene.sso.begin_device("corp", &origin()).await));
    assert!(is_throttled(&scene.sso.poll_device("corp", "a.b.c", &origin()).await));
}
