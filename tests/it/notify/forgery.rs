//! Requests that a caller tries to forge through the service (SSRF): none reaches a service of this
//! machine.

use std::{
    env,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use presenced::notify::{HandshakeError, Outcome, UnreachableKind, UrlError};
use tokio::net::TcpListener;

use super::{Fixture, NAME};
use crate::support::receiver::{Received, Receiver, accept, reply};

/// The address of the receivers, which the operator allows, unlike that of the secret service.
const ALLOWED: &[&str] = &["127.0.0.2/32"];
const PROTOCOLS: &[&str] = &["h2", "http/1.1"];
const TIMEOUT: Duration = Duration::from_secs(5);

/// A service of this machine that no caller may reach. It counts the connections.
struct Secret {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Secret {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Whether the client refuses the URL: by its text, or by the address, in a handshake and in a delivery.
async fn is_refused(fixture: &Fixture, url: &str) -> bool {
    let url = match fixture.receivers.check_url(url) {
        Ok(url) => url,
        Err(error) => return matches!(error, UrlError::Address | UrlError::UserInfo | UrlError::Scheme),
    };
    let handshake = fixture.receivers.handshake(&url, "token").await;
    let delivery = fixture.post(url.as_str()).await;
    let forbidden = UnreachableKind::ForbiddenAddress;
    matches!(handshake, Err(HandshakeError::Unreachable { kind, .. }) if kind == forbidden)
        && matches!(delivery, Outcome::Unreachable { kind, .. } if kind == forbidden)
}

/// Hosts that lead to 127.0.0.1.
const LOOPBACK: [&str; 14] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0x7f000001",
    "0x7f.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "localhost",
    "LOCALHOST",
    "loopback.test",
    "mapped.test",
    "user:password@127.0.0.1",
];

fn set_names(fixture: &Fixture) {
    fixture.names.set("loopback.test", &[&["127.0.0.1"]]);
    fixture.names.set("mapped.test", &[&["::ffff:127.0.0.1"]]);
    fixture.names.set("metadata.test", &[&["169.254.169.254", "fd00:ec2::254"]]);
    fixture.names.set("private.test", &[&["10.0.0.1", "192.168.1.1", "fe80::1", "fc00::1"]]);
}

#[tokio::test]
async fn no_spelling_of_an_address_reaches_this_machine() {
    let secret = Secret::start().await;
    let fixture = Fixture::new(ALLOWED, TIMEOUT);
    set_names(&fixture);
    let others = ["169.254.169.254", "0xa9fea9fe", "metadata.test", "private.test", "[64:ff9b::a00:1]"];
    for host in LOOPBACK.into_iter().chain(others) {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}:{}/", secret.port);
            assert!(is_refused(&fixture, &url).await, "{url}");
        }
    }
    assert_eq!(secret.connections(), 0);
}

/// The table above would not notice hosts that lead elsewhere.
#[tokio::test]
async fn each_spelling_reaches_this_machine_if_the_operator_allows_it() {
    let secret = Secret::start().await;
    let fixture = Fixture::new(&["127.0.0.0/8"], TIMEOUT);
    set_names(&fixture);
    let hosts = LOOPBACK.into_iter().filter(|host| !host.contains('@'));
    for (index, host) in hosts.enumerate() {
        let outcome = fixture.post(&format!("https://{host}:{}/", secret.port)).await;
        assert!(matches!(outcome, Outcome::Unreachable { .. }), "{host}: {outcome}");
        assert!(secret.connections() > index, "{host}");
    }
}

#[tokio::test]
async fn a_name_that_changes_between_handshake_and_delivery_is_refused() {
    let secret = Secret::start().await;
    let fixture = Fixture::new(ALLOWED, TIMEOUT);
    let address = format!("127.0.0.2:{}", secret.port);
    let receiver = Receiver::start(&address, &fixture.authority, &[NAME], PROTOCOLS, accept).await;
    fixture.names.set(NAME, &[&["127.0.0.2"], &["127.0.0.1"]]);
    let url = format!("https://{NAME}:{}/", secret.port);
    let parsed = fixture.receivers.check_url(&url).unwrap();
    assert_eq!(fixture.receivers.handshake(&parsed, "token").await, Ok(()));
    let Outcome::Unreachable { kind, words } = fixture.post(&url).await else { panic!("it was delivered") };
    assert_eq!((kind, words.as_str()), (UnreachableKind::ForbiddenAddress, ""));
    assert_eq!((receiver.connections(), secret.connections()), (1, 0));
}

