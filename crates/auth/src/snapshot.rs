//! What every request is held against, in memory: one immutable picture of the store, replaced as a whole.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kea_core::port::{External, IdentityStore, RecordKind, Revision, StoreError, User};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    AuthError, Caller,
    api_keys::KnownKey,
    external::{Foreign, external_key},
    signing::KeyRing,
    tokens::Verified,
};

/// The store as it was at a moment.
pub(crate) struct Snapshot {
    pub(crate) revision: Revision,
    pub(crate) ring: KeyRing,
    users: HashMap<Arc<str>, KnownUser>,
    /// Names of users of providers, by what their provider knows them by.
    externals: HashMap<Box<str>, Arc<str>>,
    revoked: HashSet<String>,
    pub(crate) keys: HashMap<Arc<str>, KnownKey>,
}

struct KnownUser {
    id: String,
    stamp: String,
    disabled: bool,
    roles: Arc<[String]>,
    /// Roles that they were given here, beside those of their groups.
    own_roles: Arc<[String]>,
    groups: Arc<[String]>,
}

/// A session that was ended before its time, as the store keeps it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Revoked {
    /// When the last of its tokens has ended, in seconds since 1970.
    pub(crate) until: i64,
}

impl Snapshot {
    /// Reads the store. The revision comes first: what changes meanwhile makes another one, and is read once more. What other
    /// providers than these say of their users counts for nothing, where it is known which there are.
    pub(crate) async fn load(
        store: &dyn IdentityStore,
        before: Option<&Self>,
        providers: Option<&[String]>,
    ) -> Result<Self, StoreError> {
        let revision = store.revision().await?;
        let ring = KeyRing::load(store).await?;
        let (mut users, mut externals) = (HashMap::new(), HashMap::new());
        for user in store.users().await? {
            let name: Arc<str> = user.username.as_str().into();
            if let Some(external) = &user.external {
                externals.insert(external_key(&external.issuer, &external.subject), name.clone());
            }
            users.insert(name, known(user, providers));
        }
        let revoked = store.records(RecordKind::RevokedSession).await?;
        let revoked = revoked.into_iter().map(|record| record.id).collect();
        let mut keys = HashMap::new();
        for record in store.records(RecordKind::ApiKey).await? {
            let id = Arc::from(record.id.as_str());
            let known = before.and_then(|before| before.keys.get(&id));
            let key = KnownKey::new(&id, read(RecordKind::ApiKey, &record.id, &record.body)?, known);
            keys.insert(id, key);
        }
        Ok(Self { revision, ring, users, externals, revoked, keys })
    }

    /// Who a token stands for now: its user is there and enabled, and its session has not been ended. Their roles are
    /// those of this moment.
    pub(crate) fn caller(&self, token: &Verified) -> Result<Caller, AuthError> {
        let (username, user) = self.users.get_key_value(&*token.username).ok_or(AuthError::Revoked)?;
        if user.disabled || *user.stamp != *token.stamp || self.revoked.contains(&*token.session) {
            return Err(AuthError::Revoked);
        }
        Ok(Caller {
            username: username.clone(),
            roles: user.roles.clone(),
            groups: user.groups.clone(),
            session: Some(token.session.clone()),
            key: None,
            scopes: None,
        })
    }

    /// Who a provider's token stands for now. Whom the provider knows by another name here is taken for who they are. Whoever
    /// has never logged in is called by their subject: the name that they have at the provider may be that of somebody
    /// who has rights here.
    pub(crate) fn foreign(&self, token: &Foreign) -> Result<Caller, AuthError> {
        let caller = |username: &Arc<str>, roles| Caller {
            username: username.clone(),
            roles,
            groups: token.groups.clone(),
            session: None,
            key: None,
            scopes: None,
        };
        let Some((username, user)) = self.externals.get(&token.key).and_then(|name| self.users.get_key_value(name))
        else {
            return Ok(caller(&token.unknown_as, token.roles.clone()));
        };
        match user.disabled {
            true => Err(AuthError::ForNobody(format!("the user `{username}` is disabled"))),
            false if user.own_roles.is_empty() => Ok(caller(username, token.roles.clone())),
            false => Ok(caller(username, token.roles.iter().chain(&*user.own_roles).cloned().collect())),
        }
    }

    /// Name and roles of an API key's owner; `None` where they are gone or disabled.
    pub(crate) fn owner(&self, username: &str, id: &str) -> Option<(Arc<str>, Arc<[String]>)> {
        let (username, user) = self.users.get_key_value(username)?;
        (!user.disabled && user.id == id).then(|| (username.clone(), user.roles.clone()))
    }

    /// Whether this is how the user is known here.
    pub(crate) fn knows(&self, user: &User) -> bool {
        self.users.get(&*user.username).is_some_and(|known| known.stamp == user.stamp)
    }

    /// Whether the session was ended before its time.
    pub(crate) fn is_revoked(&self, session: &str) -> bool {
        self.revoked.contains(session)
    }
}

fn known(mut user: User, providers: Option<&[String]>) -> KnownUser {
    let is_of_them = |external: &mut External| providers.is_none_or(|known| known.contains(&external.issuer));
    if let Some(external) = user.external.take_if(|external| !is_of_them(external)) {
        tracing::debug!(user.username, external.issuer, "is a user of a provider that is not configured here");
    }
    let roles = user.all_roles().into();
    let User { id, stamp, disabled, roles: own_roles, external, .. } = user;
    let groups = external.map(|external| external.groups.into()).unwrap_or_default();
    KnownUser { id, stamp, disabled, roles, own_roles: own_roles.into(), groups }
}

/// The thing that a record's body is of.
pub(crate) fn read<T: DeserializeOwned>(kind: RecordKind, id: &str, body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body)
        .map_err(|error| StoreError::Corrupt { what: format!("{} `{id}`", kind.name()), why: error.to_string() })
}

/// The body of a record of that thing.
pub(crate) fn write(thing: &impl Serialize) -> String {
    serde_json::to_string(thing).expect("records are of text, numbers and times")
}
