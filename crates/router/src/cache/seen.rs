//! Bodies that were asked before, byte for byte: neither are they held against the contract again, nor is the key of their
//! answer made again, which costs more than all else that a kept answer does.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use foldhash::quality::RandomState;
use kea_openapi::validate::Validator;
use moka::sync::Cache;

use super::{CacheKey, key::Owner};
use crate::{identify::Admitted, path::Protocol};

/// Bytes of bodies that are remembered at most, beside the answers.
const MOST: u64 = 8 << 20;

/// Bodies above this are not remembered: one must not push out thousands.
const LARGEST: usize = 64 << 10;

/// What all that is remembered of a body takes beside it, nearly.
const OVERHEAD: usize = 400;

/// The bodies that were asked before.
pub(crate) struct Seen {
    /// By their hash. Of two with the same one, which nobody can bring about, the later is remembered.
    bodies: Cache<u64, Arc<Sight>, RandomState>,
    hasher: RandomState,
}

/// What the key of an answer is made of, as it came.
pub(crate) struct Question<'a> {
    contract: &'a Arc<Validator>,
    made_at: i64,
    function: &'a str,
    protocol: Protocol,
    enforced: bool,
    owner: Option<Owner>,
    body: &'a [u8],
}

/// A question that fits its contract, and the key that was made of it.
struct Sight {
    /// Kept alive, so that no other contract can have its address.
    contract: Arc<Validator>,
    made_at: i64,
    function: Box<str>,
    protocol: Protocol,
    enforced: bool,
    owner: Option<Owner>,
    body: Box<[u8]>,
    known: Known,
}

/// What a body that was checked is known for.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) key: CacheKey,
    /// Whether it asks for all outputs rather than for some by name.
    pub(crate) all_outputs: bool,
}

impl Seen {
    pub(crate) fn new() -> Self {
        let weigh = |_: &u64, sight: &Arc<Sight>| u32::try_from(sight.body.len() + OVERHEAD).unwrap_or(u32::MAX);
        let hasher = RandomState::default();
        let bodies = Cache::builder().max_capacity(MOST).weigher(weigh).build_with_hasher(hasher.clone());
        Self { bodies, hasher }
    }

    /// What is known of a question that was asked before.
    pub(crate) fn recall(&self, question: &Question<'_>) -> Option<Known> {
        if question.body.len() > LARGEST {
            return None;
        }
        let sight = self.bodies.get(&self.hasher.hash_one(question))?;
        sight.is_of(question).then(|| sight.known.clone())
    }

    /// Remembers a question that was checked, and whose answer was asked for again: most never are.
    pub(crate) fn remember(&self, question: &Question<'_>, known: Known) {
        if question.body.len() <= LARGEST {
            self.bodies.insert(self.hasher.hash_one(question), Arc::new(Sight::new(question, known)));
        }
    }

    /// Forgets everything: versions that are gone are asked for no more.
    pub(crate) fn forget(&self) {
        self.bodies.invalidate_all();
    }
}

impl<'a> Question<'a> {
    /// What an admitted request asks with that body.
    pub(crate) fn of(admitted: &'a Admitted, contract: &'a Arc<Validator>, body: &'a [u8]) -> Self {
        Self {
            contract,
            made_at: admitted.version().made_at,
            function: &admitted.function,
            protocol: admitted.protocol,
            enforced: admitted.enforces_answers(),
            owner: admitted.owner(),
            body,
        }
    }
}

impl Hash for Question<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { contract, made_at, function, protocol, enforced, owner, body } = self;
        Arc::as_ptr(contract).hash(state);
        (made_at, function, protocol, enforced, owner, body).hash(state);
    }
}

impl Sight {
    fn new(question: &Question<'_>, known: Known) -> Self {
        let Question { contract, made_at, function, protocol, enforced, owner, body } = question;
        Self {
            contract: Arc::clone(contract),
            made_at: *made_at,
            function: (*function).into(),
            protocol: *protocol,
            enforced: *enforced,
            owner: owner.clone(),
            // What is read from a connection may hold more of it than this.
            body: (*body).into(),
            known,
        }
    }

    /// Whether it is that very question: nobody gets an answer because hashes are equal.
    fn is_of(&self, question: &Question<'_>) -> bool {
        let Question { contract, made_at, function, protocol, enforced, owner, body } = question;
        Arc::ptr_eq(&self.contract, contract)
            && self.made_at == *made_at
            && *self.function == **function
            && self.protocol == *protocol
            && self.enforced == *enforced
            && self.owner == *owner
            && *self.body == **body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn validator() -> Arc<Validator> {
        Arc::new(Validator::compile(testing::contract()).unwrap())
    }

    fn question<'a>(contract: &'a Arc<Validator>, body: &'a [u8]) -> Question<'a> {
        let owner = Some(Owner::User("ada".into()));
        Question { contract, made_at: 7, function: "again", protocol: Protocol::Kea, enforced: false, owner, body }
    }

    fn known() -> Known {
        let key = CacheKey::parse(&format!("iris:again:1~7:{}", "0".repeat(64))).unwrap();
        Known { key, all_outputs: false }
    }

    #[test]
    fn only_the_very_question_is_recalled() {
        let (seen, contract, other) = (Seen::new(), validator(), validator());
        let asked = || question(&contract, b"{}");
        assert!(seen.recall(&asked()).is_none());
        seen.remember(&asked(), known());
        let recalled = seen.recall(&asked()).unwrap();
        assert_eq!((recalled.key, recalled.all_outputs), (known().key, false));
        let others = [
            question(&other, b"{}"),
            question(&contract, b"{ }"),
            Question { made_at: 8, ..asked() },
            Question { function: "once", ..asked() },
            Question { protocol: Protocol::V2, ..asked() },
            Question { enforced: true, ..asked() },
            Question { owner: None, ..asked() },
            Question { owner: Some(Owner::Key("ada".into())), ..asked() },
        ];
        let sight = Sight::new(&asked(), known());
        for (at, other) in others.iter().enumerate() {
            assert!(seen.recall(other).is_none(), "{at}");
            // Nor where its hash is the same.
            assert!(!sight.is_of(other), "{at}");
        }
        seen.forget();
        assert!(seen.recall(&asked()).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (seen, contract) = (Seen::new(), validator());
        let large = vec![b' '; LARGEST + 1];
        seen.remember(&question(&contract, &large), known());
        assert!(seen.recall(&question(&contract, &large)).is_none());
        for number in 0..400_u32 {
            let mut body = vec![b' '; LARGEST];
            body[..4].copy_from_slice(&number.to_le_bytes());
            seen.remember(&question(&contract, &body), known());
        }
        seen.bodies.run_pending_tasks();
        assert!(seen.bodies.weighted_size() <= MOST, "{}", seen.bodies.weighted_size());
        assert!(seen.bodies.entry_count() > 100, "{}", seen.bodies.entry_count());
    }
}
