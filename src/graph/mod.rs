//! The Graph context: Microsoft Graph's presence API as HTTP/JSON, on its paths.
//!
//! Decodes, calls one method of the service, encodes.

mod actions;
mod answers;
mod batch;
mod body;
mod docs;
mod layer;
mod odata;
mod openapi;
mod operations;
mod paths;
mod refusal;
mod requests;

use std::sync::Arc;

use axum::{Router, middleware, routing::post};
use tower::ServiceBuilder;
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, predicate::SizeAbove},
    decompression::RequestDecompressionLayer,
};

use crate::{clock::Clock, service::Service, telemetry::Metrics};
use batch::Batching;

pub use openapi::document;

/// The largest body that is let in, in bytes, once it is unpacked.
pub const BODY_MAX_BYTES: usize = 1_024 * 1_024;

/// The smallest body that is packed, in bytes: less than this saves nothing.
const COMPRESS_MIN_BYTES: u64 = 256;

/// The versions of Graph's API; both offer the same.
const VERSIONS: [&str; 2] = ["/v1.0", "/beta"];

/// What a request of this door needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The operations.
    pub service: Arc<Service>,
    /// For the dates in errors.
    pub clock: Clock,
    /// For the requests that are answered.
    pub metrics: Metrics,
}

/// The door's routes.
pub fn router(context: &Context) -> Router {
    let api = with_layers(context, api().with_state(context.clone()));
    let batching = Batching { api: api.clone(), context: context.clone() };
    let batches = VERSIONS.into_iter().fold(Router::new(), |router, version| {
        router.route(&format!("{version}{}", batch::PATH), post(batch::batch))
    });
    let outer = batches.with_state(batching).merge(docs::router());
    let outer = with_layers(context, outer).fallback_service(api);
    // From the outside in: one spelling of each path, before anything looks at
    // it; then answers are packed for those who ask, errors included.
    let spelled = ServiceBuilder::new()
        .map_request(paths::rewrite)
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(SizeAbove::new(COMPRESS_MIN_BYTES)),
        )
        .service(outer);
    Router::new().fallback_service(spelled)
}

/// Every operation at each of its paths, in both versions.
fn api() -> Router<Context> {
    let api = operations::all()
        .fold(Router::new(), |router, (path, operation)| router.route(&path, (operation.route)()));
    VERSIONS.into_iter().fold(Router::new(), |router, version| router.nest(version, api.clone()))
}

/// What surrounds each request, from the outside in: its ids, its place in the
/// metrics and the log, and the body of an error; then its body is unpacked.
fn with_layers(context: &Context, router: Router) -> Router {
    router
        .layer(RequestDecompressionLayer::new())
        .layer(middleware::from_fn_with_state(context.clone(), layer::observe))
}
