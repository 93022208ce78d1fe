//! Clients that are slow or hostile, through real sockets: what they cost, and what is counted.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use presenced::clock::Stopwatch;
use presenced_tools::process::Process;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{database::Engine, metrics, server::Server, wait::eventually};

/// The deadline of every wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const MIB: usize = 1_024 * 1_024;

type Requests = h2::client::SendRequest<Bytes>;

async fn http2(address: SocketAddr, window: u32) -> Requests {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) =
        h2::client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests
}

/// A request for the presences of 650 users, whose response has more than 16 KiB.
fn bulk_read(address: SocketAddr) -> (http::Request<()>, Bytes) {
    let ids: Vec<String> = (0..650).map(|user| format!("user-{user}")).collect();
    let url = format!("http://{address}/v1.0/communications/getPresencesByUserId");
    let body = serde_json::json!({ "ids": ids }).to_string();
    let request = http::Request::post(url).header("content-type", "application/json");
    (request.body(()).unwrap(), Bytes::from(body))
}

#[tokio::test]
async fn a_client_that_is_too_slow_for_a_stop_is_cut_and_counted() {
    let mut process = Process::start("sqlite::memory:", &["--drain-timeout", "1s"]).await;
    let mut requests = http2(process.http, 1).await;
    let (request, body) = bulk_read(process.http);
    let (response, mut sender) = requests.send_request(request, false).unwrap();
    sender.send_data(body, true).unwrap();
    let response = timeout(PATIENCE, response).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    let stopwatch = Stopwatch::start();
    process.signal("TERM");
    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(stopwatch.elapsed() >= Duration::from_secs(1), "it waits for the client");
    let cut = log.lines().find(|line| line.contains("not drained")).expect("a line in the log");
    assert!(cut.contains("\"requests\":1") && !log.contains("\"drained: "), "{log}");
}

#[tokio::test]
async fn half_sent_bodies_take_a_bounded_part_of_memory() {
    // A budget of 10.4 MiB for the requests of one connection.
    let server = Server::start_with(Engine::Sqlite, &["--memory-max-bytes", "268435456"]).await;
    let address = server.addresses.http;
    let mut requests = http2(address, 65_535).await;
    let mut bodies = Vec::new();
    for _ in 0..40 {
        let url = format!("http://{address}/v1.0/communications/getPresencesByUserId");
        let request = http::Request::post(url).header("content-type", "application/json").body(()).unwrap();
        requests = timeout(PATIENCE, requests.ready()).await.unwrap().unwrap();
        let (response, sender) = requests.send_request(request, false).unwrap();
        bodies.push((response, sender));
    }
    // A half of each.
    let mut refused = 0;
    for (response, mut sender) in bodies {
        sender.send_data(Bytes::from(vec![b' '; MIB / 2]), false).unwrap();
        let full = timeout(Duration::from_millis(200), response).await;
        if let Ok(response) = full {
            assert_eq!(response.unwrap().status(), 429);
            refused += 1;
        } else {
            // Kept open until the end.
            std::mem::forget(sender);
        }
    }
    assert!((19..=22).contains(&refused), "{refused} of 40 were refused");
    let taken = r#"presence_client_memory_bytes{part="requests"}"#;
    assert!(metrics::value(server.addresses.admin, taken).await < 10.5 * 1_048_576.0);
    let counted = r#"presence_requests_refused_total{api="http",reason="connection_memory"}"#;
    metrics::reaches(server.addresses.admin, counted, f64::from(refused)).await;
    // Another client is served, and the memory returns.
    let other = reqwest::get(format!("http://{address}/v1.0/users/a/presence")).await.unwrap();
    assert_eq!(other.status(), 200);
    drop(requests);
    eventually("the memory is given back", async || {
        metrics::value(server.addresses.admin, taken).await < 65_536.0
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_reaches_its_limit_of_streams_is_counted_and_logged() {
    let mut process = Process::start("sqlite::memory:", &["--streams-max", "3"]).await;
    let mut requests = http2(process.http, 65_535).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let url = format!("http://{}/v1.0/communications/watchPresences?ids=ada", process.http);
        requests = timeout(PATIENCE, requests.ready()).await.unwrap().unwrap();
        let (response, _) = requests.send_request(http::Request::get(url).body(()).unwrap(), true).unwrap();
        streams.push(timeout(PATIENCE, response).await.unwrap().unwrap());
    }
    metrics::reaches(process.admin, r#"presence_streams_max_reached_total{api="http"}"#, 1.0).await;
    drop(streams);
    process.signal("TERM");
    let (_, log) = process.wait();
    let lines = log.lines().filter(|line| line.contains("--streams-max") && line.contains("\"peer\":\"127."));
    assert_eq!(lines.count(), 1, "{log}");
}

/// A HEADERS frame of stream `id` with these headers, which are not compressed.
fn headers(id: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let mut block = Vec::new();
    for (name, value) in fields {
        block.extend([0, length(name)].into_iter().chain(name.bytes()));
        block.extend([length(value)].into_iter().chain(value.bytes()));
    }
    let size = u32::try_from(block.len()).unwrap().to_be_bytes();
    // END_STREAM and END_HEADERS.
    [&size[1..], &[1, 5], &id.to_be_bytes(), &block].concat()
}

#[tokio::test]
async fn a_request_that_h2_refuses_is_counted_and_logged() {
    let mut process = Process::start("sqlite::memory:", &[]).await;
    let mut stream = TcpStream::connect(process.grpc).await.unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).await.unwrap();
    for id in [1, 3] {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            // What gRPC's C core sends for `ipv4:a:50051,b:50051`.
            (":authority", "a:50051,b:50051"),
        ];
        stream.write_all(&headers(id, &fields)).await.unwrap();
    }
    metrics::reaches(process.admin, r#"presence_requests_refused_total{api="grpc",reason="malformed"}"#, 2.0)
        .await;
    let mut received = vec![0; 1_024];
    assert!(stream.read(&mut received).await.unwrap() > 0);
    process.signal("TERM");
    let (_, log) = process.wait();
    let lines = log.lines().filter(|line| line.contains("grpc.default_authority"));
    assert_eq!(lines.count(), 1, "one line for both: {log}");
}
