//! The one error of all operations.

use std::{fmt, time::Duration};

use tracing::{debug, error};

use super::Violation;
use crate::{batch::BatchError, store::StoreError};

/// How soon a caller may try again what failed for want of room or a database.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many wrong fields an error names. A single request has fewer; of a batch
/// the first ones must do, because gRPC sends errors in headers, which clients
/// limit to a few KiB.
pub const VIOLATIONS_MAX: usize = 10;

/// What kind of error it is: it decides the code at each door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong, whatever the state.
    InvalidArgument,
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
    /// The message is larger than the door lets in.
    MessageTooLarge,
    /// No such session is live.
    SessionNotFound,
    /// The queue for the database is full.
    QueueFull,
    /// The database did not answer in time.
    StoreUnavailable,
    /// The caller's time ran out.
    DeadlineExceeded,
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
}

impl Error {
    fn new(kind: Kind, reason: Reason, public: impl Into<String>, internal: Option<String>) -> Self {
        Self { kind, reason, public: public.into(), internal, violations: Vec::new(), violations_omitted: 0 }
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

    /// No such session is live.
    pub(super) fn session_not_found() -> Self {
        let public =
            "The user has no live session with this session id: it never was, has expired, or was cleared.";
        Self::new(Kind::NotFound, Reason::SessionNotFound, public, None)
    }

    /// The caller's own time ran out.
    #[must_use]
    pub fn deadline_exceeded() -> Self {
        let public = "The deadline of the call ran out; a write may or may not have happened.";
        Self::new(Kind::DeadlineExceeded, Reason::DeadlineExceeded, public, None)
    }

    /// A fault of ours; `internal` says which.
    #[must_use]
    pub fn internal(internal: impl Into<String>) -> Self {
        let public = "An internal error occurred; it was logged with this request's id.";
        Self::new(Kind::Internal, Reason::Internal, public, Some(internal.into()))
    }

    /// Logs what only we may know of the error: a fault of ours at once, the
    /// rest for whoever follows this request.
    pub fn log(&self, request_id: impl fmt::Display) {
        match &self.internal {
            Some(internal) if self.kind == Kind::Internal => error!(%request_id, internal, "internal error"),
            Some(internal) => debug!(%request_id, internal, "{self}"),
            None => {}
        }
    }

    /// When the caller may try again, if trying again can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self.reason, Reason::QueueFull | Reason::StoreUnavailable).then_some(RETRY_AFTER)
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
