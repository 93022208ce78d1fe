use std::{collections::BTreeMap, time::Duration};

use presenced::{
    presence::{Author, Pair, Timestamp, message_of, presence_of},
    store::{Observed, SetSession, UpdateUser, UserChange},
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, prop_oneof},
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

use super::{
    CallDump, MINUTE_MS, Naive, NaiveUser, SETTLES_MS, millis, pair, preferred_pair, session, text, user_row,
};
use crate::{
    conformance::{Subject, key_of},
    support::{database::Engine, number, on_every_engine, server::START},
};

on_every_engine![an_engine_agrees_with_the_model];

/// The lifetime of a status message.
#[derive(Clone, Copy, Debug)]
enum Life {
    Minutes(u64),
    Forever,
}

impl Life {
    fn ends(self, now: i64) -> Option<i64> {
        match self {
            Self::Minutes(minutes) => Some(now + minutes_ms(minutes)),
            Self::Forever => None,
        }
    }
}

/// A call of the store. Users and sessions are small numbers.
#[derive(Clone, Debug)]
enum Call {
    /// Sets sessions: the pair, the text and the lifetime of each, in milliseconds.
    Set(Vec<(u8, u8, Pair, Option<&'static str>, i64)>),
    Clear(Vec<(u8, u8)>),
    Load(Vec<u8>),
    /// Sets a preferred presence for some minutes, or clears it.
    Prefer(u8, Option<(Pair, u64)>),
    /// Sets a status message for some minutes or forever, or clears it.
    SetMessage(u8, Option<Life>),
    /// Advances the clock by milliseconds.
    Advance(i64),
    /// Removes rows that are not needed any more.
    CleanUp,
}

pub(super) const USERS: u8 = 4;
const SESSIONS: u8 = 4;

fn call() -> impl Strategy<Value = Call> {
    let set = (0..USERS, 0..SESSIONS, pair(), text(), lifetime());
    prop_oneof![
        4 => vec(set, 1..12).prop_map(Call::Set),
        2 => vec((0..USERS, 0..SESSIONS), 1..12).prop_map(Call::Clear),
        3 => vec(0..USERS, 1..12).prop_map(Call::Load),
        1 => (0..USERS, option::weighted(0.7, (preferred_pair(), 1..=30_u64)))
            .prop_map(|(user, preferred)| Call::Prefer(user, preferred)),
        1 => (0..USERS, option::weighted(0.7, life()))
            .prop_map(|(user, message)| Call::SetMessage(user, message)),
        3 => millis(6).prop_map(Call::Advance),
        1 => Just(Call::CleanUp),
    ]
}

/// The lifetime of a session: minutes, or seconds.
fn lifetime() -> impl Strategy<Value = i64> {
    prop_oneof![3 => (5..=30_i64).prop_map(|minutes| minutes * MINUTE_MS), 1 => 10_000..MINUTE_MS]
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![(1..=30_u64).prop_map(Life::Minutes), Just(Life::Forever)]
}

/// The model after a call.
pub(super) struct Past {
    pub(super) at: i64,
    pub(super) model: BTreeMap<(u8, String), Naive>,
    pub(super) users: BTreeMap<u8, NaiveUser>,
}

/// The engine and the model, with the same calls, for one tenant.
pub(super) struct Comparison<'a> {
    pub(super) subject: &'a Subject,
    pub(super) tenant: Uuid,
    model: BTreeMap<(u8, String), Naive>,
    users: BTreeMap<u8, NaiveUser>,
    /// The last sequence number of each user.
    sequences: BTreeMap<u8, String>,
    /// The model after each call, with its time.
    pub(super) past: Vec<Past>,
    pub(super) now: i64,
    operations: usize,
}

impl Comparison<'_> {
    async fn update(&self, user: u8, change: UserChange) {
        let user = key_of(self.tenant, &user.to_string(), "x").user;
        let update = UpdateUser { user, change, set_by: Author::default() };
        self.subject.store.update_user(Timestamp::from_millis(self.now), &update).await.unwrap();
    }

