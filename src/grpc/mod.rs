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

use crate::{service::Service, telemetry::Metrics};
use pb::presence_service_server::PresenceServiceServer;

/// The generated code of `proto/presence/v1`.
#[expect(clippy::pedantic, reason = "generated")]
pub mod pb {
    tonic::include_proto!("presence.v1");

    /// The descriptors of all files, with their comments, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/presence_v1.bin"));
}

/// The largest message that is let in, in bytes.
pub const MESSAGE_MAX_BYTES: usize = 1_024 * 1_024;

/// The name of the service, for health checks.
pub use pb::presence_service_server::SERVICE_NAME;

/// The door's routes: the service, health and reflection.
pub fn router(
    service: Arc<Service>,
    metrics: Metrics,
    health: HealthReporter,
) -> Result<Router, tonic_reflection::server::Error> {
    let presence = PresenceServiceServer::new(presence_service::Handler::new(service))
        .max_decoding_message_size(MESSAGE_MAX_BYTES);
    let routes = Routes::new(presence)
        .add_service(
            HealthServer::new(HealthService::from_health_reporter(health))
                .max_decoding_message_size(MESSAGE_MAX_BYTES),
        )
        .add_service(reflection().build_v1()?.max_decoding_message_size(MESSAGE_MAX_BYTES))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(MESSAGE_MAX_BYTES));
    Ok(routes.prepare().into_axum_router().layer(middleware::from_fn_with_state(metrics, layer::observe)))
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
