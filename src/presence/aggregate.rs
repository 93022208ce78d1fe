//! Aggregation: from a user's sessions and preference to the one presence that is shown.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Pair, SequenceNumber, Session, SessionId, StatusMessage, Timestamp, Transition, User, UserId,
    WorkLocation, WorkLocationSource,
};

/// The rule that decided a presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidingRule {
    /// No session is live, so the user is `Offline`/`Offline`.
    NoLiveSession,
    /// The user's preferred presence overrides the live sessions.
    PreferredPresence,
    /// One session is live.
    OnlySession,
    /// The deciding session has the highest rank:
    /// `DoNotDisturb > Busy > Available > AvailableInactive > Away`.
    Precedence,
    /// Among the sessions of the highest rank, the deciding session changed last.
    LatestChange,
    /// Among the sessions that also changed last, the deciding session has the smallest id.
    SmallestSessionId,
}

/// A presence at one instant, with its explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The pair that is shown.
    pub presence: Pair,
    /// The rule that decided the presence.
    pub rule: DecidingRule,
    /// The live sessions with the pair that each shows, most important first. The first
    /// session decided the presence, unless the preferred presence did.
    pub live: Vec<(&'a Session, Pair)>,
    /// The next change without a write, of the pair or of the status message.
    pub next_transition: Option<Transition>,
}

/// Returns the presence of the user at `now`, with its explanation.
#[must_use]
pub fn explain(user: &User, now: Timestamp) -> Decision<'_> {
    let mut live: Vec<_> = live_at(&user.sessions, now).collect();
    live.sort_by_key(|(session, shown)| importance(session, *shown));
    let rule = match live.as_slice() {
        [] => DecidingRule::NoLiveSession,
        _ if user.preferred_at(now).is_some() => DecidingRule::PreferredPresence,
        [_] => DecidingRule::OnlySession,
        [(_, first), (_, second), ..] if first.rank() > second.rank() => DecidingRule::Precedence,
        [(first, _), (second, _), ..] if first.changed_at > second.changed_at => DecidingRule::LatestChange,
        _ => DecidingRule::SmallestSessionId,
    };
    let presence = presence_of(user, now);
    Decision { presence, rule, live, next_transition: transition_from(user, presence, now) }
}

/// Returns the pair that is shown for the user at `now`.
#[must_use]
pub fn presence_of(user: &User, now: Timestamp) -> Pair {
    match user.preferred_at(now) {
        Some(preferred) => preferred.pair,
        None => shown_by(&user.sessions, now),
    }
}

/// Returns the pair that the sessions alone show at `now`.
fn shown_by(sessions: &[Session], now: Timestamp) -> Pair {
    live_at(sessions, now)
        .min_by_key(|(session, shown)| importance(session, *shown))
        .map_or(Pair::OFFLINE, |(_, shown)| shown)
}

/// Returns the live sessions with the pair that each shows.
fn live_at(sessions: &[Session], now: Timestamp) -> impl Iterator<Item = (&Session, Pair)> {
    sessions.iter().filter_map(move |session| Some((session, session.shown_at(now)?)))
}

/// The sort key that places the deciding session first: the highest rank, then the latest
/// change, then the smallest id. By the latest change, the heartbeats of two applications do
/// not make the presence flicker.
type Importance<'a> = (Reverse<u8>, Reverse<Timestamp>, &'a SessionId);

fn importance(session: &Session, shown: Pair) -> Importance<'_> {
    (Reverse(shown.rank()), Reverse(session.changed_at), &session.session_id)
}

/// Returns the first change of the pair or the status message after `now` without a write, of a user
/// whose pair at `now` is `presence`.
fn transition_from(user: &User, presence: Pair, now: Timestamp) -> Option<Transition> {
    let change = match user.preferred_at(now) {
        None => next_change(&user.sessions, presence, now),
        // The preference applies until it or the last session ends.
        Some(preferred) => {
            let last_end = user.sessions.iter().map(|session| session.expires_at).max();
            let at = last_end.map_or(preferred.expires_at, |end| end.min(preferred.expires_at));
            match shown_by(&user.sessions, at) {
                to if to == presence => next_change(&user.sessions, presence, at),
                to => Some(Transition { at, to }),
            }
        }
    };
    let message_ends = user.status_message_at(now).and_then(|message| message.expires_at);
    match (change, message_ends) {
        (Some(change), Some(at)) if at < change.at => Some(Transition { at, to: presence }),
        (None, Some(at)) => Some(Transition { at, to: presence }),
        (change, _) => change,
    }
}

/// Returns the first instant after `now` at which the sessions alone show another pair than
/// `presence`, which they show now.
///
/// Over time a session only loses rank, so the pair changes no earlier than the deciding
/// session. That session moves to its new position, and then the next session decides. Each
/// session moves a few times at most.
fn next_change(sessions: &[Session], presence: Pair, now: Timestamp) -> Option<Transition> {
    let mut at = now;
    let mut order: BTreeMap<Importance<'_>, (&Session, Pair)> = live_at(sessions, now)
        .map(|(session, shown)| (importance(session, shown), (session, shown)))
        .collect();
    while let Some((_, (session, shown))) = order.pop_first() {
        match session.shown_at(at) {
            Some(current) if current == shown && shown != presence => {
                return Some(Transition { at, to: shown });
            }
            // The session decides until its own next transition.
            Some(current) if current == shown => at = session.next_transition(at)?,
            _ => {}
        }
        if let Some(later) = session.shown_at(at) {
            order.insert(importance(session, later), (session, later));
        }
    }
    (presence != Pair::OFFLINE).then_some(Transition { at, to: Pair::OFFLINE })
}

/// A user's presence at one instant, as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The user.
    pub user_id: UserId,
    /// The pair that is shown.
    pub pair: Pair,
    /// The time of the last change.
    pub sequence_number: SequenceNumber,
    /// The status message. Only the user sees its times.
    pub status_message: Option<StatusMessage>,
    /// The work location, and its source.
    pub work_location: Option<(WorkLocation, WorkLocationSource)>,
    /// The times from the history; `None` if they were not read.
    pub times: Option<PresenceTimes>,
}

/// The times of a presence that come from the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceTimes {
    /// When the user was first shown so without a break; `None` if that is before the history, or if
    /// the user was always offline.
    pub change_time: Option<Timestamp>,
    /// When the user was last active; see [`History::last_active_time`](super::History).
    pub last_active_time: Option<Timestamp>,
    /// From when on the history is complete; `None` if nothing was removed.
    pub history_start: Option<Timestamp>,
}

impl Presence {
    /// Computes the presence at `now`, with all parts.
    #[must_use]
    pub fn compute(user_id: UserId, user: &User, now: Timestamp) -> Self {
        Self {
            user_id,
            pair: presence_of(user, now),
            sequence_number: user.sequence_number(now),
            status_message: user.status_message_at(now).cloned(),
            work_location: user.work_location().map(|(location, source)| (location.clone(), source)),
            times: None,
        }
    }
}
