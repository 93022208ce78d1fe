//! Explains a user's presence.

use crate::{
    presence::{DecidingRule, Decision, Pair, PreferredPresence, Session, Timestamp, Transition, explain},
    service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service},
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
    /// The instant of the read.
    pub now: Timestamp,
    /// The next change of the presence without a write.
    pub next_transition: Option<Transition>,
}

impl Service {
    /// Every live session of the user, the one that decided and by which rule, and the next change
    /// without a write.
    pub async fn explain_presence(
        &self,
        caller: &Caller,
        user_id: Input<String>,
    ) -> Result<Explanation, Error> {
        let (user_id, user, now) =
            self.load_user(caller, Operation::ExplainPresence, ReadFrom::Primary, user_id).await?;
        let decision = explain(&user, now);
        let preferred = user.preferred.filter(|preferred| preferred.expires_at > now);
        Ok(Explanation {
            presence: Presence::compute(user_id, &user, now),
            rule: decision.rule,
            text: text(&decision, preferred),
            preferred,
            now,
            next_transition: decision.next_transition,
            live: decision.live.into_iter().map(|(session, shown)| (session.clone(), shown)).collect(),
        })
    }
}

/// The explanation in sentences: the decision, then the next change.
fn text(decision: &Decision<'_>, preferred: Option<PreferredPresence>) -> String {
    let presence = decision.presence;
    let reason = match (decision.live.first(), preferred) {
        (None, None) => format!("The presence is {presence} because the user has no live session."),
        (None, Some(PreferredPresence { pair, expires_at })) => format!(
            "The presence is {presence} because the user has no live session. The preferred presence {pair} \
             applies when the user has one, until {expires_at}."
        ),
        (Some(_), Some(PreferredPresence { expires_at, .. })) => format!(
            "The presence is {presence} because the user prefers it until {expires_at}. This overrides {}.",
            count(decision.live.len(), "live session")
        ),
        (Some((session, shown)), None) => session_text(decision, session, *shown),
    };
    let next = match decision.next_transition {
        Some(Transition { at, to }) if to == presence => {
            format!("Without a write the status message expires at {at}.")
        }
        Some(Transition { at, to }) => format!("Without a write the presence changes to {to} at {at}."),
        None => "Without a write the presence does not change.".to_owned(),
    };
    format!("{reason} {next}")
}

/// Why this session, which shows `shown`, decided.
fn session_text(decision: &Decision<'_>, session: &Session, shown: Pair) -> String {
    let (presence, id) = (decision.presence, &session.session_id);
    let others = decision.live.get(1..).unwrap_or_default();
    let equals = others.iter().filter(|(_, other)| other.rank() == shown.rank()).count();
    let availability = shown.availability;
    let rule = match decision.rule {
        DecidingRule::NoLiveSession | DecidingRule::PreferredPresence | DecidingRule::OnlySession => {
            "It is the user's only live session.".to_owned()
        }
        DecidingRule::Precedence => format!(
            "It has precedence over {} (DoNotDisturb > Busy > Available > AvailableInactive > Away).",
            count(others.len(), "other session")
        ),
        DecidingRule::LatestChange => format!(
            "It changed later than {} with the same precedence ({availability}).",
            count(equals, "other session")
        ),
        DecidingRule::SmallestSessionId => format!(
            "It changed at the same time as session {}, which has the same precedence ({availability}), and has \
             the smaller id.",
            others.first().map_or_else(String::new, |(other, _)| other.session_id.to_string())
        ),
    };
    let faded = if shown == session.pair { String::new() } else { format!(", which faded to {shown}") };
    format!(
        "The presence is {presence} because session {id} set {} at {}{faded}. {rule}",
        session.pair, session.set_at
    )
}

/// `1 other session`, `2 other sessions`.
fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
