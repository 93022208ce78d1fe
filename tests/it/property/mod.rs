//! Random operations compared with naive models: of the rules alone, and of each engine with
//! the rules; random bodies; and random orders of writes and interleavings of streams. Each test
//! prints its number of operations.

mod bodies;
mod engine;
mod history;
mod holds;
mod lists;
mod numbers;
mod orders;
mod rules;

use std::fmt::Debug;

use presenced::presence::{Pair, PreferredPresence, Session, SessionId, StatusMessage, Timestamp, User};
use proptest::prelude::{Just, Strategy, prop_oneof};

const MINUTE_MS: i64 = 60_000;
/// The time within which a write commits.
const SETTLES_MS: i64 = 3_000;

/// A session in the naive model. It has only values that were set.
#[derive(Clone, Debug)]
struct Naive {
    pair: Pair,
    text: Option<&'static str>,
    set_at: i64,
    opened_at: i64,
    changed_at: i64,
    expires_at: i64,
    cleared_at: Option<i64>,
}

impl Naive {
    fn live(&self, now: i64) -> bool {
        self.cleared_at.is_none() && self.expires_at > now
    }

    /// Returns the latest change by a write or by time, as far as it shows.
    fn last_change(&self, now: i64, hidden: bool) -> i64 {
        if let Some(cleared_at) = self.cleared_at {
            return cleared_at;
        }
        if self.expires_at <= now {
            return self.expires_at.max(self.changed_at);
        }
        if hidden {
            return self.opened_at;
        }
        self.fades().into_iter().filter(|at| *at <= now).chain([self.changed_at]).max().unwrap()
    }

    fn fades(&self) -> Vec<i64> {
        let fades = [self.set_at + 5 * MINUTE_MS, self.set_at + 10 * MINUTE_MS];
        fades.into_iter().filter(|at| self.pair == Pair::AVAILABLE && *at < self.expires_at).collect()
    }

    /// Returns the latest end or fade that a reader may see before a write at `now` commits.
    fn seen_at(&self, now: i64) -> Option<i64> {
        if self.cleared_at.is_some() {
            return self.cleared_at;
        }
        let seen = self.fades().into_iter().chain([self.expires_at]);
        seen.filter(|at| *at <= now + SETTLES_MS).max()
    }

    /// Returns the pair that the session shows.
    fn shows(&self, now: i64) -> &'static str {
        let age = now - self.set_at;
        match self.pair.to_string().as_str() {
            "Available/Available" if age >= 10 * MINUTE_MS => "Away/Away",
            "Available/Available" if age >= 5 * MINUTE_MS => "Available/AvailableInactive",
            "Available/Available" => "Available/Available",
            "Busy/InACall" => "Busy/InACall",
            "Busy/InAConferenceCall" => "Busy/InAConferenceCall",
            "Away/Away" => "Away/Away",
            "DoNotDisturb/Presenting" => "DoNotDisturb/Presenting",
            other => panic!("{other}"),
        }
    }
}

/// The other parts that a user set, in the naive model.
#[derive(Clone, Debug, Default)]
struct NaiveUser {
    /// The pair and its end.
    preferred: Option<(Pair, i64)>,
    /// The text, its time of publication, and its end.
    message: Option<(String, i64, Option<i64>)>,
    changed_at: Option<i64>,
}

impl NaiveUser {
    /// Notes a change of a part that expires at `expires_at`, and is not before `floor`.
    fn touch(&mut self, now: i64, changes: bool, expires_at: Option<i64>, floor: i64) {
        if changes {
            let seen = expires_at.filter(|at| *at <= now + SETTLES_MS).map_or(0, |at| at + 1);
            let next = self.changed_at.map_or(0, |old| old + 1);
            self.changed_at = Some(now.max(next).max(seen).max(floor));
        }
    }

