//! Against a provider in memory that does what a test tells it. What a certified one does is tried end to end.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Form, Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::*;

const CALLBACK: &str = "http://kea.example/auth/sso/corp/callback";

/// An Ed25519 key in PKCS #8, made of one byte.
fn key(seed: u8) -> EncodingKey {
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    EncodingKey::from_ed_der(&[prefix.as_slice(), &[seed; 32]].concat())
}

fn page(path: &str) -> Destination {
    Destination::Page(path.into())
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A provider in memory.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Mutex<Behaviour>>);

pub(crate) struct Behaviour {
    pub(crate) issuer: String,
    /// Seed of the key that signs, and of those that are published.
    signs: u8,
    published: Vec<u8>,
    /// What ID tokens say beside issuer, times and the nonce of the login.
    pub(crate) claims: Value,
    pub(crate) nonce: String,
    user_info: Value,
    pub(crate) down: bool,
    /// Whether the user has typed the code of a device.
    pub(crate) typed: bool,
    asked_for_keys: usize,
    /// What the last exchange of a code sent.
    exchanged: Value,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self(Arc::new(Mutex::new(Behaviour {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            signs: 1,
            published: vec![1],
            claims: json!({"sub": "7", "aud": "kea", "preferred_username": "ada", "groups": ["ml"]}),
            nonce: String::new(),
            user_info: json!({"sub": "7"}),
            down: false,
            typed: false,
            asked_for_keys: 0,
            exchanged: Value::Null,
        })));
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/device", post(device))
            .route("/me", get(async |State(fake): State<Fake>| fake.answer(|b| b.user_info.clone())))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        fake
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Behaviour) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, body: impl FnOnce(&mut Behaviour) -> Value) -> Response {
        self.change(|behaviour| match behaviour.down {
            true => StatusCode::BAD_GATEWAY.into_response(),
            false => Json(body(behaviour)).into_response(),
        })
    }

    pub(crate) fn provider(&self, more: &str) -> Provider {
        let issuer = self.change(|behaviour| behaviour.issuer.clone());
        let text =
            format!("name = \"corp\"\nissuer = \"{issuer}\"\nclient-id = \"kea\"\nclient-secret = \"s\"\n{more}");
        Provider::new(toml::from_str(&text).unwrap()).unwrap()
    }

    /// An access token that this provider signed, with these claims in place of its own.
    pub(crate) fn token(&self, more: &Value) -> String {
        let mut claims = json!({"aud": "kea-api"});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.change(|behaviour| behaviour.sign(&claims))
    }

    /// A login whose browser was sent to the provider, and comes back with its answer.
    async fn log_in(&self, provider: &Provider) -> Result<ExternalIdentity, OidcError> {
        let (url, pending) = provider.begin(CALLBACK, page("/docs")).await?;
        let asked = query(&url);
        self.change(|behaviour| behaviour.nonce = asked["nonce"].as_str().unwrap().into());
        let state = asked["state"].as_str().map(Into::into);
        let answer = Answer { code: Some("c".into()), state, ..Answer::default() };
        provider.finish(CALLBACK, &pending, answer).await.map(|(identity, _)| identity)
    }
}

impl Behaviour {
    fn id_token(&self) -> String {
        // What a test wants of its nonce comes first.
        let nonce = self.claims.get("nonce").cloned().unwrap_or(json!(self.nonce));
        self.sign(&json!({ "nonce": nonce }))
    }

    fn sign(&self, more: &Value) -> String {
        let mut claims = json!({"iss": self.issuer, "iat": now(), "exp": now() + 300});
        for source in [&self.claims, more] {
            claims.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        }
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.signs.to_string());
        encode(&header, &claims, &key(self.signs)).unwrap()
    }
}

pub(crate) fn query(url: &str) -> Value {
    Url::parse(url).unwrap().query_pairs().map(|(name, value)| (name.into_owned(), json!(value))).collect()
}

