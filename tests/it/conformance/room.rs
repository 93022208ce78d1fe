//! The limits of sessions, and what makes room for another one.

use std::time::Duration;

use presenced::{
    presence::{Author, EndReason, SessionId, Timestamp},
    store::{
        APPLICATION_SESSIONS_MAX, Invalidation, SESSIONS_MAX,
        SetOutcome::{NoRoom, Set},
        SetSession,
    },
};

use super::{HOUR, IN_A_CALL, MINUTE, Subject, clear_of, hold, key, set, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    an_application_loses_its_own_sessions_that_were_set_longest_ago,
    an_application_is_the_part_before_the_first_colon_or_that_of_the_author,
    sessions_that_one_call_opens_beyond_the_limit_are_refused,
    opening_more_sessions_removes_those_that_ended_first,
    a_live_session_of_another_application_is_never_cleared,
    one_call_can_open_several_sessions_of_a_user_again,
    a_session_that_was_opened_again_is_not_the_one_just_opened,
    a_refused_session_leaves_a_span_and_the_others_as_they_were,
    marks_count_and_are_removed,
    an_evicted_session_is_taken_from_its_stream,
];

fn at(minute: u32) -> Timestamp {
    start() + minute * MINUTE
}

/// Sets of sessions of the user `u`, each of an application of its own.
fn many(prefix: &str, number: usize, expires_after: Duration) -> Vec<SetSession> {
    (0..number).map(|index| set("u", &format!("{prefix}-{index:03}"), IN_A_CALL, expires_after)).collect()
}

/// The session with this number of the application `app`.
fn of_app(number: usize) -> SetSession {
    set("u", &format!("app:{number:03}"), IN_A_CALL, 4 * HOUR)
}

impl Subject {
    /// The ids of the live sessions of the user `u` that begin with `prefix`.
    async fn live(&self, now: Timestamp, prefix: &str) -> Vec<String> {
        let sessions = self.load(now, "u").await;
        let ids = sessions.iter().map(|session| session.session_id.to_string());
        ids.filter(|id| id.starts_with(prefix)).collect()
    }

    /// The number of rows of sessions of the user `u`.
    async fn rows_of_u(&self) -> usize {
        let rows = self.store.export_user(&key("u", "x").user).await.unwrap();
        rows.iter().filter(|row| row.contains("presence_sessions")).count()
    }
}

async fn an_application_loses_its_own_sessions_that_were_set_longest_ago(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &many("other", 30, 4 * HOUR)).await;
    for number in 0..APPLICATION_SESSIONS_MAX {
        let minute = u32::try_from(number).unwrap();
        subject.set(at(minute), &[of_app(number)]).await;
    }
    assert_eq!(subject.live(at(20), "app").await.len(), APPLICATION_SESSIONS_MAX);
    // A refresh opens nothing, and makes the session the one that was set last.
    subject.set(at(20), &[of_app(0)]).await;
    assert_eq!(subject.live(at(20), "app").await.len(), APPLICATION_SESSIONS_MAX);
    assert_eq!(subject.store.set_sessions(at(21), &[of_app(20)]).await.unwrap(), [Set]);
    let live = subject.live(at(21), "app").await;
    assert_eq!((live.len(), live[0].as_str(), live[1].as_str()), (20, "app:000", "app:002"));
    assert_eq!(subject.live(at(21), "other").await.len(), 30);
    let spans = subject.history(at(21), "u").await.spans;
    let evicted: Vec<_> = spans.iter().filter(|span| span.end.is_some()).collect();
    let end = evicted[0].end.as_ref().unwrap();
    assert_eq!((evicted.len(), evicted[0].started_at, evicted[0].ended_at), (1, at(1), Some(at(21))));
    assert_eq!((end.reason, &end.by), (EndReason::Evicted, &Author::default()));
    assert_eq!(subject.database.evictions(), 1);
}

async fn an_application_is_the_part_before_the_first_colon_or_that_of_the_author(engine: Engine) {
    let subject = Subject::new(engine).await;
    let application_id = Some(SessionId::parse("app").unwrap());
    let by_app = |number: usize| SetSession {
        set_by: Author { application_id: application_id.clone(), user_id: None },
        ..set("u", &format!("x{number:03}"), IN_A_CALL, HOUR)
    };
    let sets: Vec<_> = (0..10).map(of_app).chain((0..10).map(by_app)).collect();
    subject.set(at(0), &sets).await;
    assert_eq!(subject.load(at(0), "u").await.len(), 20);
    let others = ["app", "app2:1", "App:1", "a:app:1"];
    for (minute, other) in (1..).zip(others) {
        subject.set(at(minute), &[set("u", other, IN_A_CALL, HOUR)]).await;
    }
    // Only `app` is of the same application.
    assert_eq!(subject.load(at(5), "u").await.len(), 23);
    assert_eq!(subject.database.evictions(), 1);
}

async fn sessions_that_one_call_opens_beyond_the_limit_are_refused(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets: Vec<_> = (0..25).map(of_app).collect();
    let outcomes = subject.store.set_sessions(at(0), &sets).await.unwrap();
    assert_eq!(outcomes, [[Set; 20].as_slice(), &[NoRoom; 5]].concat());
    assert_eq!(subject.live(at(0), "app").await.len(), APPLICATION_SESSIONS_MAX);
}

