//! What operators see: logs, metrics, traces, and the id that ties a request to them.

mod logs;
mod metrics;
mod request;
mod traces;
mod trouble;

pub use logs::{LogFormat, init_logs};
pub use metrics::{ConnectionMetrics, Metrics, ReplicaMetrics, StatementMetrics, WatchMetrics};
pub use request::{Door, RequestId, RequestTimer};
pub use traces::{QueueSpan, RequestSpan, StatementSpan, Trace, Traces};
pub use trouble::Trouble;
