use std::time::Duration;

use presenced::{
    presence::{Pair, Timestamp},
    store::{Lease, SessionKey, SessionRow, UserChange, UserKey, UserRow},
};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, key_of, set, start, update};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_scan_has_the_next_sessions_in_key_order,
    a_session_is_unused_from_its_clear_or_its_expiry,
    a_session_that_was_set_since_it_was_read_is_kept,
    a_scan_has_the_next_rows_of_users_in_key_order,
    a_row_of_a_user_is_unused_once_it_shows_nothing_and_no_session_is_left,
    a_row_of_a_user_that_was_written_since_it_was_read_is_kept,
    of_several_owners_one_has_the_lease,
    a_lease_that_was_not_renewed_ends_after_its_duration,
];

const DAY: Duration = Duration::from_hours(24);

impl Subject {
    async fn scan(&self, after: Option<&SessionKey>, rows: u32) -> Vec<SessionRow> {
        self.store.scan_sessions(start() + DAY, after, rows).await.unwrap()
    }

    async fn scan_users(&self, after: Option<&UserKey>, rows: u32) -> Vec<UserRow> {
        self.store.scan_users(start() + DAY, after, rows).await.unwrap()
    }

    /// Updates the user's message.
    async fn message(&self, now: Timestamp, user: &str, message: Option<(String, Option<Timestamp>)>) {
        self.update(now, user, UserChange::StatusMessage(message)).await;
    }

    async fn update(&self, now: Timestamp, user: &str, change: UserChange) {
        self.store.update_user(now, &update(user, change)).await.unwrap();
    }
}

async fn a_scan_has_the_next_sessions_in_key_order(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.scan(None, 1).await, []);
    let mut foreign = set("a", "1", IN_A_CALL, HOUR);
    foreign.key = key_of(Uuid::max(), "a", "1");
    let sets = [
        set("a", "1", IN_A_CALL, HOUR),
        set("B", "2", IN_A_CALL, HOUR),
        set("a", "10", IN_A_CALL, HOUR),
        foreign.clone(),
    ];
    subject.set(start(), &sets).await;
    let keys = async |after: Option<&SessionKey>, rows| {
        let rows = subject.scan(after, rows).await;
        rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(None, 1).await, [key("B", "2")]);
    assert_eq!(keys(None, 3).await, [key("B", "2"), key("a", "1"), key("a", "10")]);
    assert_eq!(keys(Some(&key("a", "1")), 3).await, [key("a", "10"), foreign.key.clone()]);
    assert_eq!(keys(Some(&foreign.key), 3).await, []);
}

async fn a_session_is_unused_from_its_clear_or_its_expiry(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = [set("u", "cleared", IN_A_CALL, HOUR), set("u", "expires", IN_A_CALL, 5 * MINUTE)];
    subject.set(start(), &sets).await;
    subject.clear(start() + MINUTE, &[key("u", "cleared")]).await;
    let rows = subject.scan(None, 10).await;
    let ends = |rows: &[SessionRow]| rows.iter().map(|row| (row.set_at, row.unused_from)).collect::<Vec<_>>();
    let (cleared, expired) = (start() + MINUTE, start() + 5 * MINUTE);
    assert_eq!(ends(&rows), [(start(), Some(cleared)), (start(), None)], "the last end is kept");
    assert_eq!(subject.store.remove_sessions(start() + DAY, &rows[..1]).await.unwrap(), 1);
    assert_eq!(ends(&subject.scan(None, 10).await), [(start(), Some(expired))], "no other row is left");
    assert_eq!(subject.store.remove_sessions(start() + DAY, &rows).await.unwrap(), 1);
    assert_eq!(subject.store.remove_sessions(start() + DAY, &[]).await.unwrap(), 0);
}

async fn a_session_that_was_set_since_it_was_read_is_kept(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = [set("u", "again", IN_A_CALL, MINUTE), set("u", "old", IN_A_CALL, MINUTE)];
    subject.set(start(), &sets).await;
    let rows = subject.scan(None, 10).await;
    subject.set(start() + HOUR, &sets[..1]).await;
    assert_eq!(subject.store.remove_sessions(start() + DAY, &rows).await.unwrap(), 1);
    assert_eq!(subject.load(start() + HOUR, "u").await.len(), 1);
}

