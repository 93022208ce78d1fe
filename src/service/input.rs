//! Values as callers sent them, before validation.

use std::{str::FromStr, time::Duration};

use crate::presence::{Timestamp, UserIdForm};

/// What the settings say about valid input.
#[derive(Clone, Copy, Debug)]
pub struct InputSettings {
    /// The form of all user ids.
    pub user_ids: UserIdForm,
    /// The shortest expiration of a session in the gRPC API.
    pub session_min: Duration,
}

/// A field as a caller sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input<T> {
    /// The field is missing or empty.
    #[default]
    Missing,
    /// The field has a value of the expected type.
    Value(T),
    /// The field has a value that is not a `T`; the text describes it.
    Unreadable(String),
}

impl Input<String> {
    /// The text of a field; an empty text counts as missing.
    #[must_use]
    pub fn text(text: String) -> Self {
        if text.is_empty() { Self::Missing } else { Self::Value(text) }
    }

    /// Parses the text as a `T`.
    #[must_use]
    pub fn parse<T: FromStr>(self) -> Input<T> {
        self.parse_with(|text| text.parse().ok())
    }

    /// Parses the text with `parse`.
    pub fn parse_with<T>(self, parse: impl FnOnce(&str) -> Option<T>) -> Input<T> {
        match self {
            Self::Missing => Input::Missing,
            Self::Value(text) => parse(&text).map_or_else(|| Input::Unreadable(quote(&text)), Input::Value),
            Self::Unreadable(description) => Input::Unreadable(description),
        }
    }
}

/// When a status message expires, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// An instant.
    At(Input<Timestamp>),
    /// A local time in a time zone. Graph: dateTimeTimeZone.
    Local {
        /// Required.
        date_time: Input<String>,
        /// A Windows or IANA name; UTC if missing.
        time_zone: Input<String>,
    },
}

/// The text, unless it is empty.
pub(super) fn not_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The first characters of a caller's text, escaped, for an error message.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 40;
    let more = if text.chars().count() > SHOWN { "…" } else { "" };
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    format!("\"{shown}{more}\"")
}
