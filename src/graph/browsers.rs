//! What browsers are told: what they may do with an answer, and pages of which
//! origins may see it.

use axum::extract::Request;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, InvalidHeaderValue, ORIGIN, REFERRER_POLICY,
        RETRY_AFTER, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    uri::Authority,
};
use tonic::Status;
use tower_http::cors::{AllowHeaders, CorsLayer};

use super::{docs, refusal::Refusal, state::HttpState};

/// An answer of the API is data: nothing in it is ever shown or run.
const DATA: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// The page of the document runs what this service serves, and styles itself.
const PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
);
/// For a year.
const ENCRYPTED_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What a browser may do with the answer at this path.
pub(super) fn policy(path: &str) -> HeaderValue {
    if docs::is_page(path) { PAGE } else { DATA }
}

/// Adds what keeps browsers from doing harm.
pub(super) fn protect(headers: &mut HeaderMap, policy: HeaderValue, encrypted: bool) {
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if encrypted {
        headers.insert(STRICT_TRANSPORT_SECURITY, ENCRYPTED_ONLY);
    }
}

/// Whether a page calls that must not: one of an origin that is neither this
/// service's own nor named, while nobody is authenticated. A browser sends a form,
/// or a text, to anybody without asking first: every page that a person on this
/// machine looks at could otherwise change presences.
pub(super) fn is_foreign(context: &HttpState, request: &Request) -> bool {
    if !context.authenticator.is_disabled() {
        return false;
    }
    let headers = request.headers();
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let Ok(origin) = origin.to_str() else { return true };
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = request.uri().authority().map(Authority::as_str).or(own);
    let host = origin.split_once("://").map(|(_, host)| host);
    let ours = host.is_some() && host == own;
    !ours && context.cors_origins.iter().all(|of| of != origin)
}

pub(super) fn foreign_page() -> Refusal {
    let message = "Pages of other origins may call only if --cors-origins names them.";
    Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message)
}

/// Lets pages of these origins, if there are any, call, which send their token themselves: a
/// browser has none to add.
pub(super) fn cors(origins: &[String]) -> Result<Option<CorsLayer>, InvalidHeaderValue> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origins: Result<Vec<HeaderValue>, _> = origins.iter().map(|origin| origin.parse()).collect();
    let exposed = ["request-id", "client-request-id"].map(HeaderName::from_static);
    let of_grpc = [Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS];
    let exposed = exposed.into_iter().chain([CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE]).chain(of_grpc);
    let layer = CorsLayer::new()
        .allow_origin(origins?)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.collect::<Vec<_>>());
    Ok(Some(layer))
}
