//! Log lines of a service, from its pods.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{AsyncBufReadExt, StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kea_core::ServiceId;
use kea_logs::{BUILD, Entries, Entry, LogError, Query, ServiceLogs, Stream};
use kube::{Api, Client, ResourceExt, api::LogParams};

use crate::{images, view::ClusterView};

/// Lines where a query does not say how many.
const LINES: usize = 100;

/// Most lines of one answer.
const MOST: usize = 10_000;

/// Pods that are asked at the same time.
const AT_ONCE: usize = 16;

/// Reads the logs of services from their pods.
pub struct PodLogs {
    client: Client,
    view: Arc<ClusterView>,
}

/// One container of a pod.
struct Source {
    pod: Arc<Pod>,
    container: String,
    /// The one before the last restart.
    previous: bool,
}

impl PodLogs {
    pub(crate) fn new(client: Client, view: Arc<ClusterView>) -> Self {
        Self { client, view }
    }

    /// The containers that a query is about: of all replicas, or of one, or those of builds.
    fn sources(&self, service: &ServiceId, query: &Query, follow: bool) -> Vec<Source> {
        let Some(caches) = self.view.caches() else { return Vec::new() };
        let Some(deployment) = caches.holders(service.as_str()).into_iter().next() else { return Vec::new() };
        let pods = match query.replica.as_deref() {
            Some(BUILD) => caches.pods.state_filter(|pod| images::is_of_build(pod, &deployment)),
            Some(name) => {
                let pods = caches.pods_of(&deployment);
                pods.into_iter().filter(|pod| pod.metadata.name.as_deref() == Some(name)).collect()
            }
            None => caches.pods_of(&deployment),
        };
        pods.into_iter().flat_map(|pod| containers(&pod, follow)).collect()
    }

    async fn lines(&self, source: Source, query: &Query) -> Result<Vec<Entry>, LogError> {
        let name = source.pod.name_any();
        let text = self.api(&source.pod).logs(&name, &params(&source, query, false)).await;
        match text {
            Ok(text) => Ok(text.lines().map(|line| entry(&name, line)).collect()),
            // A container that has not started has no log, and one that is gone has none any more.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) => Ok(Vec::new()),
            Err(error) => Err(LogError::Elsewhere(crate::error::said(&error))),
        }
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
    }
}

fn containers(pod: &Arc<Pod>, follow: bool) -> Vec<Source> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let all = init.chain(spec.map(|spec| &spec.containers).into_iter().flatten());
    let names: Vec<String> = all.map(|container| container.name.clone()).collect();
    let source = |container: &String, previous| Source { pod: pod.clone(), container: container.clone(), previous };
    let current = names.iter().map(|name| source(name, false));
    let restarted = names.iter().filter(|name| !follow && was_restarted(pod, name)).map(|name| source(name, true));
    restarted.chain(current).collect()
}

fn was_restarted(pod: &Pod, container: &str) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    statuses.filter(|status| status.name == container).any(|status| status.restart_count > 0)
}

fn params(source: &Source, query: &Query, follow: bool) -> LogParams {
    let lines = query.tail.unwrap_or(if query.since.is_some() { MOST } else { LINES }).min(MOST);
    LogParams {
        container: Some(source.container.clone()),
        previous: source.previous,
        follow,
        timestamps: true,
        tail_lines: i64::try_from(lines).ok(),
        since_time: query.since,
        ..LogParams::default()
    }
}

/// A line as the API server gives it, with its time before it.
fn entry(pod: &str, line: &str) -> Entry {
    let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (time, line) = match time.parse::<Timestamp>() {
        Ok(time) => (time, rest),
        Err(_) => (Timestamp::UNIX_EPOCH, line),
    };
    Entry { time, replica: pod.into(), stream: Stream::Stdout, line: line.replace('\r', "") }
}

#[async_trait]
impl ServiceLogs for PodLogs {
    async fn tail(&self, service: &ServiceId, query: Query) -> Result<Vec<Entry>, LogError> {
        let sources = self.sources(service, &query, false);
        let asked = sources.into_iter().map(|source| self.lines(source, &query));
        let answers: Vec<Vec<Entry>> = stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await?;
        let mut entries: Vec<Entry> = answers.into_iter().flatten().collect();
        entries.sort_by_key(|entry| entry.time);
        let most = query.tail.unwrap_or(if query.since.is_some() { MOST } else { LINES }).min(MOST);
        let excess = entries.len().saturating_sub(most);
        Ok(entries.split_off(excess))
    }

    async fn follow(&self, service: &ServiceId, query: Query) -> Result<Entries, LogError> {
        let mut streams = Vec::new();
        for source in self.sources(service, &query, true) {
            let name = source.pod.name_any();
            let lines = match self.api(&source.pod).log_stream(&name, &params(&source, &query, true)).await {
                Ok(reader) => reader.lines(),
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) => continue,
                Err(error) => return Err(LogError::Elsewhere(crate::error::said(&error))),
            };
            let entries = lines.filter_map(move |line| future::ready(line.ok().map(|line| entry(&name, &line))));
            streams.push(entries.boxed());
        }
        Ok(stream::select_all(streams).boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_time_and_pod() {
        let entry = entry("iris-1-x", "2026-01-31T12:00:00.123456789Z the model is ready");
        assert_eq!((entry.line.as_str(), &*entry.replica), ("the model is ready", "iris-1-x"));
        assert_eq!(entry.time.as_second(), 1_769_860_800);
    }
}
