//! `kea login`, `kea logout` and `kea token`.

use std::io::{self, IsTerminal};

use clap::Args;
use kea_core::management::{LoginRequest, LoginResponse};
use serde_json::json;

use super::{Session, server_of, time};
use crate::{
    cli::Global,
    client::{Client, ServerUrl},
    credentials::{Credentials, Login},
    failure::Failure,
    output::Output,
};

/// Where the password is found where nobody is there to type it.
const PASSWORD_VARIABLE: &str = "KEA_PASSWORD";

/// Who logs in, and where.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The KEA to log in to [default: --server, else that of the last login, else http://127.0.0.1:8080]
    url: Option<ServerUrl>,
    /// The user
    #[arg(short, long, default_value = "admin")]
    username: String,
    /// Read the password from standard input; else it is taken from KEA_PASSWORD, else asked for
    #[arg(long)]
    password_stdin: bool,
}

/// Which token is to be forgotten.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The KEA to log out of [default: --server, else that of the last login]
    url: Option<ServerUrl>,
}

/// Asks for a token and keeps it.
pub(crate) async fn login(global: &Global, output: Output, args: LoginArgs) -> Result<(), Failure> {
    let mut credentials = Credentials::open()?;
    let server = args.url.clone().unwrap_or_else(|| server_of(global, &credentials));
    let password = password(&args, &server)?;
    let client = Client::new(server.clone(), None)?;
    let request = LoginRequest { username: args.username.clone(), password };
    let answer = client.post(&["auth", "login"], &request).await.map_err(wrong_password)?;
    let LoginResponse { token, expires_at } = answer.read()?;
    credentials.keep(&server, Login { username: args.username.clone(), token, expires_at })?;
    let result = json!({"server": server.to_string(), "username": args.username, "expiresAt": expires_at});
    output.result(&result, &format!("logged in to {server} as {} until {}", args.username, time(expires_at)))
}

/// Forgets a token.
pub(crate) fn logout(global: &Global, output: Output, args: LogoutArgs) -> Result<(), Failure> {
    let mut credentials = Credentials::open()?;
    let server = args.url.unwrap_or_else(|| server_of(global, &credentials));
    let was_logged_in = credentials.forget(&server)?;
    let sentence = match was_logged_in {
        true => format!("logged out of {server}"),
        false => format!("there was no login at {server}"),
    };
    output.result(&json!({"server": server.to_string(), "wasLoggedIn": was_logged_in}), &sentence)
}

/// Prints the token that commands use.
pub(crate) fn token(session: &Session) -> Result<(), Failure> {
    let server = session.client.server();
    let Some(token) = session.client.token() else {
        return Err(Failure::NoLogin(server.clone()));
    };
    session.output.result(&json!({"token": token}), token)
}

fn password(args: &LoginArgs, server: &ServerUrl) -> Result<String, Failure> {
    if args.password_stdin {
        return first_line(&io::read_to_string(io::stdin())?);
    }
    match std::env::var(PASSWORD_VARIABLE) {
        Ok(password) if !password.is_empty() => Ok(password),
        _ if !io::stdin().is_terminal() => Err(Failure::NoPassword),
        _ => Ok(rpassword::prompt_password(format!("Password of {} at {server}: ", args.username))?),
    }
}

/// A file ends with a line break that is no part of the password.
fn first_line(text: &str) -> Result<String, Failure> {
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.into()),
        _ => Err(Failure::NoPassword),
    }
}

/// Who cannot log in is not helped by being told to log in.
fn wrong_password(failure: Failure) -> Failure {
    match failure {
        Failure::LoginNeeded { problem, .. } => Failure::Refused(problem),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_line_is_no_part_of_the_password() {
        assert_eq!(first_line("pass word\r\n").unwrap(), "pass word");
        assert_eq!(first_line(" x").unwrap(), " x");
        assert!(first_line("").is_err() && first_line("\n").is_err());
    }
}
