//! Memory of connections that do nothing.

use std::{net::SocketAddr, time::Duration};

use presenced_tools::{machine::memory_kib, process::Process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Line, Lines, unless};

/// What a connection does before it idles.
#[derive(Clone, Copy)]
enum Kind {
    /// One small request over HTTP/1.1.
    Http1,
    /// The opening of HTTP/2.
    Http2,
    /// A stream of events of 50 users, the same for all.
    Events,
}

/// The connections that open at the same time.
const OPENING: usize = 100;
/// Connections that open and close before the first measurement.
const WARM_UP: usize = 100;
/// The time after which buffers of idle connections are given back, with a margin.
const SETTLE: Duration = Duration::from_secs(5);
/// The time after which the memory of closed connections is given back.
const GIVEN_BACK_AFTER: Duration = Duration::from_mins(1);
/// The part of it that may stay.
const STAYS_MAX: f64 = 0.1;
/// The time for the response that a connection waits for before it idles.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn check(lines: &mut Lines) {
    let mut checks = JoinSet::new();
    for (kind, name, number, kib) in [
        (Kind::Http1, "HTTP/1.1 connections after one request", 6_000, 12.0),
        (Kind::Http2, "HTTP/2 connections", 1_800, 28.0),
        (Kind::Events, "event streams of 50 users", 2_500, 20.0),
    ] {
        checks.spawn(measure(kind, name, number, kib));
    }
    while let Some(line) = checks.join_next().await {
        lines.add(line.unwrap());
    }
}

async fn measure(kind: Kind, name: &'static str, number: usize, kib_max: f64) -> Line {
    let process = Process::start("sqlite::memory:", &["--memory-max-bytes", "268435456"]).await;
    let address = if matches!(kind, Kind::Http2) { process.grpc } else { process.http };
    drop(open(kind, address, WARM_UP).await);
    sleep(SETTLE * 2).await;
    let resident = || number_of(memory_kib(process.id()));
    let before = resident();
    let connections = open(kind, address, number).await;
    sleep(SETTLE).await;
    let (while_open, opened) = (resident(), connections.len());
    let each = (while_open - before) / number_of(opened as u64);
    drop(connections);
    sleep(GIVEN_BACK_AFTER).await;
    let after = resident();
    let stays = (after - before) / (while_open - before);
    let mib = [before, while_open, after].map(|kib| kib / 1_024.0);
    Line {
        tried: format!("{number} {name}, at a budget of 256 MiB"),
        figure: format!(
            "{opened} opened; {each:.1} KiB each (at most {kib_max}); {:.0} MiB before, {:.0} open, {:.0} a \
             minute after they closed",
            mib[0], mib[1], mib[2]
        ),
        wrong: unless([
            (opened == number, "refused"),
            (each <= kib_max, "too much memory"),
            (stays <= STAYS_MAX, "not given back"),
        ]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
fn number_of(number: u64) -> f64 {
    number as f64
}

/// Opens this many connections. Returns those that were served.
async fn open(kind: Kind, address: SocketAddr, number: usize) -> Vec<TcpStream> {
    let mut connections = Vec::with_capacity(number);
    let mut opening = JoinSet::new();
    for _ in 0..number {
        if opening.len() == OPENING {
            connections.extend(opening.join_next().await.and_then(Result::unwrap));
        }
        opening.spawn(async move { timeout(PATIENCE, open_one(kind, address)).await.ok()? });
    }
    connections.extend(opening.join_all().await.into_iter().flatten());
    connections
}

async fn open_one(kind: Kind, address: SocketAddr) -> Option<TcpStream> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes();
    let (request, response): (_, &[u8]) = match kind {
        Kind::Http1 => (get("/v1.0/users/a/presence"), b"HTTP/1.1 200"),
        Kind::Http2 => (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), b""),
        Kind::Events => {
            let users: Vec<_> = (0..50).map(|user| format!("watched-{user}")).collect();
            let path = format!("/v1.0/communications/watchPresences?ids={}", users.join(","));
            (get(&path), b"HTTP/1.1 200")
        }
    };
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&request).await.ok()?;
    let mut bytes = vec![0; 16_384];
    let read = stream.read(&mut bytes).await.ok()?;
    (read > 0 && bytes[..read].starts_with(response)).then_some(stream)
}
