//! The webhook's certificates: how one is made, and when another one is due. Nothing here asks a clock or a cluster.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};

/// How long a certificate is valid.
const VALID: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Age at which another one is made: a third of its time is left for whatever keeps that from happening.
const RENEWED_AFTER: SignedDuration = SignedDuration::from_hours(60 * 24);

/// How long a new one is trusted before it is used: API servers hear of changed configurations by watching them.
const TRUSTED_FIRST: SignedDuration = SignedDuration::from_mins(10);

/// Age of a new one at which those before it are dropped: by then every operator that can be reached uses it.
const ALONE_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Clocks of machines differ: a certificate is valid from a little before it was made.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// A certificate and the authority that signed it. Each has an authority of its own, whose key is thrown away at once:
/// it can sign no other.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    made_at: Timestamp,
    /// The authority's certificate, in PEM.
    pub(super) authority: String,
    /// In PEM.
    pub(super) certificate: String,
    /// The certificate's key, in PEM.
    pub(super) key: String,
}

impl Identity {
    /// A new one for the server that is called `host`.
    pub(super) fn new(host: &str, now: Timestamp) -> Self {
        Self::made(host, now).expect("keys can be made, and names of Kubernetes stand in certificates")
    }

    fn made(host: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        let mut authority = params(Vec::new(), format!("KEA webhook {now}"), now)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let mut leaf = params(vec![host.into()], host.into(), now)?;
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &authority)?;
        Ok(Self { made_at: now, authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        now < self.made_at + VALID
    }

    fn is_as_old_as(&self, age: SignedDuration, now: Timestamp) -> bool {
        now >= self.made_at + age
    }
}

fn params(hosts: Vec<String>, name: String, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = std::time::SystemTime::from(now - SKEW).into();
    params.not_after = std::time::SystemTime::from(now + VALID).into();
    Ok(params)
}

/// The certificates that there are, the oldest first: one, and a second one while that takes over.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ring(Vec<Identity>);

impl Ring {
    /// The ring as it is to be: another certificate where one is due, and without those that nobody uses any more. It
    /// may be asked for only once all of this ring is trusted.
    pub(super) fn renewed(&self, now: Timestamp, make: impl FnOnce() -> Identity) -> Self {
        let mut kept: Vec<_> = self.valid(now).cloned().collect();
        if kept.last().is_some_and(|newest| newest.is_as_old_as(ALONE_AFTER, now)) {
            kept.drain(..kept.len() - 1);
        }
        if kept.last().is_none_or(|newest| newest.is_as_old_as(RENEWED_AFTER, now)) {
            kept.push(make());
        }
        Self(kept)
    }

    /// Whether none of them is valid.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.oldest(now).is_none()
    }

    /// The one that has been trusted longest, for who does not know yet which are.
    pub(super) fn oldest(&self, now: Timestamp) -> Option<&Identity> {
        self.valid(now).next()
    }

    /// The one to be used: the newest that has been trusted long enough.
    pub(super) fn used(&self, now: Timestamp) -> Option<&Identity> {
        let trusted = self.valid(now).filter(|identity| identity.is_as_old_as(TRUSTED_FIRST, now)).last();
        trusted.or_else(|| self.oldest(now))
    }

    /// All authorities that are to be trusted, in PEM.
    pub(super) fn authorities(&self) -> String {
        self.0.iter().map(|identity| identity.authority.as_str()).collect()
    }

    fn valid(&self, now: Timestamp) -> impl Iterator<Item = &Identity> {
        self.0.iter().filter(move |identity| identity.is_valid(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    /// One that was made at that minute, and is called so.
    fn identity(minute: i64) -> Identity {
        let name = format!("<{minute}>");
        Identity { made_at: at(minute), authority: name.clone(), certificate: name.clone(), key: name }
    }

    fn ring(minutes: &[i64]) -> Ring {
        Ring(minutes.iter().copied().map(identity).collect())
    }

    #[track_caller]
    fn check_renewed(before: &[i64], now: i64, after: &[i64]) {
        let renewed = ring(before).renewed(at(now), || identity(now));
        assert_eq!(renewed.authorities(), ring(after).authorities());
    }

    #[track_caller]
    fn check_used(made: &[i64], now: i64, used: Option<i64>) {
        let found = ring(made);
        let found = found.used(at(now)).map(|identity| identity.certificate.clone());
        assert_eq!(found, used.map(|minute| identity(minute).certificate));
    }

    #[test]
    fn the_first_is_made_and_used_at_once() {
        check_renewed(&[], 0, &[0]);
        check_used(&[0], 0, Some(0));
        check_used(&[], 0, None);
    }

    #[test]
    fn another_is_made_at_two_thirds_of_the_time() {
        check_renewed(&[0], 60 * DAY - 1, &[0]);
        check_renewed(&[0], 60 * DAY, &[0, 60 * DAY]);
        // Once, and not again.
        check_renewed(&[0, 60 * DAY], 60 * DAY + 1, &[0, 60 * DAY]);
    }

    #[test]
    fn a_new_one_is_trusted_before_it_is_used_and_the_old_one_after() {
        let both = [0, 60 * DAY];
        assert_eq!(ring(&both).authorities(), format!("<0><{}>", 60 * DAY));
        check_used(&both, 60 * DAY + 9, Some(0));
        check_used(&both, 60 * DAY + 10, Some(60 * DAY));
        check_renewed(&both, 61 * DAY - 1, &both);
        check_renewed(&both, 61 * DAY, &[60 * DAY]);
    }

    #[test]
    fn what_has_ended_is_used_no_more() {
        assert!(ring(&[0]).is_over(at(90 * DAY)) && !ring(&[0]).is_over(at(90 * DAY - 1)));
        check_renewed(&[0], 90 * DAY, &[90 * DAY]);
        check_used(&[0], 90 * DAY, None);
        // Nobody was there while the old one ended: better the new one too soon.
        check_used(&[0, 90 * DAY], 90 * DAY + 1, Some(90 * DAY));
    }

    /// Looks of one operator at any pace: first the configuration is made to trust the ring, and only the next look uses
    /// what it has, or renews it.
    #[track_caller]
    fn check_years_of_looks(pause: i64) {
        let mut kept = Ring::default().renewed(at(0), || identity(0));
        let mut trusted = String::new();
        let mut used = identity(0);
        let mut changes = 0;
        for minute in (0..2 * 365 * DAY).step_by(usize::try_from(pause).unwrap()) {
            let now = at(minute);
            assert!(!kept.is_over(now), "a valid one never lacks");
            if trusted != kept.authorities() {
                trusted = kept.authorities();
            } else {
                let next = kept.used(now).unwrap().clone();
                changes += u32::from(next.made_at != used.made_at);
                used = next;
                kept = kept.renewed(now, || identity(minute));
            }
            assert!(used.is_valid(now) && trusted.contains(&used.authority), "minute {minute}");
        }
        assert_eq!(changes, 2 * 365 / 60);
    }

    #[test]
    fn there_is_always_one_to_be_used_and_it_is_trusted() {
        for pause in [1, 7, 60, 20 * 60] {
            check_years_of_looks(pause);
        }
    }
}
