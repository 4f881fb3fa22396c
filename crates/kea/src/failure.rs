//! Why a command did not succeed, told so that the reader knows what to do next.

use std::{fmt, io, path::PathBuf, process::ExitCode};

use kea_containerizer::BuildError;
use kea_core::{
    ServiceId,
    documents::DocumentError,
    management::{Problem, Violation},
};

use crate::{client::ServerUrl, commands::init::FolderNotEmpty, credentials::CredentialsError};

/// Exit code for a command line that cannot be meant, as clap's own.
const USAGE: u8 = 2;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nothing listens there.
    #[error("no KEA answers at {0}: start one with `kea serve`, or name another with --server")]
    Unreachable(ServerUrl),
    /// The connection was made and lost, or could not be used.
    #[error("the connection to {server} failed: {why}")]
    Transport { server: ServerUrl, why: String },
    /// KEA refused, and said why.
    #[error("{}", Told(.0))]
    Refused(Box<Problem>),
    /// KEA does not know who is asking.
    #[error("{}\nlog in with `kea login {server} --username admin`", Told(.problem))]
    LoginNeeded { server: ServerUrl, problem: Box<Problem> },
    /// What answered sends callers to another place.
    #[error("{server} sends to {location}: give that as --server if you trust it")]
    Redirected { server: ServerUrl, location: String },
    /// What answered is not KEA, or of another version.
    #[error("{server} answered {status} with what KEA does not answer: {excerpt}")]
    NotKea { server: ServerUrl, status: u16, excerpt: String },
    /// The answer is not what this command can read.
    #[error("the answer of the server cannot be read: {0}")]
    Unreadable(serde_json::Error),
    /// The service did not get to where it was asked to be.
    #[error("{service} could not be deployed: {reason}\nsee `kea status {service}` and `kea logs {service}`")]
    Deployment { service: ServiceId, reason: String },
    /// The service went away while it was waited for.
    #[error("{0} was deleted meanwhile")]
    Gone(ServiceId),
    /// Another change came in between, so that what was waited for will not be.
    #[error("{service} was changed meanwhile: {what}")]
    Overtaken { service: ServiceId, what: String },
    /// The command line cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// A login by a provider that did not succeed.
    #[error("you are not logged in: {0}")]
    NotLoggedIn(String),
    /// Nobody is logged in there.
    #[error("there is no login at {0}: log in with `kea login {0} --username admin`")]
    NoLogin(ServerUrl),
    /// There is no password, and nobody to ask for it.
    #[error("there is no password: set {variable}, pipe it into --password-stdin, or run this in a terminal")]
    NoPassword { variable: String },
    /// The inputs of a call cannot be sent.
    #[error("{0}")]
    Inputs(#[from] crate::commands::predict::InputsError),
    /// A model that is not there.
    #[error("there is no file or folder {}", .0.display())]
    NoSource(PathBuf),
    /// A service that is not there, whose name a file or folder has.
    #[error("there is no service `{0}`: for the file or folder of that name write `./{0}`")]
    PathMeant(ServiceId),
    /// A model that cannot be described as it lies there.
    #[error(transparent)]
    Describe(#[from] kea_openapi::describe::DescribeError),
    /// A model that says what it takes only once it is loaded.
    #[error(
        "`{path}` says what it takes only once it is loaded, which `kea docs` does not do: deploy it with `kea deploy {service} --source {path}`, then run `kea docs {service}`",
        path = path.display()
    )]
    NeedsRunning { path: PathBuf, service: ServiceId },
    /// A document that leaves things open.
    #[error("the document is not complete: {} could not be found out", things(*.0))]
    Incomplete(usize),
    /// A path that JSON cannot carry.
    #[error("the path {} is not UTF-8: rename it", .0.display())]
    NotText(PathBuf),
    /// Elasticsearch or Kibana refused.
    #[error(transparent)]
    Audit(#[from] kea_audit::AuditError),
    /// A folder without an audit trail.
    #[error("there is no audit trail in {}: name the folder of its files, `audit` in the data folder", .0.display())]
    NoTrail(PathBuf),
    /// An audit trail that is not as it was written.
    #[error("the audit trail is not as it was written: findings: {0}")]
    Tampered(usize),
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file is not YAML.
    #[error("{} is not YAML: {source}", .path.display())]
    Yaml { path: PathBuf, source: serde_yaml_ng::Error },
    /// A file's documents cannot be deployed.
    #[error("{}: {source}", .path.display())]
    Documents { path: PathBuf, source: DocumentError },
    /// A folder for a new model that has files already.
    #[error(transparent)]
    FolderNotEmpty(#[from] FolderNotEmpty),
    /// An image that could not be made or pushed.
    #[error("{} failed: {}{}", .0.step(), .0, Lines(.0.tail()))]
    Build(#[from] Box<BuildError>),
    /// A model that cannot be made to tell what it offers.
    #[error("the model cannot tell what it offers: {0}")]
    Model(String),
    /// The answer to a question is no, which has been shown.
    #[error("no")]
    No,
    /// Somebody pressed Ctrl-C.
    #[error("interrupted: nothing was left half done")]
    Interrupted,
    /// The saved logins.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Nobody reads the output any more.
    #[error("standard output is closed")]
    OutputClosed,
    /// Standard input or output failed.
    #[error("input or output failed: {0}")]
    Io(io::Error),
}

impl Failure {
    /// What the process exits with. A reader that has seen enough, as `head`, is no failure.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Usage(_) => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether there is something to tell.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::OutputClosed | Self::No)
    }

    /// Whether the server answered that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 404)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::OutputClosed } else { Self::Io(error) }
    }
}

