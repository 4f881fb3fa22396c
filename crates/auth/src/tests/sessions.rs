//! Sessions: carried on, replayed, ended, and heard of by other processes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kea_core::port::{IdentityStore, RecordKind};
use serde_json::Value;

use super::{bearing, cheap, login, name_of, on, origin, settings, store};
use crate::{AuthError, AuthSettings, Authenticator, Session, sessions::GRACE_SECONDS};

fn outcome(outcome: Result<Session, AuthError>) -> String {
    match outcome {
        Ok(session) => session.username,
        Err(error) => format!("{error:?}"),
    }
}

fn id_of(session: &Session) -> &str {
    session.refresh_token.split_once('.').unwrap().0
}

/// Lets it look as if the last refresh of a session were a while ago.
async fn wait(store: &dyn IdentityStore, session: &Session, seconds: i64) {
    let before = store.record(RecordKind::Session, id_of(session)).await.unwrap().unwrap();
    let mut body: Value = serde_json::from_str(&before).unwrap();
    let used: Timestamp = body["previous"]["usedAt"].as_str().unwrap().parse().unwrap();
    body["previous"]["usedAt"] = (used - SignedDuration::from_secs(seconds)).to_string().into();
    let after = body.to_string();
    assert!(store.swap_record(RecordKind::Session, id_of(session), Some(&before), Some(&after)).await.unwrap());
}

#[tokio::test]
async fn a_refresh_gives_new_tokens_of_the_same_session() {
    let auth = on(store().await).await;
    let first = login(&auth, "admin", "secret").await.unwrap();
    let second = auth.refresh(&first.refresh_token).await.unwrap();
    let third = auth.refresh(&second.refresh_token).await.unwrap();
    assert_eq!([id_of(&second), id_of(&third)], [id_of(&first); 2]);
    let mut tokens = [&first, &second, &third].map(|session| session.refresh_token.clone()).to_vec();
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
    assert_eq!(third.session_expires_at, first.session_expires_at, "it does not last for longer by that");
    assert_eq!(name_of(auth.authenticate(&bearing(&third.token))), "admin");
}

#[tokio::test]
async fn a_refresh_token_whose_answer_was_lost_is_answered_in_the_same_way_again() {
    let auth = on(store().await).await;
    let first = login(&auth, "admin", "secret").await.unwrap();
    let [one, two] =
        [auth.refresh(&first.refresh_token).await.unwrap(), auth.refresh(&first.refresh_token).await.unwrap()];
    assert_eq!(one.refresh_token, two.refresh_token);
    assert_eq!(outcome(auth.refresh(&one.refresh_token).await), "admin");
}

#[tokio::test]
async fn refreshes_at_once_all_get_the_same_successor() {
    let auth = std::sync::Arc::new(on(store().await).await);
    let first = login(&auth, "admin", "secret").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (auth, token) = (auth.clone(), first.refresh_token.clone());
        tasks.spawn(async move { auth.refresh(&token).await.unwrap().refresh_token });
    }
    let mut successors = tasks.join_all().await;
    successors.dedup();
    assert_eq!(successors.len(), 1);
}

#[tokio::test]
async fn a_replayed_refresh_token_ends_the_session_for_the_thief_and_its_owner() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let first = login(&auth, "admin", "secret").await.unwrap();
    let second = auth.refresh(&first.refresh_token).await.unwrap();
    wait(&*store, &first, GRACE_SECONDS + 1).await;
    assert_eq!(name_of(auth.authenticate(&bearing(&second.token))), "admin");
    assert_eq!(outcome(auth.refresh(&first.refresh_token).await), "Revoked");
    assert_eq!(outcome(auth.refresh(&second.refresh_token).await), "Revoked");
    for session in [first, second] {
        assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "Revoked");
    }
}

#[tokio::test]
async fn the_predecessor_of_the_predecessor_has_no_grace() {
    let auth = on(store().await).await;
    let first = login(&auth, "admin", "secret").await.unwrap();
    let second = auth.refresh(&first.refresh_token).await.unwrap();
    let third = auth.refresh(&second.refresh_token).await.unwrap();
    assert_eq!(outcome(auth.refresh(&first.refresh_token).await), "Revoked");
    assert_eq!(outcome(auth.refresh(&third.refresh_token).await), "Revoked");
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let auth = on(store().await).await;
    let session = login(&auth, "admin", "secret").await.unwrap();
    for text in ["", ".", "a", ".a", "a'b.c", "a\0b.c", &format!("{}.x", "a".repeat(200)), &session.token] {
        assert_eq!(outcome(auth.refresh(text).await), "Invalid", "{text}");
    }
    assert_eq!(outcome(auth.refresh("unknown.secret").await), "Revoked");
    assert_eq!(name_of(auth.authenticate(&bearing(&session.refresh_token))), "Invalid");
}

