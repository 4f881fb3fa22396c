//! Weighted rendezvous hashing: every client ranks the replicas, and uses the first. A replica that goes moves only the
//! clients that it had; one whose weight changes moves only the difference.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

/// How high `client` ranks `replica`; the highest score wins. That of the weighted method (Mosko, Schindelhauer):
/// `-weight / ln(u)` with `u` between 0 and 1 by the hash.
pub(crate) fn score(client: IpAddr, replica: &str, weight: u32) -> f64 {
    // The same in every process of one build, as its keys are fixed.
    let mut hasher = DefaultHasher::new();
    (client, replica).hash(&mut hasher);
    let bits = hasher.finish() >> 11; // as many as an f64 holds exactly
    let uniform = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / uniform.ln()
}
