//! The rules of presence, as pure functions: no I/O, no async, no clock.
//!
//! Every function takes all of its inputs, including `now`. A presence is never stored.
//! [`presence_of`] computes it from a [`User`] on each request, so no job has to run when a
//! session fades or ends.

mod aggregate;
mod duration;
mod guid;
mod history;
mod id;
mod limits;
mod pair;
mod placeholder;
mod session;
mod span;
mod timestamp;
mod user;
mod zone;

pub use aggregate::{DecidingRule, Decision, Presence, PresenceTimes, explain, message_of, presence_of};
pub use duration::{DurationError, parse_duration};
pub use guid::parse_guid;
pub use history::{History, Shown};
pub use id::{ID_MAX_CHARS, InvalidId, PlaceId, SessionId, UserId, UserIdForm};
pub use limits::{
    BATCH_ITEMS_MAX, INTERVALS_MAX, OBSERVED_AHEAD_MAX, REQUESTS_MAX, USER_IDS_MAX, USERS_READ_AT_ONCE,
    USERS_READ_PER_PRESENCE, WATCHED_MAX,
};
pub use pair::{Activity, Availability, Pair, UnknownWord, proto_name};
pub use placeholder::Placeholder;
pub use session::{
    AWAY_AFTER, EXPIRATION_DEFAULT, EXPIRATION_LEAST, EXPIRATION_MAX, EXPIRATION_MIN, GRACE_DEFAULT,
    GRACE_MAX, GRACE_MIN, INACTIVE_AFTER, Session, Transition,
};
pub use span::{Author, EndReason, Part, Span, SpanEnd, SpanValue};
pub use timestamp::Timestamp;
pub use user::{
    PREFERRED_EXPIRATION_MAX, PreferredPresence, STATUS_MESSAGE_MAX_CHARS, SequenceNumber, StatusMessage,
    User, WorkLocation, WorkLocationSource, WorkLocationType, preferred_expiration_default,
};
pub use zone::{ZonedTimeError, parse_instant, parse_zoned_time};
