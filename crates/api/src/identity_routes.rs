//! Operations of the Authenticator: sessions, users and keys.

use http::StatusCode;
use kea_core::{
    management::{
        KeyInfo, KeyRequest, KeySet, LoginRequest, LoginResponse, Me, NewKey, PasswordRequest, RefreshRequest,
        SessionInfo, SigningKeyInfo, UserChange, UserInfo, UserRequest,
    },
    policy::Verb as Permit,
};
use serde_json::json;

use crate::{
    api_keys,
    operation::{Access, Needs, Operation, Route, Tag, Verb},
    routes::{delete, get, path, post},
    sessions, users,
};

const TAG: Tag = Tag::Authenticator;

const REFUSED: StatusCode = StatusCode::UNAUTHORIZED;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
const CONFLICT: StatusCode = StatusCode::CONFLICT;
const THROTTLED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

pub(crate) fn all() -> Vec<Route> {
    [logins(), own(), sessions(), users(), keys(), signing_keys()].into_iter().flatten().collect()
}

fn logins() -> Vec<Route> {
    let tokens = "A token, to be sent as `Authorization: Bearer TOKEN`.";
    vec![
        post(TAG, "/auth/login", "login")
            .summary("Log in")
            .access(Access::Open)
            .takes::<LoginRequest>(json!({"username": "admin", "password": "a password"}))
            .answers::<LoginResponse>(StatusCode::OK, tokens)
            .also(&[REFUSED, THROTTLED])
            .by(sessions::login),
        post(TAG, "/auth/refresh", "refreshSession")
            .summary("Exchange a refresh token for the next tokens")
            .description(
                "A refresh token is good once, and within ten seconds again for a client that has missed the answer. \
                 One that comes later is a copy in other hands: the session ends.",
            )
            .access(Access::Open)
            .takes::<RefreshRequest>(json!({"refreshToken": "SESSION.SECRET"}))
            .answers::<LoginResponse>(StatusCode::OK, tokens)
            .also(&[REFUSED])
            .by(sessions::refresh),
    ]
}

fn own() -> Vec<Route> {
    vec![
        post(TAG, "/auth/logout", "logout")
            .needs(Needs::Nothing)
            .summary("End the session")
            .answers_nothing(StatusCode::NO_CONTENT, "Its tokens are refused from now on.")
            .header(sessions::PROVIDER_LOGOUT, "Where the provider's session ends, after a login by a provider.")
            .also(&[CONFLICT])
            .by(sessions::logout),
        get(TAG, "/auth/me", "whoAmI")
            .needs(Needs::Nothing)
            .summary("Tell who asks")
            .answers::<Me>(StatusCode::OK, "The caller, with the roles of this moment.")
            .by(sessions::me),
        post(TAG, "/auth/password", "changePassword")
            .needs(Needs::Nothing)
            .summary("Change one's own password")
            .description("All sessions of the user end. The answer begins a new one.")
            .takes::<PasswordRequest>(json!({"oldPassword": "a password", "newPassword": "another password"}))
            .answers::<LoginResponse>(StatusCode::OK, "Tokens of a new session.")
            .also(&[THROTTLED, CONFLICT])
            .by(sessions::password),
    ]
}

fn sessions() -> Vec<Route> {
    vec![
        get(TAG, "/auth/sessions", "listSessions")
            .needs(Needs::Nothing)
            .summary("List sessions")
            .description("One's own, or with the permission `users` those of a user or of all.")
            .query::<sessions::SessionQuery>()
            .answers::<Vec<SessionInfo>>(StatusCode::OK, "Sessions that go on, the latest first.")
            .also(&[FORBIDDEN])
            .by(sessions::list),
        delete(TAG, "/auth/sessions", "endSessions")
            .needs(Needs::Nothing)
            .summary("End all sessions of a user")
            .query::<sessions::UserQuery>()
            .answers_nothing(StatusCode::NO_CONTENT, "Their tokens are refused from now on.")
            .also(&[FORBIDDEN, StatusCode::NOT_FOUND])
            .by(sessions::end_all),
        delete(TAG, "/auth/sessions/{sessionId}", "endSession")
            .needs(Needs::Nothing)
            .summary("End a session")
            .answers_nothing(StatusCode::NO_CONTENT, "Its tokens are refused from now on.")
            .also(&[FORBIDDEN])
            .by(sessions::end),
    ]
}

