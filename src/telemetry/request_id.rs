//! The id of a request.

use std::fmt;

use opentelemetry::TraceId;
use tracing::field::DisplayValue;
use uuid::Uuid;

/// The service's id of a request. It is in the response, in the request's span, and in
/// log lines, there beside the id of the request's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    id: Uuid,
    trace_id: Option<TraceId>,
}

impl RequestId {
    /// Makes a new id, of a request without a trace.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "every id is different")]
    pub fn new() -> Self {
        Self::in_trace(None)
    }

    /// Makes a new id, of a request in this trace.
    pub(super) fn in_trace(trace_id: Option<TraceId>) -> Self {
        Self { id: Uuid::new_v4(), trace_id }
    }

    /// The trace's id, as a field of a log line.
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
