//! Who one is, sessions, and the keys that sign tokens.

use clap::Args;
use kea_core::management::{Me, SessionInfo, SigningKeyInfo};
use serde_json::json;

use super::super::{Session, or_dash, time};
use crate::{
    failure::Failure,
    output::{pairs, table},
};

/// Whose sessions are listed.
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    /// Those of this user [default: your own]
    #[arg(long)]
    username: Option<String>,
    /// Those of all users
    #[arg(long, conflicts_with = "username")]
    all: bool,
}

/// Which sessions end.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct EndArgs {
    /// The session, as `kea auth sessions` shows it
    id: Option<String>,
    /// All sessions of this user
    #[arg(long)]
    username: Option<String>,
}

pub(super) async fn whoami(session: &Session) -> Result<(), Failure> {
    let answer = session.client.get(&["auth", "me"], &[]).await?;
    session.output.answer(&answer, |me: &Me| {
        pairs([
            ("user", me.username.clone()),
            ("roles", listed(&me.roles)),
            ("groups", listed(&me.groups)),
            ("key", or_dash(me.key_id.clone())),
            ("scopes", or_dash(me.scopes.as_deref().map(listed))),
            ("server", session.client.server().to_string()),
        ])
    })
}

pub(super) async fn sessions(session: &Session, args: SessionsArgs) -> Result<(), Failure> {
    let all = args.all.then_some(("all", "true"));
    let query: Vec<_> = args.username.iter().map(|username| ("username", username.as_str())).chain(all).collect();
    let answer = session.client.get(&["auth", "sessions"], &query).await?;
    let header = ["ID", "USER", "BEGAN", "USED", "ENDS", "ADDRESS", "CLIENT"];
    session.output.answer(&answer, |sessions: &Vec<SessionInfo>| table(&header, sessions.iter().map(row)))
}

fn row(session: &SessionInfo) -> Vec<String> {
    let mark = if session.is_current { " (this one)" } else { "" };
    vec![
        session.id.clone(),
        format!("{}{mark}", session.username),
        time(session.created_at),
        time(session.used_at),
        time(session.expires_at),
        session.address.clone(),
        or_dash(session.user_agent.clone()),
    ]
}

pub(super) async fn end(session: &Session, args: EndArgs) -> Result<(), Failure> {
    let (what, ended) = match (&args.id, &args.username) {
        (Some(id), _) => {
            session.client.delete(&["auth", "sessions", id], &[]).await?;
            (json!({"sessionId": id}), format!("session {id} has ended"))
        }
        (None, username) => {
            let username = username.as_deref().unwrap_or_default();
            session.client.delete(&["auth", "sessions"], &[("username", username)]).await?;
            (json!({"username": username}), format!("all sessions of {username} have ended"))
        }
    };
    session.output.result(&what, &ended)
}

pub(super) async fn rotate(session: &Session) -> Result<(), Failure> {
    let answer = session.client.post_empty(&["auth", "signing-keys", "rotate"]).await?;
    session.output.answer(&answer, |key: &SigningKeyInfo| format!("{} signs in a few seconds", key.id))
}

/// Names in a table.
pub(in super::super) fn listed(names: &[String]) -> String {
    if names.is_empty() { "-".into() } else { names.join(", ") }
}
