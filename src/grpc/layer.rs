//! What surrounds every gRPC call, in this order: its id and its place in the
//! metrics and the log; its deadline; who calls; the code that tonic itself
//! chose, where clients expect another one.

use std::{pin::pin, time::Duration};

use axum::{extract::Request, http::HeaderMap, response::Response};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{Admitted, Inner, status::to_status};
use crate::{
    batch::CALL_TIMEOUT,
    service::Error,
    telemetry::{Api, RequestId, RequestTimer},
};

/// The path of the call whose message may be larger than the others'.
pub(super) const WATCH: &str = "/presence.v1.PresenceService/WatchPresences";

/// The names of the operations in metrics and logs, by the path of the call.
/// What is not here is counted as `unknown`.
const OPERATIONS: [(&str, &str); 15] = [
    ("/presence.v1.PresenceService/SetPresence", "set_presence"),
    ("/presence.v1.PresenceService/ClearPresence", "clear_presence"),
    ("/presence.v1.PresenceService/GetPresence", "get_presence"),
    ("/presence.v1.PresenceService/BatchGetPresences", "batch_get_presences"),
    ("/presence.v1.PresenceService/BatchSetPresences", "batch_set_presences"),
    ("/presence.v1.PresenceService/SetUserPreferredPresence", "set_user_preferred_presence"),
    ("/presence.v1.PresenceService/ClearUserPreferredPresence", "clear_user_preferred_presence"),
    ("/presence.v1.PresenceService/SetStatusMessage", "set_status_message"),
    ("/presence.v1.PresenceService/SetManualLocation", "set_manual_location"),
    ("/presence.v1.PresenceService/SetAutomaticLocation", "set_automatic_location"),
    ("/presence.v1.PresenceService/ClearAutomaticLocation", "clear_automatic_location"),
    ("/presence.v1.PresenceService/ClearLocation", "clear_location"),
    ("/presence.v1.PresenceService/ExplainPresence", "explain_presence"),
    (WATCH, "watch_presences"),
    ("/presence.v1.PresenceService/HoldPresence", "hold_presence"),
];

/// The same of the calls that take no token: they tell nothing about users.
const OPEN: [(&str, &str); 4] = [
    ("/grpc.health.v1.Health/Check", "health_check"),
    ("/grpc.health.v1.Health/Watch", "health_watch"),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "reflection"),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "reflection"),
];

impl Inner {
    /// Answers one call. The deadline ends the wait, not the work: a statement runs
    /// in a task of its own. Without a deadline a client still has to send its
    /// message in time; once it has, everything is answered within seconds.
    pub(super) async fn observe(&self, mut request: Request) -> Response {
        let context = &self.context;
        let mut timer = RequestTimer::start(&context.metrics, &context.traces, Api::Grpc, request.headers());
        let id = timer.id;
        let path = request.uri().path();
        let operation_of = operation(&OPERATIONS, path);
        let message_max = self.message_max(path);
        let open = if operation_of.is_none() { operation(&OPEN, path) } else { None };
        if let Some((path, operation)) = operation_of.or(open) {
            timer.operation = operation;
            if let Some(span) = &mut timer.span {
                span.grpc(path);
            }
        }

        let longest = context.limits.body_timeout + CALL_TIMEOUT;
        let deadline = deadline(request.headers()).map_or(longest, |deadline| deadline.min(longest));
        // Two waits, not one around both: a request that is kept for the second
        // would be copied into the future of both.
        let admitted = match open {
            Some(_) => Ok(None),
            None => in_time(deadline, context.gate.admit(request.headers())).await.flatten().map(Some),
        };
        let answer = match admitted {
            Ok(caller) => {
                request.extensions_mut().insert(Admitted { id, caller });
                let work = pin!(self.answer(request, open.is_some()));
                in_time(deadline.saturating_sub(timer.elapsed()), timer.work(work)).await
            }
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(answer) => expected(answer, message_max, id),
            Err(error) => to_status(&error, id).into_http(),
        };
        let code = code(&answer);
        timer.finish(code_name(code), u16::try_from(i32::from(code)).unwrap_or_default());
        answer
    }
}

async fn in_time<F: Future>(deadline: Duration, work: F) -> Result<F::Output, Error> {
    timeout(deadline, work).await.map_err(|_| Error::deadline_exceeded())
}

/// The path, and the name of its operation.
fn operation(of: &[(&'static str, &'static str)], path: &str) -> Option<(&'static str, &'static str)> {
    of.iter().find(|(of, _)| *of == path).copied()
}

/// tonic answers an over-long message with `OUT_OF_RANGE` and one that it can't
/// decode with `INTERNAL`; neither is what a client expects. An `INTERNAL` of
/// our own has details.
fn expected(answer: Response, message_max: usize, id: RequestId) -> Response {
    let error = match code(&answer) {
        Code::OutOfRange => Error::message_too_large(message_max),
        Code::Internal if !answer.headers().contains_key(Status::GRPC_STATUS_DETAILS) => {
            Error::message_malformed("The message can't be decoded as this method's request.")
        }
        _ => return answer,
    };
    to_status(&error, id).into_http()
}

/// The code of an answer; one that is still streaming counts as good.
fn code(answer: &Response) -> Code {
    answer.headers().get(Status::GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// The caller's `grpc-timeout`: up to eight digits and a unit. A malformed one
/// counts as none.
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

/// The code as gRPC's documents spell it.
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
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::grpc::pb::DESCRIPTORS;

    #[test]
    fn every_method_has_an_operation_of_its_name() {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        let mut methods = 0;
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let operation =
                        OPERATIONS.iter().find(|(of, _)| *of == path).map(|(_, operation)| *operation);
                    let words = method.name().chars().flat_map(|letter| {
                        letter
                            .is_ascii_uppercase()
                            .then_some('_')
                            .into_iter()
                            .chain([letter.to_ascii_lowercase()])
                    });
                    let words: String = words.collect();
                    assert_eq!(operation, Some(words.trim_start_matches('_')), "{path}");
                    methods += 1;
                }
            }
        }
        assert_eq!(methods, 15);
    }

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
