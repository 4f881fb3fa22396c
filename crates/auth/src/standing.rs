//! Whether somebody who has begun what lasts, as a WebSocket, would still be let in. A token may end meanwhile: what counts is
//! its session, its user, or the key.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;

use crate::{
    Authenticator, api_keys,
    credential::{self, Credential},
    tokens::{self, Verified},
};

/// How often it is looked at. A look costs a few look-ups in memory.
const LOOKS: Duration = Duration::from_millis(500);

/// By what somebody was let in.
pub struct Standing(Known);

enum Known {
    /// Nobody in particular, by whom nothing ends.
    Nobody,
    Session(Verified),
    Key(Box<str>),
    /// A token of a trusted issuer, who has no session here: it ends with its time.
    Foreign(Box<str>),
}

impl Authenticator {
    /// By what the sender of these headers is let in. Who would not be is nobody: what is public lets them in as well.
    pub fn standing(&self, headers: &HeaderMap) -> Standing {
        let standing = Standing(match credential::of(headers) {
            Ok(Credential::Key(key)) => Known::Key(key.into()),
            Ok(Credential::Token(token)) => match self.verified(token) {
                Some(verified) => Known::Session(verified),
                None => Known::Foreign(token.into()),
            },
            Err(_) => Known::Nobody,
        });
        if self.holds(&standing) { standing } else { Standing(Known::Nobody) }
    }

    fn verified(&self, token: &str) -> Option<Verified> {
        self.verified.get(token).or_else(|| tokens::verify(&self.snapshot.load().ring, token).ok())
    }

    /// Whether they would be let in by it now.
    pub fn holds(&self, Standing(known): &Standing) -> bool {
        let now = Timestamp::now().as_second();
        match known {
            Known::Nobody => true,
            Known::Session(verified) => self.snapshot.load().caller(verified).is_ok(),
            Known::Key(key) => api_keys::authenticate(&self.snapshot.load(), key, now).is_ok(),
            Known::Foreign(token) => self.foreign_caller(token, now).is_ok(),
        }
    }

    /// Returns once they would not: within half a second of that.
    pub async fn until_over(&self, standing: &Standing) {
        while self.holds(standing) {
            tokio::time::sleep(LOOKS).await;
        }
    }
}
