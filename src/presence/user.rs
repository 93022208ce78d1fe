//! The stored data of one user, and the time at which each part applies.

use std::{fmt, time::Duration};

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use super::{
    Availability, Pair, PlaceId, Session, Timestamp,
    pair::{UnknownWord, unknown_word},
};

/// The longest expiration of a preferred presence. Graph names no limit.
pub const PREFERRED_EXPIRATION_MAX: Duration = Duration::from_hours(365 * 24);

/// The longest status message, and the longest text of a session, in Unicode characters. Graph names
/// no limit; this is the limit of Teams.
pub const STATUS_MESSAGE_MAX_CHARS: usize = 280;

/// Returns the default expiration of a preferred presence. Graph: setUserPreferredPresence, 1
/// day for `Busy` and `DoNotDisturb`, 7 days for the rest.
#[must_use]
pub const fn preferred_expiration_default(pair: Pair) -> Duration {
    match pair.availability {
        Availability::Busy | Availability::DoNotDisturb => Duration::from_hours(24),
        _ => Duration::from_hours(7 * 24),
    }
}

/// The stored data of one user: the live sessions, and the other parts that the user set.
/// Expired parts are included; the rules compare them with the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The live sessions.
    pub sessions: Vec<Session>,
    /// The user's own override of the sessions.
    pub preferred: Option<PreferredPresence>,
    /// The user's own status message.
    pub status_message: Option<StatusMessage>,
    /// The work location that the user chose.
    pub manual_location: Option<WorkLocation>,
    /// The work location that was detected automatically.
    pub automatic_location: Option<WorkLocation>,
    /// The time of the last change to the other parts.
    pub changed_at: Option<Timestamp>,
    /// The latest end of a session that has ended.
    pub sessions_ended_at: Option<Timestamp>,
}

/// The user's own override of the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferredPresence {
    /// The pair that is shown instead, one of [`Pair::PREFERRED`].
    pub pair: Pair,
    /// The time at which it ends.
    pub expires_at: Timestamp,
}

/// A status message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusMessage {
    /// The text, not empty.
    pub content: String,
    /// The time at which it was set; `None` if the caller may not see it, and for the text of a session.
    pub published_at: Option<Timestamp>,
    /// The time at which it ends; `None` if it does not, or the caller may not see it.
    pub expires_at: Option<Timestamp>,
}

impl StatusMessage {
    /// The text of a session, which ends with the session.
    pub(super) fn of_session(text: &str) -> Self {
        Self { content: text.to_owned(), published_at: None, expires_at: None }
    }
}

/// A user's work location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkLocation {
    /// The kind of place.
    pub location_type: WorkLocationType,
    /// The place, if it is known.
    pub place_id: Option<PlaceId>,
}

/// A kind of place to work at, or none. Graph: workLocationType.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(ascii_case_insensitive, parse_err_fn = unknown_word, parse_err_ty = UnknownWord)]
pub enum WorkLocationType {
    /// In an office.
    Office,
    /// At another place.
    Remote,
    /// Not working.
    TimeOff,
}

/// The source of a work location. Graph: workLocationSource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(ascii_case_insensitive, parse_err_fn = unknown_word, parse_err_ty = UnknownWord)]
pub enum WorkLocationSource {
    /// The user. This source has precedence.
    Manual,
    /// Automatic detection.
    Automatic,
}

/// The time of the last change of a user's presence, as a text that sorts by time. Graph:
/// sequenceNumber.
///
/// Of two presences of a user, the later has the greater number if anything changed. It may
/// also be greater after a set of equal values. Changes that are written at the same time may
/// share a number. While a preferred presence applies, the number counts when sessions open and end, and
/// no other change of a session, because the preference hides it. After the retention time has
/// removed all rows of a user, the number starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SequenceNumber(i64);

impl SequenceNumber {
    /// Returns the time of the change.
    #[must_use]
    pub const fn changed_at(self) -> Timestamp {
        Timestamp::from_millis(self.0)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "A{:013}", self.0)
    }
}

impl User {
    /// Returns the preferred presence that applies at `now`: it has not ended, and a session is
    /// live.
    #[must_use]
    pub fn preferred_at(&self, now: Timestamp) -> Option<PreferredPresence> {
        self.preferred.filter(|preferred| preferred.expires_at > now && self.online_at(now))
    }

    /// Returns the user's own status message that applies at `now`.
    #[must_use]
    pub fn status_message_at(&self, now: Timestamp) -> Option<&StatusMessage> {
        self.status_message.as_ref().filter(|message| message.expires_at.is_none_or(|at| at > now))
    }

    /// Returns the work location and its source. The manual location has precedence.
    #[must_use]
    pub fn work_location(&self) -> Option<(&WorkLocation, WorkLocationSource)> {
        let manual = self.manual_location.as_ref().map(|location| (location, WorkLocationSource::Manual));
        manual.or_else(|| {
            self.automatic_location.as_ref().map(|location| (location, WorkLocationSource::Automatic))
        })
    }

    /// Returns the time of the last change of the presence: the latest change, fade or end in
    /// the rows that is not after `now`. While a preferred presence applies, only the openings and
    /// ends of sessions count.
    ///
    /// A row's time may be slightly after `now`, because it never goes back. It counts all the same.
    #[must_use]
    pub fn sequence_number(&self, now: Timestamp) -> SequenceNumber {
        let hidden = self.preferred_at(now).is_some();
        let sessions = self.sessions.iter().filter_map(|session| match session {
            session if session.expires_at <= now => Some(session.expires_at.max(session.changed_at)),
            session if hidden => Some(session.opened_at),
            session => session.last_fade(now).max(Some(session.changed_at)),
        });
        let expiries = self.expiries().filter(|at| *at <= now);
        let times = sessions.chain(expiries).chain(self.changed_at).chain(self.sessions_ended_at);
        SequenceNumber(times.max().map_or(0, Timestamp::as_millis).max(0))
    }

    /// Returns the first instant after `now` at which the sequence number moves without a write.
    /// No presence changes without that.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let hidden = self.preferred_at(now).is_some();
        let sessions = self.sessions.iter().filter(|session| session.expires_at > now);
        let sessions =
            sessions.map(|session| session.next_fade(now).filter(|_| !hidden).unwrap_or(session.expires_at));
        sessions.chain(self.expiries().filter(|at| *at > now)).min()
    }

    /// The expiries of the preferred presence and of the status message.
    fn expiries(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let preferred = self.preferred.map(|preferred| preferred.expires_at);
        let message = self.status_message.as_ref().and_then(|message| message.expires_at);
        preferred.into_iter().chain(message)
    }

    /// Whether a session is live at `now`.
    fn online_at(&self, now: Timestamp) -> bool {
        self.sessions.iter().any(|session| session.expires_at > now)
    }
}
