//! Explains a user's presence, now or at an earlier instant.

use super::explanation_text::{self, Facts};
use crate::{
    presence::{
        DecidingRule, History, Pair, PreferredPresence, Session, Shown, Span, Timestamp, Transition, User,
        explain,
    },
    service::{
        Caller, Error, Field, Input, Operation, Path, Presence, Received, Rule, Service, Violation,
        history::{SPANS_MAX, SPANS_MORE, UserHistory, sort_newest_first, times, visible_spans},
    },
};

/// The explanation of a user's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The presence, with all details.
    pub presence: Presence,
    /// The rule that decided.
    pub rule: DecidingRule,
    /// The live sessions with the pair that each shows, the deciding one first.
    pub live: Vec<(Session, Pair)>,
    /// The preferred presence, which applies or waits for a live session; `None` if there is none
    /// or it expired.
    pub preferred: Option<PreferredPresence>,
    /// The explanation in sentences.
    pub text: String,
    /// The instant that is explained.
    pub now: Timestamp,
    /// Whether that is earlier than the read. Then the sequence number of the presence is unknown.
    pub is_past: bool,
    /// The next change of the presence without a write; `None` for an earlier instant.
    pub next_transition: Option<Transition>,
    /// Everything that applied at the instant, with its author as far as the caller can see it.
    pub spans: Vec<Span>,
}

impl Service {
    /// Every live session of the user, the one that decided and by which rule, since when, and the
    /// next change without a write; at the instant `at`, which is now if missing.
    ///
    /// An instant in the future or before the history is an error.
    pub async fn explain_presence(
        &self,
        caller: &Caller,
        user_id: Input<String>,
        at: Input<Timestamp>,
    ) -> Result<Explanation, Error> {
        let mut validator = self.validator();
        let user_id = validator.user_id(user_id);
        let at = validator.past(Field::At, at, self.clock.now());
        let user_id = validator.finish(user_id)?;
        let key = caller.authorize(Operation::ExplainPresence, user_id.clone())?;
        let tells_all = |read: &UserHistory| {
            let history = &read.history;
            let shown = interval(history, at.unwrap_or(read.now), read.now);
            history.last_active_time(at.unwrap_or(read.now)).is_some()
                && shown.is_some_and(|shown| shown.started_at.is_some())
        };
        let read = self.load_history(key, Timestamp::LATEST, SPANS_MORE..=SPANS_MAX, tells_all).await?;
        let (history, now) = (&read.history, at.unwrap_or(read.now));
        if let Some(start) = history.complete_from.filter(|_| at.is_some() && !history.reaches(now)) {
            let received = Some(Received::Text(now.to_string()));
            let rule = Rule::WithinHistory { start };
            return Err(Error::invalid(vec![Violation { path: Path::Field(Field::At), rule, received }]));
        }
        let user = if at.is_some() { history.user_at(now) } else { read.user.clone() };
        let is_unknown = history.spans.is_empty() && read.user == User::default();
        let decision = explain(&user, now);
        let preferred = user.preferred.filter(|preferred| preferred.expires_at > now);
        let mut spans: Vec<_> = history.spans.iter().filter(|span| span.applies_at(now)).cloned().collect();
        sort_newest_first(&mut spans);
        let spans = visible_spans(caller, &user_id, spans);
        let shown = interval(history, now, read.now);
        let facts = Facts { decision: &decision, preferred, spans: &spans };
        let text = if is_unknown {
            explanation_text::NOTHING_STORED.to_owned()
        } else if at.is_some() {
            explanation_text::then(&facts, now, shown.as_ref(), read.now, history.complete_from)
        } else {
            explanation_text::now(&facts, shown.as_ref(), history.complete_from.filter(|start| *start <= now))
        };
        let presence = Presence::compute(user_id, &user, now);
        Ok(Explanation {
            presence: Presence { times: Some(times(&read, now)), ..presence },
            rule: decision.rule,
            text,
            preferred,
            now,
            is_past: at.is_some(),
            next_transition: decision.next_transition.filter(|_| at.is_none()),
            live: decision.live.into_iter().map(|(session, shown)| (session.clone(), shown)).collect(),
            spans,
        })
    }
}

/// Returns the interval of what was shown that contains `at`.
fn interval(history: &History, at: Timestamp, now: Timestamp) -> Option<Shown<'_>> {
    history.shown_until(now).find(|shown| shown.started_at.is_none_or(|start| start <= at))
}
