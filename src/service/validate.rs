//! What callers send, and everything that can be wrong with it.
//!
//! A request is checked as a whole, so that its caller learns of every wrong
//! field at once: each check returns a value or adds a [`Violation`].

use std::{fmt, str::FromStr, time::Duration};

use super::{Error, Reason};
use crate::presence::{
    Activity, Availability, EXPIRATION_DEFAULT, EXPIRATION_MAX, EXPIRATION_MIN, Pair, SessionId, UserId,
};

/// A field as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given<T> {
    /// Not sent, or empty.
    Missing,
    /// Sent, and readable.
    Value(T),
    /// Sent, and not readable as a `T`: what was sent, in words.
    Unreadable(String),
}

impl Given<String> {
    /// The text of a field; an empty one counts as missing.
    #[must_use]
    pub fn text(text: String) -> Self {
        if text.is_empty() { Self::Missing } else { Self::Value(text) }
    }

    /// Reads the text as a `T`.
    #[must_use]
    pub fn parse<T: FromStr>(self) -> Given<T> {
        self.parse_with(|text| text.parse().ok())
    }

    /// Reads the text with `parse`.
    pub fn parse_with<T>(self, parse: impl FnOnce(&str) -> Option<T>) -> Given<T> {
        match self {
            Self::Missing => Given::Missing,
            Self::Value(text) => parse(&text).map_or_else(|| Given::Unreadable(quote(&text)), Given::Value),
            Self::Unreadable(what) => Given::Unreadable(what),
        }
    }
}

/// A field of a request; each door spells it its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `user_id`.
    UserId,
    /// `user_ids`; Graph calls it `ids`.
    UserIds,
    /// `session_id`.
    SessionId,
    /// `availability`.
    Availability,
    /// `activity`.
    Activity,
    /// `expiration_duration`.
    ExpirationDuration,
    /// `requests`.
    Requests,
}

/// Where a field is: by itself, or in an element of a repeated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A field of the request.
    Field(Field),
    /// An element of a repeated field.
    Element(Field, usize),
    /// A field of an element of `requests`.
    InRequest(usize, Field),
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which field.
    pub path: Path,
    /// Why, for machines.
    pub reason: Reason,
    /// What is allowed, for people.
    pub allowed: String,
}

/// Collects what is wrong with one request, or with one element of a batch.
#[derive(Debug)]
pub(super) struct Checks {
    request: Option<usize>,
    violations: Vec<Violation>,
}

impl Checks {
    /// Checks of a request.
    pub(super) const fn new() -> Self {
        Self { request: None, violations: Vec::new() }
    }

    /// From here on, checks of the element of `requests` at `index`.
    pub(super) fn request(&mut self, index: usize) {
        self.request = Some(index);
    }

