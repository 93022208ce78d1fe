//! Deliveries and handshakes, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use presenced::{
    clock::Stopwatch,
    notify::{HandshakeError, Outcome, ReceiverSettings, Receivers, UnreachableKind},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Fixture, NAME};
use crate::support::{
    authority::Authority,
    receiver::{Received, Receiver, Reply, accept, reply},
};

const LOCAL: &[&str] = &["127.0.0.1/32"];
const BOTH: &[&str] = &["h2", "http/1.1"];
const TIMEOUT: Duration = Duration::from_secs(10);

/// A receiver at [`NAME`], and its URL with a secret.
async fn start<F, R>(fixture: &Fixture, protocols: &[&str], reply: F) -> (Receiver, String)
where
    F: Fn(&Received) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let receiver = Receiver::start("127.0.0.1:0", &fixture.authority, &[NAME], protocols, reply).await;
    fixture.names.set(NAME, &[&["127.0.0.1"]]);
    let url = format!("https://{NAME}:{}/hook?code=secret", receiver.address.port());
    (receiver, url)
}

fn unreachable(outcome: &Outcome) -> (UnreachableKind, &str) {
    match outcome {
        Outcome::Unreachable { kind, words } => (*kind, words),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_notification_arrives_as_it_is_over_a_connection_that_is_kept() {
    for protocols in [BOTH, &["http/1.1"]] {
        let fixture = Fixture::new(LOCAL, TIMEOUT);
        let (receiver, url) = start(&fixture, protocols, accept).await;
        let url = fixture.receivers.check_url(&url).unwrap();
        let headers = HeaderMap::from_iter([("webhook-id".parse().unwrap(), HeaderValue::from_static("1"))]);
        for body in ["{}", r#"{"value":[]}"#] {
            let outcome = fixture.receivers.post(&url, headers.clone(), Bytes::from(body)).await;
            assert_eq!(outcome, Outcome::Delivered(StatusCode::ACCEPTED));
        }
        let [first, second] = &receiver.received()[..] else { panic!("two requests") };
        assert_eq!((&first.method, &first.body[..]), (&Method::POST, &b"{}"[..]));
        assert_eq!((second.uri.path(), second.uri.query()), ("/hook", Some("code=secret")));
        assert_eq!(second.body, r#"{"value":[]}"#);
        assert_eq!(second.headers["webhook-id"], "1");
        assert!(second.headers["user-agent"].to_str().unwrap().starts_with("presenced/"));
        assert!(!second.headers.contains_key("accept-encoding"), "nothing is decompressed");
        assert_eq!(receiver.connections(), 1, "{protocols:?}");
    }
}

#[tokio::test]
async fn a_refusal_has_its_status_delay_and_words() {
    let fixture = Fixture::new(LOCAL, TIMEOUT);
    let long = "x".repeat(1_024 * 1_024);
    let (_receiver, url) = start(&fixture, BOTH, move |_| {
        let long = long.clone();
        async move { reply(503, &[("retry-after", "120")], format!("Not\n\u{1b}now {long}")) }
    })
    .await;
    let outcome = fixture.post(&url).await;
    let words = format!("Not now {}", "x".repeat(192));
    let retry_after = Some(Duration::from_mins(2));
    assert_eq!(outcome, Outcome::Rejected { status: StatusCode::SERVICE_UNAVAILABLE, retry_after, words });
}

#[tokio::test]
async fn a_receiver_that_is_gone_says_so() {
    let fixture = Fixture::new(LOCAL, TIMEOUT);
    let (_receiver, url) = start(&fixture, BOTH, |_| async { reply(410, &[], "gone") }).await;
    assert_eq!(fixture.post(&url).await, Outcome::Gone);
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_the_timeout() {
    let fixture = Fixture::new(LOCAL, Duration::from_millis(300));
    let (receiver, url) = start(&fixture, BOTH, |_| std::future::pending::<Reply>()).await;
    let started = Stopwatch::start();
    let outcome = fixture.post(&url).await;
    assert_eq!(unreachable(&outcome), (UnreachableKind::Timeout, ""));
    let url = fixture.receivers.check_url(&url).unwrap();
    let error = fixture.receivers.handshake(&url, "token").await.unwrap_err();
    assert_eq!(error.to_string(), "There was no response: no response in time.");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn a_response_counts_though_its_body_stalls() {
    let fixture = Fixture::new(LOCAL, TIMEOUT);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert_ne!(socket.read(&mut [0; 1_024]).await.unwrap(), 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let started = Stopwatch::start();
    assert_eq!(fixture.post(&url).await, Outcome::Delivered(StatusCode::OK));
    assert!(started.elapsed() < TIMEOUT / 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_error_names_what_failed_and_no_secret() {
    let fixture = Fixture::new(LOCAL, TIMEOUT);
    // Nothing listens at this port any more.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    fixture.names.set(NAME, &[&["127.0.0.1"]]);
    let refused = fixture.post(&format!("https://{NAME}:{port}/hook?code=secret")).await;
    let (kind, words) = unreachable(&refused);
    assert_eq!(kind, UnreachableKind::Connect);
    assert!(words.starts_with("Connection refused"), "{words}");

    let unknown = fixture.post("https://unknown.test/?code=secret").await;
    assert_eq!(unreachable(&unknown).0, UnreachableKind::Connect);

    let other = Receiver::start("127.0.0.1:0", &Authority::new(), &[NAME], BOTH, accept).await;
    let distrusted = fixture.post(&format!("https://{NAME}:{}/?code=secret", other.address.port())).await;
    let (kind, words) = unreachable(&distrusted);
    assert_eq!(kind, UnreachableKind::Tls);
    assert!(words.contains("certificate"), "{words}");

    let fake = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = fake.local_addr().unwrap().port();
    tokio::spawn(async move { while fake.accept().await.is_ok() {} });
    let broken = fixture.post(&format!("http://127.0.0.1:{port}/?code=secret")).await;
    assert_eq!(unreachable(&broken).0, UnreachableKind::Broken);

    for outcome in [refused, unknown, distrusted, broken] {
        assert!(!format!("{outcome} {outcome:?}").contains("secret"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_handshake_asks_for_the_decoded_token() {
    let fixture = Fixture::new(LOCAL, TIMEOUT);
    let (receiver, url) = start(&fixture, BOTH, accept).await;
    let url = fixture.receivers.check_url(&url).unwrap();
    let token = "Validation: a+b & c?";
    assert_eq!(fixture.receivers.handshake(&url, token).await, Ok(()));
    let [request] = &receiver.received()[..] else { panic!("one request") };
    assert_eq!(request.method, Method::POST);
    let expected = "code=secret&validationToken=Validation%3A+a%2Bb+%26+c%3F";
    assert_eq!(request.uri.query(), Some(expected));
    assert_eq!(request.headers["content-type"], "text/plain; charset=utf-8");
    assert!(request.body.is_empty());
    // Each handshake has a connection of its own.
    assert_eq!(fixture.receivers.handshake(&url, token).await, Ok(()));
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_failed_handshake_says_what_came_back() {
    let fixture = Fixture::new(LOCAL, TIMEOUT);
    let plain: &[(&str, &str)] = &[("content-type", "text/plain")];
    for (status, headers, body, expected) in [
        (404, plain, "token", "The response was 404 Not Found."),
        (302, plain, "token", "The response was 302 Found."),
        (200, plain, "other", "The response was not the decoded validation token."),
        (200, &[], "token", "The content type of the response was missing, not text/plain."),
    ] {
        let (_receiver, url) =
            start(&fixture, BOTH, move |_| async move { reply(status, headers, body) }).await;
        let url = fixture.receivers.check_url(&url).unwrap();
        let error: HandshakeError = fixture.receivers.handshake(&url, "token").await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_file_without_certificates_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str, text: Option<&str>| {
        let path = folder.path().join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let settings = ReceiverSettings { extra_roots: Some(path), ..ReceiverSettings::default() };
        Receivers::new(&settings).unwrap_err()
    };
    let missing = error("missing", None);
    assert!(missing.starts_with("--subscription-ca ") && missing.contains("No such file"), "{missing}");
    let empty = error("empty", Some(""));
    assert!(empty.ends_with(": contains no PEM certificate"), "{empty}");
}
