//! What surrounds every request: its ids, its place in the metrics and the log,
//! and the body of an error; and who calls.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    Context,
    operations::name_of,
    refusal::{Refusal, finish},
};
use crate::telemetry::{self, RequestId, RequestTimer};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
/// What a client may have us echo, in bytes.
const CLIENT_REQUEST_ID_MAX: usize = 128;

/// Answers one request, with `request-id` and `client-request-id`, which is the
/// same where the client sent none.
pub(super) async fn observe(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::new();
    let mut timer = RequestTimer::start(&context.metrics, telemetry::Door::Graph, id);
    timer.operation =
        request.extensions().get::<MatchedPath>().map_or("unknown", |route| name_of(route.as_str()));

    let client_id = request.headers_mut().remove(CLIENT_REQUEST_ID);
    let client_id = client_id.filter(|id| id.len() <= CLIENT_REQUEST_ID_MAX).unwrap_or_else(|| header(id));
    let response = identified(next.run(request).await, &context, id, client_id);
    timer.finish(code_name(response.status()));
    response
}

/// Lets the caller in, and has the operation know who it is.
pub(super) async fn admit(State(context): State<Arc<Context>>, mut request: Request, next: Next) -> Response {
    match context.gate.admit(request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => Refusal::from(error).into_response(),
    }
}

/// A refusal as the answer to a request that never was one: a batch's item.
pub(super) fn finish_refusal(context: &Context, refusal: Refusal) -> Response {
    let id = RequestId::new();
    identified(refusal.into_response(), context, id, header(id))
}

/// The answer with the body of an error, if it is one, and its ids.
fn identified(response: Response, context: &Context, id: RequestId, client_id: HeaderValue) -> Response {
    let mut response = finish(response, id, &client_id, context.clock.now());
    response.headers_mut().insert(REQUEST_ID, header(id));
    response.headers_mut().insert(CLIENT_REQUEST_ID, client_id);
    response
}

fn header(id: RequestId) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
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
