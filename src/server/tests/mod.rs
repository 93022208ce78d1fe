//! Timeouts and limits of connections on paused time: which are closed, when and why.

mod pressure;

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use http::{StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use super::{ClientFaults, Connections, Endless, Memory, Protocol, TimedOut};
use crate::{clock::Stopwatch, settings::LimitSettings, telemetry::ConnectionMetrics};

const LIMITS: LimitSettings = LimitSettings {
    connections_max: 1,
    streams_max: 1_000,
    resets_per_second: 10,
    memory_max_bytes: None,
    header_timeout: Duration::from_secs(10),
    body_timeout: Duration::from_secs(20),
    idle_timeout: Duration::from_mins(1),
    connection_max_age: Duration::from_hours(24),
    send_timeout: Duration::from_secs(20),
    header_max_bytes: 32_768,
    message_max_bytes: 1_048_576,
};
/// The bytes that the network holds in each direction.
const NETWORK_BYTES: usize = 4_096;
/// The precision of the timers, with some room.
const PRECISION: Duration = Duration::from_millis(20);
/// A connection that is open after this time has no timeout.
const LONG: Duration = Duration::from_hours(2);

/// A connection's end: when, and which timeout ended it.
type End = (Duration, Option<TimedOut>);

fn serve(protocol: Protocol, limits: LimitSettings) -> (DuplexStream, JoinHandle<End>) {
    let (client, ended, _) = serve_until(protocol, limits, CancellationToken::new());
    (client, ended)
}

/// Serves a connection until it ends, also after `stop`. Returns its memory, too.
fn serve_until(
    protocol: Protocol,
    limits: LimitSettings,
    stop: CancellationToken,
) -> (DuplexStream, JoinHandle<End>, Memory) {
    let (client, server) = duplex(NETWORK_BYTES);
    let service = service_fn(async |request: Request| Ok::<_, Infallible>(respond(request).await));
    let memory = Memory::new(1_024 * 1_024 * 1_024);
    let connections = Connections {
        protocol,
        service,
        refuse: |_, _| StatusCode::SERVICE_UNAVAILABLE.into_response(),
        limits,
        memory: memory.clone(),
        faults: ClientFaults::new(None, ConnectionMetrics::unregistered()),
        tls: None,
        stop,
    };
    let ended = tokio::spawn(async move {
        let stopwatch = Stopwatch::start();
        let timed_out = connections.serve_http(server, None).await;
        (stopwatch.elapsed(), timed_out)
    });
    (client, ended, memory)
}

async fn respond(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    // Fails if the client cancels the request.
    let read = request.into_body().collect().await;
    Response::new(match path.as_str() {
        "/large" => Body::from(vec![0; 1_024 * 1_024]),
        "/slow" => {
            sleep(Duration::from_secs(15)).await;
            Body::from("slow")
        }
        "/stream" => {
            let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"first"))]);
            Body::from_stream(first.chain(stream::pending()))
        }
        "/events" | "/endless" => return events(path == "/endless"),
        "/quiet" => Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()),
        "/empty" => Body::empty(),
        _ => Body::from(if read.is_ok() { "complete" } else { "cancelled" }),
    })
}

