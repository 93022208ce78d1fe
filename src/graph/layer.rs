//! The work around every operation: request ids, metrics, logs, authentication, and
//! the bodies of errors.

use std::{convert::Infallible, pin::pin};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_ENCODING, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE},
};
use tower::{Service, ServiceExt, service_fn};
use tower_http::decompression::RequestDecompression;
use tracing::debug;

use super::{
    body::read_unused,
    ids::Ids,
    odata::unknown_options,
    paths::{ME_PATH, VERSIONS},
    preferences::{Handling, PREFERENCE_APPLIED},
    refusal::{Refusal, finish},
    routes::{Route, RouteTable},
    state::HttpState,
    unknown::{IGNORED, Unknown},
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
        // A batch has passed its own preference on.
        let preferred =
            Handling::of(request.headers()).or_else(|| request.extensions().get::<Handling>().copied());
        let (unknown, applied) = Handling::apply(preferred, state.reject_unknown);
        request.extensions_mut().insert(unknown.clone());
        let response = timer.work(pin!(run(state, route, request))).await;
        let mut response = complete(response, state, ids);
        if let Some(names) = unknown.header() {
            state.metrics.input_ignored(timer.operation);
            debug!(operation = timer.operation, ?names, request_id = %timer.id, "unknown input ignored");
            response.headers_mut().insert(IGNORED, names);
        }
        if let Some(applied) = applied {
            response.headers_mut().insert(PREFERENCE_APPLIED, applied);
        }
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
    if route.public || !request.headers().contains_key(CONTENT_ENCODING) {
        return operate(state, route, request).await;
    }
    let within = service_fn(|request: http::Request<_>| async {
        Ok::<_, Infallible>(operate(state, route, request.map(Body::new)).await)
    });
    let response = RequestDecompression::new(within).oneshot(request).await;
    response.map_or_else(|never| match never {}, |response| response.map(Body::new))
}

/// Runs the operation.
async fn operate(state: &HttpState, route: &Route, mut request: Request) -> Response {
    if route.serves(request.method()) {
        request = match check(state, route, request).await {
            Ok(request) => request,
            Err(refusal) => return refusal.into_response(),
        };
    }
    route.methods.clone().call(request).await.unwrap_or_else(|never| match never {})
}

/// Checks what the handler does not read: conditions, other query options, and a body that it does
/// not need.
async fn check(state: &HttpState, route: &Route, request: Request) -> Result<Request, Refusal> {
    if route.method != Method::GET {
        refuse_conditions(request.headers())?;
    }
    let query = request.uri().query().unwrap_or_default();
    let unknown = unknown_options(query, &route.input)?;
    if let Some(collected) = Unknown::of(request.extensions()) {
        collected.add(unknown)?;
    }
    if route.input.body || request.body().is_end_stream() {
        return Ok(request);
    }
    read_unused(request, &state.limits).await
}

/// Refuses a write with a condition: one that is not checked must not look checked. A condition of
/// a read only avoids a transfer.
fn refuse_conditions(headers: &HeaderMap) -> Result<(), Refusal> {
    let conditions = [
        (IF_MATCH, "If-Match"),
        (IF_NONE_MATCH, "If-None-Match"),
        (IF_UNMODIFIED_SINCE, "If-Unmodified-Since"),
    ];
    match conditions.into_iter().find(|(name, _)| headers.contains_key(name)) {
        Some((_, name)) => {
            Err(Refusal::field(name, "must be absent: the service checks no conditions of writes"))
        }
        None => Ok(()),
    }
}

/// The refusal of a path that has no route.
fn not_found(path: &str) -> Refusal {
    let [v1, beta] = VERSIONS;
    let behind_version = VERSIONS.iter().find_map(|version| {
        path.strip_prefix(version).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let refused = |code, message: &str| Refusal::new(StatusCode::NOT_FOUND, code, message);
    match behind_version {
        Some(path) if is_photo(path) => refused("ImageNotFound", "The service has no photos of users."),
        Some(_) => refused("ResourceNotFound", "No resource has this path."),
        None => {
            let message = format!("No resource has this path. Paths of the API begin with {v1} or {beta}.");
            refused("ResourceNotFound", &message)
        }
    }
}

/// Whether the path is that of a user's photo in Graph: `/me/photo/$value`. Applications read it beside
/// the user, and take only Graph's code for a missing photo as "no photo".
fn is_photo(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let photo = path.strip_suffix("/$value").unwrap_or(&path);
    photo.strip_suffix("/photo").is_some_and(|user| {
        user == ME_PATH || user.strip_prefix("/users/").is_some_and(|id| !id.is_empty() && !id.contains('/'))
    })
}

/// Refuses a request whose target and headers exceed the limit. Beyond twice the limit hyper refuses it,
/// without a body.
pub(super) fn check_header_size(state: &HttpState, request: &Request) -> Result<(), Refusal> {
    /// The colon, the space and the end of a line.
    const LINE: usize = 4;

    let max = usize::try_from(state.limits.header_max_bytes).unwrap_or(usize::MAX);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter();
    let size = target + headers.map(|(name, value)| name.as_str().len() + value.len() + LINE).sum::<usize>();
    if size <= max {
        return Ok(());
    }
    let message = format!("The path, the query and the headers have {size} bytes; the limit is {max} bytes.");
    Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "RequestHeaderFieldsTooLarge", message))
}

/// The response to a request, or an item of a batch, that is refused before it is routed.
pub(super) fn refuse(state: &HttpState, refusal: Refusal) -> Response {
    complete(refusal.into_response(), state, Ids::new())
}

/// The response to a call of gRPC.
pub(super) fn refuse_grpc(state: &HttpState, text: &str) -> Response {
    refuse(state, Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", text))
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
        201 => "201",
        204 => "204",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        409 => "409",
        413 => "413",
        415 => "415",
        429 => "429",
        500 => "500",
        503 => "503",
        504 => "504",
        _ => "other",
    }
}
