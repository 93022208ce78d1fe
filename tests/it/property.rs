//! Random operations against naive models: the rules by themselves, and each
//! engine with the rules on top. Each test prints how much it tried.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use presenced::{
    presence::{Pair, Session, SessionId, Timestamp, explain, presence_of},
    store::SetSession,
};
use proptest::{
    collection::vec,
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
    cleared: bool,
}

impl Naive {
    fn live(&self, now: i64) -> bool {
        !self.cleared && self.expires_at > now
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

/// The presence of the user who has these sessions, by looking at every
/// session once for every rank.
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

#[test]
fn the_rules_agree_with_the_model() {
    let cases = u32::try_from(number("PRESENCE_TEST_RULE_CASES", 100_000)).unwrap();
    let checks = AtomicUsize::new(0);
    // A session: pair, age, age of its last change, life, cleared.
    let sessions = vec((pair(), millis(16), millis(16), millis(20), any::<bool>()), 0..5);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&sessions, |sessions| {
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
                        cleared: *cleared && id > 1,
                    };
                    (id.to_string(), naive)
                })
                .collect();
            let ours: Vec<Session> = naive.iter().filter(|(_, naive)| !naive.cleared).map(session).collect();
            let decision = explain(&ours, START);
            let expected = naive_presence(naive.iter(), now);
            prop_assert_eq!(decision.presence.to_string(), expected);
            prop_assert_eq!(presence_of(&ours, START).to_string(), expected);
            prop_assert_eq!(decision.live.len(), naive.values().filter(|naive| naive.live(now)).count());

            // The next transition, by looking at every instant at which
            // anything could happen.
            let instants: BTreeSet<i64> = naive
                .values()
                .flat_map(|naive| {
                    [naive.set_at + 5 * MINUTE_MS, naive.set_at + 10 * MINUTE_MS, naive.expires_at]
                })
                .filter(|at| *at > now)
                .collect();
            let next = instants.into_iter().map(|at| (at, naive_presence(naive.iter(), at)));
            let next = next.into_iter().find(|(_, shows)| *shows != expected);
            let ours = decision.next_transition.map(|next| (next.at.as_millis(), next.to.to_string()));
            prop_assert_eq!(ours, next.map(|(at, shows)| (at, shows.to_owned())));
            checks.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    let checks = checks.into_inner();
    assert!(checks >= cases as usize);
    println!("rules: {checks} random users explained, 0 mismatches");
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

/// A call of the store; a user and a session are small numbers.
#[derive(Clone, Debug)]
enum Call {
    Set(Vec<(u8, u8, Pair, u64)>),
    Clear(Vec<(u8, u8)>),
    Load(Vec<u8>),
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
        3 => millis(6).prop_map(Call::Pass),
    ]
}

/// The engine and the model, side by side, for one tenant.
struct Pairing<'a> {
    subject: &'a Subject,
    tenant: Uuid,
    model: BTreeMap<(u8, String), Naive>,
    now: i64,
    operations: usize,
}

impl Pairing<'_> {
    async fn run(&mut self, call: &Call) {
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
            let expires_at = now + i64::try_from(minutes).unwrap() * MINUTE_MS;
            let old = self.model.get(&(user, session.to_string()));
            let changed_at = match old {
                None => now,
                Some(old) => {
                    let faded = old.pair == Pair::AVAILABLE && now - old.set_at >= 5 * MINUTE_MS;
                    let told = !old.live(now) || old.pair != pair || faded || expires_at < old.expires_at;
                    if told { now.max(old.changed_at + 1) } else { old.changed_at }
                }
            };
            let naive = Naive { pair, set_at: now, changed_at, expires_at, cleared: false };
            self.model.insert((user, session.to_string()), naive);
        }
    }

    fn model_clear(&mut self, (user, session): (u8, u8)) -> bool {
        let now = self.now;
        match self.model.get_mut(&(user, session.to_string())) {
            Some(naive) if naive.live(now) => {
                naive.cleared = true;
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
        for (user, mut sessions) in users.iter().zip(answers) {
            sessions.sort_by(|a, b| a.session_id.cmp(&b.session_id));
            let model: BTreeMap<String, Naive> = self
                .model
                .iter()
                .filter(|((of, _), _)| of == user)
                .map(|((_, id), naive)| (id.clone(), naive.clone()))
                .collect();
            let live: Vec<_> = model.iter().filter(|(_, naive)| naive.live(self.now)).map(session).collect();
            assert_eq!(sessions, live);
            assert_eq!(presence_of(&sessions, now).to_string(), naive_presence(model.iter(), self.now));
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

/// Tells what was called when an assertion fails on the way.
struct Story<'a>(&'a [Call]);

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("after some of {:#?}", self.0);
        }
    }
}