fn users() -> Vec<Route> {
    vec![
        get(TAG, "/users", "listUsers")
            .needs(Needs::OfKea(Permit::Users))
            .summary("List the users")
            .answers::<Vec<UserInfo>>(StatusCode::OK, "All users, by name.")
            .by(users::list),
        post(TAG, "/users", "createUser")
            .needs(Needs::OfKea(Permit::Users))
            .summary("Make a user")
            .takes::<UserRequest>(json!({"username": "ada", "password": "a password", "roles": ["engineer"]}))
            .answers::<UserInfo>(StatusCode::CREATED, "The user.")
            .header("Location", "Path of the user.")
            .also(&[CONFLICT])
            .by(users::create),
        get(TAG, "/users/{username}", "getUser")
            .needs(Needs::Nothing)
            .summary("Tell about a user")
            .answers::<UserInfo>(StatusCode::OK, "The user.")
            .also(&[FORBIDDEN])
            .by(users::get),
        Operation::new(Verb::Put, path("/users/{username}"), TAG, "changeUser")
            .needs(Needs::OfKea(Permit::Users))
            .summary("Change a user")
            .description("Changes what the request names and nothing else.")
            .takes::<UserChange>(json!({"roles": ["engineer"], "disabled": false}))
            .answers::<UserInfo>(StatusCode::OK, "The user from now on.")
            .also(&[CONFLICT])
            .by(users::change),
        delete(TAG, "/users/{username}", "deleteUser")
            .needs(Needs::OfKea(Permit::Users))
            .summary("Remove a user")
            .answers_nothing(StatusCode::NO_CONTENT, "Their sessions end, and their API keys are gone.")
            .also(&[CONFLICT])
            .by(users::delete),
    ]
}

fn keys() -> Vec<Route> {
    let example = json!({"name": "nightly scores", "roles": ["consumer"], "scopes": ["predict:grades/get_grades"]});
    vec![
        get(TAG, "/auth/keys", "listKeys")
            .needs(Needs::Nothing)
            .summary("List API keys")
            .description("One's own, or with the permission `keys` those of an owner or of all.")
            .query::<api_keys::KeyQuery>()
            .answers::<Vec<KeyInfo>>(StatusCode::OK, "The keys without their secrets, by name.")
            .also(&[FORBIDDEN])
            .by(api_keys::list),
        post(TAG, "/auth/keys", "createKey")
            .needs(Needs::Nothing)
            .summary("Make an API key for a program")
            .takes::<KeyRequest>(example)
            .answers::<NewKey>(StatusCode::CREATED, "The key, which is not shown again.")
            .also(&[FORBIDDEN, StatusCode::NOT_FOUND, CONFLICT])
            .by(api_keys::create),
        delete(TAG, "/auth/keys/{keyId}", "revokeKey")
            .needs(Needs::Nothing)
            .summary("Revoke an API key")
            .answers_nothing(StatusCode::NO_CONTENT, "It is refused from now on.")
            .also(&[FORBIDDEN])
            .by(api_keys::revoke),
    ]
}

fn signing_keys() -> Vec<Route> {
    vec![
        post(TAG, "/auth/signing-keys/rotate", "rotateSigningKeys")
            .needs(Needs::OfKea(Permit::Keys))
            .summary("Make a new signing key")
            .description("It signs in a few seconds. Tokens that are out stay good until they end.")
            .answers::<SigningKeyInfo>(StatusCode::OK, "The new key.")
            .by(sessions::rotate),
        Operation::new(Verb::Get, "/.well-known/jwks.json", TAG, "getPublicKeys")
            .summary("The public keys by which tokens are checked")
            .access(Access::Open)
            .answers::<KeySet>(StatusCode::OK, "A JSON Web Key Set.")
            .by(sessions::public_keys),
    ]
}
