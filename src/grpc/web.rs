//! gRPC-Web: calls from browsers, which arrive at the port of the HTTP API. And calls of gRPC that
//! arrive there by mistake.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    Method, Version,
    header::{CONTENT_TYPE, TE},
};
use tonic::Status;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, util::MapRequest};

use super::{api::GrpcApi, protocol, status::without_retry};

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
pub struct Web {
    translation: GrpcWebService<Inner>,
    /// The text for clients of gRPC.
    elsewhere: Arc<str>,
}

impl Web {
    /// The translation in front of `api`, which listens at `address`.
    #[must_use]
    pub fn new(api: GrpcApi, address: SocketAddr) -> Self {
        let elsewhere = if address.ip().is_unspecified() {
            format!("port {}", address.port())
        } else {
            address.to_string()
        };
        let elsewhere =
            format!("This is the HTTP API. Send gRPC calls to the gRPC API, at {elsewhere} (--grpc-addr).");
        let api = MapRequest::new(api, (|request: GrpcRequest| request.map(Body::new)) as fn(_) -> _);
        Self { translation: GrpcWebLayer::new().layer(api), elsewhere: elsewhere.into() }
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

    /// The refusal of a call of gRPC, which belongs to the other API: a response that shows its text
    /// in a client of gRPC, or the text.
    pub fn misdirected(&self, request: &Request) -> Option<Result<Response, Arc<str>>> {
        if !protocol::is_grpc(request.headers()) {
            return None;
        }
        let is_client = request.version() == Version::HTTP_2
            && request.headers().get(TE).is_some_and(|te| te == "trailers");
        Some(if is_client {
            Ok(without_retry(Status::unimplemented(&*self.elsewhere)).into_http())
        } else {
            Err(Arc::clone(&self.elsewhere))
        })
    }

    /// Handles a call.
    pub fn handle(&self, request: Request) -> impl Future<Output = Response> + Send + use<> {
        let response = self.translation.clone().call(request);
        async { response.await.into_response() }
    }
}
