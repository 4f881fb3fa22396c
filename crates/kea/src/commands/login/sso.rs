//! `kea login --sso`: by the browser of this machine, which comes back to a port that the command listens on; or, where
//! there is none, by a code that is typed on another machine.

mod browser;

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use kea_auth::{Sso, oidc::ProviderName};
use kea_core::management::{LoginResponse, SsoCodeRequest, SsoDevice, SsoDeviceRequest, SsoPending, SsoProviders};
use reqwest::StatusCode;
use sha2::{Digest, Sha256};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

use crate::{client::Client, failure::Failure, progress::note};

/// Below which paths a KEA has single sign-on.
const BASE: [&str; 2] = ["auth", "sso"];

/// Logs in by a provider: the one that is named, or the only one there is.
pub(super) async fn login(
    client: &Client,
    named: Option<&ProviderName>,
    device: bool,
) -> Result<LoginResponse, Failure> {
    let provider = match named {
        Some(name) => name.to_string(),
        None => only(client).await?,
    };
    if device || !browser::is_there() {
        by_device(client, &provider).await
    } else {
        by_browser(client, &provider).await
    }
}

async fn only(client: &Client) -> Result<String, Failure> {
    let (_, answer) = client.get_beside(&BASE).await?;
    let SsoProviders { mut providers } = answer.read()?;
    match (providers.pop(), providers.len()) {
        (None, _) => Err(Failure::Usage(format!("{} has no single sign-on: log in with a password", client.server()))),
        (Some(provider), 0) => Ok(provider.name),
        (Some(last), _) => {
            let names: Vec<_> = providers.into_iter().map(|provider| provider.name).chain([last.name]).collect();
            Err(Failure::Usage(format!("name one of the providers: `--sso {}`", names.join("` or `--sso "))))
        }
    }
}

async fn by_browser(client: &Client, provider: &str) -> Result<LoginResponse, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port().to_string();
    let (verifier, state) = (secret(), secret());
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let query = [("port", port.as_str()), ("challenge", &challenge), ("state", &state)];
    let url = client.server().join(BASE.into_iter().chain([provider]), &query);
    note(&format!("log in with your browser, which is sent to {url}"));
    browser::open(url.as_str());
    let brought = timeout(Sso::WITHIN, browser::back(listener, state)).await;
    let code = brought.map_err(|_| Failure::NotLoggedIn("the browser did not come back in time".into()))??;
    let (_, answer) = client.post_beside(&path(provider, &["token"]), &SsoCodeRequest { code, verifier }).await?;
    answer.read()
}

async fn by_device(client: &Client, provider: &str) -> Result<LoginResponse, Failure> {
    let (_, answer) = client.post_empty_beside(&path(provider, &["device"])).await?;
    let device: SsoDevice = answer.read()?;
    note(&format!("log in on any machine: open {} and type {}", device.verification_uri, device.user_code));
    if let Some(whole) = &device.verification_uri_complete {
        note(&format!("or open {whole}"));
    }
    let end = Instant::now() + Duration::from_secs(device.expires_in);
    let (mut interval, request) = (device.interval, SsoDeviceRequest { handle: device.handle });
    while Instant::now() < end {
        sleep(Duration::from_secs(interval)).await;
        let (status, answer) = client.post_beside(&path(provider, &["device", "token"]), &request).await?;
        if status != StatusCode::ACCEPTED {
            return answer.read();
        }
        // It only ever grows: a provider that asked for patience goes on to.
        interval = interval.max(answer.read::<SsoPending>()?.interval);
    }
    Err(Failure::NotLoggedIn("the code was not typed in time".into()))
}

fn path<'a>(provider: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    BASE.into_iter().chain([provider]).chain(rest.iter().copied()).collect()
}

/// What nobody guesses, in letters that a URL takes as they are.
fn secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
