//! the gRPC API: decodes, calls one method of the service, encodes.

mod convert;
mod layer;
mod presence_service;
mod status;
mod web;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use futures_util::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, Either},
};
use tonic::service;
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tower::Service;

use crate::{
    auth::Gate,
    service::{Caller, Service as Operations},
    settings::LimitSettings,
    telemetry::{Metrics, RequestId, Traces},
};
use pb::presence_service_server::PresenceServiceServer;

/// The generated code of `proto/presence/v1`.
#[expect(clippy::pedantic, reason = "generated")]
pub mod pb {
    tonic::include_proto!("presence.v1");

    /// The descriptors of all files, with their comments, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/presence_v1.bin"));
}

pub use web::Web;

/// The name of the service, for health checks.
pub use pb::presence_service_server::SERVICE_NAME;

/// What a call of this API needs.
#[derive(Clone, Debug)]
pub struct GrpcState {
    /// The operations.
    pub service: Arc<Operations>,
    /// Lets callers in.
    pub gate: Gate,
    /// For the calls that are answered.
    pub metrics: Metrics,
    /// The same.
    pub traces: Traces,
    /// What one client may take.
    pub limits: LimitSettings,
    /// Whether there is reflection.
    pub reflection: bool,
}

/// The API: the service, health and reflection; clones are the same.
///
/// Calls of the service take no way through a router: it would cost a tenth of
/// what a call costs.
#[derive(Clone, Debug)]
pub struct GrpcApi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: GrpcState,
    presence: PresenceServiceServer<presence_service::Handler>,
    /// The same for longer messages.
    watch: PresenceServiceServer<presence_service::Handler>,
    others: Router,
}

impl GrpcApi {
    /// The API's routes.
    pub fn new(context: GrpcState, health: HealthReporter) -> Result<Self, tonic_reflection::server::Error> {
        let message_max = context.limits.message_max();
        let presence =
            PresenceServiceServer::new(presence_service::Handler::new(Arc::clone(&context.service)));
        let watch = presence.clone().max_decoding_message_size(context.limits.long_message_max());
        let presence = presence.max_decoding_message_size(message_max);
        let health = HealthServer::new(HealthService::from_health_reporter(health));
        let mut others = service::Routes::new(health.max_decoding_message_size(message_max));
        if context.reflection {
            others = others
                .add_service(reflection().build_v1()?.max_decoding_message_size(message_max))
                .add_service(reflection().build_v1alpha()?.max_decoding_message_size(message_max));
        }
        let others = others.prepare().into_axum_router();
        Ok(Self(Arc::new(Inner { context, presence, watch, others })))
    }
}

impl Service<Request> for GrpcApi {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Ok(inner.observe(request).await) })
    }
}

/// A call that was let in: one of its request's extensions.
#[derive(Clone, Debug)]
struct Admitted {
    id: RequestId,
    /// None where no token is asked for.
    caller: Option<Caller>,
}

impl Inner {
    /// Has a call of the service answered, or one of those that take no token. The
    /// service says of what is neither that there is no such method.
    fn answer(&self, request: Request, open: bool) -> impl Future<Output = Response> + use<> {
        let answer = if open {
            Either::Left(self.others.clone().call(request))
        } else {
            let watch = request.uri().path() == layer::WATCH;
            let mut service = if watch { self.watch.clone() } else { self.presence.clone() };
            Either::Right(service.call(request).map_ok(|answer| answer.map(Body::new)))
        };
        answer.map(|answer| answer.unwrap_or_else(|never: Infallible| match never {}))
    }

    /// How long the message of the call at `path` may be, in bytes.
    fn message_max(&self, path: &str) -> usize {
        let limits = self.context.limits;
        if path == layer::WATCH { limits.long_message_max() } else { limits.message_max() }
    }
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
