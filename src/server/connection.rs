//! Serves HTTP on one connection until the client or the service ends it.

use std::{
    convert::Infallible,
    future::{pending, ready},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Uri, Version as HttpVersion, header::CONNECTION};
use hyper::{
    body::{Body as _, Incoming},
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::debug;

use super::{
    activity::{ActiveRequest, ConnectionActivity, TimedOut},
    bodies::{PIECE_BYTES, RequestBody, ResponseBody},
    faults::{ClientFaults, Fault, Faults},
    io::{TrackedIo, Version},
    memory::{
        ConnectionMemory, HTTP_1_BUFFERS_BYTES, HTTP_2_CONNECTION_BYTES, IDLE_CONNECTION_BYTES, Memory,
        MemoryFull, REQUEST_BYTES, TLS_BYTES,
    },
    tls::Tls,
};
use crate::{clock::about, settings::LimitSettings};

/// The interval of HTTP/2 pings on a silent connection.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The time within which a client must return a ping. Together with the interval it
/// limits how long the service holds a session whose client's machine vanished.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time after which an idle HTTP/1 connection gives its buffers back.
const PARK_AFTER: Duration = Duration::from_secs(1);
/// The time for which a connection that the service closes may complete its requests.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// The time that its client then has to read why.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// The interval at which an HTTP/1 connection asks again for the memory of its buffers.
const MEMORY_RETRY: Duration = Duration::from_millis(50);

/// The bytes that a client may send on one stream, and on one connection, before the service reads
/// them.
const STREAM_WINDOW_BYTES: u32 = 128 * 1_024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1_024;
/// The bytes of one response that h2 may have beyond its client's window.
const SEND_BUFFER_BYTES: usize = 4 * PIECE_BYTES;
/// The smallest limit of streams that a client has reset and h2 has not handed to the service yet.
/// One read of a busy service may contain many rounds of opened and cancelled requests.
const PENDING_RESETS_MIN: usize = 4_096;

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
    /// The API's response to a request for which there is no memory.
    pub refuse: fn(&S, MemoryFull) -> Response,
    /// The limits of one client.
    pub limits: LimitSettings,
    /// The memory of all clients.
    pub memory: Memory,
    /// Counts and logs what clients do wrong.
    pub faults: ClientFaults,
    /// The certificate; `None` without TLS.
    pub tls: Option<Tls>,
    /// Closes idle connections, and the others once they are idle.
    pub stop: CancellationToken,
}

/// Ends at the maximum age of a connection.
type Age = Pin<Box<Sleep>>;

/// One connection.
struct Connection<S> {
    of: Connections<S>,
    activity: ConnectionActivity,
    memory: ConnectionMemory,
    faults: Faults,
}

/// The end of serving HTTP/1.
enum Http1End<S> {
    /// The connection has ended.
    Closed(Option<TimedOut>),
    /// The connection is idle: it waits without buffers.
    Idle(TrackedIo<S>),
}

impl<S> Connections<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    /// Serves a connection until it ends. Returns the reason if the client timed out.
    /// After `stop`, requests that have begun still get their response.
    pub async fn serve(self, stream: TcpStream) -> Option<TimedOut> {
        let peer = stream.peer_addr().ok();
        let Some(tls) = &self.tls else { return self.serve_http(stream, peer).await };
        let Some(memory) = self.memory.connection(TLS_BYTES) else {
            self.faults.of(peer).record(Fault::Connections);
            return None;
        };
        let acceptor = TlsAcceptor::from(tls.config());
        let handshake = timeout(self.limits.header_timeout, Box::pin(acceptor.accept(stream)));
        let ended = match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.serve_http(Box::new(stream), peer).await,
            Some(Ok(Err(error))) => {
                tls.log_failure(&error, peer);
                None
            }
            Some(Err(_)) => Some(TimedOut::Header),
            None => None,
        };
        drop(memory);
        ended
    }

    /// Serves HTTP on a stream, as [`Self::serve`] does.
    pub(super) async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<SocketAddr>,
    ) -> Option<TimedOut> {
        let faults = self.faults.of(peer);
        let Some(memory) = self.memory.connection(IDLE_CONNECTION_BYTES) else {
            faults.record(Fault::Connections);
            return None;
        };
        let activity = ConnectionActivity::new(self.limits, faults.clone());
        let io = TrackedIo::new(stream, activity.clone());
        Connection { of: self, activity, memory, faults }.serve(io).await
    }
}

