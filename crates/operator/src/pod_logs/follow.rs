//! Follows the logs of a service's pods, also of those that come later: after a restart, a scale-up or an update.

use std::collections::HashSet;

use futures_util::{FutureExt, StreamExt, stream, stream::BoxStream, stream::SelectAll};
use kea_core::ServiceId;
use kea_logs::{Entry, LogError, Query};
use kube::{ResourceExt, api::LogParams};
use tokio::sync::watch;

use super::{PodLogs, Source, is_nothing, params};

/// One run of a container: a restarted one has another log.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Run {
    pod: String,
    container: String,
    restarts: i32,
}

/// A service's pods, and the logs of theirs that are open.
pub(super) struct Following {
    logs: PodLogs,
    service: ServiceId,
    query: Query,
    changes: watch::Receiver<u64>,
    open: HashSet<Run>,
    streams: SelectAll<BoxStream<'static, Entry>>,
    is_gone: bool,
}

impl Following {
    /// Opens the logs of the containers that run now, at the end that `query` asks for.
    ///
    /// # Errors
    /// The API server does not give one of them.
    pub(super) async fn begin(logs: PodLogs, service: ServiceId, query: Query) -> Result<Self, LogError> {
        // What changes while the logs are opened is looked at afterwards.
        let changes = logs.view.changes();
        let (open, streams, is_gone) = (HashSet::new(), SelectAll::new(), false);
        let mut following = Self { logs, service, query, changes, open, streams, is_gone };
        for (run, source) in following.runs() {
            match following.logs.open(&source, &params(&source, &following.query, true)).await {
                Ok(entries) => following.streams.push(entries),
                Err(error) if is_nothing(&error) => {}
                Err(error) => return Err(LogError::Elsewhere(crate::error::said(&error))),
            }
            following.open.insert(run);
        }
        Ok(following)
    }

    /// The next line; `None` once the service is gone and its pods have said all.
    pub(super) async fn next(&mut self) -> Option<Entry> {
        loop {
            if self.is_gone {
                return self.streams.next().await;
            }
            tokio::select! {
                Some(entry) = self.streams.next() => return Some(entry),
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.pick_up(),
                    Err(_closed) => self.is_gone = true,
                },
            }
        }
    }

    /// Opens the logs of runs that are new, from their first line on.
    fn pick_up(&mut self) {
        self.is_gone = self.logs.holder(&self.service).is_none();
        let runs = self.runs();
        let now = runs.iter().map(|(run, _)| run.clone()).collect();
        for (_, source) in runs.into_iter().filter(|(run, _)| !self.open.contains(run)) {
            self.streams.push(self.log_of_run(source));
        }
        self.open = now;
    }

    fn log_of_run(&self, source: Source) -> BoxStream<'static, Entry> {
        let logs = self.logs.clone();
        let params = LogParams { tail_lines: None, since_time: None, ..params(&source, &self.query, true) };
        let opening = async move {
            logs.open(&source, &params).await.unwrap_or_else(|error| {
                let said = crate::error::said(&error);
                tracing::warn!(
                    pod = source.pod.name_any(),
                    container = source.container,
                    "no log can be followed: {said}"
                );
                stream::empty().boxed()
            })
        };
        opening.flatten_stream().boxed()
    }

    /// Runs of which there is something to read.
    fn runs(&self) -> Vec<(Run, Source)> {
        let sources = self.logs.sources(&self.service, &self.query, true).into_iter();
        sources.filter_map(|source| Some((run(&source)?, source))).collect()
    }
}

