//! TLS at both APIs.

use std::{fs, path::Path, sync::Arc, time::Duration};

use presenced::grpc::pb::{GetPresenceRequest, presence_service_client::PresenceServiceClient};
use reqwest::{Certificate, Client, Response, Version};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate as CaCertificate, Channel, ClientTlsConfig, Identity};

use crate::{
    support::{
        authority::Authority,
        database::Engine,
        process::Process,
        server::Server,
        wait::{eventually, pass_time},
    },
    watch::metric,
};

/// The interval at which the service reads the files.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// A client that trusts only this authority and opens a connection for each request.
fn http(authority: &Authority) -> Client {
    let root = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0).build().unwrap()
}

/// Calls the gRPC API, with a client certificate if there is one.
async fn grpc(authority: &Authority, server: &Server, own: Option<(String, String)>) -> Result<(), String> {
    let mut tls = ClientTlsConfig::new().ca_certificate(CaCertificate::from_pem(authority.pem()));
    tls = tls.domain_name("localhost");
    if let Some((cert, key)) = own {
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    let endpoint = Channel::from_shared(format!("https://{}", server.addresses.grpc)).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.map_err(|error| format!("{error:?}"))?;
    let request = GetPresenceRequest { user_id: "a".to_owned(), ..Default::default() };
    let response = PresenceServiceClient::new(channel).get_presence(request).await;
    response.map(drop).map_err(|status| status.to_string())
}

async fn start(folder: &Path, client_ca: Option<&Path>) -> Server {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("tls.crt"), path("tls.key"));
    let mut flags = vec!["--tls-cert", &cert, "--tls-key", &key];
    if let Some(path) = client_ca {
        flags.extend(["--tls-client-ca", path.to_str().unwrap()]);
    }
    Server::start_with(Engine::Sqlite, &flags).await
}

fn presence(server: &Server) -> String {
    format!("https://localhost:{}/v1.0/users/a/presence", server.addresses.http.port())
}

/// Checks that the client distrusts the authority of the server's certificate.
#[track_caller]
fn is_distrusted(result: Result<Response, reqwest::Error>) {
    let error = format!("{:?}", result.unwrap_err());
    assert!(error.contains("InvalidCertificate("), "{error}");
}

/// The expiry of the certificate in the metrics.
async fn expiry(server: &Server) -> u64 {
    metric(server.addresses, "presence_tls_certificate_expiry_timestamp_seconds").await
}

#[tokio::test]
async fn both_apis_use_tls_and_http_announces_it() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority.write(folder.path());
    let server = start(folder.path(), None).await;

    for http in [
        http(&authority),
        Client::builder().http1_only().tls_danger_accept_invalid_certs(true).build().unwrap(),
    ] {
        let response = http.get(presence(&server)).send().await.unwrap();
        assert!(matches!(response.version(), Version::HTTP_11 | Version::HTTP_2));
        assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000");
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let context = body["@odata.context"].as_str().unwrap().to_owned();
        assert!(context.starts_with("https://localhost:"), "{context}");
    }
    assert_eq!(http(&authority).get(presence(&server)).send().await.unwrap().version(), Version::HTTP_2);
    grpc(&authority, &server, None).await.unwrap();

    // A client without TLS, or one that does not trust the authority, gets no response.
    let plain = presence(&server).replace("https", "http");
    let error = Client::new().get(plain).send().await.unwrap_err();
    assert!(!error.is_connect(), "the server accepts the connection and closes it: {error:?}");
    is_distrusted(http(&Authority::new()).get(presence(&server)).send().await);
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_is_read_again_when_it_changes() {
    let (old, new, folder) = (Authority::new(), Authority::new(), TempDir::new().unwrap());
    let (cert, key) = old.issue_between((2020, 1, 1), (2090, 1, 1));
    fs::write(folder.path().join("tls.crt"), cert).unwrap();
    fs::write(folder.path().join("tls.key"), key).unwrap();
    let server = start(folder.path(), None).await;
    let url = presence(&server);
    assert_eq!(expiry(&server).await, 3_786_912_000);
    assert!(http(&old).get(&url).send().await.is_ok());
    is_distrusted(http(&new).get(&url).send().await);

    // With a key that does not match, the old certificate stays in use.
    fs::write(folder.path().join("tls.key"), old.issue().1).unwrap();
    pass_time(READ_INTERVAL).await;
    assert!(http(&old).get(&url).send().await.is_ok());
    assert_eq!(expiry(&server).await, 3_786_912_000);

    new.write(folder.path());
    pass_time(READ_INTERVAL).await;
    eventually("the new certificate is used", async || http(&new).get(&url).send().await.is_ok()).await;
    grpc(&new, &server, None).await.unwrap();
    assert_eq!(
        expiry(&server).await,
        67_090_118_400,
        "the default of the test certificates is the year 4096"
    );
    is_distrusted(http(&old).get(&url).send().await);
    server.stop().await;
}

