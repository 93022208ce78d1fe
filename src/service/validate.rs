//! Everything that can be wrong with what callers send.
//!
//! A request is checked as a whole, so that its caller learns of every wrong
//! field at once: each check returns a value or adds a [`Violation`].

use std::time::Duration;

use super::{Error, Expiry, Field, Input, Path, Reason, Violation, field::quote};
use crate::presence::{
    Activity, Availability, EXPIRATION_DEFAULT, EXPIRATION_MAX, EXPIRATION_MIN, GRACE_DEFAULT, GRACE_MAX,
    GRACE_MIN, PREFERRED_EXPIRATION_MAX, Pair, PlaceId, STATUS_MESSAGE_MAX_CHARS, SessionId, Timestamp,
    UserId, WorkLocationType, ZonedTimeError, parse_zoned_time, preferred_expiration_default,
};

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
    pub(super) fn user_id(&mut self, given: Input<String>) -> Option<UserId> {
        self.required(Field::UserId, given.parse(), USER_ID_ALLOWED)
    }

    /// A session id: required.
    pub(super) fn session_id(&mut self, given: Input<String>) -> Option<SessionId> {
        self.required(Field::SessionId, given.parse(), ID_ALLOWED)
    }

    /// User ids: 1 to `max`.
    pub(super) fn user_ids(&mut self, given: Input<Vec<Input<String>>>, max: usize) -> Option<Vec<UserId>> {
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
            let what = match id.parse() {
                Input::Value(id) => {
                    ids.push(id);
                    continue;
                }
                Input::Missing => "nothing".to_owned(),
                Input::Unreadable(what) => what,
            };
            self.violations.push(Violation {
                path: Path::Element(Field::UserIds, index),
                reason: Reason::FieldInvalid,
                allowed: format!("{USER_ID_ALLOWED}, not {what}"),
            });
        }
        Some(ids)
    }

    /// A pair that a session can set: required. Graph: setPresence.
    pub(super) fn session_pair(
        &mut self,
        availability: Input<Availability>,
        activity: Input<Activity>,
    ) -> Option<Pair> {
        self.pair(availability, activity, &Pair::OF_SESSION)
    }

    /// A pair that a user can prefer: required. Graph:
    /// setUserPreferredPresence.
    pub(super) fn preferred_pair(
        &mut self,
        availability: Input<Availability>,
        activity: Input<Activity>,
    ) -> Option<Pair> {
        self.pair(availability, activity, &Pair::PREFERRED)
    }

    fn pair(
        &mut self,
        availability: Input<Availability>,
        activity: Input<Activity>,
        pairs: &[Pair],
    ) -> Option<Pair> {
        let listed = pairs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let allowed = format!("must form one of the pairs {listed}");
        let availability = self.required(Field::Availability, availability, &allowed);
        let activity = self.required(Field::Activity, activity, &allowed);
        let pair = Pair::new(availability?, activity?);
        if !pairs.contains(&pair) {
            self.refuse(Field::Availability, Reason::PairNotAllowed, format!("{allowed}, not {pair}"));
            return None;
        }
        Some(pair)
    }

    /// How long a session shall live: 5 to 240 minutes, 5 if not given. Graph:
    /// setPresence.
    pub(super) fn session_expiration(&mut self, given: &Input<Duration>) -> Option<Duration> {
        let allowed = EXPIRATION_MIN..=EXPIRATION_MAX;
        self.expiration(given, EXPIRATION_DEFAULT, |duration| allowed.contains(duration), EXPIRATION_ALLOWED)
    }

    /// How long a preferred presence shall last: more than nothing, 365 days at
    /// most; if not given it depends on the pair. Graph:
    /// setUserPreferredPresence.
    pub(super) fn preferred_expiration(
        &mut self,
        given: &Input<Duration>,
        pair: Option<Pair>,
    ) -> Option<Duration> {
        let default = pair.map_or(Duration::ZERO, preferred_expiration_default);
        let in_range = |duration: &Duration| {
            *duration >= Duration::from_millis(1) && *duration <= PREFERRED_EXPIRATION_MAX
        };
        self.expiration(given, default, in_range, PREFERRED_EXPIRATION_ALLOWED)
    }

    /// How long a held session outlives its stream: 5 s to 5 min, 15 s if not given.
    pub(super) fn grace(&mut self, given: &Input<Duration>) -> Option<Duration> {
        let in_range = |grace: &Duration| (GRACE_MIN..=GRACE_MAX).contains(grace);
        self.duration(Field::Grace, given, GRACE_DEFAULT, in_range, GRACE_ALLOWED)
    }

    /// A field of a later message of a stream, which can't be other than it was.
    pub(super) fn same<T: PartialEq>(&mut self, field: Field, given: &Input<T>, first: &T) -> Option<()> {
        match given {
            Input::Missing => Some(()),
            Input::Value(value) if value == first => Some(()),
            _ => {
                let allowed = "must be as in the first message, or not given";
                self.refuse(field, Reason::FieldInvalid, allowed);
                None
            }
        }
    }

    fn expiration(
        &mut self,
        given: &Input<Duration>,
        default: Duration,
        in_range: impl FnOnce(&Duration) -> bool,
        allowed: &str,
    ) -> Option<Duration> {
        self.duration(Field::ExpirationDuration, given, default, in_range, allowed)
    }

    fn duration(
        &mut self,
        field: Field,
        given: &Input<Duration>,
        default: Duration,
        in_range: impl FnOnce(&Duration) -> bool,
        allowed: &str,
    ) -> Option<Duration> {
        let refusal = match given {
            Input::Missing => return Some(default),
            Input::Value(duration) if in_range(duration) => return Some(*duration),
            Input::Value(_) => format!("is out of range: it {allowed}"),
            Input::Unreadable(what) => format!("{allowed}, not {what}"),
        };
        self.refuse(field, Reason::DurationOutOfRange, refusal);
        None
    }

    /// What a status message is written in: text. Graph: setStatusMessage.
    pub(super) fn status_content_type(&mut self, given: &Input<String>) {
        let what = match given {
            Input::Missing => return,
            Input::Value(text) if text.eq_ignore_ascii_case("text") => return,
            Input::Value(other) => quote(other),
            Input::Unreadable(what) => what.clone(),
        };
        self.refuse(Field::ContentType, Reason::FieldInvalid, format!("must be \"text\", not {what}"));
    }

    /// A status message: required, empty to take it away.
    pub(super) fn status_content(&mut self, given: Input<String>) -> Option<String> {
        let content = self.required(Field::Content, given, CONTENT_ALLOWED)?;
        let chars = content.chars().count();
        if chars > STATUS_MESSAGE_MAX_CHARS || content.contains('\0') {
            let what = if content.contains('\0') { "with U+0000".to_owned() } else { format!("{chars}") };
            self.refuse(Field::Content, Reason::FieldInvalid, format!("{CONTENT_ALLOWED}, not {what}"));
            return None;
        }
        Some(content)
    }

    /// When a status message ends: ahead of `now`, or never.
    pub(super) fn status_expiry(&mut self, given: Expiry, now: Timestamp) -> Option<Timestamp> {
        let at = match given {
            Expiry::At(given) => self.optional(Field::ExpireTime, given, EXPIRE_TIME_ALLOWED)?,
            Expiry::Local { date_time, time_zone } => self.local_time(date_time, time_zone)?,
        };
        if at <= now {
            let refusal = format!("must lie ahead, not at {at}; it is {now} now");
            self.refuse(Field::ExpireTime, Reason::FieldInvalid, refusal);
            return None;
        }
        Some(at.min(Timestamp::LATEST))
    }

    fn local_time(&mut self, date_time: Input<String>, time_zone: Input<String>) -> Option<Timestamp> {
        let zone = match time_zone {
            Input::Missing => Some("UTC".to_owned()),
            given => self.required(Field::TimeZone, given, TIME_ZONE_ALLOWED),
        };
        let time = self.required(Field::ExpireTime, date_time, EXPIRE_TIME_ALLOWED);
        let (time, zone) = time.zip(zone)?;
        match parse_zoned_time(&time, &zone) {
            Ok(at) => return Some(at),
            Err(ZonedTimeError::Time) => {
                let refusal = format!("{EXPIRE_TIME_ALLOWED}, not {}", quote(&time));
                self.refuse(Field::ExpireTime, Reason::FieldInvalid, refusal);
            }
            Err(ZonedTimeError::Zone) => {
                let refusal = format!("{TIME_ZONE_ALLOWED}, not {}", quote(&zone));
                self.refuse(Field::TimeZone, Reason::FieldInvalid, refusal);
            }
        }
        None
    }

    /// The kind of place a user works at: required. Graph: setManualLocation.
    pub(super) fn work_location_type(&mut self, given: Input<WorkLocationType>) -> Option<WorkLocationType> {
        self.required(Field::WorkLocationType, given, "must be office, remote or timeOff")
    }

    /// A place, if one is given.
    pub(super) fn place_id(&mut self, given: Input<String>) -> Option<PlaceId> {
        self.optional(Field::PlaceId, given.parse(), ID_ALLOWED)
    }

    /// How many users a page may have.
    pub(super) fn page_size(&mut self, given: Input<u32>, default: u32, max: usize) -> Option<u32> {
        let what = match given {
            Input::Missing => return Some(default),
            Input::Value(size) if size > 0 && usize::try_from(size).is_ok_and(|size| size <= max) => {
                return Some(size);
            }
            Input::Value(size) => size.to_string(),
            Input::Unreadable(what) => what,
        };
        let refusal = format!("must be a whole number from 1 to {max}, not {what}");
        self.refuse(Field::PageSize, Reason::FieldInvalid, refusal);
        None
    }

    /// Behind whom a page begins, unless it is the first.
    pub(super) fn page_token(&mut self, given: Input<String>) -> Option<UserId> {
        self.optional(Field::PageToken, given.parse(), "must be taken from a page before")
    }

    /// A field that may be missing.
    fn optional<T>(&mut self, field: Field, given: Input<T>, allowed: &str) -> Option<T> {
        match given {
            Input::Missing => None,
            given => self.required(field, given, allowed),
        }
    }

    /// A field that must be there and readable.
    fn required<T>(&mut self, field: Field, given: Input<T>, allowed: &str) -> Option<T> {
        match given {
            Input::Value(value) => Some(value),
            Input::Missing => {
                self.refuse(field, Reason::FieldRequired, REQUIRED);
                None
            }
            Input::Unreadable(what) => {
                self.refuse(field, Reason::FieldInvalid, format!("{allowed}, not {what}"));
                None
            }
        }
    }
}

const EXPIRATION_ALLOWED: &str = "must be a duration of 5 to 240 minutes (PT5M to PT4H in ISO 8601)";
const GRACE_ALLOWED: &str = "must be a duration of 5 seconds to 5 minutes";
const PREFERRED_EXPIRATION_ALLOWED: &str =
    "must be a duration of more than nothing and 365 days at most (P365D in ISO 8601)";
const CONTENT_ALLOWED: &str = "must be a text of 280 Unicode characters at most";
const EXPIRE_TIME_ALLOWED: &str = "must be a date and time without an offset, such as 2026-11-22T17:30:00";
const TIME_ZONE_ALLOWED: &str =
    "must be a time zone as Windows or IANA name it, such as Pacific Standard Time or America/Los_Angeles";
const ID_ALLOWED: &str = "must be 1 to 128 visible ASCII characters";
pub(super) const REQUIRED: &str = "is required";
const USER_ID_ALLOWED: &str = "must be 1 to 128 visible ASCII characters without \"/\"";
