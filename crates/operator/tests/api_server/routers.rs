//! What routers see of a cluster whose API server goes away.

use std::sync::{Arc, Mutex};

use kea_core::{
    ServiceId, VersionId,
    port::{RouteFollower, Traffic},
    routing::{RoutingSnapshot, ServiceRoute},
    tally::Tally,
};
use kea_operator::{ClusterGateway, Trials};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    mock::objects::Part,
    scene::{Scene, service, settings},
};

/// Every table that a router was given.
#[derive(Default)]
struct Tables(Mutex<Vec<RoutingSnapshot>>);

impl RouteFollower for Tables {
    fn follow(&self, snapshot: &RoutingSnapshot) {
        self.0.lock().unwrap().push(snapshot.clone());
    }
}

impl Traffic for Tables {
    fn tally(&self, _: &ServiceId, _: &VersionId) -> Tally {
        Tally::default()
    }
}

impl Tables {
    /// All routes of the service, the latest last.
    fn routes(&self) -> Vec<Option<Arc<ServiceRoute>>> {
        self.0.lock().unwrap().iter().map(|table| table.services.get("iris").cloned()).collect()
    }

    /// The version that a request gets now, and from how many replicas.
    fn answers(&self) -> Option<(String, usize)> {
        let route = self.routes().pop().flatten()?;
        let version = route.version(None)?;
        Some((version.version.to_string(), version.replicas.len()))
    }
}

#[tokio::test]
async fn routers_keep_their_table_while_the_server_is_away_and_miss_nothing() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let operator = scene.operator("operator");
    scene.until_runs("iris", "1").await;
    let (tables, stop) = (Arc::new(Tables::default()), CancellationToken::new());
    let trials = Arc::new(Trials::new(tables.clone()));
    let gateway = ClusterGateway::new(scene.client("router"), settings(), tables.clone(), trials);
    gateway.start(&stop).await;
    let answers = |version: &str| tables.answers() == Some((version.to_owned(), 2));
    scene.until("the router has its table", || answers("1")).await;

    scene.server.set_away(true);
    scene.server.objects.forget_history();
    scene.until("the router has noticed", || scene.server.turned_away() > 15).await;
    assert!(answers("1"));
    scene.model("iris", "2");
    scene.server.set_away(false);
    scene.until("the router has followed", || answers("2")).await;
    let served = |route: &Option<Arc<ServiceRoute>>| {
        let version = route.as_ref().and_then(|route| route.version(None));
        version.is_some_and(|version| !version.replicas.is_empty())
    };
    assert!(tables.routes().iter().all(served), "{:#?}", tables.routes());

    operator.kill();
    scene.server.set_away(true);
    scene.server.objects.delete(&service("iris")).unwrap();
    scene.server.objects.forget_history();
    scene.server.set_away(false);
    scene.until("the service is gone", || tables.routes().last().is_some_and(Option::is_none)).await;
    stop.cancel();
}

#[tokio::test]
async fn a_shadow_runs_beside_the_live_version_until_it_takes_over() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let _operator = scene.operator("operator");
    scene.until_runs("iris", "1").await;
    let (tables, stop) = (Arc::new(Tables::default()), CancellationToken::new());
    let gateway =
        ClusterGateway::new(scene.client("router"), settings(), tables.clone(), Arc::new(Trials::new(tables.clone())));
    gateway.start(&stop).await;
    let shadow = |asked: Value| {
        let change = json!({"spec": {"shadow": asked}});
        scene.server.objects.merge(&service("iris"), Part::Whole, &change).unwrap();
    };

    // Asked for before its model, which would take over at once without it.
    shadow(json!({"version": "2", "percent": 50, "tolerance": 0.01}));
    scene.model("iris", "2");
    let noted = json!({"version": "2", "percent": 50, "tolerance": 0.01, "replicas": 1, "readyReplicas": 1});
    let is_noted = || {
        let status = scene.status("iris");
        status["shadow"] == noted && status["state"] == "deployed" && status["liveVersion"] == "1"
    };
    scene.until("the shadow runs", is_noted).await;
    let copies = || {
        let route = tables.routes().pop().flatten()?;
        let shadow = route.shadow.clone()?;
        Some((shadow.percent(), route.version(Some(shadow.version.as_str()))?.replicas.len()))
    };
    scene.until("routers send it copies", || copies() == Some((50, 1))).await;
    assert_eq!(tables.answers(), Some(("1".into(), 2)));
    assert!(tables.routes().iter().flatten().all(|route| route.canary.is_none()));

    shadow(Value::Null);
    scene.until_runs("iris", "2").await;
    scene.until("routers send it all", || tables.answers() == Some(("2".into(), 2)) && copies().is_none()).await;
    assert_eq!(scene.status("iris")["shadow"], Value::Null);
    stop.cancel();
}