    /// Returns the pair and the message of a user with these sessions.
    fn shows<'a>(
        &self,
        mut sessions: impl Iterator<Item = (&'a String, &'a Naive)> + Clone,
        now: i64,
    ) -> (String, Option<String>) {
        let (pair, mut text) = naive_presence(sessions.clone(), now);
        let mut pair = pair.to_owned();
        if let Some((preferred, ends)) = &self.preferred
            && *ends > now
            && sessions.any(|(_, session)| session.live(now))
        {
            (pair, text) = (preferred.to_string(), None);
        }
        let message = self.message.as_ref().filter(|(_, _, ends)| ends.is_none_or(|ends| ends > now));
        (pair, message.map(|(content, _, _)| content.clone()).or(text.map(ToOwned::to_owned)))
    }

    /// Returns the sequence number of a user with these sessions.
    fn sequence<'a>(
        &self,
        sessions: impl Iterator<Item = (&'a String, &'a Naive)> + Clone,
        now: i64,
    ) -> String {
        let prefers = self.preferred.is_some_and(|(_, ends)| ends > now);
        let hidden = prefers && sessions.clone().any(|(_, session)| session.live(now));
        let ends =
            [self.preferred.map(|(_, ends)| ends), self.message.as_ref().and_then(|(_, _, ends)| *ends)];
        let ends = ends.into_iter().flatten().filter(|at| *at <= now);
        let changes =
            sessions.map(|(_, session)| session.last_change(now, hidden)).chain(self.changed_at).chain(ends);
        format!("A{:013}", changes.max().unwrap_or(0))
    }
}

/// Returns the pair that the sessions alone show, and the text of the deciding one. It checks every
/// session for every rank.
fn naive_presence<'a>(
    sessions: impl Iterator<Item = (&'a String, &'a Naive)> + Clone,
    now: i64,
) -> (&'static str, Option<&'static str>) {
    let live = sessions.filter(|(_, session)| session.live(now));
    for rank in [
        &["DoNotDisturb/Presenting"][..],
        &["Busy/InACall", "Busy/InAConferenceCall"],
        &["Available/Available"],
        &["Available/AvailableInactive"],
        &["Away/Away"],
    ] {
        let mut equals: Vec<_> =
            live.clone().filter(|(_, session)| rank.contains(&session.shows(now))).collect();
        let Some(latest) = equals.iter().map(|(_, session)| session.changed_at).max() else { continue };
        equals.retain(|(_, session)| session.changed_at == latest);
        let (_, deciding) = equals.into_iter().min_by_key(|(id, _)| *id).unwrap();
        return (deciding.shows(now), deciding.text);
    }
    ("Offline/Offline", None)
}

/// The text of a session.
fn text() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![2 => Just(None), 1 => Just(Some("call")), 1 => Just(Some("desk"))]
}

fn pair() -> impl Strategy<Value = Pair> {
    // Only Available fades, so it is more frequent.
    prop_oneof![
        3 => Just(Pair::AVAILABLE),
        1 => Just(Pair::OF_SESSION[1]),
        1 => Just(Pair::OF_SESSION[2]),
        1 => Just(Pair::AWAY),
        1 => Just(Pair::OF_SESSION[4]),
    ]
}

/// Milliseconds that are often a whole minute, or one more or less.
fn millis(max_minutes: i64) -> impl Strategy<Value = i64> {
    (0..=max_minutes, prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1), 1 => 0..MINUTE_MS])
        .prop_map(|(minutes, rest)| (minutes * MINUTE_MS + rest).max(0))
}

fn preferred_pair() -> impl Strategy<Value = Pair> {
    (0..Pair::PREFERRED.len()).prop_map(|index| Pair::PREFERRED[index])
}

fn user_row(naive: &NaiveUser) -> User {
    let at = Timestamp::from_millis;
    User {
        preferred: naive.preferred.map(|(pair, end)| PreferredPresence { pair, expires_at: at(end) }),
        status_message: naive.message.as_ref().map(|(content, published, end)| StatusMessage {
            content: content.clone(),
            published_at: Some(at(*published)),
            expires_at: end.map(at),
        }),
        changed_at: naive.changed_at.map(at),
        ..User::default()
    }
}

fn session((id, naive): (&String, &Naive)) -> Session {
    Session {
        session_id: SessionId::parse(id).unwrap(),
        pair: naive.pair,
        message: naive.text.map(ToOwned::to_owned),
        set_at: Timestamp::from_millis(naive.set_at),
        opened_at: Timestamp::from_millis(naive.opened_at),
        changed_at: Timestamp::from_millis(naive.changed_at),
        expires_at: Timestamp::from_millis(naive.expires_at),
    }
}

/// Prints the calls if an assertion fails.
struct CallDump<'a, T: Debug>(&'a [T]);

impl<T: Debug> Drop for CallDump<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("failed within {:#?}", self.0);
        }
    }
}
