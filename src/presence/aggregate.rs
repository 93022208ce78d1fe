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
    /// The next change without a write, of the pair or of the status message that is shown.
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
    Decision { presence, rule, live, next_transition: transition_from(user, now) }
}

/// Returns the pair that is shown for the user at `now`.
#[must_use]
pub fn presence_of(user: &User, now: Timestamp) -> Pair {
    shown_of(user, now).0
}

/// Returns the status message that is shown for the user at `now`: the user's own, or else the text of
/// the deciding session. No session decides while a preferred presence does.
#[must_use]
pub fn message_of(user: &User, now: Timestamp) -> Option<StatusMessage> {
    message_or(user, shown_of(user, now).1, now)
}

/// Returns the user's own status message, or else the text of the deciding session.
fn message_or(user: &User, text: Option<&str>, now: Timestamp) -> Option<StatusMessage> {
    user.status_message_at(now).cloned().or_else(|| text.map(StatusMessage::of_session))
}

/// A pair that is shown, and the text of the session that decided, if one did.
type Shown<'a> = (Pair, Option<&'a str>);

/// Returns what is shown for the user at `now`, apart from the user's own status message.
fn shown_of(user: &User, now: Timestamp) -> Shown<'_> {
    match user.preferred_at(now) {
        Some(preferred) => (preferred.pair, None),
        None => shown_by(&user.sessions, now),
    }
}

/// Returns what the sessions alone show at `now`.
fn shown_by(sessions: &[Session], now: Timestamp) -> Shown<'_> {
    live_at(sessions, now)
        .min_by_key(|(session, shown)| importance(session, *shown))
        .map_or((Pair::OFFLINE, None), |(session, shown)| (shown, session.message.as_deref()))
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

/// Returns the first change of the pair or the status message after `now` without a write.
fn transition_from(user: &User, now: Timestamp) -> Option<Transition> {
    let own_message = user.status_message_at(now);
    // The user's own message hides the texts of the sessions until it ends, which is a change.
    let with_text = own_message.is_none();
    let shown = seen(shown_of(user, now), with_text);
    let change = match user.preferred_at(now) {
        None => next_change(&user.sessions, shown, with_text, now),
        // The preference applies until it or the last session ends.
        Some(preferred) => {
            let last_end = user.sessions.iter().map(|session| session.expires_at).max();
            let at = last_end.map_or(preferred.expires_at, |end| end.min(preferred.expires_at));
            match seen(shown_by(&user.sessions, at), with_text) {
                to if to == shown => next_change(&user.sessions, shown, with_text, at),
                (to, _) => Some(Transition { at, to }),
            }
        }
    };
    let message_ends = own_message.and_then(|message| message.expires_at);
    match (change, message_ends) {
        (Some(change), Some(at)) if at < change.at => Some(Transition { at, to: shown.0 }),
        (None, Some(at)) => Some(Transition { at, to: shown.0 }),
        (change, _) => change,
    }
}

/// Returns what readers see of what is shown, with or without the text.
fn seen((pair, text): Shown<'_>, with_text: bool) -> Shown<'_> {
    (pair, text.filter(|_| with_text))
}

/// Returns the first instant after `now` at which the sessions alone show something else than
/// `before`, which they show now.
///
/// Over time a session only loses rank, so nothing changes earlier than the deciding
/// session. That session moves to its new position, and then the next session decides. Each
/// session moves a few times at most.
fn next_change(
    sessions: &[Session],
    before: Shown<'_>,
    with_text: bool,
    now: Timestamp,
) -> Option<Transition> {
    let mut at = now;
    let mut order: BTreeMap<Importance<'_>, (&Session, Pair)> = live_at(sessions, now)
        .map(|(session, shown)| (importance(session, shown), (session, shown)))
        .collect();
    while let Some((_, (session, shown))) = order.pop_first() {
        match session.shown_at(at) {
            Some(current)
                if current == shown && seen((shown, session.message.as_deref()), with_text) != before =>
            {
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
    (before.0 != Pair::OFFLINE).then_some(Transition { at, to: Pair::OFFLINE })
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
    /// The status message, or the text of the deciding session, which has no times. Only the user sees
    /// the times.
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
        let (pair, text) = shown_of(user, now);
        Self {
            user_id,
            pair,
            sequence_number: user.sequence_number(now),
            status_message: message_or(user, text, now),
            work_location: user.work_location().map(|(location, source)| (location.clone(), source)),
            times: None,
        }
    }
}
