//! The rules of gRPC over HTTP/2 for a request's headers, which tonic does not check.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};

use crate::service::Error;

/// The content types of requests.
const CONTENT_TYPES: [&str; 2] = ["application/grpc", "application/grpc+proto"];

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// The HTTP response to a request that is not one of gRPC. A browser sends other content types to any
/// host without a preflight request, so a page could write with them.
pub(super) fn refuse(request: &Request) -> Option<Response> {
    if request.method() != Method::POST {
        let allow = [(ALLOW, HeaderValue::from_static("POST"))];
        return Some((StatusCode::METHOD_NOT_ALLOWED, allow, "gRPC calls use POST.\n").into_response());
    }
    if is_grpc(request.headers()) {
        return None;
    }
    let accepted = CONTENT_TYPES.join(", ");
    let text = format!("The content-type must be one of: {accepted}. gRPC-Web and JSON have another port.\n");
    let accept = HeaderValue::try_from(accepted).unwrap_or_else(|_| HeaderValue::from_static(""));
    let headers = [(ACCEPT_POST, accept)];
    Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, headers, Body::from(text)).into_response())
}

/// Whether the content type is one of gRPC; parameters do not matter.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(Ok(content_type)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
    let essence = content_type.split_once(';').map_or(content_type, |(essence, _)| essence).trim();
    CONTENT_TYPES.iter().any(|accepted| essence.eq_ignore_ascii_case(accepted))
}

/// The caller's `grpc-timeout`: up to eight digits and a unit.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(given) = headers.get("grpc-timeout") else { return Ok(None) };
    let malformed = || {
        let got = String::from_utf8_lossy(given.as_bytes());
        let got: String = got.chars().take(20).collect();
        Error::header_invalid(format!(
            "`grpc-timeout` must be 1 to 8 digits and a unit (H, M, S, m, u or n), got `{got}`."
        ))
    };
    given.to_str().ok().and_then(duration).ok_or_else(malformed).map(Some)
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(number)),
        "M" => Some(Duration::from_mins(number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grpc_timeout() {
        assert_eq!(duration("100m"), Some(Duration::from_millis(100)));
        assert_eq!(duration("1H"), Some(Duration::from_hours(1)));
        assert_eq!(duration("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for malformed in ["", "m", "100", "999999999m", "-1m", "1x", "1.5S"] {
            assert_eq!(duration(malformed), None, "{malformed:?}");
        }
    }
}
