use std::{fs, net::SocketAddr, path::Path, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{Tls, TlsFiles};

/// An authority, and what it vouches for.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes certificate and key of a name; an expired one where that is asked for.
    fn issue(&self, folder: &Path, name: &str, usage: ExtendedKeyUsagePurpose, expired: bool) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.extended_key_usages = vec![usage];
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let (certificate_file, key_file) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&key_file, key.serialize_pem()).unwrap();
        fs::write(&certificate_file, params.signed_by(&key, &self.0).unwrap().pem()).unwrap();
        (certificate_file, key_file)
    }

    /// Writes its own certificate.
    fn file(&self, folder: &Path, name: &str) -> PathBuf {
        let file = folder.join(name);
        fs::write(&file, self.0.pem()).unwrap();
        file
    }
}

/// A replica with that certificate, which asks for one of `client_ca`.
async fn replica((certificate, key): (PathBuf, PathBuf), client_ca: Option<PathBuf>) -> SocketAddr {
    let tls = Tls::load(TlsFiles { certificate, key, client_ca }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(tls.config());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
    address
}

/// What a replica says within TLS, or why there is none.
async fn heard(tls: &ReplicaTls, address: SocketAddr) -> Result<String, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = tls.connect(stream, "localhost", false).await.map_err(|error| error.to_string())?;
    assert!(is_http2(&stream));
    let mut text = String::new();
    stream.read_to_string(&mut text).await.map_err(|error| reason(&error).unwrap_or_else(|| error.to_string()))?;
    Ok(text)
}

fn trusting(ca: PathBuf) -> ReplicaTlsFiles {
    ReplicaTlsFiles { ca: Some(ca), ..ReplicaTlsFiles::default() }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let server = |name, expired| ours.issue(folder.path(), name, ExtendedKeyUsagePurpose::ServerAuth, expired);
    let good = replica(server("localhost", false), None).await;
    let files = trusting(ours.file(folder.path(), "ours.pem"));
    let tls = ReplicaTls::load(files.clone()).unwrap();
    assert_eq!(heard(&tls, good).await.unwrap(), "hello");

    let untrusting = ReplicaTls::load(trusting(others.file(folder.path(), "others.pem"))).unwrap();
    assert!(heard(&untrusting, good).await.unwrap_err().contains("an authority that is not trusted"));
    let elsewhere = replica(server("other.example", false), None).await;
    assert!(heard(&tls, elsewhere).await.unwrap_err().contains("is for another name"));
    let named = ReplicaTlsFiles { server_name: Some("other.example".into()), ..files };
    assert_eq!(heard(&ReplicaTls::load(named).unwrap(), elsewhere).await.unwrap(), "hello");
    let expired = replica(server("localhost", true), None).await;
    assert!(heard(&tls, expired).await.unwrap_err().contains("has expired"));
}

#[tokio::test]
async fn a_replica_that_asks_for_a_certificate_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, callers) = (Authority::new("ours"), Authority::new("callers"));
    let server = ours.issue(folder.path(), "localhost", ExtendedKeyUsagePurpose::ServerAuth, false);
    let address = replica(server, Some(callers.file(folder.path(), "callers.pem"))).await;
    let files = trusting(ours.file(folder.path(), "ours.pem"));
    let refused = heard(&ReplicaTls::load(files.clone()).unwrap(), address).await.unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let own = callers.issue(folder.path(), "kea", ExtendedKeyUsagePurpose::ClientAuth, false);
    let tls = ReplicaTls::load(ReplicaTlsFiles { own: Some(own), ..files }).unwrap();
    assert_eq!(heard(&tls, address).await.unwrap(), "hello");
}

#[tokio::test]
async fn what_is_handed_over_holds_for_the_next_connection_and_nothing_does_before() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, callers) = (Authority::new("ours"), Authority::new("callers"));
    let server = ours.issue(folder.path(), "localhost", ExtendedKeyUsagePurpose::ServerAuth, false);
    let address = replica(server, Some(callers.file(folder.path(), "callers.pem"))).await;
    let (certificate, key) = callers.issue(folder.path(), "gateway", ExtendedKeyUsagePurpose::ClientAuth, false);
    let ca = ours.0.pem().into_bytes();
    let identity = ReplicaIdentity { ca, certificate: fs::read(certificate).unwrap(), key: fs::read(key).unwrap() };
    let tls = ReplicaTls::awaiting();
    assert!(heard(&tls, address).await.unwrap_err().contains("no certificate yet"));
    tls.put(&identity).unwrap();
    assert_eq!(heard(&tls, address).await.unwrap(), "hello");
    let broken = ReplicaIdentity { key: Vec::new(), ..identity };
    assert!(tls.put(&broken).unwrap_err().to_string().contains("`tls.key` has no private key"));
    assert_eq!(heard(&tls, address).await.unwrap(), "hello", "what cannot be used changes nothing");
}

#[tokio::test]
async fn authorities_that_change_hold_for_the_next_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let server = ours.issue(folder.path(), "localhost", ExtendedKeyUsagePurpose::ServerAuth, false);
    let address = replica(server, None).await;
    let tls = Arc::new(ReplicaTls::load(trusting(others.file(folder.path(), "ca.pem"))).unwrap());
    let (stop, follower) = (CancellationToken::new(), tls.clone());
    let stopped = stop.clone();
    let following = tokio::spawn(async move { follower.follow(&stopped).await });
    assert!(heard(&tls, address).await.is_err());
    let taken = async {
        while heard(&tls, address).await.is_err() {
            ours.file(folder.path(), "ca.pem");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken).await.unwrap();
    fs::write(folder.path().join("ca.pem"), "nonsense").unwrap();
    tokio::time::sleep(2 * super::super::LOOK).await;
    assert_eq!(heard(&tls, address).await.unwrap(), "hello", "what cannot be used changes nothing");
    stop.cancel();
    following.await.unwrap();
}

#[test]
fn a_mistake_names_the_file_or_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let told = |files| ReplicaTls::load(files).err().unwrap().to_string();
    assert!(told(trusting(empty)).contains("empty.pem` has no certificates"));
    assert!(told(trusting(folder.path().join("none.pem"))).contains("none.pem` cannot be read"));
    let named = ReplicaTlsFiles { server_name: Some("a b".into()), ..ReplicaTlsFiles::default() };
    assert!(told(named).contains("`a b` is no name of a server"));
}
