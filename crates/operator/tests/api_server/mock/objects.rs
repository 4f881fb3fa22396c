//! The objects of the mocked API server, with what Kubernetes keeps of each: `uid`, `creationTimestamp`, `generation`,
//! `resourceVersion`; and the history that watches are answered from.
//!
//! Server-side apply is a deep merge by field: what a manager applied before and leaves out now is removed, lists are
//! replaced whole, and every apply is forced. Defaults are not filled in, and nothing is validated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// Which object: `apps/deployments`, `team`, `iris-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Group and plural; the plural alone for the core group.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// Which part of an object a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Whole,
    Status,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Value>,
    /// The object from then on; `None` once it is gone.
    pub(crate) after: Option<Value>,
}

/// Why a request is not answered with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotFound,
    AlreadyExists,
    Conflict,
    /// Changes from so long ago are not known any more.
    Gone,
}

/// All objects.
pub(crate) struct Objects {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// Changes up to this one are forgotten.
    forgotten: u64,
    objects: BTreeMap<Key, Value>,
    history: Vec<Change>,
    /// What each manager applied last.
    applied: HashMap<(Key, Part, String), Value>,
    /// How often an object of that name was made.
    made: HashMap<Key, u32>,
}

impl Objects {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), version: watch::channel(0).0 }
    }

    /// The version of the latest change, now and whenever there is another one.
    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Value> {
        self.state().objects.get(key).cloned()
    }

    /// Objects of a resource in all namespaces, and the version of the whole at that moment.
    pub(crate) fn list(&self, resource: &str) -> (Vec<(Key, Value)>, u64) {
        let state = self.state();
        let found = state.objects.iter().filter(|(key, _)| key.resource == resource);
        (found.map(|(key, object)| (key.clone(), object.clone())).collect(), state.version)
    }

    /// Everything that there is.
    pub(crate) fn all(&self) -> BTreeMap<Key, Value> {
        self.state().objects.clone()
    }

    /// What happened after `version`.
    pub(crate) fn since(&self, version: u64) -> Result<Vec<Change>, Refused> {
        let state = self.state();
        if version < state.forgotten {
            return Err(Refused::Gone);
        }
        Ok(state.history.iter().filter(|change| change.version > version).cloned().collect())
    }

    /// Forgets what has happened, as etcd does after a while.
    pub(crate) fn forget_history(&self) {
        let mut state = self.state();
        state.forgotten = state.version;
        state.history.clear();
    }

    pub(crate) fn create(&self, key: &Key, object: Value) -> Result<Value, Refused> {
        self.change(|state| match state.objects.contains_key(key) {
            true => Err(Refused::AlreadyExists),
            false => Ok(state.put(key, object)),
        })
    }

    pub(crate) fn replace(&self, key: &Key, part: Part, wanted: Value) -> Result<Value, Refused> {
        self.change(|state| {
            let before = state.objects.get(key).ok_or(Refused::NotFound)?;
            must_be_current(before, &wanted)?;
            let merged = only(part, before, wanted);
            Ok(state.put(key, merged))
        })
    }

    /// A merge patch: `null` removes a field.
    pub(crate) fn merge(&self, key: &Key, part: Part, patch: &Value) -> Result<Value, Refused> {
        self.change(|state| {
            let before = state.objects.get(key).ok_or(Refused::NotFound)?;
            let mut after = before.clone();
            merge(&mut after, patch);
            let merged = only(part, before, after);
            Ok(state.put(key, merged))
        })
    }

    /// Server-side apply; it makes what is not there.
    pub(crate) fn apply(&self, key: &Key, part: Part, manager: &str, wanted: &Value) -> Result<Value, Refused> {
        self.change(|state| {
            let before = state.objects.get(key).cloned();
            if before.is_none() && part == Part::Status {
                return Err(Refused::NotFound);
            }
            before.as_ref().map_or(Ok(()), |before| must_be_current(before, wanted))?;
            let mut after = before.clone().unwrap_or_else(|| json!({}));
            let last = state.applied.insert((key.clone(), part, manager.into()), wanted.clone());
            if let Some(last) = last.filter(|_| before.is_some()) {
                drop_left_out(&mut after, &last, wanted);
            }
            merge(&mut after, wanted);
            let merged = before.as_ref().map_or_else(|| after.clone(), |before| only(part, before, after.clone()));
            Ok(state.put(key, merged))
        })
    }

    /// Removes an object and what belongs to it; one with finalizers is marked alone.
    pub(crate) fn delete(&self, key: &Key) -> Result<(), Refused> {
        self.change(|state| {
            let mut object = state.objects.get(key).cloned().ok_or(Refused::NotFound)?;
            if object["metadata"]["deletionTimestamp"].is_null() {
                object["metadata"]["deletionTimestamp"] = now();
            }
            state.put(key, object);
            Ok(())
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Refused>) -> Result<T, Refused> {
        let mut state = self.state();
        let done = change(&mut state)?;
        state.collect_garbage();
        let version = state.version;
        drop(state);
        self.version.send_if_modified(|known| std::mem::replace(known, version.max(*known)) < version);
        Ok(done)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// Keeps an object; one that is told to go and that nothing holds goes.
    fn put(&mut self, key: &Key, mut object: Value) -> Value {
        let before = self.objects.get(key).cloned();
        let metadata = &object["metadata"];
        let held = metadata["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        if !metadata["deletionTimestamp"].is_null() && !held {
            self.remove(key);
            return object;
        }
        self.stamp(key, before.as_ref(), &mut object);
        if before.as_ref() == Some(&object) {
            return object;
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key.clone(), object.clone());
        self.history.push(Change { version: self.version, key: key.clone(), before, after: Some(object.clone()) });
        object
    }

    /// Sets what no client may set.
    fn stamp(&mut self, key: &Key, before: Option<&Value>, object: &mut Value) {
        let (uid, created, version, generation) = match before {
            Some(before) => {
                let known = &before["metadata"];
                let generation = known["generation"].as_u64().unwrap_or(1);
                let generation = if wish(before) == wish(object) { generation } else { generation + 1 };
                let [uid, created, version] = ["uid", "creationTimestamp", "resourceVersion"].map(|f| known[f].clone());
                (uid, created, version, generation)
            }
            None => (self.new_uid(key).into(), now(), Value::Null, 1),
        };
        let metadata = &mut object["metadata"];
        metadata["name"] = key.name.clone().into();
        metadata["namespace"] = key.namespace.clone().into();
        metadata["uid"] = uid;
        metadata["creationTimestamp"] = created;
        metadata["resourceVersion"] = version;
        metadata["generation"] = generation.into();
    }

    /// Another one for each object, and the same in each run: annotations hold digests of what has uids in it.
    fn new_uid(&mut self, key: &Key) -> String {
        let made = self.made.entry(key.clone()).or_default();
        *made += 1;
        let digest = Sha256::digest(format!("{key:?} {made}"));
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn remove(&mut self, key: &Key) {
        let Some(mut last) = self.objects.remove(key) else { return };
        self.version += 1;
        last["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.applied.retain(|(applied, ..), _| applied != key);
        self.history.push(Change { version: self.version, key: key.clone(), before: Some(last), after: None });
    }

    /// What belongs to nothing that there is goes.
    fn collect_garbage(&mut self) {
        loop {
            let uids: Vec<&Value> = self.objects.values().map(|object| &object["metadata"]["uid"]).collect();
            let is_orphan = |object: &Value| {
                let owners = object["metadata"]["ownerReferences"].as_array().filter(|owners| !owners.is_empty());
                owners.is_some_and(|owners| owners.iter().all(|owner| !uids.contains(&&owner["uid"])))
            };
            let orphan = self.objects.iter().find(|(_, object)| is_orphan(object)).map(|(key, _)| key.clone());
            let Some(orphan) = orphan else { return };
            self.remove(&orphan);
        }
    }
}

/// What of `wanted` a request about one part of an object changes.
/// A change that names the `resourceVersion` that it is of is refused where there is another one by now.
fn must_be_current(before: &Value, wanted: &Value) -> Result<(), Refused> {
    let asked = &wanted["metadata"]["resourceVersion"];
    if asked.is_null() || *asked == before["metadata"]["resourceVersion"] { Ok(()) } else { Err(Refused::Conflict) }
}

fn only(part: Part, before: &Value, wanted: Value) -> Value {
    let (mut after, status) = match part {
        Part::Whole => (wanted, before["status"].clone()),
        Part::Status => (before.clone(), wanted["status"].clone()),
    };
    match status {
        Value::Null => drop(after.as_object_mut().map(|fields| fields.remove("status"))),
        status => after["status"] = status,
    }
    after
}

/// What an object asks for: all but what is said of it.
fn wish(object: &Value) -> Map<String, Value> {
    let mut wish = object.as_object().cloned().unwrap_or_default();
    wish.retain(|field, _| !matches!(field.as_str(), "metadata" | "status"));
    wish
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (field, value) in patch {
        let fields = target.as_object_mut().expect("it was just made one");
        match value {
            Value::Null => drop(fields.remove(field)),
            value => merge(fields.entry(field).or_insert(Value::Null), value),
        }
    }
}

/// Removes the fields of `last` that `wanted` has not.
fn drop_left_out(target: &mut Value, last: &Value, wanted: &Value) {
    let (Some(fields), Some(last)) = (target.as_object_mut(), last.as_object()) else { return };
    for (field, value) in last {
        match (wanted.get(field), fields.get_mut(field)) {
            (Some(wanted), Some(target)) => drop_left_out(target, value, wanted),
            (None, Some(_)) => drop(fields.remove(field)),
            (_, None) => {}
        }
    }
}

fn now() -> Value {
    let now = Timestamp::from_second(Timestamp::now().as_second()).expect("now is a time");
    now.to_string().into()
}
