//! Records one request in the log, the metrics and the traces.

use std::{pin::Pin, time::Duration};

use http::HeaderMap;
use tracing::debug;

use super::{
    Api, ClientRequestId, Metrics, RequestId, RequestIds, Traces,
    traces::{RequestSpan, RequestTrace, run_in_trace},
};
use crate::clock::Stopwatch;

/// The code of a request whose client disconnected or cancelled before the response.
const CLIENT_CLOSED: &str = "client_closed";

/// Measures one request. If it is dropped before [`Self::finish`], the request counts as
/// closed by its client.
#[derive(Debug)]
pub struct RequestTimer {
    metrics: Metrics,
    api: Api,
    /// The operation's name; `unknown` until it is known.
    pub operation: &'static str,
    /// The request's id.
    pub id: RequestId,
    /// The client's id of the request.
    pub client_id: Option<ClientRequestId>,
    /// The request's span; `None` unless its trace is sampled.
    pub span: Option<Box<RequestSpan>>,
    tracing_enabled: bool,
    stopwatch: Stopwatch,
    /// The code's name, and its number if there is one.
    code: (&'static str, Option<u16>),
}

impl RequestTimer {
    /// Starts at a request's headers.
    #[must_use]
    pub fn start(metrics: &Metrics, traces: &Traces, api: Api, headers: &HeaderMap) -> Self {
        let stopwatch = Stopwatch::start();
        let RequestTrace { trace_id, span } = traces.start_request(headers);
        Self {
            metrics: metrics.clone(),
            api,
            operation: "unknown",
            id: RequestId::in_trace(trace_id),
            client_id: ClientRequestId::of(api, headers),
            span,
            tracing_enabled: traces.are_enabled(),
            stopwatch,
            code: (CLIENT_CLOSED, None),
        }
    }

    /// Both ids of the request.
    #[must_use]
    pub fn ids(&self) -> RequestIds {
        RequestIds { own: self.id, client: self.client_id.clone() }
    }

    /// The time since the request's headers.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.stopwatch.elapsed()
    }

    /// Runs the request's work, whose statements become spans of its trace. The future is
    /// pinned where it is, because moving it costs as much as the rest of this type.
    pub async fn work<F: Future>(&self, work: Pin<&mut F>) -> F::Output {
        if self.tracing_enabled { run_in_trace(self.span.as_deref(), work).await } else { work.await }
    }

    /// Ends with the response's code.
    pub fn finish(mut self, name: &'static str, number: u16) {
        self.code = (name, Some(number));
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let Self { metrics, api, operation, id, client_id, span, stopwatch, code, .. } = self;
        let took = stopwatch.elapsed();
        metrics.record_request(*api, operation, code.0, took);
        if let Some(span) = span.take() {
            span.finish(*api, operation, *id, *code);
        }
        // As 64 bits, because tracing writes 128 bits to JSON as text.
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let (api, code, trace_id) = (api.as_str(), code.0, id.trace_id());
        let client_id = client_id.as_ref().map(ClientRequestId::text);
        let client_request_id = client_id.as_deref();
        debug!(api, operation, code, took_us, request_id = %id, client_request_id, trace_id, "request");
    }
}
