//! What of a model's folder stays behind: history, caches, environments, secrets, and what its `.keaignore` names.

use std::{fs, path::Path};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder, Glob},
};

use crate::FetchError;

/// The file of a model's folder that says what else stays behind, in gitignore's syntax. A line `!pattern` takes back
/// what is left out by itself.
const FILE: &str = ".keaignore";
/// What nobody can take back: it may hold more than the files that are to be seen.
const NEVER: &str = ".git";

/// What can be made anew, or is of no use to a model.
const CACHES: [&str; 15] = [
    ".hg",
    ".svn",
    ".keaignore",
    "venv/",
    ".venv/",
    "node_modules/",
    "__pycache__/",
    "__MACOSX/",
    ".DS_Store",
    ".ipynb_checkpoints/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".tox/",
    ".cache/huggingface/",
];

/// What would let whoever reads the model act as its author. Where one of these is left out, that is told: a file that
/// a model does need may be called so.
const SECRETS: [&str; 44] = [
    ".env",
    ".env.*",
    "!.env.example",
    "*.pem",
    "*.key",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "*.jks",
    "*.keystore",
    "*.ppk",
    "*.p12",
    "*.pfx",
    ".netrc",
    ".pypirc",
    ".npmrc",
    ".aws",
    ".ssh",
    ".docker",
    ".kube",
    ".gnupg",
    ".gcloud",
    ".git-credentials",
    "*.kubeconfig",
    "kubeconfig",
    "credentials.json",
    "client_secret*.json",
    "application_default_credentials.json",
    "secrets.toml",
    "secrets.yaml",
    "secrets.yml",
    "secrets.json",
    "pip.conf",
    ".htpasswd",
    ".vault-token",
    ".s3cfg",
    ".boto",
    ".pgpass",
    "*.tfstate",
    ".streamlit/secrets.toml",
    "service-account*.json",
    "service_account*.json",
    ".azure",
];

/// A file whose folder is a Python environment, however it is called.
const ENVIRONMENT: &str = "pyvenv.cfg";

/// What becomes of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is part of the model.
    Taken,
    /// It stays behind.
    Left,
    /// It stays behind, and the user should hear of it.
    LeftAsSecret,
}

/// The rules of one folder.
pub(crate) struct Excluded(Gitignore);

impl Excluded {
    /// The rules for the model in the folder `root`.
    pub(crate) fn of(root: &Path) -> Result<Self, FetchError> {
        let mut rules = GitignoreBuilder::new("");
        let own = own_lines(&root.join(FILE))?;
        let usual = CACHES.iter().chain(&SECRETS).map(|line| (0, *line));
        for (number, line) in usual.chain(own.lines().enumerate().map(|(at, line)| (at + 1, line))) {
            rules.add_line(None, line).map_err(|error| malformed(number, &error))?;
        }
        rules.build().map(Self).map_err(|error| malformed(0, &error))
    }

    /// What becomes of `name`, a path within the model that is at `path`.
    pub(crate) fn fate(&self, name: &str, path: &Path, is_folder: bool) -> Fate {
        if name.rsplit('/').next() == Some(NEVER) {
            return Fate::Left;
        }
        match self.0.matched(name, is_folder) {
            Match::Ignore(rule) if is_secret(rule) => Fate::LeftAsSecret,
            Match::Ignore(_) => Fate::Left,
            Match::Whitelist(_) => Fate::Taken,
            Match::None if is_folder && path.join(ENVIRONMENT).is_file() => Fate::Left,
            Match::None => Fate::Taken,
        }
    }
}

fn is_secret(rule: &Glob) -> bool {
    SECRETS.contains(&rule.original())
}

fn own_lines(file: &Path) -> Result<String, FetchError> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(FetchError::reading(file)),
    }
}

fn malformed(line: usize, error: &ignore::Error) -> FetchError {
    FetchError::Excluding { file: FILE, line, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: &str, name: &str, expected: Fate) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), own).unwrap();
        let (name, is_folder) = name.strip_suffix('/').map_or((name, false), |name| (name, true));
        let fate = Excluded::of(folder.path()).unwrap().fate(name, &folder.path().join(name), is_folder);
        assert_eq!(fate, expected, "{name} with {own:?}");
    }

    #[test]
    fn history_caches_and_environments_stay_behind() {
        for name in [".git/", ".git", "vendored/.git", ".hg/", "venv/", "src/__pycache__/", ".ipynb_checkpoints/"] {
            check("", name, Fate::Left);
        }
        check("", ".keaignore", Fate::Left);
        check("", "venv", Fate::Taken);
        check("", "environment.yml", Fate::Taken);
    }

    #[test]
    fn secrets_stay_behind_and_that_is_told() {
        for name in [".env", ".env.production", "keys/tls.pem", "id_rsa", "id_ed25519.pub", ".aws/", "x.kubeconfig"] {
            check("", name, Fate::LeftAsSecret);
        }
        check("", ".env.example", Fate::Taken);
        check("", "keyboard.json", Fate::Taken);
    }

    #[test]
    fn a_file_of_the_model_leaves_out_more_and_takes_back() {
        check("*.csv\n/data/\n", "raw/a.csv", Fate::Left);
        check("*.csv\n/data/\n", "data/", Fate::Left);
        check("*.csv\n/data/\n", "src/data/", Fate::Taken);
        check("!ca.pem\n", "ca.pem", Fate::Taken);
        check("!ca.pem\n", "own.pem", Fate::LeftAsSecret);
        check("!.git\n!.git/\n", ".git/", Fate::Left);
    }

    #[test]
    fn an_environment_is_known_by_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("env")).unwrap();
        let fate = || Excluded::of(folder.path()).unwrap().fate("env", &folder.path().join("env"), true);
        assert_eq!(fate(), Fate::Taken);
        fs::write(folder.path().join("env/pyvenv.cfg"), "").unwrap();
        assert_eq!(fate(), Fate::Left);
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "data\n[z-a]\n").unwrap();
        let error = Excluded::of(folder.path()).err().unwrap().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
