//! The rules of presence, pure: no input or output, no waiting, no clock.
//!
//! Everything here is a function of what is handed in, `now` included. A
//! presence is never stored: it is computed from a user's sessions each time
//! it is asked for ([`presence_of`]), so nothing has to run for a session to
//! fade or end.

mod aggregate;
mod duration;
mod id;
mod pair;
mod session;
mod timestamp;

pub use aggregate::{DecidingRule, Decision, explain, presence_of};
pub use duration::{DurationError, parse_duration};
pub use id::{ID_MAX_CHARS, InvalidId, SessionId, UserId};
pub use pair::{Activity, Availability, Pair, UnknownWord};
pub use session::{
    AWAY_AFTER, EXPIRATION_DEFAULT, EXPIRATION_MAX, EXPIRATION_MIN, INACTIVE_AFTER, Session, Transition,
};
pub use timestamp::Timestamp;
