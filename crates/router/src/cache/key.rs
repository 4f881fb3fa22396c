//! What an answer is kept under: service, function and version in words, and a digest of who asked for what.

use std::{fmt, fmt::Write, sync::Arc};

use kea_auth::Caller;
use kea_core::{Tensor, VersionId};
use kea_openapi::validate::{Call, V2Call};
use sha2::{Digest, Sha256};

use super::canonical;
use crate::{identify::Admitted, validate::Decoded};

/// The key of an answer: `SERVICE:FUNCTION:VERSION~TIME:DIGEST`, of letters, digits and `-._~%:` alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    text: Arc<str>,
    /// Where the parts end.
    ends: [usize; 3],
}

impl CacheKey {
    fn new(service: &str, function: &str, version: &VersionId, made_at: i64, digest: &[u8]) -> Self {
        let mut text = format!("{service}:");
        encode(function, &mut text);
        // Writing to a String cannot fail.
        let _ = write!(text, ":{version}~{made_at:x}:");
        for byte in digest {
            let _ = write!(text, "{byte:02x}");
        }
        Self::parse(&text).expect("a key that was written is one")
    }

    /// Reads a key that a caller sends; `None` for what no answer was ever kept under.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%:".contains(&byte);
        let colons: Vec<usize> = text.match_indices(':').map(|(at, _)| at).collect();
        let ends = <[usize; 3]>::try_from(colons).ok()?;
        let well_formed = text.bytes().all(known) && is_digest(&text[ends[2] + 1..]);
        well_formed.then(|| Self { text: text.into(), ends })
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The service.
    pub fn service(&self) -> &str {
        &self.text[..self.ends[0]]
    }

    /// The function, as it is written in a key.
    pub fn function(&self) -> &str {
        &self.text[self.ends[0] + 1..self.ends[1]]
    }

    /// The version with the time it was made.
    pub(crate) fn version(&self) -> &str {
        &self.text[self.ends[1] + 1..self.ends[2]]
    }