#[tokio::test]
async fn grpc_can_require_client_certificates() {
    let (authority, clients, folder) = (Authority::new(), Authority::new(), TempDir::new().unwrap());
    authority.write(folder.path());
    let client_ca = folder.path().join("clients.crt");
    fs::write(&client_ca, clients.pem()).unwrap();
    let server = start(folder.path(), Some(&client_ca)).await;

    grpc(&authority, &server, Some(clients.issue())).await.unwrap();
    assert!(grpc(&authority, &server, None).await.is_err());
    assert!(grpc(&authority, &server, Some(authority.issue())).await.is_err());
    assert!(http(&authority).get(presence(&server)).send().await.is_ok(), "HTTP does not require one");
    server.stop().await;
}

/// A client that presents this certificate, in DER, without checking it.
fn presenting(authority: &Authority, (cert, key): (Vec<u8>, Vec<u8>)) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::try_from(key).unwrap()).unwrap();
    let own = SingleCertAndKey::from(CertifiedKey::new(vec![CertificateDer::from(cert)], key));
    let mut config =
        ClientConfig::builder().with_root_certificates(roots).with_client_cert_resolver(Arc::new(own));
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn a_client_certificate_of_version_1_is_refused_with_a_log_line_that_says_so() {
    let (authority, clients, folder) = (Authority::new(), Authority::new(), TempDir::new().unwrap());
    authority.write(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("clients.crt"), clients.pem()).unwrap();
    let flags = [
        "--tls-cert",
        &path("tls.crt"),
        "--tls-key",
        &path("tls.key"),
        "--tls-client-ca",
        &path("clients.crt"),
    ];
    let mut process = Process::start("sqlite::memory:", &flags).await;
    let connect = async |own: (Vec<u8>, Vec<u8>)| {
        let tcp = TcpStream::connect(process.grpc).await.unwrap();
        let peer = tcp.local_addr().unwrap().to_string();
        let mut tls =
            presenting(&authority, own).connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        // The alert follows the client's side of the handshake, and the settings its preface.
        drop(tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await);
        (tls.read_u8().await, peer)
    };
    let (good, _) = connect(clients.issue_der()).await;
    assert!(good.is_ok(), "{good:?}");
    // One line a minute for each kind.
    let mut peers = Vec::new();
    for _ in 0..3 {
        for own in [clients.issue_version_1(), Authority::new().issue_der()] {
            let (refused, peer) = connect(own).await;
            assert!(refused.is_err());
            peers.push(peer);
        }
    }
    process.signal("TERM");
    let (_, log) = process.wait();
    let refused: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["message"].as_str().unwrap().contains("certificate of a client is refused"))
        .collect();
    let [version_1, unknown] = &refused[..] else {
        panic!("{} lines about certificates: {log}", refused.len())
    };
    let because = version_1["because"].as_str().unwrap();
    assert!(because.contains("X.509 version 1") && because.contains("-extfile"), "{because}");
    assert_eq!([&version_1["peer"], &unknown["peer"]], [&peers[0], &peers[1]]);
    assert_eq!([&version_1["level"], &unknown["level"]], ["WARN", "WARN"]);
    // The other authority has the same name.
    assert_eq!(unknown["because"], "BadSignature");
}
