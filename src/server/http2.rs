//! HTTP/2 connections.

use std::{
    future::pending,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use hyper::{rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{
    activity::{ConnectionActivity, PIECE_BYTES, TimedOut},
    connection::{Age, ApiService, Connection, Socket},
    faults::Fault,
    io::TrackedIo,
};
use crate::settings::LimitSettings;

/// The interval of HTTP/2 pings on a silent connection.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The time within which a client must return a ping. Together with the interval it
/// limits how long the service holds a session whose client's machine vanished.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for which a connection that the service closes may complete its requests.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// The time that its client then has to read why.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes that a client may send on one stream, and on one connection, before the service reads
/// them.
const STREAM_WINDOW_BYTES: u32 = 128 * 1_024;
const CONNECTION_WINDOW_BYTES: u32 = 1_024 * 1_024;
/// The bytes of one response that h2 may have beyond its client's window.
const SEND_BUFFER_BYTES: usize = 4 * PIECE_BYTES;
/// The smallest limit of streams that a client has reset and h2 has not handed to the service yet.
/// One read of a busy service may contain many rounds of opened and cancelled requests.
const PENDING_RESETS_MIN: usize = 4_096;

impl<S: ApiService> Connection<S> {
    /// Serves HTTP/2 until the connection ends.
    pub(super) async fn serve_http2<Io: Socket>(
        self,
        mut io: TrackedIo<Io>,
        mut age: Age,
    ) -> Option<TimedOut> {
        io.set_http2();
        let builder = http2_builder(RequestExecutor(self.activity.clone()), &self.of.limits);
        let service = service_fn(|request| self.respond(request));
        let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let mut connection = InTurns { connection, activity: self.activity.clone() };
        let timed_out = loop {
            tokio::select! {
                ended = &mut connection => {
                    return ended.err().and_then(|error| self.failed(&error));
                }
                () = self.of.stop.cancelled() => break None,
                timed_out = self.activity.timed_out(&self.of.memory) => break Some(timed_out),
                () = age.as_mut(), if !self.activity.is_old() => {
                    self.activity.set_old();
                    connection.connection.as_mut().graceful_shutdown();
                }
            }
        };
        match timed_out {
            // The client may be about to send a request, so it gets a GOAWAY first.
            None | Some(TimedOut::Idle) => {
                self.activity.set_stopping();
                connection.connection.as_mut().graceful_shutdown();
                let give_up = async {
                    match timed_out {
                        Some(_) => sleep(self.of.limits.send_timeout).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    _ = &mut connection => {}
                    () = self.activity.drained() => {}
                    _ = self.activity.timed_out(&self.of.memory), if timed_out.is_none() => {}
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
                    _ = &mut connection => return timed_out,
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
}

/// A connection that reads a limited number of bytes each time it runs.
struct InTurns<'a, C> {
    connection: Pin<&'a mut C>,
    activity: ConnectionActivity,
}

impl<C: Future> Future for InTurns<'_, C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        self.activity.begin_turn();
        self.connection.as_mut().poll(context)
    }
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