impl<S> Connection<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    /// Waits for a request, serves HTTP until the connection is idle, and again. So an idle
    /// connection takes no buffers.
    async fn serve<Io>(mut self, mut io: TrackedIo<Io>) -> Option<TimedOut>
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut age = Box::pin(sleep(about(self.of.limits.connection_max_age)));
        loop {
            let version = loop {
                tokio::select! {
                    version = io.version() => break version?,
                    () = self.of.stop.cancelled() => return None,
                    timed_out = self.activity.timed_out(&self.of.memory) => return Some(timed_out),
                    () = age.as_mut(), if !self.activity.is_old() => self.activity.set_old(),
                }
            };
            if version == Version::Http2 || self.of.protocol == Protocol::Http2 {
                if !self.memory.grow(HTTP_2_CONNECTION_BYTES - IDLE_CONNECTION_BYTES) {
                    self.faults.record(Fault::Connections);
                    return None;
                }
                return Box::pin(self.serve_http2(io, age)).await;
            }
            match Box::pin(self.serve_http1(io, &mut age)).await {
                Http1End::Closed(timed_out) => return timed_out,
                Http1End::Idle(idle) => io = idle,
            }
        }
    }

    /// Serves HTTP/1 until the connection is closed or idle.
    async fn serve_http1<Io>(&self, io: TrackedIo<Io>, age: &mut Age) -> Http1End<Io>
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _buffers = loop {
            if let Ok(buffers) = self.memory.request(HTTP_1_BUFFERS_BYTES) {
                break buffers;
            }
            tokio::select! {
                () = sleep(MEMORY_RETRY) => {}
                timed_out = self.activity.timed_out(&self.of.memory) => {
                    self.faults.record(Fault::RequestMemory);
                    return Http1End::Closed(Some(timed_out));
                }
            }
        };
        let limits = &self.of.limits;
        let mut builder = http1::Builder::new();
        // `activity` times headers. hyper's timeout would also count idle time, and close the
        // connection without a reason.
        builder
            .header_read_timeout(None)
            .max_buf_size(usize::try_from(limits.hyper_header_max_bytes()).unwrap_or(usize::MAX));
        let service = service_fn(|request| self.respond(request));
        let mut connection = builder.serve_connection(TokioIo::new(io), service);
        let timed_out = loop {
            tokio::select! {
                ended = &mut connection => {
                    drop(ended.inspect_err(|error| debug!(%error, "connection failed")));
                    return Http1End::Closed(None);
                }
                () = self.of.stop.cancelled() => break None,
                timed_out = self.activity.timed_out(&self.of.memory) => break Some(timed_out),
                () = self.activity.idle_for(PARK_AFTER) => {
                    let parts = connection.into_parts();
                    let mut io = parts.io.into_inner();
                    io.unread(&parts.read_buf);
                    return Http1End::Idle(io);
                }
                // The next response closes the connection: closing it now could lose a request
                // that is already on its way.
                () = age.as_mut(), if !self.activity.is_old() => self.activity.set_old(),
            }
        };
        if timed_out.is_none() {
            Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                _ = connection => {}
                () = self.activity.drained() => {}
            }
        }
        Http1End::Closed(timed_out)
    }

    /// Serves HTTP/2 until the connection ends.
    async fn serve_http2<Io>(self, mut io: TrackedIo<Io>, mut age: Age) -> Option<TimedOut>
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        io.set_http2();
        let builder = http2_builder(RequestExecutor(self.activity.clone()), &self.of.limits);
        let service = service_fn(|request| self.respond(request));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let timed_out = loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    return ended.err().and_then(|error| self.failed(&error));
                }
                () = self.of.stop.cancelled() => break None,
                timed_out = self.activity.timed_out(&self.of.memory) => break Some(timed_out),
                () = age.as_mut(), if !self.activity.is_old() => {
                    self.activity.set_old();
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        match timed_out {
            // The client may be about to send a request, so it gets a GOAWAY first.
            None | Some(TimedOut::Idle) => {
                connection.as_mut().graceful_shutdown();
                let give_up = async {
                    match timed_out {
                        Some(_) => sleep(self.of.limits.send_timeout).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    _ = connection.as_mut() => {}
                    () = self.activity.drained() => {}
                    () = give_up => {}
                }
            }
            Some(TimedOut::Header) => {}
            Some(reason @ (TimedOut::Send | TimedOut::Resets)) => {
                if reason == TimedOut::Resets {
                    self.faults.record(Fault::Resets);
                }
                // What is under way gets its response, and the client learns why.
                self.activity.set_closing();
                tokio::select! {
                    _ = connection.as_mut() => return timed_out,
                    _ = timeout(CLOSE_TIMEOUT, self.activity.answered()) => self.activity.say_farewell(),
                }
                let _ = timeout(FAREWELL_TIMEOUT, connection).await;
            }
        }
        timed_out
    }

    /// The reason why h2 closed a connection, if it was the client's resets.
    fn failed(&self, error: &hyper::Error) -> Option<TimedOut> {
        debug!(%error, "connection failed");
        let error = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
        let is_calm = error.is_go_away() && error.is_library();
        (is_calm && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)).then(|| {
            self.faults.record(Fault::Resets);
            TimedOut::Resets
        })
    }

    /// Responds to a request.
    fn respond(
        &self,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + use<S> {
        let http2 = request.version() == HttpVersion::HTTP_2;
        let bytes = REQUEST_BYTES + header_bytes(request.uri(), request.headers());
        let (memory, full) = match self.memory.request(bytes) {
            Ok(memory) => (Some(memory), None),
            Err(full) => (None, Some(full)),
        };
        let active = Arc::new(self.activity.begin_request(memory));
        let body_of = Arc::clone(&active);
        let mut request =
            request.map(|body| Body::new(RequestBody::new(body, http2, self.activity.clone(), body_of)));
        let Connections { service, refuse, .. } = &self.of;
        let refusal = Refusal { service: service.clone(), refuse: *refuse, faults: self.faults.clone() };
        // Both APIs' services are always ready.
        let response = if let Some(full) = full {
            Either::Left(ready(Ok(refusal.response(full))))
        } else {
            if let Some(memory) = active.memory() {
                request.extensions_mut().insert(memory.clone());
            }
            Either::Right(service.clone().call(request))
        };
        async move {
            let mut response = response.await?;
            active.set_responded();
            if let Some(full) = take_memory(&response, &active) {
                response = refusal.response(full);
            }
            if !http2 && active.is_last() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let memory = REQUEST_BYTES + exact_bytes(&response).unwrap_or_default();
            Ok(response.map(|body| ResponseBody::new(body, memory, active)))
        }
    }
}

