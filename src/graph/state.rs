//! What every request of this API needs.

use std::sync::Arc;

use crate::{
    auth::Authenticator,
    clock::Clock,
    grpc::Web,
    service::Service,
    settings::LimitSettings,
    telemetry::{Metrics, Traces},
};

/// What a request of this API needs.
#[derive(Clone, Debug)]
pub struct HttpState {
    /// The operations.
    pub service: Arc<Service>,
    /// Lets callers in.
    pub authenticator: Authenticator,
    /// For the dates in errors.
    pub clock: Clock,
    /// For the requests that are answered.
    pub metrics: Metrics,
    /// The same.
    pub traces: Traces,
    /// What one client may take.
    pub limits: LimitSettings,
    /// Whether this API speaks TLS itself.
    pub encrypted: bool,
    /// Origins whose pages may call from a browser.
    pub cors_origins: Arc<[String]>,
    /// Calls in gRPC-Web.
    pub web: Web,
}
