//! Errors of the service as gRPC statuses with details.

use std::collections::HashMap;

use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::pb::ErrorReason;
use crate::{
    service::{Error, Kind, Reason},
    telemetry::{Api, ClientRequestId, RequestIds},
};

/// The `domain` of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "presence.v1";

/// The delay before a retry, in milliseconds, for gRPC's own retries (gRFC A6). They do not read
/// details. If it is negative, they do not retry.
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The error as a status whose details have the reason, the invalid fields, the delay before a
/// retry, and the ids of the request.
pub(super) fn to_status(error: &Error, ids: &RequestIds) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason(error.reason).as_str_name(), DOMAIN, HashMap::new());
    let client_id = ids.client.as_ref().map(ClientRequestId::text).unwrap_or_default();
    details.set_request_info(ids.own.to_string(), client_id);
    if !error.violations.is_empty() {
        let violations = error.violations.iter();
        let violations = violations.map(|violation| {
            FieldViolation::new(violation.path.name(Api::Grpc), violation.message(Api::Grpc))
        });
        details.set_bad_request(violations.collect::<Vec<_>>());
    }
    if let Some(after) = error.retry_after {
        details.set_retry_info(Some(after));
    }
    let mut status = Status::with_error_details(code(error.kind), error.message(Api::Grpc), details);
    if let Some(after) = error.retry_after {
        // Clients with a retry policy wait for this time, rounded up, instead of their own.
        let millis = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        status.metadata_mut().insert(RETRY_PUSHBACK, millis.into());
        status
    } else if passes(error.kind) {
        status
    } else {
        without_retry(status)
    }
}

/// Asks clients with a retry policy not to retry.
pub(super) fn without_retry(mut status: Status) -> Status {
    status.metadata_mut().insert(RETRY_PUSHBACK, MetadataValue::from_static("-1"));
    status
}

/// Whether an error without a delay may pass by itself. Such an error leaves the delay to the client.
const fn passes(kind: Kind) -> bool {
    matches!(kind, Kind::Unavailable | Kind::DeadlineExceeded | Kind::Internal)
}

/// The error of a message that tonic refused with this code.
pub(super) fn unreadable(code: Code, message_max: usize) -> Option<Error> {
    match code {
        Code::OutOfRange | Code::ResourceExhausted => Some(Error::message_too_large(message_max)),
        Code::Internal => {
            let text = "The message cannot be decoded as a request of this method.";
            Some(Error::message_malformed(text))
        }
        _ => None,
    }
}

const fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden | Kind::OtherUser => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Unimplemented => Code::Unimplemented,
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
        Reason::TooManyHolds => ErrorReason::TooManyHolds,
        Reason::MemoryFull => ErrorReason::MemoryFull,
        Reason::Stopping => ErrorReason::Stopping,
        Reason::StreamTooOld => ErrorReason::StreamTooOld,
        Reason::SessionTaken => ErrorReason::SessionTaken,
        Reason::StaleWrite => ErrorReason::StaleWrite,
        Reason::TooManySessions => ErrorReason::TooManySessions,
        Reason::NotSupported => ErrorReason::NotSupported,
        Reason::SubscriptionNotFound => ErrorReason::SubscriptionNotFound,
        Reason::ReceiverNotValidated => ErrorReason::ReceiverNotValidated,
        Reason::TooManySubscriptions => ErrorReason::TooManySubscriptions,
        Reason::SubscriptionExists => ErrorReason::SubscriptionExists,
        Reason::Internal => ErrorReason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;
    use crate::{
        grpc::pb,
        presence::{Activity, Availability, Pair, WorkLocationType},
        service::{Field, Path, Received, Rule, Violation},
    };

    #[test]
    fn reasons_have_the_same_names_in_both_apis() {
        for value in Reason::VARIANTS {
            let name: &str = value.into();
            assert_eq!(reason(*value).as_str_name(), format!("ERROR_REASON_{name}"));
        }
    }

    #[test]
    fn violations_name_enum_values_as_the_proto_does() {
        let message = |rule, received| {
            Violation { path: Path::Field(Field::Availability), rule, received }.message(Api::Grpc)
        };
        for availability in Availability::VARIANTS {
            for activity in Activity::VARIANTS {
                let pair = Received::Pair(Pair::new(*availability, *activity));
                let availability = pb::Availability::from(*availability).as_str_name();
                let activity = pb::Activity::from(*activity).as_str_name();
                let message = message(Rule::Pair(&[]), Some(pair));
                assert!(message.ends_with(&format!("got {availability} / {activity}.")), "{message}");
            }
        }
        let message = message(Rule::WorkLocationType, None);
        for value in WorkLocationType::VARIANTS {
            assert!(message.contains(pb::WorkLocationType::from(*value).as_str_name()), "{message}");
        }
    }
}
