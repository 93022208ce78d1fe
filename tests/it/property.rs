//! Random operations against naive models: the rules by themselves, and each
//! engine with the rules on top. Each test prints how much it tried.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use presenced::{
    presence::{
        DecidingRule, Pair, PreferredPresence, Session, SessionId, StatusMessage, Timestamp, User, explain,
        presence_of,
    },
    store::{Change, SetSession, UpdateUser},
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_oneof},
    prop_assert_eq,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

use crate::{
    conformance::{Subject, key_of},
    support::{database::Engine, number, on_every_engine, server::START},
};

on_every_engine![an_engine_agrees_with_the_model];

const MINUTE_MS: i64 = 60_000;

/// A session as the naive model keeps it: what was set, and nothing derived.
#[derive(Clone, Debug)]
struct Naive {
    pair: Pair,
    set_at: i64,
    changed_at: i64,
    expires_at: i64,
    cleared_at: Option<i64>,
}

impl Naive {
    fn live(&self, now: i64) -> bool {
        self.cleared_at.is_none() && self.expires_at > now
    }

    /// The latest instant at which it changed by a write or by itself.
    fn last_change(&self, now: i64) -> i64 {
        let fades = [self.set_at + 5 * MINUTE_MS, self.set_at + 10 * MINUTE_MS];
        let fades = fades.into_iter().filter(|at| {
            self.pair == Pair::AVAILABLE && self.live(now) && *at <= now && *at < self.expires_at
        });
        let end = self.cleared_at.or(Some(self.expires_at).filter(|at| *at <= now));
        fades.chain(end).chain([self.changed_at]).max().unwrap()
    }

    /// What it shows, in the words of the contract.
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

/// What a user set beside sessions, as the naive model keeps it.
#[derive(Clone, Debug, Default)]
struct NaiveUser {
    /// The pair, and when it ends.
    preferred: Option<(Pair, i64)>,
    /// A text, when it was published, and when it ends.
    message: Option<(String, i64, Option<i64>)>,
    changed_at: Option<i64>,
}

impl NaiveUser {
    fn touch(&mut self, now: i64, changes: bool) {
        if changes {
            self.changed_at = Some(self.changed_at.map_or(now, |old| now.max(old + 1)));
        }
    }

    /// What the user is shown as, who has these sessions.
    fn shows<'a>(
        &self,
        mut sessions: impl Iterator<Item = (&'a String, &'a Naive)> + Clone,
        now: i64,
    ) -> (String, Option<String>) {
        let mut pair = naive_presence(sessions.clone(), now).to_owned();
        if let Some((preferred, ends)) = &self.preferred
            && *ends > now
            && sessions.any(|(_, session)| session.live(now))
        {
            pair = preferred.to_string();
        }
        let message = self.message.as_ref().filter(|(_, _, ends)| ends.is_none_or(|ends| ends > now));
        (pair, message.map(|(content, _, _)| content.clone()))
    }

    /// The number that sorts what the user was shown as.
    fn sequence<'a>(&self, sessions: impl Iterator<Item = (&'a String, &'a Naive)>, now: i64) -> String {
        let ends =
            [self.preferred.map(|(_, ends)| ends), self.message.as_ref().and_then(|(_, _, ends)| *ends)];
        let ends = ends.into_iter().flatten().filter(|at| *at <= now);
        let changes =
            sessions.map(|(_, session)| session.last_change(now)).chain(self.changed_at).chain(ends);
        format!("A{:013}", changes.max().unwrap_or(0))
    }
}

/// What the sessions by themselves show, by looking at every session once for
/// every rank.
fn naive_presence<'a>(
    sessions: impl Iterator<Item = (&'a String, &'a Naive)> + Clone,
    now: i64,
) -> &'static str {
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
        return equals.into_iter().min_by_key(|(id, _)| *id).unwrap().1.shows(now);
    }
    "Offline/Offline"
}

fn pair() -> impl Strategy<Value = Pair> {
    // Available is the one that fades.
    prop_oneof![
        3 => Just(Pair::AVAILABLE),
        1 => Just(Pair::OF_SESSION[1]),
        1 => Just(Pair::OF_SESSION[2]),
        1 => Just(Pair::AWAY),
        1 => Just(Pair::OF_SESSION[4]),
    ]
}

