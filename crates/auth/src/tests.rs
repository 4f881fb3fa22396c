//! The Authenticator as its callers see it, on a real store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use argon2::Params;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, decode_header, encode,
    jwk::{Jwk, ThumbprintHash},
};
use kea_core::port::{StoreError, UserStore};
use kea_store::SqlStore;
use serde_json::Value;

use crate::{AuthError, AuthSettings, Authenticator, Caller, Origin, Session, signing::KEY_SECRET, tokens::Claims};

mod administration;
mod forged;
mod keys;
mod sessions;
mod standing;

fn settings() -> AuthSettings {
    AuthSettings { token_ttl: Duration::from_secs(3600), ..AuthSettings::default() }
}

pub(crate) fn origin() -> Origin {
    Origin { address: [127, 0, 0, 1].into(), user_agent: Some("test".into()) }
}

pub(crate) async fn login(auth: &Authenticator, username: &str, password: &str) -> Result<Session, AuthError> {
    auth.login(username, password, &origin()).await
}

async fn store() -> Arc<SqlStore> {
    Arc::new(SqlStore::open_in_memory().await.unwrap())
}

fn cheap() -> Params {
    Params::new(64, 1, 1, None).unwrap()
}

/// An authenticator whose hashes are cheap, and a user `admin` with the password `secret`.
async fn on(store: Arc<SqlStore>) -> Authenticator {
    let auth = Authenticator::with_hashing(store, settings(), cheap()).await.unwrap();
    assert_eq!(auth.ensure_admin(Some("secret")).await.unwrap(), None);
    auth
}

