//! Lists what was shown of a user, from when to when, and why.

use std::time::Duration;

use super::explanation_text::{Facts, cause};
use crate::{
    presence::{History, INTERVALS_MAX, Pair, Part, Shown, Span, Timestamp, UserId, explain},
    service::{
        Caller, Error, Field, Input, Operation, Received, Rule, Service,
        history::{SPANS_MAX, UserHistory, sort_newest_first, visible_spans},
        page_token::{fingerprint, wrong_token},
        validator::Validator,
    },
};

/// The number of intervals on a page if the request has no size.
const PAGE_SIZE_DEFAULT: u32 = 100;

/// How far the clock of the replica that made a token may be ahead.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(2);

/// The number of spans that are read beyond the size of a page.
const SPANS_MARGIN: u32 = 50;

/// A request for a page of history, as a caller sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPresenceHistory {
    /// Required.
    pub user_id: Input<String>,
    /// Only what was shown after this time; the start of the history if missing.
    pub from: Input<Timestamp>,
    /// Only what was shown before this time; now if missing.
    pub to: Input<Timestamp>,
    /// The parts whose spans each interval includes.
    pub parts: Vec<Input<Part>>,
    /// 1 to 1,000; 100 if missing.
    pub page_size: Input<u32>,
    /// The token of the page before.
    pub page_token: Input<String>,
}

/// A page of history, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// What was shown, without gaps.
    pub intervals: Vec<Interval>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
    /// From when on the history is complete; `None` if nothing was removed.
    pub start: Option<Timestamp>,
}

/// A pair that was shown for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The pair.
    pub pair: Pair,
    /// The first instant; `None` if it is before the history.
    pub started_at: Option<Timestamp>,
    /// The first instant after it; `None` if the pair is still shown.
    pub ended_at: Option<Timestamp>,
    /// Why it was shown at its start, in a sentence.
    pub cause: String,
    /// The spans of the requested parts that overlap the interval, newest first.
    pub spans: Vec<Span>,
}

/// A valid request.
struct Query {
    user_id: UserId,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    parts: Vec<Part>,
    size: usize,
    /// The end of the page; `None` if it begins with what is shown now.
    end: Option<Timestamp>,
}

impl Query {
    /// The token of the page of what was shown before `end`.
    fn token(&self, end: Timestamp) -> String {
        let Self { user_id, from, to, parts, .. } = self;
        let query = fingerprint(&format!("{user_id} {from:?} {to:?} {parts:?}"));
        format!("{:x}-{query:016x}", end.as_millis())
    }

    /// The end of the page that a token names; `None` if the token is not of this query.
    fn end_of(&self, token: &str) -> Option<Timestamp> {
        let (end, _) = token.split_once('-')?;
        let end = Timestamp::from_millis(i64::from_str_radix(end, 16).ok()?);
        (self.token(end) == token).then_some(end)
    }
}

impl Query {
    /// What was shown on the page, and one more if the next page begins with it.
    fn page<'a>(&self, read: &'a UserHistory) -> Vec<Shown<'a>> {
        let in_range = |shown: &Shown<'_>| self.from.is_none_or(|from| shown.ended_at > from);
        let take = |shown: &mut dyn Iterator<Item = Shown<'a>>| {
            shown.take_while(in_range).take(self.size + 1).collect()
        };
        match self.end {
            Some(end) => take(&mut read.history.shown_before(end)),
            None => take(&mut read.history.shown_until(read.now)),
        }
    }

    /// The interval with its cause and spans, as far as the caller can see them. `is_first` is whether
    /// it is the first of the page.
    fn interval(&self, caller: &Caller, history: &History, shown: &Shown<'_>, is_first: bool) -> Interval {
        let (from, to) =
            (shown.known_from, Some(shown.ended_at).filter(|_| !(is_first && self.end.is_none())));
        let visible = |spans: Vec<Span>| visible_spans(caller, &self.user_id, spans);
        let applied = visible(shown.spans.iter().copied().cloned().collect());
        let user = shown.user();
        let (decision, preferred) = (explain(&user, from), user.preferred_at(from));
        let overlaps = |span: &&Span| {
            to.is_none_or(|to| span.started_at < to)
                && span.ended_at.is_none_or(|end| end > from)
                && self.parts.contains(&span.part())
        };
        let all = if self.parts.is_empty() { &[] } else { history.spans.as_slice() };
        let mut spans: Vec<_> = all.iter().filter(overlaps).cloned().collect();
        sort_newest_first(&mut spans);
        Interval {
            pair: shown.pair,
            started_at: shown.started_at,
            ended_at: to,
            cause: cause(&Facts { decision: &decision, preferred, spans: &applied }),
            spans: visible(spans),
        }
    }
}

