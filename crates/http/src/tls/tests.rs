use std::{fs, net::SocketAddr};

use axum::{extract::Request, response::IntoResponse};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::*;

/// An authority, and what it vouches for.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key in PEM.
    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        params.extended_key_usages = vec![usage];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self, folder: &Path) -> TlsFiles {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        let files = TlsFiles { certificate: folder.join("c.pem"), key: folder.join("k.pem"), client_ca: None };
        fs::write(&files.key, key).unwrap();
        fs::write(&files.certificate, certificate).unwrap();
        files
    }

    /// A caller that trusts this authority and has a certificate of `own`.
    fn caller(&self, own: Option<&Self>, protocols: &[&[u8]]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own.map(|own| own.issue(ExtendedKeyUsagePurpose::ClientAuth)) {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    }
}

/// Serves with `tls` until the token that is returned is cancelled.
async fn serve(tls: Arc<Tls>) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (stopped, following) = (stop.clone(), stop.clone());
    let follower = tls.clone();
    tokio::spawn(async move { follower.follow(&following).await });
    let answer = |request: Request| async move { format!("{:?}", request.version()).into_response() };
    let config = move || tls.config();
    let serving =
        async move { crate::serve_tls(listener, config, answer, stopped.cancelled(), Duration::from_secs(1)).await };
    tokio::spawn(serving);
    (address, stop)
}

async fn connect(address: SocketAddr, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What the server answers to a GET by HTTP/1.1.
async fn get(address: SocketAddr, config: ClientConfig) -> io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = connect(address, config).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn both_protocols_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let tls = Arc::new(Tls::load(authority.server(folder.path())).unwrap());
    let (address, stop) = serve(tls).await;
    assert!(get(address, authority.caller(None, &[])).await.unwrap().ends_with("HTTP/1.1"));
    let stream = connect(address, authority.caller(None, &[b"h2"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("https://localhost/").body(axum::body::Body::empty()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    assert_eq!(body, "HTTP/2.0");
    stop.cancel();
}

#[tokio::test]
async fn a_caller_without_the_certificate_that_is_asked_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, callers, others) = (Authority::new("ours"), Authority::new("callers"), Authority::new("others"));
    let client_ca = folder.path().join("ca.pem");
    fs::write(&client_ca, callers.0.pem()).unwrap();
    let files = TlsFiles { client_ca: Some(client_ca), ..authority.server(folder.path()) };
    let (address, stop) = serve(Arc::new(Tls::load(files).unwrap())).await;
    assert!(get(address, authority.caller(Some(&callers), &[])).await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(get(address, authority.caller(None, &[])).await.is_err());
    assert!(get(address, authority.caller(Some(&others), &[])).await.is_err());
    stop.cancel();
}

#[tokio::test]
async fn files_that_change_hold_for_the_next_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let (address, stop) = serve(Arc::new(Tls::load(first.server(folder.path())).unwrap())).await;
    get(address, first.caller(None, &[])).await.unwrap();
    second.server(folder.path());
    let taken = async {
        while get(address, second.caller(None, &[])).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken).await.unwrap();
    assert!(get(address, first.caller(None, &[])).await.is_err());
    stop.cancel();
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let files = authority.server(folder.path());
    let tls = Tls::load(files.clone()).unwrap();
    let before = tls.config();
    let broken = Contents { certificate: b"nonsense".to_vec(), ..Contents::read(&files).unwrap() };
    tls.take(&broken);
    assert!(Arc::ptr_eq(&before, &tls.config()));
}

#[test]
fn a_mistake_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let good = authority.server(folder.path());
    let (other, _) = authority.issue(ExtendedKeyUsagePurpose::ServerAuth);
    let written = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let check = |files: TlsFiles, expected: &str| {
        let error = Tls::load(files).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(TlsFiles { certificate: folder.path().join("none.pem"), ..good.clone() }, "none.pem` cannot be read");
    check(TlsFiles { certificate: written("empty.pem", ""), ..good.clone() }, "empty.pem` has no certificates");
    check(TlsFiles { key: written("nokey.pem", ""), ..good.clone() }, "nokey.pem` has no private key");
    check(TlsFiles { certificate: written("other.pem", &other), ..good.clone() }, "do not belong together");
    check(TlsFiles { client_ca: Some(written("ca.pem", "x")), ..good }, "ca.pem` has no certificates");
}
