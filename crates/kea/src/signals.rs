//! Being told to stop by the system.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves on SIGTERM or SIGINT (Ctrl-C).
pub(crate) async fn stop() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match signals {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without handlers the signals end the process themselves.
        _ => std::future::pending().await,
    }
}
