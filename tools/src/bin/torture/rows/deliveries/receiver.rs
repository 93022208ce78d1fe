//! A receiver of the notifications of one subscription, which fails at random.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Url;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use super::applied::Applied;

/// The pause of a response that comes after the service's timeout of 10 s.
pub const HANG: Duration = Duration::from_secs(11);
/// The time between two absences, and the duration of an absence, in milliseconds.
const PRESENT_MS: std::ops::Range<u64> = 3_000..10_000;
const ABSENT_MS: std::ops::Range<u64> = 200..3_000;

/// A running receiver.
pub struct Receiver {
    pub address: SocketAddr,
    pub applied: Arc<Mutex<Applied>>,
}

/// The way in which a request fails.
#[derive(Clone, Copy)]
enum Fault {
    Error,
    TooMany,
    Redirect,
    Close,
    Hang,
}

impl Fault {
    /// A third of the requests fail.
    fn random() -> Option<Self> {
        match fastrand::u8(..100) {
            0..8 => Some(Self::Error),
            8..16 => Some(Self::TooMany),
            16..24 => Some(Self::Redirect),
            24..32 => Some(Self::Close),
            32..34 => Some(Self::Hang),
            _ => None,
        }
    }
}

impl Receiver {
    /// Starts a receiver that fails while `fails` is set.
    pub async fn start(fails: Arc<AtomicBool>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, applied) = (listener.local_addr().unwrap(), Arc::<Mutex<Applied>>::default());
        tokio::spawn(listen(listener, Answers { fails, applied: Arc::clone(&applied) }));
        Self { address, applied }
    }
}

/// Accepts connections, and disappears now and then.
async fn listen(mut listener: TcpListener, answers: Answers) {
    let address = listener.local_addr().unwrap();
    loop {
        let mut connections = JoinSet::new();
        let accept = async {
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(answers.clone().serve(socket));
            }
        };
        let absence = async {
            loop {
                sleep(Duration::from_millis(fastrand::u64(PRESENT_MS))).await;
                if answers.fails.load(Ordering::Relaxed) {
                    break;
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = absence => {}
        }
        drop(listener);
        connections.shutdown().await;
        sleep(Duration::from_millis(fastrand::u64(ABSENT_MS))).await;
        listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // Another socket may have got the port for a moment.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        };
    }
}

#[derive(Clone)]
struct Answers {
    fails: Arc<AtomicBool>,
    applied: Arc<Mutex<Applied>>,
}

impl Answers {
    async fn serve(self, mut socket: TcpStream) {
        let mut buffer = Vec::new();
        while let Some((target, body)) = read(&mut socket, &mut buffer).await {
            let Some(response) = self.answer(&target, &body).await else { return };
            if socket.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// Returns the response; `None` closes the connection.
    async fn answer(&self, target: &str, body: &[u8]) -> Option<String> {
        let url = Url::parse(&format!("http://receiver{target}")).unwrap();
        if let Some((_, token)) = url.query_pairs().find(|(name, _)| name == "validationToken") {
            return Some(response("200 OK", "content-type: text/plain\r\n", &token));
        }
        let fault = if self.fails.load(Ordering::Relaxed) { Fault::random() } else { None };
        // A receiver can fail before it applied a notification, or after.
        let applies = fault.is_none() || fastrand::bool();
        if applies {
            self.applied.lock().unwrap().apply(body);
        }
        match fault {
            None => Some(response("202 Accepted", "", "")),
            Some(Fault::Error) => Some(response("500 Internal Server Error", "", "")),
            Some(Fault::TooMany) => Some(response("429 Too Many Requests", "retry-after: 1\r\n", "")),
            Some(Fault::Redirect) => {
                Some(response("307 Temporary Redirect", "location: http://127.0.0.1:1/\r\n", ""))
            }
            Some(Fault::Close) => None,
            Some(Fault::Hang) => {
                sleep(HANG).await;
                if !applies {
                    self.applied.lock().unwrap().apply(body);
                }
                Some(response("202 Accepted", "", ""))
            }
        }
    }
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// Reads a request with a Content-Length: its target and its body. `None` at the end of the connection.
async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(head) = request.parse(buffer).expect("a request") {
            let named =
                request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
            let length: usize =
                named.map_or(0, |header| std::str::from_utf8(header.value).unwrap().parse().unwrap());
            if buffer.len() >= head + length {
                let target = request.path.unwrap().to_owned();
                let body = buffer[head..head + length].to_vec();
                buffer.drain(..head + length);
                return Some((target, body));
            }
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
