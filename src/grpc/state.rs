//! The dependencies of the API.

use std::sync::Arc;

use crate::{
    auth::Authenticator,
    service::Service,
    settings::LimitSettings,
    telemetry::{Metrics, Traces},
};

/// The dependencies of the API.
#[derive(Clone, Debug)]
pub struct GrpcState {
    /// The operations.
    pub service: Arc<Service>,
    /// Authentication and rate limits.
    pub authenticator: Authenticator,
    /// The metrics of requests.
    pub metrics: Metrics,
    /// The traces of requests.
    pub traces: Traces,
    /// The limits of a client.
    pub limits: LimitSettings,
    /// Whether the API offers reflection.
    pub reflection: bool,
}
