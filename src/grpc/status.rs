//! Errors of the service as gRPC's, with rich details.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::pb::ErrorReason;
use crate::{
    service::{Error, Kind, Reason},
    telemetry::RequestId,
};

/// The `domain` of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "presence.v1";

/// How many wrong fields the text names: all of a single request. The details
/// name more.
const MESSAGE_FIELDS_MAX: usize = 5;

/// The error as a status: why, which fields, when to try again, which request.
pub(super) fn to_status(error: &Error, id: RequestId) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason(error.reason).as_str_name(), DOMAIN, HashMap::new());
    details.set_request_info(id.to_string(), "");
    if !error.violations.is_empty() {
        let fields = error.violations.iter();
        let fields = fields.map(|field| FieldViolation::new(field.path.to_string(), field.allowed.clone()));
        details.set_bad_request(fields.collect::<Vec<_>>());
    }
    if let Some(after) = error.retry_after {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(code(error.kind), message(error), details)
}

/// The text of the error, with the wrong fields for those who see nothing else.
fn message(error: &Error) -> String {
    let mut fields = error.violations.iter().map(|field| format!("{} {}", field.path, field.allowed));
    let Some(first) = fields.next() else { return error.public.clone() };
    let mut message =
        fields.take(MESSAGE_FIELDS_MAX - 1).fold(first, |message, field| message + "; " + &field);
    let omitted = error.violations.len().saturating_sub(MESSAGE_FIELDS_MAX) + error.violations_omitted;
    if omitted > 0 {
        message = format!("{message}; and {omitted} more");
    }
    message
}

const fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden | Kind::OtherUser => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Internal => Code::Internal,
    }
}

const fn reason(reason: Reason) -> ErrorReason {
    match reason {
        Reason::FieldRequired => ErrorReason::FieldRequired,
        Reason::FieldInvalid => ErrorReason::FieldInvalid,
        Reason::PairNotAllowed => ErrorReason::PairNotAllowed,
        Reason::DurationOutOfRange => ErrorReason::DurationOutOfRange,
        Reason::TooMany => ErrorReason::TooMany,
        Reason::MessageMalformed => ErrorReason::MessageMalformed,
        Reason::MessageTooLarge => ErrorReason::MessageTooLarge,
        Reason::TokenMissing => ErrorReason::TokenMissing,
        Reason::TokenInvalid => ErrorReason::TokenInvalid,
        Reason::PermissionMissing => ErrorReason::PermissionMissing,
        Reason::OtherUser => ErrorReason::OtherUser,
        Reason::SessionIdNotApplication => ErrorReason::SessionIdNotApplication,
        Reason::SessionNotFound => ErrorReason::SessionNotFound,
        Reason::RateLimited => ErrorReason::RateLimited,
        Reason::QueueFull => ErrorReason::QueueFull,
        Reason::StoreUnavailable => ErrorReason::StoreUnavailable,
        Reason::DeadlineExceeded => ErrorReason::DeadlineExceeded,
        Reason::TooManyWatched => ErrorReason::TooManyWatched,
        Reason::Stopping => ErrorReason::Stopping,
        Reason::StreamTooOld => ErrorReason::StreamTooOld,
        Reason::SessionTaken => ErrorReason::SessionTaken,
        Reason::Internal => ErrorReason::Internal,
    }
}
