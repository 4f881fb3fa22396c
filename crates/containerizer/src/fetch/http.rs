//! Files by HTTP: resumed where the connection drops, and only if the file is provably still the same.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::StreamExt;
use http::header::{
    ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url, header::HeaderMap, redirect::Policy};
use sha2::{Digest, Sha256};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt},
};

use super::{Bounds, Got, Job, Landed, place};
use crate::{FetchError, error::is_passing, shelf::size, source::without_secrets};

/// How often a file is asked for.
const TRIES: u32 = 6;
/// How many redirects are followed.
const REDIRECTS: usize = 10;

/// A file that has a URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HttpFile {
    url: Url,
    /// What the file's SHA-256 is to be.
    sha256: Option<String>,
}

impl HttpFile {
    /// Reads `https://host/file#sha256=HEX`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text).map_err(|error| error.to_string())?;
        let sha256 = url.fragment().map(digest).transpose()?;
        url.set_fragment(None);
        Ok(Self { url, sha256 })
    }

    pub(super) fn shown(&self) -> String {
        without_secrets(&self.url)
    }

    pub(super) async fn fetch(&self, job: &Job<'_>) -> Result<Got, FetchError> {
        let client = client(job.bounds)?;
        // What the user expects need not be asked for again.
        if let Some(mark) = self.sha256.as_deref().map(sha256_mark).filter(|mark| job.is_known(mark)) {
            tracing::debug!(mark, "the file is known by its digest");
            return Ok(Got::Unchanged);
        }
        let path = job.staging.path().join("download");
        let transfer = Transfer { client: &client, url: &self.url, bearer: None, known: job.known, bounds: job.bounds };
        let tell = |bytes, total| job.tell(&so_far(bytes, total));
        let Some(arrived) = transfer.save(&path, &tell).await? else { return Ok(Got::Unchanged) };
        if let Some(expected) = &self.sha256 {
            arrived.check(expected, &self.shown())?;
        }
        let name = file_name(&self.url, arrived.named.as_deref());
        let placed = place(job.staging, &name)?;
        std::fs::rename(&path, &placed).map_err(FetchError::storing(&placed))?;
        let mark = self.sha256.as_deref().map(sha256_mark).or(arrived.etag);
        Ok(Got::New(Landed { path: placed, mark, notes: Vec::new() }))
    }
}

fn sha256_mark(digest: &str) -> String {
    format!("sha256={digest}")
}

fn digest(fragment: &str) -> Result<String, String> {
    let hex = fragment.strip_prefix("sha256=").filter(|hex| hex.len() == 64 && hex::decode(hex).is_ok());
    hex.map(str::to_ascii_lowercase)
        .ok_or_else(|| "after `#` only `sha256=` with 64 hexadecimal digits may follow".to_owned())
}

