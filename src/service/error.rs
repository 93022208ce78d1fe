//! The one error of all operations.

use std::time::Duration;

use tracing::{debug, error};

use super::{Violation, permission::AnyOf};
use crate::{batch::BatchError, presence::SessionId, store::StoreError, telemetry::RequestId};

/// How soon a caller may try again what failed for want of room or a database.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many wrong fields an error names. A single request has fewer; of a batch
/// the first ones must do, because gRPC sends errors in headers, which clients
/// limit to a few KiB.
pub const VIOLATIONS_MAX: usize = 10;

/// What kind of error it is: it decides the code at each API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong, whatever the state.
    InvalidArgument,
    /// It is not known who calls.
    Unauthenticated,
    /// The caller may not do it.
    Forbidden,
    /// The caller may do it, but not to somebody else than its user.
    OtherUser,
    /// What it names is not there.
    NotFound,
    /// There is no room for it now.
    ResourceExhausted,
    /// The store did not do it, or did not say so.
    Unavailable,
    /// The caller's own time ran out.
    DeadlineExceeded,
    /// A fault of ours.
    Internal,
}

/// Why, for machines: `ErrorReason` in the proto, where each is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A required field is missing or empty.
    FieldRequired,
    /// A field holds something it cannot hold.
    FieldInvalid,
    /// Availability and activity do not go together here.
    PairNotAllowed,
    /// The duration is no duration or out of range.
    DurationOutOfRange,
    /// More elements than one call may carry.
    TooMany,
    /// The message can't be read as one.
    MessageMalformed,
    /// The message is larger than the API lets in.
    MessageTooLarge,
    /// There is no token.
    TokenMissing,
    /// The token is none that lets anybody in.
    TokenInvalid,
    /// The token lacks the permission.
    PermissionMissing,
    /// The token's permission is for its own user alone.
    OtherUser,
    /// The session is not the application's.
    SessionIdNotApplication,
    /// No such session is live.
    SessionNotFound,
    /// The application has called too often.
    RateLimited,
    /// The queue for the database is full.
    QueueFull,
    /// The database did not answer in time.
    StoreUnavailable,
    /// The caller's time ran out.
    DeadlineExceeded,
    /// All streams together follow as many users as they may.
    TooManyWatched,
    /// The service is about to end.
    Stopping,
    /// The stream has lived as long as one may.
    StreamTooOld,
    /// Another has taken the session from the stream that held it.
    SessionTaken,
    /// A fault of ours.
    Internal,
}

/// Why an operation was not done, with a text for the caller and one for us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{public}")]
pub struct Error {
    /// What kind of error it is.
    pub kind: Kind,
    /// Why, for machines.
    pub reason: Reason,
    /// For the caller.
    pub public: String,
    /// For the log, never for the caller.
    pub internal: Option<String>,
    /// The wrong fields of an invalid request, the first ten at most.
    pub violations: Vec<Violation>,
    /// How many more there are.
    pub violations_omitted: usize,
    /// When the caller may try again, if trying again can help.
    pub retry_after: Option<Duration>,
}

impl Error {
    fn new(kind: Kind, reason: Reason, public: impl Into<String>, internal: Option<String>) -> Self {
        let retry_after = matches!(
            reason,
            Reason::QueueFull | Reason::StoreUnavailable | Reason::TooManyWatched | Reason::Stopping
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

    /// The request is invalid in these ways; at least one.
    #[must_use]
    pub fn invalid(mut violations: Vec<Violation>) -> Self {
        let violations_omitted = violations.len().saturating_sub(VIOLATIONS_MAX);
        violations.truncate(VIOLATIONS_MAX);
        let reason = violations.first().map_or(Reason::FieldInvalid, |violation| violation.reason);
        let public = "The request has invalid fields.";
        Self { violations, violations_omitted, ..Self::new(Kind::InvalidArgument, reason, public, None) }
    }

    /// What came is no message; `public` says what is.
    #[must_use]
    pub fn message_malformed(public: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, Reason::MessageMalformed, public, None)
    }

    /// The message is larger than `limit` bytes.
    #[must_use]
    pub fn message_too_large(limit: usize) -> Self {
        let public = format!("The message is larger than {limit} bytes.");
        Self::new(Kind::ResourceExhausted, Reason::MessageTooLarge, public, None)
    }

    /// There is no token.
    #[must_use]
    pub fn token_missing() -> Self {
        let public = "There is no access token: send one as \"Authorization: Bearer …\".";
        Self::new(Kind::Unauthenticated, Reason::TokenMissing, public, None)
    }

    /// The token lets nobody in; `public` says why.
    #[must_use]
    pub fn token_invalid(public: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, Reason::TokenInvalid, public, None)
    }

    /// The token has expired.
    #[must_use]
    pub fn token_expired() -> Self {
        Self::token_invalid("The access token has expired (claim exp).")
    }

