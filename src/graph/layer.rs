//! The work around every operation: request ids, metrics, logs, authentication, and
//! the bodies of errors.

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
    paths::VERSIONS,
    refusal::{Refusal, finish},
    routes::{Route, RouteTable},
    state::HttpState,
};
use crate::telemetry::{Api, RequestTimer};

impl RouteTable {
    /// Responds to one request; the response has `request-id` and `client-request-id`.
    pub(super) async fn respond(&self, mut request: Request) -> Response {
        let state = &*self.state;
        let mut timer = RequestTimer::start(&state.metrics, &state.traces, Api::Http, request.headers());
        let route = self.find(&mut request, timer.id);
        timer.operation = route.map_or("unknown", |route| route.operation);
        if let Some(span) = &mut timer.span {
            span.http(request.method(), route.map(|route| &*route.path));
        }

        let ids = Ids::of(timer.id, request.headers());
        let response = timer.work(pin!(run(state, route, request))).await;
        let response = complete(response, state, ids);
        timer.finish(code_name(response.status()), response.status().as_u16());
        response
    }
}

/// Authenticates the caller, decompresses the body and runs the operation. Only an
/// authenticated caller learns that a path does not exist.
async fn run(state: &HttpState, route: Option<&Route>, mut request: Request) -> Response {
    if route.is_none_or(|route| !route.public) {
        match state.authenticator.authenticate(request.headers()).await {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(error) => return Refusal::from(error).into_response(),
        }
    }
    let Some(route) = route else { return not_found(request.uri().path()).into_response() };
    let mut methods = route.methods.clone();
    let response = if !route.public && request.headers().contains_key(CONTENT_ENCODING) {
        RequestDecompression::new(methods).oneshot(request).await.map(|response| response.map(Body::new))
    } else {
        methods.call(request).await
    };
    response.unwrap_or_else(|never| match never {})
}

/// The refusal of a path that has no route.
fn not_found(path: &str) -> Refusal {
    let [v1, beta] = VERSIONS;
    let versioned = VERSIONS.iter().any(|version| {
        path.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let message = if versioned {
        "No resource has this path.".to_owned()
    } else {
        format!("No resource has this path. Paths of the API begin with {v1} or {beta}.")
    };
    Refusal::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
}

/// The response to a request, or an item of a batch, that is refused before it is routed.
pub(super) fn refuse(state: &HttpState, refusal: Refusal) -> Response {
    complete(refusal.into_response(), state, Ids::new())
}

/// Adds the ids, and the body if the response is an error.
fn complete(response: Response, state: &HttpState, ids: Ids) -> Response {
    let mut response = finish(response, &ids, state.clock.now());
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
