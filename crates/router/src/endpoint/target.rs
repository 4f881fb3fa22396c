//! Where a replica is reached: at an address, or at a name elsewhere, which is looked up again and again.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use kea_core::balancing::ExternalAddress;

use crate::clock;

/// How long what a name leads to is believed: the resolver of the system does not tell how long it holds.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(30);

/// Where a replica is.
pub(crate) enum Target {
    /// One of the service's own.
    Own(SocketAddr),
    /// One elsewhere.
    External(Named),
}

/// A name and where it leads.
pub(crate) struct Named {
    address: ExternalAddress,
    /// Empty until it was looked up.
    found: ArcSwap<Vec<SocketAddr>>,
    /// When it is to be looked up again.
    due: AtomicU64,
    /// Connections go round among the addresses of a name.
    turn: AtomicUsize,
}

impl Target {
    /// A replica elsewhere.
    pub(crate) fn external(address: ExternalAddress) -> Self {
        let known: Vec<_> =
            address.host.parse().map(|ip: IpAddr| SocketAddr::new(ip, address.port)).into_iter().collect();
        let due = if known.is_empty() { 0 } else { u64::MAX };
        let found = ArcSwap::from_pointee(known);
        Self::External(Named { address, found, due: due.into(), turn: AtomicUsize::new(0) })
    }

    /// Whether it is not one of the service's own.
    pub(crate) fn is_external(&self) -> bool {
        matches!(self, Self::External(_))
    }

    /// The name or the address of one elsewhere.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Own(_) => None,
            Self::External(named) => Some(&named.address.host),
        }
    }

    /// The address for the next connection. A name that was not looked up yet is so now.
    ///
    /// # Errors
    /// The resolver's.
    pub(crate) async fn address(&self) -> io::Result<SocketAddr> {
        let named = match self {
            Self::Own(address) => return Ok(*address),
            Self::External(named) => named,
        };
        if named.found.load().is_empty() {
            named.look_up().await?;
        }
        let found = named.found.load();
        let turn = named.turn.fetch_add(1, Relaxed).checked_rem(found.len());
        turn.map(|turn| found[turn]).ok_or_else(|| io::Error::other(format!("`{}` leads nowhere", named.address.host)))
    }

    /// Whether the name is to be looked up now; who is told so does it.
    pub(crate) fn claim_lookup(&self, now: u64) -> bool {
        let Self::External(named) = self else { return false };
        let due = named.due.load(Relaxed);
        due <= now && named.due.compare_exchange(due, now + clock::nanos(LOOK_UP_AGAIN), Relaxed, Relaxed).is_ok()
    }

    /// Looks the name up. What is known stays where the resolver fails. True where it leads elsewhere now.
    pub(crate) async fn look_up(&self) -> bool {
        let Self::External(named) = self else { return false };
        let before = named.found.load_full();
        match named.look_up().await {
            Ok(()) => !before.is_empty() && before != named.found.load_full(),
            Err(error) => {
                tracing::warn!(host = &*named.address.host, %error, "the name of a replica cannot be looked up");
                false
            }
        }
    }
}

impl Named {
    /// Host and port, as the header `Host` says them.
    pub(crate) fn authority(&self) -> String {
        self.address.authority()
    }

    async fn look_up(&self) -> io::Result<()> {
        let ExternalAddress { scheme: _, host, port } = &self.address;
        let mut found: Vec<_> = tokio::net::lookup_host((&**host, *port)).await?.collect();
        // Resolvers shuffle them.
        found.sort_unstable();
        found.dedup();
        if !found.is_empty() {
            self.found.store(Arc::new(found));
        }
        Ok(())
    }
}
