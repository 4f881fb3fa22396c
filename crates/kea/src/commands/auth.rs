//! `kea auth`: who may do what, who one is, and which sessions there are.

mod policy;
mod sessions;

use clap::Subcommand;

pub(super) use self::sessions::listed;
use self::{
    policy::{ApplyArgs, CanIArgs, GrantArgs, NamedArgs},
    sessions::{EndArgs, SessionsArgs},
};
use super::Session;
use crate::failure::Failure;

/// What is asked of the Authenticator.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Tell who you are, with your roles
    Whoami,
    /// Ask what is allowed: exits with 0 where it is, with 1 where it is not
    #[command(override_usage = "kea auth can-i [USER] VERB [SERVICE[/FUNCTION]]")]
    CanI(CanIArgs),
    /// List the roles, or show or delete one
    Roles(NamedArgs),
    /// List the bindings, or show or delete one
    Bindings(NamedArgs),
    /// Make or change what Role and RoleBinding documents say
    Apply(ApplyArgs),
    /// Give a role to a user, a group or an API key
    Grant(GrantArgs),
    /// Take a role away from a user, a group or an API key
    Revoke(GrantArgs),
    /// List sessions
    Sessions(SessionsArgs),
    /// End a session, or all of a user's
    EndSession(EndArgs),
    /// Make a new key that signs tokens; nobody is logged out
    RotateKeys,
}

/// Runs one of them.
pub(crate) async fn run(session: &Session, command: AuthCommand) -> Result<(), Failure> {
    match command {
        AuthCommand::Whoami => sessions::whoami(session).await,
        AuthCommand::CanI(args) => policy::can_i(session, &args.words).await,
        AuthCommand::Roles(args) => policy::roles(session, args).await,
        AuthCommand::Bindings(args) => policy::bindings(session, args).await,
        AuthCommand::Apply(args) => policy::apply(session, &args).await,
        AuthCommand::Grant(args) => policy::grant(session, args.role, args.subject.subject()).await,
        AuthCommand::Revoke(args) => policy::revoke(session, &args.role, &args.subject.subject()).await,
        AuthCommand::Sessions(args) => sessions::sessions(session, args).await,
        AuthCommand::EndSession(args) => sessions::end(session, args).await,
        AuthCommand::RotateKeys => sessions::rotate(session).await,
    }
}
