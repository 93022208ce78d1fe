//! The healthy client: a few connections that set and get at a fixed rate.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 4;
/// The interval of requests on a connection.
const PACE: Duration = Duration::from_millis(5);

/// The results of the client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    /// Latencies in microseconds, sorted.
    latencies: Vec<u64>,
    pub(crate) errors: usize,
}

impl Results {
    /// A percentile of the latencies, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "latencies are small")]
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = self.latencies.len() * percent / 100;
        self.latencies
            .get(place.min(self.latencies.len().saturating_sub(1)))
            .map_or(f64::NAN, |us| *us as f64 / 1_000.0)
    }
}

/// Sets and gets for `duration`.
pub(crate) fn run(address: SocketAddr, duration: Duration) -> Results {
    let threads: Vec<_> =
        (0..CONNECTIONS).map(|number| thread::spawn(move || one(address, number, duration))).collect();
    let mut all = Results::default();
    for thread in threads {
        let results = thread.join().unwrap();
        all.latencies.extend(results.latencies);
        all.errors += results.errors;
    }
    all.latencies.sort_unstable();
    all
}

fn one(address: SocketAddr, number: usize, duration: Duration) -> Results {
    let body = r#"{"sessionId":"app","availability":"Busy","activity":"InACall"}"#;
    let path = format!("/v1.0/users/healthy-{number}/presence");
    let get = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let length = body.len();
    let set = format!(
        "POST {path}/setPresence HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let (mut results, mut stream) = (Results::default(), connect(address));
    let stopwatch = Instant::now();
    for turn in 0.. {
        let due = PACE * turn;
        if due >= duration {
            break;
        }
        // A request that is late because the one before was slow counts from the moment that it
        // was due. The delay of a timer does not count.
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
            results.latencies.push(u64::try_from(took.as_micros()).unwrap());
        } else {
            results.errors += 1;
            stream = connect(address);
        }
    }
    results
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    Some(stream)
}

/// Sends a request and reads the whole response. Fails unless its status is 200.
fn exchange(stream: &mut TcpStream, request: &str) -> std::io::Result<()> {
    let failed = || std::io::Error::other("the status is not 200");
    stream.write_all(request.as_bytes())?;
    let (mut response, mut bytes) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut bytes)?;
        if read == 0 {
            return Err(failed());
        }
        response.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&response);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
            return if head.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(failed()) };
        }
    }
}
