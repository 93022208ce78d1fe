//! All that is kept about one user beside the sessions, and when each part of
//! it counts.

use std::{fmt, time::Duration};

use super::{Availability, Pair, PlaceId, Session, Timestamp};

/// The longest time that a preferred presence may last. Graph names no bound.
pub const PREFERRED_EXPIRATION_MAX: Duration = Duration::from_hours(365 * 24);

/// The longest status message, in Unicode characters. Graph names no bound; it
/// is what Teams lets a user type.
pub const STATUS_MESSAGE_MAX_CHARS: usize = 280;

/// How long a preferred presence lasts that does not say. Graph:
/// setUserPreferredPresence, 1 day for `Busy` and `DoNotDisturb`, 7 for the
/// rest.
#[must_use]
pub const fn preferred_expiration_default(pair: Pair) -> Duration {
    match pair.availability {
        Availability::Busy | Availability::DoNotDisturb => Duration::from_hours(24),
        _ => Duration::from_hours(7 * 24),
    }
}

/// One user, as the store keeps it: the sessions that are live, and what the
/// user set beside them. What lies in the past is still there; the rules look
/// at the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The live sessions.
    pub sessions: Vec<Session>,
    /// The user's own override.
    pub preferred: Option<PreferredPresence>,
    /// What the user has to say.
    pub status_message: Option<StatusMessage>,
    /// The work location that the user chose.
    pub manual_location: Option<WorkLocation>,
    /// The work location that something found out.
    pub automatic_location: Option<WorkLocation>,
    /// When anything but the live sessions last changed: what the user set, or
    /// a session that has ended since.
    pub changed_at: Option<Timestamp>,
}

/// The user's own override of what the sessions show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferredPresence {
    /// What is shown instead: one of [`Pair::PREFERRED`].
    pub pair: Pair,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A text for others to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusMessage {
    /// The text, not empty.
    pub content: String,
    /// When it was set; `None` if the reader may not know.
    pub published_at: Option<Timestamp>,
    /// When it ends; `None` if it does not, or the reader may not know.
    pub expires_at: Option<Timestamp>,
}

/// Where a user works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkLocation {
    /// What kind of place it is.
    pub location_type: WorkLocationType,
    /// Which place, if that is known.
    pub place_id: Option<PlaceId>,
}

super::words! {
    /// A kind of place to work at, or none. Graph: workLocationType.
    WorkLocationType {
        /// In an office.
        Office,
        /// Somewhere else.
        Remote,
        /// Not working.
        TimeOff,
    }
}

super::words! {
    /// Who said where the user works. Graph: workLocationSource.
    WorkLocationSource {
        /// The user; this counts first.
        Manual,
        /// Something that found out.
        Automatic,
    }
}

/// When a user's presence last changed, as a text that sorts by it. Graph:
/// sequenceNumber.
///
/// Of two that one user showed one after the other, the later is the greater if
/// anything changed; it may be the greater, too, if what was set was there
/// before. It does not promise more: changes within a millisecond may share a
/// number, replicas whose clocks differ may
/// number by theirs, and it starts anew for a user none of whose rows outlived
/// the retention time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SequenceNumber(i64);

impl SequenceNumber {
    /// The change that it stands for.
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
    /// The preferred presence that applies at `now`: one that has not ended,
    /// while a session is live.
    #[must_use]
    pub fn preferred_at(&self, now: Timestamp) -> Option<PreferredPresence> {
        self.preferred.filter(|preferred| preferred.expires_at > now && self.online_at(now))
    }

    /// The status message that is shown at `now`.
    #[must_use]
    pub fn status_message_at(&self, now: Timestamp) -> Option<&StatusMessage> {
        self.status_message.as_ref().filter(|message| message.expires_at.is_none_or(|at| at > now))
    }

    /// Where the user works, and who says so: manual before automatic.
    #[must_use]
    pub fn work_location(&self) -> Option<(&WorkLocation, WorkLocationSource)> {
        let manual = self.manual_location.as_ref().map(|location| (location, WorkLocationSource::Manual));
        manual.or_else(|| {
            self.automatic_location.as_ref().map(|location| (location, WorkLocationSource::Automatic))
        })
    }

    /// When the user's presence last changed, as far as the rows tell: the
    /// latest change, fade or end among them that is not ahead of `now`.
    ///
    /// A row's change may lie a few milliseconds ahead, because it never goes
    /// back; it counts all the same.
    #[must_use]
    pub fn sequence_number(&self, now: Timestamp) -> SequenceNumber {
        let ends = [
            self.preferred.map(|preferred| preferred.expires_at),
            self.status_message.as_ref().and_then(|message| message.expires_at),
        ];
        let fades = self.sessions.iter().filter_map(|session| session.last_fade(now));
        let past = ends.into_iter().flatten().filter(|at| *at <= now).chain(fades);
        let changes = self.sessions.iter().map(|session| session.changed_at).chain(self.changed_at);
        SequenceNumber(changes.chain(past).max().map_or(0, Timestamp::as_millis).max(0))
    }

    /// Whether a session is live at `now`.
    fn online_at(&self, now: Timestamp) -> bool {
        self.sessions.iter().any(|session| session.expires_at > now)
    }
}
