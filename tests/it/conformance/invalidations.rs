//! Of whom those who watch are told, and of whom not.

use std::{collections::BTreeSet, time::Duration};

use presenced::{
    presence::{INACTIVE_AFTER, Pair, Timestamp},
    store::{Change, Changes, Invalidation, UpdateUser},
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::timeout;

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, set, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    watchers_are_told_of_the_users_whose_changed_at_moved,
    and_of_a_mere_refresh_they_are_told_nothing,
    watchers_are_told_of_the_users_whose_session_it_ended_and_of_no_other,
    of_an_extension_they_are_told_as_of_a_set,
    watchers_are_told_of_the_user_if_anything_was_set_or_taken_away,
    invalidations_come_after_the_commit,
    a_thousand_users_are_told_of,
    what_another_store_writes_is_told,
];

const TICK: Duration = Duration::from_millis(1);

/// Somebody who watches.
struct Ear {
    subject: Subject,
    changes: Changes,
    /// The fences set so far.
    fences: u32,
}

impl Ear {
    /// Listens. The first invalidation is always that anything may have happened.
    async fn new(engine: Engine) -> Self {
        let subject = Subject::new(engine).await;
        let mut changes = subject.database.changes();
        assert_eq!(changes.next().await, Invalidation::Everything);
        Self { subject, changes, fences: 0 }
    }

    /// Of whom was told since the last time. What is written last is heard last.
    async fn heard(&mut self) -> Vec<String> {
        self.fences += 1;
        let fence = format!("fence-{}", self.fences);
        self.subject.set(start(), &[set(&fence, "a", IN_A_CALL, HOUR)]).await;
        let mut heard = BTreeSet::new();
        loop {
            let invalidation =
                timeout(Duration::from_secs(30), self.changes.next()).await.expect("an invalidation");
            let Invalidation::Users(users) = invalidation else { panic!("{invalidation:?}") };
            heard.extend(users.into_iter().map(|user| user.user_id.to_string()));
            if heard.remove(&fence) {
                return heard.into_iter().collect();
            }
        }
    }

    /// Sets a session of each of some users, and tells of whom was told.
    async fn heard_of_set(
        &mut self,
        now: Timestamp,
        users: &[&str],
        pair: Pair,
        lives: Duration,
    ) -> Vec<String> {
        let sets: Vec<_> = users.iter().map(|user| set(user, "a", pair, lives)).collect();
        self.subject.set(now, &sets).await;
        self.heard().await
    }
}

async fn watchers_are_told_of_the_users_whose_changed_at_moved(engine: Engine) {
    let mut ear = Ear::new(engine).await;
    assert_eq!(ear.heard_of_set(start(), &["u", "v"], IN_A_CALL, HOUR).await, ["u", "v"], "opened");
    let now = start() + MINUTE;
    assert_eq!(ear.heard_of_set(now, &["u"], Pair::AVAILABLE, HOUR).await, ["u"], "another pair");
    let now = now + INACTIVE_AFTER;
    assert_eq!(ear.heard_of_set(now, &["u"], Pair::AVAILABLE, HOUR).await, ["u"], "had faded");
    let now = now + MINUTE;
    assert_eq!(ear.heard_of_set(now, &["u"], Pair::AVAILABLE, 5 * MINUTE).await, ["u"], "ends earlier");
    let now = now + 5 * MINUTE;
    assert_eq!(ear.heard_of_set(now, &["u"], Pair::AVAILABLE, HOUR).await, ["u"], "had expired");
    ear.subject.clear(now + TICK, &[key("u", "a")]).await;
    assert_eq!(ear.heard().await, ["u"]);
    assert_eq!(ear.heard_of_set(now + MINUTE, &["u"], Pair::AVAILABLE, HOUR).await, ["u"], "was cleared");
    // Another replica, whose clock is an hour behind.
    let behind = Timestamp::from_millis(start().as_millis() - 3_600_000);
    assert_eq!(ear.heard_of_set(behind, &["u"], Pair::AWAY, 4 * HOUR).await, ["u"], "changed_at lies ahead");
}

