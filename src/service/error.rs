//! The error type of all operations.

use std::time::Duration;

use tracing::{debug, error};

use super::{Reason, Violation, permission::AnyOf};
use crate::{
    presence::SessionId,
    store::{SESSIONS_MAX, SetOutcome},
    telemetry::{Api, ClientRequestId, RequestId},
    watch::Exceeded,
};

/// The delay before a retry after an error that passes by itself.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The maximum number of violations in an error. A single request has fewer. A batch can have
/// thousands, and gRPC sends errors in headers, which clients limit to a few KiB.
pub const VIOLATIONS_MAX: usize = 10;

/// The maximum size of the violations in the message of a gRPC status, in bytes, for the same
/// reason. All violations of a single request fit; the status details have [`VIOLATIONS_MAX`].
const GRPC_MESSAGE_MAX_BYTES: usize = 640;

/// The kind of an error, which decides the status code in each API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is invalid in any state of the service.
    InvalidArgument,
    /// The caller is not authenticated.
    Unauthenticated,
    /// The caller lacks a permission.
    Forbidden,
    /// The caller's permission covers its own user only.
    OtherUser,
    /// The resource does not exist.
    NotFound,
    /// The resource exists already.
    AlreadyExists,
    /// The state of the resource does not allow the request.
    FailedPrecondition,
    /// The caller has reached one of its limits.
    ResourceExhausted,
    /// The store or the service is unavailable, or the service has reached one of its limits; a write
    /// may have happened.
    Unavailable,
    /// The caller's deadline passed.
    DeadlineExceeded,
    /// The service does not support the request.
    Unimplemented,
    /// The service has a fault.
    Internal,
}

/// Why an operation failed: a text for the caller and one for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{public}")]
pub struct Error {
    /// The kind, for the status code.
    pub kind: Kind,
    /// The reason, for machines.
    pub reason: Reason,
    /// The text for the caller of an error without violations.
    public: String,
    /// The text for the log; never sent to callers.
    internal: Option<String>,
    /// The invalid fields, [`VIOLATIONS_MAX`] at most.
    pub violations: Vec<Violation>,
    /// The number of further invalid fields.
    violations_omitted: usize,
    /// The delay before a retry, if a retry can succeed.
    pub retry_after: Option<Duration>,
}

impl Error {
    pub(super) fn new(
        kind: Kind,
        reason: Reason,
        public: impl Into<String>,
        internal: Option<String>,
    ) -> Self {
        let retry_after = matches!(
            reason,
            Reason::QueueFull
                | Reason::StoreUnavailable
                | Reason::TooManyWatched
                | Reason::TooManyHolds
                | Reason::MemoryFull
                | Reason::Stopping
        )
        .then_some(RETRY_AFTER);
        Self {
            kind,
            reason,
            public: public.into(),
            internal,
            violations: Vec::new(),
            violations_omitted: 0,
            retry_after,
        }
    }

    /// The request has these invalid fields; at least one.
    #[must_use]
    pub fn invalid(mut violations: Vec<Violation>) -> Self {
        let violations_omitted = violations.len().saturating_sub(VIOLATIONS_MAX);
        violations.truncate(VIOLATIONS_MAX);
        let reason = violations.first().map_or(Reason::FieldInvalid, Violation::reason);
        let public = "The request has invalid fields.";
        Self { violations, violations_omitted, ..Self::new(Kind::InvalidArgument, reason, public, None) }
    }

