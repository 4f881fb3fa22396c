//! What can go wrong between KEA and a registry.

use super::Place;
use oci_client::{
    Reference,
    errors::{OciDistributionError, OciErrorCode},
};

/// Why a registry did not do what it was asked. The text is one sentence that says how to mend it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what the fields are")]
pub enum RegistryError {
    #[error("`{text}` is no name of an image: {why}; write REGISTRY/NAME:TAG")]
    Name { text: String, why: String },
    #[error(
        "`{text}` does not say where a registry is reached: write NAME=ENDPOINT, as localhost:5000=http://registry:5000"
    )]
    Endpoint { text: String },
    #[error("the login for {registry} cannot be read: {why}")]
    Login { registry: String, why: String },
    #[error(
        "{registry} does not let KEA in (it {doing}): log in with `docker login {registry}`, or set DOCKER_AUTH_CONFIG, for an account that may use `{repository}`"
    )]
    Refused { registry: String, repository: String, doing: &'static str },
    #[error("the logins that are given cannot be read: they are no JSON as `docker login` writes it")]
    Logins,
    #[error(
        "`{image}` does not exist, or may not be seen without another login: check its name, or log in to {registry}"
    )]
    NotFound { image: String, registry: String },
    #[error("`{image}` does not exist for {platform}; it exists for {known}")]
    NoPlatform { image: String, platform: String, known: String },
    #[error("`{image}` is no image that runs, but files alone: to deploy a model of such, name it as `oci://{image}`")]
    NoImage { image: String },
    #[error("`{image}` exists with other content, and {registry} lets no tag be changed ({why}): give another tag")]
    Immutable { image: String, registry: String, why: String },
    #[error(
        "{registry} cannot be reached: {why}; where it is reached at another address, name that in KEA_REGISTRY_ENDPOINTS"
    )]
    Unreachable { registry: String, why: String },
    #[error(
        "{registry} does not speak TLS: if it is meant to be plain HTTP, name it with --plain-http or KEA_PLAIN_HTTP_REGISTRIES"
    )]
    Plain { registry: String },
    #[error(
        "the certificate of {registry} is not trusted ({why}): add its authority to the system's, or name a file with it in SSL_CERT_FILE"
    )]
    Certificate { registry: String, why: String },
    #[error(
        "this machine's certificates cannot be read ({why}): install ca-certificates, or set SSL_CERT_FILE to a file of certificates that are to be trusted"
    )]
    NoCertificates { why: String },
    #[error("{registry} takes no blobs in chunks")]
    Chunks { registry: String },
    #[error("{registry} answered {status} when KEA {doing}: {why}")]
    Answer { registry: String, status: u16, doing: &'static str, why: String },
    #[error("{registry} does not speak as a registry does when KEA {doing}: {why}")]
    Protocol { registry: String, doing: &'static str, why: String },
}

impl RegistryError {
    /// Whether the same may succeed later: a registry that restarts, a network that is down.
    pub fn may_heal(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Answer { status: 501, .. } => false,
            Self::Answer { status, .. } => *status >= 500 || matches!(status, 404 | 408 | 416 | 429),
            _ => false,
        }
    }

    /// Whether a registry that takes no blobs in chunks may answer so, each in its own way.
    pub(super) fn refuses_chunks(&self) -> bool {
        match self {
            Self::Chunks { .. } => true,
            Self::Answer { status, .. } => matches!(status, 400 | 404 | 405 | 411 | 413 | 415 | 416 | 501),
            _ => false,
        }
    }
}

/// Longer answers of registries, as whole pages of HTML, are cut.
const SHOWN: usize = 300;

/// What an error of the client means for `image`, whose registry is at `place`, when KEA was `doing` something.
pub(super) fn classify(
    error: OciDistributionError,
    image: &Reference,
    place: &Place,
    doing: &'static str,
) -> RegistryError {
    use OciDistributionError as E;
    let registry = shown(image, place);
    match error {
        E::UnauthorizedError { .. } => refused(image, doing),
        // What the server of tokens said; the client tells no status.
        E::AuthenticationFailure(said) if is_refusal(&said) => refused(image, doing),
        E::AuthenticationFailure(said) => {
            RegistryError::Answer { registry, status: 503, doing: "asked for a token", why: words(&said) }
        }
        E::ImageManifestNotFoundError(_) => not_found(image),
        E::RegistryError { envelope, .. } => {
            let why = short(&envelope.errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; "));
            match envelope.errors.first().map(|error| &error.code) {
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => refused(image, doing),
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown,
                ) => not_found(image),
                Some(OciErrorCode::Toomanyrequests) => RegistryError::Answer { registry, status: 429, doing, why },
                _ => RegistryError::Answer { registry, status: 400, doing, why },
            }
        }
        E::ServerError { code: 401 | 403, .. } => refused(image, doing),
        E::ServerError { code, message, .. } => {
            RegistryError::Answer { registry, status: code, doing, why: words(&message) }
        }
        E::RequestError(error) => of_request(error, image, registry, doing),
        E::SpecViolationError(_) if doing == "sent a blob" => RegistryError::Chunks { registry },
        other => RegistryError::Protocol { registry, doing, why: short(&other.to_string()) },
    }
}

/// The registry as it is named, and where it was looked for if that is elsewhere.
fn shown(image: &Reference, place: &Place) -> String {
    let registry = image.registry();
    if place.address == image.resolve_registry() {
        registry.to_owned()
    } else {
        format!("{registry} (at {})", place.address)
    }
}

/// Whether a server of tokens says that the login is wrong, rather than that it cannot answer.
fn is_refusal(said: &str) -> bool {
    const WORDS: [&str; 6] = ["unauthorized", "denied", "incorrect", "forbidden", "invalid", "credentials"];
    let said = said.to_ascii_lowercase();
    WORDS.iter().any(|word| said.contains(word))
}

fn not_found(image: &Reference) -> RegistryError {
    RegistryError::NotFound { image: image.whole(), registry: image.registry().to_owned() }
}

fn refused(image: &Reference, doing: &'static str) -> RegistryError {
    RegistryError::Refused { registry: image.registry().to_owned(), repository: image.repository().to_owned(), doing }
}

fn of_request(error: reqwest::Error, image: &Reference, registry: String, doing: &'static str) -> RegistryError {
    match error.status().map(|status| status.as_u16()) {
        Some(401 | 403) => refused(image, doing),
        Some(404) => not_found(image),
        Some(status) => RegistryError::Answer { registry, status, doing, why: error.without_url().to_string() },
        None => {
            let why = innermost(&error.without_url());
            // What rustls says of an answer that is no TLS, as one in plain HTTP.
            let no_tls = why.contains("InvalidContentType") || why.contains("corrupt message");
            if no_tls {
                RegistryError::Plain { registry }
            } else if why.contains("certificate") {
                RegistryError::Certificate { registry, why }
            } else {
                RegistryError::Unreachable { registry, why }
            }
        }
    }
}

/// The error's first cause, which is the one that says something.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

/// What a registry says in the body of an error: its messages where it has the usual form.
fn words(body: &str) -> String {
    let messages = serde_json::from_str::<serde_json::Value>(body).ok().and_then(|body| {
        let errors = body.get("errors")?.as_array()?.iter();
        let words = errors.filter_map(|error| error.get("message").or_else(|| error.get("code"))?.as_str());
        Some(words.collect::<Vec<_>>().join("; "))
    });
    short(messages.as_deref().unwrap_or(body))
}

fn short(text: &str) -> String {
    let text = text.trim();
    let mut end = SHOWN.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if text.is_empty() { "it gives no reason".to_owned() } else { text[..end].to_owned() }
}
