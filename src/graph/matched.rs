//! The result of routing, which handlers read.

use crate::telemetry::RequestId;

/// The path of a request and the service's id of it, as an extension of the request.
#[derive(Clone, Debug)]
pub(super) struct Matched {
    /// `/v1.0` or `/beta`; empty for a path without a version.
    pub(super) version: &'static str,
    /// Whether the path is below `/communications`.
    pub(super) communications: bool,
    /// The user, still percent-encoded, if the path names one.
    pub(super) id: Option<String>,
    pub(super) request_id: RequestId,
}
