//! Limits and timeouts of one client.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use presenced::{clock::Stopwatch, settings::LimitSettings};
use reqwest::Client;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{database::Engine, metrics, server::Server};

/// The deadline of every wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
const GET: &str = "GET /v1.0/users/a/presence HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn start(flags: &[&str]) -> Server {
    Server::start_with(Engine::Sqlite, flags).await
}

/// A server whose limits `tune` has changed.
async fn start_tuned(tune: impl FnOnce(&mut LimitSettings)) -> Server {
    Server::start_tuned(Engine::Sqlite, &[], |settings| tune(&mut settings.limits)).await
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// The time until the server closes the connection.
async fn closed(stream: &mut TcpStream) -> Duration {
    let stopwatch = Stopwatch::start();
    let mut bytes = [0; 4_096];
    let end = async { while !matches!(stream.read(&mut bytes).await, Ok(0) | Err(_)) {} };
    timeout(PATIENCE, end).await.expect("the connection is closed");
    stopwatch.elapsed()
}

/// The status line of the response; empty if the connection is closed.
async fn status(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4_096];
    let read = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("a response").unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_connection_without_a_complete_header_is_closed() {
    let server = start_tuned(|limits| limits.header_timeout = Duration::from_millis(500)).await;
    let (grpc, http) = (server.addresses.grpc, server.addresses.http);
    for (address, begin) in [
        (http, ""),
        (http, "GET /v1.0/users/a/pres"),
        (http, "PRI * HTTP/2.0\r\n"),
        (grpc, ""),
        (grpc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let mut stream = connect(address).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let took = closed(&mut stream).await;
        assert!(took >= Duration::from_millis(400), "{begin:?} {took:?}");
    }
    // The timeout covers the whole header: more bytes do not extend it.
    let mut stream = connect(http).await;
    let stopwatch = Stopwatch::start();
    for byte in GET.bytes() {
        let closed = timeout(Duration::from_millis(50), stream.read_u8()).await;
        if closed.is_ok() || stream.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    assert!(stopwatch.elapsed() < Duration::from_secs(2), "{:?}", stopwatch.elapsed());
    let timed_out = r#"presence_connections_timed_out_total{api="http",reason="header_timeout"}"#;
    assert!(metrics::value(server.addresses.admin, timed_out).await >= 4.0);
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_an_active_one_is_not() {
    let server = start_tuned(|limits| {
        (limits.idle_timeout, limits.header_timeout) = (Duration::from_secs(1), Duration::from_millis(500));
    })
    .await;
    let mut stream = connect(server.addresses.http).await;
    for _ in 0..4 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(status(&mut stream).await, "HTTP/1.1 200 OK");
        // The header timeout passes, and the idle timeout does not.
        closed(&mut connect(server.addresses.http).await).await;
    }
    assert!(closed(&mut stream).await < Duration::from_secs(3));

    let (mut requests, connection) =
        h2::client::handshake(connect(server.addresses.grpc).await).await.unwrap();
    let ended = tokio::spawn(connection);
    let get = || {
        let check = http::Request::post("http://localhost/grpc.health.v1.Health/Check");
        check.header("content-type", "application/grpc").body(()).unwrap()
    };
    let (response, _) = requests.send_request(get(), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    // The client gets a GOAWAY, so that it loses no request.
    timeout(PATIENCE, ended).await.expect("the connection ends").unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_stalls_is_refused() {
    let server = start_tuned(|limits| limits.body_timeout = Duration::from_millis(300)).await;
    let mut stream = connect(server.addresses.http).await;
    let head =
        "POST /v1.0/users/a/presence/setPresence HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&mut stream).await, "HTTP/1.1 408 Request Timeout");

    let (mut requests, connection) =
        h2::client::handshake(connect(server.addresses.grpc).await).await.unwrap();
    tokio::spawn(connection);
    let set = http::Request::post("http://localhost/presence.v1.PresenceService/SetPresence");
    let set = set.header("content-type", "application/grpc").body(()).unwrap();
    let (response, mut body) = requests.send_request(set, false).unwrap();
    body.send_data(Bytes::from_static(&[0, 0, 0, 0, 50]), false).unwrap();
    let response = timeout(PATIENCE, response).await.expect("a response").unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    server.stop().await;
}

#[tokio::test]
async fn a_request_whose_client_does_not_read_is_cut() {
    let server = start_tuned(|limits| {
        (limits.send_timeout, limits.body_timeout) = (Duration::from_millis(500), Duration::from_millis(500));
    })
    .await;
    let mut builder = h2::client::Builder::new();
    let stream = connect(server.addresses.http).await;
    let (mut requests, connection) =
        builder.initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    let ended = tokio::spawn(connection);
    let get = http::Request::get("http://localhost/v1.0/users/a/presence").body(()).unwrap();
    let (response, _) = requests.send_request(get, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    // The client's window has no room for the body.
    let mut body = response.into_body();
    let cut = timeout(PATIENCE, body.data()).await.expect("the request is cut").unwrap().unwrap_err();
    assert_eq!(cut.reason(), Some(h2::Reason::CANCEL));
    metrics::reaches(
        server.addresses.admin,
        r#"presence_requests_cut_total{api="http",reason="send_timeout"}"#,
        1.0,
    )
    .await;
    assert!(!ended.is_finished(), "the connection stays open");
    server.stop().await;
}

#[tokio::test]
async fn a_connection_above_the_limit_is_closed_at_once() {
    let server = start(&["--connections-max", "2"]).await;
    let mut open = [connect(server.addresses.http).await, connect(server.addresses.http).await];
    for stream in &mut open {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(status(stream).await, "HTTP/1.1 200 OK");
    }
    assert!(closed(&mut connect(server.addresses.http).await).await < Duration::from_secs(2));
    open[0].write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(status(&mut open[0]).await, "HTTP/1.1 200 OK");
    // The other API has a limit of its own, and a closed connection frees its slot.
    let mut grpc = connect(server.addresses.grpc).await;
    grpc.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    timeout(PATIENCE, grpc.read_u8()).await.expect("the HTTP/2 settings").unwrap();
    let [first, _second] = open;
    drop(first);
    let free = async {
        loop {
            let mut stream = connect(server.addresses.http).await;
            if stream.write_all(GET.as_bytes()).await.is_ok()
                && status(&mut stream).await == "HTTP/1.1 200 OK"
            {
                return;
            }
        }
    };
    timeout(PATIENCE, free).await.expect("a free slot");
    assert!(
        metrics::value(
            server.addresses.admin,
            r#"presence_connections_refused_total{api="http",reason="connections_max"}"#
        )
        .await
            >= 1.0
    );
    server.stop().await;
}

#[tokio::test]
async fn a_connection_with_too_many_cancelled_requests_is_closed() {
    let server = start_tuned(|limits| limits.resets_per_second = 10).await;
    let (requests, mut connection) =
        h2::client::handshake(connect(server.addresses.grpc).await).await.unwrap();
    let mut ping = connection.ping_pong().unwrap();
    let ended = tokio::spawn(connection);
    let mut cancelled = 0;
    // A request stays active until its message is complete.
    while let Ok(mut ready) = requests.clone().ready().await {
        let set = http::Request::post("http://localhost/presence.v1.PresenceService/SetPresence");
        let set = set.header("content-type", "application/grpc").body(()).unwrap();
        let Ok((_, mut body)) = ready.send_request(set, false) else { break };
        body.send_data(Bytes::from_static(&[0]), false).unwrap();
        // After the second pong the server has begun the request.
        for _ in 0..2 {
            let _ = ping.ping(h2::Ping::opaque()).await;
        }
        body.send_reset(h2::Reason::CANCEL);
        cancelled += 1;
        assert!(cancelled < 200, "the connection stays open");
    }
    drop(timeout(PATIENCE, ended).await.expect("the connection is closed"));
    assert!(cancelled > 20, "{cancelled}");
    drop(requests);
    let timed_out = r#"presence_connections_timed_out_total{api="grpc",reason="resets"}"#;
    metrics::reaches(server.addresses.admin, timed_out, 1.0).await;
    server.stop().await;
}

#[tokio::test]
async fn headers_and_messages_above_their_limits_are_refused() {
    let server = start_tuned(|limits| {
        (limits.header_max_bytes, limits.message_max_bytes) = (8_192, 2_000);
    })
    .await;
    let url = format!("{}/v1.0/users/a/presence", server.graph());
    let (http1, http2) = (Client::new(), Client::builder().http2_prior_knowledge().build().unwrap());
    for client in [&http1, &http2] {
        // Beyond twice the limit hyper refuses, without a body.
        let large = client.get(&url).header("x-large", "x".repeat(20_000)).send().await.unwrap();
        assert_eq!(large.status(), 431);
        let body = format!("{{\"x\":\"{}\"}}", "x".repeat(2_000));
        let large = client.post(format!("{url}/setPresence")).body(body).send().await.unwrap();
        assert_eq!(large.status(), 413);
    }

    let url = format!("http://{}/presence.v1.PresenceService/SetPresence", server.addresses.grpc);
    let set = || http2.post(&url).header("content-type", "application/grpc").header("te", "trailers");
    let large = set().header("x-large", "x".repeat(20_000)).send().await.unwrap();
    assert_eq!(large.status(), 431);
    let message = [&[0], &2_001_u32.to_be_bytes()[..], &[0; 2_001]].concat();
    let large = set().body(message).send().await.unwrap();
    assert_eq!(large.headers()["grpc-status"], "8", "RESOURCE_EXHAUSTED");
    server.stop().await;
}

/// Between the limit and twice the limit, of the request line and of the headers.
#[tokio::test]
async fn a_request_that_is_too_long_is_refused_with_a_body_on_every_path() {
    let server = start_tuned(|limits| limits.header_max_bytes = 8_192).await;
    let (http1, http2) = (Client::new(), Client::builder().http2_prior_knowledge().build().unwrap());
    let long = "x".repeat(8_192);
    for client in [&http1, &http2] {
        for path in
            ["/v1.0/users/a/presence", "/nowhere", "/docs/index.html", "/openapi.json", "/v1.0/$batch"]
        {
            let url = format!("{}{path}", server.graph());
            let requests = [
                client.get(&url).header("x-large", &long),
                client.get(format!("{url}?ids={long}")),
                client.post(format!("{url}/{long}")).header("content-type", "application/json"),
            ];
            for request in requests {
                let refused = request.send().await.unwrap();
                assert_eq!(refused.status(), 431, "{path}");
                let length = refused.content_length();
                let text = refused.text().await.unwrap();
                let body: Value = serde_json::from_str(&text).unwrap_or_default();
                assert_eq!(
                    body["error"]["code"], "RequestHeaderFieldsTooLarge",
                    "{path}: {length:?} {text:?}"
                );
                let message = body["error"]["message"].as_str().unwrap();
                assert!(message.ends_with("the limit is 8192 bytes."), "{message}");
            }
            let fits = client.get(&url).header("x-large", "x".repeat(7_500)).send().await.unwrap();
            assert_ne!(fits.status(), 431, "{path}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_error_response_arrives_before_the_body_is_complete() {
    let server = start(&[]).await;
    let mut stream = connect(server.addresses.http).await;
    for _ in 0..3 {
        let head =
            "PATCH /v1.0/users/a/presence HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(status(&mut stream).await, "HTTP/1.1 405 Method Not Allowed");
        stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
    }
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(status(&mut stream).await, "HTTP/1.1 200 OK");
    server.stop().await;
}
