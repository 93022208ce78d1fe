//! Spans: the pieces of a user's history.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use super::{
    AWAY_AFTER, INACTIVE_AFTER, Pair, SessionId, Timestamp, UserId, WorkLocation,
    pair::{UnknownWord, unknown_word},
};

/// The author of a value, as far as the access token names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Author {
    /// The application.
    pub application_id: Option<SessionId>,
    /// The user for whom the application acted.
    pub user_id: Option<UserId>,
}

/// A value of one part of a user's presence, from one instant to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The value.
    pub value: SpanValue,
    /// The first instant of the span.
    pub started_at: Timestamp,
    /// The first instant after the span: its end, or the expiry of a value that still applies.
    /// `None` if the value applies without an end.
    pub ended_at: Option<Timestamp>,
    /// The time of the last set or refresh of the value.
    pub set_at: Timestamp,
    /// The author of the value.
    pub set_by: Author,
    /// How the span ended; `None` while the value applies, or if it expired and its row was not
    /// written since.
    pub end: Option<SpanEnd>,
}

/// The value of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue {
    /// A session shows the pair and the text.
    Session {
        /// The session.
        session_id: SessionId,
        /// The pair that was set.
        pair: Pair,
        /// The text of the session, not empty.
        message: Option<String>,
        /// The time of the last set that changed what watchers see, which decides between sessions
        /// of the same rank.
        changed_at: Timestamp,
    },
    /// The user prefers the pair.
    Preferred(Pair),
    /// The user has the status message.
    StatusMessage(String),
    /// The user has the work locations.
    Locations {
        /// The location that the user chose.
        manual: Option<WorkLocation>,
        /// The location that was detected automatically.
        automatic: Option<WorkLocation>,
    },
}

/// A part of a user's presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum Part {
    /// The sessions.
    Session,
    /// The preferred presence.
    Preference,
    /// The status message.
    Message,
    /// The work locations.
    Locations,
}

/// The end of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanEnd {
    /// How the span ended.
    pub reason: EndReason,
    /// The author of the write that ended it; without fields if no write did.
    pub by: Author,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", parse_err_fn = unknown_word, parse_err_ty = UnknownWord)]
pub enum EndReason {
    /// Another value or author replaced it.
    Changed,
    /// The value was cleared.
    Cleared,
    /// The value expired.
    Expired,
    /// The session was removed, because the user had too many.
    Evicted,
}

impl Span {
    /// The part of the presence.
    #[must_use]
    pub const fn part(&self) -> Part {
        match self.value {
            SpanValue::Session { .. } => Part::Session,
            SpanValue::Preferred(_) => Part::Preference,
            SpanValue::StatusMessage(_) => Part::Message,
            SpanValue::Locations { .. } => Part::Locations,
        }
    }

    /// Whether the value applies at `now`.
    #[must_use]
    pub fn applies_at(&self, now: Timestamp) -> bool {
        self.started_at <= now && self.ended_at.is_none_or(|end| now < end)
    }

    /// The instants at which the span changes what is shown: its start, its fades and its end.
    pub(super) fn instants(&self) -> Vec<Timestamp> {
        let mut instants = vec![self.started_at];
        instants.extend(self.ended_at);
        if matches!(&self.value, SpanValue::Session { pair, .. } if *pair == Pair::AVAILABLE) {
            let fades = [INACTIVE_AFTER, AWAY_AFTER].map(|after| self.set_at + after);
            instants.extend(fades.into_iter().filter(|at| *at > self.started_at && self.applies_at(*at)));
        }
        instants
    }
}