async fn opening_more_sessions_removes_those_that_ended_first(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &many("live", 60, HOUR)).await;
    subject.set(at(1), &many("expired", 20, 5 * MINUTE)).await;
    subject.set(at(1), &many("cleared", 20, HOUR)).await;
    let cleared: Vec<_> = many("cleared", 20, HOUR).into_iter().map(|set| set.key).collect();
    subject.clear(at(2), &cleared).await;
    subject.set(at(1), &[set("other", "a", IN_A_CALL, HOUR)]).await;

    subject.set(at(10), &many("new", 20, HOUR)).await;
    assert_eq!((subject.live(at(10), "live").await.len(), subject.live(at(10), "new").await.len()), (60, 20));
    let rows = subject.store.export_user(&key("u", "x").user).await.unwrap();
    let sessions = || rows.iter().filter(|row| row.contains("presence_sessions"));
    let of = |prefix: &str| sessions().filter(|row| row.contains(&format!("\"{prefix}-"))).count();
    // The cleared ones ended before the others expired.
    assert_eq!((sessions().count(), of("expired"), of("cleared")), (SESSIONS_MAX, 20, 0));
    assert_eq!(subject.load(at(10), "other").await.len(), 1);
}

async fn a_live_session_of_another_application_is_never_cleared(engine: Engine) {
    let subject = Subject::new(engine).await;
    let users = many("app", SESSIONS_MAX, HOUR);
    assert_eq!(subject.store.set_sessions(at(0), &users).await.unwrap(), [Set; SESSIONS_MAX]);
    let before = subject.load(at(1), "u").await;
    let more = [set("u", "new", IN_A_CALL, HOUR), set("v", "new", IN_A_CALL, HOUR), users[7].clone()];
    assert_eq!(subject.store.set_sessions(at(1), &more).await.unwrap(), [NoRoom, Set, Set]);
    let after = subject.load(at(1), "u").await;
    assert_eq!(after.len(), SESSIONS_MAX);
    let ids = |sessions: &[presenced::presence::Session]| {
        sessions.iter().map(|session| session.session_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
    // A session that ends gives room.
    subject.clear(at(2), &[users[0].key.clone()]).await;
    let again = [set("u", "new", IN_A_CALL, HOUR)];
    assert_eq!(subject.store.set_sessions(at(3), &again).await.unwrap(), [Set]);
    assert_eq!(subject.load(at(3), "u").await.len(), SESSIONS_MAX);
}

async fn one_call_can_open_several_sessions_of_a_user_again(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = many("app", 30, HOUR);
    subject.set(at(0), &sets).await;
    let keys: Vec<_> = sets.iter().take(3).map(|set| set.key.clone()).collect();
    subject.clear(at(1), &keys).await;
    assert_eq!(subject.store.set_sessions(at(2), &sets).await.unwrap(), [Set; 30]);
    assert_eq!(subject.load(at(2), "u").await.len(), 30);
}

/// The time at which a session opens again moves behind its end, which can be later than `now`.
async fn a_session_that_was_opened_again_is_not_the_one_just_opened(engine: Engine) {
    let subject = Subject::new(engine).await;
    let full = many("app", SESSIONS_MAX, HOUR);
    subject.set(at(0), &full).await;
    let open = async |millis, session: &str| {
        let sets = [set("u", session, IN_A_CALL, HOUR)];
        subject.store.set_sessions(at(1) + Duration::from_millis(millis), &sets).await.unwrap()
    };
    assert_eq!(open(0, "again").await, [NoRoom]);
    subject.clear(at(1), &[full[0].key.clone()]).await;
    assert_eq!(open(0, "again").await, [Set]);
    assert_eq!(open(1, "late").await, [NoRoom]);
    assert_eq!(subject.load(at(1), "u").await.len(), SESSIONS_MAX);
}

async fn a_refused_session_leaves_a_span_and_the_others_as_they_were(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &many("app", SESSIONS_MAX, HOUR)).await;
    subject.set(at(1), &[set("u", "new", IN_A_CALL, HOUR)]).await;
    let spans = subject.history(at(2), "u").await.spans;
    let ended: Vec<_> = spans.iter().filter_map(|span| span.end.as_ref()).map(|end| end.reason).collect();
    assert_eq!(ended, [EndReason::Evicted]);
    assert_eq!(subject.database.evictions(), 1);
}

async fn marks_count_and_are_removed(engine: Engine) {
    let subject = Subject::new(engine).await;
    for number in 0..150 {
        let clear = clear_of(&key("u", &format!("missing-{number}")));
        subject.store.clear_sessions(at(number), &[clear]).await.unwrap();
        assert!(subject.rows_of_u().await <= SESSIONS_MAX, "after {number} clears");
    }
}

async fn an_evicted_session_is_taken_from_its_stream(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &[hold("u", "app:held", IN_A_CALL, HOUR)]).await;
    let mut feed = subject.database.invalidations();
    assert_eq!(feed.next().await, Invalidation::AllUsers);
    let more: Vec<_> = (0..20).map(of_app).collect();
    subject.set(at(1), &more).await;
    assert_eq!(subject.live(at(1), "app:held").await, [""; 0]);
    let extended = subject.store.extend_sessions(at(2), &[super::extension("u", "app:held", HOUR)]).await;
    assert_eq!(extended.unwrap(), [None]);
}
