//! One session over time: what it shows, when that changes, when it ends.

use std::time::Duration;

use super::{Availability, Pair, SessionId, Timestamp};

/// The shortest time a session may ask to live. Graph: setPresence, `PT5M`.
pub const EXPIRATION_MIN: Duration = Duration::from_mins(5);
/// The longest time a session may ask to live. Graph: setPresence, `PT4H`.
pub const EXPIRATION_MAX: Duration = Duration::from_hours(4);
/// How long a session that a stream holds outlives the stream when that breaks, if
/// the caller does not say.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(15);
/// The shortest that a caller may ask for: extending costs a write each half of it.
pub const GRACE_MIN: Duration = Duration::from_secs(5);
/// The longest: a session that nobody holds shows something that is not so.
pub const GRACE_MAX: Duration = Duration::from_mins(5);
/// How long a session lives that does not ask. Graph: setPresence, `PT5M`.
pub const EXPIRATION_DEFAULT: Duration = Duration::from_mins(5);

/// An `Available` session not refreshed for this long shows
/// `Available`/`AvailableInactive`. Graph: "time-out".
pub const INACTIVE_AFTER: Duration = Duration::from_mins(5);
/// An `Available` session not refreshed for this long shows `Away`/`Away`.
pub const AWAY_AFTER: Duration = Duration::from_mins(10);

/// One application's claim about a user, as it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The application's id.
    pub session_id: SessionId,
    /// What was set.
    pub pair: Pair,
    /// When it was last set or refreshed.
    pub set_at: Timestamp,
    /// When a set last changed what watchers see; a refresh leaves it.
    pub changed_at: Timestamp,
    /// When it ends unless it is refreshed.
    pub expires_at: Timestamp,
}

/// What time alone will do next to a session or a presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// What is shown from then on.
    pub to: Pair,
}

impl Session {
    /// What the session shows at `now`; `None` once it has ended.
    ///
    /// It has ended at `now = expires_at`: expiry beats a fade at the same
    /// instant.
    #[must_use]
    pub fn shown_at(&self, now: Timestamp) -> Option<Pair> {
        if now >= self.expires_at {
            None
        } else if !self.fades() || now < self.set_at + INACTIVE_AFTER {
            Some(self.pair)
        } else if now < self.set_at + AWAY_AFTER {
            Some(Pair::INACTIVE)
        } else {
            Some(Pair::AWAY)
        }
    }

    /// When the session fades next, after `now` and before it ends.
    #[must_use]
    pub fn next_fade(&self, now: Timestamp) -> Option<Timestamp> {
        [INACTIVE_AFTER, AWAY_AFTER]
            .into_iter()
            .map(|after| self.set_at + after)
            .find(|at| self.fades() && *at > now && *at < self.expires_at)
    }

    /// When the session last faded, at `now` or before.
    #[must_use]
    pub(super) fn last_fade(&self, now: Timestamp) -> Option<Timestamp> {
        [AWAY_AFTER, INACTIVE_AFTER]
            .into_iter()
            .map(|after| self.set_at + after)
            .find(|at| self.fades() && *at <= now && *at < self.expires_at)
    }

    /// The next instant after `now` at which the session shows something else.
    pub(super) fn next_transition(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_fade(now).or((self.expires_at > now).then_some(self.expires_at))
    }

    /// Only `Available` fades; the other states last until they end.
    fn fades(&self) -> bool {
        self.pair.availability == Availability::Available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET_AT: Timestamp = Timestamp::from_millis(1_000_000);

    fn session(pair: Pair, lives: Duration) -> Session {
        let expires_at = SET_AT + lives;
        Session {
            session_id: SessionId::parse("app").unwrap(),
            pair,
            set_at: SET_AT,
            changed_at: SET_AT,
            expires_at,
        }
    }

    fn shown(session: &Session, after: Duration) -> Option<Pair> {
        session.shown_at(SET_AT + after)
    }

    #[test]
    fn an_available_session_fades_at_5_and_10_minutes() {
        let session = session(Pair::AVAILABLE, EXPIRATION_MAX);
        let tick = Duration::from_millis(1);
        assert_eq!(shown(&session, Duration::ZERO), Some(Pair::AVAILABLE));
        assert_eq!(shown(&session, INACTIVE_AFTER.saturating_sub(tick)), Some(Pair::AVAILABLE));
        assert_eq!(shown(&session, INACTIVE_AFTER), Some(Pair::INACTIVE));
        assert_eq!(shown(&session, AWAY_AFTER.saturating_sub(tick)), Some(Pair::INACTIVE));
        assert_eq!(shown(&session, AWAY_AFTER), Some(Pair::AWAY));
        assert_eq!(shown(&session, EXPIRATION_MAX.saturating_sub(tick)), Some(Pair::AWAY));
        assert_eq!(shown(&session, EXPIRATION_MAX), None);
    }

    #[test]
    fn expiry_beats_a_fade_at_the_same_instant() {
        let session = session(Pair::AVAILABLE, INACTIVE_AFTER);
        assert_eq!(shown(&session, INACTIVE_AFTER), None);
        assert_eq!(session.next_fade(SET_AT), None);
        assert_eq!(session.next_transition(SET_AT), Some(SET_AT + INACTIVE_AFTER));
    }

    #[test]
    fn the_other_pairs_do_not_fade() {
        for pair in Pair::OF_SESSION.into_iter().filter(|pair| *pair != Pair::AVAILABLE) {
            let session = session(pair, EXPIRATION_MAX);
            assert_eq!(shown(&session, AWAY_AFTER), Some(pair));
            assert_eq!(session.next_transition(SET_AT), Some(SET_AT + EXPIRATION_MAX));
        }
    }

    #[test]
    fn transitions_follow_one_another_and_end() {
        let session = session(Pair::AVAILABLE, EXPIRATION_MAX);
        let mut instants = Vec::new();
        let mut now = SET_AT;
        while let Some(at) = session.next_transition(now) {
            instants.push(at);
            now = at;
        }
        assert_eq!(instants, [SET_AT + INACTIVE_AFTER, SET_AT + AWAY_AFTER, SET_AT + EXPIRATION_MAX]);
    }
}
