//! Writes that reach the database after their caller gave up: nothing that was
//! written since is undone. SQLite is in the same process; nothing can hold a
//! write up on its way there.

use std::{sync::Arc, time::Duration};

use presenced::{
    presence::Pair,
    store::{Change, Database, Store, StoreError, UpdateUser},
};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::{HOUR, IN_A_CALL, Subject, key, set, start};
use crate::support::{
    database::Engine,
    proxy::{Network, Proxy},
};

/// What lies at least between a write that was given up and the next one.
const GIVEN_UP: Duration = Duration::from_millis(1_500);

/// A database, and a second store on it whose network is silent.
struct Held {
    subject: Subject,
    proxy: Proxy,
    store: Arc<dyn Store>,
    admin: PgConnection,
    /// The processes that serve the second store.
    backends: Vec<i32>,
}

impl Held {
    async fn new() -> Self {
        let subject = Subject::new(Engine::Postgres).await;
        let mut admin = PgConnection::connect(subject.url()).await.unwrap();
        let others = backends(&mut admin).await;
        let (proxy, url) = Proxy::to(subject.url()).await;
        let store = Database::connect(&url).await.unwrap().open(1);
        // Its connection is open, and its statements are prepared.
        store.set_sessions(start(), &[set("u", "a", Pair::AWAY, HOUR)]).await.unwrap();
        store.clear_sessions(start(), &[key("nobody", "a")]).await.unwrap();
        store.update_user(start(), &say("at first")).await.unwrap();
        store.update_user(start(), &hush("nobody")).await.unwrap();
        let backends = backends(&mut admin).await.into_iter().filter(|pid| !others.contains(pid)).collect();
        proxy.set(Network::Hung);
        Self { subject, proxy, store, admin, backends }
    }

    /// Lets through what is on its way, and waits until the database has done it: then
    /// it finds that nobody is there any more.
    async fn let_through(mut self) -> Subject {
        assert!(!self.backends.is_empty());
        self.proxy.set(Network::Up);
        let done = async {
            while backends(&mut self.admin).await.iter().any(|pid| self.backends.contains(pid)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), done).await.expect("the database has done it");
        self.subject
    }
}

/// The processes of the database.
async fn backends(admin: &mut PgConnection) -> Vec<i32> {
    let sql = "select pid from pg_stat_activity where datname = current_database()";
    sqlx::query_scalar(sql).fetch_all(admin).await.unwrap()
}

fn is_given_up<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_set_that_arrives_late_does_not_undo_a_newer_set() {
    let held = Held::new().await;
    is_given_up(&held.store.set_sessions(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await);
    let newer = start() + GIVEN_UP;
    held.subject.set(newer, &[set("u", "a", Pair::AVAILABLE, HOUR)]).await;
    let subject = held.let_through().await;
    let session = subject.only(newer).await;
    assert_eq!((session.pair, session.set_at), (Pair::AVAILABLE, newer));
}

#[tokio::test]
async fn a_set_that_arrives_late_does_not_undo_a_newer_clear() {
    let held = Held::new().await;
    is_given_up(&held.store.set_sessions(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await);
    let newer = start() + GIVEN_UP;
    assert_eq!(held.subject.clear(newer, &[key("u", "a")]).await, [true]);
    let subject = held.let_through().await;
    assert_eq!(subject.load(newer, "u").await, []);
}

#[tokio::test]
async fn a_clear_that_arrives_late_does_not_undo_a_newer_set() {
    let held = Held::new().await;
    is_given_up(&held.store.clear_sessions(start(), &[key("u", "a")]).await);
    let newer = start() + GIVEN_UP;
    held.subject.set(newer, &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let subject = held.let_through().await;
    assert_eq!(subject.only(newer).await.pair, IN_A_CALL);
}

#[tokio::test]
async fn what_a_user_sets_or_takes_away_late_does_not_undo_what_is_newer() {
    for late in [say("late"), hush("u")] {
        let held = Held::new().await;
        is_given_up(&held.store.update_user(start(), &late).await);
        let newer = start() + GIVEN_UP;
        held.subject.store.update_user(newer, &say("newer")).await.unwrap();
        let subject = held.let_through().await;
        assert_eq!(subject.user(newer, "u").await.status_message.unwrap().content, "newer");
    }
}

/// It is the clock that is behind, not the write that is late.
#[tokio::test]
async fn a_write_of_a_replica_whose_clock_is_behind_is_done() {
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
    subject.store.update_user(ahead, &say("ahead")).await.unwrap();
    subject.store.update_user(start(), &say("behind")).await.unwrap();
    assert_eq!(subject.user(ahead, "u").await.status_message.unwrap().content, "behind");
    subject.store.update_user(start(), &hush("u")).await.unwrap();
    assert_eq!(subject.user(ahead, "u").await.status_message, None);
}

fn say(content: &str) -> UpdateUser {
    let status_message = Change::Set((content.to_owned(), None));
    UpdateUser { status_message, ..UpdateUser::new(key("u", "a").user) }
}

fn hush(user: &str) -> UpdateUser {
    UpdateUser { status_message: Change::Clear, ..UpdateUser::new(key(user, "a").user) }
}
