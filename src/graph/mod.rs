//! The Graph context: Microsoft Graph's presence API as HTTP/JSON, on its paths.
//!
//! Decodes, calls one method of the service, encodes.

mod batch;
mod body;
mod browsers;
mod docs;
mod events;
mod handlers;
mod ids;
mod layer;
mod matched;
mod odata;
mod openapi;
mod operations;
mod paths;
mod refusal;
mod requests;
mod responses;
mod routes;
mod schemas;
mod state;

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
use http::{
    Method,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH},
};
use matchit::InsertError;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::{
    CompressionLevel,
    compression::{
        Compression, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
    cors::CorsLayer,
};

use crate::grpc::Web;
use paths::{BATCH_PATH, VERSIONS};
use routes::{Route, RouteTable};

pub use openapi::document;
pub use state::HttpState;

/// The smallest body that is packed, in bytes: less than this saves nothing.
const COMPRESS_MIN_BYTES: u16 = 256;

/// Why the API can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum HttpApiError {
    /// An origin is none.
    #[error("--cors-origins: {0}")]
    Origin(#[from] http::header::InvalidHeaderValue),
    /// Two operations have one path.
    #[error(transparent)]
    Path(#[from] InsertError),
}

/// The API; clones are the same.
///
/// What surrounds a request is called function by function rather than stacked as
/// axum's layers, each of which would cost about a microsecond: half of what the
/// rest of a call costs.
#[derive(Clone, Debug)]
pub struct HttpApi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: Arc<HttpState>,
    /// What a batch may ask for.
    api: Arc<RouteTable>,
    /// What it may not: another batch, a stream, and the document.
    others: RouteTable,
    /// What pages of other origins are told, if any may call.
    cors: Option<CorsLayer>,
}

impl HttpApi {
    /// The API's routes; with `reflection` the document is among them.
    pub fn new(context: HttpState, reflection: bool) -> Result<Self, HttpApiError> {
        let cors = browsers::cors(&context.cors_origins)?;
        let context = Arc::new(context);
        let (api, mut others) = tables(&context)?;
        let api = Arc::new(api);
        let batch = batch::methods(Arc::clone(&api), Arc::clone(&context));
        for version in VERSIONS {
            others.add(Route::new(batch::OPERATION.name, version, BATCH_PATH, batch.clone()))?;
        }
        if reflection {
            docs::add_to(&mut others)?;
        }
        Ok(Self(Arc::new(Inner { context, api, others, cors })))
    }
}

/// Every operation at each of its paths, in both versions: what a batch may ask for,
/// and what it may not, as it would never be answered.
fn tables(context: &Arc<HttpState>) -> Result<(RouteTable, RouteTable), InsertError> {
    let (mut api, mut streams) = (RouteTable::new(Arc::clone(context)), RouteTable::new(Arc::clone(context)));
    for version in VERSIONS {
        for (path, operation) in operations::all() {
            let methods: MethodRouter = (operation.route)().with_state(Arc::clone(context));
            let table = if operation.answer.is_stream() { &mut streams } else { &mut api };
            table.add(Route::new(operation.name, version, &path, methods))?;
        }
    }
    Ok((api, streams))
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
        Box::pin(async move { Ok(inner.guard(request).await) })
    }
}

impl Inner {
    /// Has a request answered, from the outside in: what browsers must know, and
    /// pages of which origins may see; one spelling of each path, before anything
    /// looks at it; answers packed for those who ask, errors included; then what
    /// surrounds each operation ([`RouteTable::answer`]).
    async fn guard(self: Arc<Self>, request: Request) -> Response {
        let policy = browsers::policy(request.uri().path());
        let (encrypted, bodiless) = (self.context.encrypted, request.method() == Method::HEAD);
        let mut response = if browsers::is_foreign(&self.context, &request) {
            layer::finish_refusal(&self.context, browsers::foreign_page())
        } else if let Some(cors) = &self.cors {
            let inner = Arc::clone(&self);
            let within = service_fn(move |request| {
                let inner = Arc::clone(&inner);
                async move { Ok::<_, Infallible>(inner.pack(request).await) }
            });
            infallible(cors.layer(within).oneshot(request).await)
        } else {
            self.pack(request).await
        };
        browsers::protect(response.headers_mut(), policy, encrypted);
        if bodiless { without_body(response) } else { response }
    }

    /// Passes a call in gRPC-Web on; answers the rest, packed if the client says that
    /// it can unpack.
    async fn pack(self: Arc<Self>, request: Request) -> Response {
        if Web::accepts(&request) {
            return self.context.web.handle(request).await;
        }
        let request = paths::rewrite(request);
        if !request.headers().contains_key(ACCEPT_ENCODING) {
            return self.answer(request).await;
        }
        let within = service_fn(|request| {
            let inner = Arc::clone(&self);
            async move { Ok::<_, Infallible>(inner.answer(request).await) }
        });
        let packing = Compression::new(within)
            .quality(CompressionLevel::Fastest)
            .compress_when(SizeAbove::new(COMPRESS_MIN_BYTES.into()).and(NotForContentType::SSE));
        infallible(packing.oneshot(request).await).map(Body::new)
    }

    async fn answer(&self, request: Request) -> Response {
        let table = if self.others.has(request.uri().path()) { &self.others } else { &*self.api };
        table.answer(request).await
    }
}

/// The answer to HEAD: it says how long the body would be. An error has one, too,
/// and over HTTP/2 nobody else would leave it out.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    Response::from_parts(parts, Body::empty())
}

fn infallible<T>(outcome: Result<T, Infallible>) -> T {
    outcome.unwrap_or_else(|never| match never {})
}
