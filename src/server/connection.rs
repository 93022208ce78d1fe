//! One connection: HTTP on a socket until either side ends it.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

/// How long an HTTP/1 client may take for a request's header. hyper counts from
/// the answer before it, so this also bounds how long a connection may be idle:
/// longer than the pools of common clients keep one.
const HEADER_TIMEOUT: Duration = Duration::from_mins(2);
/// How often a silent HTTP/2 client is asked whether it is still there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The requests that one HTTP/2 connection may have under way.
const CONCURRENT_STREAMS_MAX: u32 = 1_000;

/// How long an idle client may take to leave once it was told to.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What is spoken on a connection, without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 only: gRPC.
    Http2,
    /// HTTP/1.1, or HTTP/2 if the client begins so.
    Http1Or2,
}

/// Serves `router` on a connection until the client leaves. At `stop` the
/// requests under way are still answered.
pub async fn serve_connection(
    stream: TcpStream,
    protocol: Protocol,
    router: Router,
    stop: CancellationToken,
) {
    let under_way = watch::Sender::new(0_usize);
    let mut requests = under_way.subscribe();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let request_under_way = UnderWay::new(&under_way);
        let answer = router.clone().oneshot(request);
        async move {
            answer.await.map(|answer| {
                answer.map(|body| Body::new(Answer { body, _request_under_way: request_under_way }))
            })
        }
    });
    let builder = builder(protocol);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = idle(&mut requests) => return,
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
}

/// A body that keeps its request under way until it has been sent.
struct Answer {
    body: Body,
    _request_under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is being answered.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn new(requests: &watch::Sender<usize>) -> Self {
        requests.send_modify(|requests| *requests += 1);
        Self(requests.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|requests| *requests -= 1);
    }
}

/// Waits until no request has been under way for a while. A client that has
/// been told to leave and does not, because it hangs or never spoke, must not
/// hold up the stop: hyper would wait for it for ever.
async fn idle(requests: &mut watch::Receiver<usize>) {
    loop {
        // The sender lives as long as the connection, which is being awaited.
        let _ = requests.wait_for(|requests| *requests == 0).await;
        if timeout(LEAVE_TIMEOUT, requests.changed()).await.is_err() {
            return;
        }
    }
}

fn builder(protocol: Protocol) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX);
    match protocol {
        Protocol::Http2 => builder.http2_only(),
        Protocol::Http1Or2 => builder,
    }
}
