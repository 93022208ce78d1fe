//! What operators see: logs, metrics, traces, and the id that ties a request to them.

mod log_throttle;
mod logs;
mod metrics;
mod request;
mod traces;

pub use log_throttle::LogThrottle;
pub use logs::{LogFormat, init_logs};
pub use metrics::{ConnectionMetrics, Metrics, ReplicaMetrics, StatementMetrics, WatchMetrics};
pub use request::{Api, RequestId, RequestTimer};
pub use traces::{QueueSpan, RequestSpan, StatementSpan, Trace, Traces};
