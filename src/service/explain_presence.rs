//! Tells why a user is shown as it is.

use super::{Caller, Error, Given, Service};
use crate::presence::{DecidingRule, Decision, Pair, Session, Timestamp, Transition, UserId, explain};

/// Why a user is shown as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The user.
    pub user_id: UserId,
    /// What the user is shown as.
    pub presence: Pair,
    /// The rule that decided.
    pub rule: DecidingRule,
    /// The live sessions with what each shows; the first one decided.
    pub live: Vec<(Session, Pair)>,
    /// The same for people.
    pub text: String,
    /// The instant for which all of this holds.
    pub now: Timestamp,
    /// When the presence changes next with no write.
    pub next_transition: Option<Transition>,
}

impl Service {
    /// Every live session of the user, the one that decided, by which rule, and
    /// when the presence changes next by itself.
    pub async fn explain_presence(
        &self,
        caller: &Caller,
        user_id: Given<String>,
    ) -> Result<Explanation, Error> {
        let (user_id, now, sessions) = self.load_user(caller, user_id).await?;
        let decision = explain(&sessions, now);
        Ok(Explanation {
            user_id,
            presence: decision.presence,
            rule: decision.rule,
            text: sentence(&decision),
            now,
            next_transition: decision.next_transition,
            live: decision.live.into_iter().map(|(session, shown)| (session.clone(), shown)).collect(),
        })
    }
}

/// The decision in words.
fn sentence(decision: &Decision<'_>) -> String {
    let because = match decision.live.as_slice() {
        [] => "no session is live".to_owned(),
        [(session, shown), others @ ..] => {
            let equals = others.iter().filter(|(_, other)| other.rank() == shown.rank()).count();
            let availability = shown.availability;
            let why = match decision.rule {
                DecidingRule::NoLiveSession | DecidingRule::OnlySession => {
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
            let faded =
                if *shown == session.pair { String::new() } else { format!(", which has faded to {shown}") };
            format!(
                "session {} set {} at {}{faded}, and {why}",
                session.session_id, session.pair, session.set_at
            )
        }
    };
    let next = match decision.next_transition {
        Some(Transition { at, to }) => format!("Without a write it changes to {to} at {at}."),
        None => "Without a write it does not change.".to_owned(),
    };
    format!("{}, because {because}. {next}", decision.presence)
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
