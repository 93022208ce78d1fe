//! The rules for fields, and the error message of each rule in each API.
//!
//! The gRPC API uses the terms of the proto: `expiration_duration`, `300s`,
//! `AVAILABILITY_BUSY`. The HTTP API uses Graph's: `expirationDuration`, `PT5M`, `Busy`.

use std::time::Duration;

use strum::VariantArray as _;

use super::{
    Field, Path, Reason,
    terms::{availability_names, duration, location_name, not_placeholder, pair_name},
};
use crate::{
    presence::{
        ID_MAX_CHARS, OBSERVED_AHEAD_MAX, Pair, Placeholder, Timestamp, UserIdForm, WorkLocationType,
    },
    telemetry::Api,
};

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The position of the field.
    pub path: Path,
    /// The rule.
    pub rule: Rule,
    /// The value that breaks the rule; `None` if the field is missing or the value adds nothing.
    pub received: Option<Received>,
}

/// A rule for a field, with its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The field is required.
    Required,
    /// A field that excludes another one.
    NotWith(Field),
    /// A list that must not be empty.
    NotEmpty {
        /// What the list has.
        of: &'static str,
    },
    /// A user id.
    UserId,
    /// A session id or a place id.
    Id,
    /// An id, and not what a program sends instead of one by mistake.
    NotPlaceholder(Placeholder),
    /// A user id of the form that the service is set to.
    UserIdForm(UserIdForm),
    /// A list of user ids.
    UserIds {
        /// The maximum number of ids.
        max: usize,
    },
    /// A number of items.
    Items {
        /// The maximum.
        max: usize,
    },
    /// An availability and an activity that form one of these pairs.
    Pair(&'static [Pair]),
    /// A duration in a range, ends included.
    Duration {
        /// The shortest duration.
        min: Duration,
        /// The longest duration.
        max: Duration,
    },
    /// The value of the first message of a stream.
    Unchanged,
    /// A text.
    Text {
        /// The maximum number of Unicode characters.
        max_chars: usize,
    },
    /// The content type `text`.
    ContentType,
    /// A point in time.
    Time,
    /// A date and time that has the offset of its time zone, if it has one.
    OffsetOfZone,
    /// A point in time after `now`.
    Future {
        /// The service's time.
        now: Timestamp,
    },
    /// A name of a time zone.
    TimeZone,
    /// A type of a work location.
    WorkLocationType,
    /// A number of items on a page.
    PageSize {
        /// The maximum.
        max: usize,
    },
    /// Availabilities; in the HTTP API a filter with them.
    Availabilities,
    /// A page token from an earlier response of an equal request.
    TokenOfThisQuery,
    /// A view of a presence.
    View,
    /// A point in time with an offset.
    Instant,
    /// A point in time that is not after `now`.
    Past {
        /// The service's time.
        now: Timestamp,
    },
    /// A point in time that is at most [`OBSERVED_AHEAD_MAX`] after `now`.
    NotAhead {
        /// The service's time.
        now: Timestamp,
    },
    /// A point in time that is not before the start of the history.
    WithinHistory {
        /// The start.
        start: Timestamp,
    },
    /// A point in time that is not before the start of the range.
    NotBefore {
        /// The start.
        from: Timestamp,
    },
    /// A list of parts of a history.
    Parts,
    /// The id of a subscription.
    Guid,
    /// The users of a subscription. Graph: resource.
    Resource,
    /// The kind of changes. Graph: changeType.
    ChangeType,
    /// A URL to which the service may send.
    Receiver,
    /// A truth value.
    Boolean,
    /// An RSA certificate.
    Certificate,
    /// Text of 1 to this number of characters.
    ShortText {
        /// The maximum number of Unicode characters.
        max_chars: usize,
    },
    /// A point in time after `now`, and at most `max` after it.
    Within {
        /// The service's time.
        now: Timestamp,
        /// The longest time.
        max: Duration,
    },
    /// A key that signs notifications.
    SigningKey,
}

/// A value that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A description that suits both APIs.
    Text(String),
    /// A duration.
    Duration(Duration),
    /// A pair of availability and activity.
    Pair(Pair),
    /// What is wrong with the value, in words that replace those of the rule: `must …`.
    Problem(String),
}

