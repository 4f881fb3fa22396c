//! Folders of git repositories, by the `git` program: one revision, without hooks and without questions.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Url;

use super::{Got, Job, Landed, MODEL};
use crate::{
    FetchError, python,
    shelf::size,
    source::without_secrets,
    tool::{Failure, Run},
    unpack,
};

/// How often the size of what comes is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A user's name of so many letters may be a token.
const TOKEN: usize = 16;
/// What a Git LFS pointer begins with.
const POINTER: &[u8] = b"version https://git-lfs";
/// Variables of the server that git needs to reach private repositories, besides those that all tools get.
const PASSED: [&str; 5] = ["GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSH_AUTH_SOCK"];
/// What ssh says where the host is unknown or another one.
const HOST_REFUSED: &str = "Host key verification failed";
/// What ssh says where the host takes none of its keys.
const KEY_REFUSED: &str = "Permission denied (";
/// Settings that make git ask nobody, and say in English what went wrong.
const SILENT: [&str; 5] =
    ["LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_LFS_SKIP_SMUDGE=0"];

/// A folder of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    /// Without revision and folder; it may have a user and a password.
    url: Url,
    revision: Option<String>,
    /// Empty for all.
    folder: String,
}

impl Repository {
    /// Reads `git+https://host/repository@revision#folder`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let text = text.split_once('+').map_or(text, |(_, text)| text);
        let start = text.find("://").map_or(0, |at| at + 3);
        let path = text[start..].find('/').map_or(text.len(), |at| start + at);
        // Before the path, `@` ends a user's name.
        let (location, revision) = match text[path..].rsplit_once('@') {
            Some((location, revision)) => (&text[..path + location.len()], Some(check_revision(revision)?)),
            None => (text, None),
        };
        let url = Url::parse(location).map_err(|error| error.to_string())?;
        let dashed = [url.host_str().unwrap_or_default(), url.username(), url.path()];
        if dashed.iter().any(|part| part.starts_with('-')) || url.query().is_some() {
            return Err("write it as `git+https://host/repository@revision#folder`".to_owned());
        }
        let folder = fragment.strip_prefix("subdirectory=").unwrap_or(fragment);
        let folder = if folder.is_empty() { Ok(String::new()) } else { unpack::safe(folder.as_bytes()) };
        Ok(Self { url, revision, folder: folder.map_err(|why| format!("the folder {why}"))? })
    }

    pub(super) fn shown(&self) -> String {
        format!("git+{}", without_secrets(&self.url))
    }

    pub(super) async fn fetch(&self, job: &Job<'_>) -> Result<Got, FetchError> {
        let git = Git::new(self, job)?;
        if self.is_known(&git).await? {
            return Ok(Got::Unchanged);
        }
        git.fetch().await?;
        let mut path = git.folder.clone();
        if !self.folder.is_empty() {
            path.push(&self.folder);
            let real = fs::canonicalize(&path).ok().zip(fs::canonicalize(&git.folder).ok());
            let within = real.is_some_and(|(path, folder)| path.starts_with(folder) && !path.ends_with(".git"));
            if !within {
                return Err(FetchError::NoPart { what: self.shown(), name: self.folder.clone() });
            }
        }
        let commit = git.head().await?;
        // What git keeps for itself, as the remote's URL, is no part of a model.
        let own = git.folder.join(".git");
        fs::remove_dir_all(&own).map_err(FetchError::storing(&own))?;
        let mut notes = vec![format!("commit {commit}")];
        if git.folder.join(".gitmodules").exists() {
            notes.push("its submodules were not fetched".to_owned());
        }
        if let Some(pointer) = first_pointer(&path) {
            notes.push(format!("`{pointer}` is a Git LFS pointer: install git-lfs beside KEA to fetch such files"));
        }
        Ok(Got::New(Landed { path, mark: Some(commit), notes }))
    }

    /// Whether the revision is the commit that was fetched before.
    async fn is_known(&self, git: &Git<'_>) -> Result<bool, FetchError> {
        let Some(known) = git.job.known else { return Ok(false) };
        if self.revision.as_deref() == Some(known) {
            return Ok(true);
        }
        let names = full_names(self.revision.as_deref().unwrap_or("HEAD"));
        let asked: Vec<&str> =
            ["ls-remote", "--", "origin"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let lines = git.run("ls-remote", &asked).await?;
        let refs: Vec<(&str, &str)> = lines.iter().filter_map(|line| line.split_once('\t')).collect();
        // A name that is asked for matches the end of others too.
        let found = names.iter().find_map(|name| refs.iter().find(|(_, found)| found == name));
        Ok(found.is_some_and(|(commit, _)| *commit == known))
    }
}

