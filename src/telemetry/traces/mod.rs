//! Traces: where a request's time went, for whoever looks at it beside what
//! called it.
//!
//! Off, they cost a branch; on, a request that is not sampled costs a look at
//! its headers. Whether one is sampled is the caller's decision if the caller says
//! which trace it belongs to, else it is drawn by lot.

mod context;
mod export;
mod spans;

use std::{pin::Pin, sync::Arc, time::Duration};

use http::HeaderMap;
use opentelemetry::{
    TraceId,
    trace::{SpanContext, TracerProvider},
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

pub use spans::{QueueSpan, RequestSpan, StatementSpan, Trace};

/// How long a stop waits until the last spans are sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Traces, or none; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Tracing>>);

#[derive(Debug)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Of the requests that belong to no trace yet.
    sample_ratio: f64,
    /// What the database is, as OpenTelemetry calls it.
    database: &'static str,
}

/// What a request's headers, or the request that it is a part of, say of its trace.
#[derive(Debug, Default)]
pub(super) struct Belongs {
    /// The trace, sampled or not, if it is known.
    pub(super) trace_id: Option<TraceId>,
    /// Its span, if it is sampled.
    pub(super) span: Option<Box<RequestSpan>>,
}

impl Traces {
    /// None.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Sends spans to a collector from now on, of this share of the requests that
    /// belong to no trace yet. Nothing waits for the collector.
    pub fn export(endpoint: &str, sample_ratio: f64, database: &'static str) -> Result<Self, String> {
        let provider = export::provider(endpoint)?;
        info!(endpoint, sample_ratio, "traces are sent");
        let tracer = provider.tracer("presenced");
        Ok(Self(Some(Arc::new(Tracing { provider, tracer, sample_ratio, database }))))
    }

    /// Whether there are any.
    pub(super) const fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// A request has come in.
    pub(super) fn request(&self, headers: &HeaderMap) -> Belongs {
        self.0.as_ref().map_or_else(Belongs::default, |tracing| tracing.request(headers))
    }

    /// Sends what is left, and ends; not long, whatever the collector does.
    pub async fn stop(&self) {
        let Some(tracing) = &self.0 else { return };
        let provider = tracing.provider.clone();
        // It blocks, and what it waits for needs this runtime.
        let stopped = spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if let Ok(Err(error)) = stopped {
            warn!(%error, "the last traces were not sent");
        }
    }
}

impl Tracing {
    fn request(self: &Arc<Self>, headers: &HeaderMap) -> Belongs {
        let (parent, is_sampled) = match Trace::current() {
            // An item of a batch.
            Some(trace) => (trace.above().clone(), true),
            None if spans::is_at_work() => return Belongs::default(),
            None => match context::remote(headers) {
                Some(parent) => {
                    let is_sampled = parent.is_sampled();
                    (parent, is_sampled)
                }
                None => (SpanContext::NONE, fastrand::f64() < self.sample_ratio),
            },
        };
        if is_sampled {
            let span = RequestSpan::start(self, &parent);
            Belongs { trace_id: Some(span.context().trace_id()), span: Some(Box::new(span)) }
        } else {
            Belongs { trace_id: parent.is_valid().then(|| parent.trace_id()), span: None }
        }
    }
}

/// Works for a request whose span is this one.
pub(super) async fn work_for<F: Future + ?Sized>(span: Option<&RequestSpan>, work: Pin<&mut F>) -> F::Output {
    spans::within(span.map(RequestSpan::trace), work).await
}