/// Milliseconds of which many are whole minutes, or next to one.
fn millis(max_minutes: i64) -> impl Strategy<Value = i64> {
    (0..=max_minutes, prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1), 1 => 0..MINUTE_MS])
        .prop_map(|(minutes, rest)| (minutes * MINUTE_MS + rest).max(0))
}

fn preferred_pair() -> impl Strategy<Value = Pair> {
    (0..Pair::PREFERRED.len()).prop_map(|index| Pair::PREFERRED[index])
}

#[test]
fn the_rules_agree_with_the_model() {
    let cases = u32::try_from(number("PRESENCE_TEST_RULE_CASES", 100_000)).unwrap();
    let checks = AtomicUsize::new(0);
    // A session: pair, age, age of its last change, life, cleared.
    let sessions = vec((pair(), millis(16), millis(16), millis(20), any::<bool>()), 0..5);
    // How far ahead the end of each is, or behind.
    let end = || millis(30).prop_map(|ahead| ahead - 10 * MINUTE_MS);
    let user = (option::of((preferred_pair(), end())), option::of(option::of(end())));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&(sessions, user), |(sessions, (preferred, message))| {
            let now = START.as_millis();
            let naive: BTreeMap<String, Naive> = sessions
                .iter()
                .enumerate()
                .map(|(id, (pair, age, change, life, cleared))| {
                    let (set_at, changed_at) = (now - age, now - (age + change));
                    let naive = Naive {
                        pair: *pair,
                        set_at,
                        changed_at,
                        expires_at: set_at + life,
                        cleared_at: (*cleared && id > 1).then_some(now),
                    };
                    (id.to_string(), naive)
                })
                .collect();
            let naive_user = NaiveUser {
                preferred: preferred.map(|(pair, end)| (pair, now + end)),
                message: message.map(|end| ("hi".to_owned(), now, end.map(|end| now + end))),
                changed_at: None,
            };
            let ours = User {
                sessions: naive.iter().filter(|(_, naive)| naive.cleared_at.is_none()).map(session).collect(),
                ..user_row(&naive_user)
            };
            let decision = explain(&ours, START);
            let (expected, says) = naive_user.shows(naive.iter(), now);
            prop_assert_eq!(decision.presence.to_string(), expected.clone());
            prop_assert_eq!(presence_of(&ours, START).to_string(), expected.clone());
            prop_assert_eq!(decision.live.len(), naive.values().filter(|naive| naive.live(now)).count());
            let preferred_decided = decision.rule == DecidingRule::PreferredPresence;
            prop_assert_eq!(preferred_decided, ours.preferred_at(START).is_some());

            // The next transition, by looking at every instant at which
            // anything could happen.
            let of_sessions = naive.values().flat_map(|naive| {
                [naive.set_at + 5 * MINUTE_MS, naive.set_at + 10 * MINUTE_MS, naive.expires_at]
            });
            let of_user = [
                naive_user.preferred.map(|(_, end)| end),
                naive_user.message.as_ref().and_then(|(_, _, end)| *end),
            ];
            let instants: BTreeSet<i64> =
                of_sessions.chain(of_user.into_iter().flatten()).filter(|at| *at > now).collect();
            let next = instants.into_iter().map(|at| (at, naive_user.shows(naive.iter(), at)));
            let next = next.into_iter().find(|(_, shows)| *shows != (expected.clone(), says.clone()));
            let ours = decision.next_transition.map(|next| (next.at.as_millis(), next.to.to_string()));
            prop_assert_eq!(ours, next.map(|(at, (shows, _))| (at, shows)));
            checks.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    let checks = checks.into_inner();
    assert!(checks >= cases as usize);
    println!("rules: {checks} random users explained, 0 mismatches");
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
        set_at: Timestamp::from_millis(naive.set_at),
        changed_at: Timestamp::from_millis(naive.changed_at),
        expires_at: Timestamp::from_millis(naive.expires_at),
    }
}

/// How long a status message is shown.
#[derive(Clone, Copy, Debug)]
enum Life {
    Minutes(u64),
    ForGood,
}

impl Life {
    fn ends(self, now: i64) -> Option<i64> {
        match self {
            Self::Minutes(minutes) => Some(now + minutes_ms(minutes)),
            Self::ForGood => None,
        }
    }
}

