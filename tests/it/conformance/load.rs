use presenced::{
    presence::{Pair, User},
    store::StoreError,
};
use uuid::Uuid;

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, key_of, message, set, start, update};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_user_has_every_live_session_and_no_other,
    an_unknown_user_is_empty,
    the_times_of_the_last_change_of_the_row_and_of_the_last_end,
    a_user_requested_twice_is_returned_twice,
    a_load_sees_earlier_writes_on_every_connection,
    ids_are_compared_byte_by_byte,
    users_are_in_the_requested_order,
    the_database_returns_its_time,
    the_pool_reports_its_use_and_closes,
];

async fn a_user_has_every_live_session_and_no_other(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = [
        set("u", "a", IN_A_CALL, 5 * MINUTE),
        set("u", "b", Pair::AWAY, HOUR),
        set("u", "c", Pair::AWAY, HOUR),
        set("v", "d", Pair::AWAY, HOUR),
    ];
    subject.set(start(), &sets).await;
    let mut foreign = set("u", "e", Pair::AWAY, HOUR);
    foreign.key = key_of(Uuid::max(), "u", "e");
    subject.set(start(), &[foreign]).await;
    subject.clear(start(), &[key("u", "c")]).await;

    let ids = async |now| {
        let sessions = subject.load(now, "u").await;
        sessions.into_iter().map(|session| session.session_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(start()).await, ["a", "b"]);
    assert_eq!(ids(start() + 5 * MINUTE).await, ["b"], "a session is not live at its expiry");
    assert!(ids(start() + HOUR).await.is_empty());
}

async fn the_times_of_the_last_change_of_the_row_and_of_the_last_end(engine: Engine) {
    let subject = Subject::new(engine).await;
    let times = async |now| {
        let user = subject.user(now, "u").await;
        (user.changed_at, user.sessions_ended_at)
    };
    let sets = [set("u", "a", IN_A_CALL, 5 * MINUTE), set("u", "b", IN_A_CALL, HOUR)];
    subject.set(start(), &sets).await;
    assert_eq!(times(start()).await, (None, None));
    let expired = Some(start() + 5 * MINUTE);
    assert_eq!(times(start() + 6 * MINUTE).await, (None, expired), "an expiry");
    subject.clear(start() + 7 * MINUTE, &[key("u", "b")]).await;
    let cleared = Some(start() + 7 * MINUTE);
    assert_eq!(times(start() + 8 * MINUTE).await, (None, cleared), "a clear");
    subject.store.update_user(start() + 9 * MINUTE, &update("u", message("hi"))).await.unwrap();
    assert_eq!(
        times(start() + 10 * MINUTE).await,
        (Some(start() + 9 * MINUTE), cleared),
        "what the user set"
    );
}

async fn an_unknown_user_is_empty(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.user(start(), "unknown").await, User::default());
    assert!(subject.store.load(start(), &[]).await.unwrap().is_empty());
}

async fn a_user_requested_twice_is_returned_twice(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let user = key("u", "a").user;
    let users = subject.store.load(start(), &[user.clone(), key("v", "a").user, user]).await.unwrap();
    assert_eq!(users.iter().map(|user| user.sessions.len()).collect::<Vec<_>>(), [1, 0, 1]);
}

async fn a_load_sees_earlier_writes_on_every_connection(engine: Engine) {
    let subject = Subject::new(engine).await;
    let others = [subject.database.open(2), subject.database.open(2)];
    let user = [key("u", "a").user];
    for round in 0..100 {
        let now = start() + round * MINUTE;
        subject.set(now, &[set("u", "a", IN_A_CALL, HOUR)]).await;
        for other in &others {
            assert_eq!(other.load(now, &user).await.unwrap()[0].sessions[0].set_at, now);
        }
        subject.clear(now, &[key("u", "a")]).await;
        for other in &others {
            assert!(other.load(now, &user).await.unwrap()[0].sessions.is_empty());
        }
    }
}

async fn ids_are_compared_byte_by_byte(engine: Engine) {
    let subject = Subject::new(engine).await;
    let users = ["u", "U", "u.", "u'--", "u\"", "u%", "u_", "{u},", "\\u"];
    for user in users {
        subject.set(start(), &[set(user, user, IN_A_CALL, HOUR)]).await;
    }
    for user in users {
        let sessions = subject.load(start(), user).await;
        assert_eq!(sessions.len(), 1, "{user}");
        assert_eq!(sessions[0].session_id.as_str(), user);
    }
}

async fn users_are_in_the_requested_order(engine: Engine) {
    let subject = Subject::new(engine).await;
    let users: Vec<String> = (0..650).map(|user| format!("{}", user * 7_919 % 650)).collect();
    let sets: Vec<_> = users.iter().map(|user| set(user, user, IN_A_CALL, HOUR)).collect();
    subject.set(start(), &sets).await;
    let keys: Vec<_> = sets.iter().map(|set| set.key.user.clone()).collect();
    let loaded = subject.store.load(start(), &keys).await.unwrap();
    let ids: Vec<_> = loaded.iter().map(|user| user.sessions[0].session_id.to_string()).collect();
    assert_eq!(ids, users);
}

async fn the_database_returns_its_time(engine: Engine) {
    let subject = Subject::new(engine).await;
    let ours = presenced::clock::Clock::new().now();
    let theirs = subject.store.database_time().await.unwrap();
    assert!(theirs.as_millis().abs_diff(ours.as_millis()) < 2_000, "{ours} {theirs}");
}

async fn the_pool_reports_its_use_and_closes(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.load(start(), "u").await;
    let used = subject.store.pool_use();
    assert!(used.open >= 1 && used.idle <= used.open, "{used:?}");
    subject.store.close().await;
    assert_eq!(subject.store.pool_use().open, 0);
    let error = subject.store.load(start(), &[key("u", "a").user]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}
