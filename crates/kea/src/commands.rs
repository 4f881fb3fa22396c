//! The commands of people who use KEA: each makes a request or two, and shows the answer.

pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod docs;
mod example;
mod functions;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod methods;
mod model_options;
pub(crate) mod predict;
pub(crate) mod service;
mod status;
pub(crate) mod update;
pub(crate) mod user;
mod versions;
mod wait;

use std::{process::ExitCode, time::Duration};

use jiff::Timestamp;

use crate::{
    cli::{ClientCommand, Global},
    client::{Client, ServerUrl, Tokens},
    credentials::Credentials,
    failure::Failure,
    output::Output,
    progress::note,
};

/// How long work that was given up may take to notice it.
const GIVEN_UP: Duration = Duration::from_secs(2);

/// Runs one command to its end.
pub(crate) fn run(global: &Global, command: ClientCommand) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(&Failure::Io(error)),
    };
    let done = runtime.block_on(Box::pin(dispatch(global, command)));
    // What still works on another thread was given up, and need not be waited for long.
    runtime.shutdown_timeout(GIVEN_UP);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => tell(&failure),
    }
}

async fn dispatch(global: &Global, command: ClientCommand) -> Result<(), Failure> {
    let output = || global.output.format().map(Output::new);
    match command {
        ClientCommand::Audit(args) => args.run(output()?, || Session::open(global)).await,
        ClientCommand::Build(args) => build::run(&global.output, *args).await,
        ClientCommand::Login(args) => login::login(global, output()?, args).await,
        ClientCommand::Logout(args) => login::logout(global, output()?, args).await,
        ClientCommand::Token => login::token(&Session::open(global)?).await,
        ClientCommand::Auth(command) => auth::run(&Session::open(global)?, command).await,
        ClientCommand::User(command) => user::run(&Session::open(global)?, command).await,
        ClientCommand::Key(command) => key::run(&Session::open(global)?, command).await,
        ClientCommand::Init(args) => init::run(output()?, &args),
        ClientCommand::Deploy(args) => deploy::run(&Session::open(global)?, *args).await,
        ClientCommand::List => list::run(&Session::open(global)?).await,
        ClientCommand::Get(args) => service::run(&Session::open(global)?, &args).await,
        ClientCommand::Status(args) => status::run(&Session::open(global)?, &args).await,
        ClientCommand::Methods(args) => methods::run(&Session::open(global)?, &args).await,
        ClientCommand::Diff(args) => diff::run(&Session::open(global)?, *args).await,
        ClientCommand::Docs(args) => docs::run(output()?, || Session::open(global), &args).await,
        ClientCommand::Client(args) => client::run(&Session::open(global)?, &args).await,
        ClientCommand::Logs(args) => logs::run(&Session::open(global)?, &args).await,
        ClientCommand::Predict(args) => predict::run(&Session::open(global)?, args).await,
        ClientCommand::Cache(command) => cache::run(&Session::open(global)?, &command).await,
        ClientCommand::Scale(args) => update::scale(&Session::open(global)?, &args).await,
        ClientCommand::Update(args) => update::update(&Session::open(global)?, *args).await,
        ClientCommand::Rollback(args) => update::rollback(&Session::open(global)?, &args).await,
        ClientCommand::Versions(args) => versions::run(&Session::open(global)?, &args).await,
        ClientCommand::Delete(args) => delete::run(&Session::open(global)?, &args).await,
        ClientCommand::Completions(args) => completions::run(output()?, &args),
    }
}

/// Tells why a command did not succeed.
pub(crate) fn tell(failure: &Failure) -> ExitCode {
    if !failure.is_silent() {
        note(&format!("error: {failure}"));
    }
    failure.exit_code()
}

/// A server to ask, as a user or as nobody, and where to show the answer.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) output: Output,
    /// How a shell gets the token, for lines to be pasted: a token itself is never shown unasked.
    pub(crate) token_in_shell: String,
}

impl Session {
    /// What the command line says, completed by the saved logins.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let output = Output::new(global.output.format()?);
        if let Some(token) = &global.token {
            // The saved logins need not be readable, nor even exist, where nothing of them is used.
            let server =
                global.server.clone().map_or_else(|| Ok(server_of(global, &Credentials::open()?)), Ok::<_, Failure>)?;
            let client = Client::new(server, Tokens::Given(token.clone()))?;
            return Ok(Self { client, output, token_in_shell: "$KEA_TOKEN".into() });
        }
        let credentials = Credentials::open()?;
        let server = server_of(global, &credentials);
        let tokens = Tokens::saved(credentials.at(&server));
        let is_default = credentials.last_server().as_ref() == Some(&server);
        let option = if is_default { String::new() } else { format!(" --server {server}") };
        let token_in_shell = format!("$({} token{option})", program());
        Ok(Self { client: Client::new(server, tokens)?, output, token_in_shell })
    }
}

/// This program as it was called, where that was by its path.
fn program() -> String {
    let called = std::env::args().next().filter(|name| name.contains('/'));
    called.unwrap_or_else(|| "kea".into())
}

/// The server that is meant: the one named, else the one of the last login, else this machine's.
fn server_of(global: &Global, credentials: &Credentials) -> ServerUrl {
    global.server.clone().or_else(|| credentials.last_server()).unwrap_or_default()
}

/// A time in a table.
fn time(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A value that may not be known yet, in a table.
fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}
