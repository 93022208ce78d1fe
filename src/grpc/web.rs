//! gRPC-Web: the same calls from browsers, which come to the HTTP API.

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{Method, header::CONTENT_TYPE};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, util::MapRequest};

use super::GrpcApi;

/// What may be called.
const SERVICES: [&str; 2] = ["/presence.v1.PresenceService/", "/grpc.health.v1.Health/"];

/// What a call says it is, as the protocol spells it.
const CONTENT_TYPES: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

type Plain = http::Request<tonic::body::Body>;
type OfPlain = MapRequest<GrpcApi, fn(Plain) -> Request>;

/// the gRPC API behind what translates; clones are the same.
#[derive(Clone, Debug)]
pub struct Web(GrpcWebService<OfPlain>);

impl Web {
    /// Calls of these routes.
    #[must_use]
    pub fn new(routes: GrpcApi) -> Self {
        let plain = MapRequest::new(routes, (|request: Plain| request.map(Body::new)) as fn(_) -> _);
        Self(GrpcWebLayer::new().layer(plain))
    }

    /// Whether the request is a call. Nearly none is, which its path tells.
    #[must_use]
    pub fn takes(request: &Request) -> bool {
        let path = request.uri().path();
        SERVICES.iter().any(|service| path.starts_with(service))
            && request.method() == Method::POST
            && request.headers().get(CONTENT_TYPE).is_some_and(|of| CONTENT_TYPES.iter().any(|web| of == web))
    }

    /// Answers a call.
    pub fn answer(&self, request: Request) -> impl Future<Output = Response> + Send + use<> {
        let answer = self.0.clone().call(request);
        async { answer.await.into_response() }
    }
}
