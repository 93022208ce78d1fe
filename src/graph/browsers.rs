//! Protection of browsers and their users: security headers, CORS, and the refusal of
//! pages of other origins.

use axum::extract::Request;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, InvalidHeaderValue, ORIGIN, REFERRER_POLICY, RETRY_AFTER,
        STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use tonic::Status;
use tower_http::cors::{AllowHeaders, CorsLayer};

use super::{
    docs, preferences::PREFERENCE_APPLIED, refusal::Refusal, responses::USERS_READ, state::HttpState,
    unknown::IGNORED,
};
use crate::{grpc::RETRY_PUSHBACK, server::authority};

/// For responses of the API: a browser must neither render nor run them.
const DATA_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// For the page at `/docs`, which loads scripts of this service and has inline styles.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
);
/// One year.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The `Content-Security-Policy` of a path.
pub(super) fn security_policy(path: &str) -> HeaderValue {
    if docs::is_page(path) { PAGE_POLICY } else { DATA_POLICY }
}

/// Adds the security headers.
pub(super) fn add_security_headers(headers: &mut HeaderMap, policy: HeaderValue, encrypted: bool) {
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if encrypted {
        headers.insert(STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    }
}

/// Refuses a request that names a host which this API does not serve.
pub(super) fn check_host(state: &HttpState, request: &Request) -> Result<(), Refusal> {
    if state.hosts.serve(request) {
        return Ok(());
    }
    let message = "This service serves only requests to localhost, to an IP address, or to a host that \
                   --allowed-hosts names.";
    Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "MisdirectedRequest", message))
}

/// Refuses a page that may not call: authentication is off, and the page's origin is neither this
/// service's nor one of `--cors-origins`.
///
/// Browsers send forms and plain text to any host without a preflight request. So any
/// page open on this machine could otherwise change presences.
pub(super) fn check_origin(state: &HttpState, request: &Request) -> Result<(), Refusal> {
    if !state.authenticator.is_disabled() || !is_foreign_page(state, request) {
        return Ok(());
    }
    let message = "A page of another origin may call this service only if --cors-origins names the origin.";
    Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message))
}

fn is_foreign_page(state: &HttpState, request: &Request) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else { return false };
    let Ok(origin) = origin.to_str() else { return true };
    let host = origin.split_once("://").map(|(_, host)| host);
    let same_origin = host.is_some() && host == authority(request);
    !same_origin && state.cors_origins.iter().all(|allowed| allowed != origin)
}

/// The CORS layer for these origins; `None` if there are none. Pages send their token
/// in a header; credentials that a browser stores are not allowed.
pub(super) fn cors(origins: &[String]) -> Result<Option<CorsLayer>, InvalidHeaderValue> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origins: Result<Vec<HeaderValue>, _> = origins.iter().map(|origin| origin.parse()).collect();
    let exposed = ["request-id", "client-request-id", RETRY_PUSHBACK].map(HeaderName::from_static);
    let grpc = [Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS];
    let own = [CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, IGNORED, PREFERENCE_APPLIED, USERS_READ];
    let exposed = exposed.into_iter().chain(own).chain(grpc);
    let layer = CorsLayer::new()
        .allow_origin(origins?)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.collect::<Vec<_>>());
    Ok(Some(layer))
}
