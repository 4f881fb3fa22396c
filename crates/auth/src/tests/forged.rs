//! Tokens that nobody issued, whatever they are made of.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use proptest::{
    prelude::{any, prop},
    prop_assert, prop_oneof,
    strategy::{Just, Strategy},
    test_runner::{Config, TestRunner},
};

use super::{bearing, login, on, store};
use crate::{AuthError, Authenticator};

/// An authenticator, and a token that it takes.
fn issued() -> (Authenticator, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let auth = on(store().await).await;
        let token = login(&auth, "admin", "secret").await.unwrap().token;
        (auth, token)
    })
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() })
}

/// What becomes of a token on its way.
#[derive(Clone, Debug)]
enum Change {
    Replace(char),
    Insert(char),
    Remove,
    Cut,
    Swap(usize),
}

fn changes() -> impl Strategy<Value = Vec<(usize, Change)>> {
    let letter = prop_oneof![prop::char::range('!', '~'), Just('.'), Just('='), Just('A')];
    let change = prop_oneof![
        letter.clone().prop_map(Change::Replace),
        letter.prop_map(Change::Insert),
        Just(Change::Remove),
        Just(Change::Cut),
        any::<usize>().prop_map(Change::Swap),
    ];
    prop::collection::vec((any::<usize>(), change), 1..4)
}

fn changed(token: &str, changes: Vec<(usize, Change)>) -> String {
    let mut letters: Vec<char> = token.chars().collect();
    for (at, change) in changes {
        let at = at % letters.len().max(1);
        match change {
            _ if letters.is_empty() => {}
            Change::Replace(letter) => letters[at] = letter,
            Change::Insert(letter) => letters.insert(at, letter),
            Change::Remove => drop(letters.remove(at)),
            Change::Cut => letters.truncate(at),
            Change::Swap(other) => {
                let other = other % letters.len();
                letters.swap(at, other);
            }
        }
    }
    letters.into_iter().collect()
}

#[test]
fn a_token_that_differs_in_anything_is_refused() {
    let (auth, token) = issued();
    assert!(auth.authenticate(&bearing(&token)).is_ok());
    let outcome = runner().run(&changes(), |changes| {
        let forged = changed(&token, changes);
        let answer = auth.authenticate(&bearing(&forged));
        prop_assert!(forged.trim() == token || answer.is_err(), "{forged} is taken");
        Ok(())
    });
    outcome.unwrap();
    // What was refused on the way has not worn it out.
    assert!(auth.authenticate(&bearing(&token)).is_ok());
}

#[test]
fn a_header_of_any_bytes_is_refused_and_nothing_else() {
    let (auth, _) = issued();
    let schemes = prop_oneof![Just(""), Just("Bearer "), Just("bearer "), Just("Basic "), Just("Bearer kea_")];
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    let outcome = runner().run(&(schemes, bytes), |(scheme, bytes)| {
        let value = [scheme.as_bytes(), &bytes].concat();
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let answer = auth.authenticate(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
        let refused = matches!(answer, Err(AuthError::Malformed | AuthError::Invalid | AuthError::InvalidKey));
        prop_assert!(refused, "{answer:?}");
        Ok(())
    });
    outcome.unwrap();
}