#[tokio::test]
async fn of_several_addresses_only_an_allowed_one_is_used() {
    let secret = Secret::start().await;
    let fixture = Fixture::new(ALLOWED, TIMEOUT);
    let address = format!("127.0.0.2:{}", secret.port);
    let receiver = Receiver::start(&address, &fixture.authority, &[NAME], PROTOCOLS, accept).await;
    fixture.names.set(NAME, &[&["127.0.0.1", "::1", "127.0.0.2"]]);
    let outcome = fixture.post(&format!("https://{NAME}:{}/", secret.port)).await;
    assert_eq!(outcome, Outcome::Delivered(StatusCode::ACCEPTED));
    assert_eq!((receiver.connections(), secret.connections()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let secret = Secret::start().await;
    let fixture = Fixture::new(ALLOWED, TIMEOUT);
    fixture.names.set(NAME, &[&["127.0.0.2"]]);
    for status in [301, 302, 303, 307, 308] {
        let target = format!("https://127.0.0.1:{}/", secret.port);
        let redirect = move |_: &Received| {
            let target = target.clone();
            async move { reply(status, &[("location", &target)], "") }
        };
        let receiver = Receiver::start("127.0.0.2:0", &fixture.authority, &[NAME], PROTOCOLS, redirect).await;
        let url = format!("https://{NAME}:{}/", receiver.address.port());
        let outcome = fixture.post(&url).await;
        assert!(matches!(outcome, Outcome::Rejected { status: got, .. } if got == status), "{outcome}");
        let parsed = fixture.receivers.check_url(&url).unwrap();
        let handshake = fixture.receivers.handshake(&parsed, "token").await;
        assert!(matches!(handshake, Err(HandshakeError::Status(got)) if got == status), "{handshake:?}");
    }
    assert_eq!(secret.connections(), 0);
}

/// The test runs itself in processes with proxy variables, and this one says what to do there.
const ROLE: &str = "PRESENCE_TEST_PROXY_ROLE";

#[tokio::test(flavor = "multi_thread")]
async fn proxy_variables_are_ignored() {
    if let Ok(role) = env::var(ROLE) {
        return send_with_proxy(&role).await;
    }
    let proxy = Secret::start().await;
    let run = |role: &'static str| {
        let address = format!("http://127.0.0.1:{}", proxy.port);
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "notify::forgery::proxy_variables_are_ignored"]).env(ROLE, role);
        command.envs(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, &address)));
        command.env_remove("NO_PROXY").env_remove("no_proxy").stdout(Stdio::null()).stderr(Stdio::null());
        tokio::task::spawn_blocking(move || command.status().unwrap().success())
    };
    assert!(run("ours").await.unwrap(), "the notification was not delivered");
    assert_eq!(proxy.connections(), 0);
    // The variables do work: another client uses them.
    assert!(run("other").await.unwrap());
    assert_ne!(proxy.connections(), 0);
}

async fn send_with_proxy(role: &str) {
    let fixture = Fixture::new(ALLOWED, TIMEOUT);
    fixture.names.set(NAME, &[&["127.0.0.2"]]);
    let receiver = Receiver::start("127.0.0.2:0", &fixture.authority, &[NAME], PROTOCOLS, accept).await;
    let url = format!("https://{NAME}:{}/", receiver.address.port());
    if role == "ours" {
        assert_eq!(fixture.post(&url).await, Outcome::Delivered(StatusCode::ACCEPTED));
    } else {
        // The proxy closes the connection.
        assert!(reqwest::Client::new().post(&url).timeout(TIMEOUT).send().await.is_err());
    }
}
