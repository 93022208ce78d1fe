//! The healthy client: a few connections that set and get at an even pace.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use presenced::clock::Stopwatch;

const CONNECTIONS: usize = 4;
/// From one request of a connection to its next.
const PACE: Duration = Duration::from_millis(5);

/// What the client felt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Felt {
    /// In microseconds, in order.
    latencies: Vec<u64>,
    pub(crate) errors: usize,
}

impl Felt {
    /// The latency that a part of the requests stayed below, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "latencies are small")]
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = self.latencies.len() * percent / 100;
        self.latencies
            .get(place.min(self.latencies.len().saturating_sub(1)))
            .map_or(f64::NAN, |us| *us as f64 / 1_000.0)
    }
}

/// Sets and gets for so long.
pub(crate) fn run(address: SocketAddr, duration: Duration) -> Felt {
    let threads: Vec<_> =
        (0..CONNECTIONS).map(|number| thread::spawn(move || one(address, number, duration))).collect();
    let mut all = Felt::default();
    for thread in threads {
        let felt = thread.join().unwrap();
        all.latencies.extend(felt.latencies);
        all.errors += felt.errors;
    }
    all.latencies.sort_unstable();
    all
}

fn one(address: SocketAddr, number: usize, duration: Duration) -> Felt {
    let body = r#"{"sessionId":"app","availability":"Busy","activity":"InACall"}"#;
    let path = format!("/v1.0/users/healthy-{number}/presence");
    let get = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let length = body.len();
    let set =
        format!("POST {path}/setPresence HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
    let (mut felt, mut stream) = (Felt::default(), connect(address));
    let stopwatch = Stopwatch::start();
    for turn in 0.. {
        let due = PACE * turn;
        if due >= duration {
            break;
        }
        // Late by its own fault it counts from when it was due; a timer's delay
        // is not the service's.
        let start = match due.checked_sub(stopwatch.elapsed()) {
            Some(early) => {
                thread::sleep(early);
                stopwatch.elapsed()
            }
            None => due,
        };
        let request = if turn % 2 == 0 { &set } else { &get };
        if stream.as_mut().is_some_and(|stream| exchange(stream, request).is_ok()) {
            let took = stopwatch.elapsed().saturating_sub(start);
            felt.latencies.push(u64::try_from(took.as_micros()).unwrap());
        } else {
            felt.errors += 1;
            stream = connect(address);
        }
    }
    felt
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    Some(stream)
}

/// Sends a request and reads its whole answer, which must be a success.
fn exchange(stream: &mut TcpStream, request: &str) -> std::io::Result<()> {
    let bad = || std::io::Error::other("no success");
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut bytes) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut bytes)?;
        if read == 0 {
            return Err(bad());
        }
        answer.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
            return if head.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(bad()) };
        }
    }
}
