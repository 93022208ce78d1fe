//! The state that handlers share.

use std::sync::Arc;

use crate::{
    auth::Authenticator,
    clock::Clock,
    grpc::Web,
    notify::ServiceKeys,
    server::Hosts,
    service::Service,
    settings::LimitSettings,
    telemetry::{Metrics, Traces},
};

/// The state of the HTTP API.
#[derive(Clone, Debug)]
pub struct HttpState {
    /// The operations.
    pub service: Arc<Service>,
    /// Authenticates callers.
    pub authenticator: Authenticator,
    /// Dates errors.
    pub clock: Clock,
    /// Counts requests.
    pub metrics: Metrics,
    /// Traces requests.
    pub traces: Traces,
    /// The limits of one client.
    pub limits: LimitSettings,
    /// Whether this API itself serves TLS.
    pub encrypted: bool,
    /// Whether requests with unknown properties or query options are refused.
    pub reject_unknown: bool,
    /// Origins whose pages may call from a browser.
    pub cors_origins: Arc<[String]>,
    /// The hosts that requests may name.
    pub hosts: Hosts,
    /// The keys that sign tokens in notifications.
    pub service_keys: ServiceKeys,
    /// Serves requests in gRPC-Web.
    pub web: Web,
}
