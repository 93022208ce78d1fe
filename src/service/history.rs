//! Reading users with their history, as far back as an operation needs.

use std::{cmp::Reverse, ops::RangeInclusive};

use tokio::task::yield_now;

use super::{Caller, Error, Operation, Presence, ReadFrom, Service};
use crate::{
    batch::HistoryOf,
    presence::{Author, History, PresenceTimes, Span, SpanValue, Timestamp, User, UserId},
    store::{StoredHistory, UserKey},
};

/// The fields of a presence that a response has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Those that need no history.
    #[default]
    Basic,
    /// All.
    Full,
}

/// The presences that are computed or encoded before other requests of the worker have their turns.
pub const PRESENCES_IN_TURN: usize = 32;

/// The number of spans that are read at first for the times of a presence. Most need no more, and each
/// costs about as much as a session.
const SPANS_FEW: u32 = 4;
/// The number of spans that are read next.
const SPANS_SOME: u32 = 40;
/// The number of spans that are read at first for an explanation.
pub(super) const SPANS_MORE: u32 = 1_000;
/// The factor after that.
const SPANS_FACTOR: u32 = 10;
/// The maximum number of spans that are read for the times of a presence.
const SPANS_MAX_FOR_TIMES: u32 = 4_000;
/// The maximum number of spans that are read of one user. Where it does not reach, the history is
/// treated as removed.
pub(super) const SPANS_MAX: u32 = 100_000;

/// A user with the history.
pub(super) struct UserHistory {
    pub(super) user: User,
    pub(super) history: History,
    /// The time from which the history is complete; `None` if nothing was removed.
    pub(super) start: Option<Timestamp>,
    /// Whether the store has earlier spans.
    pub(super) has_more: bool,
    /// The instant of the read.
    pub(super) now: Timestamp,
}

impl UserHistory {
    fn new(stored: StoredHistory, now: Timestamp) -> Self {
        // A replica without history moves the start ahead of its writes. What applies now is known all
        // the same.
        let until_now = |start: Option<Timestamp>| start.map(|start| start.min(now));
        let StoredHistory { user, spans, complete_from, history_start, has_more } = stored;
        let history = History { spans, complete_from: until_now(complete_from) };
        Self { user, history, start: until_now(history_start), has_more, now }
    }
}

impl Service {
    /// Reads a user with spans that started before `before`: first the smaller number of `spans`, then
    /// more until they are `enough`.
    pub(super) async fn load_history(
        &self,
        user: UserKey,
        before: Timestamp,
        spans: RangeInclusive<u32>,
        enough: impl Fn(&UserHistory) -> bool,
    ) -> Result<UserHistory, Error> {
        let (mut spans_max, limit) = spans.into_inner();
        loop {
            let item = HistoryOf { user: user.clone(), before, spans_max };
            let (now, mut stored) = self.batches.reads.load_history.call(vec![item]).await?;
            let read = UserHistory::new(stored.pop().unwrap_or_default(), now);
            if !read.has_more || enough(&read) {
                return Ok(read);
            }
            if spans_max >= limit {
                // The history ends here for the caller.
                return Ok(UserHistory { start: read.history.complete_from, ..read });
            }
            spans_max = spans_max.saturating_mul(SPANS_FACTOR).min(limit);
        }
    }

    /// Reads several presences at one instant, as far as the caller can see them.
    pub(super) async fn presences(
        &self,
        caller: &Caller,
        operation: Operation,
        from: ReadFrom,
        user_ids: Vec<UserId>,
        view: View,
    ) -> Result<Vec<Presence>, Error> {
        if view == View::Full {
            let keys: Result<Vec<_>, _> =
                user_ids.into_iter().map(|user_id| caller.authorize(operation, user_id)).collect();
            let presences = self.full_presences(from, keys?).await?;
            return Ok(presences.into_iter().map(|presence| presence.visible_to(caller)).collect());
        }
        let users = self.load_users(caller, operation, from, user_ids).await?;
        let mut presences = Vec::with_capacity(users.len());
        for (index, (user_id, user, now)) in users.into_iter().enumerate() {
            if index > 0 && index % PRESENCES_IN_TURN == 0 {
                yield_now().await;
            }
            presences.push(Presence::compute(user_id, &user, now).visible_to(caller));
        }
        Ok(presences)
    }

    /// Reads several presences with the times from the history.
    pub(super) async fn full_presences(
        &self,
        from: ReadFrom,
        users: Vec<UserKey>,
    ) -> Result<Vec<Presence>, Error> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let few = |user: &UserKey| HistoryOf {
            user: user.clone(),
            before: Timestamp::LATEST,
            spans_max: SPANS_FEW,
        };
        let items = users.iter().map(few).collect();
        let (now, stored) = self.read(from, |reads| &reads.load_history, items).await?;
        let mut presences = Vec::with_capacity(users.len());
        for (user, stored) in users.into_iter().zip(stored) {
            let mut read = UserHistory::new(stored, now);
            let presence = Presence::compute(user.user_id.clone(), &read.user, now);
            let mut times = times(&read, now);
            if read.has_more && is_partial(&times) {
                let enough = |read: &UserHistory| !is_partial(&self::times(read, now));
                let spans = SPANS_SOME..=SPANS_MAX_FOR_TIMES;
                read = self.load_history(user, Timestamp::LATEST, spans, enough).await?;
                times = self::times(&read, now);
            }
            presences.push(Presence { times: Some(times), ..presence });
        }
        Ok(presences)
    }
}

/// Whether more spans could tell more.
const fn is_partial(times: &PresenceTimes) -> bool {
    times.change_time.is_none() || times.last_active_time.is_none()
}

/// Returns the times of a presence at `now`.
pub(super) fn times(read: &UserHistory, now: Timestamp) -> PresenceTimes {
    let history = &read.history;
    PresenceTimes {
        change_time: history.change_time(now),
        last_active_time: history.last_active_time(now),
        history_start: read.start,
    }
}

/// Sorts spans from the newest to the oldest. Spans of the same time are in the order of their parts
/// and sessions, so that each read has the same order.
pub(super) fn sort_newest_first(spans: &mut [Span]) {
    let session_id = |span: &Span| match &span.value {
        SpanValue::Session { session_id, .. } => Some(session_id.clone()),
        _ => None,
    };
    spans.sort_by_key(|span| (Reverse((span.started_at, span.ended_at)), span.part(), session_id(span)));
}

/// Removes what `caller` must not see of these spans of a user: for whom an application acted.
pub(super) fn visible_spans(caller: &Caller, user_id: &UserId, mut spans: Vec<Span>) -> Vec<Span> {
    if !caller.sees_authors(user_id) {
        let hide = |author: &mut Author| author.user_id = None;
        for span in &mut spans {
            hide(&mut span.set_by);
            if let Some(end) = &mut span.end {
                hide(&mut end.by);
            }
        }
    }
    spans
}
