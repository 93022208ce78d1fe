//! Validation of requests.
//!
//! A request is checked as a whole, so that the caller learns of every invalid field at once:
//! each check returns a value or records a [`Violation`].

use std::{collections::HashSet, str::FromStr, time::Duration};

use super::{
    Error, Expiry, Field, Input, InputSettings, Path, Received, Rule, View, Violation, input::quote,
};
use crate::presence::{
    Activity, Availability, EXPIRATION_DEFAULT, EXPIRATION_MAX, EXPIRATION_MIN, GRACE_DEFAULT, GRACE_MAX,
    GRACE_MIN, InvalidId, OBSERVED_AHEAD_MAX, PREFERRED_EXPIRATION_MAX, Pair, Part, PlaceId, REQUESTS_MAX,
    STATUS_MESSAGE_MAX_CHARS, SessionId, Timestamp, UserId, UserIdForm, WorkLocationType, ZonedTimeError,
    parse_zoned_time, preferred_expiration_default,
};
use crate::{store::Observed, telemetry::Api};

/// The shortest preferred presence: the service rounds durations down to a millisecond.
const PREFERRED_EXPIRATION_MIN: Duration = Duration::from_millis(1);

/// The violations of a request.
#[derive(Debug)]
pub(super) struct Validator {
    settings: InputSettings,
    /// The index in `requests` of the item that is checked, in a batch.
    item: Option<usize>,
    violations: Vec<Violation>,
}

impl Validator {
    /// A validator without violations.
    pub(super) const fn new(settings: InputSettings) -> Self {
        Self { settings, item: None, violations: Vec::new() }
    }