fn bearing(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

fn name_of(outcome: Result<Caller, AuthError>) -> String {
    match outcome {
        Ok(caller) => caller.username.to_string(),
        Err(error) => format!("{error:?}"),
    }
}

fn claims(stamp: &str, now: Timestamp) -> Claims {
    Claims {
        iss: "kea".into(),
        aud: "kea".into(),
        sub: "admin".into(),
        sid: "session".into(),
        stamp: stamp.into(),
        iat: now.as_second(),
        exp: now.as_second() + 3600,
        jti: "1".into(),
    }
}

#[tokio::test]
async fn a_login_gives_a_token_that_says_who_and_with_which_roles() {
    let auth = on(store().await).await;
    let before = Timestamp::now().as_second();
    let session = login(&auth, "admin", "secret").await.unwrap();
    let caller = auth.authenticate(&bearing(&session.token)).unwrap();
    assert_eq!((&*caller.username, &*caller.roles), ("admin", ["admin".to_string()].as_slice()));
    let lasts = session.expires_at.as_second() - before;
    assert!((3600..3610).contains(&lasts), "{lasts}");
    let header = decode_header(&session.token).unwrap();
    assert_eq!((header.alg, header.kid.is_some()), (Algorithm::EdDSA, true));
}

#[tokio::test]
async fn two_logins_give_two_tokens() {
    let auth = on(store().await).await;
    let one = login(&auth, "admin", "secret").await.unwrap();
    let two = login(&auth, "admin", "secret").await.unwrap();
    assert_ne!(one.token, two.token);
    assert!(!format!("{one:?}").contains(&one.token), "a session that is logged does not tell its token");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_alike() {
    let auth = on(store().await).await;
    for (username, password) in [("admin", "wrong"), ("admin", ""), ("nobody", "secret"), ("", ""), ("Admin", "secret")]
    {
        let refused = login(&auth, username, password).await.unwrap_err();
        assert!(matches!(refused, AuthError::WrongCredentials), "{username}: {refused}");
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_for_known_and_unknown_names() {
    let auth = on(store().await).await;
    for username in ["admin", "nobody"] {
        for _ in 0..5 {
            assert!(matches!(login(&auth, username, "guess").await, Err(AuthError::WrongCredentials)));
        }
        let Err(AuthError::Throttled { retry_after }) = login(&auth, username, "secret").await else {
            panic!("`{username}` may guess on");
        };
        assert!(retry_after <= Duration::from_secs(1), "{retry_after:?}");
    }
}

#[tokio::test]
async fn a_token_ends_when_it_says_also_where_it_was_seen_before() {
    let auth = on(store().await).await;
    let session = login(&auth, "admin", "secret").await.unwrap();
    let (headers, end) = (bearing(&session.token), session.expires_at.as_second());
    assert_eq!(name_of(auth.authenticate_at(&headers, end)), "Expired", "seen for the first time");
    assert_eq!(name_of(auth.authenticate_at(&headers, end - 1)), "admin");
    assert_eq!(name_of(auth.authenticate_at(&headers, end)), "Expired", "seen before");
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let auth = on(store().await).await;
    let [one, two] = [login(&auth, "admin", "secret").await.unwrap(), login(&auth, "admin", "secret").await.unwrap()];
    let [one, two] = [&one, &two].map(|session| session.token.split('.').collect::<Vec<_>>());
    let other_claims = [one[0], two[1], one[2]].join(".");
    let other_signature = [one[0], one[1], two[2]].join(".");
    let no_signature = [one[0], one[1], ""].join(".");
    let cut = [one[0], one[1]].join(".");
    for token in [other_claims, other_signature, no_signature, cut, "abc".into(), "...".into(), "a b".into()] {
        assert_eq!(name_of(auth.authenticate(&bearing(&token))), "Invalid", "{token}");
    }
}

#[tokio::test]
async fn a_token_without_an_algorithm_is_refused() {
    let auth = on(store().await).await;
    let token = login(&auth, "admin", "secret").await.unwrap().token;
    let parts: Vec<_> = token.split('.').collect();
    // {"alg":"none","typ":"JWT"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for forged in [[none, parts[1], ""].join("."), [none, parts[1], parts[2]].join(".")] {
        assert_eq!(name_of(auth.authenticate(&bearing(&forged))), "Invalid");
    }
}

#[tokio::test]
async fn a_token_signed_with_the_public_key_as_a_password_is_refused() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let kept = store.secret(KEY_SECRET).await.unwrap().unwrap();
    let public = Jwk::from_encoding_key(&EncodingKey::from_ed_der(&kept), Algorithm::EdDSA).unwrap();
    let kid = public.thumbprint(ThumbprintHash::SHA256).unwrap();
    let jsonwebtoken::jwk::AlgorithmParameters::OctetKeyPair(pair) = public.algorithm else { panic!("no Ed25519") };
    let raw = jsonwebtoken::DecodingKey::from_ed_components(&pair.x).unwrap();
    for secret in [pair.x.as_bytes(), raw.try_get_as_bytes().unwrap()] {
        let key = EncodingKey::from_secret(secret);
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.clone());
        let forged = encode(&header, &claims("", Timestamp::now()), &key).unwrap();
        assert_eq!(name_of(auth.authenticate(&bearing(&forged))), "Invalid");
    }
}

#[tokio::test]
async fn a_token_of_another_key_is_refused() {
    let (ours, theirs) = (on(store().await).await, on(store().await).await);
    let token = login(&theirs, "admin", "secret").await.unwrap().token;
    assert_eq!(name_of(theirs.authenticate(&bearing(&token))), "admin");
    assert_eq!(name_of(ours.authenticate(&bearing(&token))), "Invalid");
}

/// What signs as the server itself does, for claims that it would not make.
struct Forger {
    key: EncodingKey,
    header: Header,
    stamp: String,
}

impl Forger {
    async fn of(store: &SqlStore) -> Self {
        let key = EncodingKey::from_ed_der(&store.secret(KEY_SECRET).await.unwrap().unwrap());
        let stamp = store.user("admin").await.unwrap().unwrap().stamp;
        let public = Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap();
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(public.thumbprint(ThumbprintHash::SHA256).unwrap());
        Self { key, header, stamp }
    }

    fn sign(&self, change: impl FnOnce(&mut Value)) -> HeaderMap {
        let mut claims = serde_json::to_value(claims(&self.stamp, Timestamp::now())).unwrap();
        change(&mut claims);
        bearing(&encode(&self.header, &claims, &self.key).unwrap())
    }
}

#[tokio::test]
async fn a_token_of_our_key_for_another_purpose_is_refused() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let forger = Forger::of(&store).await;
    let now = Timestamp::now().as_second();
    let outcome = |change: &dyn Fn(&mut Value)| name_of(auth.authenticate(&forger.sign(change)));
    assert_eq!(outcome(&|_| {}), "admin");
    assert_eq!(outcome(&|claims| claims["iss"] = "someone".into()), "Invalid");
    assert_eq!(outcome(&|claims| claims["aud"] = "others".into()), "Invalid");
    assert_eq!(outcome(&|claims| claims["iat"] = (now + 3600).into()), "Invalid", "issued in the future");
    assert_eq!(outcome(&|claims| claims["nbf"] = (now + 3600).into()), "Invalid", "good in the future");
    assert_eq!(outcome(&|claims| claims["exp"] = (now - 1).into()), "Expired");
    assert_eq!(outcome(&|claims| claims["stamp"] = "other".into()), "Revoked");
    for claim in ["iss", "aud", "sub", "exp", "iat", "sid", "stamp"] {
        assert_eq!(outcome(&|claims| drop(claims.as_object_mut().unwrap().remove(claim))), "Invalid", "no {claim}");
    }
}

