//! What KEA gives out to have it back unchanged, within a while: signed with a secret that all processes on the same store
//! have, so that any of them can take it. It is not hidden from who holds it.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Signs, and knows again what it has signed.
pub(crate) struct Seal {
    closes: EncodingKey,
    opens: DecodingKey,
}

/// `aud` tells what it is, so that nothing that is sealed for one purpose serves another.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    aud: String,
    exp: i64,
    thing: T,
}

impl Seal {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self { closes: EncodingKey::from_secret(secret), opens: DecodingKey::from_secret(secret) }
    }

    /// The thing as a text of letters, digits, `.`, `-` and `_`, good for `within`.
    pub(crate) fn close(&self, purpose: &str, thing: &impl Serialize, within: Duration) -> String {
        let end = jiff::Timestamp::now().as_second().saturating_add_unsigned(within.as_secs());
        self.close_until(purpose, thing, end)
    }

    fn close_until(&self, purpose: &str, thing: &impl Serialize, exp: i64) -> String {
        let sealed = Sealed { aud: purpose.into(), exp, thing };
        encode(&Header::new(Algorithm::HS256), &sealed, &self.closes).expect("what is sealed is plain data")
    }

    /// What was sealed for this purpose; `None` where it was changed, or its time is over.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: &str, text: &str) -> Option<T> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[purpose]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.leeway = 0;
        decode::<Sealed<T>>(text, &self.opens, &validation).ok().map(|data| data.claims.thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_or_is_of_another_purpose_is_not_taken() {
        let seal = Seal::new(b"secret");
        let sealed = seal.close("cookie", &"thing", Duration::from_secs(60));
        assert_eq!(seal.open::<String>("cookie", &sealed).as_deref(), Some("thing"));
        assert_eq!(seal.open::<String>("device", &sealed), None);
        assert_eq!(Seal::new(b"other").open::<String>("cookie", &sealed), None);
        let (_, signature) = sealed.rsplit_once('.').unwrap();
        let other = seal.close("cookie", &"other", Duration::from_secs(60));
        let (signed, _) = other.rsplit_once('.').unwrap();
        assert_eq!(seal.open::<String>("cookie", &format!("{signed}.{signature}")), None);
        let none = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, r#"{"alg":"none"}"#);
        assert_eq!(seal.open::<String>("cookie", &format!("{none}.{}.", signed.split_once('.').unwrap().1)), None);
    }

    #[test]
    fn what_took_too_long_is_not_taken() {
        let seal = Seal::new(b"secret");
        let over = seal.close_until("cookie", &"thing", jiff::Timestamp::now().as_second() - 1);
        assert_eq!(seal.open::<String>("cookie", &over), None);
    }
}