    /// The value if there are no violations. A check that returned `None` has recorded one, so
    /// `value` is `None` only together with a violation.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ => Err(Error::invalid(self.violations)),
        }
    }

    /// Records that `field` breaks `rule`.
    pub(super) fn add(&mut self, field: Field, rule: Rule, received: Option<Received>) {
        let path = self.item.map_or(Path::Field(field), |index| Path::InRequest(index, field));
        self.violations.push(Violation { path, rule, received });
    }

    /// Makes the violations of a field and its items those of a path: the API has another field for it.
    pub(super) fn rename(&mut self, field: Field, path: Path) {
        for violation in &mut self.violations {
            if matches!(violation.path, Path::Field(of) | Path::Item(of, _) if of == field) {
                violation.path = path;
            }
        }
    }

    /// Validates the items of a batch, of which there must be 1 to [`REQUESTS_MAX`].
    pub(super) fn requests<T, V>(
        mut self,
        requests: Vec<T>,
        validate: impl Fn(T, &mut Self) -> Option<V>,
    ) -> Result<Vec<V>, Error> {
        let number = requests.len();
        if number == 0 {
            self.add(Field::Requests, Rule::NotEmpty { of: "request" }, None);
        }
        if number > REQUESTS_MAX {
            let rule = Rule::Items { max: REQUESTS_MAX };
            self.add(Field::Requests, rule, Some(Received::Text(number.to_string())));
            return self.finish(None);
        }
        let mut valid = Vec::with_capacity(number);
        for (index, request) in requests.into_iter().enumerate() {
            self.item = Some(index);
            valid.extend(validate(request, &mut self));
        }
        self.item = None;
        self.finish(Some(valid))
    }

    /// A user id; required.
    pub(super) fn user_id(&mut self, given: Input<String>) -> Option<UserId> {
        let form = self.settings.user_ids;
        self.required_id(Field::UserId, given, Rule::UserId, |text| user_id(text, form))
    }

    /// A session id; required.
    pub(super) fn session_id(&mut self, given: Input<String>) -> Option<SessionId> {
        self.required_id(Field::SessionId, given, Rule::Id, |text| id(text, Rule::Id))
    }

    /// An id that `parse` reads; required. If it is no text, it breaks `rule`.
    fn required_id<T>(
        &mut self,
        field: Field,
        given: Input<String>,
        rule: Rule,
        parse: impl FnOnce(&str) -> Result<T, Rule>,
    ) -> Option<T> {
        let text = self.required(field, given, rule)?;
        parse(&text).map_err(|rule| self.add(field, rule, Some(Received::Text(quote(&text))))).ok()
    }

    /// 1 to `max` user ids. Returns each once, in the order of the request.
    pub(super) fn user_ids(&mut self, given: Input<Vec<Input<String>>>, max: usize) -> Option<Vec<UserId>> {
        let given = self.required(Field::UserIds, given, Rule::UserIds { max })?;
        if given.is_empty() {
            self.add(Field::UserIds, Rule::NotEmpty { of: "id" }, None);
            return None;
        }
        if given.len() > max {
            self.add(Field::UserIds, Rule::Items { max }, Some(Received::Text(given.len().to_string())));
            return None;
        }
        let mut ids = Vec::with_capacity(given.len());
        for (index, id) in given.into_iter().enumerate() {
            let (rule, received) = match id {
                Input::Value(text) => match user_id(&text, self.settings.user_ids) {
                    Ok(id) => {
                        ids.push(id);
                        continue;
                    }
                    Err(rule) => (rule, quote(&text)),
                },
                Input::Missing => (Rule::UserId, "an empty value".to_owned()),
                Input::Unreadable(description) => (Rule::UserId, description),
            };
            let (path, received) = (Path::Item(Field::UserIds, index), Some(Received::Text(received)));
            self.violations.push(Violation { path, rule, received });
        }
        let mut seen = HashSet::with_capacity(ids.len());
        ids.retain(|id| seen.insert(id.clone()));
        Some(ids)
    }

    /// A pair that a session can set; required. Graph: setPresence.
    pub(super) fn session_pair(
        &mut self,
        availability: Input<Availability>,
        activity: Input<Activity>,
    ) -> Option<Pair> {
        self.pair(availability, activity, &Pair::OF_SESSION)
    }

    /// A pair that a user can prefer; required. Graph: setUserPreferredPresence.
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
        pairs: &'static [Pair],
    ) -> Option<Pair> {
        let availability = self.required(Field::Availability, availability, Rule::Pair(pairs));
        let activity = self.required(Field::Activity, activity, Rule::Pair(pairs));
        let pair = Pair::new(availability?, activity?);
        if !pairs.contains(&pair) {
            self.add(Field::Availability, Rule::Pair(pairs), Some(Received::Pair(pair)));
            return None;
        }
        Some(pair)
    }

    /// How long a session lasts: 5 to 240 minutes, 5 if missing. The settings may allow less in the gRPC
    /// API. Graph: setPresence.
    pub(super) fn session_expiration(&mut self, api: Api, given: Input<Duration>) -> Option<Duration> {
        let min = if api == Api::Grpc { self.settings.session_min } else { EXPIRATION_MIN };
        let rule = Rule::Duration { min, max: EXPIRATION_MAX };
        self.duration(Field::ExpirationDuration, given, EXPIRATION_DEFAULT, rule)
    }

    /// How long a preferred presence lasts: up to 365 days; if missing it depends on the pair.
    /// Graph: setUserPreferredPresence.
    pub(super) fn preferred_expiration(
        &mut self,
        given: Input<Duration>,
        pair: Option<Pair>,
    ) -> Option<Duration> {
        let default = pair.map_or(Duration::ZERO, preferred_expiration_default);
        let rule = Rule::Duration { min: PREFERRED_EXPIRATION_MIN, max: PREFERRED_EXPIRATION_MAX };
        self.duration(Field::ExpirationDuration, given, default, rule)
    }

    /// How long a held session outlives its stream: 5 s to 5 min, 15 s if missing.
    pub(super) fn grace(&mut self, given: Input<Duration>) -> Option<Duration> {
        self.duration(Field::Grace, given, GRACE_DEFAULT, Rule::Duration { min: GRACE_MIN, max: GRACE_MAX })
    }

    /// A duration; `default` if it is missing.
    pub(super) fn duration(
        &mut self,
        field: Field,
        given: Input<Duration>,
        default: Duration,
        rule: Rule,
    ) -> Option<Duration> {
        let received = match (given, rule) {
            (Input::Missing, _) => return Some(default),
            (Input::Value(value), Rule::Duration { min, max }) if (min..=max).contains(&value) => {
                return Some(value);
            }
            (Input::Value(value), _) => Received::Duration(value),
            (Input::Unreadable(description), _) => Received::Text(description),
        };
        self.add(field, rule, Some(received));
        None
    }

    /// A field of a later message of a stream: missing, or the same as in the first one.
    pub(super) fn unchanged<T: PartialEq>(
        &mut self,
        field: Field,
        given: &Input<T>,
        first: &T,
    ) -> Option<()> {
        match given {
            Input::Missing => Some(()),
            Input::Value(value) if value == first => Some(()),
            _ => {
                self.add(field, Rule::Unchanged, None);
                None
            }
        }
    }

    /// The format of a status message: `text`, also if missing. Graph: setStatusMessage.
    pub(super) fn status_content_type(&mut self, given: Input<String>) {
        let received = match given {
            Input::Missing => return,
            Input::Value(text) if text.eq_ignore_ascii_case("text") => return,
            Input::Value(other) => quote(&other),
            Input::Unreadable(description) => description,
        };
        self.add(Field::ContentType, Rule::ContentType, Some(Received::Text(received)));
    }

    /// The text of a session; empty if missing.
    pub(super) fn session_message(&mut self, given: Input<String>) -> Option<String> {
        if given == Input::Missing { Some(String::new()) } else { self.text(Field::Message, given) }
    }

    /// A text that readers of a presence see; required, but may be empty.
    pub(super) fn text(&mut self, field: Field, given: Input<String>) -> Option<String> {
        let rule = Rule::Text { max_chars: STATUS_MESSAGE_MAX_CHARS };
        let text = self.required(field, given, rule)?;
        let chars = text.chars().count();
        let received = if text.contains('\0') {
            "U+0000".to_owned()
        } else if chars > STATUS_MESSAGE_MAX_CHARS {
            format!("{chars} characters")
        } else {
            return Some(text);
        };
        self.add(field, rule, Some(Received::Text(received)));
        None
    }

    /// When a status message expires: after `now`, or never if missing.
    pub(super) fn status_expiry(&mut self, given: Expiry, now: Timestamp) -> Option<Timestamp> {
        let at = match given {
            Expiry::At(given) => self.optional(Field::ExpireTime, given, Rule::Time)?,
            Expiry::Local { date_time, time_zone } => self.local_time(date_time, time_zone)?,
        };
        if at <= now {
            self.add(Field::ExpireTime, Rule::Future { now }, Some(Received::Text(at.to_string())));
            return None;
        }
        Some(at.min(Timestamp::LATEST))
    }

    fn local_time(&mut self, date_time: Input<String>, time_zone: Input<String>) -> Option<Timestamp> {
        let zone = match time_zone {
            Input::Missing => Some(None),
            given => self.required(Field::TimeZone, given, Rule::TimeZone).map(Some),
        };
        let time = self.required(Field::ExpireTime, date_time, Rule::Time);
        let (time, zone) = time.zip(zone)?;
        let (field, rule, received) = match parse_zoned_time(&time, zone.as_deref()) {
            Ok(at) => return Some(at),
            Err(ZonedTimeError::Time) => (Field::ExpireTime, Rule::Time, quote(&time)),
            Err(ZonedTimeError::Zone) => (Field::TimeZone, Rule::TimeZone, quote(&zone.unwrap_or_default())),
            Err(ZonedTimeError::Offset) => {
                let received = format!("{} in {}", quote(&time), quote(&zone.unwrap_or_default()));
                (Field::ExpireTime, Rule::OffsetOfZone, received)
            }
        };
        self.add(field, rule, Some(Received::Text(received)));
        None
    }

    /// The type of a work location; required. Graph: setManualLocation.
    pub(super) fn work_location_type(&mut self, given: Input<WorkLocationType>) -> Option<WorkLocationType> {
        self.required(Field::WorkLocationType, given, Rule::WorkLocationType)
    }

    /// A place id; optional.
    pub(super) fn place_id(&mut self, given: Input<String>) -> Option<PlaceId> {
        self.optional(Field::PlaceId, given.parse(), Rule::Id)
    }

    /// The fields to return; the basic ones if missing.
    pub(super) fn view(&mut self, given: Input<View>) -> Option<View> {
        match given {
            Input::Missing => Some(View::Basic),
            given => self.required(Field::View, given, Rule::View),
        }
    }

    /// An instant that is not after `now`; optional.
    pub(super) fn past(
        &mut self,
        field: Field,
        given: Input<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let at = self.optional(field, given, Rule::Instant)?;
        if at > now {
            self.add(field, Rule::Past { now }, Some(Received::Text(at.to_string())));
            return None;
        }
        Some(at)
    }

    /// When an application observed what it writes: at most [`OBSERVED_AHEAD_MAX`] after `now`.
    pub(super) fn observed(&mut self, given: Input<Timestamp>, now: Timestamp) -> Option<Observed> {
        let at = match given {
            Input::Missing => return Some(Observed::Now),
            given => self.required(Field::ObservedTime, given, Rule::Instant)?,
        };
        if at > now + OBSERVED_AHEAD_MAX {
            self.add(Field::ObservedTime, Rule::NotAhead { now }, Some(Received::Text(at.to_string())));
            return None;
        }
        Some(Observed::At(at))
    }

    /// The parts whose spans to return.
    pub(super) fn parts(&mut self, given: Vec<Input<Part>>) -> Option<Vec<Part>> {
        let parts: Vec<_> =
            given.into_iter().map(|part| self.required(Field::Parts, part, Rule::Parts)).collect();
        parts.into_iter().collect()
    }

    /// The number of items on a page: 1 to `max`.
    pub(super) fn page_size(&mut self, given: Input<u32>, default: u32, max: usize) -> Option<u32> {
        let received = match given {
            Input::Missing => return Some(default),
            Input::Value(size) if size > 0 && usize::try_from(size).is_ok_and(|size| size <= max) => {
                return Some(size);
            }
            Input::Value(size) => size.to_string(),
            Input::Unreadable(description) => description,
        };
        self.add(Field::PageSize, Rule::PageSize { max }, Some(Received::Text(received)));
        None
    }

    /// A field that may be missing.
    pub(super) fn optional<T>(&mut self, field: Field, given: Input<T>, rule: Rule) -> Option<T> {
        match given {
            Input::Missing => None,
            given => self.required(field, given, rule),
        }
    }

    /// A field that must have a readable value.
    pub(super) fn required<T>(&mut self, field: Field, given: Input<T>, rule: Rule) -> Option<T> {
        match given {
            Input::Value(value) => return Some(value),
            Input::Missing => self.add(field, Rule::Required, None),
            Input::Unreadable(description) => self.add(field, rule, Some(Received::Text(description))),
        }
        None
    }
}

/// The id in its normal form, or the rule that it breaks: `rule` if its characters are invalid.
fn id<T: FromStr<Err = InvalidId>>(text: &str, rule: Rule) -> Result<T, Rule> {
    text.parse().map_err(|invalid| match invalid {
        InvalidId::Characters => rule,
        InvalidId::Placeholder(placeholder) => Rule::NotPlaceholder(placeholder),
    })
}

/// The id of a user in its normal form, if it has the form of all user ids.
fn user_id(text: &str, form: UserIdForm) -> Result<UserId, Rule> {
    let user_id: UserId = id(text, Rule::UserId)?;
    if user_id.has_form(form) { Ok(user_id) } else { Err(Rule::UserIdForm(form)) }
}
