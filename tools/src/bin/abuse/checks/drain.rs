//! SIGTERM while clients read large responses.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use presenced_tools::{pb::BatchGetPresencesRequest, process::Process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use super::{Line, Lines, unless};
use crate::{
    attacks::{Http2, get_all, grpc, read_at},
    report::stop,
};

/// The pace of the readers in bytes a second.
const PACE: u32 = 32_000;
/// The window of the readers' HTTP/2, and the receive buffer of their HTTP/1.
const WINDOW: u32 = 4_096;
/// The time until SIGTERM.
const BEFORE: Duration = Duration::from_secs(1);

/// A reader, and the bytes that it has read.
struct Reader {
    name: &'static str,
    read: Arc<AtomicUsize>,
    /// Whether it got all of the response.
    complete: JoinHandle<bool>,
}

pub(super) async fn check(lines: &mut Lines) {
    lines.add(readers_get_all().await);
    lines.add(a_client_that_does_not_read_is_cut().await);
}

async fn readers_get_all() -> Line {
    let process = Process::start("sqlite::memory:", &["--drain-timeout", "30s"]).await;
    let readers = [
        start("HTTP/2", |read| read_http2(process.http, WINDOW, PACE, read)),
        start("gRPC", |read| read_grpc(process.grpc, read)),
        start("HTTP/1.1", |read| read_http1(process.http, read)),
    ];
    sleep(BEFORE).await;
    let before: Vec<_> = readers.iter().map(|reader| reader.read.load(Ordering::Relaxed)).collect();
    let (took, code, log) = terminate(process).await;
    let (mut wrong, mut figures) = (Vec::new(), Vec::new());
    for (reader, before) in readers.into_iter().zip(before) {
        let complete = reader.complete.await.unwrap();
        let read = reader.read.load(Ordering::Relaxed);
        figures.push(format!("{}: {before} bytes before SIGTERM, {read} in all", reader.name));
        if !complete || read == before {
            wrong.push(format!("{} is not complete, or was before SIGTERM", reader.name));
        }
    }
    wrong.extend(unless([
        (code == Some(0), "the exit code is not 0"),
        (log.contains("drained: every response was sent completely"), "the log has no \"drained\""),
    ]));
    Line {
        tried: "SIGTERM while clients read 650 users at 32 KB/s; --drain-timeout 30s".to_owned(),
        figure: format!("{}; exit {code:?} after {took:.1?}", figures.join("; ")),
        wrong,
    }
}

async fn a_client_that_does_not_read_is_cut() -> Line {
    let process = Process::start("sqlite::memory:", &["--drain-timeout", "3s"]).await;
    let reader = start("HTTP/2", |read| read_http2(process.http, 10, 10, read));
    sleep(BEFORE).await;
    let (took, code, log) = terminate(process).await;
    let complete = reader.complete.await.unwrap();
    Line {
        tried: "SIGTERM while a client reads 650 users at 10 B/s; --drain-timeout 3s".to_owned(),
        figure: format!("exit {code:?} after {took:.1?}"),
        wrong: unless([
            (!complete, "the response was complete"),
            (code == Some(0), "the exit code is not 0"),
            (log.contains(r#""requests":1"#) && log.contains("not drained"), "the log does not count it"),
            (took < Duration::from_secs(6), "it took too long"),
        ]),
    }
}

async fn terminate(mut process: Process) -> (Duration, Option<i32>, String) {
    let stopwatch = Instant::now();
    let (code, log) = spawn_blocking(move || stop(&mut process)).await.unwrap();
    (stopwatch.elapsed(), code, log)
}

fn start<F>(name: &'static str, read: impl FnOnce(Arc<AtomicUsize>) -> F) -> Reader
where
    F: Future<Output = Option<bool>> + Send + 'static,
{
    let bytes = Arc::new(AtomicUsize::new(0));
    let reading = read(Arc::clone(&bytes));
    let complete = tokio::spawn(async { reading.await.unwrap_or(false) });
    Reader { name, read: bytes, complete }
}

async fn read_http2(http: SocketAddr, window: u32, pace: u32, read: Arc<AtomicUsize>) -> Option<bool> {
    let connection = Http2::connect(http, window).await?;
    let (request, body) = get_all();
    let mut response = connection.send(request, body).await.ok()?;
    let length: usize = response.headers().get("content-length")?.to_str().ok()?.parse().ok()?;
    let count = |part| {
        read.fetch_add(part, Ordering::Relaxed);
    };
    Some(read_at(response.body_mut(), pace, count).await.ok()? == length)
}

/// The response is complete if it has trailers.
async fn read_grpc(address: SocketAddr, read: Arc<AtomicUsize>) -> Option<bool> {
    let connection = Http2::connect(address, WINDOW).await?;
    // The longest ids make the largest response.
    let user_ids = (0..650).map(|user| format!("{user:0128}")).collect();
    let message = BatchGetPresencesRequest { user_ids, ..Default::default() };
    let (response, _) = connection.call(grpc("BatchGetPresences"), &message, true).await.ok()?;
    let mut response = response.await.ok()?;
    let count = |part| {
        read.fetch_add(part, Ordering::Relaxed);
    };
    read_at(response.body_mut(), PACE, count).await.ok()?;
    let trailers = response.body_mut().trailers().await.ok()??;
    Some(trailers.get("grpc-status")?.as_bytes() == b"0")
}

async fn read_http1(http: SocketAddr, read: Arc<AtomicUsize>) -> Option<bool> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(WINDOW).ok()?;
    let mut stream = socket.connect(http).await.ok()?;
    let (request, body) = get_all();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        request.uri().path(),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await.ok()?;
    let mut response = Vec::new();
    let mut bytes = [0; 3_200];
    let length = loop {
        let part = stream.read(&mut bytes).await.ok().filter(|part| *part > 0)?;
        response.extend_from_slice(&bytes[..part]);
        read.fetch_add(part, Ordering::Relaxed);
        sleep(Duration::from_secs(1) * u32::try_from(part).unwrap() / PACE).await;
        let text = String::from_utf8_lossy(&response);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length?.parse().ok()?;
        if body.len() >= length {
            break length;
        }
    };
    Some(length > 0)
}