async fn a_scan_has_the_next_rows_of_users_in_key_order(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.scan_users(None, 1).await, []);
    for user in ["a", "B", "c"] {
        subject.message(start(), user, Some(("hi".to_owned(), None))).await;
    }
    let keys = async |after: Option<&UserKey>, rows| {
        let rows = subject.scan_users(after, rows).await;
        rows.into_iter().map(|row| row.key.user_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(keys(None, 2).await, ["B", "a"]);
    assert_eq!(keys(Some(&key("a", "x").user), 2).await, ["c"]);
}

async fn a_row_of_a_user_is_unused_once_it_shows_nothing_and_no_session_is_left(engine: Engine) {
    let subject = Subject::new(engine).await;
    let unused_from = async || subject.scan_users(None, 1).await[0].unused_from;
    subject.message(start(), "u", Some(("hi".to_owned(), None))).await;
    assert_eq!(unused_from().await, None, "the message does not end");
    subject.message(start() + MINUTE, "u", Some(("hi".to_owned(), Some(start() + HOUR)))).await;
    assert_eq!(unused_from().await, Some(start() + HOUR));
    subject.update(start(), "u", UserChange::Preferred(Some((Pair::AWAY, 2 * HOUR)))).await;
    assert_eq!(unused_from().await, Some(start() + 2 * HOUR));
    subject.set(start(), &[set("u", "a", IN_A_CALL, MINUTE)]).await;
    assert_eq!(unused_from().await, None, "a session is left");
    let sessions = subject.scan(None, 1).await;
    subject.store.remove_sessions(start() + DAY, &sessions).await.unwrap();
    assert_eq!(unused_from().await, Some(start() + 2 * HOUR));
    let rows = subject.scan_users(None, 1).await;
    assert_eq!(subject.store.remove_users(&rows).await.unwrap(), 1);
    assert_eq!(subject.store.remove_users(&rows).await.unwrap(), 0);
    assert_eq!(subject.store.remove_users(&[]).await.unwrap(), 0);
    assert_eq!(subject.scan_users(None, 1).await, []);
}

async fn a_row_of_a_user_that_was_written_since_it_was_read_is_kept(engine: Engine) {
    let subject = Subject::new(engine).await;
    for user in ["a", "b"] {
        subject.message(start(), user, Some(("hi".to_owned(), None))).await;
        subject.message(start() + MINUTE, user, None).await;
    }
    let rows = subject.scan_users(None, 10).await;
    subject.message(start() + HOUR, "a", Some(("new".to_owned(), None))).await;
    assert_eq!(subject.store.remove_users(&rows).await.unwrap(), 1);
    assert_eq!(subject.user(start() + HOUR, "a").await.status_message.unwrap().content, "new");
}

fn lease(owner: u128) -> Lease {
    Lease { name: "cleanup", owner: Uuid::from_u128(owner), duration: MINUTE }
}

async fn of_several_owners_one_has_the_lease(engine: Engine) {
    let subject = Subject::new(engine).await;
    let take = async |now, owner| subject.store.take_lease(now, &lease(owner)).await.unwrap();
    assert!(take(start(), 1).await);
    assert!(!take(start(), 2).await);
    assert!(take(start() + MINUTE / 2, 1).await, "the owner renews it");
    assert!(!take(start() + MINUTE, 2).await);
    let other = Lease { name: "another", ..lease(2) };
    assert!(subject.store.take_lease(start(), &other).await.unwrap());
}

async fn a_lease_that_was_not_renewed_ends_after_its_duration(engine: Engine) {
    let subject = Subject::new(engine).await;
    let take = async |now, owner| subject.store.take_lease(now, &lease(owner)).await.unwrap();
    assert!(take(start(), 1).await);
    assert!(!take(start() + MINUTE.saturating_sub(Duration::from_millis(1)), 2).await);
    assert!(take(start() + MINUTE, 2).await);
    assert!(!take(start() + MINUTE, 1).await);
}

/// SQLite has one writer, so no session can be set concurrently.
#[tokio::test]
async fn a_row_that_is_being_written_is_kept() {
    let subject = Subject::new(Engine::Postgres).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, MINUTE), set("u", "b", IN_A_CALL, MINUTE)]).await;
    let sessions = subject.scan(None, 10).await;
    for user in ["u", "v"] {
        subject.message(start(), user, None).await;
    }
    let users = subject.scan_users(None, 10).await;
    let mut other = PgConnection::connect(subject.url()).await.unwrap();
    let mut writing = other.begin().await.unwrap();
    writing.execute("update presence_sessions set cleared_at = 1 where session_id = 'a'").await.unwrap();
    writing.execute("update presence_users set status_content = 'hi' where user_id = 'u'").await.unwrap();
    // If the removal waited for the write, it would time out.
    assert_eq!(subject.store.remove_sessions(start() + DAY, &sessions).await.unwrap(), 1);
    assert_eq!(subject.store.remove_users(&users).await.unwrap(), 1);
    writing.rollback().await.unwrap();
    assert_eq!(subject.scan(None, 10).await.len(), 1);
    assert_eq!(subject.scan_users(None, 10).await.len(), 1);
}