    async fn run(&mut self, call: &Call) {
        self.apply(call).await;
        self.past.push(Past { at: self.now, model: self.model.clone(), users: self.users.clone() });
    }

    async fn apply(&mut self, call: &Call) {
        self.operations += usize::from(matches!(call, Call::Prefer(..) | Call::SetMessage(..)));
        let now = Timestamp::from_millis(self.now);
        match call {
            Call::Advance(millis) => {
                self.now += millis;
                self.operations += 1;
            }
            Call::Set(sets) => {
                let ours: Vec<_> = sets
                    .iter()
                    .map(|(user, session, pair, text, lives)| SetSession {
                        key: key_of(self.tenant, &user.to_string(), &session.to_string()),
                        pair: *pair,
                        message: text.map(ToOwned::to_owned),
                        expires_after: Duration::from_millis(lives.unsigned_abs()),
                        set_by: Author::default(),
                        observed: Observed::Now,
                        holder: None,
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
            Call::CleanUp => self.clean_up(now).await,
            Call::Prefer(user, preferred) => {
                let change = preferred.map(|(pair, minutes)| (pair, Duration::from_mins(minutes)));
                self.update(*user, UserChange::Preferred(change)).await;
                let latest = self.model.iter().filter(|((of, _), _)| of == user);
                let latest = latest.map(|(_, naive)| naive.changed_at.max(naive.cleared_at.unwrap_or(0)));
                let latest = latest.max().unwrap_or(0);
                let ends = preferred.map(|(pair, minutes)| (pair, self.now + minutes_ms(minutes)));
                let naive = self.users.entry(*user).or_default();
                let before = naive.preferred.map(|(_, ends)| ends);
                let floor = if preferred.is_some() { latest } else { 0 };
                naive.touch(self.now, preferred.is_some() || before.is_some(), before, floor);
                naive.preferred = ends;
            }
            Call::SetMessage(user, message) => {
                let ends = |life: Life| life.ends(self.now).map(Timestamp::from_millis);
                let change = message.map(|life| ("hi".to_owned(), ends(life)));
                self.update(*user, UserChange::StatusMessage(change)).await;
                let naive = self.users.entry(*user).or_default();
                let before = naive.message.as_ref().and_then(|(_, _, ends)| *ends);
                naive.touch(self.now, message.is_some() || naive.message.is_some(), before, 0);
                naive.message = message.map(|life| ("hi".to_owned(), self.now, life.ends(self.now)));
            }
        }
    }

    /// The last set of each key is the one that happens: a batch is one instant.
    fn model_sets(&mut self, sets: &[(u8, u8, Pair, Option<&'static str>, i64)]) {
        let last: BTreeMap<_, _> = sets
            .iter()
            .map(|(user, session, pair, text, lives)| ((*user, *session), (*pair, *text, *lives)))
            .collect();
        let now = self.now;
        for ((user, session), (pair, text, lives)) in last {
            let expires_at = now + lives;
            let old = self.model.get(&(user, session.to_string()));
            let (opened_at, changed_at) = match old {
                None => (now, now),
                Some(old) => {
                    let seen = old.seen_at(now);
                    let changed =
                        seen.is_some() || (old.pair, old.text) != (pair, text) || expires_at < old.expires_at;
                    let moved = now.max(old.changed_at + 1).max(seen.map_or(0, |seen| seen + 1));
                    let opens = !old.live(now + SETTLES_MS);
                    let kept = |moves: bool, kept: i64| if moves { moved } else { kept };
                    (kept(opens, old.opened_at), kept(changed, old.changed_at))
                }
            };
            let (set_at, cleared_at) = (now, None);
            let naive = Naive { pair, text, set_at, opened_at, changed_at, expires_at, cleared_at };
            self.model.insert((user, session.to_string()), naive);
        }
    }

    fn model_clear(&mut self, (user, session): (u8, u8)) -> bool {
        let now = self.now;
        match self.model.get_mut(&(user, session.to_string())) {
            Some(naive) if naive.live(now) => {
                let expires = naive.expires_at;
                let seen = if expires <= now + SETTLES_MS { expires + 1 } else { 0 };
                naive.cleared_at = Some(now.max(naive.changed_at + 1).max(seen));
                true
            }
            _ => false,
        }
    }

    /// Removes what the store says is not needed, also from the model: it is in the history.
    async fn clean_up(&mut self, now: Timestamp) {
        let store = &self.subject.store;
        let first = key_of(self.tenant, "!", "!");
        let mut sessions = store.scan_sessions(now, Some(&first), 50).await.unwrap();
        sessions.retain(|row| {
            row.key.user.tenant_id == self.tenant && row.unused_from.is_some_and(|from| from <= now)
        });
        let removed = store.remove_sessions(now, &sessions).await.unwrap();
        assert_eq!(removed, sessions.len() as u64);
        for row in sessions {
            let user = row.key.user.user_id.as_str().parse().unwrap();
            self.model.remove(&(user, row.key.session_id.to_string()));
        }
        let mut users = store.scan_users(now, Some(&first.user), 50).await.unwrap();
        users.retain(|row| {
            row.key.tenant_id == self.tenant && row.unused_from.is_some_and(|from| from <= now)
        });
        store.remove_users(&users).await.unwrap();
        for row in users {
            self.users.remove(&row.key.user_id.as_str().parse().unwrap());
        }
        // Without rows the number starts again.
        let (model, users) = (&self.model, &self.users);
        self.sequences.retain(|user, _| users.contains_key(user) || model.keys().any(|(of, _)| of == user));
    }

    async fn load(&mut self, users: &[u8]) {
        let now = Timestamp::from_millis(self.now);
        let keys: Vec<_> =
            users.iter().map(|user| key_of(self.tenant, &user.to_string(), "x").user).collect();
        let loaded = self.subject.store.load(now, &keys).await.unwrap();
        for (user, mut loaded) in users.iter().zip(loaded) {
            let sessions = &mut loaded.sessions;
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
            assert_eq!((loaded.preferred, &loaded.status_message), (row.preferred, &row.status_message));
            let message = message_of(&loaded, now).map(|message| message.content);
            assert_eq!((presence_of(&loaded, now).to_string(), message), naive.shows(model.iter(), self.now));
            let sequence = loaded.sequence_number(now).to_string();
            assert_eq!(sequence, naive.sequence(model.iter(), self.now));
            let before = self.sequences.insert(*user, sequence.clone());
            assert!(before.is_none_or(|before| before <= sequence), "the sequence number never goes back");
            self.operations += 1;
        }
    }
}

async fn an_engine_agrees_with_the_model(engine: Engine) {
    const CALLS: usize = 100;
    let minimum = number("PRESENCE_TEST_ENGINE_OPERATIONS", 260_000);
    let subject = Subject::new(engine).await;
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let calls = vec(call(), CALLS);
    let (mut operations, mut sequences, mut instants) = (0, 0, 0);
    while operations < minimum {
        let calls = calls.new_tree(&mut runner).unwrap().current();
        // A new tenant for each sequence acts as an empty store.
        let tenant = Uuid::new_v4();
        let mut comparison = Comparison {
            subject: &subject,
            tenant,
            model: BTreeMap::new(),
            users: BTreeMap::new(),
            sequences: BTreeMap::new(),
            past: Vec::new(),
            now: START.as_millis(),
            operations: 0,
        };
        let dump = CallDump(&calls);
        for call in &calls {
            comparison.run(call).await;
        }
        instants += comparison.check_history().await;
        drop(dump);
        operations += comparison.operations;
        sequences += 1;
    }
    println!(
        "{engine:?}: {operations} random operations in {sequences} sequences, {instants} past instants, \
         0 mismatches"
    );
}

fn minutes_ms(minutes: u64) -> i64 {
    i64::try_from(minutes).unwrap() * MINUTE_MS
}
