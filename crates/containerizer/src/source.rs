//! What a source names: a path of this machine or a file to download.

use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::FetchError;

/// Where a model is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file or folder of this machine, absolute.
    Path(PathBuf),
    /// A file to download by HTTP.
    Url(Url),
}

impl Source {
    /// Reads a source as users write it; nothing is looked up.
    pub(crate) fn parse(text: &str) -> Result<Self, FetchError> {
        let text = text.trim();
        match scheme(text).as_deref() {
            None => path(text),
            Some("file") => file_url(text),
            Some("http" | "https") => Ok(Self::Url(url(text)?)),
            Some(scheme) => Err(FetchError::Scheme { scheme: scheme.to_owned() }),
        }
    }
}

/// The URL scheme that `text` begins with, in lower case.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let mut letters = scheme.chars();
    let first = letters.next()?.is_ascii_alphabetic();
    let valid = first && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    valid.then(|| scheme.to_ascii_lowercase())
}

fn path(text: &str) -> Result<Source, FetchError> {
    if text.is_empty() {
        return Err(FetchError::Nothing);
    }
    if text.contains('\0') {
        return Err(malformed(text, "it holds a zero byte"));
    }
    let path = Path::new(text);
    if path.is_relative() {
        return Err(FetchError::Relative { path: text.to_owned() });
    }
    Ok(Source::Path(path.to_owned()))
}

fn file_url(text: &str) -> Result<Source, FetchError> {
    let path = url(text)?.to_file_path().map_err(|()| malformed(text, "write it as `file:///absolute/path`"))?;
    Ok(Source::Path(path))
}

fn url(text: &str) -> Result<Url, FetchError> {
    Url::parse(text).map_err(|error| malformed(text, &error.to_string()))
}

fn malformed(text: &str, why: &str) -> FetchError {
    FetchError::Malformed { text: text.to_owned(), why: why.to_owned() }
}

/// `url` without its user, password and query, any of which may be a secret.
pub(crate) fn without_secrets(url: &Url) -> String {
    let mut bare = url.clone();
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_query(None);
    bare.set_fragment(None);
    bare.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match Source::parse(text) {
            Ok(Source::Path(path)) => format!("path {}", path.display()),
            Ok(Source::Url(url)) => format!("url {url}"),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{text}: {found}");
    }

    #[test]
    fn paths_and_file_urls_are_paths() {
        check("/models/iris.joblib", "path /models/iris.joblib");
        check("file:///models/two%20words", "path /models/two words");
        check("file://elsewhere/models", "file:///absolute/path");
    }

    #[test]
    fn a_relative_path_is_refused_because_it_would_be_read_elsewhere() {
        check("iris.joblib", "give an absolute one");
        check("~/iris.joblib", "give an absolute one");
        check("", "neither a source nor a command");
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        check("s3://bucket/model", "`s3:` sources cannot be fetched: download");
        check("git+https://host/repository@main#folder", "`git+https:`");
        check("hf://org/model", "`hf:`");
        check("https://host/model.onnx", "url https://host/model.onnx");
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        let url = Url::parse("https://me:secret@host/model.onnx?token=secret").unwrap();
        assert_eq!(without_secrets(&url), "https://host/model.onnx");
    }
}
