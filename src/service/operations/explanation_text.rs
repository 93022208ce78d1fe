//! The sentences that explain a presence to people.

use crate::presence::{
    Author, DecidingRule, Decision, Pair, PreferredPresence, Session, Shown, Span, SpanValue, Timestamp,
    Transition,
};

/// The explanation of a user of whom nothing is stored.
pub(super) const NOTHING_STORED: &str =
    "Nothing is stored for this id, so the presence is Offline/Offline. The id may be wrong.";

/// The facts about one instant.
pub(super) struct Facts<'a> {
    pub(super) decision: &'a Decision<'a>,
    pub(super) preferred: Option<PreferredPresence>,
    /// What applied, with the authors that the caller can see.
    pub(super) spans: &'a [Span],
}

/// Explains the presence of now: the reason, since when, and the next change.
pub(super) fn now(facts: &Facts<'_>, shown: Option<&Shown<'_>>, start: Option<Timestamp>) -> String {
    let presence = facts.decision.presence;
    let since = match (shown.and_then(|shown| shown.started_at), start) {
        (Some(at), _) => format!(" It has been shown since {at}."),
        (None, Some(start)) => format!(" It has been shown since before {start}, where the history begins."),
        (None, None) => String::new(),
    };
    let next = match facts.decision.next_transition {
        Some(Transition { at, to }) if to == presence => {
            // Else another session decides, which shows the same pair with another text.
            let is_end =
                |span: &Span| matches!(span.value, SpanValue::StatusMessage(_)) && span.ended_at == Some(at);
            let verb = if facts.spans.iter().any(is_end) { "expires" } else { "changes" };
            format!("Without a write the status message {verb} at {at}.")
        }
        Some(Transition { at, to }) => format!("Without a write the presence changes to {to} at {at}."),
        None => "Without a write the presence does not change.".to_owned(),
    };
    let waits = match facts.preferred {
        Some(PreferredPresence { pair, expires_at }) if facts.decision.live.is_empty() => format!(
            " The preferred presence {pair} applies when the user has a live session, until {expires_at}."
        ),
        _ => String::new(),
    };
    format!("The presence is {presence} because {}.{waits}{since} {next}", reason(facts, Tense::Present))
}

/// Explains the presence of an earlier instant: the reason, from when, and until when.
pub(super) fn then(
    facts: &Facts<'_>,
    at: Timestamp,
    shown: Option<&Shown<'_>>,
    now: Timestamp,
    start: Option<Timestamp>,
) -> String {
    let presence = facts.decision.presence;
    let from = match (shown, start) {
        (Some(Shown { started_at: Some(from), .. }), _) => format!(" from {from}"),
        (_, Some(_)) => " from before the history".to_owned(),
        (_, None) => String::new(),
    };
    let until = match shown {
        Some(Shown { ended_at, .. }) if *ended_at < now => format!("until {ended_at}"),
        _ => "until now".to_owned(),
    };
    let reason = reason(facts, Tense::Past);
    format!("At {at} the presence was {presence} because {reason}. It was shown{from} {until}.")
}

/// Tells why a pair was shown at an instant, in one sentence.
pub(super) fn cause(facts: &Facts<'_>) -> String {
    let reason = reason(facts, Tense::Past);
    let mut letters = reason.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{}.", first.into_iter().chain(letters).collect::<String>())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tense {
    Present,
    Past,
}

impl Tense {
    const fn pick(self, present: &'static str, past: &'static str) -> &'static str {
        match self {
            Self::Present => present,
            Self::Past => past,
        }
    }
}

fn reason(facts: &Facts<'_>, tense: Tense) -> String {
    let Facts { decision, preferred, spans } = facts;
    match (decision.live.first(), preferred) {
        (None, _) => format!("the user {} no live session", tense.pick("has", "had")),
        (Some(_), Some(PreferredPresence { expires_at, .. })) => {
            let is_preference = |span: &&Span| matches!(span.value, SpanValue::Preferred(_));
            let by = spans.iter().find(is_preference).map_or_else(String::new, |span| by(&span.set_by));
            let until = match tense {
                Tense::Present => format!(" until {expires_at}"),
                Tense::Past => String::new(),
            };
            let overridden = count(decision.live.len(), "live session");
            let (prefers, overrides) =
                (tense.pick("prefers", "preferred"), tense.pick("overrides", "overrode"));
            format!("the user {prefers} it{until}, which {overrides} {overridden}{by}")
        }
        (Some((session, shown)), None) => of_session(facts, session, *shown, tense),
    }
}

/// Why this session, which shows `shown`, decided.
fn of_session(facts: &Facts<'_>, session: &Session, shown: Pair, tense: Tense) -> String {
    let (decision, id) = (facts.decision, &session.session_id);
    let others = decision.live.get(1..).unwrap_or_default();
    let equals = others.iter().filter(|(_, other)| other.rank() == shown.rank()).count();
    let availability = shown.availability;
    let rule = match decision.rule {
        DecidingRule::NoLiveSession | DecidingRule::PreferredPresence | DecidingRule::OnlySession => {
            format!("it {} the user's only live session", tense.pick("is", "was"))
        }
        DecidingRule::Precedence => format!(
            "it {} precedence over {} (DoNotDisturb > Busy > Available > AvailableInactive > Away)",
            tense.pick("has", "had"),
            count(others.len(), "other session")
        ),
        DecidingRule::LatestChange => format!(
            "it changed later than {} with the same precedence ({availability})",
            count(equals, "other session")
        ),
        DecidingRule::SmallestSessionId => format!(
            "it changed at the same time as session {}, which {} the same precedence ({availability}), and {} \
             the smaller id",
            others.first().map_or_else(String::new, |(other, _)| other.session_id.to_string()),
            tense.pick("has", "had"),
            tense.pick("has", "had")
        ),
    };
    let of_this = |span: &&Span| matches!(&span.value, SpanValue::Session { session_id, .. } if *session_id == session.session_id);
    let by = facts.spans.iter().find(of_this).map_or_else(String::new, |span| by(&span.set_by));
    let what = if shown == session.pair {
        format!("{} {}", tense.pick("shows", "showed"), session.pair)
    } else {
        format!("set {}, which faded to {shown}", session.pair)
    };
    format!("session {id} {what}{by}: {rule}")
}

/// `, set by application A for user U`, as far as they are known.
fn by(author: &Author) -> String {
    match (&author.application_id, &author.user_id) {
        (None, None) => String::new(),
        (Some(application), None) => format!(", set by application {application}"),
        (Some(application), Some(user)) => format!(", set by application {application} for user {user}"),
        (None, Some(user)) => format!(", set for user {user}"),
    }
}

/// `1 other session`, `2 other sessions`.
fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
