//! The HTTP API: Microsoft Graph's presence API as HTTP/JSON, on Graph's paths.
//!
//! A handler decodes the request, calls one method of the service and encodes the result.

mod batch;
mod body;
mod browsers;
mod docs;
mod events;
mod filter;
mod handlers;
mod history;
mod ids;
mod key_set;
mod layer;
mod matched;
mod me;
mod odata;
mod openapi;
mod operation;
mod operations;
mod paths;
mod preferences;
mod properties;
mod read;
mod refusal;
mod requests;
mod resource;
mod responses;
mod routes;
mod schemas;
mod state;
mod subscription_operations;
mod subscriptions;
mod unknown;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    response::Response,
    routing::MethodRouter,
};
use futures_util::future::BoxFuture;
use http::{Method, header::CONTENT_LENGTH};
use matchit::InsertError;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;

use crate::{grpc::Web, server::MemoryFull, service::Error};
use paths::{BATCH_PATH, VERSIONS};
use refusal::Refusal;
use routes::{Route, RouteTable};

pub use openapi::document;
pub use state::HttpState;

/// An error in the configuration of the API.
#[derive(Debug, thiserror::Error)]
pub enum HttpApiError {
    /// An origin is not a valid header value.
    #[error("--cors-origins contains an invalid origin: {0}")]
    Origin(#[from] http::header::InvalidHeaderValue),
    /// Two operations have the same path.
    #[error(transparent)]
    Path(#[from] InsertError),
}

/// The HTTP API as a service; cheap to clone.
///
/// The steps around an operation are function calls instead of axum layers. A layer costs
/// about a microsecond, which is half of the cost of the rest of a request.
#[derive(Clone, Debug)]
pub struct HttpApi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Arc<HttpState>,
    /// The operations that a batch can contain.
    batchable: Arc<RouteTable>,
    /// The batch itself, the stream of presences, and the document.
    others: RouteTable,
    /// Adds CORS headers, if pages of other origins may call.
    cors: Option<CorsLayer>,
}

impl HttpApi {
    /// Makes the routes, those of the document only with `reflection`.
    pub fn new(state: HttpState, reflection: bool) -> Result<Self, HttpApiError> {
        let cors = browsers::cors(&state.cors_origins)?;
        let state = Arc::new(state);
        let (batchable, mut others) = tables(&state)?;
        let batchable = Arc::new(batchable);
        let batch = batch::methods(Arc::clone(&batchable), Arc::clone(&state));
        for version in VERSIONS {
            others.add(Route::new(&batch::OPERATION, version, BATCH_PATH, batch.clone()))?;
        }
        key_set::add_route(&mut others)?;
        if reflection {
            docs::add_routes(&mut others)?;
        }
        Ok(Self(Arc::new(Inner { state, batchable, others, cors })))
    }
}

impl HttpApi {
    /// The response to a request for which there is no memory.
    #[must_use]
    pub fn refuse(&self, full: MemoryFull) -> Response {
        layer::refuse(&self.0.state, Error::from(full).into())
    }
}

/// The routes of every operation in both versions: those that a batch can contain, and the
/// streams, whose responses do not end.
fn tables(state: &Arc<HttpState>) -> Result<(RouteTable, RouteTable), InsertError> {
    let mut batchable = RouteTable::new(Arc::clone(state));
    let mut streams = RouteTable::new(Arc::clone(state));
    for version in VERSIONS {
        for (path, operation) in operations::all() {
            let methods: MethodRouter = (operation.route)().with_state(Arc::clone(state));
            let table = if operation.response.is_stream() { &mut streams } else { &mut batchable };
            table.add(Route::new(&operation, version, &path, methods))?;
        }
    }
    Ok((batchable, streams))
}

impl Service<Request> for HttpApi {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Ok(inner.handle(request).await) })
    }
}

impl Inner {
    /// Handles a request, from the outside in: security headers, the checks of every path, CORS, gRPC-Web,
    /// the canonical path, and the work around each operation ([`RouteTable::respond`]).
    ///
    /// Responses are not compressed: it would take 0.6 ms of the worker's time for a bulk read, and
    /// hundreds of KiB for as long as the client takes to read the response. A proxy can do it.
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let policy = browsers::security_policy(request.uri().path());
        let (encrypted, is_head) = (self.state.encrypted, request.method() == Method::HEAD);
        let mut response = if let Err(refusal) = self.admit(&request) {
            layer::refuse(&self.state, refusal)
        } else if let Some(cors) = &self.cors {
            let inner = Arc::clone(&self);
            let within = service_fn(move |request| {
                let inner = Arc::clone(&inner);
                async move { Ok::<_, Infallible>(inner.route(request).await) }
            });
            infallible(cors.layer(within).oneshot(request).await)
        } else {
            self.route(request).await
        };
        browsers::add_security_headers(response.headers_mut(), policy, encrypted);
        if is_head { without_body(response) } else { response }
    }

    /// Refuses a request that no path may answer.
    fn admit(&self, request: &Request) -> Result<(), Refusal> {
        layer::check_header_size(&self.state, request)?;
        browsers::check_host(&self.state, request)?;
        browsers::check_origin(&self.state, request)
    }

    /// Passes a request in gRPC-Web on, and responds to any other request.
    async fn route(self: Arc<Self>, request: Request) -> Response {
        if Web::accepts(&request) {
            return self.state.web.handle(request).await;
        }
        if let Some(refused) = self.state.web.misdirected(&request) {
            return refused.unwrap_or_else(|text| layer::refuse_grpc(&self.state, &text));
        }
        let request = paths::canonicalize(request);
        let table = if self.others.has(request.uri().path()) { &self.others } else { &*self.batchable };
        table.respond(request).await
    }
}

/// The response to HEAD: the length of the body without the body. hyper removes a body
/// over HTTP/1 only, and errors have one.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    Response::from_parts(parts, Body::empty())
}

fn infallible<T>(result: Result<T, Infallible>) -> T {
    result.unwrap_or_else(|never| match never {})
}
