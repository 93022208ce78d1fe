//! From a user's sessions to the one presence that the user is shown as.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Pair, Session, SessionId, Timestamp, Transition};

/// The rule by which a presence was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidingRule {
    /// No session is live: the user is `Offline`/`Offline`.
    NoLiveSession,
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
    /// first one decided.
    pub live: Vec<(&'a Session, Pair)>,
    /// When the presence changes next with no write.
    pub next_transition: Option<Transition>,
}

/// The presence of the user who has `sessions`, at `now`, and why.
#[must_use]
pub fn explain(sessions: &[Session], now: Timestamp) -> Decision<'_> {
    let mut live: Vec<_> = live_at(sessions, now).collect();
    live.sort_by_key(|(session, shown)| importance(session, *shown));
    let rule = match live.as_slice() {
        [] => DecidingRule::NoLiveSession,
        [_] => DecidingRule::OnlySession,
        [(_, first), (_, second), ..] if first.rank() > second.rank() => DecidingRule::Precedence,
        [(first, _), (second, _), ..] if first.changed_at > second.changed_at => DecidingRule::LatestChange,
        _ => DecidingRule::SmallestSessionId,
    };
    let presence = live.first().map_or(Pair::OFFLINE, |(_, shown)| *shown);
    Decision { presence, rule, next_transition: next_transition(&live, presence, now), live }
}

/// What the user who has `sessions` is shown as at `now`.
#[must_use]
pub fn presence_of(sessions: &[Session], now: Timestamp) -> Pair {
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

/// The first instant after `now` at which the user is shown as something else
/// than `presence`, which the first of the `live` sessions decides now.
///
/// With time a session only loses rank, so nothing changes before the deciding
/// one does. That one is moved to where it belongs then, and the next one
/// decides: each session is moved a few times at most.
fn next_transition(live: &[(&Session, Pair)], presence: Pair, now: Timestamp) -> Option<Transition> {
    let mut at = now;
    let mut order: BTreeMap<Importance<'_>, (&Session, Pair)> =
        live.iter().map(|(session, shown)| (importance(session, *shown), (*session, *shown))).collect();
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
