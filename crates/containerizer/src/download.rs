//! Downloads a model that is one file by HTTP.

use std::{os::unix::fs::OpenOptionsExt, time::Duration};

use futures_util::StreamExt;
use kea_core::management::StepState;
use reqwest::{Client, Response, Url};
use sha2::{Digest, Sha256};
use tokio::{fs::File, io::AsyncWriteExt};

use crate::{
    FETCH, FetchError, Progress,
    shelf::{Incoming, size},
    source::without_secrets,
};

/// How a download is bounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most bytes of the file.
    pub(crate) bytes: u64,
    /// How long the other side may be silent.
    pub(crate) silence: Duration,
}

/// Writes the file at `url` into `incoming`, and returns its name.
pub(crate) async fn fetch(
    url: &Url,
    incoming: &mut Incoming,
    bounds: Bounds,
    progress: &dyn Progress,
) -> Result<String, FetchError> {
    let name = file_name(url);
    let response = ask(url, bounds).await?;
    let total = response.content_length();
    if total.is_some_and(|total| total > bounds.bytes) {
        return Err(FetchError::TooLarge { limit: bounds.bytes });
    }
    let path = incoming.path(&name)?;
    let mut file: File = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(FetchError::storing(&path))?
        .into();
    let (mut hash, mut bytes, mut body) = (Sha256::new(), 0_u64, response.bytes_stream());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| network(url, bounds, error))?;
        bytes += chunk.len() as u64;
        if bytes > bounds.bytes {
            return Err(FetchError::TooLarge { limit: bounds.bytes });
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(FetchError::storing(&path))?;
        progress.step(FETCH, StepState::Running, &so_far(bytes, total));
    }
    file.flush().await.map_err(FetchError::storing(&path))?;
    incoming.finished(&name, false, hash.finalize().into(), bytes);
    Ok(name)
}

async fn ask(url: &Url, bounds: Bounds) -> Result<Response, FetchError> {
    let client = Client::builder()
        .connect_timeout(bounds.silence)
        .read_timeout(bounds.silence)
        .user_agent(concat!("kea/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| network(url, bounds, error))?;
    let response = client.get(url.clone()).send().await.map_err(|error| network(url, bounds, error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(FetchError::Status { url: without_secrets(url), status: status.as_u16() });
    }
    Ok(response)
}

fn network(url: &Url, bounds: Bounds, error: reqwest::Error) -> FetchError {
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

fn so_far(bytes: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {} downloaded", size(bytes), size(total)),
        None => format!("{} downloaded", size(bytes)),
    }
}

/// The last part of the URL's path, of letters that are harmless in a file's name.
fn file_name(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    let safe: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
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
        let name = |url| file_name(&Url::parse(url).unwrap());
        assert_eq!(name("https://host/models/iris.joblib?token=x"), "iris.joblib");
        assert_eq!(name("https://host/a%2F..%2Fb.onnx"), "a_2F.._2Fb.onnx");
        assert_eq!(name("https://host/"), "model");
        assert_eq!(name("https://host/.bashrc"), "bashrc");
    }
}
