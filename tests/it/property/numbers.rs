//! The sequence number while a preferred presence hides the sessions, and while writes commit late.

use std::time::Duration;

use presenced::{
    presence::{Pair, SequenceNumber, Timestamp},
    store::{SETTLES_AFTER, SetSession, UserChange},
};

use crate::{
    conformance::{HOUR, MINUTE, Subject, key, set, update},
    support::{database::Engine, number, on_every_engine, server::START},
};

on_every_engine![
    changes_of_hidden_sessions_do_not_move_the_number,
    the_number_never_goes_back_when_writes_commit_late,
];

const APPEAR_OFFLINE: Pair = Pair::PREFERRED[5];

/// A user who is read at `now`.
struct Reader {
    subject: Subject,
    now: Timestamp,
    changes: usize,
}

impl Reader {
    async fn new(engine: Engine) -> Self {
        Self { subject: Subject::new(engine).await, now: START, changes: 0 }
    }

    async fn prefer(&self, pair: Pair) {
        let change = UserChange::Preferred(Some((pair, 8_000 * HOUR)));
        self.subject.store.update_user(self.now, &update("u", change)).await.unwrap();
    }

    async fn number(&self) -> SequenceNumber {
        self.subject.user(self.now, "u").await.sequence_number(self.now)
    }

    fn pass(&mut self, max: Duration) {
        let millis = u64::try_from(max.as_millis()).unwrap();
        self.now = self.now + Duration::from_millis(fastrand::u64(1..millis));
    }

    /// Sets a random session at `now`.
    async fn set(&mut self, now: Timestamp, expires_after: Duration) {
        let pair = Pair::OF_SESSION[fastrand::usize(..Pair::OF_SESSION.len())];
        let session =
            SetSession { pair, ..set("u", &fastrand::u8(..4).to_string(), Pair::AWAY, expires_after) };
        self.subject.set(now, &[session]).await;
        self.changes += 1;
    }
}

/// Each session is set again long before it expires, and often after it faded.
async fn changes_of_hidden_sessions_do_not_move_the_number(engine: Engine) {
    let changes = number("PRESENCE_TEST_HIDDEN_CHANGES", 2_000);
    let mut reader = Reader::new(engine).await;
    for session in 0..4 {
        reader.subject.set(START, &[set("u", &session.to_string(), Pair::AVAILABLE, 4_000 * HOUR)]).await;
    }
    reader.prefer(APPEAR_OFFLINE).await;
    let before = reader.number().await;
    while reader.changes < changes {
        reader.pass(15 * MINUTE);
        assert_eq!(reader.number().await, before, "after a fade");
        reader.set(reader.now, 4_000 * HOUR).await;
        assert_eq!(reader.number().await, before, "after a change");
    }
    reader.pass(5 * MINUTE);
    reader.subject.clear(reader.now, &[key("u", "0")]).await;
    assert!(reader.number().await > before, "an end moves it");
    println!("{engine:?}: {changes} hidden changes, and fades between them");
}

/// A reader sees the ends and fades that a write prevents, before that write commits.
async fn the_number_never_goes_back_when_writes_commit_late(engine: Engine) {
    let changes = number("PRESENCE_TEST_HIDDEN_CHANGES", 2_000);
    let mut reader = Reader::new(engine).await;
    let mut last = reader.number().await;
    let (mut moves, mut prefers) = (0, false);
    while reader.changes < changes {
        reader.pass([2 * MINUTE, SETTLES_AFTER][fastrand::usize(..2)]);
        if fastrand::u8(..50) == 0 {
            prefers = !prefers;
            let change = UserChange::Preferred(prefers.then_some((APPEAR_OFFLINE, 8_000 * HOUR)));
            reader.subject.store.update_user(reader.now, &update("u", change)).await.unwrap();
        }
        let number = reader.number().await;
        let late = Duration::from_millis(fastrand::u64(..2_900));
        let written_at = reader.now - late;
        if fastrand::u8(..4) > 0 {
            reader.set(written_at, Duration::from_millis(fastrand::u64(5_000..600_000))).await;
        } else {
            reader.subject.clear(written_at, &[key("u", &fastrand::u8(..4).to_string())]).await;
            reader.changes += 1;
        }
        let after = reader.number().await;
        assert!(last <= number && number <= after, "{last} {number} {after}");
        moves += usize::from(number < after);
        last = after;
    }
    println!("{engine:?}: {changes} late writes, {moves} of which moved the number");
}