    /// An application's token lacks all of these permissions; with none of them,
    /// it takes a user's token with one of `own`.
    pub(super) fn application_forbidden(needed: AnyOf, own: AnyOf) -> Self {
        let public = if needed.is_empty() {
            format!(
                "An application can't do this by itself: it takes a user's token with the delegated permission {} \
                 (claim scp).",
                names(own)
            )
        } else {
            format!("The token lacks the application permission {} (claim roles).", names(needed))
        };
        Self::new(Kind::Forbidden, Reason::PermissionMissing, public, None)
    }

    /// A user's token lacks all of these permissions.
    pub(super) fn delegated_forbidden(needed: AnyOf) -> Self {
        let public = format!("The token lacks the delegated permission {} (claim scp).", names(needed));
        Self::new(Kind::Forbidden, Reason::PermissionMissing, public, None)
    }

    /// The token is for its own user alone.
    pub(super) fn other_user() -> Self {
        let public = "The token's user (claim oid) can't do this to another user.";
        Self::new(Kind::OtherUser, Reason::OtherUser, public, None)
    }

    /// The session is not the application's.
    pub(super) fn session_id_not_application(own: &SessionId) -> Self {
        let public = format!("The session id must be the id of the application that the token names, {own}.");
        Self::new(Kind::Forbidden, Reason::SessionIdNotApplication, public, None)
    }

    /// The application has called too often; it may call again after so long.
    #[must_use]
    pub fn rate_limited(retry_after: Duration) -> Self {
        let public = "The application has called more often than it may; try again later.";
        let error = Self::new(Kind::ResourceExhausted, Reason::RateLimited, public, None);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// No such session is live.
    pub(super) fn session_not_found() -> Self {
        let public =
            "The user has no live session with this session id: it never was, has expired, or was cleared.";
        Self::new(Kind::NotFound, Reason::SessionNotFound, public, None)
    }

    /// Another call or stream has taken the session from the stream that held it.
    pub(super) fn session_taken() -> Self {
        let public = "The session is held no longer: it was cleared, or set to show something else, by another \
                      call or stream.";
        Self::new(Kind::NotFound, Reason::SessionTaken, public, None)
    }

    /// The caller's own time ran out.
    #[must_use]
    pub fn deadline_exceeded() -> Self {
        let public = "The deadline of the call ran out; a write may or may not have happened.";
        Self::new(Kind::DeadlineExceeded, Reason::DeadlineExceeded, public, None)
    }

    /// All streams together follow as many users as they may.
    pub(super) fn too_many_watched() -> Self {
        let public = "As many users are followed here as may be; try again later, or follow fewer.";
        Self::new(Kind::ResourceExhausted, Reason::TooManyWatched, public, None)
    }

    /// The service is about to end.
    pub(super) fn stopping() -> Self {
        let public = "The service is about to stop; open the stream anew, which may reach another replica.";
        Self::new(Kind::Unavailable, Reason::Stopping, public, None)
    }

    /// The stream has lived as long as one may.
    pub(super) fn stream_too_old() -> Self {
        let public = "The stream has lived as long as one may; open it anew.";
        Self::new(Kind::Unavailable, Reason::StreamTooOld, public, None)
    }

    /// A fault of ours; `internal` says which.
    #[must_use]
    pub fn internal(internal: impl Into<String>) -> Self {
        let public = "An internal error occurred; it was logged with this request's id.";
        Self::new(Kind::Internal, Reason::Internal, public, Some(internal.into()))
    }

    /// Logs what only we may know of the error: a fault of ours at once, the
    /// rest for whoever follows this request.
    pub fn log(&self, request_id: RequestId) {
        let trace_id = request_id.trace_id();
        match &self.internal {
            Some(internal) if self.kind == Kind::Internal => {
                error!(%request_id, trace_id, internal, "internal error");
            }
            Some(internal) => debug!(%request_id, trace_id, internal, "{self}"),
            None => {}
        }
    }
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        let internal = Some(error.to_string());
        match error {
            BatchError::QueueFull(_) => {
                let public = "Too many calls are waiting; try again later.";
                Self::new(Kind::ResourceExhausted, Reason::QueueFull, public, internal)
            }
            BatchError::Store(StoreError::Unavailable(_) | StoreError::Conflict(_)) => {
                let public = "The presence store is unavailable. If this was a write, it may or may not have \
                              happened, and can safely be sent again.";
                Self::new(Kind::Unavailable, Reason::StoreUnavailable, public, internal)
            }
            BatchError::Store(StoreError::Data(_)) => Self::internal(error.to_string()),
        }
    }
}

/// Permissions of which one is enough, as texts.
fn names(permissions: AnyOf) -> String {
    permissions.iter().map(|permission| permission.as_str()).collect::<Vec<_>>().join(" or ")
}
