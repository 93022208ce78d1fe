use std::time::Duration;

use presenced::{
    presence::{INACTIVE_AFTER, Pair, Session, SessionId},
    store::{SETTLES_AFTER, StoreError},
};

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, set, set_text, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_set_opens_a_session_that_is_not_live,
    a_set_refreshes_a_session_that_is_live,
    a_session_shows_the_pair_and_expires_after_the_duration,
    a_session_has_the_text_of_the_last_set_or_no_text,
    the_last_of_several_sets_of_one_key_applies,
    all_sets_are_durable_when_the_call_returns,
    all_sets_apply_or_none_does,
    changed_at_becomes_now_if_the_pair_differs,
    changed_at_becomes_now_if_the_text_differs,
    changed_at_becomes_now_if_the_session_had_ended,
    changed_at_becomes_now_if_the_session_had_begun_to_fade,
    a_set_that_may_commit_after_an_end_or_a_fade_moves_changed_at_behind_it,
    changed_at_becomes_now_if_the_session_ends_earlier,
    a_plain_refresh_leaves_changed_at_unchanged,
    changed_at_moves_forward_on_every_change,
    one_call_can_set_a_thousand_sessions,
];

const TICK: Duration = Duration::from_millis(1);

async fn a_set_opens_a_session_that_is_not_live(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    subject.set(start(), &[set("u", "b", IN_A_CALL, HOUR)]).await;
    subject.clear(start() + MINUTE, &[key("u", "b")]).await;
    assert_eq!(subject.load(start() + MINUTE, "u").await.len(), 1);
    subject.set(start() + MINUTE, &[set("u", "b", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.load(start() + MINUTE, "u").await.len(), 2);
    let late = start() + HOUR + HOUR;
    assert_eq!(subject.load(late, "u").await.len(), 0);
    subject.set(late, &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.load(late, "u").await.len(), 1);
}

async fn a_set_refreshes_a_session_that_is_live(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, 5 * MINUTE)]).await;
    subject.set(start() + 4 * MINUTE, &[set("u", "a", IN_A_CALL, 5 * MINUTE)]).await;
    let session = subject.only(start() + 8 * MINUTE).await;
    assert_eq!((session.set_at, session.expires_at), (start() + 4 * MINUTE, start() + 9 * MINUTE));
}

async fn a_session_shows_the_pair_and_expires_after_the_duration(engine: Engine) {
    let subject = Subject::new(engine).await;
    for (session, pair) in ["a", "b", "c", "d", "e"].into_iter().zip(Pair::OF_SESSION) {
        subject.set(start(), &[set(session, session, pair, HOUR + TICK)]).await;
        let session_id = SessionId::parse(session).unwrap();
        let (set_at, expires_at) = (start(), start() + HOUR + TICK);
        let expected = Session {
            session_id,
            pair,
            message: None,
            set_at,
            opened_at: set_at,
            changed_at: set_at,
            expires_at,
        };
        assert_eq!(subject.load(start(), session).await, [expected]);
    }
}

async fn a_session_has_the_text_of_the_last_set_or_no_text(engine: Engine) {
    let subject = Subject::new(engine).await;
    for text in ["In a call with the bank", "\u{1f4de} ünïcödé \"quoted\" \\ {} ' --"] {
        subject.set(start(), &[set_text("u", "a", text, HOUR)]).await;
        assert_eq!(subject.only(start()).await.message.as_deref(), Some(text));
        // A batch is another statement on SQLite.
        subject.set(start(), &[set_text("u", "a", text, HOUR), set_text("v", "a", "v", HOUR)]).await;
        assert_eq!(subject.only(start()).await.message.as_deref(), Some(text));
    }
    assert_eq!(subject.load(start(), "v").await[0].message.as_deref(), Some("v"));
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.only(start()).await.message, None);
}

async fn the_last_of_several_sets_of_one_key_applies(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = [
        set("u", "a", Pair::AVAILABLE, HOUR),
        set("v", "a", IN_A_CALL, HOUR),
        set("u", "a", Pair::AWAY, HOUR),
        set("u", "a", IN_A_CALL, 2 * HOUR),
    ];
    subject.set(start(), &sets).await;
    let session = subject.only(start()).await;
    assert_eq!((session.pair, session.expires_at), (IN_A_CALL, start() + 2 * HOUR));
    assert_eq!(subject.load(start(), "v").await.len(), 1);
}

async fn all_sets_are_durable_when_the_call_returns(engine: Engine) {
    let subject = Subject::new(engine).await;
    let users: Vec<String> = (0..100).map(|user| format!("user-{user}")).collect();
    let sets: Vec<_> = users.iter().map(|user| set(user, "a", IN_A_CALL, HOUR)).collect();
    subject.set(start(), &sets).await;
    let another = subject.database.open(1);
    let keys: Vec<_> = sets.iter().map(|set| set.key.user.clone()).collect();
    let users = another.load(start(), &keys).await.unwrap();
    assert_eq!(users.iter().map(|user| user.sessions.len()).collect::<Vec<_>>(), [1; 100]);
}

async fn all_sets_apply_or_none_does(engine: Engine) {
    let subject = Subject::new(engine).await;
    let not_a_session_pair = Pair::OFFLINE;
    let sets = [
        set("u", "a", IN_A_CALL, HOUR),
        set("v", "a", not_a_session_pair, HOUR),
        set("w", "a", IN_A_CALL, HOUR),
    ];
    let error = subject.store.set_sessions(start(), &sets).await.unwrap_err();
    assert!(matches!(error, StoreError::Data(_)), "{error:?}");
    for user in ["u", "v", "w"] {
        assert_eq!(subject.load(start(), user).await, []);
    }
}

