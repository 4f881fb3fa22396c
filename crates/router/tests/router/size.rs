//! What is moved about and kept for each request that is under way.

use axum::extract::Request;

use crate::harness::Gateway;

#[tokio::test]
async fn a_request_under_way_is_small() {
    let gateway = Gateway::new().await;
    let size = size_of_val(&gateway.router.handle(Request::default()));
    assert!(size <= 7 * 1024, "{size} bytes: put what is seldom needed into a box");
}