/// Refuses requests for which there is no memory.
struct Refusal<S> {
    service: S,
    refuse: fn(&S, MemoryFull) -> Response,
    faults: Faults,
}

impl<S> Refusal<S> {
    fn response(&self, full: MemoryFull) -> Response {
        self.faults.record(match full {
            MemoryFull::Connection => Fault::ConnectionMemory,
            MemoryFull::Process => Fault::RequestMemory,
        });
        (self.refuse)(&self.service, full)
    }
}

/// Takes the memory of a response in place of the request's. A small one is always sent; a large
/// one is not if there is too little memory.
fn take_memory(response: &Response, active: &ActiveRequest) -> Option<MemoryFull> {
    let memory = active.memory()?;
    memory.shrink_to(REQUEST_BYTES);
    let bytes = exact_bytes(response)?;
    memory.grow(bytes).err().filter(|_| bytes > PIECE_BYTES)
}

/// The length of the body, unless it is a stream.
fn exact_bytes(response: &Response) -> Option<usize> {
    usize::try_from(response.body().size_hint().exact()?).ok()
}

/// The bytes of a request's header.
fn header_bytes(uri: &Uri, headers: &HeaderMap) -> usize {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    path + headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}

/// Runs each HTTP/2 request as a task, which the timeouts of the request can end.
#[derive(Clone, Debug)]
struct RequestExecutor(ConnectionActivity);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for RequestExecutor {
    fn execute(&self, request: F) {
        self.0.set_task(tokio::spawn(request).abort_handle());
    }
}

fn http2_builder(executor: RequestExecutor, limits: &LimitSettings) -> http2::Builder<RequestExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_header_list_size(limits.hyper_header_max_bytes())
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(PENDING_RESETS_MIN.max(limits.streams_max()))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES);
    builder
}
