//! What Elasticsearch and Kibana need to know before records are of use to people.

use reqwest::{Url, header::CONTENT_TYPE};

use super::{Credentials, ElasticsearchOptions, client, excerpt};
use crate::AuditError;

/// What stands between the parts of an upload, and in none of them.
const BOUNDARY: &str = "kea-0c1f5f3e-saved-objects";

/// A URL below another.
pub(crate) fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// Puts the index template there.
pub(crate) async fn put_template(http: &reqwest::Client, options: &ElasticsearchOptions) -> Result<(), String> {
    let url = join(&options.url, &["_index_template", &options.stream]);
    let template = options.template.replace("\"kea-audit\"", &format!("\"{}\"", options.stream));
    let request = http.put(url).header(CONTENT_TYPE, "application/json").body(template);
    let response = options.credentials.with(request).send().await.map_err(|error| error.without_url().to_string())?;
    if response.status().is_success() { Ok(()) } else { Err(format!("no index template: {}", excerpt(response).await)) }
}

/// Puts the index template into Elasticsearch, as the sink does before its first record.
///
/// # Errors
/// [`AuditError::Sink`].
pub async fn setup_elasticsearch(options: &ElasticsearchOptions) -> Result<(), AuditError> {
    put_template(&client()?, options).await.map_err(AuditError::Sink)
}

/// Imports saved objects into Kibana, in place of those of the same ids.
///
/// # Errors
/// [`AuditError::Sink`].
pub async fn setup_kibana(url: &Url, credentials: &Credentials, objects: &str) -> Result<(), AuditError> {
    let mut url = join(url, &["api", "saved_objects", "_import"]);
    url.set_query(Some("overwrite=true"));
    let body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"kea.ndjson\"\r\n\
         Content-Type: application/ndjson\r\n\r\n{objects}\r\n--{BOUNDARY}--\r\n"
    );
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    // Kibana wants to know that this is no form of a stranger's page.
    let request = client()?.post(url).header(CONTENT_TYPE, content_type).header("kbn-xsrf", "kea").body(body);
    let sent = credentials.with(request).send().await;
    let response = sent.map_err(|error| AuditError::Sink(error.without_url().to_string()))?;
    match response.status().is_success() {
        true => Ok(()),
        false => Err(AuditError::Sink(format!("Kibana did not take the dashboards: {}", excerpt(response).await))),
    }
}
