//! Traces: spans of requests and their statements, sent to an OpenTelemetry collector.
//!
//! Disabled, they cost a branch for each request; enabled, a request that is not sampled
//! costs a look at its headers. The caller's `traceparent` decides whether a request is
//! sampled; a request without one is sampled at random.

mod context;
mod export;
mod spans;

use std::{pin::Pin, sync::Arc, time::Duration};

use http::HeaderMap;
use opentelemetry::{
    TraceId,
    trace::{SpanContext, TracerProvider},
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use spans::SpanSource;
pub use spans::{QueueSpan, RequestSpan, StatementSpan, Trace};

/// The longest that a shutdown waits for the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Traces, enabled or not. Clones share one exporter.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Tracing>>);

#[derive(Debug)]
struct Tracing {
    provider: SdkTracerProvider,
    spans: Arc<SpanSource>,
    /// The share of requests without a `traceparent` that are sampled.
    sample_ratio: f64,
}

/// The trace of one request.
#[derive(Debug, Default)]
pub(super) struct RequestTrace {
    /// The trace's id, sampled or not; `None` if there is no trace.
    pub(super) trace_id: Option<TraceId>,
    /// The request's span; `None` unless the trace is sampled.
    pub(super) span: Option<Box<RequestSpan>>,
}

impl Traces {
    /// Disabled traces.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Starts sending spans to a collector. `sample_ratio` is the sampled share of the
    /// requests without a `traceparent`. No request waits for the collector.
    pub fn export(endpoint: &str, sample_ratio: f64, database: &'static str) -> Result<Self, String> {
        let provider = export::provider(endpoint)?;
        info!(endpoint, sample_ratio, "exporting traces");
        let spans = Arc::new(SpanSource { tracer: provider.tracer("presenced"), database });
        Ok(Self(Some(Arc::new(Tracing { provider, spans, sample_ratio }))))
    }

    /// Whether traces are enabled.
    pub(super) const fn are_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Starts the span of a request if its trace is sampled.
    pub(super) fn start_request(&self, headers: &HeaderMap) -> RequestTrace {
        self.0.as_ref().map_or_else(RequestTrace::default, |tracing| tracing.start_request(headers))
    }

    /// Sends the remaining spans and ends, within `FLUSH_TIMEOUT`.
    pub async fn stop(&self) {
        let Some(tracing) = &self.0 else { return };
        let provider = tracing.provider.clone();
        // The call blocks and needs this runtime for its connection.
        let stopped = spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if let Ok(Err(error)) = stopped {
            warn!(%error, "failed to export the last traces");
        }
    }
}

impl Tracing {
    fn start_request(&self, headers: &HeaderMap) -> RequestTrace {
        let (parent, is_sampled) = match Trace::current() {
            // An item of a `$batch`.
            Some(trace) => (trace.parent().clone(), true),
            None if spans::in_request() => return RequestTrace::default(),
            None => match context::remote(headers) {
                Some(parent) => {
                    let is_sampled = parent.is_sampled();
                    (parent, is_sampled)
                }
                None => (SpanContext::NONE, fastrand::f64() < self.sample_ratio),
            },
        };
        if is_sampled {
            let span = RequestSpan::start(&self.spans, &parent);
            RequestTrace { trace_id: Some(span.context().trace_id()), span: Some(Box::new(span)) }
        } else {
            RequestTrace { trace_id: parent.is_valid().then(|| parent.trace_id()), span: None }
        }
    }
}

/// Runs a request's work below its span; `None` if its trace is not sampled.
pub(super) async fn run_in_trace<F: Future + ?Sized>(
    span: Option<&RequestSpan>,
    work: Pin<&mut F>,
) -> F::Output {
    spans::run_in(span.map(RequestSpan::trace), work).await
}