/// Two events within three seconds, or events without end.
fn events(endless: bool) -> Response {
    let event = |text| async move {
        sleep(Duration::from_secs(2)).await;
        Ok::<_, Infallible>(Bytes::from_static(text))
    };
    let events = stream::iter([&b"first"[..], b"second"]).then(event);
    let body = if endless {
        Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1_000]))))
    } else {
        Body::from_stream(events)
    };
    ([(CONTENT_TYPE, "text/event-stream")], Extension(Endless), body).into_response()
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const GET_LARGE: &str = "GET /large HTTP/1.1\r\nhost: a\r\n\r\n";
const GET_SLOW: &str = "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
const GET_STREAM: &str = "GET /stream HTTP/1.1\r\nhost: a\r\n\r\n";
const HALF_BODY: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\n{";
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &str = "\0\0\0\u{4}\0\0\0\0\0";

/// What a client sends, in order.
enum Step {
    Write(&'static str),
    /// One byte a second.
    Trickle(&'static str),
    WaitSeconds(u64),
}
use Step::{Trickle, WaitSeconds, Write};

/// A little less than the send timeout, which is the time for 16 KiB.
const SLOWLY: Duration = Duration::from_secs(19);

/// How a client reads.
#[derive(Clone, Copy)]
enum Reads {
    All,
    /// A few bytes at a time, each within the send timeout.
    Slowly,
    Nothing,
}

async fn run_client(client: DuplexStream, steps: &[Step], reads: Reads) {
    let (mut reader, mut writer) = split(client);
    tokio::spawn(async move {
        let mut bytes = [0; 100];
        loop {
            match reads {
                Reads::All => {}
                Reads::Slowly => sleep(SLOWLY).await,
                Reads::Nothing => sleep(LONG).await,
            }
            if matches!(reader.read(&mut bytes).await, Ok(0) | Err(_)) {
                return;
            }
        }
    });
    for step in steps {
        match step {
            Write(text) => drop(writer.write_all(text.as_bytes()).await),
            Trickle(text) => {
                for byte in text.bytes() {
                    sleep(Duration::from_secs(1)).await;
                    drop(writer.write_all(&[byte]).await);
                }
            }
            WaitSeconds(seconds) => sleep(Duration::from_secs(*seconds)).await,
        }
    }
    // A dropped half would close the connection.
    sleep(LONG).await;
}

/// A client, its protocol, what it sends and how it reads, and the end of its connection;
/// `None` if it stays open.
type Case<'a> = (&'a str, Protocol, &'a [Step], Reads, Option<End>);

#[tokio::test(start_paused = true)]
async fn each_timeout_closes_the_connections_that_it_is_for() {
    use Protocol::{Http1Or2, Http2};
    use TimedOut::{Header, Idle, Send};
    let after = |seconds: u64, reason: TimedOut| Some((Duration::from_secs(seconds), Some(reason)));
    let open = None;
    let cases: [Case; 17] = [
        ("a silent client", Http1Or2, &[], Reads::All, after(10, Header)),
        ("a silent gRPC client", Http2, &[], Reads::All, after(10, Header)),
        ("a part of a header", Http1Or2, &[Write("GET / HT")], Reads::All, after(10, Header)),
        ("a late header", Http1Or2, &[WaitSeconds(5), Write("GET /")], Reads::All, after(15, Header)),
        ("a header, byte by byte", Http1Or2, &[Trickle(GET)], Reads::All, after(11, Header)),
        ("a part of the preface", Http1Or2, &[Write("PRI * HT")], Reads::All, after(10, Header)),
        ("a preface without a frame", Http2, &[Write(PREFACE)], Reads::All, after(10, Header)),
        (
            "a client that does not return pings",
            Http2,
            &[Write(PREFACE), Write(SETTINGS)],
            Reads::All,
            Some((Duration::from_secs(20), None)),
        ),
        ("one request", Http1Or2, &[Write(GET)], Reads::All, after(60, Idle)),
        (
            "requests within the idle timeout",
            Http1Or2,
            &[Write(GET), WaitSeconds(50), Write(GET), WaitSeconds(50), Write(GET)],
            Reads::All,
            after(160, Idle),
        ),
        (
            "a part of a second header",
            Http1Or2,
            &[Write(GET), WaitSeconds(30), Write("GET /")],
            Reads::All,
            after(40, Header),
        ),
        ("a part of a body", Http1Or2, &[Write(HALF_BODY)], Reads::All, after(20, Send)),
        ("a slow service", Http1Or2, &[Write(GET_SLOW)], Reads::All, after(75, Idle)),
        ("a stalled response", Http1Or2, &[Write(GET_LARGE)], Reads::Nothing, after(20, Send)),
        ("a response that is read too slowly", Http1Or2, &[Write(GET_LARGE)], Reads::Slowly, after(20, Send)),
        ("a quiet stream", Http1Or2, &[Write(GET_STREAM)], Reads::All, open),
        ("a quiet stream that is not read", Http1Or2, &[Write(GET_STREAM)], Reads::Nothing, open),
    ];
    for (name, protocol, steps, reads, expected) in cases {
        let (client, ended) = serve(protocol, LIMITS);
        let end = tokio::select! {
            end = timeout(LONG / 2, ended) => end.ok().map(Result::unwrap),
            () = run_client(client, steps, reads) => None,
        };
        let (Some((time, reason)), Some((expected_time, expected_reason))) = (end, expected) else {
            assert_eq!(end, expected, "{name}");
            continue;
        };
        assert_eq!(reason, expected_reason, "{name}, after {time:?}");
        assert!((expected_time..=expected_time + PRECISION).contains(&time), "{name}: {time:?}");
    }
}

/// An HTTP/2 client that reads and returns pings.
async fn http2(limits: LimitSettings) -> (h2::client::SendRequest<Bytes>, JoinHandle<End>) {
    let (client, ended) = serve(Protocol::Http2, limits);
    let (requests, connection) = h2::client::handshake(client).await.unwrap();
    tokio::spawn(connection);
    (requests, ended)
}

fn post(path: &str) -> http::Request<()> {
    http::Request::post(format!("http://a{path}")).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_http_2_connection_without_a_request_is_closed_after_the_idle_timeout() {
    let (mut requests, ended) = http2(LIMITS).await;
    let (response, _) = requests.send_request(post("/"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let (time, reason) = ended.await.unwrap();
    assert_eq!(reason, Some(TimedOut::Idle));
    assert!((LIMITS.idle_timeout..LIMITS.idle_timeout + LIMITS.send_timeout).contains(&time), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_http_2_client_learns_that_its_connection_ends() {
    for stops in [true, false] {
        let stop = CancellationToken::new();
        let (client, ended, _) = serve_until(Protocol::Http2, LIMITS, stop.clone());
        let (mut requests, connection) = h2::client::handshake(client).await.unwrap();
        let client = tokio::spawn(connection);
        let (response, _) = requests.send_request(post("/"), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        sleep(Duration::from_secs(5)).await;
        if stops {
            stop.cancel();
        }
        client.await.unwrap().expect("it gets a GOAWAY");
        assert_eq!(ended.await.unwrap().1, (!stops).then_some(TimedOut::Idle));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cancels_too_many_requests_learns_why_its_connection_is_closed() {
    let (requests, ended) = http2(LIMITS).await;
    let mut ready = requests.clone().ready().await.unwrap();
    let (answered, _) = ready.send_request(post("/slow"), true).unwrap();
    sleep(Duration::from_secs(13)).await;
    let mut cancelled = 0;
    let error = loop {
        let mut requests = match requests.clone().ready().await {
            Ok(requests) => requests,
            Err(error) => break error,
        };
        let Ok((_, mut body)) = requests.send_request(post("/"), false) else { continue };
        // The service must have begun the request.
        sleep(Duration::from_millis(1)).await;
        body.send_reset(h2::Reason::CANCEL);
        cancelled += 1;
    };
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
    // The service notices the 21st, while the client sends more.
    assert!((21..5_000).contains(&cancelled), "{cancelled}");
    assert_eq!(answered.await.unwrap().status(), 200, "what is under way gets its response");
    assert_eq!(ended.await.unwrap().1, Some(TimedOut::Resets));
}

const AGE: Duration = Duration::from_secs(100);
const AGED: LimitSettings =
    LimitSettings { connection_max_age: AGE, body_timeout: Duration::from_hours(1), ..LIMITS };

/// Whether a time is the maximum age, which varies by up to a tenth.
fn is_max_age(time: Duration) -> bool {
    (AGE.mul_f64(0.9)..=AGE.mul_f64(1.1) + Duration::from_secs(1)).contains(&time)
}

#[tokio::test(start_paused = true)]
async fn at_its_maximum_age_an_http_1_connection_is_closed_after_the_next_response() {
    let (mut client, ended) = serve(Protocol::Http1Or2, AGED);
    let mut bytes = vec![0; NETWORK_BYTES];
    loop {
        client.write_all(GET.as_bytes()).await.unwrap();
        let length = client.read(&mut bytes).await.unwrap();
        let response = String::from_utf8_lossy(&bytes[..length]);
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        if response.contains("connection: close") {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.read(&mut bytes).await.unwrap(), 0, "the connection is closed");
    let (time, reason) = ended.await.unwrap();
    assert_eq!(reason, None);
    assert!(is_max_age(time), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn at_its_maximum_age_an_http_2_connection_refuses_requests_and_completes_those_it_has() {
    let (requests, ended) = http2(AGED).await;
    let stopwatch = Stopwatch::start();
    let mut ready = requests.clone().ready().await.unwrap();
    let (response, mut body) = ready.send_request(post("/"), false).unwrap();
    while let Ok(mut ready) = requests.clone().ready().await {
        let Ok((response, _)) = ready.send_request(post("/"), true) else { break };
        if response.await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!(is_max_age(stopwatch.elapsed()), "{:?}", stopwatch.elapsed());
    body.send_data(Bytes::from_static(b"late"), true).unwrap();
    let mut response = response.await.unwrap().into_body();
    assert_eq!(response.data().await.unwrap().unwrap(), "complete");
    drop((response, body, ready, requests));
    assert_eq!(timeout(LIMITS.idle_timeout, ended).await.unwrap().unwrap().1, None);
}
