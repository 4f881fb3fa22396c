//! What lasts ends with the session, the user or the key by which it was begun.

use http::HeaderMap;
use kea_core::management::UserChange;
use serde_json::json;

use super::{bearing, keys::user, login, on, store};

#[tokio::test]
async fn it_lasts_as_long_as_the_session_the_user_and_the_key() {
    let auth = on(store().await).await;
    user(&auth, "ada", &[]).await;
    let (one, other) =
        (login(&auth, "ada", "a password").await.unwrap(), login(&auth, "ada", "a password").await.unwrap());
    let request = serde_json::from_value(json!({"name": "nightly"})).unwrap();
    let key = auth.create_key("ada", request).await.unwrap();
    let [of_one, of_other, of_key] = [&one.token, &other.token, &key.key].map(|text| auth.standing(&bearing(text)));
    assert!(auth.holds(&of_one) && auth.holds(&of_other) && auth.holds(&of_key));
    let session = auth.authenticate(&bearing(&one.token)).unwrap().session.unwrap();
    auth.end(&session).await.unwrap();
    auth.until_over(&of_one).await;
    assert!(auth.holds(&of_other) && auth.holds(&of_key));
    auth.revoke_key(&key.info.id).await.unwrap();
    assert!(auth.holds(&of_other) && !auth.holds(&of_key));
    auth.change_user("ada", UserChange { disabled: Some(true), ..UserChange::default() }).await.unwrap();
    auth.until_over(&of_other).await;
}

#[tokio::test]
async fn by_nobody_nothing_ends() {
    let auth = on(store().await).await;
    for headers in [HeaderMap::new(), bearing("nonsense"), bearing("kea_nonsense_x")] {
        assert!(auth.holds(&auth.standing(&headers)));
    }
}
