use std::time::Duration;

use presenced::{
    presence::{INACTIVE_AFTER, Pair, Timestamp},
    store::{SETTLES_AFTER, SetSession},
};

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, set, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_session_that_shows_the_pair_is_extended,
    a_later_expiry_is_kept,
    an_expired_session_becomes_live_again,
    a_cleared_session_is_unaffected,
    a_session_that_shows_another_pair_is_unaffected,
    a_missing_session_is_unaffected,
    the_longest_of_several_extensions_of_one_session_applies,
    changed_at_moves_as_for_a_set,
    one_call_can_extend_a_thousand_sessions,
];

const TICK: Duration = Duration::from_millis(1);

impl Subject {
    async fn extend(&self, now: Timestamp, held: &[SetSession]) -> Vec<bool> {
        self.store.extend_sessions(now, held).await.unwrap()
    }
}

async fn a_session_that_shows_the_pair_is_extended(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, MINUTE)]).await;
    let now = start() + MINUTE / 2;
    assert_eq!(subject.extend(now, &[set("u", "a", IN_A_CALL, MINUTE)]).await, [true]);
    let session = subject.only(now).await;
    assert_eq!((session.set_at, session.changed_at, session.expires_at), (now, start(), now + MINUTE));
}

async fn a_later_expiry_is_kept(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.extend(start() + MINUTE, &[set("u", "a", IN_A_CALL, MINUTE)]).await, [true]);
    let session = subject.only(start() + MINUTE).await;
    assert_eq!((session.set_at, session.expires_at), (start() + MINUTE, start() + HOUR));
}

async fn an_expired_session_becomes_live_again(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, MINUTE)]).await;
    let late = start() + HOUR;
    assert_eq!(subject.load(late, "u").await, []);
    assert_eq!(subject.extend(late, &[set("u", "a", IN_A_CALL, MINUTE)]).await, [true]);
    let session = subject.only(late).await;
    assert_eq!((session.changed_at, session.expires_at), (late, late + MINUTE));
}

async fn a_cleared_session_is_unaffected(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    subject.clear(start() + TICK, &[key("u", "a")]).await;
    assert_eq!(subject.extend(start() + MINUTE, &[set("u", "a", IN_A_CALL, HOUR)]).await, [false]);
    assert_eq!(subject.load(start() + MINUTE, "u").await, []);
}

async fn a_session_that_shows_another_pair_is_unaffected(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", Pair::AWAY, HOUR), set("v", "a", IN_A_CALL, HOUR)]).await;
    let before = subject.only(start()).await;
    let held = [
        set("u", "a", IN_A_CALL, 2 * HOUR),
        set("v", "a", Pair::AWAY, 2 * HOUR),
        set("v", "a", IN_A_CALL, 2 * HOUR),
        set("u", "a", Pair::OF_SESSION[2], 2 * HOUR),
    ];
    assert_eq!(subject.extend(start() + MINUTE, &held).await, [false, false, true, false]);
    assert_eq!(subject.only(start() + MINUTE).await, before);
    assert_eq!(subject.load(start(), "v").await[0].expires_at, start() + MINUTE + 2 * HOUR);
}

async fn a_missing_session_is_unaffected(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let held = [set("u", "b", IN_A_CALL, HOUR), set("v", "a", IN_A_CALL, HOUR)];
    assert_eq!(subject.extend(start(), &held).await, [false, false]);
    assert_eq!(subject.load(start(), "v").await, []);
    assert_eq!(subject.extend(start(), &[]).await, [] as [bool; 0]);
}

async fn the_longest_of_several_extensions_of_one_session_applies(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, TICK)]).await;
    let held = [1, 3, 2].map(|minutes| set("u", "a", IN_A_CALL, minutes * MINUTE));
    assert_eq!(subject.extend(start(), &held).await, [true; 3]);
    assert_eq!(subject.only(start()).await.expires_at, start() + 3 * MINUTE);
}

async fn changed_at_moves_as_for_a_set(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", Pair::AVAILABLE, HOUR)]).await;
    let held = [set("u", "a", Pair::AVAILABLE, HOUR)];
    let almost = start() + INACTIVE_AFTER.saturating_sub(SETTLES_AFTER + TICK);
    subject.extend(almost, &held).await;
    assert_eq!(subject.only(almost).await.changed_at, start());
    let faded = almost + INACTIVE_AFTER + TICK;
    subject.extend(faded, &held).await;
    assert_eq!(subject.only(faded).await.changed_at, faded);
    // The clock is behind the one of the last write.
    subject.set(faded, &[set("u", "a", Pair::AVAILABLE, TICK)]).await;
    let changed_at = subject.only(faded).await.changed_at;
    subject.extend(faded + TICK, &held).await;
    assert!(subject.only(faded + TICK).await.changed_at > changed_at);
}

async fn one_call_can_extend_a_thousand_sessions(engine: Engine) {
    let subject = Subject::new(engine).await;
    let held: Vec<_> = (0..1_000).map(|user| set(&user.to_string(), "a", IN_A_CALL, MINUTE)).collect();
    subject.set(start(), &held[..500]).await;
    let mut expected = vec![true; 500];
    expected.resize(1_000, false);
    assert_eq!(subject.extend(start() + TICK, &held).await, expected);
}
