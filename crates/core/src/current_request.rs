//! The request that a task works for, so that lines of KEA's log can name it.
//!
//! A span of `tracing` would say the same. It costs each request the formatting of its fields, though nearly none writes a
//! line; this one costs a pointer.

use std::sync::Arc;

tokio::task_local! {
    static ID: Arc<str>;
}

/// Runs `work` for the request of that id. Tasks that it starts are none of the request's.
pub async fn within<T>(id: Arc<str>, work: impl Future<Output = T>) -> T {
    ID.scope(id, work).await
}

/// The id of the request that this task works for.
pub fn id() -> Option<Arc<str>> {
    ID.try_with(Arc::clone).ok()
}
