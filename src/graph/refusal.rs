//! Error responses in Graph's shape: those of the service, of this API, and of axum.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::ids::Ids;
use crate::{
    presence::Timestamp,
    service::{Error, Kind, Reason, VIOLATIONS_MAX, Violation},
    telemetry::Api,
};

/// An error response. Its body contains the ids of the request, so [`finish`] adds it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The invalid fields.
    details: Vec<Detail>,
    /// The service's error, if it caused the refusal.
    cause: Option<Box<Error>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Vec::new(), cause: None }
    }

    /// An invalid field that only this API has.
    pub(super) fn field(name: &str, problem: &str) -> Self {
        Self::fields(vec![(name.to_owned(), problem.to_owned())])
    }

    /// Invalid fields: their names, and the problem of each. The response names the first
    /// ten.
    pub(super) fn fields(invalid: Vec<(String, String)>) -> Self {
        let code = "InvalidArgument";
        let omitted = invalid.len().saturating_sub(VIOLATIONS_MAX);
        let details: Vec<_> = invalid
            .into_iter()
            .take(VIOLATIONS_MAX)
            .map(|(target, problem)| Detail { code, message: format!("`{target}` {problem}."), target })
            .collect();
        let message = message_of(&details, omitted);
        Self { details, ..Self::new(StatusCode::BAD_REQUEST, code, message) }
    }

    /// The caller is unauthenticated.
    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    /// The request cannot be read.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// A fault of the service; `internal` is only logged.
    pub(super) fn internal(internal: String) -> Self {
        Error::internal(internal).into()
    }

    /// The body of the error. The internal text is logged.
    pub(super) fn into_body(self, ids: &Ids, now: Timestamp) -> String {
        if let Some(cause) = &self.cause {
            cause.log(ids.own, ids.client.as_ref());
        }
        let error = ErrorJson {
            code: self.code,
            message: &self.message,
            details: self.details,
            inner_error: InnerError {
                code: self.cause.as_ref().map(|cause| cause.reason.into()),
                date: date(now),
                request_id: ids.own.to_string(),
                client_request_id: ids.client(),
            },
        };
        // Serializing a struct of texts cannot fail.
        serde_json::to_string(&Body { error }).unwrap_or_default()
    }

    /// The refusal for a response of axum that has only a status and headers.
    fn of_status(status: StatusCode, headers: &HeaderMap) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::new(status, "ResourceNotFound", "No resource has this path."),
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = headers.get(ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or("none");
                let allowed = allowed.replace(',', ", ");
                let message = format!("This path does not support the request's method. Allowed: {allowed}.");
                Self::new(status, "MethodNotAllowed", message)
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(status, "UnsupportedMediaType", "The Content-Encoding must be gzip or absent.")
            }
            status if status.is_client_error() => {
                Self::new(status, "BadRequest", "The path or the query is malformed.")
            }
            _ => Self::internal(format!("a response with the status {status} and no text")),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind {
            Kind::InvalidArgument if error.reason == Reason::ReceiverNotValidated => {
                (StatusCode::BAD_REQUEST, "InvalidRequest")
            }
            Kind::InvalidArgument => (StatusCode::BAD_REQUEST, "InvalidArgument"),
            Kind::Unauthenticated => (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken"),
            Kind::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Kind::OtherUser => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Kind::FailedPrecondition => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
            Kind::AlreadyExists => (StatusCode::CONFLICT, "Conflict"),
            Kind::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "serviceNotAvailable"),
            Kind::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "generalException"),
            Kind::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
            Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        };
        let details: Vec<_> = error.violations.iter().map(|violation| Detail::new(code, violation)).collect();
        let message = error.message(Api::Http);
        Self { status, code, message, details, cause: Some(Box::new(error)) }
    }
}

/// The messages of the invalid fields, and the number of omitted ones, in one text.
fn message_of(details: &[Detail], omitted: usize) -> String {
    let message = details.iter().map(|detail| detail.message.as_str()).collect::<Vec<_>>().join(" ");
    if omitted > 0 { format!("{message} And {omitted} more.") } else { message }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Adds the body and headers of an error; leaves a success unchanged.
pub(super) fn finish(mut response: Response, ids: &Ids, now: Timestamp) -> Response {
    let status = response.status();
    let refusal = match response.extensions_mut().remove::<Refusal>() {
        Some(refusal) => refusal,
        None if status.is_client_error() || status.is_server_error() => {
            Refusal::of_status(status, response.headers())
        }
        None => return response,
    };
    let (mut parts, _) = response.into_parts();
    if refusal.status == StatusCode::UNAUTHORIZED {
        let invalid = refusal.cause.as_ref().is_some_and(|cause| cause.reason == Reason::TokenInvalid);
        let challenge = if invalid { "Bearer error=\"invalid_token\"" } else { "Bearer" };
        parts.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(after) = refusal.cause.as_ref().and_then(|cause| cause.retry_after) {
        // Rounded up: a client that retries too early is refused again.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        parts.headers.insert(RETRY_AFTER, seconds.max(1).into());
    }
    parts.status = refusal.status;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, refusal.into_body(ids, now).into())
}

/// The body of every error. Graph: error response.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct Body<'a> {
    error: ErrorJson<'a>,
}

/// The error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorContent)]
struct ErrorJson<'a> {
    /// The error code, for programs.
    #[schema(example = "InvalidArgument")]
    code: &'static str,
    /// The error message, for people.
    message: &'a str,
    /// The invalid fields, at most the first ten; omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    details: Vec<Detail>,
    #[serde(rename = "innerError")]
    inner_error: InnerError<'a>,
}

/// An invalid field.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ErrorDetail)]
struct Detail {
    /// The error code, as above.
    code: &'static str,
    /// The problem, and the allowed values.
    message: String,
    /// The name of the field.
    #[schema(example = "sessionId")]
    target: String,
}

impl Detail {
    fn new(code: &'static str, violation: &Violation) -> Self {
        Self { code, message: violation.message(Api::Http), target: violation.path.name(Api::Http) }
    }
}

/// The request that failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct InnerError<'a> {
    /// The reason, for programs: an `ErrorReason` of the gRPC API, without its prefix. Finer than the
    /// error code. Omitted if the gRPC API has no such error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "STALE_WRITE")]
    code: Option<&'static str>,
    /// The time of the error, in UTC.
    #[schema(example = "2026-11-22T02:50:00")]
    date: String,
    /// The service's id of the request.
    request_id: String,
    /// The client's id of the request; the service's id if the client sent none.
    #[schema(value_type = String)]
    client_request_id: Cow<'a, str>,
}

/// Graph's format: UTC, without a zone.
fn date(now: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(now.as_millis())
        .map(|now| now.strftime("%Y-%m-%dT%H:%M:%S").to_string())
        .unwrap_or_default()
}
