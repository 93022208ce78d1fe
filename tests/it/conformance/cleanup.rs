use presenced::{
    presence::Timestamp,
    store::{Chunk, SessionKey},
};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, key_of, set, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_chunk_has_the_requested_number_of_sessions,
    only_sessions_that_ended_by_then_are_removed,
    sessions_outside_the_chunk_are_kept,
];

fn chunk(after: Option<SessionKey>, through: Option<SessionKey>) -> Chunk {
    Chunk { after, through }
}

async fn remove(subject: &Subject, before: Timestamp, chunk: &Chunk) -> u64 {
    subject.store.remove_ended(before, chunk).await.unwrap()
}

async fn a_chunk_has_the_requested_number_of_sessions(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.store.chunk_end(None, 1).await.unwrap(), None);
    let mut foreign = set("a", "1", IN_A_CALL, HOUR);
    foreign.key = key_of(Uuid::max(), "a", "1");
    let sets = [
        set("a", "1", IN_A_CALL, HOUR),
        set("B", "2", IN_A_CALL, HOUR),
        set("a", "10", IN_A_CALL, HOUR),
        foreign.clone(),
    ];
    subject.set(start(), &sets).await;
    let end = async |after: Option<&SessionKey>, rows| subject.store.chunk_end(after, rows).await.unwrap();
    assert_eq!(end(None, 1).await, Some(key("B", "2")));
    assert_eq!(end(None, 3).await, Some(key("a", "10")));
    assert_eq!(end(Some(&key("B", "2")), 1).await, Some(key("a", "1")));
    assert_eq!(end(Some(&key("B", "2")), 3).await, Some(foreign.key));
    assert_eq!(end(Some(&key("B", "2")), 4).await, None);
}

async fn only_sessions_that_ended_by_then_are_removed(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = [
        set("u", "cleared", IN_A_CALL, HOUR),
        set("u", "cleared-later", IN_A_CALL, HOUR),
        set("u", "expired", IN_A_CALL, 5 * MINUTE),
        set("u", "expired-later", IN_A_CALL, 6 * MINUTE),
        set("u", "live", IN_A_CALL, HOUR),
        set("u", "set-again", IN_A_CALL, HOUR),
    ];
    subject.set(start(), &sets).await;
    subject.clear(start() + 5 * MINUTE, &[key("u", "cleared"), key("u", "set-again")]).await;
    subject.clear(start() + 6 * MINUTE, &[key("u", "cleared-later")]).await;
    subject.set(start() + 6 * MINUTE, &[set("u", "set-again", IN_A_CALL, HOUR)]).await;

    assert_eq!(remove(&subject, start() + 4 * MINUTE, &Chunk::default()).await, 0);
    assert_eq!(remove(&subject, start() + 5 * MINUTE, &Chunk::default()).await, 2);
    let live = subject.load(start() + 6 * MINUTE, "u").await;
    let live: Vec<_> = live.iter().map(|session| session.session_id.as_str()).collect();
    assert_eq!(live, ["live", "set-again"]);
    assert_eq!(remove(&subject, start() + 6 * MINUTE, &Chunk::default()).await, 2);
    assert_eq!(remove(&subject, start() + 6 * MINUTE, &Chunk::default()).await, 0);
}

async fn sessions_outside_the_chunk_are_kept(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets: Vec<_> = (0..5).map(|number| set("u", &number.to_string(), IN_A_CALL, 5 * MINUTE)).collect();
    subject.set(start(), &sets).await;
    let later = start() + HOUR;
    assert_eq!(remove(&subject, later, &chunk(Some(key("u", "1")), Some(key("u", "2")))).await, 1);
    assert_eq!(remove(&subject, later, &chunk(None, Some(key("u", "0")))).await, 1);
    assert_eq!(remove(&subject, later, &chunk(Some(key("u", "3")), None)).await, 1);
    assert_eq!(remove(&subject, later, &Chunk::default()).await, 2, "1 and 3 were outside");
}

/// SQLite has one writer, so no session can be set concurrently.
#[tokio::test]
async fn a_session_that_is_being_set_is_kept() {
    let subject = Subject::new(Engine::Postgres).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, 5 * MINUTE), set("u", "b", IN_A_CALL, 5 * MINUTE)]).await;
    let mut other = PgConnection::connect(subject.url()).await.unwrap();
    let mut setting = other.begin().await.unwrap();
    let revive = "update presence_sessions set expires_at = 'infinity' where session_id = 'a'";
    setting.execute(revive).await.unwrap();
    // If the cleanup waited for the set, it would time out.
    assert_eq!(remove(&subject, start() + HOUR, &Chunk::default()).await, 1);
    setting.commit().await.unwrap();
    assert_eq!(remove(&subject, start() + HOUR, &Chunk::default()).await, 0);
    assert_eq!(subject.load(start() + HOUR, "u").await.len(), 1);
}