fn things(number: usize) -> String {
    if number == 1 { "1 thing".into() } else { format!("{number} things") }
}

/// The last lines of a tool, each on one of its own.
struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// A problem as it is told: the sentence, each field that is wrong, and the id to look for in the log.
struct Told<'a>(&'a Problem);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The sentence names what is missing, too.
        let Problem { kind: _, title, status: _, detail, instance, errors, missing: _, changes } = self.0;
        match detail.as_str() {
            "" => write!(f, "{title}")?,
            detail => write!(f, "{title}: {detail}")?,
        }
        for Violation { pointer, expected, received, detail } in errors {
            let pointer = if pointer.is_empty() { "the body" } else { pointer };
            write!(f, "\n  {pointer}: expected {expected}, received {received}")?;
            if !detail.is_empty() {
                write!(f, " - {detail}")?;
            }
        }
        changes.iter().try_for_each(|change| write!(f, "\n  {change}"))?;
        match instance.as_str() {
            "" => Ok(()),
            id => write!(f, "\n  request id: {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Box<Problem> {
        Box::new(Problem {
            kind: "about:blank".into(),
            title: "Invalid inputs".into(),
            status: 400,
            detail: "1 field does not fit".into(),
            instance: "7f3a".into(),
            errors: vec![Violation {
                pointer: "/inputs/petal_width".into(),
                expected: "a number".into(),
                received: "\"wide\"".into(),
                detail: "write for example 0.2".into(),
            }],
            missing: None,
            changes: Vec::new(),
        })
    }

    #[test]
    fn a_problem_is_told_with_each_field_and_the_request_id() {
        let expected = "Invalid inputs: 1 field does not fit\n  \
            /inputs/petal_width: expected a number, received \"wide\" - write for example 0.2\n  \
            request id: 7f3a";
        assert_eq!(Failure::Refused(problem()).to_string(), expected);
    }

    #[test]
    fn who_is_not_known_is_told_how_to_log_in() {
        let server: ServerUrl = "http://kea.example:8080".parse().unwrap();
        let told = Failure::LoginNeeded { server, problem: problem() }.to_string();
        assert!(told.ends_with("log in with `kea login http://kea.example:8080 --username admin`"), "{told}");
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_silent());
        assert_eq!(failure.exit_code(), ExitCode::SUCCESS);
        assert_eq!(Failure::Usage(String::new()).exit_code(), ExitCode::from(2));
    }
}
