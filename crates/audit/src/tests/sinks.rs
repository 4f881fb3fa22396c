//! Sinks that are away, overloaded, strict or strange: every record arrives, once.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{
    answered,
    fake::{Elasticsearch, Mood},
    start,
};
use crate::{Credentials, ElasticsearchOptions, Limits, SinkOptions, Trail};

const TEMPLATE: &str = include_str!("../../../../deploy/elasticsearch/index-template.json");

fn to(url: reqwest::Url) -> SinkOptions {
    let elasticsearch = ElasticsearchOptions {
        url,
        credentials: Credentials::ApiKey("a2V5".into()),
        stream: "kea-audit".into(),
        template: TEMPLATE,
    };
    SinkOptions { elasticsearch: Some(elasticsearch), ..SinkOptions::default() }
}

async fn load(trail: &Trail, from: usize, count: usize) {
    for number in from..from + count {
        answered(trail, &format!("{number:06}"), 200).await;
    }
}

fn metric(trail: &Trail, name: &str) -> u64 {
    let mut page = String::new();
    trail.metrics(&mut page);
    let line = page.lines().find(|line| line.starts_with(&format!("kea_audit_sink_{name}{{sink=\"elasticsearch\"")));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits until the sink has all that is written.
async fn caught_up(trail: &Trail) {
    trail.flush().await;
    let all = async {
        while metric(trail, "behind_records") > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("the sink catches up");
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:06}")).collect()
}

async fn all_arrive(folder: &Path, fake: Elasticsearch, count: usize) -> (Arc<Trail>, Arc<Elasticsearch>) {
    let fake = Arc::new(fake);
    let url = fake.clone().serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).await;
    let trail = start(folder, Limits::default(), to(url));
    load(&trail, 0, count).await;
    caught_up(&trail).await;
    assert_eq!(fake.ids_of_requests(), numbers(count));
    (trail, fake)
}

#[tokio::test]
async fn every_record_arrives_once_whatever_the_sink_answers() {
    let folder = tempfile::tempdir().unwrap();
    let moods = [
        Mood::Status(503),
        Mood::Half,
        Mood::Status(429),
        Mood::Nonsense,
        Mood::Short,
        Mood::HangUp,
        Mood::Status(404),
    ];
    let (trail, fake) = all_arrive(folder.path(), Elasticsearch::moody(&moods), 500).await;
    // What was taken without a receipt was sent again, and found to be there.
    assert!(*fake.conflicts.lock().unwrap() > 0);
    assert_eq!(metric(&trail, "lost_total"), 0);
    assert_eq!(metric(&trail, "rejected_total"), 0);
    assert!(trail.troubles().is_empty());
    trail.stop().await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_split() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Elasticsearch { largest: Some(5_000), ..Elasticsearch::default() };
    let (trail, _) = all_arrive(folder.path(), fake, 100).await;
    assert_eq!(metric(&trail, "rejected_total"), 0);
    trail.stop().await;
}

#[tokio::test]
async fn a_record_that_is_too_large_alone_does_not_hold_up_others() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Arc::new(Elasticsearch { largest: Some(10), ..Elasticsearch::default() });
    let url = fake.clone().serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).await;
    let trail = start(folder.path(), Limits::default(), to(url));
    load(&trail, 0, 3).await;
    caught_up(&trail).await;
    assert_eq!(metric(&trail, "rejected_total"), 4);
    trail.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_down_for_the_whole_load_gets_all_of_it_once_it_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let trail = start(folder.path(), Limits::default(), to(format!("http://{address}").parse().unwrap()));
    load(&trail, 0, 2_000).await;
    trail.flush().await;
    let told = async {
        while trail.troubles().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("it is told");
    assert!(trail.troubles()[0].contains("`elasticsearch`"), "{:?}", trail.troubles());
    assert_eq!((metric(&trail, "up"), metric(&trail, "sent_total")), (0, 0));

    let fake = Arc::new(Elasticsearch::default());
    fake.clone().serve(TcpListener::bind(address).await.unwrap()).await;
    caught_up(&trail).await;
    assert_eq!(fake.ids_of_requests(), numbers(2_000));
    assert_eq!(metric(&trail, "up"), 1);
    trail.stop().await;
}

#[tokio::test]
async fn what_was_not_sent_before_a_restart_is_sent_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:1".parse().unwrap();
    let trail = start(folder.path(), Limits::default(), to(nowhere));
    load(&trail, 0, 50).await;
    trail.stop().await;

    let fake = Arc::new(Elasticsearch::default());
    let url = fake.clone().serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).await;
    let trail = start(folder.path(), Limits::default(), to(url.clone()));
    load(&trail, 50, 50).await;
    caught_up(&trail).await;
    trail.stop().await;
    assert_eq!(fake.ids_of_requests(), numbers(100));

    let trail = start(folder.path(), Limits::default(), to(url));
    caught_up(&trail).await;
    trail.stop().await;
    assert_eq!(*fake.conflicts.lock().unwrap(), 0, "what was sent is not sent again");
}

#[tokio::test]
async fn a_spool_that_is_full_loses_the_oldest_and_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { file_bytes: 10_000, files: 2, age: None };
    let trail = start(folder.path(), limits, to("http://127.0.0.1:1".parse().unwrap()));
    load(&trail, 0, 200).await;
    trail.stop().await;
    // The sink that is away may have noticed some already; the next one counts those that are left.
    let noticed = metric(&trail, "lost_total");

    let fake = Arc::new(Elasticsearch::default());
    let url = fake.clone().serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).await;
    let trail = start(folder.path(), limits, to(url));
    caught_up(&trail).await;
    let arrived = fake.documents.lock().unwrap().len() as u64;
    let lost = noticed + metric(&trail, "lost_total");
    // 200 requests, and the lines of two starts.
    assert_eq!(arrived + lost, 202);
    assert!(arrived > 0 && lost > 0);
    trail.stop().await;
}