/// What a revision may be called in full, in the order in which git looks. A tag may be an object of its own; then the
/// commit is behind it.
fn full_names(revision: &str) -> Vec<String> {
    let forms = ["", "refs/", "refs/tags/", "refs/heads/"].map(|before| format!("{before}{revision}"));
    forms.iter().flat_map(|name| [format!("{name}^{{}}"), name.clone()]).collect()
}

fn check_revision(revision: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+".contains(c);
    let valid = !revision.is_empty()
        && !revision.starts_with(['-', '/', '.'])
        && !revision.contains("..")
        && revision.chars().all(plain);
    if valid { Ok(revision.to_owned()) } else { Err("its revision is no name of a branch, tag or commit".to_owned()) }
}

fn is_commit(revision: &str) -> bool {
    (7..=64).contains(&revision.len()) && revision.chars().all(|c| c.is_ascii_hexdigit())
}

/// The first file below `folder` that stands for one in Git LFS; a few are enough to look at.
fn first_pointer(folder: &Path) -> Option<String> {
    const MOST: usize = 10_000;
    let walk = ignore::WalkBuilder::new(folder).standard_filters(false).max_filesize(Some(1024)).build();
    let files = walk.flatten().take(MOST).filter(|item| item.file_type().is_some_and(|kind| kind.is_file()));
    let is_pointer = |path: &Path| {
        let mut first = [0; POINTER.len()];
        fs::File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == POINTER
    };
    let found = files.into_iter().find(|item| is_pointer(item.path()))?;
    Some(found.path().strip_prefix(folder).unwrap_or(found.path()).display().to_string())
}

/// The `git` program at work for one fetch.
struct Git<'a> {
    repository: &'a Repository,
    job: &'a Job<'a>,
    program: PathBuf,
    python: PathBuf,
    folder: PathBuf,
    /// What git holds as its standard input: an empty file.
    input: fs::File,
    /// The file with the URL's password, which no list of processes is to show.
    credentials: Option<PathBuf>,
}

impl<'a> Git<'a> {
    fn new(repository: &'a Repository, job: &'a Job<'a>) -> Result<Self, FetchError> {
        let program = python::on_path("git").ok_or(FetchError::NoGit)?;
        let python = job.python.map(Path::to_owned).or_else(|| python::on_path("python3"));
        let python = python.ok_or(FetchError::NoPython)?;
        let folder = job.staging.path().join(MODEL);
        fs::create_dir_all(&folder).map_err(FetchError::storing(&folder))?;
        let input = tempfile::tempfile_in(job.staging.path()).map_err(FetchError::storing(&folder))?;
        let mut git = Self { repository, job, program, python, folder, input, credentials: None };
        if git.has_login() {
            git.credentials = Some(git.keep_credentials()?);
        }
        git.init()?;
        Ok(git)
    }

    /// Whether the URL holds a login. A user's name alone is one too: hosts take a token in its place.
    fn has_login(&self) -> bool {
        let url = &self.repository.url;
        url.password().is_some() || (url.scheme() != "ssh" && !url.username().is_empty())
    }

    fn keep_credentials(&self) -> Result<PathBuf, FetchError> {
        let path = self.job.staging.path().join("credentials");
        let mut bare = self.repository.url.clone();
        bare.set_path("");
        if bare.password().is_none() {
            // git asks for a password where the file has none; hosts that take a token as the name do not look at it.
            let _ = bare.set_password(Some("x-oauth-basic"));
        }
        let written = fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
        let written = written.and_then(|mut file| writeln!(file, "{}", bare.as_str().trim_end_matches('/')));
        written.map(|()| path.clone()).map_err(FetchError::storing(path))
    }

    /// Makes the repository. Its configuration is written here and not by `git init`, which would copy templates with
    /// hooks.
    fn init(&self) -> Result<(), FetchError> {
        let own = self.folder.join(".git");
        let storing = || FetchError::storing(&own);
        for folder in ["objects", "refs/heads", "refs/tags"] {
            fs::create_dir_all(own.join(folder)).map_err(storing())?;
        }
        fs::write(own.join("HEAD"), "ref: refs/heads/main\n").map_err(storing())?;
        let url = self.remote();
        let config = format!("[core]\n\trepositoryformatversion = 0\n[remote \"origin\"]\n\turl = \"{url}\"\n");
        fs::write(own.join("config"), config).map_err(storing())
    }

    /// The URL that git is told: of ssh with the user, of others without.
    fn remote(&self) -> String {
        let mut url = self.repository.url.clone();
        let _ = url.set_password(None);
        if self.has_login() {
            let _ = url.set_username("");
        }
        url.to_string().replace(['"', '\\', '\n'], "")
    }

