//! HTTP/1 connections. They give hyper's buffers back while they are idle, and while they send events.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;
use tracing::debug;

use super::{
    activity::TimedOut,
    connection::{Age, ApiService, Connection, Http1End, Socket},
    event_stream::{EventResponse, EventStream},
    faults::Fault,
    io::TrackedIo,
    memory::{HTTP_1_BUFFERS_BYTES, RequestMemory},
};

/// The time after which an idle HTTP/1 connection gives its buffers back.
const PARK_AFTER: Duration = Duration::from_secs(1);
/// The interval at which an HTTP/1 connection asks again for the memory of its buffers.
const MEMORY_RETRY: Duration = Duration::from_millis(50);

impl<S: ApiService> Connection<S> {
    /// Serves HTTP/1 until the connection is closed or idle.
    pub(super) async fn serve_http1<Io: Socket>(&self, io: TrackedIo<Io>, age: &mut Age) -> Http1End<Io> {
        let buffers = match self.http1_buffers().await {
            Ok(buffers) => buffers,
            Err(timed_out) => return Http1End::Closed(Some(timed_out)),
        };
        let limits = &self.of.limits;
        let mut builder = http1::Builder::new();
        // `activity` times headers. hyper's timeout would also count idle time, and close the
        // connection without a reason.
        builder
            .header_read_timeout(None)
            .max_buf_size(usize::try_from(limits.hyper_header_max_bytes()).unwrap_or(usize::MAX));
        let stream = EventStream::default();
        let service = service_fn(|request: http::Request<Incoming>| {
            let (version, stream) = (request.version(), stream.clone());
            let response = self.respond(request);
            async move { stream.pass(version, response.await?).await }
        });
        let mut connection = builder.serve_connection(TokioIo::new(io), service);
        let timed_out = loop {
            tokio::select! {
                ended = &mut connection => {
                    drop(ended.inspect_err(|error| debug!(%error, "connection failed")));
                    return Http1End::Closed(None);
                }
                () = self.of.stop.cancelled() => break None,
                timed_out = self.activity.timed_out(&self.of.memory) => break Some(timed_out),
                response = stream.begun() => {
                    // The response before it.
                    self.activity.flushed(&mut connection).await;
                    let io = connection.into_parts().io.into_inner();
                    drop(buffers);
                    return Http1End::Closed(self.send_events(io, response).await);
                }
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
            self.activity.set_stopping();
            Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                _ = connection => {}
                () = self.activity.drained() => {}
                _ = self.activity.timed_out(&self.of.memory) => {}
            }
        }
        Http1End::Closed(timed_out)
    }

    /// Waits for the memory of hyper's buffers.
    async fn http1_buffers(&self) -> Result<RequestMemory, TimedOut> {
        loop {
            if let Ok(buffers) = self.memory.request(HTTP_1_BUFFERS_BYTES) {
                return Ok(buffers);
            }
            tokio::select! {
                () = sleep(MEMORY_RETRY) => {}
                timed_out = self.activity.timed_out(&self.of.memory) => {
                    self.faults.record(Fault::RequestMemory);
                    return Err(timed_out);
                }
            }
        }
    }

    /// Sends a stream of events on a connection that hyper has left.
    async fn send_events<Io: Socket>(&self, io: TrackedIo<Io>, response: EventResponse) -> Option<TimedOut> {
        let mut sent = pin!(response.send(io));
        let mut stops = false;
        loop {
            tokio::select! {
                sent = sent.as_mut() => {
                    drop(sent.inspect_err(|error| debug!(%error, "connection failed")));
                    return None;
                }
                timed_out = self.activity.timed_out(&self.of.memory) => return Some(timed_out),
                () = self.of.stop.cancelled(), if !stops => {
                    stops = true;
                    self.activity.set_stopping();
                }
            }
        }
    }
}