impl Violation {
    /// The reason, for machines.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match (&self.rule, &self.received) {
            (Rule::Required | Rule::NotEmpty { .. }, _) => Reason::FieldRequired,
            (Rule::Items { .. }, _) => Reason::TooMany,
            (Rule::Duration { .. }, _) => Reason::DurationOutOfRange,
            (Rule::Pair(_), Some(Received::Pair(_))) => Reason::PairNotAllowed,
            _ => Reason::FieldInvalid,
        }
    }

    /// A sentence in the API's terms: the field, what is allowed, and what was received.
    #[must_use]
    pub fn message(&self, api: Api) -> String {
        let (field, rule) = (self.path.name(api), self.rule_text(api));
        match &self.received {
            Some(Received::Problem(problem)) => format!("`{field}` {problem}."),
            Some(received) => format!("`{field}` {rule}, got {}.", received.text(api)),
            None => format!("`{field}` {rule}."),
        }
    }

    fn rule_text(&self, api: Api) -> String {
        let is_duration = matches!(self.received, Some(Received::Duration(_)));
        match (self.rule, api) {
            (Rule::Required, _) => "is required".to_owned(),
            (Rule::NotWith(other), _) => format!("must not be set together with `{}`", other.name(api)),
            (Rule::NotEmpty { of }, _) => format!("must have at least one {of}"),
            (Rule::UserId, _) => format!("must be 1 to {ID_MAX_CHARS} visible ASCII characters without `/`"),
            (Rule::Id, _) => format!("must be 1 to {ID_MAX_CHARS} visible ASCII characters"),
            (Rule::NotPlaceholder(placeholder), _) => not_placeholder(placeholder, api).to_owned(),
            (Rule::UserIdForm(form), _) => {
                let (form, value) = match form {
                    UserIdForm::Guid => ("a GUID", form.as_str()),
                    UserIdForm::Email => ("an id with an `@` inside", form.as_str()),
                    UserIdForm::Any => ("an id", form.as_str()),
                };
                format!("must be {form}; this service is set to --user-ids {value}")
            }
            (Rule::UserIds { max }, _) => format!("must be a list of 1 to {max} user ids"),
            (Rule::Items { max }, _) => format!("must have at most {max} items"),
            (Rule::Pair(pairs), _) => {
                let other = match self.path {
                    Path::Field(Field::Activity) | Path::InRequest(_, Field::Activity) => Field::Availability,
                    _ => Field::Activity,
                };
                let pairs: Vec<_> = pairs.iter().map(|pair| pair_name(*pair, api)).collect();
                format!("must form one of these pairs with `{}`: {}", other.name(api), pairs.join(", "))
            }
            (Rule::Duration { min, max }, _) => {
                let kind = match api {
                    _ if is_duration => "",
                    Api::Grpc => "a Duration ",
                    Api::Http => "an ISO 8601 duration ",
                };
                format!("must be {kind}between {} and {}", duration(min, api), duration(max, api))
            }
            (Rule::Unchanged, _) => "must be missing or the same as in the first message".to_owned(),
            (Rule::Text { max_chars }, _) => {
                format!("must be a string of at most {max_chars} Unicode characters without U+0000")
            }
            (Rule::ContentType, _) => "must be \"text\"".to_owned(),
            (Rule::Time | Rule::Instant, Api::Grpc) => "must be a Timestamp before year 10000".to_owned(),
            (Rule::Time, Api::Http) => {
                "must be a date and time, such as 2026-11-22T17:30:00 or 2026-11-22T17:30:00+01:00".to_owned()
            }
            (Rule::OffsetOfZone, _) => {
                format!("must have no offset, or that of `{}`", Field::TimeZone.name(api))
            }
            (Rule::Future { now }, _) => format!("must be later than now ({now})"),
            (Rule::TimeZone, _) => "must be a Windows or IANA time zone, such as Pacific Standard Time or \
                                    America/Los_Angeles"
                .to_owned(),
            (Rule::WorkLocationType, _) => {
                let names: Vec<_> =
                    WorkLocationType::VARIANTS.iter().map(|value| location_name(*value, api)).collect();
                format!("must be one of {}", names.join(", "))
            }
            (Rule::PageSize { max }, _) => format!("must be a whole number between 1 and {max}"),
            (Rule::View, _) => "must be PRESENCE_VIEW_BASIC or PRESENCE_VIEW_FULL".to_owned(),
            (Rule::Instant, Api::Http) => {
                "must be a date and time with an offset, such as 2026-11-22T17:30:00Z".to_owned()
            }
            (Rule::Past { now }, _) => format!("must not be later than now ({now})"),
            (Rule::NotAhead { now }, _) => {
                format!("must be at most {} s later than now ({now})", OBSERVED_AHEAD_MAX.as_secs())
            }
            (Rule::WithinHistory { start }, _) => {
                format!("must not be before the start of the history ({start})")
            }
            (Rule::NotBefore { from }, _) => format!("must not be before `from` ({from})"),
            (Rule::Parts, Api::Grpc) => "must have values among HISTORY_PART_SESSION, \
                                         HISTORY_PART_PREFERENCE, HISTORY_PART_MESSAGE, HISTORY_PART_LOCATIONS"
                .to_owned(),
            (Rule::Parts, Api::Http) => {
                "must be names among session, preference, message, locations, separated by commas".to_owned()
            }
            (Rule::Availabilities, Api::Grpc) => {
                format!("must have values among {}", availability_names(api))
            }
            (Rule::Availabilities, Api::Http) => format!(
                "must be `availability eq 'Busy'` or `availability in ('Busy', 'Away')`, with values among {}",
                availability_names(api)
            ),
            (
                Rule::Guid
                | Rule::Resource
                | Rule::ChangeType
                | Rule::Receiver
                | Rule::Boolean
                | Rule::Certificate
                | Rule::ShortText { .. }
                | Rule::Within { .. }
                | Rule::SigningKey,
                _,
            ) => self.rule.of_subscription(api),
            (Rule::TokenOfThisQuery, Api::Grpc) => "must be the `next_page_token` of a response to an equal \
                                                    request; leave it out for the first page"
                .to_owned(),
            (Rule::TokenOfThisQuery, Api::Http) => "must be from the `@odata.nextLink` of a response to an equal \
                                                    request; leave it out for the first page"
                .to_owned(),
        }
    }
}