    /// Fetches and checks out the revision.
    async fn fetch(&self) -> Result<(), FetchError> {
        let revision = self.repository.revision.as_deref();
        let shallow = ["fetch", "--depth", "1", "--no-tags", "--no-recurse-submodules", "--progress", "--", "origin"];
        let shallow = self.run("fetch", &[&shallow[..], &[revision.unwrap_or("HEAD")]].concat()).await;
        let found = match (shallow, revision) {
            (Ok(_), _) => "FETCH_HEAD".to_owned(),
            // Not every server gives a commit by its id, and none by the beginning of it.
            (Err(FetchError::Git { .. }), Some(revision)) if is_commit(revision) => {
                let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
                let fetch = ["fetch", "--no-recurse-submodules", "--progress", "--", "origin"];
                self.run("fetch", &[&fetch[..], &all].concat()).await?;
                format!("{revision}^{{commit}}")
            }
            (Err(FetchError::Git { why, .. }), Some(revision)) if why.contains("couldn't find remote ref") => {
                return Err(self.no_revision(revision));
            }
            (Err(error), _) => return Err(error),
        };
        match self.run("checkout", &["checkout", "--quiet", "--force", "--detach", &found]).await {
            Err(FetchError::Git { .. }) if found != "FETCH_HEAD" => Err(self.no_revision(revision.unwrap_or_default())),
            done => done.map(drop),
        }
    }

    async fn head(&self) -> Result<String, FetchError> {
        Ok(self.run("rev-parse", &["rev-parse", "HEAD"]).await?.concat().trim().to_owned())
    }

    fn no_revision(&self, revision: &str) -> FetchError {
        FetchError::NoRevision { url: self.repository.shown(), revision: revision.to_owned() }
    }

    /// Runs git to its end, unless what it writes becomes too large.
    async fn run(&self, step: &str, arguments: &[&str]) -> Result<Vec<String>, FetchError> {
        let run = Run {
            python: &self.python,
            line: self.line(arguments),
            folder: &self.folder,
            limit: self.job.bounds.tool,
            lock: &self.input,
        };
        let running = run.run(|line| self.job.tell(&format!("git {step}: {}", self.without_password(line))));
        tokio::select! {
            done = running => done.map_err(|failure| self.failed(step, failure)),
            error = self.outgrown() => Err(error),
        }
    }

    fn line(&self, arguments: &[&str]) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec!["env".into()];
        line.extend(SILENT.map(Into::into));
        let passed = PASSED.iter().filter_map(|name| Some((name, env::var_os(name)?)));
        line.extend(passed.map(|(name, value)| [OsString::from(name), "=".into(), value].into_iter().collect()));
        line.push(self.program.clone().into());
        for setting in self.settings() {
            line.extend(["-c".into(), setting.into()]);
        }
        line.extend(arguments.iter().map(Into::into));
        line
    }

    fn settings(&self) -> Vec<String> {
        let scheme = self.repository.url.scheme();
        let mut settings = vec![
            "core.hooksPath=/dev/null".to_owned(),
            "core.autocrlf=false".to_owned(),
            "advice.detachedHead=false".to_owned(),
            "gc.auto=0".to_owned(),
            "protocol.allow=never".to_owned(),
            format!("protocol.{scheme}.allow=always"),
        ];
        let large = ["smudge=git-lfs smudge -- %f", "process=git-lfs filter-process", "required=true"];
        let none = ["smudge=", "process=", "required=false"];
        let filter = if python::on_path("git-lfs").is_some() { large } else { none };
        settings.extend(filter.map(|setting| format!("filter.lfs.{setting}")));
        if let Some(file) = &self.credentials {
            settings.extend([
                "credential.helper=".to_owned(),
                format!("credential.helper=store --file='{}'", file.display()),
            ]);
        }
        settings
    }

    fn failed(&self, step: &str, failure: Failure) -> FetchError {
        let (url, step) = (self.repository.shown(), step.to_owned());
        match failure {
            Failure::Start(error) => FetchError::Git { url, step, why: error.to_string() },
            Failure::TooLong(limit, _) => FetchError::GitTooLong { url, step, seconds: limit.as_secs() },
            Failure::Ended(_, tail) => {
                let why = self.without_password(&told(&tail));
                if is_unreachable(&why) {
                    FetchError::GitUnreachable { url, step, why }
                } else {
                    FetchError::Git { url, step, why }
                }
            }
        }
    }

    fn without_password(&self, text: &str) -> String {
        let url = &self.repository.url;
        let secrets = [url.password(), Some(url.username()).filter(|name| self.has_login() && name.len() >= TOKEN)];
        secrets.into_iter().flatten().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// Ends with an error once the folder is larger than a model and its history may be.
    async fn outgrown(&self) -> FetchError {
        // What is packed and what is checked out of it.
        let limit = self.job.bounds.bytes;
        loop {
            tokio::time::sleep(LOOK).await;
            let folder = self.folder.clone();
            let Ok(bytes) = tokio::task::spawn_blocking(move || weight(&folder)).await else { continue };
            if bytes > limit.saturating_mul(2) {
                tracing::info!(url = self.repository.shown(), size = size(bytes), "a repository is too large");
                return FetchError::TooLarge { limit };
            }
        }
    }
}

