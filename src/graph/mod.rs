//! The Graph context: Microsoft Graph's presence API as HTTP/JSON, on its paths.
//!
//! Decodes, calls one method of the service, encodes.

mod actions;
mod answers;
mod batch;
mod body;
mod browsers;
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
use http::header::InvalidHeaderValue;
use tower::ServiceBuilder;
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, predicate::SizeAbove},
    decompression::RequestDecompressionLayer,
};

use crate::{auth::Gate, clock::Clock, service::Service, settings::LimitSettings, telemetry::Metrics};
use batch::Batching;

pub use batch::REQUESTS_MAX as BATCH_REQUESTS_MAX;
pub use openapi::document;

/// The smallest body that is packed, in bytes: less than this saves nothing.
const COMPRESS_MIN_BYTES: u64 = 256;

/// The versions of Graph's API; both offer the same.
const VERSIONS: [&str; 2] = ["/v1.0", "/beta"];

/// What a request of this door needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The operations.
    pub service: Arc<Service>,
    /// Lets callers in.
    pub gate: Gate,
    /// For the dates in errors.
    pub clock: Clock,
    /// For the requests that are answered.
    pub metrics: Metrics,
    /// What one client may take.
    pub limits: LimitSettings,
    /// Whether this door speaks TLS itself.
    pub encrypted: bool,
    /// Origins whose pages may call from a browser.
    pub cors_origins: Arc<[String]>,
}

/// The door's routes. The error names an origin that is none.
pub fn router(context: Context, reflection: bool) -> Result<Router, InvalidHeaderValue> {
    let context = &Arc::new(context);
    let api = for_callers(context, api().with_state(context.clone()));
    let batching = Batching { api: api.clone(), context: context.clone() };
    let batches = VERSIONS.into_iter().fold(Router::new(), |router, version| {
        router.route(&format!("{version}{}", batch::PATH), post(batch::batch))
    });
    let mut outer = for_callers(context, batches.with_state(batching));
    if reflection {
        outer = outer.merge(observed(context, docs::router()));
    }
    // From the outside in: what browsers must know, and pages of which origins
    // may see; one spelling of each path, before anything looks at it; then
    // answers are packed for those who ask, errors included.
    let spelled = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(context.clone(), browsers::guard))
        .option_layer(browsers::cors(&context.cors_origins)?)
        .map_request(paths::rewrite)
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(SizeAbove::new(COMPRESS_MIN_BYTES)),
        )
        .service(outer.fallback_service(api));
    Ok(Router::new().fallback_service(spelled))
}

/// Every operation at each of its paths, in both versions. They stand side by
/// side: a nested router would take its part off each request's path.
fn api() -> Router<Arc<Context>> {
    VERSIONS.into_iter().fold(Router::new(), |router, version| {
        operations::all().fold(router, |router, (path, operation)| {
            router.route(&format!("{version}{path}"), (operation.route)())
        })
    })
}

/// What surrounds each request of a caller, from the outside in: what surrounds
/// all; who calls; then its body is unpacked.
fn for_callers(context: &Arc<Context>, router: Router) -> Router {
    let router = router.layer(RequestDecompressionLayer::new());
    observed(context, router.layer(middleware::from_fn_with_state(context.clone(), layer::admit)))
}

/// What surrounds every request: its ids, its place in the metrics and the log,
/// and the body of an error.
fn observed(context: &Arc<Context>, router: Router) -> Router {
    router.layer(middleware::from_fn_with_state(context.clone(), layer::observe))
}