/// A client for downloads. It does not follow a redirect from https to http, on which anybody could answer.
pub(super) fn client(bounds: Bounds) -> Result<Client, FetchError> {
    let redirects = Policy::custom(|attempt| {
        let from_https = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS {
            attempt.error("it redirects again and again")
        } else if from_https && attempt.url().scheme() == "http" {
            attempt.error("it redirects from https to http")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .connect_timeout(bounds.silence)
        .read_timeout(bounds.silence)
        .redirect(redirects)
        .user_agent(concat!("kea/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| FetchError::Network { url: "the internet".to_owned(), why: innermost(&error) })
}

/// The transfer of one file.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client,
    pub(super) url: &'a Url,
    /// A token that the server is shown, but none that it redirects to.
    pub(super) bearer: Option<&'a str>,
    /// The strong ETag of the file as it was before.
    pub(super) known: Option<&'a str>,
    pub(super) bounds: Bounds,
}

/// A file that has arrived whole.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) bytes: u64,
    sha256: String,
    /// Its strong ETag.
    etag: Option<String>,
    /// The name that the server gives it.
    named: Option<String>,
}

impl Arrived {
    /// An error unless the file's SHA-256 is `expected`.
    pub(super) fn check(&self, expected: &str, what: &str) -> Result<(), FetchError> {
        if self.sha256 == expected {
            return Ok(());
        }
        Err(FetchError::Digest { what: what.to_owned(), expected: expected.to_owned(), found: self.sha256.clone() })
    }
}

/// Hears how many bytes have come, and of how many.
type Tell<'a> = &'a (dyn Fn(u64, Option<u64>) + Send + Sync);

/// Why an attempt ended.
enum Failed {
    /// It is of no use to try again.
    ForGood(FetchError),
    /// The next may do better, after this pause if the server names one.
    ForNow(FetchError, Option<Duration>),
}

impl Transfer<'_> {
    /// Writes the file to `path`; `None` where it is the one that is known.
    pub(super) async fn save(&self, path: &Path, tell: Tell<'_>) -> Result<Option<Arrived>, FetchError> {
        let mut partial = Partial::new(path)?;
        let mut tried = 0;
        loop {
            tried += 1;
            let (error, pause) = match self.attempt(&mut partial, tell).await {
                Ok(true) => return Ok(None),
                Ok(false) => return partial.finish().await.map(Some),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow(error, pause)) => (error, pause),
            };
            let pause = pause.unwrap_or_else(|| self.backoff(tried));
            if tried == TRIES || pause > self.bounds.silence * 2 {
                return Err(error);
            }
            tracing::info!(url = without_secrets(self.url), tried, %error, "a download is tried again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Longer from try to try: with the usual half a minute of silence from 0.3 to 5 seconds.
    fn backoff(&self, tried: u32) -> Duration {
        self.bounds.silence / 100 * (1 << (tried - 1))
    }

    /// Asks for what is missing and takes what comes; whether it is the file that is known.
    async fn attempt(&self, partial: &mut Partial, tell: Tell<'_>) -> Result<bool, Failed> {
        let response = self.ask(partial).await?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && self.known.is_some() {
            return Ok(true);
        }
        if status == StatusCode::PARTIAL_CONTENT && partial.continues(response.headers()) {
            return self.take(response, partial, tell).await;
        }
        partial.restart(&response).await.map_err(Failed::ForGood)?;
        if status == StatusCode::PARTIAL_CONTENT || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(Failed::ForNow(self.status(status), Some(Duration::ZERO)));
        }
        if !status.is_success() {
            return Err(self.refused(&response));
        }
        self.take(response, partial, tell).await
    }

    async fn ask(&self, partial: &Partial) -> Result<Response, Failed> {
        let mut request = self.client.get(self.url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.bearer {
            request = request.bearer_auth(token);
        }
        if let Some(validator) = partial.validator.as_deref().filter(|_| partial.bytes > 0) {
            request = request.header(RANGE, format!("bytes={}-", partial.bytes)).header(IF_RANGE, validator);
        } else if let Some(known) = self.known {
            request = request.header(IF_NONE_MATCH, known);
        }
        request.send().await.map_err(|error| self.network(error))
    }

    async fn take(&self, response: Response, partial: &mut Partial, tell: Tell<'_>) -> Result<bool, Failed> {
        let limit = self.bounds.bytes;
        if partial.total.is_some_and(|total| total > limit) {
            return Err(Failed::ForGood(FetchError::TooLarge { limit }));
        }
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = match (chunk, partial.total) {
                (Ok(chunk), _) => chunk,
                (Err(error), Some(total)) if !error.is_timeout() => {
                    return Err(Failed::ForNow(self.short(partial.bytes, total), None));
                }
                (Err(error), _) => return Err(self.network(error)),
            };
            if partial.bytes + chunk.len() as u64 > limit {
                return Err(Failed::ForGood(FetchError::TooLarge { limit }));
            }
            partial.write(&chunk).await.map_err(Failed::ForGood)?;
            tell(partial.bytes, partial.total);
        }
        match partial.total {
            Some(total) if total != partial.bytes => Err(Failed::ForNow(self.short(partial.bytes, total), None)),
            _ => Ok(false),
        }
    }

    fn refused(&self, response: &Response) -> Failed {
        let error = self.status(response.status());
        if !is_passing(response.status().as_u16()) {
            return Failed::ForGood(error);
        }
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Failed::ForNow(error, seconds.map(Duration::from_secs))
    }

    fn status(&self, status: StatusCode) -> FetchError {
        FetchError::Status { url: without_secrets(self.url), status: status.as_u16() }
    }

    fn short(&self, bytes: u64, total: u64) -> FetchError {
        FetchError::Short { url: without_secrets(self.url), bytes, total }
    }

    fn network(&self, error: reqwest::Error) -> Failed {
        let (for_good, error) = (error.is_redirect(), network(self.url, self.bounds, error));
        if for_good { Failed::ForGood(error) } else { Failed::ForNow(error, None) }
    }
}

/// What went wrong on the way to `url`.
pub(super) fn network(url: &Url, bounds: Bounds, error: reqwest::Error) -> FetchError {
    let url = without_secrets(url);
    if error.is_timeout() {
        return FetchError::Stalled { url, seconds: bounds.silence.as_secs() };
    }
    FetchError::Network { url, why: innermost(&error.without_url()) }
}

/// The error's first cause, which is the one that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

/// A file that is not whole yet.
struct Partial {
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
    total: Option<u64>,
    /// What proves that the rest is of the same file: its strong ETag, else its time.
    validator: Option<String>,
    etag: Option<String>,
    named: Option<String>,
}

impl Partial {
    fn new(path: &Path) -> Result<Self, FetchError> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
        Ok(Self {
            path: path.to_owned(),
            file: file.map_err(FetchError::storing(path))?.into(),
            hash: Sha256::new(),
            bytes: 0,
            total: None,
            validator: None,
            etag: None,
            named: None,
        })
    }

    /// Whether an answer with these headers is the missing rest of the very same file.
    fn continues(&self, headers: &HeaderMap) -> bool {
        let range = text(headers, CONTENT_RANGE).and_then(content_range);
        let same = text(headers, ETAG).is_none_or(|etag| self.etag.as_deref().is_none_or(|known| known == etag));
        same && range.is_some_and(|(start, total)| {
            start == self.bytes && total.is_none_or(|total| self.total.is_none_or(|known| known == total))
        })
    }

    /// Forgets what has come, and takes up what the answer says of the file.
    async fn restart(&mut self, response: &Response) -> Result<(), FetchError> {
        self.file.set_len(0).await.map_err(FetchError::storing(&self.path))?;
        self.file.rewind().await.map_err(FetchError::storing(&self.path))?;
        (self.hash, self.bytes) = (Sha256::new(), 0);
        let headers = response.headers();
        self.total = response.content_length().filter(|_| response.status().is_success());
        self.etag = text(headers, ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned);
        // A weak ETag says that the file may differ in bytes, whatever its time says.
        let time = text(headers, LAST_MODIFIED).filter(|_| !headers.contains_key(ETAG)).map(str::to_owned);
        self.validator = self.etag.clone().or(time);
        self.named = text(headers, CONTENT_DISPOSITION).and_then(disposition);
        Ok(())
    }

    async fn write(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(chunk).await.map_err(FetchError::storing(&self.path))?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    async fn finish(mut self) -> Result<Arrived, FetchError> {
        self.file.flush().await.map_err(FetchError::storing(&self.path))?;
        let sha256 = hex::encode(self.hash.finalize());
        Ok(Arrived { bytes: self.bytes, sha256, etag: self.etag, named: self.named })
    }
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Where a part begins and how long the whole is: `bytes 100-199/1000`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.parse().ok()?, total))
}

/// The name in `attachment; filename="model.onnx"`.
fn disposition(value: &str) -> Option<String> {
    let parameters = value.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, name) = parameters.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("filename"))?;
    let name = name.trim().trim_matches('"');
    Some(name.rsplit(['/', '\\']).next()?.to_owned()).filter(|name| !name.is_empty())
}

