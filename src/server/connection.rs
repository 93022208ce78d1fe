//! One connection: HTTP on a socket until either side ends it.

use std::{
    convert::Infallible,
    future::pending,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    response::Response,
};
use http::{HeaderValue, Version, header::CONNECTION};
use http_body_util::{BodyExt, Limited};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::debug;

use super::{
    activity::{ConnectionActivity, TimedOut, TrackedIo, UnderWay},
    tls::Tls,
};
use crate::{clock::about, settings::LimitSettings};

/// How often a silent HTTP/2 client is asked whether it is still there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long it may take to say so. A session that a client held is held no longer
/// than this after the client's machine has vanished.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 only: gRPC.
    Http2,
    /// HTTP/1.1, or HTTP/2 if the client begins so.
    Http1Or2,
}

/// Serves one API's connections; clones are the same.
#[derive(Clone, Debug)]
pub struct Connections<S> {
    /// What is spoken.
    pub protocol: Protocol,
    /// What answers.
    pub service: S,
    /// What one client may take.
    pub limits: LimitSettings,
    /// Whether and how it is encrypted.
    pub tls: Option<Tls>,
    /// Ends idle connections, and the others once they are.
    pub stop: CancellationToken,
}

impl<S> Connections<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    /// Serves a connection until the client leaves, or times out: then says how.
    /// At `stop` the requests under way are still answered.
    pub async fn serve(self, stream: TcpStream) -> Option<TimedOut> {
        let Some(tls) = &self.tls else { return self.serve_http(stream).await };
        let acceptor = TlsAcceptor::from(tls.config());
        let handshake = timeout(self.limits.header_timeout, acceptor.accept(stream));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.serve_http(stream).await,
            Some(Ok(Err(error))) => {
                debug!(%error, "a TLS handshake failed");
                None
            }
            Some(Err(_)) => Some(TimedOut::Header),
            None => None,
        }
    }

    async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Option<TimedOut> {
        let Self { protocol, service: respond, limits, stop, .. } = self;
        let activity = ConnectionActivity::new(&limits);
        let service = service_fn(|request: http::Request<Incoming>| {
            let mut request_under_way = activity.begin();
            let (activity, http2) = (activity.clone(), request.version() == Version::HTTP_2);
            // Each of the APIs is ready whenever it is called.
            let answer = respond.clone().call(
                request.map(|body| Body::new(RequestBody { body: Some(body), read: 0, http2, activity })),
            );
            async move {
                answer.await.map(|mut answer: Response| {
                    request_under_way.goes_on();
                    say_whether_last(&mut answer, !http2 && request_under_way.is_last());
                    answer.map(|body| Body::new(ResponseBody { body, request_under_way }))
                })
            }
        });
        let builder = builder(protocol, &limits);
        let stream = TokioIo::new(TrackedIo { stream, activity: activity.clone() });
        let mut connection = pin!(builder.serve_connection(stream, service));
        let mut age = pin!(sleep(about(limits.connection_max_age)));
        let (ended, timed_out) = loop {
            tokio::select! {
                ended = connection.as_mut() => break (Some(ended), None),
                () = stop.cancelled() => break (None, None),
                timed_out = activity.timed_out(&limits) => break (None, Some(timed_out)),
                // In HTTP/1 the next answer says so: to close a connection on which a
                // request is on its way would lose it.
                () = age.as_mut(), if !activity.is_old() => if activity.grow_old() {
                    connection.as_mut().graceful_shutdown();
                },
            }
        };
        let ended = match (ended, timed_out) {
            (Some(ended), _) => ended,
            // It is told to leave, in case it wants to say something just now.
            (None, None | Some(TimedOut::Idle)) => {
                connection.as_mut().graceful_shutdown();
                let last = async {
                    match timed_out {
                        Some(_) => sleep(limits.send_timeout).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = activity.idle() => Ok(()),
                    () = last => Ok(()),
                }
            }
            (None, Some(_)) => Ok(()),
        };
        drop(ended.inspect_err(|error| debug!(%error, "a connection broke")));
        timed_out
    }
}

/// Says in an HTTP/1 answer whether the connection is closed behind it.
fn say_whether_last(answer: &mut Response, last: bool) {
    if last {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// What is read of one body, in bytes, before other connections get a turn.
pub const TURN_BYTES: usize = 64 * 1_024;

/// What is read and thrown away of a body that nobody wanted, in bytes, and for
/// how long: a client that is still sending when its connection is closed may
/// see nothing of its answer.
const DISCARD_MAX_BYTES: usize = 4 * 1_024 * 1_024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a request, which its client may break off.
struct RequestBody {
    /// `None` once it is to be thrown away.
    body: Option<Incoming>,
    /// Since others had a turn, in bytes.
    read: usize,
    http2: bool,
    activity: ConnectionActivity,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    /// To hyper a body that an HTTP/2 client breaks off has ended, as one does that
    /// the client ends: for a session that is held, it makes all the difference.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.read > TURN_BYTES {
            self.read = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let http2 = self.http2;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(&mut *body).poll_frame(context)) {
            Some(frame) => Some(frame.map_err(axum::Error::new)),
            None if http2 && !body.is_end_stream() => {
                Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::ConnectionReset))))
            }
            None => None,
        };
        match &frame {
            Some(Ok(frame)) => self.read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => self.activity.cancelled(),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            let mut request_under_way = self.activity.begin();
            request_under_way.goes_on();
            tokio::spawn(async move {
                let _ = timeout(DISCARD_TIMEOUT, Limited::new(body, DISCARD_MAX_BYTES).collect()).await;
                drop(request_under_way);
            });
        }
    }
}

/// A body that keeps its request under way until it has been sent.
struct ResponseBody {
    body: Body,
    request_under_way: UnderWay,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.request_under_way.goes_on();
        } else {
            self.request_under_way.waits();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn builder(protocol: Protocol, limits: &LimitSettings) -> auto::Builder<TokioExecutor> {
    let header_max = usize::try_from(limits.header_max_bytes).unwrap_or(usize::MAX);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // hyper counts a header's time from the answer before it; `activity` tells a
    // header that was begun from one that was not.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout.max(limits.header_timeout))
        .max_buf_size(header_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_header_list_size(limits.header_max_bytes)
        .max_concurrent_streams(limits.streams_max);
    match protocol {
        Protocol::Http2 => builder.http2_only(),
        Protocol::Http1Or2 => builder,
    }
}
