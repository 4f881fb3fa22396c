//! Models of Hugging Face's hub, or another that speaks as it does.

use std::env;

use reqwest::{Client, Url};
use serde::Deserialize;

use super::{
    Count, Got, Job, Landed, Listing, MODEL,
    http::{self, Transfer},
    place,
};
use crate::FetchError;

const ENDPOINT: &str = "https://huggingface.co";
const HINT: &str = "check the name and the revision; for a private or gated model set HF_TOKEN for `kea serve`";
/// Longest list of files that is read.
const LIST: u64 = 64 << 20;

/// A model of a hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HubModel {
    /// `organisation/name`.
    repository: String,
    revision: String,
    /// A folder or file of it; empty for all.
    part: String,
}

/// What the hub says of a model.
#[derive(Deserialize)]
struct Described {
    /// The commit that the revision is.
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    #[serde(alias = "oid")]
    sha256: String,
}

impl HubModel {
    /// Reads `organisation/name@revision/part`.
    pub(crate) fn parse(rest: &str) -> Result<Self, String> {
        const FORM: &str = "write it as `hf://organisation/name@revision/folder`";
        if rest.contains(['?', '#', '%']) {
            return Err(FORM.to_owned());
        }
        let mut parts = rest.trim_end_matches('/').splitn(3, '/');
        let (Some(organisation), Some(name)) = (parts.next(), parts.next()) else { return Err(FORM.to_owned()) };
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && plain(name);
        if !(is_name(organisation) && is_name(name) && is_name(revision)) {
            return Err(FORM.to_owned());
        }
        let part = parts.next().map_or(Ok(String::new()), |part| crate::unpack::safe(part.as_bytes()));
        let part = part.map_err(|why| format!("the part {why}"))?;
        Ok(Self { repository: format!("{organisation}/{name}"), revision: revision.to_owned(), part })
    }

    pub(super) fn shown(&self) -> String {
        format!("hf://{}@{}", self.repository, self.revision)
    }

    pub(super) async fn fetch(&self, job: &Job<'_>) -> Result<Got, FetchError> {
        let hub = Hub::of_environment(http::client(job.bounds)?)?;
        let described = hub.describe(self, job).await?;
        if job.is_known(&described.sha) {
            return Ok(Got::Unchanged);
        }
        let listing = self.listing(&described, job)?;
        let mut count = Count::of(listing.files.len());
        for file in &listing.files {
            let url = hub.url(&[&self.repository, "resolve", &described.sha, &file.at.rfilename])?;
            let transfer = hub.transfer(&url, job);
            let tell = |bytes, _| job.tell(&count.told(bytes));
            let arrived = transfer.save(&place(job.staging, &file.name)?, &tell).await.map_err(hinted)?;
            if let (Some(large), Some(arrived)) = (&file.at.lfs, &arrived) {
                arrived.check(&large.sha256, &format!("{}/{}", self.shown(), file.at.rfilename))?;
            }
            count.add(arrived.map_or(0, |arrived| arrived.bytes));
            if count.bytes > job.bounds.bytes {
                return Err(FetchError::TooLarge { limit: job.bounds.bytes });
            }
        }
        let folder = job.staging.path().join(MODEL);
        // A part that is one file is that file.
        let path = match listing.files.as_slice() {
            [only] if only.at.rfilename == self.part => folder.join(&only.name),
            _ => folder,
        };
        let notes = vec![format!("commit {}", described.sha)];
        Ok(Got::New(Landed { path, mark: Some(described.sha), notes }))
    }

    /// The files that are wanted.
    fn listing<'a>(&self, described: &'a Described, job: &Job<'_>) -> Result<Listing<&'a Sibling>, FetchError> {
        let mut listing = Listing::new(self.shown(), job.bounds);
        let below = format!("{}/", self.part);
        for sibling in &described.siblings {
            let file = &sibling.rfilename;
            let name = if self.part.is_empty() {
                Some(file.as_str())
            } else if *file == self.part {
                Some(super::base(file))
            } else {
                file.strip_prefix(&below)
            };
            if let Some(name) = name {
                listing.add(name, sibling.size.unwrap_or(0), sibling)?;
            }
        }
        if listing.files.is_empty() {
            return Err(FetchError::NoPart { what: self.shown(), name: self.part.clone() });
        }
        Ok(listing)
    }
}

/// A hub, and who asks it.
struct Hub {
    client: Client,
    endpoint: Url,
    token: Option<String>,
}

impl Hub {
    fn of_environment(client: Client) -> Result<Self, FetchError> {
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = given("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let endpoint = Url::parse(&endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let endpoint = endpoint.ok_or_else(|| FetchError::StoreSettings {
            what: "hf://".to_owned(),
            why: "HF_ENDPOINT is not the URL of a hub".to_owned(),
            hint: "set it as `https://host`, or not at all",
        })?;
        Ok(Self { client, endpoint, token: given("HF_TOKEN") })
    }

    /// The URL with these parts; each may have slashes.
    fn url(&self, parts: &[&str]) -> Result<Url, FetchError> {
        let mut url = self.endpoint.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.pop_if_empty().extend(parts.iter().flat_map(|part| part.split('/')));
            }
            Err(()) => {
                return Err(FetchError::Malformed { text: ENDPOINT.to_owned(), why: "it has no path".to_owned() });
            }
        }
        Ok(url)
    }

    fn transfer<'a>(&'a self, url: &'a Url, job: &Job<'_>) -> Transfer<'a> {
        let bearer = self.token.as_deref();
        Transfer { client: &self.client, url, bearer, known: None, bounds: job.bounds }
    }

    async fn describe(&self, model: &HubModel, job: &Job<'_>) -> Result<Described, FetchError> {
        let mut url = self.url(&["api/models", &model.repository, "revision", &model.revision])?;
        url.set_query(Some("blobs=true"));
        let path = job.staging.path().join("description.json");
        let bounds = super::Bounds { bytes: LIST, ..job.bounds };
        let transfer = Transfer { bounds, ..self.transfer(&url, job) };
        transfer.save(&path, &|_, _| {}).await.map_err(hinted)?;
        let described = std::fs::read(&path).map_err(FetchError::storing(&path))?;
        let unlike = |why: &str| FetchError::Network { url: crate::source::without_secrets(&url), why: why.to_owned() };
        let described: Described =
            serde_json::from_slice(&described).map_err(|_| unlike("it does not answer as a hub"))?;
        let is_commit = !described.sha.is_empty() && described.sha.chars().all(|c| c.is_ascii_alphanumeric());
        if is_commit { Ok(described) } else { Err(unlike("it names no commit")) }
    }
}

fn hinted(error: FetchError) -> FetchError {
    match error {
        FetchError::Status { url, status: status @ (401 | 403 | 404) } => {
            FetchError::Refused { url, status, hint: HINT }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_an_organisation_a_name_a_revision_and_a_part() {
        let check = |text: &str, repository: &str, revision: &str, part: &str| {
            let model = HubModel::parse(text).unwrap();
            assert_eq!((&*model.repository, &*model.revision, &*model.part), (repository, revision, part), "{text}");
        };
        check("org/name", "org/name", "main", "");
        check("org/name@v1/onnx/", "org/name", "v1", "onnx");
        check("org/name/onnx/model.onnx", "org/name", "main", "onnx/model.onnx");
        for text in ["name", "org/", "org/name@", "org/../name", "org/name/../x", "org/name?x=1", "org/name@%2e"] {
            assert!(HubModel::parse(text).is_err(), "{text}");
        }
    }
}
