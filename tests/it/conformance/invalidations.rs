//! The feed of invalidations: the users that each write invalidates.

use std::{collections::BTreeSet, time::Duration};

use presenced::{
    presence::{INACTIVE_AFTER, Pair, Timestamp},
    store::{Invalidation, InvalidationFeed, SetSession, UserChange},
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::timeout;

use super::{HOUR, IN_A_CALL, MINUTE, Subject, extension, hold, key, message, set, set_text, start, update};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    watchers_are_notified_of_the_users_whose_changed_at_moved,
    a_plain_refresh_notifies_no_watcher,
    a_clear_notifies_watchers_only_of_the_users_whose_session_ended,
    an_extension_notifies_watchers_as_a_set_does,
    an_update_notifies_watchers_if_it_set_or_removed_a_value,
    an_invalidation_follows_the_commit,
    one_write_can_invalidate_a_thousand_users,
    the_feed_has_the_writes_of_other_stores,
];

const TICK: Duration = Duration::from_millis(1);

/// A consumer of the feed.
struct Consumer {
    subject: Subject,
    invalidations: InvalidationFeed,
    /// The number of fences that were written.
    fences: u32,
}

impl Consumer {
    /// Opens the feed, whose first invalidation is of all users.
    async fn new(engine: Engine) -> Self {
        let subject = Subject::new(engine).await;
        let mut invalidations = subject.database.invalidations();
        assert_eq!(invalidations.next().await, Invalidation::AllUsers);
        Self { subject, invalidations, fences: 0 }
    }

    /// Returns the users that were invalidated since the last call. A fence is written last,
    /// so its invalidation arrives last.
    async fn users(&mut self) -> Vec<String> {
        self.fences += 1;
        let fence = format!("fence-{}", self.fences);
        self.subject.set(start(), &[set(&fence, "a", IN_A_CALL, HOUR)]).await;
        let mut users = BTreeSet::new();
        loop {
            let invalidation =
                timeout(Duration::from_secs(30), self.invalidations.next()).await.expect("an invalidation");
            let Invalidation::Users(named) = invalidation else { panic!("{invalidation:?}") };
            users.extend(named.into_iter().map(|user| user.user_id.to_string()));
            if users.remove(&fence) {
                return users.into_iter().collect();
            }
        }
    }

    /// Sets a session of each user, and returns the invalidated users.
    async fn users_after_set(
        &mut self,
        now: Timestamp,
        users: &[&str],
        pair: Pair,
        lives: Duration,
    ) -> Vec<String> {
        let sets: Vec<_> = users.iter().map(|user| set(user, "a", pair, lives)).collect();
        self.subject.set(now, &sets).await;
        self.users().await
    }
}

async fn watchers_are_notified_of_the_users_whose_changed_at_moved(engine: Engine) {
    let mut consumer = Consumer::new(engine).await;
    assert_eq!(consumer.users_after_set(start(), &["u", "v"], IN_A_CALL, HOUR).await, ["u", "v"], "opened");
    let now = start() + MINUTE;
    assert_eq!(consumer.users_after_set(now, &["u"], Pair::AVAILABLE, HOUR).await, ["u"], "another pair");
    let text = SetSession { pair: Pair::AVAILABLE, ..set_text("u", "a", "bank", HOUR) };
    consumer.subject.set(now, std::slice::from_ref(&text)).await;
    assert_eq!(consumer.users().await, ["u"], "another text");
    let now = now + MINUTE;
    consumer.subject.set(now, &[text]).await;
    assert_eq!(consumer.users().await, [""; 0], "the same text");
    assert_eq!(consumer.users_after_set(now, &["u"], Pair::AVAILABLE, HOUR).await, ["u"], "no text");
    let now = now + INACTIVE_AFTER;
    assert_eq!(consumer.users_after_set(now, &["u"], Pair::AVAILABLE, HOUR).await, ["u"], "had faded");
    let now = now + MINUTE;
    assert_eq!(
        consumer.users_after_set(now, &["u"], Pair::AVAILABLE, 5 * MINUTE).await,
        ["u"],
        "ends earlier"
    );
    let now = now + 5 * MINUTE;
    assert_eq!(consumer.users_after_set(now, &["u"], Pair::AVAILABLE, HOUR).await, ["u"], "had expired");
    consumer.subject.clear(now + TICK, &[key("u", "a")]).await;
    assert_eq!(consumer.users().await, ["u"]);
    assert_eq!(
        consumer.users_after_set(now + MINUTE, &["u"], Pair::AVAILABLE, HOUR).await,
        ["u"],
        "was cleared"
    );
    // Another replica, whose clock is an hour behind.
    let behind = Timestamp::from_millis(start().as_millis() - 3_600_000);
    assert_eq!(
        consumer.users_after_set(behind, &["u"], Pair::AWAY, 4 * HOUR).await,
        ["u"],
        "changed_at is ahead"
    );
}

