//! What surrounds every request: its ids, its place in the metrics and the log,
//! and the body of an error.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{Context, refusal::finish};
use crate::telemetry::{self, RequestId, RequestTimer};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
/// What a client may have us echo, in bytes.
const CLIENT_REQUEST_ID_MAX: usize = 128;

/// Answers one request, with `request-id` and `client-request-id`, which is the
/// same where the client sent none.
pub(super) async fn observe(State(context): State<Context>, mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let mut timer = RequestTimer::start(&context.metrics, telemetry::Door::Graph, id);
    timer.operation =
        request.extensions().get::<MatchedPath>().map_or("unknown", |path| operation(path.as_str()));

    let own = HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
    let client_id = request.headers_mut().remove(CLIENT_REQUEST_ID);
    let client_id = client_id.filter(|id| id.len() <= CLIENT_REQUEST_ID_MAX).unwrap_or_else(|| own.clone());
    let mut response = finish(next.run(request).await, id, &client_id, context.clock.now());
    response.headers_mut().insert(REQUEST_ID, own);
    response.headers_mut().insert(CLIENT_REQUEST_ID, client_id);

    timer.finish(code_name(response.status()));
    response
}

/// The operation that the route stands for, in the service's words.
fn operation(route: &str) -> &'static str {
    let last = route.rsplit('/').next().unwrap_or_default();
    match last.strip_prefix("microsoft.graph.").unwrap_or(last) {
        "presence" | "{id}" => "get_presence",
        "setPresence" => "set_presence",
        "clearPresence" => "clear_presence",
        "getPresencesByUserId" => "batch_get_presences",
        _ => "unknown",
    }
}

/// The status as a metric's label.
const fn code_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        400 => "400",
        404 => "404",
        405 => "405",
        413 => "413",
        415 => "415",
        429 => "429",
        500 => "500",
        503 => "503",
        504 => "504",
        _ => "other",
    }
}