    /// What follows the service.
    pub(crate) fn within_service(&self) -> &str {
        &self.text[self.ends[0] + 1..]
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A version as it is written in a key.
pub(crate) fn version_part(version: &VersionId, made_at: i64) -> String {
    format!("{version}~{made_at:x}")
}

/// A function as it is written in a key: what is no letter, digit or `_` as `%XX`.
pub(crate) fn function_part(function: &str) -> String {
    let mut out = String::with_capacity(function.len());
    encode(function, &mut out);
    out
}

fn encode(function: &str, out: &mut String) {
    for byte in function.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Whose an answer is. A key of a user is not the user: it may have fewer rights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Key(Arc<str>),
    User(Arc<str>),
}

impl Owner {
    pub(crate) fn of(caller: &Caller) -> Self {
        match &caller.key {
            Some(key) => Self::Key(key.clone()),
            None => Self::User(caller.username.clone()),
        }
    }

    /// Whether they are the one that is written there.
    pub(crate) fn is(&self, text: &str) -> bool {
        match self {
            Self::Key(key) => text.strip_prefix("key:") == Some(key),
            Self::User(name) => text.strip_prefix("user:") == Some(name),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key:{key}"),
            Self::User(name) => write!(f, "user:{name}"),
        }
    }
}

/// The key of the answer to these inputs; `None` where they nest too deep to be read. Answers that were kept before they had
/// to fit the contract are asked for no more once they have to.
pub(crate) fn of(admitted: &Admitted, decoded: &Decoded, owner: Option<&Owner>) -> Option<CacheKey> {
    let version = admitted.version();
    let owner = owner.map(Owner::to_string);
    let digest = digest(decoded, owner.as_deref(), admitted.enforces_answers())?;
    let service = admitted.service.route.id.as_str();
    Some(CacheKey::new(service, &admitted.function, &version.version, version.made_at, &digest))
}

/// A digest of who asks for what. Each part has its length before it, so that no two lists of parts are the same bytes.
fn digest(decoded: &Decoded, owner: Option<&str>, enforced: bool) -> Option<[u8; 32]> {
    let mut parts = Parts(Sha256::new());
    if enforced {
        parts.add(b"enforced");
    }
    match owner {
        Some(owner) => parts.add(owner.as_bytes()),
        None => parts.add(b""),
    }
    match decoded {
        Decoded::Kea(Call::Tensors(tensors)) => {
            parts.add(b"kea tensors");
            parts.add_tensors(tensors);
        }
        Decoded::Kea(Call::Arguments(arguments)) => {
            parts.add(b"kea arguments");
            parts.add(&canonical::write(arguments.get())?);
        }
        Decoded::V2(V2Call { id, inputs, outputs }) => {
            parts.add(b"v2");
            // The answer repeats the request's id.
            parts.add_list(id.as_ref());
            parts.add_list(outputs.iter().flatten());
            parts.add(&[u8::from(outputs.is_some())]);
            parts.add_tensors(inputs);
        }
    }
    Some(parts.0.finalize().into())
}

struct Parts(Sha256);

impl Parts {
    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn add_list<'a>(&mut self, texts: impl IntoIterator<Item = &'a String>) {
        let texts: Vec<&String> = texts.into_iter().collect();
        self.0.update((texts.len() as u64).to_le_bytes());
        texts.into_iter().for_each(|text| self.add(text.as_bytes()));
    }

    fn add_tensors(&mut self, tensors: &[Tensor]) {
        let mut bytes = Vec::new();
        for tensor in tensors {
            bytes.clear();
            tensor.data.write_binary(&mut bytes);
            self.add(tensor.name.as_bytes());
            self.add(tensor.data.datatype().as_str().as_bytes());
            let shape: Vec<u8> = tensor.shape.iter().flat_map(|n| (*n as u64).to_le_bytes()).collect();
            self.add(&shape);
            self.add(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use kea_core::tensor::TensorData;
    use proptest::prelude::*;
    use serde_json::{Value, value::to_raw_value};

    use super::*;

    fn of_arguments(inputs: &Value, owner: Option<&str>) -> [u8; 32] {
        digest(&Decoded::Kea(Call::Arguments(to_raw_value(inputs).unwrap())), owner, false).unwrap()
    }

    fn of_tensors(tensors: Vec<Tensor>) -> [u8; 32] {
        digest(&Decoded::Kea(Call::Tensors(tensors)), None, false).unwrap()
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-3_i64..3).prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no other numbers", |x| x.is_finite()).prop_map(Value::from),
            "[\\PC\"\\\\]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c\":,]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Equal as numbers are, whatever they are written with.
    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => match (a.as_i128(), b.as_i128()) {
                (Some(a), Some(b)) => a == b,
                _ if whole(a).is_some() || whole(b).is_some() => whole(a) == whole(b),
                _ => a.as_f64().map(f64::to_bits) == b.as_f64().map(f64::to_bits),
            },
            (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
            }
            _ => a == b,
        }
    }

    /// A float that is whole is the integer of the same value; -0.0 is none. Larger ones are not written with all digits.
    fn whole(number: &serde_json::Number) -> Option<i128> {
        let is_whole = |x: &f64| x.fract() == 0.0 && x.abs() < 1e15 && x.to_bits() != (-0.0_f64).to_bits();
        let float = || number.as_f64().filter(is_whole).map(|x| x as i128);
        number.as_i128().or_else(float)
    }

    proptest! {
        #[test]
        fn only_the_same_arguments_have_the_same_digest(a in values(), b in values()) {
            prop_assert_eq!(of_arguments(&a, None) == of_arguments(&b, None), same(&a, &b), "{} {}", a, b);
        }

        #[test]
        fn two_callers_never_have_the_same_digest(a in "[a-z:]{1,6}", b in "[a-z:]{1,6}", inputs in values()) {
            prop_assert_eq!(of_arguments(&inputs, Some(&a)) == of_arguments(&inputs, Some(&b)), a == b);
            prop_assert_ne!(of_arguments(&inputs, Some(&a)), of_arguments(&inputs, None));
            let decoded = Decoded::Kea(Call::Arguments(to_raw_value(&inputs).unwrap()));
            prop_assert_ne!(digest(&decoded, Some(&a), true), digest(&decoded, Some(&a), false));
        }

        #[test]
        fn texts_of_a_tensor_do_not_run_into_each_other(
            a in prop::collection::vec("[ab]{0,3}", 0..4), b in prop::collection::vec("[ab]{0,3}", 0..4)
        ) {
            let tensor = |texts: &[String]| Tensor {
                name: "x".into(),
                shape: vec![texts.len()],
                data: TensorData::Bytes(texts.iter().map(|text| text.as_bytes().to_vec()).collect()),
            };
            prop_assert_eq!(of_tensors(vec![tensor(&a)]) == of_tensors(vec![tensor(&b)]), a == b);
        }

        #[test]
        fn shapes_and_names_count(rows in 1_usize..4, columns in 1_usize..4, other in 1_usize..4) {
            let zeros = |name: &str, shape: [usize; 2]| Tensor {
                name: name.into(),
                shape: shape.to_vec(),
                data: TensorData::Fp32(vec![0.0; shape[0] * shape[1]]),
            };
            let same = rows == other;
            let one = of_tensors(vec![zeros("x", [rows, columns])]);
            prop_assert_eq!(one == of_tensors(vec![zeros("x", [other, columns])]), same);
            prop_assert_ne!(one, of_tensors(vec![zeros("y", [rows, columns])]));
            prop_assert_ne!(one, of_tensors(vec![zeros("x", [rows, columns]), zeros("x", [rows, columns])]));
        }

        #[test]
        fn a_key_is_read_as_it_was_written(function in "\\PC{1,12}", made_at in any::<i64>(), version in "[a-z0-9][a-z0-9._-]{0,9}") {
            let key = CacheKey::new("iris", &function, &version.parse().unwrap(), made_at, &[7; 32]);
            prop_assert_eq!(CacheKey::parse(key.as_str()), Some(key.clone()));
            prop_assert_eq!((key.service(), key.function()), ("iris", &*function_part(&function)));
            prop_assert_eq!(key.version(), version_part(&version.parse().unwrap(), made_at));
        }

        #[test]
        fn nothing_else_is_a_key(text in "[\\PC:]{0,40}") {
            prop_assert_eq!(CacheKey::parse(&text), None);
        }
    }

    #[test]
    fn the_id_and_the_outputs_asked_for_count() {
        let call = |id: Option<&str>, outputs: Option<&[&str]>| {
            let outputs = outputs.map(|names| names.iter().map(ToString::to_string).collect());
            digest(&Decoded::V2(V2Call { id: id.map(Into::into), inputs: vec![], outputs }), None, false).unwrap()
        };
        let different = [
            call(None, None),
            call(Some("a"), None),
            call(None, Some(&["a"])),
            call(None, Some(&[])),
            call(Some(""), None),
            call(None, Some(&["a", "b"])),
            call(None, Some(&["ab"])),
        ];
        for (at, one) in different.iter().enumerate() {
            assert!(!different[..at].contains(one), "{at}");
        }
    }

    #[test]
    fn a_key_of_a_user_is_not_the_user() {
        let caller = |key: Option<&str>| Caller {
            username: "ada".into(),
            roles: [].into(),
            groups: [].into(),
            key: key.map(Into::into),
            session: None,
            scopes: None,
        };
        let (user, key) = (Owner::of(&caller(None)), Owner::of(&caller(Some("ada"))));
        assert_eq!((user.to_string(), key.to_string()), ("user:ada".into(), "key:ada".into()));
        let is = |text| [user.is(text), key.is(text)];
        assert_eq!(
            ["user:ada", "key:ada", "ada", "key:", "user:adam"].map(is),
            [[true, false], [false, true], [false; 2], [false; 2], [false; 2]]
        );
    }
}
