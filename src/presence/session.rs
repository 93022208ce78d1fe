//! A session over time: the pair that it shows, its fades, and its end.

use std::time::Duration;

use super::{Availability, Pair, SessionId, Timestamp};

/// The shortest expiration that `--session-min` may allow. With a shorter one, a write that takes long
/// could find the session expired.
pub const EXPIRATION_LEAST: Duration = Duration::from_secs(10);
/// The shortest expiration of a session, unless the settings allow a shorter one in the gRPC API.
/// Graph: setPresence, `PT5M`.
pub const EXPIRATION_MIN: Duration = Duration::from_mins(5);
/// The longest expiration of a session. Graph: setPresence, `PT4H`.
pub const EXPIRATION_MAX: Duration = Duration::from_hours(4);
/// The default grace: the time for which a held session outlives a broken stream.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(15);
/// The shortest grace. Extending a held session costs a write per half grace.
pub const GRACE_MIN: Duration = Duration::from_secs(5);
/// The longest grace. After a break the session shows a pair that may be wrong.
pub const GRACE_MAX: Duration = Duration::from_mins(5);
/// The default expiration of a session. Graph: setPresence, `PT5M`.
pub const EXPIRATION_DEFAULT: Duration = Duration::from_mins(5);

/// An `Available` session not refreshed for this long shows
/// `Available`/`AvailableInactive`. Graph: "time-out".
pub const INACTIVE_AFTER: Duration = Duration::from_mins(5);
/// An `Available` session not refreshed for this long shows `Away`/`Away`.
pub const AWAY_AFTER: Duration = Duration::from_mins(10);

/// One application's claim about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The application's id.
    pub session_id: SessionId,
    /// The pair that was set.
    pub pair: Pair,
    /// The text that was set, not empty. It is shown while the session decides, unless the user has a
    /// status message.
    pub message: Option<String>,
    /// The time of the last set or refresh.
    pub set_at: Timestamp,
    /// The time at which the session last became live.
    pub opened_at: Timestamp,
    /// The time of the last set that changed what watchers see. A refresh keeps it.
    pub changed_at: Timestamp,
    /// The time at which the session ends unless it is refreshed.
    pub expires_at: Timestamp,
}

/// A change of a presence that time alone causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The time of the change.
    pub at: Timestamp,
    /// The pair that is shown from then on.
    pub to: Pair,
}

impl Session {
    /// Returns the pair that the session shows at `now`, or `None` once it has ended.
    ///
    /// The session has ended at `now = expires_at`, even if it would fade at that instant.
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

    /// Returns the next fade after `now` and before the expiry.
    #[must_use]
    pub fn next_fade(&self, now: Timestamp) -> Option<Timestamp> {
        [INACTIVE_AFTER, AWAY_AFTER]
            .into_iter()
            .map(|after| self.set_at + after)
            .find(|at| self.fades() && *at > now && *at < self.expires_at)
    }

    /// Returns the last fade at or before `now`.
    #[must_use]
    pub(super) fn last_fade(&self, now: Timestamp) -> Option<Timestamp> {
        [AWAY_AFTER, INACTIVE_AFTER]
            .into_iter()
            .map(|after| self.set_at + after)
            .find(|at| self.fades() && *at <= now && *at < self.expires_at)
    }

    /// Returns the first instant after `now` at which the session fades or ends.
    pub(super) fn next_transition(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_fade(now).or((self.expires_at > now).then_some(self.expires_at))
    }

    /// Whether the session fades. Only `Available` does; other states last until the expiry.
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
            message: None,
            set_at: SET_AT,
            opened_at: SET_AT,
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
    fn expiry_precedes_a_fade_at_the_same_instant() {
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
    fn transitions_are_in_order_and_end_with_the_expiry() {
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
