//! What routing found out about a request.

use crate::telemetry::RequestId;

/// What the path of a request says, for what answers it, and our id of the
/// request: one of its extensions.
#[derive(Clone, Debug)]
pub(super) struct Matched {
    /// `/v1.0` or `/beta`; empty for what has no version.
    pub(super) version: &'static str,
    /// Whether it is below `/communications`.
    pub(super) communications: bool,
    /// The user, still percent-encoded, if the path names one.
    pub(super) id: Option<String>,
    pub(super) request_id: RequestId,
}
