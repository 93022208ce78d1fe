//! The gRPC door: decodes, calls one method of the service, encodes.

mod convert;
mod layer;
mod presence_service;
mod status;

use std::sync::Arc;

use axum::{Router, middleware};
use tonic::service::Routes;
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{auth::Gate, service::Service, settings::LimitSettings, telemetry::Metrics};
use pb::presence_service_server::PresenceServiceServer;

/// The generated code of `proto/presence/v1`.
#[expect(clippy::pedantic, reason = "generated")]
pub mod pb {
    tonic::include_proto!("presence.v1");

    /// The descriptors of all files, with their comments, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/presence_v1.bin"));
}

/// The name of the service, for health checks.
pub use pb::presence_service_server::SERVICE_NAME;

/// What a call of this door needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The operations.
    pub service: Arc<Service>,
    /// Lets callers in.
    pub gate: Gate,
    /// For the calls that are answered.
    pub metrics: Metrics,
    /// What one client may take.
    pub limits: LimitSettings,
    /// Whether there is reflection.
    pub reflection: bool,
}

/// The door's routes: the service, health and reflection.
pub fn router(context: Context, health: HealthReporter) -> Result<Router, tonic_reflection::server::Error> {
    let message_max = context.limits.message_max();
    let presence = PresenceServiceServer::new(presence_service::Handler::new(Arc::clone(&context.service)))
        .max_decoding_message_size(message_max);
    let health = HealthServer::new(HealthService::from_health_reporter(health));
    let mut routes = Routes::new(presence).add_service(health.max_decoding_message_size(message_max));
    if context.reflection {
        routes = routes
            .add_service(reflection().build_v1()?.max_decoding_message_size(message_max))
            .add_service(reflection().build_v1alpha()?.max_decoding_message_size(message_max));
    }
    Ok(routes.prepare().into_axum_router().layer(middleware::from_fn_with_state(context, layer::observe)))
}

/// Reflection of all that is served, and of what errors carry: grpcurl shows
/// only the details whose types it can look up.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
}