#[tokio::test]
async fn a_token_that_names_no_key_of_ours_is_refused() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let mut forger = Forger::of(&store).await;
    for kid in [None, Some("other".to_string())] {
        forger.header.kid = kid;
        assert_eq!(name_of(auth.authenticate(&forger.sign(|_| {}))), "Invalid");
    }
}

#[tokio::test]
async fn a_request_without_a_token_is_told_apart_from_one_with_another_header() {
    let auth = on(store().await).await;
    assert_eq!(name_of(auth.authenticate(&HeaderMap::new())), "Missing");
    let basic = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic YWRtaW46c2VjcmV0"))]);
    assert_eq!(name_of(auth.authenticate(&basic)), "Malformed");
}

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let store = store().await;
    let auth = Authenticator::new(store.clone(), settings()).await.unwrap();
    let made = auth.ensure_admin(None).await.unwrap().unwrap();
    assert!(made.len() >= 20, "{made}");
    assert_eq!(auth.ensure_admin(None).await.unwrap(), None);
    assert_eq!(auth.ensure_admin(Some("other")).await.unwrap(), None);
    assert!(login(&auth, "admin", &made).await.is_ok());
    assert!(matches!(login(&auth, "admin", "other").await, Err(AuthError::WrongCredentials)));
    let hash = store.user("admin").await.unwrap().unwrap().password_hash;
    assert!(hash.starts_with("$argon2id$") && !hash.contains(&made), "{hash}");
}

#[tokio::test]
async fn of_authenticators_started_at_once_on_one_store_one_makes_the_admin() {
    let store = store().await;
    let auth = Authenticator::with_hashing(store, settings(), cheap()).await.unwrap();
    let (one, two) = tokio::join!(auth.ensure_admin(None), auth.ensure_admin(None));
    let made: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "only one may be shown");
    assert!(login(&auth, "admin", &made[0]).await.is_ok());
}

#[tokio::test]
async fn an_empty_password_makes_one() {
    let auth = Authenticator::new(store().await, settings()).await.unwrap();
    let made = auth.ensure_admin(Some("")).await.unwrap().unwrap();
    assert!(login(&auth, "admin", &made).await.is_ok());
}

#[tokio::test]
async fn tokens_outlive_a_restart() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("kea.db");
    let first = on(Arc::new(SqlStore::open(&path).await.unwrap())).await;
    let token = login(&first, "admin", "secret").await.unwrap().token;
    drop(first);
    let second = on(Arc::new(SqlStore::open(&path).await.unwrap())).await;
    assert_eq!(name_of(second.authenticate(&bearing(&token))), "admin");
}

#[tokio::test]
async fn authenticators_made_at_once_on_one_store_share_the_key() {
    let store = store().await;
    let (one, two) =
        tokio::join!(Authenticator::new(store.clone(), settings()), Authenticator::new(store.clone(), settings()));
    let (one, two) = (one.unwrap(), two.unwrap());
    one.ensure_admin(Some("secret")).await.unwrap();
    let token = login(&one, "admin", "secret").await.unwrap().token;
    two.follow().await.unwrap();
    assert_eq!(name_of(two.authenticate(&bearing(&token))), "admin");
}

#[tokio::test]
async fn a_kept_key_that_cannot_be_read_is_named() {
    let store = store().await;
    store.keep_secret(KEY_SECRET, b"not a key").await.unwrap();
    let Err(AuthError::Store(StoreError::Corrupt { what, .. })) = Authenticator::new(store, settings()).await.map(drop)
    else {
        panic!("it was read");
    };
    assert!(what.contains(KEY_SECRET), "{what}");
}

#[tokio::test]
async fn a_store_that_fails_does_not_stop_those_who_are_logged_in() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let token = login(&auth, "admin", "secret").await.unwrap().token;
    store.close().await;
    assert!(matches!(login(&auth, "admin", "secret").await, Err(AuthError::Store(StoreError::Unavailable(_)))));
    assert_eq!(name_of(auth.authenticate(&bearing(&token))), "admin");
}

#[tokio::test]
async fn a_token_that_was_seen_costs_less_than_checking_its_signature() {
    let auth = on(store().await).await;
    let token = &login(&auth, "admin", "secret").await.unwrap().token;
    let headers = bearing(token);
    let timed = |rounds: u32, work: &dyn Fn()| {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        start.elapsed() / rounds
    };
    let unseen = timed(20, &|| drop(crate::tokens::verify(&auth.snapshot.load().ring, token).unwrap()));
    auth.authenticate(&headers).unwrap();
    let seen = timed(10_000, &|| drop(auth.authenticate(&headers).unwrap()));
    assert!(seen < unseen, "seen {seen:?}, unseen {unseen:?}");
}
