//! Late writes: a write that reaches the database after its caller gave up undoes no newer
//! write. SQLite runs in the same process, so no network can delay a write.

use std::{sync::Arc, time::Duration};

use presenced::{
    presence::Pair,
    store::{Author, Change, Database, Store, StoreError, UpdateUser},
};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::{HOUR, IN_A_CALL, Subject, key, set, start};
use crate::support::{
    database::Engine,
    proxy::{Network, Proxy},
};

/// The shortest time between a write whose caller gave up and the next write.
const GIVEN_UP: Duration = Duration::from_millis(1_500);

/// A database with two stores. The network of the second store delivers nothing.
struct Stalled {
    subject: Subject,
    proxy: Proxy,
    store: Arc<dyn Store>,
    admin: PgConnection,
    /// The server processes of the second store.
    backends: Vec<i32>,
}

impl Stalled {
    async fn new() -> Self {
        let subject = Subject::new(Engine::Postgres).await;
        let mut admin = PgConnection::connect(subject.url()).await.unwrap();
        let others = backends(&mut admin).await;
        let (proxy, url) = Proxy::to(subject.url()).await;
        let store = Database::connect(&url).await.unwrap().open(1);
        // These calls open the connection and prepare the statements.
        store.set_sessions(start(), &[set("u", "a", Pair::AWAY, HOUR)]).await.unwrap();
        store.clear_sessions(start(), &[key("other", "a")]).await.unwrap();
        store.update_user(start(), &set_message("at first")).await.unwrap();
        store.update_user(start(), &clear_message("other")).await.unwrap();
        let backends = backends(&mut admin).await.into_iter().filter(|pid| !others.contains(pid)).collect();
        proxy.set(Network::Hung);
        Self { subject, proxy, store, admin, backends }
    }

    /// Lets the network deliver the delayed writes, and waits until the database has run them
    /// and its processes have ended.
    async fn release(mut self) -> Subject {
        assert!(!self.backends.is_empty());
        self.proxy.set(Network::Up);
        let ended = async {
            while backends(&mut self.admin).await.iter().any(|pid| self.backends.contains(pid)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), ended).await.expect("the processes end");
        self.subject
    }
}

/// Returns the server processes of the database.
async fn backends(admin: &mut PgConnection) -> Vec<i32> {
    let sql = "select pid from pg_stat_activity where datname = current_database()";
    sqlx::query_scalar(sql).fetch_all(admin).await.unwrap()
}

fn assert_given_up<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_late_set_does_not_undo_a_newer_set() {
    let stalled = Stalled::new().await;
    assert_given_up(&stalled.store.set_sessions(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await);
    let newer = start() + GIVEN_UP;
    stalled.subject.set(newer, &[set("u", "a", Pair::AVAILABLE, HOUR)]).await;
    let subject = stalled.release().await;
    let session = subject.only(newer).await;
    assert_eq!((session.pair, session.set_at), (Pair::AVAILABLE, newer));
}

#[tokio::test]
async fn a_late_set_does_not_undo_a_newer_clear() {
    let stalled = Stalled::new().await;
    assert_given_up(&stalled.store.set_sessions(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await);
    let newer = start() + GIVEN_UP;
    assert_eq!(stalled.subject.clear(newer, &[key("u", "a")]).await, [true]);
    let subject = stalled.release().await;
    assert_eq!(subject.load(newer, "u").await, []);
}

#[tokio::test]
async fn a_late_clear_does_not_undo_a_newer_set() {
    let stalled = Stalled::new().await;
    assert_given_up(&stalled.store.clear_sessions(start(), &[key("u", "a")]).await);
    let newer = start() + GIVEN_UP;
    stalled.subject.set(newer, &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let subject = stalled.release().await;
    assert_eq!(subject.only(newer).await.pair, IN_A_CALL);
}

#[tokio::test]
async fn a_late_update_does_not_undo_a_newer_update() {
    for late in [set_message("late"), clear_message("u")] {
        let stalled = Stalled::new().await;
        assert_given_up(&stalled.store.update_user(start(), &late).await);
        let newer = start() + GIVEN_UP;
        stalled.subject.store.update_user(newer, &set_message("newer")).await.unwrap();
        let subject = stalled.release().await;
        assert_eq!(subject.user(newer, "u").await.status_message.unwrap().content, "newer");
    }
}

/// A row looks newer because the clock is behind, although the write is not late.
#[tokio::test]
async fn a_write_of_a_replica_whose_clock_is_behind_applies() {
    let subject = Subject::new(Engine::Postgres).await;
    let ahead = start() + 10 * GIVEN_UP;
    let users = ["u", "v", "w"];
    let sets: Vec<_> = users.iter().map(|user| set(user, "a", IN_A_CALL, HOUR)).collect();
    subject.set(ahead, &sets[..2]).await;
    let sets: Vec<_> = users.iter().map(|user| set(user, "a", Pair::AWAY, HOUR)).collect();
    subject.set(start(), &sets).await;
    for user in users {
        assert_eq!(subject.load(ahead, user).await[0].pair, Pair::AWAY, "{user}");
    }
    subject.set(ahead, &sets[..2]).await;
    let keys = [key("v", "a"), key("x", "a"), key("w", "a"), key("u", "a"), key("v", "a")];
    assert_eq!(subject.clear(start(), &keys).await, [true, false, true, true, false]);
    subject.store.update_user(ahead, &set_message("ahead")).await.unwrap();
    subject.store.update_user(start(), &set_message("behind")).await.unwrap();
    assert_eq!(subject.user(ahead, "u").await.status_message.unwrap().content, "behind");
    subject.store.update_user(start(), &clear_message("u")).await.unwrap();
    assert_eq!(subject.user(ahead, "u").await.status_message, None);
}

fn set_message(content: &str) -> UpdateUser {
    let status_message = Change::Set((content.to_owned(), None));
    UpdateUser { status_message, ..UpdateUser::new(key("u", "a").user, Author::default()) }
}

fn clear_message(user: &str) -> UpdateUser {
    UpdateUser { status_message: Change::Clear, ..UpdateUser::new(key(user, "a").user, Author::default()) }
}
