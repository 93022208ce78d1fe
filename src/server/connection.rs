//! Serves HTTP on one connection until the client or the service ends it.

use std::{convert::Infallible, net::SocketAddr, pin::Pin};

use axum::{extract::Request, response::Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    activity::{ConnectionActivity, TimedOut},
    faults::{ClientFaults, Fault, Faults},
    io::{TrackedIo, Version},
    memory::{
        ConnectionMemory, HTTP_2_CONNECTION_BYTES, IDLE_CONNECTION_BYTES, Memory, MemoryFull, TLS_BYTES,
    },
    tls::Tls,
};
use crate::{clock::about, settings::LimitSettings};

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

/// The service of an API.
pub trait ApiService:
    Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> ApiService for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A socket, with or without TLS.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for S {}

/// Ends at the maximum age of a connection.
pub(super) type Age = Pin<Box<Sleep>>;

/// One connection.
pub(super) struct Connection<S> {
    pub(super) of: Connections<S>,
    pub(super) activity: ConnectionActivity,
    pub(super) memory: ConnectionMemory,
    pub(super) faults: Faults,
}

/// The end of serving HTTP/1.
pub(super) enum Http1End<S> {
    /// The connection has ended.
    Closed(Option<TimedOut>),
    /// The connection is idle: it waits without buffers.
    Idle(TrackedIo<S>),
}

impl<S: ApiService> Connections<S> {
    /// Serves a connection until it ends. Returns the reason if the client timed out.
    /// After `stop`, requests that have begun still get their response.
    pub async fn serve(self, stream: TcpStream) -> Option<TimedOut> {
        let peer = stream.peer_addr().ok();
        let Some(tls) = &self.tls else { return self.serve_http(stream, peer).await };
        let Some(_memory) = self.memory.connection(TLS_BYTES) else {
            self.faults.of(peer).record(Fault::Connections);
            return None;
        };
        let acceptor = TlsAcceptor::from(tls.config());
        let handshake = timeout(self.limits.header_timeout, Box::pin(acceptor.accept(stream)));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.serve_http(Box::new(stream), peer).await,
            Some(Ok(Err(error))) => {
                tls.log_failure(&error, peer);
                None
            }
            Some(Err(_)) => Some(TimedOut::Header),
            None => None,
        }
    }

    /// Serves HTTP on a stream, as [`Self::serve`] does.
    pub(super) async fn serve_http(self, stream: impl Socket, peer: Option<SocketAddr>) -> Option<TimedOut> {
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

impl<S: ApiService> Connection<S> {
    /// Waits for a request, serves HTTP until the connection is idle, and again. So an idle
    /// connection takes no buffers.
    async fn serve<Io: Socket>(mut self, mut io: TrackedIo<Io>) -> Option<TimedOut> {
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
}
