//! The history of a user: what was shown at an instant, and from when to when.
//!
//! A user at an instant is made from the spans that apply then. So the rules for now and for then
//! are the same functions of a [`User`] and a time.

use std::time::Duration;

use super::{
    Availability, Pair, PreferredPresence, Session, Span, SpanValue, StatusMessage, Timestamp, User,
    presence_of,
};

/// The smallest difference of two times.
const TICK: Duration = Duration::from_millis(1);

/// The spans of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The spans, in any order.
    pub spans: Vec<Span>,
    /// The time from which the spans are complete; `None` if they are complete.
    pub complete_from: Option<Timestamp>,
}

/// A pair that was shown for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The pair.
    pub pair: Pair,
    /// The first instant; `None` if it is before the history.
    pub started_at: Option<Timestamp>,
    /// The first instant after it, or the instant from which the history was read.
    pub ended_at: Timestamp,
    /// The first known instant.
    pub known_from: Timestamp,
    /// What applied at that instant, which is the cause.
    pub spans: Vec<&'a Span>,
}

impl Shown<'_> {
    /// Returns the user at the first known instant.
    #[must_use]
    pub fn user(&self) -> User {
        user(&self.spans)
    }
}

impl History {
    /// Returns the user as of an instant.
    #[must_use]
    pub fn user_at(&self, at: Timestamp) -> User {
        user(&self.spans.iter().filter(|span| span.applies_at(at)).collect::<Vec<_>>())
    }

    /// Whether the spans contain everything that applied at an instant.
    #[must_use]
    pub fn reaches(&self, at: Timestamp) -> bool {
        self.complete_from.is_none_or(|from| from <= at)
    }

    /// Returns when the pair that is shown at `now` was first shown since; `None` if that is before
    /// the history, or if the user was always offline.
    #[must_use]
    pub fn change_time(&self, now: Timestamp) -> Option<Timestamp> {
        self.shown_until(now).next()?.started_at
    }

    /// Returns when the user was last active, which is `now` if the user is; `None` if that is before
    /// the history.
    ///
    /// A user is active while a live session that has not faded shows Available, Busy or
    /// DoNotDisturb. A preferred presence hides the sessions, and with them whether the user is
    /// active.
    #[must_use]
    pub fn last_active_time(&self, now: Timestamp) -> Option<Timestamp> {
        if is_active(&self.user_at(now), now) {
            return Some(now);
        }
        let mut until = now;
        for (at, spans) in Walk::new(self, now) {
            if is_active(&user(&spans), at) {
                return Some(until);
            }
            until = at;
        }
        None
    }

    /// Returns what was shown up to `now`, newest first. The first one is what is shown at `now`. The
    /// last one is the earliest that the history knows; its start is unknown, unless nothing was stored
    /// before.
    pub fn shown_until(&self, now: Timestamp) -> impl Iterator<Item = Shown<'_>> + use<'_> {
        self.shown(now, now)
    }

    /// Like [`Self::shown_until`], without what was shown from `end` on.
    pub fn shown_before(&self, end: Timestamp) -> impl Iterator<Item = Shown<'_>> + use<'_> {
        self.shown(end - TICK, end)
    }

    /// Returns what was shown up to the instant `last`. The first one ends at `end`.
    fn shown(&self, last: Timestamp, end: Timestamp) -> impl Iterator<Item = Shown<'_>> + use<'_> {
        let mut walk = Walk::new(self, last).peekable();
        let mut until = Some(end);
        std::iter::from_fn(move || {
            let ended_at = until.take()?;
            let Some((mut known_from, mut spans)) = walk.next() else {
                // Before the first span the user was offline.
                let before = Shown {
                    pair: Pair::OFFLINE,
                    started_at: None,
                    ended_at,
                    known_from: ended_at,
                    spans: Vec::new(),
                };
                return Some(before).filter(|_| self.complete_from.is_none());
            };
            let pair = presence_of(&user(&spans), known_from);
            while let Some(earlier) = walk.next_if(|(at, spans)| presence_of(&user(spans), *at) == pair) {
                (known_from, spans) = earlier;
            }
            let is_last = walk.peek().is_none();
            let has_unknown_start = match self.complete_from {
                Some(from) => is_last && known_from <= from,
                None => is_last && pair == Pair::OFFLINE,
            };
            if !has_unknown_start {
                until = Some(known_from);
            }
            let started_at = until;
            Some(Shown { pair, started_at, ended_at, known_from, spans })
        })
    }
}

/// Whether a live session that has not faded is shown as Available, Busy or DoNotDisturb.
fn is_active(user: &User, at: Timestamp) -> bool {
    let pair = presence_of(user, at);
    user.preferred_at(at).is_none()
        && (pair == Pair::AVAILABLE
            || matches!(pair.availability, Availability::Busy | Availability::DoNotDisturb))
}

/// Returns the user with these values.
fn user(spans: &[&Span]) -> User {
    let mut user = User::default();
    for Span { value, started_at, ended_at, set_at, .. } in spans {
        let expires_at = ended_at.unwrap_or(Timestamp::LATEST);
        match value {
            SpanValue::Session { session_id, pair, message, changed_at } => user.sessions.push(Session {
                session_id: session_id.clone(),
                pair: *pair,
                message: message.clone(),
                set_at: *set_at,
                opened_at: *started_at,
                changed_at: *changed_at,
                expires_at,
            }),
            SpanValue::Preferred(pair) => {
                user.preferred = Some(PreferredPresence { pair: *pair, expires_at });
            }
            SpanValue::StatusMessage(content) => {
                user.status_message = Some(StatusMessage {
                    content: content.clone(),
                    published_at: Some(*started_at),
                    expires_at: *ended_at,
                });
            }
            SpanValue::Locations { manual, automatic } => {
                (user.manual_location, user.automatic_location) = (manual.clone(), automatic.clone());
            }
        }
    }
    user
}

/// The instants at which a span starts, fades or ends, from the latest to the earliest, each with
/// what applied from then until the next one. The start of the complete history is the last one.
struct Walk<'a> {
    /// The instants, in ascending order.
    instants: Vec<Timestamp>,
    /// The spans that were not reached yet, in ascending order of their ends.
    waiting: Vec<&'a Span>,
    /// The spans that apply at the current instant, or start later.
    active: Vec<&'a Span>,
}

impl<'a> Walk<'a> {
    fn new(history: &'a History, now: Timestamp) -> Self {
        let from = history.complete_from;
        let mut instants: Vec<_> = history.spans.iter().flat_map(Span::instants).collect();
        instants.retain(|at| *at <= now && from.is_none_or(|from| *at > from));
        instants.extend(from.filter(|from| *from <= now));
        instants.sort_unstable();
        instants.dedup();
        let mut waiting: Vec<_> = history.spans.iter().collect();
        waiting.sort_by_key(|span| (span.ended_at.is_none(), span.ended_at));
        Self { instants, waiting, active: Vec::new() }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (Timestamp, Vec<&'a Span>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.instants.pop()?;
        while let Some(span) = self.waiting.pop_if(|span| span.ended_at.is_none_or(|end| end > at)) {
            self.active.push(span);
        }
        self.active.retain(|span| span.started_at <= at);
        Some((at, self.active.clone()))
    }
}
