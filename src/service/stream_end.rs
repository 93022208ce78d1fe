//! Counts streams that have ended, by the reason.

use super::{Error, Operation, Reason};
use crate::telemetry::StreamMetrics;

/// The reason of a stream whose client ended or cancelled it, or disconnected.
const CLIENT: &str = "client";

/// An open stream, which is counted when this is dropped.
#[derive(Debug)]
pub(super) struct StreamEnd {
    metrics: StreamMetrics,
    operation: &'static str,
    reason: &'static str,
}

impl StreamEnd {
    /// A stream that begins.
    pub(super) fn new(metrics: StreamMetrics, operation: Operation) -> Self {
        let operation = match operation {
            Operation::HoldPresence => "hold_presence",
            Operation::KeepPresence => "keep_presence",
            _ => "watch_presences",
        };
        Self { metrics, operation, reason: CLIENT }
    }

    /// The stream ends with this error.
    pub(super) fn set_error(&mut self, error: &Error) {
        self.reason = match error.reason {
            Reason::TokenInvalid => "token",
            Reason::StreamTooOld => "age",
            Reason::Stopping => "stop",
            Reason::SessionTaken => "taken",
            Reason::StoreUnavailable | Reason::QueueFull => "store",
            Reason::Internal => "fault",
            _ => "message",
        };
    }
}

impl Drop for StreamEnd {
    fn drop(&mut self) {
        self.metrics.ended(self.operation, self.reason);
    }
}