async fn and_of_a_mere_refresh_they_are_told_nothing(engine: Engine) {
    let mut ear = Ear::new(engine).await;
    let users: Vec<String> = (0..100).map(|user| format!("u{user:03}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    assert_eq!(ear.heard_of_set(start(), &users, Pair::AVAILABLE, HOUR).await.len(), 100);
    let nobody: [&str; 0] = [];
    for minutes in 1..=20 {
        let now = start() + minutes * MINUTE;
        assert_eq!(ear.heard_of_set(now, &users, Pair::AVAILABLE, HOUR).await, nobody, "{minutes}");
    }
    // One that is more than a refresh stands out.
    let now = start() + 21 * MINUTE;
    let mut sets: Vec<_> = users.iter().map(|user| set(user, "a", Pair::AVAILABLE, HOUR)).collect();
    sets[50].pair = Pair::AWAY;
    ear.subject.set(now, &sets).await;
    assert_eq!(ear.heard().await, ["u050"]);
}

async fn watchers_are_told_of_the_users_whose_session_it_ended_and_of_no_other(engine: Engine) {
    let mut ear = Ear::new(engine).await;
    ear.heard_of_set(start(), &["u", "v", "w"], IN_A_CALL, HOUR).await;
    let now = start() + MINUTE;
    ear.subject.clear(now, &[key("u", "a"), key("u", "b"), key("v", "b"), key("x", "a")]).await;
    assert_eq!(ear.heard().await, ["u"]);
    ear.subject.clear(now, &[key("u", "a")]).await;
    ear.subject.clear(start() + HOUR, &[key("w", "a")]).await;
    assert_eq!(ear.heard().await, [""; 0]);
}

async fn of_an_extension_they_are_told_as_of_a_set(engine: Engine) {
    let mut ear = Ear::new(engine).await;
    ear.heard_of_set(start(), &["u", "v", "w"], IN_A_CALL, MINUTE).await;
    ear.subject.clear(start(), &[key("w", "a")]).await;
    assert_eq!(ear.heard().await, ["w"]);
    let held = ["u", "v", "w"].map(|user| set(user, "a", IN_A_CALL, MINUTE));
    ear.subject.store.extend_sessions(start() + MINUTE / 2, &held[..1]).await.unwrap();
    assert_eq!(ear.heard().await, [""; 0], "a mere refresh");
    ear.subject.store.extend_sessions(start() + MINUTE, &held).await.unwrap();
    assert_eq!(ear.heard().await, ["v"], "had expired");
}

async fn watchers_are_told_of_the_user_if_anything_was_set_or_taken_away(engine: Engine) {
    let mut ear = Ear::new(engine).await;
    let nothing = || UpdateUser::new(key("u", "a").user);
    let say = || UpdateUser { status_message: Change::Set(("hi".to_owned(), None)), ..nothing() };
    let hush = || UpdateUser { status_message: Change::Clear, preferred: Change::Clear, ..nothing() };
    for (update, told) in [(hush(), false), (say(), true), (say(), true), (hush(), true), (hush(), false)] {
        ear.subject.store.update_user(start(), &update).await.unwrap();
        let expected: &[&str] = if told { &["u"] } else { &[] };
        assert_eq!(ear.heard().await, expected, "{update:?}");
    }
}

async fn invalidations_come_after_the_commit(engine: Engine) {
    let mut ear = Ear::new(engine).await;
    for round in 0..50 {
        let (user, now) = (format!("u{round}"), start() + round * MINUTE);
        let (store, sets) = (ear.subject.store.clone(), [set(&user, "a", IN_A_CALL, HOUR)]);
        let write = tokio::spawn(async move { store.set_sessions(now, &sets).await });
        assert_eq!(ear.changes.next().await, Invalidation::Users(vec![key(&user, "a").user]));
        assert_eq!(ear.subject.load(now, &user).await.len(), 1);
        write.await.unwrap().unwrap();
    }
}

async fn a_thousand_users_are_told_of(engine: Engine) {
    let mut ear = Ear::new(engine).await;
    let users: Vec<String> = (0..1_000).map(|user| format!("{user:0128}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    assert_eq!(ear.heard_of_set(start(), &users, IN_A_CALL, HOUR).await, users);
    let keys: Vec<_> = users.iter().map(|user| key(user, "a")).collect();
    ear.subject.clear(start() + TICK, &keys).await;
    assert_eq!(ear.heard().await, users);
}

async fn what_another_store_writes_is_told(engine: Engine) {
    let mut ear = Ear::new(engine).await;
    let another = ear.subject.database.open(1);
    another.set_sessions(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await.unwrap();
    assert_eq!(ear.heard().await, ["u"]);
}

#[tokio::test]
async fn if_an_invalidation_may_have_been_lost_everything_comes() {
    let mut ear = Ear::new(Engine::Postgres).await;
    let mut admin = PgConnection::connect(ear.subject.url()).await.unwrap();
    for _ in 0..3 {
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and query like 'LISTEN%'";
        assert_eq!(admin.execute(kill).await.unwrap().rows_affected(), 1);
        let invalidation =
            timeout(Duration::from_secs(30), ear.changes.next()).await.expect("an invalidation");
        assert_eq!(invalidation, Invalidation::Everything);
        assert_eq!(ear.heard().await, [""; 0], "and then it listens");
    }
}

#[tokio::test]
async fn whoever_listens_too_slowly_is_told_of_everything() {
    let mut ear = Ear::new(Engine::Sqlite).await;
    for round in 0..1_100 {
        ear.subject.set(start() + round * MINUTE, &[set("u", "a", IN_A_CALL, 5 * MINUTE)]).await;
        ear.subject.clear(start() + round * MINUTE, &[key("u", "a")]).await;
    }
    assert_eq!(ear.changes.next().await, Invalidation::Everything);
}
