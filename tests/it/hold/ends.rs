//! How a client's side of a stream ends: cleanly, cancelled, or both at once.
//!
//! The client writes its HTTP/2 frames itself, because libraries drop an end that they have not sent
//! yet when their stream is cancelled. Clients in Go, Python and C# send both.

use std::time::Duration;

use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Engine, Server, message, shown, wait_until_not_held};
use crate::{support::on_every_engine, watch::PATIENCE};

on_every_engine![
    a_clean_end_that_is_cancelled_at_once_clears_the_session,
    a_cancelled_stream_keeps_the_session_until_it_expires
];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// Codes of `RST_STREAM`.
const NO_ERROR: [u8; 4] = [0, 0, 0, 0];
const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A literal header without Huffman code (RFC 7541, section 6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// A frame with a message of gRPC.
fn data(pair: &str, user: &str, session: &str) -> Vec<u8> {
    let message = message(user, session, pair).encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    frame(DATA, 0, 1, &[&[0], &length[..], &message].concat())
}

/// The frames that open the stream.
fn open() -> Vec<u8> {
    let headers = [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", "/presence.v1.PresenceService/HoldPresence"),
        header(":authority", "localhost"),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    ];
    [frame(HEADERS, END_HEADERS, 1, &headers.concat()), data("Busy/InACall", "u", "app")].concat()
}

fn end() -> Vec<u8> {
    frame(DATA, END_STREAM, 1, b"")
}

fn reset(code: [u8; 4]) -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &code)
}

/// A connection to the gRPC API.
struct Connection(TcpStream);

impl Connection {
    async fn open(server: &Server) -> Self {
        let mut connection = Self(TcpStream::connect(server.addresses.grpc).await.unwrap());
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        connection.write(&[&preface[..], &frame(SETTINGS, 0, 0, b"")].concat()).await;
        connection
    }

    /// Writes in one piece, so that the service reads the frames together.
    async fn write(&mut self, bytes: &[u8]) {
        self.0.set_nodelay(true).unwrap();
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads until a frame of this kind, with the acknowledgement flag as given.
    async fn read_until(&mut self, kind: u8, acknowledges: bool) {
        let read = async {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).unwrap()];
                self.0.read_exact(&mut payload).await.unwrap();
                if head[3] == kind && (head[4] & ACK != 0) == acknowledges {
                    return;
                }
            }
        };
        timeout(PATIENCE, read).await.expect("the frame arrives");
    }

    /// Waits until the service has read everything that was written.
    async fn ping(&mut self) {
        self.write(&frame(PING, 0, 0, b"12345678")).await;
        self.read_until(PING, true).await;
    }
}

/// Waits until the user is shown as `expected`.
async fn wait_until_shown(server: &Server, expected: &str, case: &str) {
    let wait = async {
        while shown(server).await != expected {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{case}: {expected}"));
}

async fn a_clean_end_that_is_cancelled_at_once_clears_the_session(engine: Engine) {
    let server = Server::start(engine).await;
    let change = || data("Away/Away", "", "");
    for (case, pieces) in [
        ("end and cancel", vec![[end(), reset(CANCEL)].concat()]),
        ("end and reset without an error", vec![[end(), reset(NO_ERROR)].concat()]),
        ("end and another reset", vec![[end(), reset(INTERNAL_ERROR)].concat()]),
        ("end, then cancel", vec![end(), reset(CANCEL)]),
        ("change, end and cancel", vec![[change(), end(), reset(CANCEL)].concat()]),
        ("changes, end and cancel", vec![[change(), change(), change(), end(), reset(CANCEL)].concat()]),
        ("end with the change, and cancel", {
            let mut last = change();
            last[4] |= END_STREAM;
            vec![[last, reset(CANCEL)].concat()]
        }),
    ] {
        let mut connection = Connection::open(&server).await;
        connection.write(&open()).await;
        connection.read_until(DATA, false).await;
        assert_eq!(shown(&server).await, "u Busy/InACall", "{case}");
        for piece in pieces {
            connection.write(&piece).await;
            sleep(Duration::from_millis(2)).await;
        }
        wait_until_shown(&server, "u Offline/Offline", case).await;
        wait_until_not_held(&server).await;
        assert_eq!(shown(&server).await, "u Offline/Offline", "{case}");
    }
    // A client that exits closes its connection without a reset.
    for _ in 0..20 {
        let mut connection = Connection::open(&server).await;
        connection.write(&open()).await;
        connection.read_until(DATA, false).await;
        // The service makes a pause between two messages.
        sleep(Duration::from_millis(120)).await;
        connection.write(&end()).await;
        drop(connection);
        wait_until_shown(&server, "u Offline/Offline", "end and close").await;
        wait_until_not_held(&server).await;
    }
    // A stream that is over before the service has seen it leaves nothing.
    for _ in 0..20 {
        let mut connection = Connection::open(&server).await;
        connection.write(&[open(), end(), reset(CANCEL)].concat()).await;
        connection.ping().await;
        wait_until_not_held(&server).await;
        // The clear follows the write of the first message, if the service began one.
        sleep(Duration::from_millis(20)).await;
        wait_until_shown(&server, "u Offline/Offline", "all at once").await;
    }
    server.stop().await;
}

async fn a_cancelled_stream_keeps_the_session_until_it_expires(engine: Engine) {
    let server = Server::start(engine).await;
    for (case, pieces) in [
        ("cancel", reset(CANCEL)),
        ("reset without an error", reset(NO_ERROR)),
        ("another reset", reset(INTERNAL_ERROR)),
        ("change and cancel", [data("Busy/InACall", "", ""), reset(CANCEL)].concat()),
    ] {
        let mut connection = Connection::open(&server).await;
        connection.write(&open()).await;
        connection.read_until(DATA, false).await;
        connection.write(&pieces).await;
        connection.ping().await;
        wait_until_not_held(&server).await;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(shown(&server).await, "u Busy/InACall", "{case}");
        server.clock.advance(super::GRACE * 2);
        assert_eq!(shown(&server).await, "u Offline/Offline", "{case}");
    }
    server.stop().await;
}
