//! What browsers are told: what they may do with an answer, and pages of which
//! origins may see it.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{
    HeaderName, HeaderValue, Method,
    header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, InvalidHeaderValue, REFERRER_POLICY, RETRY_AFTER,
        STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use tower_http::cors::{AllowHeaders, CorsLayer};

use super::{Context, docs};

/// An answer of the API is data: nothing in it is ever shown or run.
const DATA: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// The page of the document runs what this service serves, and styles itself.
const PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
);
/// For a year.
const ENCRYPTED_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds what keeps browsers from doing harm.
pub(super) async fn guard(State(context): State<Context>, request: Request, next: Next) -> Response {
    let policy = if docs::is_page(request.uri().path()) { PAGE } else { DATA };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if context.encrypted {
        headers.insert(STRICT_TRANSPORT_SECURITY, ENCRYPTED_ONLY);
    }
    response
}

/// Lets pages of these origins, if there are any, call, which send their token themselves: a
/// browser has none to add.
pub(super) fn cors(origins: &[String]) -> Result<Option<CorsLayer>, InvalidHeaderValue> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origins: Result<Vec<HeaderValue>, _> = origins.iter().map(|origin| origin.parse()).collect();
    let exposed = ["request-id", "client-request-id"].map(HeaderName::from_static);
    let exposed = exposed.into_iter().chain([CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE]);
    let layer = CorsLayer::new()
        .allow_origin(origins?)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.collect::<Vec<_>>());
    Ok(Some(layer))
}
