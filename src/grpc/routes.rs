//! The services behind the API.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, body::Body, extract::Request, response::Response};
use futures_util::{FutureExt, TryFutureExt, future::Either};
use tonic::service;
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tower::Service;

use super::{
    methods::{Method, WATCH},
    pb,
    pb::presence_service_server::PresenceServiceServer,
    presence_service::Handler,
    state::GrpcState,
};
use crate::settings::LimitSettings;

/// The services behind the API.
///
/// The presence service has no router in front of it: a router would cost a tenth of a call.
#[derive(Debug)]
pub(super) struct Routes {
    presence: PresenceServiceServer<Handler>,
    /// The presence service with a higher limit for messages.
    watch: PresenceServiceServer<Handler>,
    /// Health checks and reflection.
    others: Router,
    limits: LimitSettings,
}

impl Routes {
    pub(super) fn new(
        state: &GrpcState,
        health: HealthReporter,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let limits = state.limits;
        let message_max = limits.message_max();
        let handler = Handler::new(Arc::clone(&state.service), state.authenticator.clone());
        let presence = PresenceServiceServer::new(handler);
        let watch = presence.clone().max_decoding_message_size(limits.long_message_max());
        let presence = presence.max_decoding_message_size(message_max);
        let health = HealthServer::new(HealthService::from_health_reporter(health));
        let mut others = service::Routes::new(health.max_decoding_message_size(message_max));
        if state.reflection {
            others = others
                .add_service(reflection().build_v1()?.max_decoding_message_size(message_max))
                .add_service(reflection().build_v1alpha()?.max_decoding_message_size(message_max));
        }
        let others = others.prepare().into_axum_router();
        Ok(Self { presence, watch, others, limits })
    }

    /// Sends the request to its service. The presence service rejects unknown methods.
    pub(super) fn call(
        &self,
        request: Request,
        method: Option<Method>,
    ) -> impl Future<Output = Response> + use<> {
        let response = if method.is_some_and(Method::is_public) {
            Either::Left(self.others.clone().call(request))
        } else {
            let watch = request.uri().path() == WATCH;
            let mut service = if watch { self.watch.clone() } else { self.presence.clone() };
            Either::Right(service.call(request).map_ok(|response| response.map(Body::new)))
        };
        response.map(|response| response.unwrap_or_else(|never: Infallible| match never {}))
    }

    /// The maximum size of a message of the call at `path`, in bytes.
    pub(super) fn message_max(&self, path: &str) -> usize {
        if path == WATCH { self.limits.long_message_max() } else { self.limits.message_max() }
    }
}

/// Reflection of all services and of the details of errors: grpcurl shows only details whose types
/// it can look up.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
}
