//! `kea user`: users, for those who administer, and one's own password.

use clap::{Args, Subcommand};
use kea_core::{
    management::{PasswordRequest, UserChange, UserInfo, UserRequest},
    policy::PolicyName,
    who::Username,
};
use serde_json::json;

use super::{Session, auth::listed, login, time};
use crate::{failure::Failure, output::table};

/// What is done with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List the users
    List,
    /// Make a user
    Create(CreateArgs),
    /// Keep a user from logging in, and end their sessions
    Disable(NameArgs),
    /// Let a user log in again
    Enable(NameArgs),
    /// Remove a user, with their API keys
    Delete(NameArgs),
    /// Change your own password, or set that of another user
    Password(PasswordArgs),
    /// Set the roles of a user
    Roles(RolesArgs),
}

/// Which user.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The user
    username: String,
}

/// A user to be made.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The name to log in with
    username: Username,
    /// A role of theirs; can be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<PolicyName>,
    /// Read the password from standard input; else it is taken from KEA_NEW_PASSWORD, else asked for
    #[arg(long)]
    password_stdin: bool,
}

/// Whose password.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// The user [default: yourself]
    username: Option<String>,
    /// Read the new password from standard input; else it is taken from KEA_NEW_PASSWORD, else asked for. Your own
    /// password until now is taken from KEA_PASSWORD, else asked for
    #[arg(long)]
    password_stdin: bool,
}

/// Which roles.
#[derive(Debug, Args)]
pub(crate) struct RolesArgs {
    /// The user
    username: String,
    /// Their roles from now on, beside those of their groups at a provider; none takes all of them away
    roles: Vec<PolicyName>,
}

pub(crate) async fn run(session: &Session, command: UserCommand) -> Result<(), Failure> {
    let change = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    match command {
        UserCommand::List => list(session).await,
        UserCommand::Create(args) => create(session, args).await,
        UserCommand::Disable(args) => set(session, &args.username, change(true), "is disabled").await,
        UserCommand::Enable(args) => set(session, &args.username, change(false), "is enabled").await,
        UserCommand::Delete(args) => delete(session, &args.username).await,
        UserCommand::Password(args) => password(session, args).await,
        UserCommand::Roles(RolesArgs { username, roles }) => {
            let change = UserChange { roles: Some(roles), ..UserChange::default() };
            set(session, &username, change, "has these roles").await
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let answer = session.client.get(&["users"], &[]).await?;
    let header = ["NAME", "FROM", "ROLES", "GROUPS", "STATE", "MADE"];
    session.output.answer(&answer, |users: &Vec<UserInfo>| table(&header, users.iter().map(row)))
}

fn row(user: &UserInfo) -> Vec<String> {
    let state = if user.disabled { "disabled" } else { "enabled" };
    let from = user.provider.as_deref().unwrap_or("here");
    let (roles, groups) = (listed(&user.roles), listed(&user.groups));
    vec![user.username.clone(), from.into(), roles, groups, state.into(), time(user.created_at)]
}

async fn create(session: &Session, args: CreateArgs) -> Result<(), Failure> {
    let CreateArgs { username, roles, password_stdin } = args;
    let password = login::new_password(password_stdin, &format!("Password of {username}: "))?;
    let answer = session.client.post(&["users"], &UserRequest { username, password, roles }).await?;
    session.output.answer(&answer, |user: &UserInfo| format!("made {} ({})", user.username, listed(&user.roles)))
}

async fn set(session: &Session, username: &str, change: UserChange, done: &str) -> Result<(), Failure> {
    let answer = session.client.put(&["users", username], &change).await?;
    session.output.answer(&answer, |user: &UserInfo| match change.roles {
        Some(_) => format!("{username} {done}: {}", listed(&user.roles)),
        None => format!("{username} {done}"),
    })
}

async fn delete(session: &Session, username: &str) -> Result<(), Failure> {
    session.client.delete(&["users", username], &[]).await?;
    session.output.result(&json!({"username": username}), &format!("{username} is removed"))
}

async fn password(session: &Session, args: PasswordArgs) -> Result<(), Failure> {
    if let Some(username) = args.username {
        let password = login::new_password(args.password_stdin, &format!("New password of {username}: "))?;
        let change = UserChange { password: Some(password), ..UserChange::default() };
        return set(session, &username, change, "has a new password").await;
    }
    let old_password = login::old_password()?;
    let new_password = login::new_password(args.password_stdin, "Your new password: ")?;
    let answer = session.client.post(&["auth", "password"], &PasswordRequest { old_password, new_password }).await?;
    login::keep_renewed(session, answer.read()?)?;
    session.output.result(&json!({}), "your password is changed, and your other sessions have ended")
}
