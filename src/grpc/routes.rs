//! The services behind the API.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, body::Body, extract::Request, response::Response};
use futures_util::{FutureExt, TryFutureExt, future::Either};
use tokio::sync::watch;
use tonic::{codec::CompressionEncoding::Gzip, service};
use tower::Service;

use super::{
    health::{HealthHandler, Serving},
    messages::{Cardinality, Messages},
    methods::{HOLD, Method, WATCH},
    pb,
    pb::{health::health_server::HealthServer, presence_service_server::PresenceServiceServer},
    presence_service::Handler,
    state::GrpcState,
};
use crate::{settings::LimitSettings, telemetry::RequestIds};

/// The services behind the API.
///
/// The presence service has no router in front of it: a router would cost a tenth of a call.
#[derive(Debug)]
pub(super) struct Routes {
    presence: PresenceServiceServer<Handler>,
    /// The presence service with a higher limit for messages.
    watch: PresenceServiceServer<Handler>,
    /// The presence service with a lower limit for messages.
    hold: PresenceServiceServer<Handler>,
    /// Health checks and reflection.
    others: Router,
    limits: LimitSettings,
}

impl Routes {
    pub(super) fn new(
        state: &GrpcState,
        serving: watch::Receiver<Serving>,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let limits = state.limits;
        let message_max = limits.message_max();
        let handler =
            Handler::new(Arc::clone(&state.service), state.authenticator.clone(), limits.hold_message_max());
        // The limit holds for the unpacked message, too: unpacking stops there.
        let presence = PresenceServiceServer::new(handler).accept_compressed(Gzip);
        let watch = presence.clone().max_decoding_message_size(limits.long_message_max());
        let hold = presence.clone().max_decoding_message_size(limits.hold_message_max());
        let presence = presence.max_decoding_message_size(message_max);
        let health = HealthServer::new(HealthHandler(serving)).accept_compressed(Gzip);
        let mut others = service::Routes::new(health.max_decoding_message_size(message_max));
        if state.reflection {
            let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
            others = others
                .add_service(v1.max_decoding_message_size(message_max).accept_compressed(Gzip))
                .add_service(v1alpha.max_decoding_message_size(message_max).accept_compressed(Gzip));
        }
        let others = others.prepare().into_axum_router();
        Ok(Self { presence, watch, hold, others, limits })
    }

    /// Sends the request to its service.
    pub(super) fn call(
        &self,
        request: Request,
        method: Method,
        ids: &RequestIds,
    ) -> impl Future<Output = Response> + use<> {
        let cardinality = if method.takes_stream() { Cardinality::Many } else { Cardinality::One };
        let memory = request.extensions().get().cloned();
        let request = request.map(|body| Messages::new(body, ids.clone(), cardinality, memory));
        let response = if method.is_public() {
            Either::Left(self.others.clone().call(request.map(Body::new)))
        } else {
            let mut service = match method.path {
                WATCH => self.watch.clone(),
                HOLD => self.hold.clone(),
                _ => self.presence.clone(),
            };
            Either::Right(service.call(request).map_ok(|response| response.map(Body::new)))
        };
        response.map(|response| response.unwrap_or_else(|never: Infallible| match never {}))
    }

    /// The maximum size of a message of the call at `path`, in bytes.
    pub(super) fn message_max(&self, path: &str) -> usize {
        match path {
            WATCH => self.limits.long_message_max(),
            HOLD => self.limits.hold_message_max(),
            _ => self.limits.message_max(),
        }
    }
}

/// Reflection of all services and of the details of errors: grpcurl shows only details whose types
/// it can look up.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
}
