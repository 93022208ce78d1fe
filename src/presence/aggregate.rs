//! From a user's sessions and preference to the one presence that the user is
//! shown as.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Pair, Session, SessionId, Timestamp, Transition, User};

/// The rule by which a presence was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidingRule {
    /// No session is live: the user is `Offline`/`Offline`.
    NoLiveSession,
    /// The user's preferred presence overrides the live sessions.
    PreferredPresence,
    /// One session is live.
    OnlySession,
    /// The deciding session shows what ranks above all others:
    /// `DoNotDisturb > Busy > Available > AvailableInactive > Away`.
    Precedence,
    /// Of the sessions of the highest rank, the deciding one changed last.
    LatestChange,
    /// Of those that also changed last, the deciding one has the smallest id.
    SmallestSessionId,
}

/// A presence at one instant, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What the user is shown as.
    pub presence: Pair,
    /// The rule that decided.
    pub rule: DecidingRule,
    /// The live sessions with what each shows, the most important first: the
    /// first one decided, unless the preferred presence did.
    pub live: Vec<(&'a Session, Pair)>,
    /// When the presence changes next with no write: its pair, or, if that
    /// stays, its status message.
    pub next_transition: Option<Transition>,
}

/// The presence of the user at `now`, and why.
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

/// What the user is shown as at `now`.
#[must_use]
pub fn presence_of(user: &User, now: Timestamp) -> Pair {
    match user.preferred_at(now) {
        Some(preferred) => preferred.pair,
        None => shown_by(&user.sessions, now),
    }
}

/// What the sessions by themselves show at `now`.
fn shown_by(sessions: &[Session], now: Timestamp) -> Pair {
    live_at(sessions, now)
        .min_by_key(|(session, shown)| importance(session, *shown))
        .map_or(Pair::OFFLINE, |(_, shown)| shown)
}

/// The live sessions, with what each shows.
fn live_at(sessions: &[Session], now: Timestamp) -> impl Iterator<Item = (&Session, Pair)> {
    sessions.iter().filter_map(move |session| Some((session, session.shown_at(now)?)))
}

/// Orders sessions so that the one that decides comes first: the highest rank,
/// then the latest change (so that heartbeats of two applications do not make
/// a user flicker between them), then the smallest id.
type Importance<'a> = (Reverse<u8>, Reverse<Timestamp>, &'a SessionId);

fn importance(session: &Session, shown: Pair) -> Importance<'_> {
    (Reverse(shown.rank()), Reverse(session.changed_at), &session.session_id)
}

/// The first instant after `now` at which the user is shown as something else,
/// or with another status message, with no write.
#[must_use]
pub fn next_transition(user: &User, now: Timestamp) -> Option<Transition> {
    transition_from(user, presence_of(user, now), now)
}

/// The same for a user who is shown as `presence` now.
fn transition_from(user: &User, presence: Pair, now: Timestamp) -> Option<Transition> {
    let change = match user.preferred_at(now) {
        None => next_change(&user.sessions, presence, now),
        // It applies until it ends, or the last session does.
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

/// The first instant after `now` at which the sessions by themselves show
/// something else than `presence`, which they show now.
///
/// With time a session only loses rank, so nothing changes before the deciding
/// one does. That one is moved to where it belongs then, and the next one
/// decides: each session is moved a few times at most.
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
            // It decides until it changes by itself.
            Some(current) if current == shown => at = session.next_transition(at)?,
            _ => {}
        }
        if let Some(later) = session.shown_at(at) {
            order.insert(importance(session, later), (session, later));
        }
    }
    (presence != Pair::OFFLINE).then_some(Transition { at, to: Pair::OFFLINE })
}
