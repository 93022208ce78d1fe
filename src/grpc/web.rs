//! gRPC-Web: calls from browsers, which arrive at the port of the HTTP API.

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{Method, header::CONTENT_TYPE};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, util::MapRequest};

use super::api::GrpcApi;

/// The services that browsers can call.
const SERVICES: [&str; 2] = ["/presence.v1.PresenceService/", "/grpc.health.v1.Health/"];

/// The content types of the protocol.
const CONTENT_TYPES: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

type GrpcRequest = http::Request<tonic::body::Body>;
type Inner = MapRequest<GrpcApi, fn(GrpcRequest) -> Request>;

/// The gRPC API behind the translation from gRPC-Web. Clones share their state.
#[derive(Clone, Debug)]
pub struct Web(GrpcWebService<Inner>);

impl Web {
    /// The translation in front of `api`.
    #[must_use]
    pub fn new(api: GrpcApi) -> Self {
        let api = MapRequest::new(api, (|request: GrpcRequest| request.map(Body::new)) as fn(_) -> _);
        Self(GrpcWebLayer::new().layer(api))
    }

    /// Whether the request is a gRPC-Web call. Few requests of the HTTP API are, so this checks the
    /// path first.
    #[must_use]
    pub fn accepts(request: &Request) -> bool {
        let path = request.uri().path();
        SERVICES.iter().any(|service| path.starts_with(service))
            && request.method() == Method::POST
            && request
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|given| CONTENT_TYPES.iter().any(|web| given == web))
    }

    /// Handles a call.
    pub fn handle(&self, request: Request) -> impl Future<Output = Response> + Send + use<> {
        let response = self.0.clone().call(request);
        async { response.await.into_response() }
    }
}
