//! Watches: one line of JSON for each change after a version, for as long as nobody cuts them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::{
    http::{ApiServer, Body, Broken, is_of, refusal, status},
    objects::{Change, Key, Refused},
};

/// How often a watch in which nothing happens says up to which version that is so.
const BOOKMARK_EVERY: Duration = Duration::from_millis(500);

/// How watches end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Between two events, as after the time that a watch may take.
    End,
    /// The connection breaks.
    Break,
    /// The connection breaks within the line of the next event.
    MidLine,
    /// The server says that it has forgotten the version that was watched from.
    Gone,
}

struct Watch {
    server: Arc<ApiServer>,
    key: Key,
    selector: Option<String>,
    version: u64,
    versions: watch::Receiver<u64>,
    cuts: broadcast::Receiver<Cut>,
    lines: VecDeque<Bytes>,
    ends: Ends,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    NotYet,
    WithinALine,
    Now,
    Broken,
}

/// The answer to a request to watch what happens after `version`.
pub(super) fn answer(
    server: Arc<ApiServer>,
    key: Key,
    version: u64,
    query: &HashMap<String, String>,
) -> Response<Body> {
    let watch = Watch {
        versions: server.objects.versions(),
        cuts: server.cuts.subscribe(),
        selector: query.get("labelSelector").cloned(),
        server,
        key,
        version,
        lines: VecDeque::new(),
        ends: Ends::NotYet,
    };
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((line.map(Frame::data), watch))
    });
    let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
    answer.body(BodyExt::boxed(StreamBody::new(Box::pin(lines)))).expect("its parts are valid")
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        loop {
            match (self.ends, self.lines.pop_front()) {
                (Ends::WithinALine, Some(line)) => {
                    self.ends = Ends::Broken;
                    self.lines.clear();
                    return Some(Ok(line.slice(..line.len() / 2)));
                }
                (_, Some(line)) => return Some(Ok(line)),
                (Ends::Now, None) => return None,
                (Ends::Broken, None) => {
                    self.ends = Ends::Now;
                    return Some(Err(Broken));
                }
                (Ends::NotYet | Ends::WithinALine, None) => {}
            }
            self.read();
            if self.lines.is_empty() {
                self.wait().await;
            }
        }
    }

    /// Takes what has happened since.
    fn read(&mut self) {
        let Ok(changes) = self.server.objects.since(self.version) else { return self.gone() };
        for change in changes {
            self.version = change.version;
            self.lines.extend(self.event(&change));
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.versions.changed() => {}
            cut = self.cuts.recv() => match cut {
                Ok(Cut::Gone) => self.gone(),
                Ok(Cut::MidLine) => self.ends = Ends::WithinALine,
                Ok(Cut::Break) => self.ends = Ends::Broken,
                Ok(Cut::End) | Err(_) => self.ends = Ends::Now,
            },
            () = tokio::time::sleep(BOOKMARK_EVERY), if self.ends == Ends::NotYet => {
                let object = json!({"kind": "Bookmark", "apiVersion": "v1",
                                    "metadata": {"resourceVersion": self.version.to_string()}});
                self.lines.push_back(line("BOOKMARK", &object));
            }
        }
    }

    fn gone(&mut self) {
        self.lines.push_back(line("ERROR", &status(&refusal(&Refused::Gone, &self.key))));
        self.ends = Ends::Now;
    }

    /// What this watch hears of a change: an object that is selected no more is gone for it.
    fn event(&self, change: &Change) -> Option<Bytes> {
        if change.key.resource != self.key.resource {
            return None;
        }
        let selected = |object: &&Value| is_of(&change.key, &self.key.namespace, object, self.selector.as_deref());
        let before = change.before.as_ref().filter(selected);
        let after = change.after.as_ref().filter(selected);
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(line("ADDED", after)),
            (Some(_), Some(after)) => Some(line("MODIFIED", after)),
            (Some(before), None) => Some(line("DELETED", change.after.as_ref().unwrap_or(before))),
        }
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": kind, "object": object})).into()
}
