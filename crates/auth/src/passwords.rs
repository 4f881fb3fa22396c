//! Hashing passwords with argon2id, away from the threads that serve requests.

use std::sync::Arc;

use argon2::{
    Argon2, Params, PasswordHasher, PasswordVerifier,
    password_hash::{Error, phc::PasswordHash},
};
use kea_core::port::StoreError;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many hashes are made at once. Each takes 7 MiB and a core for some 20 ms; more at once would only take both
/// from the requests that are served.
const AT_ONCE: usize = 2;

/// What a hash costs from now on: of the parameters that OWASP holds equal, those with the least memory, which an idle
/// server keeps.
pub(crate) fn price() -> Params {
    Params::new(7 * 1024, 5, 1, None).expect("argon2 knows these parameters")
}

pub(crate) struct Passwords {
    params: Params,
    permits: Arc<Semaphore>,
    /// Hash of a password that nobody knows, at the price of a real one.
    decoy: String,
}

impl Passwords {
    /// `params` is the price of hashes made from now on; those that exist are checked at their own.
    pub(crate) fn new(params: Params) -> Self {
        let decoy = decoy(&params);
        Self { params, permits: Arc::new(Semaphore::new(AT_ONCE)), decoy }
    }

    /// The argon2id hash of `password` in PHC format, with a salt of its own.
    pub(crate) async fn hash(&self, password: String) -> Result<String, StoreError> {
        let params = self.params.clone();
        let hashed = self.away(move || {
            let hash: Result<PasswordHash, Error> = hasher(params).hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string())
        });
        hashed.await?.map_err(|error| StoreError::Unavailable(format!("the password cannot be hashed: {error}")))
    }

    /// Whether `password` is that of the user with `hash`. Takes as long where there is no such user, so that the time
    /// does not tell which names exist. `username` is for the message about a hash that cannot be read.
    pub(crate) async fn verify(&self, username: &str, hash: Option<&str>, password: &str) -> Result<bool, StoreError> {
        let params = self.params.clone();
        let (wanted, given) = (hash.unwrap_or(&self.decoy).to_string(), password.to_string());
        let verified = self.away(move || hasher(params).verify_password(given.as_bytes(), wanted.as_str())).await?;
        match verified {
            Ok(()) => Ok(hash.is_some()),
            Err(Error::PasswordInvalid) => Ok(false),
            Err(error @ Error::OutOfMemory) => Err(StoreError::Unavailable(error.to_string())),
            Err(error) => {
                Err(StoreError::Corrupt { what: format!("password hash of user `{username}`"), why: error.to_string() })
            }
        }
    }

    /// Runs `work` on a thread for blocking work, once it is its turn. The work keeps its turn until it ends, also
    /// where nobody waits for it any more.
    async fn away<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let task = spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        task.await.map_err(|error| StoreError::Unavailable(format!("the password was not checked: {error}")))
    }
}

/// A hash that no password is known to have: salt and hash are random. Checking against it costs what a real one does,
/// making it costs nothing.
fn decoy(params: &Params) -> String {
    let (salt, hash): ([u8; 12], [u8; 16]) = (rand::random(), rand::random());
    // Hexadecimal digits are base64 too, here of 18 and 24 bytes.
    let (salt, hash) = (hex::encode(salt), hex::encode(hash));
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
}

fn hasher(params: Params) -> Argon2<'static> {
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Passwords {
        Passwords::new(Params::new(64, 1, 1, None).unwrap())
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_in_phc_format_and_salted() {
        let passwords = cheap();
        let [one, two] =
            [passwords.hash("secret".into()).await.unwrap(), passwords.hash("secret".into()).await.unwrap()];
        assert!(one.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{one}");
        assert_ne!(one, two);
    }

    #[tokio::test]
    async fn a_hash_is_made_at_the_price_that_owasp_asks() {
        let hash = Passwords::new(price()).hash("secret".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{hash}");
    }

    #[tokio::test]
    async fn only_the_password_itself_is_verified() {
        let passwords = cheap();
        let hash = passwords.hash("sëcret".into()).await.unwrap();
        for (password, expected) in [("sëcret", true), ("secret", false), ("", false), ("sëcret ", false)] {
            assert_eq!(passwords.verify("ada", Some(&hash), password).await.unwrap(), expected, "{password}");
        }
    }

    #[tokio::test]
    async fn nobody_is_checked_at_the_price_of_a_user_and_never_let_in() {
        let passwords = cheap();
        let price = |hash: &str| hash.rsplitn(3, '$').last().unwrap().to_string();
        let hash = passwords.hash("secret".into()).await.unwrap();
        assert_eq!(price(&passwords.decoy), price(&hash));
        assert!(!passwords.verify("nobody", None, "secret").await.unwrap());
        let known = Passwords { decoy: hash, ..cheap() };
        assert!(!known.verify("nobody", None, "secret").await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_is_still_verified() {
        let hash = Passwords::new(Params::new(128, 2, 1, None).unwrap()).hash("old".into()).await.unwrap();
        assert!(cheap().verify("ada", Some(&hash), "old").await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_that_cannot_be_read_is_named() {
        for hash in ["", "secret", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ", "$pbkdf2$i=1$c2FsdHNhbHQ$aGFzaGhhc2g"] {
            let verified = cheap().verify("ada", Some(hash), "secret").await;
            match verified {
                Ok(false) => {}
                Err(StoreError::Corrupt { what, .. }) => assert_eq!(what, "password hash of user `ada`"),
                other => panic!("{hash}: {other:?}"),
            }
        }
    }
}
