//! Attacks that write bytes to a socket.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use super::Notes;

/// The path with the largest limit of the request body.
const BULK: &str = "/v1.0/communications/getPresencesByUserId";

/// A path that accepts a compressed body.
const SET: &str = "/v1.0/users/victim/presence/setPresence";

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

pub(super) async fn headers(http: SocketAddr) {
    let header = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    repeat(http, 100, header.into_bytes(), |_| ()).await;
}

/// 250 MiB of zeros, compressed to about 250 KiB.
pub(super) async fn gzip_bomb(http: SocketAddr) {
    let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..250 {
        compressed.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = compressed.finish().unwrap();
    repeat(http, 20, post(SET, "content-encoding: gzip\r\n", &bomb), |_| ()).await;
}

pub(super) async fn nesting(http: SocketAddr) {
    repeat(http, 50, post(BULK, "", "{\"a\":".repeat(150_000).as_bytes()), |_| ()).await;
}

pub(super) async fn batch(http: SocketAddr) {
    let items = vec![r#"{"id":"1","method":"GET","url":"/users/a/presence"}"#; 20_000].join(",");
    let batch = post("/v1.0/$batch", "", format!("{{\"requests\":[{items}]}}").as_bytes());
    repeat(http, 20, batch, |_| ()).await;
}

/// The response must be 431 with an error in its body.
pub(super) async fn request_line(http: SocketAddr, notes: &Notes) {
    let line = format!("GET /v1.0/users/{}/presence HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(40_000));
    let notes = notes.clone();
    repeat(http, 50, line.into_bytes(), move |response| {
        // A busy machine may take longer than the second for which this waits.
        if !response.is_empty() {
            let is_refusal =
                response.starts_with("HTTP/1.1 431 ") && response.contains("RequestHeaderFieldsTooLarge");
            notes.must_be_refused(is_refusal, || response.chars().take(60).collect());
        }
    })
    .await;
}

/// Holds connections open that start with `begin`, and optionally send a byte a second.
/// A connection that the other side closes is opened again a second later.
pub(super) async fn hold(address: SocketAddr, connections: usize, begin: &'static [u8], trickle: bool) {
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(async move {
            loop {
                if let Ok(mut stream) = TcpStream::connect(address).await {
                    let _ = stream.write_all(begin).await;
                    hold_one(&mut stream, trickle).await;
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn hold_one(stream: &mut TcpStream, trickle: bool) {
    let mut bytes = [0; 1_024];
    loop {
        match timeout(Duration::from_secs(1), stream.read(&mut bytes)).await {
            Ok(Ok(0) | Err(_)) => return,
            Err(_) if trickle => {
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

/// Sends the bytes at this rate, each time on a new connection. `check` gets the first part of
/// each response, which is empty if there was none within a second.
async fn repeat(
    address: SocketAddr,
    per_second: u32,
    bytes: Vec<u8>,
    check: impl Fn(&str) + Send + Sync + 'static,
) {
    let (bytes, check) = (Arc::new(bytes), Arc::new(check));
    let mut tasks = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    loop {
        ticks.tick().await;
        let (bytes, check) = (Arc::clone(&bytes), Arc::clone(&check));
        tasks.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(address).await else { return };
            let _ = stream.write_all(&bytes).await;
            let mut response = [0; 4_096];
            let read = timeout(Duration::from_secs(1), stream.read(&mut response)).await;
            let read = read.map_or(0, Result::unwrap_or_default);
            check(&String::from_utf8_lossy(&response[..read]));
        });
        while tasks.try_join_next().is_some() {}
    }
}