impl Received {
    fn text(&self, api: Api) -> String {
        match self {
            Self::Text(text) | Self::Problem(text) => text.clone(),
            Self::Duration(value) => duration(*value, api),
            Self::Pair(pair) => pair_name(*pair, api),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: Path, rule: Rule, received: Option<Received>) -> [String; 2] {
        let violation = Violation { path, rule, received };
        [Api::Grpc, Api::Http].map(|api| violation.message(api))
    }

    #[test]
    fn each_api_uses_its_own_terms() {
        let (min, max) = (Duration::from_mins(5), Duration::from_hours(4));
        let path = Path::InRequest(3, Field::ExpirationDuration);
        assert_eq!(
            messages(path, Rule::Duration { min, max }, Some(Received::Duration(Duration::from_mins(4)))),
            [
                "`requests[3].expiration_duration` must be between 300s and 14400s, got 240s.",
                "`requests[3].expirationDuration` must be between PT5M and PT4H, got PT4M."
            ]
        );
        let (rule, received) = (Rule::Pair(&[Pair::AWAY]), Received::Pair(Pair::INACTIVE));
        assert_eq!(
            messages(Path::Field(Field::Availability), rule, Some(received)),
            [
                "`availability` must form one of these pairs with `activity`: AVAILABILITY_AWAY / ACTIVITY_AWAY, \
                 got AVAILABILITY_AVAILABLE / ACTIVITY_AVAILABLE_INACTIVE.",
                "`availability` must form one of these pairs with `activity`: Away / Away, got Available / \
                 AvailableInactive."
            ]
        );
        assert_eq!(
            messages(Path::Field(Field::WorkLocationType), Rule::WorkLocationType, None),
            [
                "`work_location_type` must be one of WORK_LOCATION_TYPE_OFFICE, WORK_LOCATION_TYPE_REMOTE, \
                 WORK_LOCATION_TYPE_TIME_OFF.",
                "`workLocationType` must be one of office, remote, timeOff."
            ]
        );
    }

    #[test]
    fn a_placeholder_is_refused_with_the_reason() {
        let received = |text: &str| Some(Received::Text(format!("{text:?}")));
        assert_eq!(
            messages(Path::Field(Field::UserId), Rule::NotPlaceholder(Placeholder::Me), received("me")),
            [
                "`user_id` must be an id: only the HTTP API's path /me stands for the caller, got \"me\".",
                "`id` must be an id: only the path /me stands for the caller, got \"me\"."
            ]
        );
        let rule = Rule::NotPlaceholder(Placeholder::Template);
        assert_eq!(
            messages(Path::InRequest(3, Field::SessionId), rule, received("{id}")),
            [
                "`requests[3].session_id` must be an id, not a placeholder that the caller did not replace, got \
                 \"{id}\".",
                "`requests[3].sessionId` must be an id, not a placeholder that the caller did not replace, got \
                 \"{id}\"."
            ]
        );
    }
}