/// How many bytes the files below `folder` have.
fn weight(folder: &Path) -> u64 {
    let Ok(items) = fs::read_dir(folder) else { return 0 };
    let weights = items.flatten().map(|item| match item.metadata() {
        Ok(metadata) if metadata.is_dir() => weight(&item.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    weights.sum()
}

/// What git and ssh say of their failure, without progress and banners, and what to do about it where that is known.
fn told(tail: &[String]) -> String {
    const BEGINNINGS: [&str; 8] =
        ["fatal:", "error:", "remote:", "ERROR:", "ssh:", "Host key", "Load key", "Connection closed by"];
    let says =
        |line: &&String| BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) || line.contains(KEY_REFUSED);
    let lines: Vec<&str> = tail.iter().filter(says).map(String::as_str).collect();
    let mut why = if lines.is_empty() { tail.last().cloned().unwrap_or_default() } else { lines.join("; ") };
    let advice = [
        (
            HOST_REFUSED,
            "; have the host's key, from a place that you trust, in ~/.ssh/known_hosts of the user of `kea serve`",
        ),
        (
            KEY_REFUSED,
            "; give `kea serve` a key that the host knows, which asks for no passphrase: by an agent with SSH_AUTH_SOCK, or by GIT_SSH_COMMAND='ssh -i FILE'",
        ),
    ];
    why.extend(advice.iter().filter(|(words, _)| tail.iter().any(|line| line.contains(words))).map(|(_, then)| *then));
    why
}

/// Whether the network is what failed. Git has one exit status for all, so its words must do.
fn is_unreachable(why: &str) -> bool {
    const WORDS: [&str; 11] = [
        "Could not resolve host",
        "No route to host",
        "Network is unreachable",
        "Failed to connect",
        "Could not connect",
        "Couldn't connect",
        "Connection refused",
        "Connection timed out",
        "Connection reset",
        "early EOF",
        "returned error: 5",
    ];
    WORDS.iter().any(|words| why.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: (&str, Option<&str>, &str)) {
        let found = Repository::parse(text).unwrap();
        assert_eq!((found.url.as_str(), found.revision.as_deref(), &*found.folder), expected, "{text}");
    }

    #[test]
    fn a_repository_may_have_a_revision_and_a_folder() {
        check("git+https://host/a/b.git", ("https://host/a/b.git", None, ""));
        check("git+https://host/a@v1.2", ("https://host/a", Some("v1.2"), ""));
        check("git+https://host/a@feature/x#models/iris", ("https://host/a", Some("feature/x"), "models/iris"));
        check("git+ssh://git@host/a@main#subdirectory=iris/", ("ssh://git@host/a", Some("main"), "iris"));
        check("git+file:///srv/a.git@main", ("file:///srv/a.git", Some("main"), ""));
    }

    #[test]
    fn what_git_could_take_for_an_option_is_refused() {
        for text in [
            "git+https://host/a@--upload-pack=evil",
            "git+ssh://-oProxyCommand=evil/a",
            "git+ssh://-l@host/a",
            "git+https://host/a@main..other",
            "git+https://host/a@main:file",
            "git+https://host/a#../out",
            "git+https://host/a?x=1",
            "git+https://host/a@",
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let repository = Repository::parse("git+https://me:secret@host/a@main").unwrap();
        assert_eq!(repository.shown(), "git+https://host/a");
    }

    #[test]
    fn a_failure_says_what_git_said() {
        let tail = ["Receiving objects: 10%", "fatal: Could not resolve host: x"].map(str::to_owned);
        assert_eq!(told(&tail), "fatal: Could not resolve host: x");
        assert!(is_unreachable(&told(&tail)));
    }

    #[test]
    fn a_failure_says_what_ssh_said_and_what_to_do() {
        let check = |line: &str, expected: &str| {
            let why = told(&["Welcome", line, "fatal: Could not read from remote repository."].map(str::to_owned));
            assert!(why.starts_with(&format!("{line}; fatal: Could not read")) && why.ends_with(expected), "{why}");
            is_unreachable(&why)
        };
        assert!(!check("me@host: Permission denied (publickey).", "GIT_SSH_COMMAND='ssh -i FILE'"));
        assert!(!check("Host key verification failed.", "~/.ssh/known_hosts of the user of `kea serve`"));
        assert!(check("ssh: connect to host host port 22: Connection refused", "remote repository."));
        assert!(check("ssh: Could not resolve hostname host: Name or service not known", "remote repository."));
    }
}
