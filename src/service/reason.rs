//! Machine-readable reasons of errors.

use strum::{IntoStaticStr, VariantArray};

/// Why a request failed: `ErrorReason` in the proto, which explains each one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// A required field is missing or empty.
    FieldRequired,
    /// A field has an invalid value.
    FieldInvalid,
    /// The operation does not accept this pair of availability and activity.
    PairNotAllowed,
    /// The duration is invalid or out of range.
    DurationOutOfRange,
    /// The request has more items than its maximum.
    TooMany,
    /// The message cannot be decoded.
    MessageMalformed,
    /// The message is larger than the API accepts.
    MessageTooLarge,
    /// The request has no access token.
    TokenMissing,
    /// The access token is invalid or expired.
    TokenInvalid,
    /// The access token lacks the permission.
    PermissionMissing,
    /// The access token's permission covers its own user only.
    OtherUser,
    /// The session belongs to another application.
    SessionIdNotApplication,
    /// The session is not live.
    SessionNotFound,
    /// The application exceeded its rate limit.
    RateLimited,
    /// The queue of requests for the database is full.
    QueueFull,
    /// The database did not respond in time.
    StoreUnavailable,
    /// The caller's deadline passed.
    DeadlineExceeded,
    /// The replica reached its limit of watched users.
    TooManyWatched,
    /// The replica, or the application on it, reached its limit of held sessions.
    TooManyHolds,
    /// The requests of the connection, or of all clients, take too much memory.
    MemoryFull,
    /// The service is stopping.
    Stopping,
    /// The stream reached its maximum age.
    StreamTooOld,
    /// Another call or stream took the session from this stream.
    SessionTaken,
    /// The session reflects a later observation.
    StaleWrite,
    /// The user has too many live sessions.
    TooManySessions,
    /// The service has no such method, or cannot read the request in this form.
    NotSupported,
    /// There is no such subscription of the caller's application.
    SubscriptionNotFound,
    /// The receiver of a subscription did not answer the validation request.
    ReceiverNotValidated,
    /// The application or the tenant has its maximum number of subscriptions.
    TooManySubscriptions,
    /// Graph's limit of one subscription is reached.
    SubscriptionExists,
    /// The service has a fault.
    Internal,
}
