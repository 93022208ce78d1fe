//! What operators see: logs, metrics, and the id that ties a request to both.

mod logs;
mod metrics;
mod request;

pub use logs::{LogFormat, init_logs};
pub use metrics::{ConnectionMetrics, Metrics, ReplicaMetrics, StatementMetrics, WatchMetrics};
pub use request::{Door, RequestId, RequestTimer};