#[tokio::test]
async fn a_session_that_is_ended_stops_at_once_also_where_its_token_was_seen_before() {
    let auth = on(store().await).await;
    let [one, two] = [login(&auth, "admin", "secret").await.unwrap(), login(&auth, "admin", "secret").await.unwrap()];
    assert_eq!(name_of(auth.authenticate(&bearing(&one.token))), "admin");
    auth.end(id_of(&one)).await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&one.token))), "Revoked");
    assert_eq!(outcome(auth.refresh(&one.refresh_token).await), "Revoked");
    assert_eq!(name_of(auth.authenticate(&bearing(&two.token))), "admin", "the other one goes on");
    auth.end(id_of(&one)).await.unwrap();
}

#[tokio::test]
async fn a_session_that_another_process_ends_stops_here_too() {
    let store = store().await;
    let (here, there) = (on(store.clone()).await, on(store).await);
    let session = login(&here, "admin", "secret").await.unwrap();
    assert_eq!(name_of(there.authenticate(&bearing(&session.token))), "admin");
    here.end(id_of(&session)).await.unwrap();
    there.follow().await.unwrap();
    assert_eq!(name_of(there.authenticate(&bearing(&session.token))), "Revoked");
}

#[tokio::test]
async fn a_process_hears_of_changes_by_itself() {
    let store = store().await;
    let (here, there) = (on(store.clone()).await, std::sync::Arc::new(on(store).await));
    let session = login(&here, "admin", "secret").await.unwrap();
    let tending = tokio::spawn({
        let there = there.clone();
        async move { there.tend().await }
    });
    here.end(id_of(&session)).await.unwrap();
    let stopped = async {
        while there.authenticate(&bearing(&session.token)).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stopped).await.unwrap();
    tending.abort();
}

#[tokio::test]
async fn all_sessions_of_a_user_end_together() {
    let auth = on(store().await).await;
    let sessions = [login(&auth, "admin", "secret").await.unwrap(), login(&auth, "admin", "secret").await.unwrap()];
    auth.end_all("admin").await.unwrap();
    for session in sessions {
        assert_eq!(name_of(auth.authenticate(&bearing(&session.token))), "Revoked");
        assert_eq!(outcome(auth.refresh(&session.refresh_token).await), "Revoked");
    }
    let after = login(&auth, "admin", "secret").await.unwrap();
    assert_eq!(name_of(auth.authenticate(&bearing(&after.token))), "admin");
    assert_eq!(auth.sessions(None, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn sessions_are_listed_with_where_they_come_from() {
    let auth = on(store().await).await;
    let session = login(&auth, "admin", "secret").await.unwrap();
    let ended = login(&auth, "admin", "secret").await.unwrap();
    auth.end(id_of(&ended)).await.unwrap();
    let listed = auth.sessions(Some("admin"), Some(id_of(&session))).await.unwrap();
    let [info] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((info.id.as_str(), info.is_current), (id_of(&session), true));
    assert_eq!((info.address.as_str(), info.user_agent.as_deref()), ("127.0.0.1", Some("test")));
    assert_eq!(auth.sessions(Some("bob"), None).await.unwrap(), []);
    assert_eq!(auth.session_owner(id_of(&session)).await.unwrap().as_deref(), Some("admin"));
    assert_eq!(auth.session_owner("other").await.unwrap(), None);
}

#[tokio::test]
async fn a_session_has_an_end_that_no_refresh_moves() {
    let short = AuthSettings { session_ttl: Duration::from_secs(1), ..settings() };
    let auth = Authenticator::with_hashing(store().await, short, cheap()).await.unwrap();
    auth.ensure_admin(Some("secret")).await.unwrap();
    let session = login(&auth, "admin", "secret").await.unwrap();
    assert_eq!(session.expires_at, session.session_expires_at, "its token ends with it");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(outcome(auth.refresh(&session.refresh_token).await), "Revoked");
    assert_eq!(auth.sessions(None, None).await.unwrap(), []);
}

#[tokio::test]
async fn what_has_ended_is_forgotten_and_what_goes_on_is_not() {
    let store = store().await;
    let auth = on(store.clone()).await;
    let [ended, kept] =
        [login(&auth, "admin", "secret").await.unwrap(), login(&auth, "admin", "secret").await.unwrap()];
    auth.end(id_of(&ended)).await.unwrap();
    let count = async |kind| store.records(kind).await.unwrap().len();
    auth.forget_sessions(Timestamp::now()).await.unwrap();
    assert_eq!((count(RecordKind::Session).await, count(RecordKind::RevokedSession).await), (2, 1));
    let later = Timestamp::now() + Duration::from_secs(2 * 3600);
    auth.forget_sessions(later).await.unwrap();
    assert_eq!((count(RecordKind::Session).await, count(RecordKind::RevokedSession).await), (1, 0));
    assert_eq!(outcome(auth.refresh(&kept.refresh_token).await), "admin");
}

#[tokio::test]
async fn an_overlong_user_agent_is_cut() {
    let auth = on(store().await).await;
    let origin = crate::Origin { user_agent: Some("ü".repeat(10_000)), ..origin() };
    auth.login("admin", "secret", &origin).await.unwrap();
    let agent = auth.sessions(None, None).await.unwrap().remove(0).user_agent.unwrap();
    assert_eq!(agent.len(), 200);
}
