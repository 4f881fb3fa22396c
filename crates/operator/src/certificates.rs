//! Certificates that KEA makes for itself: for its webhook, and for mutual TLS with its replicas. How one is made is here,
//! when another one is due in [`Ring`], and where they are kept in [`Kept`].

mod kept;
mod ring;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    kept::{Kept, LOOK, SOON, write},
    ring::{Dated, Ring},
};

/// How long a certificate is valid.
const VALID: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Clocks of machines differ: a certificate is valid from a little before it was made.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// A certificate and the authority that signed it. Each has an authority of its own, whose key is thrown away at once:
/// it can sign no other.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    made_at: Timestamp,
    /// The authority's certificate, in PEM.
    pub(crate) authority: String,
    /// In PEM.
    pub(crate) certificate: String,
    /// The certificate's key, in PEM.
    pub(crate) key: String,
}

impl Identity {
    /// A new one for the server that is called `host`.
    pub(crate) fn new(host: &str, now: Timestamp) -> Self {
        Self::made(host, ExtendedKeyUsagePurpose::ServerAuth, now).expect(MAKEABLE)
    }

    /// A new one for who calls servers, and is called `name`.
    pub(crate) fn of_client(name: &str, now: Timestamp) -> Self {
        Self::made(name, ExtendedKeyUsagePurpose::ClientAuth, now).expect(MAKEABLE)
    }

    fn made(name: &str, usage: ExtendedKeyUsagePurpose, now: Timestamp) -> Result<Self, rcgen::Error> {
        let authority = authority_params(&format!("of {name}"), now)?;
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let Signed { certificate, key } = signed(&authority, name, name, usage, now)?;
        Ok(Self { made_at: now, authority: authority.pem(), certificate, key })
    }
}

/// An authority whose key is kept, for servers that come later.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Authority {
    made_at: Timestamp,
    name: String,
    /// In PEM.
    pub(crate) certificate: String,
    key: String,
}

/// What an authority has signed.
#[derive(Clone, PartialEq)]
pub(crate) struct Signed {
    /// In PEM.
    pub(crate) certificate: String,
    /// The certificate's key, in PEM.
    pub(crate) key: String,
}

impl Authority {
    /// A new one, of that name.
    pub(crate) fn new(name: &str, now: Timestamp) -> Self {
        let made = || {
            let key = KeyPair::generate()?;
            let text = key.serialize_pem();
            Ok::<_, rcgen::Error>((CertifiedIssuer::self_signed(authority_params(name, now)?, key)?.pem(), text))
        };
        let (certificate, key) = made().expect(MAKEABLE);
        Self { made_at: now, name: name.into(), certificate, key }
    }

    /// A certificate for the server that is called `host`, valid for as long as the authority.
    ///
    /// # Errors
    /// The authority's key is none, as where somebody has changed what was kept.
    pub(crate) fn sign(&self, host: &str) -> Result<Signed, rcgen::Error> {
        let key = KeyPair::from_pem(&self.key)?;
        let issuer = Issuer::new(authority_params(&self.name, self.made_at)?, key);
        signed(&issuer, host, &self.name, ExtendedKeyUsagePurpose::ServerAuth, self.made_at)
    }
}

const MAKEABLE: &str = "keys can be made, and names of Kubernetes stand in certificates";

fn signed(
    issuer: &Issuer<'_, KeyPair>,
    host: &str,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
    now: Timestamp,
) -> Result<Signed, rcgen::Error> {
    let mut leaf = params(vec![host.into()], name.into(), now)?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    Ok(Signed { certificate: leaf.signed_by(&key, issuer)?.pem(), key: key.serialize_pem() })
}

fn authority_params(name: &str, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut authority = params(Vec::new(), format!("KEA {name} {now}"), now)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(authority)
}

fn params(hosts: Vec<String>, name: String, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = std::time::SystemTime::from(now - SKEW).into();
    params.not_after = std::time::SystemTime::from(now + VALID).into();
    Ok(params)
}

/// All authorities of a ring, in PEM.
pub(crate) fn authorities(ring: &Ring<Identity>) -> String {
    ring.iter().map(|identity| identity.authority.as_str()).collect()
}