async fn changed_at_becomes_now_if_the_pair_differs(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let in_a_conference = Pair::OF_SESSION[2];
    for (minutes, pair) in [(1, in_a_conference), (2, Pair::AWAY), (3, IN_A_CALL)] {
        let now = start() + minutes * MINUTE;
        subject.set(now, &[set("u", "a", pair, HOUR)]).await;
        assert_eq!(subject.only(now).await.changed_at, now);
    }
}

async fn changed_at_becomes_now_if_the_text_differs(engine: Engine) {
    let subject = Subject::new(engine).await;
    let none = || set("u", "a", IN_A_CALL, HOUR);
    let text = |text: &str| set_text("u", "a", text, HOUR);
    subject.set(start(), &[none()]).await;
    // Each change is followed by a refresh with the same text.
    for (minutes, set) in [(1, text("bank")), (3, text("boss")), (5, none()), (7, text("bank"))] {
        let now = start() + minutes * MINUTE;
        subject.set(now, std::slice::from_ref(&set)).await;
        assert_eq!(subject.only(now).await.changed_at, now, "{set:?}");
        subject.set(now + MINUTE, std::slice::from_ref(&set)).await;
        assert_eq!(subject.only(now + MINUTE).await.changed_at, now, "a refresh of {set:?}");
    }
    assert_eq!(subject.history(start() + HOUR, "u").await.spans.len(), 5);
}

async fn changed_at_becomes_now_if_the_session_had_ended(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let expired = start() + HOUR + TICK;
    subject.set(expired, &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.only(expired).await.changed_at, expired);

    let cleared = expired + MINUTE;
    subject.clear(cleared, &[key("u", "a")]).await;
    subject.set(cleared + MINUTE, &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.only(cleared + MINUTE).await.changed_at, cleared + MINUTE);
}

async fn changed_at_becomes_now_if_the_session_had_begun_to_fade(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", Pair::AVAILABLE, HOUR)]).await;
    let just_before = start() + INACTIVE_AFTER.saturating_sub(SETTLES_AFTER + TICK);
    subject.set(just_before, &[set("u", "a", Pair::AVAILABLE, HOUR)]).await;
    assert_eq!(subject.only(just_before).await.changed_at, start());
    let fading = just_before + INACTIVE_AFTER + TICK;
    subject.set(fading, &[set("u", "a", Pair::AVAILABLE, HOUR)]).await;
    assert_eq!(subject.only(fading).await.changed_at, fading);
}

async fn a_set_that_may_commit_after_an_end_or_a_fade_moves_changed_at_behind_it(engine: Engine) {
    let subject = Subject::new(engine).await;
    let (available, busy) = (set("u", "a", Pair::AVAILABLE, HOUR), set("u", "b", IN_A_CALL, MINUTE));
    subject.set(start(), &[available.clone(), busy.clone()]).await;
    let ends = start() + MINUTE;
    subject.set(ends - SETTLES_AFTER, &[busy]).await;
    let sessions = subject.load(ends, "u").await;
    assert_eq!((sessions[1].opened_at, sessions[1].changed_at), (ends + TICK, ends + TICK));
    let fades = start() + INACTIVE_AFTER;
    subject.set(fades - SETTLES_AFTER, &[available]).await;
    let sessions = subject.load(fades, "u").await;
    assert_eq!((sessions[0].opened_at, sessions[0].changed_at), (start(), fades + TICK));
}

async fn changed_at_becomes_now_if_the_session_ends_earlier(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let now = start() + MINUTE;
    subject.set(now, &[set("u", "a", IN_A_CALL, HOUR.saturating_sub(MINUTE + TICK))]).await;
    assert_eq!(subject.only(now).await.changed_at, now);
}

async fn a_plain_refresh_leaves_changed_at_unchanged(engine: Engine) {
    let subject = Subject::new(engine).await;
    for (user, pair) in ["a", "b", "c", "d", "e"].into_iter().zip(Pair::OF_SESSION) {
        subject.set(start(), &[set(user, "a", pair, HOUR)]).await;
        let now = start() + 4 * MINUTE;
        subject.set(now, &[set(user, "a", pair, HOUR.saturating_sub(4 * MINUTE))]).await;
        let sessions = subject.load(now, user).await;
        assert_eq!((sessions[0].set_at, sessions[0].changed_at), (now, start()), "{pair}");
    }
}

async fn changed_at_moves_forward_on_every_change(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    subject.set(start(), &[set("u", "a", Pair::AWAY, HOUR)]).await;
    assert_eq!(subject.only(start()).await.changed_at, start() + TICK);
    // Another replica, whose clock is an hour behind.
    let behind = presenced::presence::Timestamp::from_millis(start().as_millis() - 3_600_000);
    subject.set(behind, &[set("u", "a", IN_A_CALL, 4 * HOUR)]).await;
    let session = subject.only(behind).await;
    assert_eq!((session.set_at, session.changed_at), (behind, start() + 2 * TICK));
}

async fn one_call_can_set_a_thousand_sessions(engine: Engine) {
    let subject = Subject::new(engine).await;
    let users: Vec<_> = (0..10).map(|user| format!("u{user}")).collect();
    let sets_of = |user| (0..100).map(move |n| set(user, &format!("s{n:04}"), IN_A_CALL, HOUR));
    let sets: Vec<_> = users.iter().flat_map(|user| sets_of(user)).collect();
    subject.set(start(), &sets).await;
    for user in &users {
        assert_eq!(subject.load(start(), user).await.len(), 100);
    }
}
