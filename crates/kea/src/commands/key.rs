//! `kea key`: API keys for programs.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use kea_core::{
    management::{KeyInfo, KeyRequest, NewKey},
    policy::PolicyName,
    quantity::Span,
};
use serde_json::json;

use super::{Session, auth::listed, or_dash, time};
use crate::{failure::Failure, output::table, progress::note};

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key, and show it once
    Create(CreateArgs),
    /// List keys
    List(ListArgs),
    /// Revoke a key
    Revoke(RevokeArgs),
}

/// A key to be made.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What it is for
    name: String,
    /// A role of it, of yours; can be repeated [default: all of yours]
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<PolicyName>,
    /// A permission to which it is confined, as `predict:grades/get_grades`; can be repeated
    #[arg(long = "scope", value_name = "PERMISSION")]
    scopes: Vec<String>,
    /// How long it is good for, as `720h` [default: until it is revoked]
    #[arg(long, value_name = "SPAN")]
    expires: Option<Span>,
    /// Whose it is [default: yours]
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
}

/// Whose keys are listed.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Those of this user [default: your own]
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Those of all users
    #[arg(long, conflicts_with = "owner")]
    all: bool,
}

/// Which key goes.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its identifier, as `kea key list` shows it
    id: String,
}

pub(crate) async fn run(session: &Session, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => create(session, args).await,
        KeyCommand::List(args) => list(session, args).await,
        KeyCommand::Revoke(args) => revoke(session, args).await,
    }
}

async fn create(session: &Session, args: CreateArgs) -> Result<(), Failure> {
    let CreateArgs { name, roles, scopes, expires, owner } = args;
    let end = |Span(span)| Timestamp::now().checked_add(span);
    let expires_at = expires.map(end).transpose().map_err(|error| Failure::Usage(format!("`--expires`: {error}")))?;
    let (roles, scopes) = ((!roles.is_empty()).then_some(roles), (!scopes.is_empty()).then_some(scopes));
    let request = KeyRequest { name, owner, roles, scopes, expires_at };
    let answer = session.client.post(&["auth", "keys"], &request).await?;
    if !session.output.is_json() {
        note("this is the key; it is not shown again");
    }
    session.output.answer(&answer, |made: &NewKey| made.key.clone())
}

async fn list(session: &Session, args: ListArgs) -> Result<(), Failure> {
    let all = args.all.then_some(("all", "true"));
    let query: Vec<_> = args.owner.iter().map(|owner| ("owner", owner.as_str())).chain(all).collect();
    let answer = session.client.get(&["auth", "keys"], &query).await?;
    let header = ["ID", "NAME", "OWNER", "ROLES", "SCOPES", "ENDS", "USED"];
    session.output.answer(&answer, |keys: &Vec<KeyInfo>| table(&header, keys.iter().map(row)))
}

fn row(key: &KeyInfo) -> Vec<String> {
    vec![
        key.id.clone(),
        key.name.clone(),
        key.owner.clone(),
        listed(&key.roles),
        or_dash(key.scopes.as_deref().map(listed)),
        or_dash(key.expires_at.map(time)),
        or_dash(key.last_used_at.map(time)),
    ]
}

async fn revoke(session: &Session, args: RevokeArgs) -> Result<(), Failure> {
    session.client.delete(&["auth", "keys", &args.id], &[]).await?;
    session.output.result(&json!({"keyId": args.id}), &format!("key {} is revoked", args.id))
}
