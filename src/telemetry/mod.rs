//! Logs, metrics, traces, and the request id that connects them.

mod api;
mod log_throttle;
mod logs;
mod metrics;
mod request;
mod request_id;
mod traces;

pub use api::Api;
pub use log_throttle::LogThrottle;
pub use logs::{LogFormat, init_logs, log_fatal, panic_text};
pub use metrics::{
    ClientMetrics, ConnectionMetrics, Metrics, NotificationMetrics, ReplicaMetrics, StatementMetrics,
    StreamMetrics, WatchMetrics,
};
pub use request::RequestTimer;
pub use request_id::{CLIENT_REQUEST_ID, ClientRequestId, REQUEST_ID, RequestId, RequestIds};
pub use traces::{QueueSpan, RequestSpan, StatementSpan, Trace, Traces};
