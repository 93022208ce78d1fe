//! The keys that sign tokens in notifications.

use presenced::{
    presence::Timestamp,
    store::{Database, SigningKeyRow},
};
use tokio::task::JoinSet;

use super::{HOUR, MINUTE, Subject, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    the_key_that_was_added_last_is_first,
    a_key_is_added_unless_one_was_made_after_the_time,
    of_calls_at_the_same_time_one_adds_its_key,
    keys_that_were_made_before_a_time_are_removed,
];

fn signing_key(name: &str, created_at: Timestamp) -> SigningKeyRow {
    SigningKeyRow { key_id: name.to_owned(), private_key: format!("private {name}"), created_at }
}

impl Subject {
    async fn add_key(&self, name: &str, created_at: Timestamp, unless_newer_than: Timestamp) -> bool {
        self.store.add_signing_key(&signing_key(name, created_at), unless_newer_than).await.unwrap()
    }

    async fn key_ids(&self) -> Vec<String> {
        let keys = self.store.signing_keys().await.unwrap();
        keys.into_iter().map(|key| key.key_id).collect()
    }
}

async fn the_key_that_was_added_last_is_first(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.store.signing_keys().await.unwrap(), []);
    assert!(subject.add_key("b", start(), start()).await);
    // The clock went back.
    assert!(subject.add_key("a", start() - MINUTE, start()).await);
    assert!(subject.add_key("c", start(), start()).await);
    let keys = [("c", start()), ("a", start() - MINUTE), ("b", start())];
    let expected = keys.map(|(name, created_at)| signing_key(name, created_at));
    assert_eq!(subject.store.signing_keys().await.unwrap(), expected);
}

async fn a_key_is_added_unless_one_was_made_after_the_time(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert!(subject.add_key("a", start(), start() - HOUR).await);
    assert!(!subject.add_key("b", start() + MINUTE, start() - MINUTE).await);
    assert!(subject.add_key("c", start() + MINUTE, start()).await);
    assert!(!subject.add_key("c", start() + MINUTE, start() + HOUR).await, "a name is used once");
    assert_eq!(subject.key_ids().await, ["c", "a"]);
}

async fn of_calls_at_the_same_time_one_adds_its_key(engine: Engine) {
    let subject = Subject::new(engine).await;
    for round in 1..=20 {
        let now = start() + round * HOUR;
        let mut calls = JoinSet::new();
        for replica in 0..4 {
            let database = Database::connect(subject.url()).await.unwrap();
            let key = signing_key(&format!("{round} {replica}"), now);
            calls.spawn(async move { database.open(1).add_signing_key(&key, now - MINUTE).await.unwrap() });
        }
        let added = calls.join_all().await.into_iter().filter(|added| *added).count();
        assert_eq!((added, subject.key_ids().await.len()), (1, round.try_into().unwrap()));
    }
}

async fn keys_that_were_made_before_a_time_are_removed(engine: Engine) {
    let subject = Subject::new(engine).await;
    for (minutes, name) in [(0, "a"), (1, "b"), (2, "c")] {
        let now = start() + minutes * MINUTE;
        assert!(subject.add_key(name, now, now).await);
    }
    assert_eq!(subject.store.remove_signing_keys(start() + 2 * MINUTE).await.unwrap(), 2);
    assert_eq!(subject.store.remove_signing_keys(start() + 2 * MINUTE).await.unwrap(), 0);
    assert_eq!(subject.key_ids().await, ["c"]);
    assert!(subject.add_key("d", start() + HOUR, start() + HOUR).await);
    assert_eq!(subject.key_ids().await, ["d", "c"]);
}
