//! Errors in Graph's shape, whoever found them: the service, this API, or
//! axum.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::ids::Ids;
use crate::{
    presence::Timestamp,
    service::{Error, Kind, Reason, VIOLATIONS_MAX, Violation},
    telemetry::Api,
};

/// Why a request was refused. As a response it has no body yet: that takes the
/// request's ids, which [`finish`] adds.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The wrong fields.
    details: Vec<Detail>,
    /// The service's error behind it.
    cause: Option<Box<Error>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Vec::new(), cause: None }
    }

    /// A field of the request that this API alone knows is wrong.
    pub(super) fn field(name: &str, what: &str) -> Self {
        Self::fields(vec![(name.to_owned(), what.to_owned())])
    }

    /// Fields, by their names, and what is wrong with each; the first ten are
    /// named.
    pub(super) fn fields(wrong: Vec<(String, String)>) -> Self {
        let code = "InvalidArgument";
        let omitted = wrong.len().saturating_sub(VIOLATIONS_MAX);
        let details: Vec<_> = wrong
            .into_iter()
            .take(VIOLATIONS_MAX)
            .map(|(target, what)| Detail { code, message: format!("`{target}` {what}."), target })
            .collect();
        let message = message_of(&details, omitted);
        Self { details, ..Self::new(StatusCode::BAD_REQUEST, code, message) }
    }

    /// It is not known who asks.
    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    /// The body can't be read.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// A fault of ours.
    pub(super) fn internal(internal: String) -> Self {
        Error::internal(internal).into()
    }

    /// The body of the error; what only we may know of it is logged.
    pub(super) fn into_body(self, ids: &Ids, now: Timestamp) -> String {
        if let Some(cause) = self.cause {
            cause.log(ids.own);
        }
        let error = ErrorJson {
            code: self.code,
            message: &self.message,
            details: self.details,
            inner_error: InnerError {
                date: date(now),
                request_id: ids.own.to_string(),
                client_request_id: ids.client(),
            },
        };
        // A struct of texts can't fail to be written.
        serde_json::to_string(&Body { error }).unwrap_or_default()
    }

    /// What axum refused by itself.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => {
                Self::new(status, "ResourceNotFound", "There is no resource at this path.")
            }
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "MethodNotAllowed",
                "This resource does not take this method; Allow names those it takes.",
            ),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                status,
                "UnsupportedMediaType",
                "The Content-Encoding must be gzip, if there is one.",
            ),
            status if status.is_client_error() => {
                Self::new(status, "BadRequest", "The path or the query can't be read.")
            }
            _ => Self::internal(format!("a bare {status}")),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind {
            Kind::InvalidArgument => (StatusCode::BAD_REQUEST, "InvalidArgument"),
            Kind::Unauthenticated => (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken"),
            Kind::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Kind::OtherUser => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
            Kind::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "serviceNotAvailable"),
            Kind::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "generalException"),
            Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        };
        let details: Vec<_> = error.violations.iter().map(|violation| Detail::new(code, violation)).collect();
        let message = error.message(Api::Http);
        Self { status, code, message, details, cause: Some(Box::new(error)) }
    }
}

/// The wrong fields, and how many more there are, in one text.
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

/// Gives an error its body and headers, on every path; leaves a success alone.
pub(super) fn finish(mut response: Response, ids: &Ids, now: Timestamp) -> Response {
    let status = response.status();
    let refusal = match response.extensions_mut().remove::<Refusal>() {
        Some(refusal) => refusal,
        None if status.is_client_error() || status.is_server_error() => Refusal::of_status(status),
        None => return response,
    };
    let (mut parts, _) = response.into_parts();
    if refusal.status == StatusCode::UNAUTHORIZED {
        let invalid = refusal.cause.as_ref().is_some_and(|cause| cause.reason == Reason::TokenInvalid);
        let challenge = if invalid { "Bearer error=\"invalid_token\"" } else { "Bearer" };
        parts.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(after) = refusal.cause.as_ref().and_then(|cause| cause.retry_after) {
        // A part of a second is one: a client that comes too early is refused again.
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

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorContent)]
struct ErrorJson<'a> {
    /// Why, for machines.
    #[schema(example = "InvalidArgument")]
    code: &'static str,
    /// Why, for people.
    message: &'a str,
    /// The wrong fields, the first ten at most; left out if none is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    details: Vec<Detail>,
    #[serde(rename = "innerError")]
    inner_error: InnerError<'a>,
}

/// One wrong field.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ErrorDetail)]
struct Detail {
    /// As above.
    code: &'static str,
    /// What is wrong with it, and what is allowed.
    message: String,
    /// The field.
    #[schema(example = "sessionId")]
    target: String,
}

impl Detail {
    fn new(code: &'static str, violation: &Violation) -> Self {
        Self { code, message: violation.message(Api::Http), target: violation.path.name(Api::Http) }
    }
}

/// Which request it was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct InnerError<'a> {
    /// When, in UTC.
    #[schema(example = "2026-11-22T02:50:00")]
    date: String,
    /// The service's id of it.
    request_id: String,
    /// The caller's id of it; the service's if it had none.
    #[schema(value_type = String)]
    client_request_id: Cow<'a, str>,
}

/// As Graph writes it: UTC, without saying so.
fn date(now: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(now.as_millis())
        .map(|now| now.strftime("%Y-%m-%dT%H:%M:%S").to_string())
        .unwrap_or_default()
}
