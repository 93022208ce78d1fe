//! One request: its id, its line in the log, its place in the metrics.

use std::{fmt, time::Duration};

use tracing::debug;
use uuid::Uuid;

use super::Metrics;
use crate::clock::Stopwatch;

/// Which way a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// gRPC.
    Grpc,
    /// Graph's HTTP/JSON.
    Graph,
}

impl Door {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Graph => "graph",
        }
    }
}

/// The server's id of a request: in the answer, and in whatever is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is different")]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
    door: Door,
    /// The operation's name, `unknown` until it is known.
    pub operation: &'static str,
    id: RequestId,
    stopwatch: Stopwatch,
    code: &'static str,
}

impl RequestTimer {
    /// A request has come in.
    #[must_use]
    pub fn start(metrics: &Metrics, door: Door, id: RequestId) -> Self {
        let stopwatch = Stopwatch::start();
        Self { metrics: metrics.clone(), door, operation: "unknown", id, stopwatch, code: GONE }
    }

    /// How long ago the request came in.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.stopwatch.elapsed()
    }

    /// The request is answered with `code`.
    pub fn finish(mut self, code: &'static str) {
        self.code = code;
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let Self { metrics, door, operation, id, stopwatch, code } = self;
        let took = stopwatch.elapsed();
        metrics.request(*door, operation, code, took);
        // As an integer of 64 bits: one of 128 would be a text in JSON.
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        debug!(door = door.as_str(), operation, code, took_us, request_id = %id, "request");
    }
}