impl ListPresenceHistory {
    /// Validates the request.
    fn validate(self, mut validator: Validator, now: Timestamp) -> Result<Query, Error> {
        let user_id = validator.user_id(self.user_id);
        let from = validator.past(Field::From, self.from, now);
        let to = validator.past(Field::To, self.to, now);
        let parts = validator.parts(self.parts);
        let size = validator.page_size(self.page_size, PAGE_SIZE_DEFAULT, INTERVALS_MAX);
        if let Some((from, to)) = from.zip(to).filter(|(from, to)| to < from) {
            validator.add(Field::To, Rule::NotBefore { from }, Some(Received::Text(to.to_string())));
        }
        let ((user_id, parts), size) = validator.finish(user_id.zip(parts).zip(size))?;
        let size = usize::try_from(size).unwrap_or(INTERVALS_MAX);
        let mut query = Query { user_id, from, to, parts, size, end: to };
        let end = match self.page_token {
            Input::Missing => return Ok(query),
            Input::Value(token) => query.end_of(&token).filter(|end| *end <= now + CLOCK_SKEW_MAX),
            Input::Unreadable(_) => None,
        };
        if end.is_none() {
            return Err(wrong_token());
        }
        query.end = end;
        Ok(query)
    }
}

impl Service {
    /// A page of what was shown of a user, newest first. A range without anything is an interval of
    /// Offline/Offline, or nothing before the history.
    pub async fn list_presence_history(
        &self,
        caller: &Caller,
        request: ListPresenceHistory,
    ) -> Result<HistoryPage, Error> {
        let query = request.validate(self.validator(), self.clock.now())?;
        let user = caller.authorize(Operation::ListPresenceHistory, query.user_id.clone())?;
        // A page needs the spans back to the start of its last interval.
        let fills_page = |read: &UserHistory| {
            let page = query.page(read);
            let is_known = page.iter().all(|shown| shown.started_at.is_some());
            is_known && (page.len() > query.size || read.history.complete_from <= query.from)
        };
        // Often each span begins an interval, and some fade.
        let spans_max = u32::try_from(query.size).unwrap_or(u32::MAX).saturating_add(SPANS_MARGIN);
        let before = query.end.unwrap_or(Timestamp::LATEST);
        let read = self.load_history(user, before, spans_max..=SPANS_MAX, fills_page).await?;
        let mut shown = query.page(&read);
        // The start of the last interval is unknown while the store has more spans.
        let is_cut = read.has_more && shown.last().is_some_and(|last| last.started_at.is_none());
        let has_next = shown.len() > query.size || (is_cut && shown.len() > 1);
        if has_next {
            shown.pop();
        }
        let last = shown.last().and_then(|last| last.started_at).filter(|_| has_next);
        let next = last.filter(|at| query.from.is_none_or(|from| *at > from)).map(|at| query.token(at));
        let intervals = shown.iter().enumerate();
        let intervals =
            intervals.map(|(index, shown)| query.interval(caller, &read.history, shown, index == 0));
        Ok(HistoryPage { intervals: intervals.collect(), next, start: read.start })
    }
}