fn so_far(bytes: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {} downloaded", size(bytes), size(total)),
        None => format!("{} downloaded", size(bytes)),
    }
}

/// The last part of the URL's path, of letters that are harmless in a file's name; where it has no ending, the name
/// that the server gives the file.
fn file_name(url: &Url, named: Option<&str>) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    let ending = Path::new(last).extension();
    harmless(named.filter(|_| ending.is_none()).unwrap_or(last))
}

fn harmless(name: &str) -> String {
    let safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    let safe = safe.trim_start_matches('.');
    if safe.is_empty() {
        "model".to_owned()
    } else {
        safe.chars().rev().take(200).collect::<Vec<_>>().iter().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_holds_no_way_out() {
        let name = |url| file_name(&Url::parse(url).unwrap(), None);
        assert_eq!(name("https://host/models/iris.joblib?token=x"), "iris.joblib");
        assert_eq!(name("https://host/a%2F..%2Fb.onnx"), "a_2F.._2Fb.onnx");
        assert_eq!(name("https://host/"), "model");
        assert_eq!(name("https://host/.bashrc"), "bashrc");
    }

    #[test]
    fn the_servers_name_counts_where_the_url_has_no_ending() {
        let name = |url, value| file_name(&Url::parse(url).unwrap(), disposition(value).as_deref());
        assert_eq!(name("https://host/download?id=1", "attachment; filename=\"iris.onnx\""), "iris.onnx");
        assert_eq!(name("https://host/download", "attachment; filename=../../etc/iris.onnx"), "iris.onnx");
        assert_eq!(name("https://host/download", "attachment; filename=\"..\""), "model");
        assert_eq!(name("https://host/a.joblib", "attachment; filename=b.onnx"), "a.joblib");
        assert_eq!(name("https://host/download", "inline"), "download");
    }

    #[test]
    fn a_digest_is_read_and_nothing_else_after_it() {
        let hex = "AB".repeat(32);
        let file = HttpFile::parse(&format!("https://host/m.onnx#sha256={hex}")).unwrap();
        assert_eq!((file.sha256, file.url.fragment()), (Some("ab".repeat(32)), None));
        assert!(HttpFile::parse("https://host/m.onnx#sha256=abc").is_err());
        assert!(HttpFile::parse("https://host/m.onnx#part").is_err());
    }

    #[test]
    fn a_range_says_where_it_begins() {
        assert_eq!(content_range("bytes 100-199/1000"), Some((100, Some(1000))));
        assert_eq!(content_range("bytes 0-9/*"), Some((0, None)));
        assert_eq!(content_range("lines 1-2/3"), None);
    }
}
