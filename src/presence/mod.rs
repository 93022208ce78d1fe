//! The rules of presence, pure: no input or output, no waiting, no clock.
//!
//! Everything here is a function of what is handed in, `now` included. A
//! presence is never stored: it is computed from a [`User`] each time it is
//! asked for ([`presence_of`]), so nothing has to run for a session to fade or
//! end.

mod aggregate;
mod duration;
mod id;
mod limits;
mod pair;
mod session;
mod shown;
mod timestamp;
mod user;
mod words;
mod zone;

pub use aggregate::{DecidingRule, Decision, explain, next_transition, presence_of};
pub use duration::{DurationError, parse_duration};
pub use id::{ID_MAX_CHARS, InvalidId, PlaceId, SessionId, UserId};
pub use limits::{BATCH_ITEMS_MAX, REQUESTS_MAX, USER_IDS_MAX, WATCHED_MAX};
pub use pair::{Activity, Availability, Pair};
pub use session::{
    AWAY_AFTER, EXPIRATION_DEFAULT, EXPIRATION_MAX, EXPIRATION_MIN, GRACE_DEFAULT, GRACE_MAX, GRACE_MIN,
    INACTIVE_AFTER, Session, Transition,
};
pub use shown::Presence;
pub use timestamp::Timestamp;
pub use user::{
    PREFERRED_EXPIRATION_MAX, PreferredPresence, STATUS_MESSAGE_MAX_CHARS, SequenceNumber, StatusMessage,
    User, WorkLocation, WorkLocationSource, WorkLocationType, preferred_expiration_default,
};
pub use words::UnknownWord;
pub use zone::{ZonedTimeError, parse_zoned_time};

use words::words;
