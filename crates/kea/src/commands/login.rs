//! `kea login`, `kea logout` and `kea token`.

mod sso;

use std::io::{self, IsTerminal};

use clap::Args;
use kea_auth::oidc::ProviderName;
use kea_core::management::{LoginRequest, LoginResponse};
use serde_json::json;

use super::{Session, server_of, time};
use crate::{
    cli::Global,
    client::{Client, ServerUrl, Tokens},
    credentials::Credentials,
    failure::Failure,
    output::Output,
    progress::note,
};

/// Where the password is found where nobody is there to type it.
const PASSWORD_VARIABLE: &str = "KEA_PASSWORD";

/// Where a new password is found where nobody is there to type it.
const NEW_PASSWORD_VARIABLE: &str = "KEA_NEW_PASSWORD";

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
    /// Log in by single sign-on: by this provider, or by the only one there is
    #[arg(long, value_name = "PROVIDER", num_args = 0..=1, conflicts_with_all = ["username", "password_stdin"])]
    sso: Option<Option<ProviderName>>,
    /// Log in by a code that is typed on another machine, as is done where there is no browser
    #[arg(long, requires = "sso")]
    device: bool,
}

/// Which token is to be forgotten.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The KEA to log out of [default: --server, else that of the last login]
    url: Option<ServerUrl>,
}

/// Asks for a token and keeps it.
pub(crate) async fn login(global: &Global, output: Output, args: LoginArgs) -> Result<(), Failure> {
    let credentials = Credentials::open()?;
    let server = args.url.clone().unwrap_or_else(|| server_of(global, &credentials));
    let client = Client::new(server.clone(), Tokens::None)?;
    let answer = match &args.sso {
        Some(provider) => sso::login(&client, provider.as_ref(), args.device).await?,
        None => by_password(&client, &args).await?,
    };
    let (username, end) = (answer.username.clone(), answer.session_expires_at);
    Credentials::lock()?.keep(&server, answer.into())?;
    let result = json!({"server": server.to_string(), "username": username, "expiresAt": end});
    output.result(&result, &format!("logged in to {server} as {username} until {}", time(end)))
}

async fn by_password(client: &Client, args: &LoginArgs) -> Result<LoginResponse, Failure> {
    let password = password(args, client.server())?;
    let request = LoginRequest { username: args.username.clone(), password };
    client.post(&["auth", "login"], &request).await.map_err(wrong_password)?.read()
}

/// Ends the session, and forgets its tokens also where the server cannot be told.
pub(crate) async fn logout(global: &Global, output: Output, args: LogoutArgs) -> Result<(), Failure> {
    let credentials = Credentials::open()?;
    let server = args.url.unwrap_or_else(|| server_of(global, &credentials));
    if let Some(login) = credentials.at(&server) {
        let client = Client::new(server.clone(), Tokens::saved(Some(login)))?;
        match client.post_empty(&["auth", "logout"]).await {
            // It has ended already.
            Ok(_) | Err(Failure::LoginNeeded { .. }) => {}
            Err(failure) => note(&format!("the session could not be ended, and ends by itself: {failure}")),
        }
    }
    let was_logged_in = Credentials::lock()?.forget(&server)?;
    let sentence = match was_logged_in {
        true => format!("logged out of {server}"),
        false => format!("there was no login at {server}"),
    };
    output.result(&json!({"server": server.to_string(), "wasLoggedIn": was_logged_in}), &sentence)
}

/// Prints the token that commands use.
pub(crate) async fn token(session: &Session) -> Result<(), Failure> {
    let server = session.client.server();
    let Some(token) = session.client.token().await? else {
        return Err(Failure::NoLogin(server.clone()));
    };
    session.output.result(&json!({"token": token}), &token)
}

/// Keeps the tokens of a session that took the place of the one before; one that a token was given for is not kept.
pub(super) fn keep_renewed(session: &Session, answer: LoginResponse) -> Result<(), Failure> {
    let server = session.client.server();
    let mut credentials = Credentials::lock()?;
    if credentials.at(server).is_some_and(|login| login.username == answer.username) {
        credentials.renew(server, answer.into())?;
    }
    Ok(())
}

/// One's own password until now.
pub(super) fn old_password() -> Result<String, Failure> {
    from_variable_or_terminal(PASSWORD_VARIABLE, "Your password until now: ")
}

/// A password that is chosen; typed twice, since nobody sees it.
pub(super) fn new_password(from_stdin: bool, prompt: &str) -> Result<String, Failure> {
    if from_stdin {
        return first_line(&io::read_to_string(io::stdin())?);
    }
    let password = from_variable_or_terminal(NEW_PASSWORD_VARIABLE, prompt)?;
    let was_given = std::env::var(NEW_PASSWORD_VARIABLE).is_ok_and(|given| given == password);
    if was_given || rpassword::prompt_password("The same again: ")? == password {
        return Ok(password);
    }
    Err(Failure::Usage("the two passwords are not the same".into()))
}

fn from_variable_or_terminal(variable: &str, prompt: &str) -> Result<String, Failure> {
    match std::env::var(variable) {
        Ok(password) if !password.is_empty() => Ok(password),
        _ if !io::stdin().is_terminal() => Err(Failure::NoPassword { variable: variable.into() }),
        _ => Ok(rpassword::prompt_password(prompt)?),
    }
}

fn password(args: &LoginArgs, server: &ServerUrl) -> Result<String, Failure> {
    if args.password_stdin {
        return first_line(&io::read_to_string(io::stdin())?);
    }
    from_variable_or_terminal(PASSWORD_VARIABLE, &format!("Password of {} at {server}: ", args.username))
}

/// A file ends with a line break that is no part of the password.
fn first_line(text: &str) -> Result<String, Failure> {
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.into()),
        _ => Err(Failure::NoPassword { variable: PASSWORD_VARIABLE.into() }),
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