/// A call of the store; a user and a session are small numbers.
#[derive(Clone, Debug)]
enum Call {
    Set(Vec<(u8, u8, Pair, u64)>),
    Clear(Vec<(u8, u8)>),
    Load(Vec<u8>),
    /// A preferred presence for so many minutes, or none.
    Prefer(u8, Option<(Pair, u64)>),
    /// A status message for so many minutes or for good, or none.
    Say(u8, Option<Life>),
    /// Milliseconds pass.
    Pass(i64),
}

const USERS: u8 = 4;
const SESSIONS: u8 = 4;

fn call() -> impl Strategy<Value = Call> {
    let set = (0..USERS, 0..SESSIONS, pair(), 5..=30_u64);
    prop_oneof![
        4 => vec(set, 1..12).prop_map(Call::Set),
        2 => vec((0..USERS, 0..SESSIONS), 1..12).prop_map(Call::Clear),
        3 => vec(0..USERS, 1..12).prop_map(Call::Load),
        1 => (0..USERS, option::weighted(0.7, (preferred_pair(), 1..=30_u64)))
            .prop_map(|(user, preferred)| Call::Prefer(user, preferred)),
        1 => (0..USERS, option::weighted(0.7, life()))
            .prop_map(|(user, message)| Call::Say(user, message)),
        3 => millis(6).prop_map(Call::Pass),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![(1..=30_u64).prop_map(Life::Minutes), Just(Life::ForGood)]
}

/// The engine and the model, side by side, for one tenant.
struct Pairing<'a> {
    subject: &'a Subject,
    tenant: Uuid,
    model: BTreeMap<(u8, String), Naive>,
    users: BTreeMap<u8, NaiveUser>,
    /// The last sequence number that was read of each user.
    sequences: BTreeMap<u8, String>,
    now: i64,
    operations: usize,
}