async fn a_plain_refresh_notifies_no_watcher(engine: Engine) {
    let mut consumer = Consumer::new(engine).await;
    let users: Vec<String> = (0..100).map(|user| format!("u{user:03}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    assert_eq!(consumer.users_after_set(start(), &users, Pair::AVAILABLE, HOUR).await.len(), 100);
    let no_user: [&str; 0] = [];
    for minutes in 1..=20 {
        let now = start() + minutes * MINUTE;
        assert_eq!(consumer.users_after_set(now, &users, Pair::AVAILABLE, HOUR).await, no_user, "{minutes}");
    }
    // Only the user with another pair is invalidated.
    let now = start() + 21 * MINUTE;
    let mut sets: Vec<_> = users.iter().map(|user| set(user, "a", Pair::AVAILABLE, HOUR)).collect();
    sets[50].pair = Pair::AWAY;
    consumer.subject.set(now, &sets).await;
    assert_eq!(consumer.users().await, ["u050"]);
}

async fn a_clear_notifies_watchers_only_of_the_users_whose_session_ended(engine: Engine) {
    let mut consumer = Consumer::new(engine).await;
    consumer.users_after_set(start(), &["u", "v", "w"], IN_A_CALL, HOUR).await;
    let now = start() + MINUTE;
    consumer.subject.clear(now, &[key("u", "a"), key("u", "b"), key("v", "b"), key("x", "a")]).await;
    assert_eq!(consumer.users().await, ["u"]);
    consumer.subject.clear(now, &[key("u", "a")]).await;
    consumer.subject.clear(start() + HOUR, &[key("w", "a")]).await;
    assert_eq!(consumer.users().await, [""; 0]);
}

async fn an_extension_notifies_watchers_as_a_set_does(engine: Engine) {
    let mut consumer = Consumer::new(engine).await;
    let sets = ["u", "v", "w"].map(|user| hold(user, "a", IN_A_CALL, MINUTE));
    consumer.subject.set(start(), &sets).await;
    assert_eq!(consumer.users().await, ["u", "v", "w"]);
    consumer.subject.clear(start(), &[key("w", "a")]).await;
    assert_eq!(consumer.users().await, ["w"]);
    let held = ["u", "v", "w"].map(|user| extension(user, "a", MINUTE));
    consumer.subject.store.extend_sessions(start() + MINUTE / 2, &held[..1]).await.unwrap();
    assert_eq!(consumer.users().await, [""; 0], "a plain refresh");
    consumer.subject.store.extend_sessions(start() + MINUTE, &held).await.unwrap();
    assert_eq!(consumer.users().await, ["v"], "had expired");
}

async fn an_update_notifies_watchers_if_it_set_or_removed_a_value(engine: Engine) {
    let mut consumer = Consumer::new(engine).await;
    let set = || update("u", message("hi"));
    let clear = || update("u", UserChange::StatusMessage(None));
    let updates = [(clear(), false), (set(), true), (set(), true), (clear(), true), (clear(), false)];
    for (minute, (update, notified)) in (0..).zip(updates) {
        consumer.subject.store.update_user(start() + minute * MINUTE, &update).await.unwrap();
        let expected: &[&str] = if notified { &["u"] } else { &[] };
        assert_eq!(consumer.users().await, expected, "{update:?}");
    }
}

async fn an_invalidation_follows_the_commit(engine: Engine) {
    let mut consumer = Consumer::new(engine).await;
    for round in 0..50 {
        let (user, now) = (format!("u{round}"), start() + round * MINUTE);
        let (store, sets) = (consumer.subject.store.clone(), [set(&user, "a", IN_A_CALL, HOUR)]);
        let write = tokio::spawn(async move { store.set_sessions(now, &sets).await });
        assert_eq!(consumer.invalidations.next().await, Invalidation::Users(vec![key(&user, "a").user]));
        assert_eq!(consumer.subject.load(now, &user).await.len(), 1);
        write.await.unwrap().unwrap();
    }
}

async fn one_write_can_invalidate_a_thousand_users(engine: Engine) {
    let mut consumer = Consumer::new(engine).await;
    let users: Vec<String> = (0..1_000).map(|user| format!("{user:0128}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    assert_eq!(consumer.users_after_set(start(), &users, IN_A_CALL, HOUR).await, users);
    let keys: Vec<_> = users.iter().map(|user| key(user, "a")).collect();
    consumer.subject.clear(start() + TICK, &keys).await;
    assert_eq!(consumer.users().await, users);
}

async fn the_feed_has_the_writes_of_other_stores(engine: Engine) {
    let mut consumer = Consumer::new(engine).await;
    let another = consumer.subject.database.open(1);
    another.set_sessions(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await.unwrap();
    assert_eq!(consumer.users().await, ["u"]);
}

#[tokio::test]
async fn a_lost_connection_invalidates_all_users() {
    let mut consumer = Consumer::new(Engine::Postgres).await;
    let mut admin = PgConnection::connect(consumer.subject.url()).await.unwrap();
    for _ in 0..3 {
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and query like 'LISTEN%'";
        assert_eq!(admin.execute(kill).await.unwrap().rows_affected(), 1);
        let invalidation =
            timeout(Duration::from_secs(30), consumer.invalidations.next()).await.expect("an invalidation");
        assert_eq!(invalidation, Invalidation::AllUsers);
        assert_eq!(consumer.users().await, [""; 0], "the feed continues");
    }
}

#[tokio::test]
async fn a_slow_consumer_gets_an_invalidation_of_all_users() {
    let mut consumer = Consumer::new(Engine::Sqlite).await;
    for round in 0..1_100 {
        consumer.subject.set(start() + round * MINUTE, &[set("u", "a", IN_A_CALL, 5 * MINUTE)]).await;
        consumer.subject.clear(start() + round * MINUTE, &[key("u", "a")]).await;
    }
    assert_eq!(consumer.invalidations.next().await, Invalidation::AllUsers);
}
