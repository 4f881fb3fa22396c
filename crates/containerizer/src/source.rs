//! What a source names: a path of this machine, or something to fetch from elsewhere.

use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::{
    FetchError,
    fetch::{Artifact, HttpFile, HubModel, Objects, Remote, Repository, Vendor},
};

/// The schemes that there are, for those who give another.
const KNOWN: &str = "file, http, https, s3, gs, az, git+https, git+http, git+ssh, git+file, hf, oci";

/// Where a model is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file or folder of this machine, absolute.
    Path(PathBuf),
    /// Something elsewhere.
    Remote(Remote),
}

impl Source {
    /// Reads a source as users write it; nothing is looked up.
    pub(crate) fn parse(text: &str) -> Result<Self, FetchError> {
        let text = text.trim();
        let Some((scheme, rest)) = scheme(text) else { return path(text) };
        let remote = match scheme.as_str() {
            "file" => return file_url(text),
            "http" | "https" => HttpFile::parse(text).map(Remote::Http),
            "s3" => Objects::parse(Vendor::Amazon, rest).map(Remote::Objects),
            "gs" => Objects::parse(Vendor::Google, rest).map(Remote::Objects),
            "az" => Objects::parse(Vendor::Azure, rest).map(Remote::Objects),
            "git+https" | "git+http" | "git+ssh" | "git+file" => Repository::parse(text).map(Remote::Git),
            "hf" => HubModel::parse(rest).map(Remote::Hub),
            "oci" => Artifact::parse(rest).map(Remote::Oci),
            _ => return Err(FetchError::Scheme { scheme, known: KNOWN }),
        };
        remote.map(Self::Remote).map_err(|why| malformed(text, &why))
    }
}

/// The URL scheme that `text` begins with, in lower case, and what follows it.
fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let mut letters = scheme.chars();
    let first = letters.next()?.is_ascii_alphabetic();
    let valid = first && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    valid.then(|| (scheme.to_ascii_lowercase(), rest))
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
    let url = Url::parse(text).map_err(|error| malformed(text, &error.to_string()))?;
    let path = url.to_file_path().map_err(|()| malformed(text, "write it as `file:///absolute/path`"))?;
    Ok(Source::Path(path))
}

fn malformed(text: &str, why: &str) -> FetchError {
    FetchError::Malformed { text: bare(text), why: why.to_owned() }
}

/// A source that could not be read, without what may be a secret: what comes before `@` of a host, and queries.
fn bare(text: &str) -> String {
    let (text, _) = text.split_once(['?', '#']).unwrap_or((text, ""));
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
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
            Ok(Source::Remote(remote)) => format!("{remote:?}"),
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
    fn schemes_say_where_a_model_is() {
        check("https://host/model.onnx", "Http(");
        check("S3://bucket/model", "Amazon");
        check("gs://bucket/model", "Google");
        check("az://container/model", "Azure");
        check("git+https://host/repository@main#folder", "Git(");
        check("hf://org/model", "Hub(");
        check("oci://host.io/model:1", "Oci(");
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        check("ftp://host/model", "`ftp:` sources are not known: give a path or one of file, http, https, s3");
        check("git+ext://sh -c evil", "`git+ext:`");
    }

    #[test]
    fn a_source_that_cannot_be_read_is_told_without_its_secrets() {
        let error = Source::parse("https://me:secret@host:port/m?token=secret").unwrap_err().to_string();
        assert!(error.contains("`https://host:port/m`") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        let url = Url::parse("https://me:secret@host/model.onnx?token=secret").unwrap();
        assert_eq!(without_secrets(&url), "https://host/model.onnx");
    }
}