/// The run that a container's log is of; `None` before its first.
fn run(source: &Source) -> Option<Run> {
    let status = source.pod.status.as_ref()?;
    let init = status.init_container_statuses.as_ref().into_iter().flatten();
    let mut all = init.chain(status.container_statuses.as_ref().into_iter().flatten());
    let container = all.find(|container| container.name == source.container)?;
    let has_begun = [&container.state, &container.last_state]
        .into_iter()
        .flatten()
        .any(|state| state.running.is_some() || state.terminated.is_some());
    has_begun.then(|| Run {
        pod: source.pod.uid().unwrap_or_default(),
        container: source.container.clone(),
        restarts: container.restart_count,
    })
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Pod;
    use kea_core::{
        ServiceId, VersionId,
        port::{RouteFollower, Traffic},
        routing::RoutingSnapshot,
        tally::Tally,
    };
    use kube::{
        Client,
        client::Body,
        runtime::{
            reflector::{store, store::Writer},
            watcher::Event,
        },
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        resources::MlDeployment,
        settings::ClusterSettings,
        trials::Trials,
        view::ClusterView,
        watch::{Caches, Change},
    };

    struct Nobody;

    impl RouteFollower for Nobody {
        fn follow(&self, _: &RoutingSnapshot) {}
    }

    impl Traffic for Nobody {
        fn tally(&self, _: &ServiceId, _: &VersionId) -> Tally {
            Tally::default()
        }
    }

    /// A cluster whose API server has one line of each log: the pod's name and the question.
    struct Cluster {
        view: Arc<ClusterView>,
        deployments: Writer<MlDeployment>,
        pods: Writer<Pod>,
    }

    impl Cluster {
        fn new() -> Self {
            let settings = ClusterSettings {
                namespace: "kea".into(),
                all_namespaces: true,
                image: String::new(),
                builder_image: String::new(),
                registry: None,
                url: None,
                replica_mtls: false,
                body_limit: 0,
            };
            let (deployments, pods) = (store(), store());
            let caches = Caches {
                models: store().0,
                deployments: deployments.0,
                versions: store().0,
                pods: pods.0,
                services: store().0,
                made: None,
            };
            let view = Arc::new(ClusterView::new(settings, Arc::new(Nobody), Arc::new(Trials::new(Arc::new(Nobody)))));
            view.complete(caches);
            let mut cluster = Self { view, deployments: deployments.1, pods: pods.1 };
            let deployment = json!({"metadata": {"name": "iris", "namespace": "team", "uid": "0f"}, "spec": {}});
            cluster.deployments.apply_watcher_event(&Event::Apply(serde_json::from_value(deployment).unwrap()));
            cluster
        }

        fn logs(&self) -> PodLogs {
            let answer = |request: Request<Body>| async move {
                let name = request.uri().path().split('/').nth(6).unwrap_or_default().to_string();
                let query = request.uri().query().unwrap_or_default();
                let end = if query.contains("tailLines=5") { "end" } else { "start" };
                let line = format!("2026-01-31T12:00:00Z {name} from its {end}\n");
                Ok::<_, Infallible>(Response::new(Body::from(line.into_bytes())))
            };
            PodLogs::new(Client::new(tower::service_fn(answer), "team"), self.view.clone())
        }

        fn pod(&mut self, name: &str, state: &str, restarts: u32) {
            let labels = json!({
                "app.kubernetes.io/component": "model",
                "ml.kea-project.io/service": "iris",
                "ml.kea-project.io/owner": "0f",
            });
            let status = json!({"name": "model", "image": "", "imageID": "", "ready": true, "restartCount": restarts,
                                "state": {state: {}}});
            let pod: Value = json!({
                "metadata": {"name": name, "namespace": "team", "uid": name, "labels": labels},
                "spec": {"containers": [{"name": "model"}]},
                "status": {"containerStatuses": [status]},
            });
            self.pods.apply_watcher_event(&Event::Apply(serde_json::from_value(pod).unwrap()));
            self.view.note(&Change::All);
        }
    }

    async fn line(following: &mut Following) -> Option<String> {
        let within = tokio::time::Duration::from_secs(5);
        tokio::time::timeout(within, following.next()).await.expect("there is a line").map(|entry| entry.line)
    }

    #[tokio::test]
    async fn pods_that_come_later_are_followed_too() {
        let mut cluster = Cluster::new();
        cluster.pod("first", "running", 0);
        let query = Query { tail: Some(5), ..Query::default() };
        let mut following = Following::begin(cluster.logs(), "iris".parse().unwrap(), query).await.unwrap();
        assert_eq!(line(&mut following).await.unwrap(), "first from its end");
        // One that has not begun has nothing to tell.
        cluster.pod("second", "waiting", 0);
        cluster.pod("third", "running", 0);
        assert_eq!(line(&mut following).await.unwrap(), "third from its start");
        cluster.pod("second", "running", 0);
        assert_eq!(line(&mut following).await.unwrap(), "second from its start");
        // The same run is read once, a restarted container anew.
        cluster.pod("first", "terminated", 0);
        cluster.pod("first", "running", 1);
        assert_eq!(line(&mut following).await.unwrap(), "first from its start");
    }

    #[tokio::test]
    async fn it_ends_with_the_service() {
        let mut cluster = Cluster::new();
        let query = Query::default();
        let mut following = Following::begin(cluster.logs(), "iris".parse().unwrap(), query).await.unwrap();
        let deployment = cluster.view.caches().unwrap().deployment("team", "iris").unwrap();
        cluster.deployments.apply_watcher_event(&Event::Delete((*deployment).clone()));
        cluster.view.note(&Change::All);
        assert_eq!(line(&mut following).await, None);
    }
}