async fn discovery(State(fake): State<Fake>) -> Response {
    fake.answer(|behaviour| {
        let at = |path: &str| format!("{}{path}", behaviour.issuer);
        json!({
            "issuer": behaviour.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/me"),
            "end_session_endpoint": at("/logout"),
            "device_authorization_endpoint": at("/device"),
            "jwks_uri": at("/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
        })
    })
}

async fn keys(State(fake): State<Fake>) -> Response {
    fake.answer(|behaviour| {
        behaviour.asked_for_keys += 1;
        let public = |seed: &u8| {
            let mut jwk = Jwk::from_encoding_key(&key(*seed), Algorithm::EdDSA).unwrap();
            jwk.common.key_id = Some(seed.to_string());
            jwk
        };
        json!({ "keys": behaviour.published.iter().map(public).collect::<Vec<_>>() })
    })
}

async fn device(State(fake): State<Fake>, Form(form): Form<Value>) -> Response {
    assert_eq!((&form["client_id"], &form["scope"]), (&json!("kea"), &json!("openid profile email")));
    fake.answer(|behaviour| {
        let page = format!("{}/type", behaviour.issuer);
        json!({"device_code": "d", "user_code": "ABCD", "verification_uri": page, "expires_in": 300, "interval": 2})
    })
}

async fn token(State(fake): State<Fake>, Form(form): Form<Value>) -> Response {
    let waits = fake.change(|behaviour| form.get("device_code").is_some() && !behaviour.typed);
    if waits {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "authorization_pending"}))).into_response();
    }
    fake.answer(|behaviour| {
        behaviour.exchanged = form;
        json!({"access_token": "a", "token_type": "Bearer", "id_token": behaviour.id_token()})
    })
}

#[tokio::test]
async fn a_user_is_who_the_provider_says() {
    let fake = Fake::start().await;
    let identity = fake.log_in(&fake.provider("[roles]\nml = [\"engineer\"]")).await.unwrap();
    assert_eq!((identity.username.as_str(), identity.subject.as_str()), ("corp:ada", "7"));
    assert_eq!((identity.groups, identity.roles), (vec!["ml".into()], vec!["engineer".into()]));
}

#[tokio::test]
async fn the_browser_is_sent_with_state_nonce_and_challenge() {
    let fake = Fake::start().await;
    let provider = fake.provider("");
    let (url, pending) = provider.begin(CALLBACK, page("/docs/iris")).await.unwrap();
    let asked = query(&url);
    assert_eq!(asked["redirect_uri"], CALLBACK);
    assert_eq!(asked["scope"], "openid profile email");
    assert_eq!(asked["code_challenge_method"], "S256");
    assert!(asked["state"].as_str().unwrap().len() > 20 && asked["nonce"].as_str().unwrap().len() > 20);
    assert_eq!(pending.to, page("/docs/iris"));
    fake.log_in(&provider).await.unwrap();
    let exchanged = fake.change(|behaviour| behaviour.exchanged.clone());
    assert!(exchanged["code_verifier"].as_str().unwrap().len() > 40);
    assert_eq!(exchanged["redirect_uri"], CALLBACK);
}

#[tokio::test]
async fn what_is_not_in_the_token_is_asked_for() {
    let fake = Fake::start().await;
    fake.change(|behaviour| {
        behaviour.claims = json!({"sub": "7", "aud": "kea"});
        behaviour.user_info = json!({"sub": "7", "preferred_username": "ada", "groups": "ml"});
    });
    let provider = fake.provider("");
    assert_eq!(fake.log_in(&provider).await.unwrap().groups, ["ml"]);
    fake.change(|behaviour| behaviour.user_info = json!({"sub": "8", "preferred_username": "eve"}));
    let error = fake.log_in(&provider).await.unwrap_err();
    assert!(error.to_string().contains("another user"), "{error}");
}