impl Pairing<'_> {
    fn update_of(&self, user: u8) -> UpdateUser {
        UpdateUser::new(key_of(self.tenant, &user.to_string(), "x").user)
    }

    async fn run(&mut self, call: &Call) {
        self.operations += usize::from(matches!(call, Call::Prefer(..) | Call::Say(..)));
        let now = Timestamp::from_millis(self.now);
        match call {
            Call::Pass(millis) => {
                self.now += millis;
                self.operations += 1;
            }
            Call::Set(sets) => {
                let ours: Vec<_> = sets
                    .iter()
                    .map(|(user, session, pair, minutes)| SetSession {
                        key: key_of(self.tenant, &user.to_string(), &session.to_string()),
                        pair: *pair,
                        expires_after: Duration::from_mins(*minutes),
                    })
                    .collect();
                self.subject.set(now, &ours).await;
                self.model_sets(sets);
                self.operations += sets.len();
            }
            Call::Clear(keys) => {
                let ours: Vec<_> = keys
                    .iter()
                    .map(|(user, session)| key_of(self.tenant, &user.to_string(), &session.to_string()))
                    .collect();
                let expected: Vec<bool> = keys.iter().map(|key| self.model_clear(*key)).collect();
                assert_eq!(self.subject.clear(now, &ours).await, expected, "{call:?}");
                self.operations += keys.len();
            }
            Call::Load(users) => self.load(users).await,
            Call::Prefer(user, preferred) => {
                let change = match preferred {
                    Some((pair, minutes)) => Change::Set((*pair, Duration::from_mins(*minutes))),
                    None => Change::Clear,
                };
                let update = UpdateUser { preferred: change, ..self.update_of(*user) };
                self.subject.store.update_user(now, &update).await.unwrap();
                let ends = preferred.map(|(pair, minutes)| (pair, self.now + minutes_ms(minutes)));
                let naive = self.users.entry(*user).or_default();
                naive.touch(self.now, preferred.is_some() || naive.preferred.is_some());
                naive.preferred = ends;
            }
            Call::Say(user, message) => {
                let change = match message {
                    Some(life) => {
                        Change::Set(("hi".to_owned(), life.ends(self.now).map(Timestamp::from_millis)))
                    }
                    None => Change::Clear,
                };
                let update = UpdateUser { status_message: change, ..self.update_of(*user) };
                self.subject.store.update_user(now, &update).await.unwrap();
                let naive = self.users.entry(*user).or_default();
                naive.touch(self.now, message.is_some() || naive.message.is_some());
                naive.message = message.map(|life| ("hi".to_owned(), self.now, life.ends(self.now)));
            }
        }
    }

    /// The last set of each key is the one that happens: a batch is one instant.
    fn model_sets(&mut self, sets: &[(u8, u8, Pair, u64)]) {
        let last: BTreeMap<_, _> = sets
            .iter()
            .map(|(user, session, pair, minutes)| ((*user, *session), (*pair, *minutes)))
            .collect();
        let now = self.now;
        for ((user, session), (pair, minutes)) in last {
            let expires_at = now + minutes_ms(minutes);
            let old = self.model.get(&(user, session.to_string()));
            let changed_at = match old {
                None => now,
                Some(old) => {
                    let faded = old.pair == Pair::AVAILABLE && now - old.set_at >= 5 * MINUTE_MS;
                    let told = !old.live(now) || old.pair != pair || faded || expires_at < old.expires_at;
                    if told { now.max(old.changed_at + 1) } else { old.changed_at }
                }
            };
            let naive = Naive { pair, set_at: now, changed_at, expires_at, cleared_at: None };
            self.model.insert((user, session.to_string()), naive);
        }
    }

    fn model_clear(&mut self, (user, session): (u8, u8)) -> bool {
        let now = self.now;
        match self.model.get_mut(&(user, session.to_string())) {
            Some(naive) if naive.live(now) => {
                naive.cleared_at = Some(now);
                true
            }
            _ => false,
        }
    }

    async fn load(&mut self, users: &[u8]) {
        let now = Timestamp::from_millis(self.now);
        let keys: Vec<_> =
            users.iter().map(|user| key_of(self.tenant, &user.to_string(), "x").user).collect();
        let answers = self.subject.store.load(now, &keys).await.unwrap();
        for (user, mut answer) in users.iter().zip(answers) {
            let sessions = &mut answer.sessions;
            sessions.sort_by(|a, b| a.session_id.cmp(&b.session_id));
            let model: BTreeMap<String, Naive> = self
                .model
                .iter()
                .filter(|((of, _), _)| of == user)
                .map(|((_, id), naive)| (id.clone(), naive.clone()))
                .collect();
            let live: Vec<_> = model.iter().filter(|(_, naive)| naive.live(self.now)).map(session).collect();
            assert_eq!(*sessions, live);
            let naive = self.users.get(user).cloned().unwrap_or_default();
            let row = user_row(&naive);
            assert_eq!((answer.preferred, &answer.status_message), (row.preferred, &row.status_message));
            let says = answer.status_message_at(now).map(|message| message.content.clone());
            assert_eq!((presence_of(&answer, now).to_string(), says), naive.shows(model.iter(), self.now));
            let sequence = answer.sequence_number(now).to_string();
            assert_eq!(sequence, naive.sequence(model.iter(), self.now));
            let before = self.sequences.insert(*user, sequence.clone());
            assert!(before.is_none_or(|before| before <= sequence), "it never goes back");
            self.operations += 1;
        }
    }
}

async fn an_engine_agrees_with_the_model(engine: Engine) {
    const CALLS: usize = 100;
    let least = number("PRESENCE_TEST_ENGINE_OPERATIONS", 50_000);
    let subject = Subject::new(engine).await;
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let calls = vec(call(), CALLS);
    let (mut operations, mut sequences) = (0, 0);
    while operations < least {
        use proptest::strategy::ValueTree;

        let calls = calls.new_tree(&mut runner).unwrap().current();
        // Another tenant for each sequence: also a fresh store.
        let tenant = Uuid::new_v4();
        let mut pairing = Pairing {
            subject: &subject,
            tenant,
            model: BTreeMap::new(),
            users: BTreeMap::new(),
            sequences: BTreeMap::new(),
            now: START.as_millis(),
            operations: 0,
        };
        let story = Story(&calls);
        for call in &calls {
            pairing.run(call).await;
        }
        drop(story);
        operations += pairing.operations;
        sequences += 1;
    }
    println!("{engine:?}: {operations} random operations in {sequences} sequences, 0 mismatches");
}

fn minutes_ms(minutes: u64) -> i64 {
    i64::try_from(minutes).unwrap() * MINUTE_MS
}

/// Tells what was called when an assertion fails on the way.
struct Story<'a>(&'a [Call]);

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("after some of {:#?}", self.0);
        }
    }
}
