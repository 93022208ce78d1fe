//! A field of a request: what was sent, and what is wrong with it.

use std::{fmt, str::FromStr};

use super::Reason;

/// A field as a caller sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input<T> {
    /// Not sent, or empty.
    #[default]
    Missing,
    /// Sent, and readable.
    Value(T),
    /// Sent, and not readable as a `T`: what was sent, in words.
    Unreadable(String),
}

impl Input<String> {
    /// The text of a field; an empty one counts as missing.
    #[must_use]
    pub fn text(text: String) -> Self {
        if text.is_empty() { Self::Missing } else { Self::Value(text) }
    }

    /// Reads the text as a `T`.
    #[must_use]
    pub fn parse<T: FromStr>(self) -> Input<T> {
        self.parse_with(|text| text.parse().ok())
    }

    /// Reads the text with `parse`.
    pub fn parse_with<T>(self, parse: impl FnOnce(&str) -> Option<T>) -> Input<T> {
        match self {
            Self::Missing => Input::Missing,
            Self::Value(text) => parse(&text).map_or_else(|| Input::Unreadable(quote(&text)), Input::Value),
            Self::Unreadable(what) => Input::Unreadable(what),
        }
    }
}

/// A field of a request; each API spells it its own way.
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
    /// `grace`.
    Grace,
    /// `requests`.
    Requests,
    /// `content` of a status message.
    Content,
    /// What the content is written in; only Graph has it.
    ContentType,
    /// `expire_time` of a status message.
    ExpireTime,
    /// The time zone of that; only Graph has it.
    TimeZone,
    /// `work_location_type`.
    WorkLocationType,
    /// `place_id`.
    PlaceId,
    /// The size of a page; only Graph has pages.
    PageSize,
    /// Where a page begins.
    PageToken,
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
            Self::Grace => "grace",
            Self::Requests => "requests",
            Self::Content => "content",
            Self::ContentType => "content_type",
            Self::ExpireTime => "expire_time",
            Self::TimeZone => "time_zone",
            Self::WorkLocationType => "work_location_type",
            Self::PlaceId => "place_id",
            Self::PageSize => "page_size",
            Self::PageToken => "page_token",
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

/// The start of a text that somebody sent, fit to be sent back.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 40;
    let more = if text.chars().count() > SHOWN { "…" } else { "" };
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    format!("\"{shown}{more}\"")
}
