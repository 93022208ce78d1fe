//! Tells why a user is shown as it is.

use crate::presence::{
    DecidingRule, Decision, Pair, PreferredPresence, Session, Timestamp, Transition, explain,
};
use crate::service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service};

/// Why a user is shown as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What the user is shown as, with all there is to know.
    pub presence: Presence,
    /// The rule that decided.
    pub rule: DecidingRule,
    /// The live sessions with what each shows, the most important first.
    pub live: Vec<(Session, Pair)>,
    /// The user's preferred presence, whether it applies or waits for a live
    /// session; `None` once it has ended.
    pub preferred: Option<PreferredPresence>,
    /// The same for people.
    pub text: String,
    /// The instant for which all of this holds.
    pub now: Timestamp,
    /// When the presence changes next with no write.
    pub next_transition: Option<Transition>,
}

impl Service {
    /// Every live session of the user, what decided and by which rule, and when
    /// the presence changes next by itself.
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
            presence: Presence::whole(user_id, &user, now),
            rule: decision.rule,
            text: sentence(&decision, preferred),
            preferred,
            now,
            next_transition: decision.next_transition,
            live: decision.live.into_iter().map(|(session, shown)| (session.clone(), shown)).collect(),
        })
    }
}

/// The decision in words.
fn sentence(decision: &Decision<'_>, preferred: Option<PreferredPresence>) -> String {
    let because = match (decision.live.first(), preferred) {
        (None, None) => "no session is live".to_owned(),
        (None, Some(PreferredPresence { pair, expires_at })) => format!(
            "no session is live; the preferred presence {pair} applies once one is, until {expires_at}"
        ),
        (Some(_), Some(PreferredPresence { pair, expires_at })) => format!(
            "the user prefers {pair} until {expires_at}, which overrides {}",
            live_sessions(decision.live.len())
        ),
        (Some((session, shown)), None) => because_of(decision, session, *shown),
    };
    let next = match decision.next_transition {
        Some(Transition { at, to }) if to == decision.presence => {
            format!("Without a write its status message ends at {at}.")
        }
        Some(Transition { at, to }) => format!("Without a write it changes to {to} at {at}."),
        None => "Without a write it does not change.".to_owned(),
    };
    format!("{}, because {because}. {next}", decision.presence)
}

/// Why the session decided, which shows `shown`.
fn because_of(decision: &Decision<'_>, session: &Session, shown: Pair) -> String {
    let others = decision.live.get(1..).unwrap_or_default();
    let equals = others.iter().filter(|(_, other)| other.rank() == shown.rank()).count();
    let availability = shown.availability;
    let why = match decision.rule {
        DecidingRule::NoLiveSession | DecidingRule::PreferredPresence | DecidingRule::OnlySession => {
            "it is the only live session".to_owned()
        }
        DecidingRule::Precedence => format!(
            "it outranks {} (DoNotDisturb before Busy before Available before AvailableInactive before Away)",
            sessions(others.len())
        ),
        DecidingRule::LatestChange => {
            format!("it changed later than {} {availability}", sessions_that_show(equals))
        }
        DecidingRule::SmallestSessionId => format!(
            "no session changed later, and its id is smaller than that of the {availability} session {} that \
             changed at the same instant",
            others.first().map_or_else(String::new, |(other, _)| other.session_id.to_string())
        ),
    };
    let faded = if shown == session.pair { String::new() } else { format!(", which has faded to {shown}") };
    format!("session {} set {} at {}{faded}, and {why}", session.session_id, session.pair, session.set_at)
}

fn live_sessions(number: usize) -> String {
    if number == 1 { "the one live session".to_owned() } else { format!("the {number} live sessions") }
}

fn sessions(others: usize) -> String {
    if others == 1 { "the other session".to_owned() } else { format!("the {others} other sessions") }
}

fn sessions_that_show(others: usize) -> String {
    if others == 1 {
        "the other session that shows".to_owned()
    } else {
        format!("the {others} other sessions that show")
    }
}
