//! Connections that change their protocol last longer than any request: they end with the session or the key of whoever began
//! them.

use std::{sync::Arc, time::Duration};

use axum::extract::Request;
use http::Extensions;
use hyper::upgrade::OnUpgrade;
use kea_auth::{Authenticator, Standing};

/// By what somebody was let in who asks for another protocol; an extension of their request.
#[derive(Clone)]
pub(crate) struct Guard {
    auth: Arc<Authenticator>,
    standing: Arc<Standing>,
}

/// Notes who asks for another protocol, before their credentials are taken from the request.
pub(crate) fn guard(auth: &Arc<Authenticator>, request: &mut Request) {
    if kea_http::upgrade::asked(request.headers()).is_some() {
        let standing = Arc::new(auth.standing(request.headers()));
        request.extensions_mut().insert(Guard { auth: auth.clone(), standing });
    }
}

/// What was noted.
pub(crate) fn guard_of(extensions: &Extensions) -> Option<Guard> {
    extensions.get().cloned()
}

/// Passes on what comes at either end until one closes, the one behind says nothing for as long as `patience`, or the
/// caller would not be let in any more.
pub(crate) async fn run(guard: Option<Guard>, caller: OnUpgrade, behind: OnUpgrade, patience: Duration) {
    let passing = kea_http::upgrade::tunnel(caller, behind, patience);
    let Some(Guard { auth, standing }) = guard else { return passing.await };
    tokio::select! {
        () = passing => {}
        () = auth.until_over(&standing) => tracing::info!("a connection was ended with the session of its caller"),
    }
}