    /// The value, unless anything was wrong. Each check that returned `None`
    /// has said why, so a `None` with no violation can't be.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ => Err(Error::invalid(self.violations)),
        }
    }

    /// Something is wrong with `field`.
    pub(super) fn refuse(&mut self, field: Field, reason: Reason, allowed: impl Into<String>) {
        let path = self.request.map_or(Path::Field(field), |index| Path::InRequest(index, field));
        self.violations.push(Violation { path, reason, allowed: allowed.into() });
    }

    /// A user id: required.
    pub(super) fn user_id(&mut self, given: Given<String>) -> Option<UserId> {
        self.required(Field::UserId, given.parse(), USER_ID_ALLOWED)
    }

    /// A session id: required.
    pub(super) fn session_id(&mut self, given: Given<String>) -> Option<SessionId> {
        self.required(Field::SessionId, given.parse(), "must be 1 to 128 visible ASCII characters")
    }

    /// User ids: 1 to `max`.
    pub(super) fn user_ids(&mut self, given: Given<Vec<Given<String>>>, max: usize) -> Option<Vec<UserId>> {
        let given = self.required(Field::UserIds, given, "must be a list of user ids")?;
        if given.is_empty() {
            self.refuse(Field::UserIds, Reason::FieldRequired, REQUIRED);
            return None;
        }
        if given.len() > max {
            self.refuse(
                Field::UserIds,
                Reason::TooMany,
                format!("must be {max} at most, not {}", given.len()),
            );
            return None;
        }
        let mut ids = Vec::with_capacity(given.len());
        for (index, id) in given.into_iter().enumerate() {
            match id.parse() {
                Given::Value(id) => ids.push(id),
                Given::Missing | Given::Unreadable(_) => self.violations.push(Violation {
                    path: Path::Element(Field::UserIds, index),
                    reason: Reason::FieldInvalid,
                    allowed: USER_ID_ALLOWED.to_owned(),
                }),
            }
        }
        Some(ids)
    }

    /// A pair that a session can set: required. Graph: setPresence.
    pub(super) fn session_pair(
        &mut self,
        availability: Given<Availability>,
        activity: Given<Activity>,
    ) -> Option<Pair> {
        let pairs = Pair::OF_SESSION.map(|pair| pair.to_string()).join(", ");
        let allowed = format!("must form one of the pairs {pairs}");
        let availability = self.required(Field::Availability, availability, &allowed);
        let activity = self.required(Field::Activity, activity, &allowed);
        let pair = Pair::new(availability?, activity?);
        if !Pair::OF_SESSION.contains(&pair) {
            self.refuse(Field::Availability, Reason::PairNotAllowed, format!("{allowed}, not {pair}"));
            return None;
        }
        Some(pair)
    }

    /// How long a session shall live: 5 to 240 minutes, 5 if not given. Graph:
    /// setPresence.
    pub(super) fn session_expiration(&mut self, given: &Given<Duration>) -> Option<Duration> {
        let refusal = match given {
            Given::Missing => return Some(EXPIRATION_DEFAULT),
            Given::Value(duration) if (EXPIRATION_MIN..=EXPIRATION_MAX).contains(duration) => {
                return Some(*duration);
            }
            Given::Value(_) => format!("is out of range: it {EXPIRATION_ALLOWED}"),
            Given::Unreadable(what) => format!("{EXPIRATION_ALLOWED}, not {what}"),
        };
        self.refuse(Field::ExpirationDuration, Reason::DurationOutOfRange, refusal);
        None
    }

    /// A field that must be there and readable.
    fn required<T>(&mut self, field: Field, given: Given<T>, allowed: &str) -> Option<T> {
        match given {
            Given::Value(value) => Some(value),
            Given::Missing => {
                self.refuse(field, Reason::FieldRequired, REQUIRED);
                None
            }
            Given::Unreadable(what) => {
                self.refuse(field, Reason::FieldInvalid, format!("{allowed}, not {what}"));
                None
            }
        }
    }
}

const EXPIRATION_ALLOWED: &str =
    "must be a duration of 5 to 240 minutes (PT5M to PT4H in ISO 8601, 300s to 14400s in protobuf's JSON)";
pub(super) const REQUIRED: &str = "is required";
const USER_ID_ALLOWED: &str = "must be 1 to 128 visible ASCII characters without \"/\"";

/// The start of a text that somebody sent, fit to be sent back.
fn quote(text: &str) -> String {
    const SHOWN: usize = 40;
    let more = if text.chars().count() > SHOWN { "…" } else { "" };
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    format!("\"{shown}{more}\"")
}

impl Field {
    /// As the proto spells it.
    #[must_use]
    pub const fn snake_case(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::UserIds => "user_ids",
            Self::SessionId => "session_id",
            Self::Availability => "availability",
            Self::Activity => "activity",
            Self::ExpirationDuration => "expiration_duration",
            Self::Requests => "requests",
        }
    }
}

impl fmt::Display for Path {
    /// As `google.rpc.BadRequest` wants it, e.g. `requests[3].session_id`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field.snake_case()),
            Self::Element(field, index) => write!(f, "{}[{index}]", field.snake_case()),
            Self::InRequest(index, field) => write!(f, "requests[{index}].{}", field.snake_case()),
        }
    }
}
