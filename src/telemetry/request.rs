//! One request: its id, its line in the log, its place in the metrics, its span.

use std::{fmt, pin::Pin, time::Duration};

use http::HeaderMap;
use opentelemetry::TraceId;
use tracing::{debug, field::DisplayValue};
use uuid::Uuid;

use super::{
    Metrics, Traces,
    traces::{Belongs, RequestSpan, work_for},
};
use crate::clock::Stopwatch;

/// The interface that a request came in through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The gRPC API.
    Grpc,
    /// The HTTP API.
    Http,
}

impl Api {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// The server's id of a request: in the answer, in its span, and in whatever is
/// logged, there with the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    id: Uuid,
    trace_id: Option<TraceId>,
}

impl RequestId {
    /// A new one, of a request that belongs to no trace.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is different")]
    pub fn new() -> Self {
        Self::of_trace(None)
    }

    fn of_trace(trace_id: Option<TraceId>) -> Self {
        Self { id: Uuid::new_v4(), trace_id }
    }

    /// The trace, for the log.
    #[must_use]
    pub fn trace_id(self) -> Option<DisplayValue<TraceId>> {
        self.trace_id.map(tracing::field::display)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// What the code of a request is called that was never answered, because its
/// client went away.
const GONE: &str = "gone";

/// A request that is being answered. Dropped unfinished, it counts as one whose
/// client went away.
#[derive(Debug)]
pub struct RequestTimer {
    metrics: Metrics,
    api: Api,
    /// The operation's name, `unknown` until it is known.
    pub operation: &'static str,
    /// The request's id.
    pub id: RequestId,
    /// If its trace is sampled.
    pub span: Option<Box<RequestSpan>>,
    traced: bool,
    stopwatch: Stopwatch,
    /// The code's name, and its number if there is one.
    code: (&'static str, Option<u16>),
}

impl RequestTimer {
    /// A request has come in with these headers.
    #[must_use]
    pub fn start(metrics: &Metrics, traces: &Traces, api: Api, headers: &HeaderMap) -> Self {
        let stopwatch = Stopwatch::start();
        let Belongs { trace_id, span } = traces.request(headers);
        Self {
            metrics: metrics.clone(),
            api,
            operation: "unknown",
            id: RequestId::of_trace(trace_id),
            span,
            traced: traces.are_on(),
            stopwatch,
            code: (GONE, None),
        }
    }

    /// How long ago the request came in.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.stopwatch.elapsed()
    }

    /// Works for the request: what this waits for is a part of its trace. The work
    /// stays where it is: to move it would cost as much as the rest of this.
    pub async fn work<F: Future>(&self, work: Pin<&mut F>) -> F::Output {
        if self.traced { work_for(self.span.as_deref(), work).await } else { work.await }
    }

    /// The request is answered with the code of this name and number.
    pub fn finish(mut self, name: &'static str, number: u16) {
        self.code = (name, Some(number));
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let Self { metrics, api, operation, id, span, stopwatch, code, .. } = self;
        let took = stopwatch.elapsed();
        metrics.request(*api, operation, code.0, took);
        if let Some(span) = span.take() {
            span.finish(*api, operation, *id, *code);
        }
        // As an integer of 64 bits: one of 128 would be a text in JSON.
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let (api, code, trace_id) = (api.as_str(), code.0, id.trace_id());
        debug!(api, operation, code, took_us, request_id = %id, trace_id, "request");
    }
}