    /// The message cannot be decoded.
    #[must_use]
    pub fn message_malformed(public: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, Reason::MessageMalformed, public, None)
    }

    /// The message is larger than `limit` bytes.
    #[must_use]
    pub fn message_too_large(limit: usize) -> Self {
        let public = format!("The message is larger than the limit of {limit} bytes.");
        Self::new(Kind::ResourceExhausted, Reason::MessageTooLarge, public, None)
    }

    /// A header of the request is invalid; `public` names it and the allowed values.
    #[must_use]
    pub fn header_invalid(public: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, Reason::FieldInvalid, public, None)
    }

    /// The service has no such method, or cannot read the request in this form.
    #[must_use]
    pub fn not_supported(public: impl Into<String>) -> Self {
        Self::new(Kind::Unimplemented, Reason::NotSupported, public, None)
    }

    /// The request has no access token.
    #[must_use]
    pub fn token_missing() -> Self {
        let public = "The access token is missing. Send `Authorization: Bearer TOKEN`.";
        Self::new(Kind::Unauthenticated, Reason::TokenMissing, public, None)
    }

    /// The access token is invalid; `public` explains why.
    #[must_use]
    pub fn token_invalid(public: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, Reason::TokenInvalid, public, None)
    }

    /// The access token has expired.
    #[must_use]
    pub fn token_expired() -> Self {
        Self::token_invalid("The access token has expired (claim exp).")
    }

    /// An application's token has none of the permissions `needed`. If `needed` is empty, the
    /// operation requires a user's token with one of `own`.
    pub(super) fn application_forbidden(needed: AnyOf, own: AnyOf) -> Self {
        let public = if needed.is_empty() {
            format!(
                "This operation requires a user's access token with the delegated permission {} (claim scp).",
                names(own)
            )
        } else {
            format!("The access token lacks the application permission {} (claim roles).", names(needed))
        };
        Self::new(Kind::Forbidden, Reason::PermissionMissing, public, None)
    }

    /// A user's token has none of the permissions `needed`.
    pub(super) fn delegated_forbidden(needed: AnyOf) -> Self {
        let public =
            format!("The access token lacks the delegated permission {} (claim scp).", names(needed));
        Self::new(Kind::Forbidden, Reason::PermissionMissing, public, None)
    }

    /// The access token's permission covers its own user only.
    pub(super) fn other_user() -> Self {
        let public = "The access token permits this operation only for its own user (claim oid).";
        Self::new(Kind::OtherUser, Reason::OtherUser, public, None)
    }

    /// The session belongs to another application than the token's, which is `own`.
    pub(super) fn session_id_not_application(own: &SessionId) -> Self {
        let public = format!(
            "The session id must be that of the access token's application: {own}, or {own}:SUFFIX with a \
             suffix of your choice for each tab, device or call."
        );
        Self::new(Kind::Forbidden, Reason::SessionIdNotApplication, public, None)
    }

    /// The application exceeded its rate limit; a retry can succeed after `retry_after`.
    #[must_use]
    pub fn rate_limited(retry_after: Duration) -> Self {
        let public = "The application exceeded its rate limit. Retry later.";
        let error = Self::new(Kind::ResourceExhausted, Reason::RateLimited, public, None);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// The session is not live.
    pub(super) fn session_not_found() -> Self {
        let public = "The user has no live session with this id: it expired, was cleared, or never existed.";
        Self::new(Kind::NotFound, Reason::SessionNotFound, public, None)
    }

    /// The error of a set that did not apply.
    pub(super) fn of_set(outcome: SetOutcome) -> Result<(), Self> {
        match outcome {
            SetOutcome::Set => Ok(()),
            SetOutcome::Stale => Err(Self::stale_write()),
            SetOutcome::NoRoom => Err(Self::too_many_sessions()),
        }
    }

    /// The user has too many live sessions.
    fn too_many_sessions() -> Self {
        let public = format!(
            "The user has {SESSIONS_MAX} live sessions, the maximum, so the session was not opened. Clear \
             sessions that have ended."
        );
        Self::new(Kind::ResourceExhausted, Reason::TooManySessions, public, None)
    }

    /// The session reflects a later observation than that of the request.
    pub(super) fn stale_write() -> Self {
        let public = "The session already reflects a later observation. Nothing changed; do not retry.";
        Self::new(Kind::FailedPrecondition, Reason::StaleWrite, public, None)
    }

    /// Another call or stream took the session from this stream.
    pub(super) fn session_taken() -> Self {
        let public = "This stream no longer holds the session: another call or stream set or cleared it. Do \
                      not open another stream for it.";
        Self::new(Kind::NotFound, Reason::SessionTaken, public, None)
    }

    /// The caller's deadline passed.
    #[must_use]
    pub fn deadline_exceeded() -> Self {
        let public = "The deadline passed. A write may have happened; it is safe to retry.";
        Self::new(Kind::DeadlineExceeded, Reason::DeadlineExceeded, public, None)
    }

    /// No user was shown as a call waited for.
    pub(super) fn wait_ended(wait: Duration) -> Self {
        let public = format!(
            "No user was shown with one of the availabilities within {wait:?}. Call again to go on waiting."
        );
        Self::new(Kind::DeadlineExceeded, Reason::DeadlineExceeded, public, None)
    }

    /// A count did not complete within `limit`.
    pub(super) fn count_timed_out(limit: Duration) -> Self {
        let public = format!(
            "The count did not complete within {limit:?}. Count without a filter, or read the pages of the list."
        );
        Self::new(Kind::DeadlineExceeded, Reason::DeadlineExceeded, public, None)
    }

    /// The replica, or the tenant on it, reached its limit of watched users.
    pub(super) fn too_many_watched(exceeded: Exceeded) -> Self {
        let (kind, public) = match exceeded {
            Exceeded::All(max) => (
                Kind::Unavailable,
                format!(
                    "This replica has reached its limit of {max} watched users (--watch-users-max). Retry \
                     later, which may reach another replica."
                ),
            ),
            Exceeded::Own(max) => (
                Kind::ResourceExhausted,
                format!(
                    "The tenant has reached its limit of {max} watched users on this replica \
                     (--tenant-watch-users-max). End streams that are not needed, or watch fewer users."
                ),
            ),
        };
        Self::new(kind, Reason::TooManyWatched, public, None)
    }

    /// The replica, or the application on it, reached its limit of streams that hold a session.
    pub(super) fn too_many_holds(exceeded: Exceeded) -> Self {
        let (kind, public) = match exceeded {
            Exceeded::All(max) => (
                Kind::Unavailable,
                format!(
                    "This replica has reached its limit of {max} streams that hold a session (--holds-max). \
                     Retry later, which may reach another replica, or refresh the session with SetPresence."
                ),
            ),
            Exceeded::Own(max) => (
                Kind::ResourceExhausted,
                format!(
                    "The application has reached its limit of {max} streams that hold a session on this \
                     replica (--application-holds-max). End streams that are not needed, or refresh the \
                     session with SetPresence."
                ),
            ),
        };
        Self::new(kind, Reason::TooManyHolds, public, None)
    }

    /// The service is stopping.
    pub(super) fn stopping() -> Self {
        let public = "The service is stopping. Try again, which may reach another replica.";
        Self::new(Kind::Unavailable, Reason::Stopping, public, None)
    }

    /// The stream reached its maximum age.
    pub(super) fn stream_too_old() -> Self {
        let public = "The stream has reached its maximum age. Open a new stream.";
        Self::new(Kind::Unavailable, Reason::StreamTooOld, public, None)
    }

    /// The service has a fault, which `internal` describes for the log.
    #[must_use]
    pub fn internal(internal: impl Into<String>) -> Self {
        let public = "An internal error occurred. The service's log has details under this request's id.";
        Self::new(Kind::Internal, Reason::Internal, public, Some(internal.into()))
    }

    /// The text for callers of `api`.
    #[must_use]
    pub fn message(&self, api: Api) -> String {
        if self.violations.is_empty() {
            return self.public.clone();
        }
        let max_bytes = match api {
            Api::Grpc => GRPC_MESSAGE_MAX_BYTES,
            Api::Http => usize::MAX,
        };
        let (mut sentences, mut bytes) = (Vec::new(), 0);
        for violation in &self.violations {
            let sentence = violation.message(api);
            bytes += sentence.len();
            if bytes > max_bytes {
                break;
            }
            sentences.push(sentence);
        }
        let omitted = self.violations.len() - sentences.len() + self.violations_omitted;
        if omitted > 0 {
            sentences.push(format!("And {omitted} more."));
        }
        sentences.join(" ")
    }

    /// Logs the internal text: a fault of the service as an error, other errors at level debug.
    pub fn log(&self, request_id: RequestId, client_id: Option<&ClientRequestId>) {
        let trace_id = request_id.trace_id();
        let client_id = client_id.map(ClientRequestId::text);
        let client_request_id = client_id.as_deref();
        match &self.internal {
            Some(internal) if self.kind == Kind::Internal => {
                error!(%request_id, client_request_id, trace_id, internal, "internal error");
            }
            Some(internal) => debug!(%request_id, client_request_id, trace_id, internal, "{self}"),
            None => {}
        }
    }
}

/// The names of alternative permissions.
fn names(permissions: AnyOf) -> String {
    permissions.iter().map(|permission| permission.as_str()).collect::<Vec<_>>().join(" or ")
}
