use presenced::presence::Pair;
use uuid::Uuid;

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, key_of, set, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_live_session_ends,
    the_result_is_false_for_a_missing_or_ended_session,
    the_first_of_several_clears_of_one_key_ends_the_session,
    the_sessions_of_other_users_and_tenants_are_unaffected,
    results_are_in_the_order_of_the_keys,
];

async fn a_live_session_ends(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR), set("u", "b", Pair::AWAY, HOUR)]).await;
    assert_eq!(subject.clear(start() + MINUTE, &[key("u", "a")]).await, [true]);
    assert_eq!(subject.only(start() + MINUTE).await.pair, Pair::AWAY);
    // A replica whose clock is behind sees the same.
    assert_eq!(subject.only(start()).await.pair, Pair::AWAY);
}

async fn the_result_is_false_for_a_missing_or_ended_session(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.clear(start(), &[key("u", "a")]).await, [false]);
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.clear(start() + HOUR, &[key("u", "a")]).await, [false]);
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.clear(start(), &[key("u", "a")]).await, [true]);
    assert_eq!(subject.clear(start(), &[key("u", "a")]).await, [false]);
}

async fn the_first_of_several_clears_of_one_key_ends_the_session(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR), set("u", "b", IN_A_CALL, HOUR)]).await;
    let keys = [key("u", "a"), key("u", "b"), key("u", "a"), key("u", "a"), key("u", "c")];
    assert_eq!(subject.clear(start(), &keys).await, [true, true, false, false, false]);
}

async fn the_sessions_of_other_users_and_tenants_are_unaffected(engine: Engine) {
    let subject = Subject::new(engine).await;
    let (mine, theirs) = (key("u", "a"), key_of(Uuid::max(), "u", "a"));
    let mut set_theirs = set("u", "a", Pair::AWAY, HOUR);
    set_theirs.key = theirs.clone();
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR), set("v", "a", IN_A_CALL, HOUR), set_theirs]).await;

    assert_eq!(subject.clear(start(), &[mine]).await, [true]);
    assert_eq!(subject.load(start(), "u").await, []);
    assert_eq!(subject.load(start(), "v").await.len(), 1);
    let theirs = subject.store.load(start(), &[theirs.user]).await.unwrap();
    assert_eq!(theirs[0].sessions[0].pair, Pair::AWAY);
}

async fn results_are_in_the_order_of_the_keys(engine: Engine) {
    let subject = Subject::new(engine).await;
    let users: Vec<String> = (0..100).map(|user| format!("{}", user * 7_919 % 100)).collect();
    let live: Vec<_> = users.iter().step_by(3).map(|user| set(user, "a", IN_A_CALL, HOUR)).collect();
    subject.set(start(), &live).await;
    let keys: Vec<_> = users.iter().map(|user| key(user, "a")).collect();
    let expected: Vec<bool> = (0..100).map(|position| position % 3 == 0).collect();
    assert_eq!(subject.clear(start(), &keys).await, expected);
}
