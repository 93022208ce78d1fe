//! The database's clock jumps. A sample that is wrong by the jump takes the place of the jump.

use std::sync::Arc;

use presenced::{
    clock::{DatabaseClock, Reading},
    store::{Database, Store},
};

use super::{Subject, Write, assert_unavailable};
use crate::{
    conformance::{IN_A_CALL, start},
    support::database::Engine,
};

const SECOND_MICROS: i64 = 1_000_000;
/// The sizes of the jumps. The clock holds a time that it has shown for up to 2 s, so both are
/// longer.
const JUMPS: [i64; 2] = [5 * SECOND_MICROS, 60 * SECOND_MICROS];

/// A store whose clock follows that of the database.
struct Follower {
    subject: Subject,
    store: Arc<dyn Store>,
    clock: DatabaseClock,
}

impl Follower {
    async fn new() -> Self {
        let subject = Subject::new(Engine::Postgres).await;
        let clock = DatabaseClock::new();
        let database = Database::connect(subject.url()).await.unwrap().with_clock(clock.clone());
        Self { store: database.open(1), subject, clock }
    }

    /// Makes the clock wrong, as it is after the database's clock jumped ahead by `micros`.
    async fn jump(&self, micros: i64) {
        let right = self.store.database_time().await.unwrap().as_millis() * 1_000;
        self.clock.observe(Reading::now(), right - micros);
        let off = self.clock.now().as_millis() * 1_000 - right;
        assert!((off + micros).abs() < SECOND_MICROS, "the clock shows {off} µs");
    }
}

#[tokio::test]
async fn after_the_databases_clock_jumped_ahead_writes_fail_until_the_clock_is_read_again() {
    let follower = Follower::new().await;
    for jump in JUMPS {
        for write in Write::ALL {
            follower.jump(jump).await;
            let run = async || write.run(follower.store.as_ref(), start(), write.user()).await;
            // The clock is watched before the write begins.
            let ((), late) = tokio::join!(biased; follower.clock.is_doubted(), run());
            assert_unavailable(&late, "reached the database more than 500ms after it began");
            assert_eq!(follower.subject.load(start(), write.user()).await, [], "{write:?}");
            follower.store.database_time().await.unwrap();
            run().await.unwrap();
        }
        let sessions = follower.subject.load(start(), Write::Set.user()).await;
        assert_eq!(sessions.iter().map(|session| session.pair).collect::<Vec<_>>(), [IN_A_CALL; 2]);
        assert!(follower.subject.clear(start(), &SET_KEYS.map(|id| super::key("set", id))).await[0]);
    }
}

/// The sessions of [`Write::Set`].
const SET_KEYS: [&str; 2] = ["a", "b"];

#[tokio::test]
async fn after_the_databases_clock_jumped_back_writes_apply_at_once() {
    let follower = Follower::new().await;
    for jump in JUMPS {
        for write in Write::ALL {
            follower.jump(-jump).await;
            write.run(follower.store.as_ref(), start(), write.user()).await.unwrap();
        }
        assert_eq!(follower.subject.load(start(), Write::Set.user()).await.len(), 2);
    }
}
