//! What surrounds every request: its ids, its place in the metrics and the log,
//! and the body of an error; and who calls.

use std::pin::pin;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::CONTENT_ENCODING};
use tower::{Service, ServiceExt};
use tower_http::decompression::RequestDecompression;

use super::{
    ids::Ids,
    refusal::{Refusal, finish},
    routes::{Route, RouteTable},
    state::HttpState,
};
use crate::telemetry::{Api, RequestTimer};

impl RouteTable {
    /// Answers one request, with `request-id` and `client-request-id`, which is the
    /// same where the client sent none.
    pub(super) async fn answer(&self, mut request: Request) -> Response {
        let context = &*self.context;
        let mut timer = RequestTimer::start(&context.metrics, &context.traces, Api::Http, request.headers());
        let route = self.find(&mut request, timer.id);
        timer.operation = route.map_or("unknown", |route| route.operation);
        if let Some(span) = &mut timer.span {
            span.http(request.method(), route.map(|route| &*route.path));
        }

        let ids = Ids::of(timer.id, request.headers());
        let response = timer.work(pin!(admit(context, route, request))).await;
        let response = identified(response, context, ids);
        timer.finish(code_name(response.status()), response.status().as_u16());
        response
    }
}

/// Lets the caller in, and has the operation know who it is; then its body is
/// unpacked. Only who is let in learns that there is nothing at a path.
async fn admit(context: &HttpState, route: Option<&Route>, mut request: Request) -> Response {
    if route.is_none_or(|route| !route.open) {
        match context.authenticator.authenticate(request.headers()).await {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(error) => return Refusal::from(error).into_response(),
        }
    }
    let Some(route) = route else { return StatusCode::NOT_FOUND.into_response() };
    let mut methods = route.methods.clone();
    let answer = if !route.open && request.headers().contains_key(CONTENT_ENCODING) {
        RequestDecompression::new(methods).oneshot(request).await.map(|answer| answer.map(Body::new))
    } else {
        methods.call(request).await
    };
    answer.unwrap_or_else(|never| match never {})
}

/// A refusal as the answer to a request that never was one: a batch's item.
pub(super) fn finish_refusal(context: &HttpState, refusal: Refusal) -> Response {
    identified(refusal.into_response(), context, Ids::new())
}

/// The answer with the body of an error, if it is one, and its ids.
fn identified(response: Response, context: &HttpState, ids: Ids) -> Response {
    let mut response = finish(response, &ids, context.clock.now());
    ids.add_to(response.headers_mut());
    response
}

/// The status as a metric's label.
const fn code_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        204 => "204",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        413 => "413",
        415 => "415",
        429 => "429",
        500 => "500",
        503 => "503",
        504 => "504",
        _ => "other",
    }
}
