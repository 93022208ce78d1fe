//! The gRPC API as one `tower` service.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tower::Service;

use super::{health::Serving, layer::Layer, routes::Routes, state::GrpcState, status::to_status};
use crate::{
    server::MemoryFull,
    service::Error,
    telemetry::{RequestId, RequestIds},
};

/// The API: the presence service, health checks and reflection. Clones share their state.
#[derive(Clone, Debug)]
pub struct GrpcApi(Arc<Layer>);

impl GrpcApi {
    /// The API with these dependencies. `serving` is what health checks report.
    pub fn new(
        state: GrpcState,
        serving: watch::Receiver<Serving>,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let routes = Routes::new(&state, serving)?;
        Ok(Self(Arc::new(Layer { state, routes })))
    }
}

impl GrpcApi {
    /// The response to a call for which there is no memory.
    #[must_use]
    pub fn refuse(&self, full: MemoryFull) -> Response {
        let ids = RequestIds { own: RequestId::new(), client: None };
        to_status(&Error::from(full), &ids).into_http()
    }
}

impl Service<Request> for GrpcApi {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let layer = Arc::clone(&self.0);
        Box::pin(async move { Ok(layer.handle(request).await) })
    }
}
