//! Log lines of a service, from its pods.

mod follow;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{AsyncBufReadExt, AsyncReadExt, StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kea_core::ServiceId;
use kea_logs::{BUILD, Entries, Entry, LogError, Query, ServiceLogs, Stream};
use kube::{Api, Client, ResourceExt, api::LogParams};

use self::follow::Following;
use crate::{images, resources::MlDeployment, view::ClusterView};

/// Lines where a query does not say how many.
const LINES: usize = 100;

/// Most lines of one answer.
const MOST: usize = 10_000;

/// Most bytes of one container's log in one answer.
const MOST_BYTES: usize = 1 << 20;

/// Pods that are asked at the same time.
const AT_ONCE: usize = 16;

/// Reads the logs of services from their pods.
#[derive(Clone)]
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
        let Some(deployment) = self.holder(service) else { return Vec::new() };
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

    fn holder(&self, service: &ServiceId) -> Option<Arc<MlDeployment>> {
        self.view.caches()?.holders(service.as_str()).into_iter().next()
    }

    /// The last lines of a container.
    async fn lines(&self, source: Source, query: &Query) -> Result<Vec<Entry>, LogError> {
        let name = source.pod.name_any();
        let (api, of_query) = (self.api(&source.pod), params(&source, query, false));
        let (api, of_query, name) = (&api, &of_query, &name);
        let read = |lines| async move {
            let params = LogParams {
                tail_lines: i64::try_from(lines).ok(),
                limit_bytes: i64::try_from(MOST_BYTES).ok(),
                ..of_query.clone()
            };
            let mut text = Vec::new();
            let mut stream = std::pin::pin!(api.log_stream(name, &params).await?);
            stream.read_to_end(&mut text).await.map_err(kube::Error::ReadEvents)?;
            Ok(text)
        };
        match end_of_log(most_lines(query), MOST_BYTES, read).await {
            Ok(end) => Ok(entries(name, &end)),
            Err(error) if is_nothing(&error) => Ok(Vec::new()),
            Err(error) => Err(LogError::Elsewhere(crate::error::said(&error))),
        }
    }

    /// The lines of a container, as `params` ask for them.
    async fn open(&self, source: &Source, params: &LogParams) -> Result<BoxStream<'static, Entry>, kube::Error> {
        let name = source.pod.name_any();
        let lines = self.api(&source.pod).log_stream(&name, params).await?.lines();
        Ok(lines.filter_map(move |line| future::ready(line.ok().map(|line| entry(&name, &line)))).boxed())
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

/// A container that has not started has no log, and one that is gone has none any more.
fn is_nothing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 404))
}

/// How many lines an answer has at most.
fn most_lines(query: &Query) -> usize {
    query.tail.unwrap_or(if query.since.is_some() { MOST } else { LINES }).min(MOST)
}

fn params(source: &Source, query: &Query, follow: bool) -> LogParams {
    LogParams {
        container: Some(source.container.clone()),
        previous: source.previous,
        follow,
        timestamps: true,
        tail_lines: i64::try_from(most_lines(query)).ok(),
        since_time: query.since,
        ..LogParams::default()
    }
}

/// The end of a log.
#[derive(Debug, PartialEq, Eq)]
struct End {
    text: Vec<u8>,
    /// Whether fewer lines were taken than were asked for.
    is_cut: bool,
}

/// The last `lines` of a log, as many of them as fit into `bytes`. `read` gives as many of the last lines as it is asked
/// for, and stops after so many bytes of them; then the latest would be missing, and fewer lines are asked for.
async fn end_of_log<E, F: Future<Output = Result<Vec<u8>, E>>>(
    lines: usize,
    bytes: usize,
    read: impl Fn(usize) -> F,
) -> Result<End, E> {
    let mut asked = lines;
    loop {
        let text = read(asked).await?;
        let is_full = text.len() >= bytes;
        if !is_full || asked <= 1 {
            return Ok(End { text, is_cut: is_full || asked < lines });
        }
        let came = text.iter().filter(|byte| **byte == b'\n').count();
        asked = (came / 2).clamp(1, asked - 1);
    }
}

/// The lines of the end of a log, with one before them where there would be more.
fn entries(pod: &str, end: &End) -> Vec<Entry> {
    let text = String::from_utf8_lossy(&end.text);
    let mut entries: Vec<Entry> = text.lines().map(|line| entry(pod, line)).collect();
    if end.is_cut {
        let line = format!(
            "the lines before are left out: at most {} MiB of a container's log are read; ask for fewer lines with `tail`, \
             or follow the log",
            MOST_BYTES >> 20
        );
        let time = entries.first().map_or(Timestamp::UNIX_EPOCH, |first| first.time);
        entries.insert(0, Entry { time, replica: pod.into(), stream: Stream::Kea, line });
    }
    entries
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
        let excess = entries.len().saturating_sub(most_lines(&query));
        Ok(entries.split_off(excess))
    }

    async fn follow(&self, service: &ServiceId, query: Query) -> Result<Entries, LogError> {
        let following = Following::begin(self.clone(), service.clone(), query).await?;
        let entries = stream::unfold(following, |mut following| async move {
            let entry = following.next().await?;
            Some((entry, following))
        });
        Ok(entries.boxed())
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

    /// The end of a log of `lines` lines of ten bytes, as an API server gives it.
    async fn end(lines: usize, asked: usize, bytes: usize) -> End {
        let read = |tail: usize| async move {
            let text: String = (lines.saturating_sub(tail)..lines).map(|line| format!("{line:09}\n")).collect();
            Ok::<_, std::convert::Infallible>(text.as_bytes()[..text.len().min(bytes)].to_vec())
        };
        let Ok(end) = end_of_log(asked, bytes, read).await;
        end
    }

    #[tokio::test]
    async fn the_latest_lines_are_those_that_fit() {
        let whole = end(5, 100, 1000).await;
        assert_eq!((whole.text.len(), whole.is_cut), (50, false));
        let cut = end(5000, 4000, 1000).await;
        assert!(cut.is_cut && cut.text.len() < 1000 && cut.text.len() >= 250, "{}", cut.text.len());
        assert!(cut.text.ends_with(b"000004999\n"));
        // A line that does not fit alone is cut itself.
        assert_eq!(end(5, 100, 4).await, End { text: b"0000".to_vec(), is_cut: true });
    }

    #[test]
    fn a_cut_log_says_so_first() {
        let text = b"2026-01-31T12:00:00Z one\n2026-01-31T12:00:01Z \xff\n".to_vec();
        let lines = entries("iris-1-x", &End { text, is_cut: true });
        assert!(lines[0].line.contains("are left out: at most 1 MiB"), "{}", lines[0].line);
        assert_eq!(lines[0].time, lines[1].time);
        assert_eq!((lines[1].line.as_str(), lines[2].line.as_str()), ("one", "\u{fffd}"));
    }
}