#[tokio::test]
async fn a_login_ends_where_it_began() {
    let fake = Fake::start().await;
    let provider = fake.provider("");
    let (url, pending) = provider.begin(CALLBACK, page("/")).await.unwrap();
    let state = query(&url)["state"].as_str().unwrap().to_string();
    let ends = async |pending: &PendingLogin, state: Option<String>| {
        provider
            .finish(CALLBACK, pending, Answer { code: Some("c".into()), state, ..Answer::default() })
            .await
            .unwrap_err()
    };
    let (_, other) = provider.begin(CALLBACK, page("/")).await.unwrap();
    assert_eq!(ends(&other, Some(state.clone())).await, OidcError::NotBegun);
    assert_eq!(ends(&pending, None).await, OidcError::NotBegun);
    let mut elsewhere = pending;
    elsewhere.provider = "other".into();
    assert_eq!(ends(&elsewhere, Some(state)).await, OidcError::NotBegun);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_providers_words() {
    let fake = Fake::start().await;
    let provider = fake.provider("");
    let (url, pending) = provider.begin(CALLBACK, page("/")).await.unwrap();
    let state = query(&url)["state"].as_str().map(Into::into);
    let answer = Answer {
        state,
        error: Some("access_denied".into()),
        error_description: Some("not in\n the group\u{1b}".into()),
        ..Answer::default()
    };
    let error = provider.finish(CALLBACK, &pending, answer).await.unwrap_err().to_string();
    assert!(error.contains("access_denied: not in the group"), "{error}");
}

#[tokio::test]
async fn a_token_that_cannot_be_believed_lets_nobody_in() {
    let fake = Fake::start().await;
    let provider = fake.provider("");
    let good = fake.change(|behaviour| behaviour.claims.clone());
    for bad in [
        json!({"aud": "other"}),
        json!({"iss": "https://evil.example"}),
        json!({"exp": now() - 10}),
        json!({"nonce": "another"}),
        json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
    ] {
        fake.change(|behaviour| {
            behaviour.claims = good.clone();
            behaviour.claims.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        });
        assert!(matches!(fake.log_in(&provider).await, Err(OidcError::Unusable { .. })), "{bad}");
    }
    fake.change(|behaviour| (behaviour.claims, behaviour.signs) = (good, 2));
    assert!(matches!(fake.log_in(&provider).await, Err(OidcError::Unusable { .. })), "another key");
}

#[tokio::test]
async fn a_provider_that_is_down_is_told_and_then_used() {
    let fake = Fake::start().await;
    let provider = fake.provider("");
    fake.change(|behaviour| behaviour.down = true);
    assert!(matches!(provider.begin(CALLBACK, page("/")).await, Err(OidcError::Unreachable { .. })));
    fake.change(|behaviour| behaviour.down = false);
    // The failure is remembered for a while by this one; another one asks anew.
    assert!(provider.begin(CALLBACK, page("/")).await.is_err());
    fake.log_in(&fake.provider("")).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_calls_itself_otherwise_is_not_taken() {
    let fake = Fake::start().await;
    let provider = fake.provider("");
    fake.change(|behaviour| behaviour.issuer = "https://evil.example".into());
    assert!(matches!(provider.begin(CALLBACK, page("/")).await, Err(OidcError::Misconfigured { .. })));
}

#[tokio::test]
async fn the_browser_is_logged_out_at_the_provider_too() {
    let fake = Fake::start().await;
    let token = fake.token(&json!({}));
    let url = fake.provider("").logout(Some(&token), "http://kea.example/login").await.unwrap();
    assert!(url.contains("/logout?") && query(&url)["id_token_hint"] == *token, "{url}");
    assert_eq!(query(&url)["post_logout_redirect_uri"], "http://kea.example/login");
}

/// A provider whose own tokens are taken, with its keys heard.
async fn trusting(fake: &Fake) -> TrustedIssuers {
    let trusted = TrustedIssuers::new(&[Arc::new(fake.provider("audiences = [\"models\", \"kea-api\"]"))]);
    trusted.refresh(&fake.token(&json!({}))).await;
    trusted
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_speaks_for_its_user() {
    let fake = Fake::start().await;
    let trusted = trusting(&fake).await;
    let (identity, end) = trusted.verify(&fake.token(&json!({}))).unwrap();
    assert_eq!(identity.username, "corp:ada");
    assert!((now()..=now() + 300).contains(&end));
}

#[tokio::test]
async fn a_token_that_is_not_good_is_not_taken() {
    let fake = Fake::start().await;
    let trusted = trusting(&fake).await;
    let check = |token: &str, expected: NotTrusted| assert_eq!(trusted.verify(token).unwrap_err(), expected, "{token}");
    check(&fake.token(&json!({"aud": "other"})), NotTrusted::Invalid);
    check(&fake.token(&json!({"aud": null})), NotTrusted::Invalid);
    check(&fake.token(&json!({"exp": now() - 100})), NotTrusted::Expired);
    check(&fake.token(&json!({"nbf": now() + 100})), NotTrusted::Invalid);
    check(&fake.token(&json!({"iss": "https://evil.example"})), NotTrusted::NoIssuer);
    check("a.b.c", NotTrusted::NoIssuer);
    let good = fake.token(&json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    check(&format!("{signed}.{}", signature.chars().rev().collect::<String>()), NotTrusted::Invalid);
    // The published key as the secret of a signature that both sides could make.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("1".into());
    let issuer = fake.change(|behaviour| behaviour.issuer.clone());
    let claims = json!({"iss": issuer, "sub": "7", "aud": "kea-api", "exp": now() + 300, "preferred_username": "eve"});
    check(&encode(&header, &claims, &EncodingKey::from_secret(b"1")).unwrap(), NotTrusted::Invalid);
    let none = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, r#"{"alg":"none","kid":"1"}"#);
    check(&format!("{none}.{}.", signed.split_once('.').unwrap().1), NotTrusted::Invalid);
}

#[tokio::test]
async fn an_id_token_is_no_credential() {
    let fake = Fake::start().await;
    let trusted = trusting(&fake).await;
    for of_login in [json!({"nonce": "n"}), json!({"at_hash": "h"}), json!({"c_hash": "h"}), json!({"typ": "ID"})] {
        match trusted.verify(&fake.token(&of_login)) {
            Err(NotTrusted::Unusable(why)) => assert!(why.to_string().contains("ID token"), "{why}"),
            other => panic!("{of_login}: {other:?}"),
        }
    }
    assert!(trusted.verify(&fake.token(&json!({"typ": "Bearer"}))).is_ok());
}

#[tokio::test]
async fn keys_that_change_are_heard_of_and_kept_through_an_outage() {
    let fake = Fake::start().await;
    let trusted = trusting(&fake).await;
    fake.change(|behaviour| (behaviour.signs, behaviour.published) = (2, vec![1, 2]));
    let renewed = fake.token(&json!({}));
    assert_eq!(trusted.verify(&renewed).unwrap_err(), NotTrusted::UnknownKey);
    // It was asked a moment ago: whoever invents keys does not make KEA ask for each of them.
    let before = fake.change(|behaviour| behaviour.asked_for_keys);
    trusted.refresh(&renewed).await;
    assert_eq!(fake.change(|behaviour| behaviour.asked_for_keys), before);
    let later = trusting(&fake).await;
    assert!(later.verify(&renewed).is_ok());
    fake.change(|behaviour| behaviour.down = true);
    later.refresh(&renewed).await;
    assert!(later.verify(&renewed).is_ok());
}

#[tokio::test]
async fn tokens_of_a_provider_without_audiences_are_not_taken() {
    let fake = Fake::start().await;
    let trusted = TrustedIssuers::new(&[Arc::new(fake.provider(""))]);
    assert!(trusted.is_empty());
    assert_eq!(trusted.verify(&fake.token(&json!({}))).unwrap_err(), NotTrusted::NoIssuer);
}
