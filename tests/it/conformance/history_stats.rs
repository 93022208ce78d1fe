//! The size and the age of the history, and the number of appended spans.

use std::time::Duration;

use presenced::{
    presence::{Pair, Timestamp},
    store::{Database, HistoryStats, UserChange},
};
use sqlx::{Connection, SqliteConnection};

use super::{HOUR, IN_A_CALL, MINUTE, Subject, history::author, key, message, set, start, update};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    the_size_is_that_of_the_table_with_its_indexes,
    the_oldest_span_is_the_one_that_ended_first,
    appended_spans_are_counted_and_refreshes_are_not,
    the_spans_of_a_write_that_fails_are_not_counted,
];

fn at(minutes: u32) -> Timestamp {
    start() + minutes * MINUTE
}

impl Subject {
    async fn stats(&self) -> HistoryStats {
        self.store.history_stats().await.unwrap()
    }
}

async fn the_size_is_that_of_the_table_with_its_indexes(engine: Engine) {
    let subject = Subject::new(engine).await;
    let empty = subject.stats().await.bytes;
    assert!(engine == Engine::Postgres || empty == 0, "{empty}");
    let message = "x".repeat(200);
    for round in 0..40_u32 {
        let by = author(&format!("application-{round:028}"), None);
        let set = |user| presenced::store::SetSession {
            set_by: by.clone(),
            ..set(&format!("user-{user:031}"), "session", IN_A_CALL, HOUR)
        };
        subject.set(at(round), &(0..100).map(set).collect::<Vec<_>>()).await;
        let change = UserChange::StatusMessage(Some((format!("{message}{round}"), None)));
        subject.store.update_user(at(round), &update("u", change)).await.unwrap();
    }
    let (spans, bytes) = (39 * 101, subject.stats().await.bytes - empty);
    assert!((spans * 200..spans * 1_000).contains(&bytes), "{spans} spans, {bytes} bytes");
    if engine == Engine::Sqlite {
        // SQLite itself can tell, but it reads all pages for that.
        let mut connection = SqliteConnection::connect(subject.url()).await.unwrap();
        let pages = "select sum(pgsize) from dbstat where name like 'presence_history%'";
        let real: u64 = sqlx::query_scalar(pages).fetch_one(&mut connection).await.unwrap();
        assert!(bytes * 10 > real * 8 && bytes * 10 < real * 12, "{bytes} estimated, {real} bytes");
    }
}

async fn the_oldest_span_is_the_one_that_ended_first(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &[set("u", "a", IN_A_CALL, 5 * MINUTE), set("u", "b", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.stats().await.oldest_ended_at, None);
    subject.set(at(8), &[set("u", "b", Pair::AWAY, HOUR)]).await;
    assert_eq!(subject.stats().await.oldest_ended_at, Some(at(8)));
    subject.set(at(10), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.stats().await.oldest_ended_at, Some(at(5)), "appended later, ended earlier");
    subject.store.remove_spans(at(10), at(6), 10).await.unwrap();
    assert_eq!(subject.stats().await.oldest_ended_at, Some(at(8)));
}

async fn appended_spans_are_counted_and_refreshes_are_not(engine: Engine) {
    let subject = Subject::new(engine).await;
    let appended = || subject.database.spans_appended();
    for minute in 0..5 {
        subject.set(at(minute), &[set("u", "a", IN_A_CALL, HOUR), set("v", "a", IN_A_CALL, HOUR)]).await;
    }
    assert_eq!(appended(), 0);
    subject.set(at(5), &[set("u", "a", Pair::AWAY, HOUR), set("v", "a", Pair::AWAY, HOUR)]).await;
    assert_eq!(appended(), 2);
    subject.clear(at(6), &[key("u", "a")]).await;
    assert_eq!(appended(), 3);
    subject.store.update_user(at(7), &update("u", message("hi"))).await.unwrap();
    subject.store.update_user(at(8), &update("u", message("bye"))).await.unwrap();
    assert_eq!(appended(), 4);
    let later = at(8) + 24 * HOUR;
    let sessions = subject.store.scan_sessions(later, None, 10).await.unwrap();
    assert_eq!(subject.store.remove_sessions(later, &sessions).await.unwrap(), 2);
    assert_eq!(appended(), 5, "the session of v had expired");
    for number in 0..=100_u32 {
        let later = later + number * Duration::from_millis(1);
        subject.set(later, &[set("u", &format!("s{number:03}"), IN_A_CALL, HOUR)]).await;
    }
    assert_eq!(appended(), 6, "a session was evicted");
    // A connection that is opened later counts, too.
    subject.database.open(1).clear_sessions(later, &super::clears(&[key("u", "s050")])).await.unwrap();
    assert_eq!(appended(), 7);
    let another = Database::connect(subject.url()).await.unwrap();
    assert_eq!(another.spans_appended(), 0, "only this process counts");
}

async fn the_spans_of_a_write_that_fails_are_not_counted(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    // The engine refuses the pair of v, after it has changed the session of u.
    let sets = [set("u", "a", Pair::AWAY, HOUR), set("v", "a", Pair::OFFLINE, HOUR)];
    subject.store.set_sessions(at(1), &sets).await.unwrap_err();
    assert_eq!(subject.database.spans_appended(), 0);
    subject.set(at(2), &[set("u", "a", Pair::AWAY, HOUR)]).await;
    assert_eq!(subject.database.spans_appended(), 1);
}
