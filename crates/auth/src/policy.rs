//! What callers may do: roles and bindings, weighed by a pure function over an immutable snapshot.
//!
//! Nothing is allowed that no role allows. A service's own `access` comes first: where it names roles for a function,
//! those alone may call it, whatever other roles say; `admin` always may. Scopes of an API key take away, and never give.

mod ask;
mod builtin;
mod rules;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use kea_core::{
    management::GrantedBy,
    policy::{Binding, PolicyName, Role, Verb},
    port::{PolicyStore, StoreError, User, UserStore},
};
use moka::sync::Cache;
use tokio::sync::Mutex;

use crate::Caller;
pub use ask::{Ask, Denied, Target};
pub use builtin::built_in_roles;
use rules::{CompiledRule, Rules};

/// How often a store that others write to is asked whether anything has changed.
const POLL: Duration = Duration::from_secs(1);

/// Scopes that are kept compiled; each is some hundred bytes.
const KEPT_SCOPES: u64 = 10_000;

/// Decides what callers may do. One for a process; share it behind an `Arc`.
pub struct Policies {
    rules: ArcSwap<Rules>,
    scopes: Cache<Box<str>, Arc<CompiledRule>>,
    store: Arc<dyn PolicyStore>,
    users: Arc<dyn UserStore>,
    /// Held while the policy is read, so that a later reading never gives way to an earlier one.
    reading: Mutex<()>,
}

impl Policies {
    /// The policy that `store` keeps, of `users`.
    ///
    /// # Errors
    /// Where the policy cannot be read.
    pub async fn open(store: Arc<dyn PolicyStore>, users: Arc<dyn UserStore>) -> Result<Self, StoreError> {
        let rules = ArcSwap::from_pointee(Rules::new(store.policy().await?));
        let scopes = Cache::builder().max_capacity(KEPT_SCOPES).build();
        Ok(Self { rules, scopes, store, users, reading: Mutex::default() })
    }

    /// Whether `caller` may do it. Where an API key is limited to scopes, one of them must allow it, too. Costs some
    /// look-ups into maps and never waits.
    ///
    /// # Errors
    /// What is missing, and why.
    pub fn check(&self, caller: &Caller, ask: &Ask<'_>) -> Result<(), Denied> {
        let rules = self.rules.load();
        match rules.grant(caller, ask) {
            None => Err(rules.denied(caller, ask)),
            Some(_) if !self.within(caller, |scope| scope.allows(ask)) => Err(Denied::by_scopes(ask)),
            Some(_) => Ok(()),
        }
    }

    /// The same, with the role that allows it.
    ///
    /// # Errors
    /// What is missing, and why.
    pub fn explain(&self, caller: &Caller, ask: &Ask<'_>) -> Result<GrantedBy, Denied> {
        self.check(caller, ask)?;
        let rules = self.rules.load();
        let grant = rules.grant(caller, ask).ok_or_else(|| rules.denied(caller, ask))?;
        Ok(GrantedBy { role: grant.role.into(), binding: grant.binding.cloned() })
    }

    /// Whether `caller` may do so with any service at all, or with all of KEA. What a service's own `access` allows is not
    /// counted.
    pub fn may_somewhere(&self, caller: &Caller, verb: Verb) -> bool {
        self.rules.load().may_somewhere(caller, verb) && self.within(caller, |scope| scope.has(verb))
    }

    fn within(&self, caller: &Caller, allows: impl Fn(&CompiledRule) -> bool) -> bool {
        let compiled = |scope: &String| {
            self.scopes.get(scope.as_str()).unwrap_or_else(|| {
                let compiled = Arc::new(CompiledRule::of_scope(scope));
                self.scopes.insert(scope.as_str().into(), compiled.clone());
                compiled
            })
        };
        caller.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| allows(&compiled(scope))))
    }

    /// The caller that a user would be: one of a provider's, with the groups of their latest login.
    ///
    /// # Errors
    /// Where users cannot be read.
    pub async fn caller_named(&self, username: &str) -> Result<Caller, StoreError> {
        let user = self.users.user(username).await?.filter(|user| !user.disabled);
        let roles = user.as_ref().map(User::all_roles).unwrap_or_default();
        let groups = user.and_then(|user| user.external).map(|external| external.groups);
        Ok(Caller {
            username: username.into(),
            roles: roles.into(),
            groups: groups.unwrap_or_default().into(),
            session: None,
            key: None,
            scopes: None,
        })
    }

    /// KEA's own roles, then those that are kept, each by name.
    pub fn roles(&self) -> Vec<Role> {
        let kept = self.rules.load().policy.roles.clone();
        built_in_roles().into_iter().chain(kept).collect()
    }

    /// The bindings, by name.
    pub fn bindings(&self) -> Vec<Binding> {
        self.rules.load().policy.bindings.clone()
    }

    /// Keeps a role, which holds from the return of this call on.
    ///
    /// # Errors
    /// Where it cannot be kept.
    pub async fn put_role(&self, role: &Role) -> Result<(), StoreError> {
        self.store.put_role(role).await?;
        self.reload().await
    }

    /// Removes a role, and tells whether there was one.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub async fn delete_role(&self, name: &PolicyName) -> Result<bool, StoreError> {
        let was_there = self.store.delete_role(name).await?;
        self.reload().await.map(|()| was_there)
    }

    /// Keeps a binding, which holds from the return of this call on.
    ///
    /// # Errors
    /// Where it cannot be kept.
    pub async fn put_binding(&self, binding: &Binding) -> Result<(), StoreError> {
        self.store.put_binding(binding).await?;
        self.reload().await
    }

    /// Removes a binding, and tells whether there was one.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub async fn delete_binding(&self, name: &PolicyName) -> Result<bool, StoreError> {
        let was_there = self.store.delete_binding(name).await?;
        self.reload().await.map(|()| was_there)
    }

    async fn reload(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        self.rules.store(Arc::new(Rules::new(self.store.policy().await?)));
        Ok(())
    }

    /// Takes over what other processes change, within about a second. Ends with the process, or when it is dropped. While
    /// the store does not answer, what was read last holds.
    pub async fn follow(&self) {
        let mut answered = true;
        loop {
            tokio::time::sleep(POLL).await;
            let outcome = self.catch_up().await;
            match &outcome {
                Err(error) if answered => {
                    tracing::warn!(%error, "roles and bindings cannot be read; the last ones hold")
                }
                Ok(()) if !answered => tracing::info!("roles and bindings can be read again"),
                _ => {}
            }
            answered = outcome.is_ok();
        }
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        let kept = self.store.policy_revision().await?;
        if kept == self.rules.load().policy.revision { Ok(()) } else { self.reload().await }
    }
}
