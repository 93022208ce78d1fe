//! The layer around every gRPC call, in this order: request id, metrics and log; deadline;
//! authentication; corrections of the status codes that tonic chooses.

use std::{pin::pin, time::Duration};

use axum::{extract::Request, http::HeaderMap, response::Response};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{
    methods::Method, presence_service::CallContext, routes::Routes, state::GrpcState, status::to_status,
};
use crate::{
    batch::CALL_TIMEOUT,
    service::Error,
    telemetry::{Api, RequestId, RequestTimer},
};

/// The layer and the services behind it.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) state: GrpcState,
    pub(super) routes: Routes,
}

impl Layer {
    /// Handles one call. The deadline ends the wait, not the work: a statement runs in a task of
    /// its own. A call without a deadline has one too: the client must send its message in time,
    /// and the response takes a few seconds at most.
    pub(super) async fn handle(&self, mut request: Request) -> Response {
        let Self { state, routes } = self;
        let mut timer = RequestTimer::start(&state.metrics, &state.traces, Api::Grpc, request.headers());
        let id = timer.id;
        let path = request.uri().path();
        let method = Method::find(path);
        let message_max = routes.message_max(path);
        if let Some(Method { path, operation, .. }) = method {
            timer.operation = operation;
            if let Some(span) = &mut timer.span {
                span.grpc(path);
            }
        }

        let longest = state.limits.body_timeout + CALL_TIMEOUT;
        let deadline = deadline(request.headers()).map_or(longest, |deadline| deadline.min(longest));
        // Two timeouts instead of one around both steps, which would copy the request into the
        // future of both.
        let caller = if method.is_some_and(Method::is_public) {
            Ok(None)
        } else {
            with_timeout(deadline, state.authenticator.authenticate(request.headers()))
                .await
                .flatten()
                .map(Some)
        };
        let response = match caller {
            Ok(caller) => {
                request.extensions_mut().insert(CallContext { id, caller });
                let work = pin!(routes.call(request, method));
                with_timeout(deadline.saturating_sub(timer.elapsed()), timer.work(work)).await
            }
            Err(error) => Err(error),
        };
        let response = match response {
            Ok(response) => correct_status(response, message_max, id),
            Err(error) => to_status(&error, id).into_http(),
        };
        let code = code(&response);
        timer.finish(code_name(code), u16::try_from(i32::from(code)).unwrap_or_default());
        response
    }
}

async fn with_timeout<F: Future>(deadline: Duration, work: F) -> Result<F::Output, Error> {
    timeout(deadline, work).await.map_err(|_| Error::deadline_exceeded())
}

/// Replaces the status of a message that is too large, which is `OUT_OF_RANGE` in tonic, or cannot
/// be decoded, which is `INTERNAL`. Our own `INTERNAL` has details.
fn correct_status(response: Response, message_max: usize, id: RequestId) -> Response {
    let error = match code(&response) {
        Code::OutOfRange => Error::message_too_large(message_max),
        Code::Internal if !response.headers().contains_key(Status::GRPC_STATUS_DETAILS) => {
            Error::message_malformed("The message cannot be decoded as a request of this method.")
        }
        _ => return response,
    };
    to_status(&error, id).into_http()
}

/// The status code of a response; `OK` for a stream that is still open.
fn code(response: &Response) -> Code {
    response.headers().get(Status::GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// The caller's `grpc-timeout`: up to eight digits and a unit. A malformed header is ignored.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
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

/// The name of the code in gRPC's documentation.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grpc_timeout() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            deadline(&headers)
        };
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("1H"), Some(Duration::from_hours(1)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for malformed in ["", "m", "100", "999999999m", "-1m", "1x", "1.5S"] {
            assert_eq!(read(malformed), None, "{malformed:?}");
        }
    }
}
