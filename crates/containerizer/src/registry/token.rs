//! Tokens for two repositories at once: what one of them has can be taken over by the other only with rights to both,
//! and the client asks for rights to one.

use http::header::WWW_AUTHENTICATE;
use oci_client::{Reference, secrets::RegistryAuth};
use serde::Deserialize;

/// How a registry answers who asks for a token; it has one field or the other.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// A token to write to the repository of `image` and to read from that of `from`, both of the registry at `base`; none
/// where the registry has no tokens or gives none.
pub(super) async fn of_both(base: &str, image: &Reference, from: &Reference, auth: &RegistryAuth) -> Option<String> {
    let client =
        reqwest::Client::builder().connect_timeout(super::CONNECT).read_timeout(super::SILENCE).build().ok()?;
    let asked = client.get(format!("{base}/v2/")).send().await.ok()?;
    let challenge = asked.headers().get(WWW_AUTHENTICATE)?.to_str().ok()?.to_owned();
    let (realm, service) = bearer(&challenge)?;
    let write = format!("repository:{}:pull,push", image.repository());
    let read = format!("repository:{}:pull", from.repository());
    let mut query = vec![("scope", write.as_str()), ("scope", read.as_str())];
    query.extend(service.as_deref().map(|service| ("service", service)));
    let mut realm = reqwest::Url::parse(&realm).ok()?;
    realm.query_pairs_mut().extend_pairs(query);
    let mut request = client.get(realm);
    if let RegistryAuth::Basic(name, password) = auth {
        request = request.basic_auth(name, Some(password));
    }
    let text = request.send().await.ok()?.error_for_status().ok()?.bytes().await.ok()?;
    let answer: Answer = serde_json::from_slice(&text).ok()?;
    answer.token.or(answer.access_token)
}

/// Where tokens are given, and for what service, where a challenge asks for one.
fn bearer(challenge: &str) -> Option<(String, Option<String>)> {
    let challenges = http_auth::parse_challenges(challenge).ok()?;
    let bearer = challenges.into_iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))?;
    let value = |name: &str| {
        let named = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.to_unescaped())
    };
    Some((value("realm")?, value("service")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_where_tokens_are_given() {
        let challenge = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="x""#;
        assert_eq!(bearer(challenge), Some(("https://auth.example/token".into(), Some("registry.example".into()))));
        assert_eq!(bearer(r#"Basic realm="registry""#), None);
        assert_eq!(bearer(""), None);
    }
}
