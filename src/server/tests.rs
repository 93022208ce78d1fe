//! Timeouts and limits of connections on paused time: which are closed, when and why.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use super::{Connections, Protocol, TimedOut};
use crate::{clock::Stopwatch, settings::LimitSettings};

const LIMITS: LimitSettings = LimitSettings {
    connections_max: 1,
    streams_max: 1_000,
    resets_max: 50,
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
    let (client, server) = duplex(NETWORK_BYTES);
    let service = service_fn(async |request: Request| Ok::<_, Infallible>(respond(request).await));
    let connections = Connections { protocol, service, limits, tls: None, stop: CancellationToken::new() };
    let ended = tokio::spawn(async move {
        let stopwatch = Stopwatch::start();
        let timed_out = connections.serve_http(server).await;
        (stopwatch.elapsed(), timed_out)
    });
    (client, ended)
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
        _ => Body::from(if read.is_ok() { "complete" } else { "cancelled" }),
    })
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

/// A little less than the send timeout.
const SLOWLY: Duration = Duration::from_secs(19);

/// How a client reads.
#[derive(Clone, Copy)]
enum Reads {
    All,
    /// A few bytes at a time, within each send timeout.
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
        ("a response that is read slowly", Http1Or2, &[Write(GET_LARGE)], Reads::Slowly, open),
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
async fn only_too_many_cancelled_requests_within_the_window_close_a_connection() {
    // The seconds to wait, and the requests to cancel then.
    let cases: [(&[(u64, usize)], bool); 6] = [
        (&[(0, 50)], false),
        (&[(0, 51)], true),
        (&[(0, 50), (9, 1)], true),
        (&[(0, 50), (11, 50), (11, 50)], false),
        (&[(0, 30), (9, 20), (2, 30)], false),
        (&[(0, 30), (9, 20), (2, 51)], true),
    ];
    for (bursts, is_closed) in cases {
        let (requests, ended) = http2(LIMITS).await;
        for (wait, cancels) in bursts {
            sleep(Duration::from_secs(*wait)).await;
            for _ in 0..*cancels {
                let Ok(mut requests) = requests.clone().ready().await else { break };
                let Ok((_, mut body)) = requests.send_request(post("/"), false) else { break };
                // The service must have begun the request.
                sleep(Duration::from_millis(1)).await;
                body.send_reset(h2::Reason::CANCEL);
            }
        }
        sleep(Duration::from_millis(10)).await;
        assert_eq!(ended.is_finished(), is_closed, "{bursts:?}");
        if is_closed {
            assert_eq!(ended.await.unwrap().1, Some(TimedOut::Resets), "{bursts:?}");
        }
    }
}

const AGE: Duration = Duration::from_secs(100);
const AGED: LimitSettings = LimitSettings { connection_max_age: AGE, ..LIMITS };

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
