//! Serves HTTP on one connection until the client or the service ends it.

use std::{
    convert::Infallible,
    future::pending,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
    activity::{ActiveRequest, ConnectionActivity, TimedOut, TrackedIo},
    tls::Tls,
};
use crate::{clock::about, settings::LimitSettings};

/// The interval of HTTP/2 pings on a silent connection.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The time within which a client must return a ping. Together with the interval it
/// limits how long the service holds a session whose client's machine vanished.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP versions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 only, for gRPC.
    Http2,
    /// HTTP/1.1, or HTTP/2 if the client begins with its preface.
    Http1Or2,
}

/// Serves the connections of one API. Clones share one configuration.
#[derive(Clone, Debug)]
pub struct Connections<S> {
    /// The HTTP versions.
    pub protocol: Protocol,
    /// The API's service.
    pub service: S,
    /// The limits of one client.
    pub limits: LimitSettings,
    /// The certificate; `None` without TLS.
    pub tls: Option<Tls>,
    /// Closes idle connections, and the others once they are idle.
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
    /// Serves a connection until it ends. Returns the reason if the client timed out.
    /// After `stop`, requests that have begun still get their response.
    pub async fn serve(self, stream: TcpStream) -> Option<TimedOut> {
        let Some(tls) = &self.tls else { return self.serve_http(stream).await };
        let acceptor = TlsAcceptor::from(tls.config());
        let handshake = timeout(self.limits.header_timeout, acceptor.accept(stream));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.serve_http(stream).await,
            Some(Ok(Err(error))) => {
                debug!(%error, "TLS handshake failed");
                None
            }
            Some(Err(_)) => Some(TimedOut::Header),
            None => None,
        }
    }

    /// Serves HTTP on a stream, as [`Self::serve`] does.
    pub(super) async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Option<TimedOut> {
        let Self { protocol, service, limits, stop, .. } = self;
        let activity = ConnectionActivity::new(&limits);
        let service = service_fn(|request: http::Request<Incoming>| {
            let mut active = activity.begin_request();
            let (activity, http2) = (activity.clone(), request.version() == Version::HTTP_2);
            let responded = Arc::new(AtomicBool::new(false));
            let body_responded = Arc::clone(&responded);
            // Both APIs' services are always ready.
            let response = service.clone().call(request.map(|body| {
                let (body, responded) = (Some(body), body_responded);
                Body::new(RequestBody { body, read: 0, http2, activity, responded })
            }));
            async move {
                response.await.map(|mut response: Response| {
                    active.set_sending();
                    responded.store(true, Ordering::Relaxed);
                    if !http2 && active.is_last() {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    response.map(|body| Body::new(ResponseBody { body, request: active }))
                })
            }
        });
        let builder = builder(protocol, &limits);
        let stream = TokioIo::new(TrackedIo::new(stream, activity.clone()));
        let mut connection = pin!(builder.serve_connection(stream, service));
        let mut age = pin!(sleep(about(limits.connection_max_age)));
        let (ended, timed_out) = loop {
            tokio::select! {
                ended = connection.as_mut() => break (Some(ended), None),
                () = stop.cancelled() => break (None, None),
                timed_out = activity.timed_out(&limits) => break (None, Some(timed_out)),
                // In HTTP/1 the next response closes the connection: closing it now could
                // lose a request that is already on its way.
                () = age.as_mut(), if !activity.is_old() => if activity.set_old() {
                    connection.as_mut().graceful_shutdown();
                },
            }
        };
        let ended = match (ended, timed_out) {
            (Some(ended), _) => ended,
            // The client may be about to send a request, so it gets a GOAWAY first.
            (None, None | Some(TimedOut::Idle)) => {
                connection.as_mut().graceful_shutdown();
                let give_up = async {
                    match timed_out {
                        Some(_) => sleep(limits.send_timeout).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = activity.drained() => Ok(()),
                    () = give_up => Ok(()),
                }
            }
            (None, Some(_)) => Ok(()),
        };
        drop(ended.inspect_err(|error| debug!(%error, "connection failed")));
        timed_out
    }
}

/// The bytes read from one body before other connections get a turn.
pub const TURN_BYTES: usize = 64 * 1_024;

/// The bytes that are read and discarded of a body that the service does not need. A
/// client that is still sending when its connection closes may lose the response.
const DISCARD_MAX_BYTES: usize = 4 * 1_024 * 1_024;
/// The time for discarding a body.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a request; reports an error if the client cancels it.
struct RequestBody {
    /// `None` once the rest is to be discarded.
    body: Option<Incoming>,
    /// The bytes read since other connections had a turn.
    read: usize,
    http2: bool,
    activity: ConnectionActivity,
    /// Whether the response has begun. A client may then cancel the rest of a stream at any time, so
    /// that does not count as a cancelled request.
    responded: Arc<AtomicBool>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    /// For a held session it matters whether the client ended or cancelled its side. hyper reports
    /// a body that was reset without an error code as complete, and tonic one that was cancelled; so
    /// this returns an error that has no cause.
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
            Some(Err(error)) if !http2 => Some(Err(axum::Error::new(error))),
            Some(Ok(frame)) => Some(Ok(frame)),
            None if !http2 || body.is_end_stream() => None,
            _ => Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::ConnectionReset)))),
        };
        match &frame {
            Some(Ok(frame)) => self.read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) if !self.responded.load(Ordering::Relaxed) => self.activity.record_reset(),
            Some(Err(_)) | None => {}
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
            let mut active = self.activity.begin_request();
            active.set_sending();
            tokio::spawn(async move {
                let _ = timeout(DISCARD_TIMEOUT, Limited::new(body, DISCARD_MAX_BYTES).collect()).await;
                drop(active);
            });
        }
    }
}

/// The body of a response; its request stays active until the body has been sent.
struct ResponseBody {
    body: Body,
    request: ActiveRequest,
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
            self.request.set_sending();
        } else {
            self.request.set_quiet();
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
    // `activity` times headers. hyper's timeout would also count idle time, and close the
    // connection without a reason.
    builder.http1().header_read_timeout(None).max_buf_size(header_max);
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
