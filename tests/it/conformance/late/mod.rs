//! Late writes: a write that reaches the database after its caller gave up undoes no newer
//! write. SQLite runs in the same process, so no network can delay a write.

mod clock;
mod commits;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use presenced::{
    presence::{Pair, Timestamp},
    store::{Database, Store, StoreError, UpdateUser, UserChange},
};
use sqlx::{Connection, PgConnection};

use super::{HOUR, IN_A_CALL, MINUTE, Subject, clears, extension, hold, key, set, start, update};
use crate::support::{
    database::Engine,
    proxy::{Network, Proxy},
    wait::eventually,
};

/// A write that is not late: it takes less than half a second to the database.
const IN_TIME: Duration = Duration::from_millis(400);
/// A write that is late, and whose caller still waits for the response.
const LATE: Duration = Duration::from_millis(600);
/// A write that arrives after its caller gave up.
const MUCH_LATER: Duration = Duration::from_millis(2_500);

/// A write, of the sessions `a` and `b` of a user or of the user's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Set,
    Clear,
    Extend,
    Update,
}

impl Write {
    const ALL: [Self; 4] = [Self::Set, Self::Clear, Self::Extend, Self::Update];

    /// The user on whom the tests run this write.
    const fn user(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Clear => "clear",
            Self::Extend => "extend",
            Self::Update => "update",
        }
    }

    async fn run(self, store: &dyn Store, now: Timestamp, user: &str) -> Result<(), StoreError> {
        match self {
            Self::Set => {
                let sets = ["a", "b"].map(|session| set(user, session, IN_A_CALL, HOUR));
                store.set_sessions(now, &sets).await.map(drop)
            }
            Self::Clear => {
                let keys = ["a", "b"].map(|session| key(user, session));
                store.clear_sessions(now, &clears(&keys)).await.map(drop)
            }
            Self::Extend => {
                let held = ["a", "b"].map(|session| extension(user, session, HOUR));
                store.extend_sessions(now, &held).await.map(drop)
            }
            Self::Update => store.update_user(now, &message(user, Some("the write's"))).await,
        }
    }
}

/// A database, and a store for each write. A network that can break is between these stores and
/// the database.
struct Far {
    near: Subject,
    proxy: Proxy,
    stores: Vec<(Write, Arc<dyn Store>)>,
    admin: PgConnection,
    /// The server processes of the far stores.
    backends: Vec<i32>,
}

impl Far {
    /// Each user of [`Write::user`] has the sessions `a` and `b`, which show [`Pair::AWAY`], and a
    /// status message.
    async fn new() -> Self {
        let near = Subject::new(Engine::Postgres).await;
        for user in Write::ALL.map(Write::user) {
            near.set(start(), &["a", "b"].map(|session| hold(user, session, Pair::AWAY, MINUTE))).await;
            near.store.update_user(start(), &message(user, Some("at first"))).await.unwrap();
        }
        let mut admin = PgConnection::connect(near.url()).await.unwrap();
        let others = backends(&mut admin).await;
        let (proxy, url) = Proxy::to(near.url()).await;
        let database = Database::connect(&url).await.unwrap();
        let stores: Vec<_> = Write::ALL.map(|write| (write, database.open(1))).into();
        // These calls open the connections and prepare the statements.
        for (write, store) in &stores {
            write.run(store.as_ref(), start(), "other").await.unwrap();
        }
        let mut backends = backends(&mut admin).await;
        backends.retain(|pid| !others.contains(pid));
        assert!(backends.len() >= stores.len());
        Self { near, proxy, stores, admin, backends }
    }

    /// Runs each write on its user, through the network as it is.
    async fn run(&self, now: Timestamp) -> Vec<Result<(), StoreError>> {
        let run = |(write, store): &(Write, Arc<dyn Store>)| {
            let (write, store) = (*write, Arc::clone(store));
            async move { write.run(store.as_ref(), now, write.user()).await }
        };
        join_all(self.stores.iter().map(run)).await
    }

    /// Waits until the server processes of the far stores have ended: whatever they had received,
    /// they have run.
    async fn ended(&mut self) {
        eventually("the server processes end", async || {
            backends(&mut self.admin).await.iter().all(|pid| !self.backends.contains(pid))
        })
        .await;
    }

    /// Every row of the database.
    async fn rows(&mut self) -> Vec<String> {
        let sql = "select s::text from presence_sessions as s \
                   union all select p::text from presence_users as p order by 1";
        sqlx::query_scalar(sql).fetch_all(&mut self.admin).await.unwrap()
    }
}

/// Returns the server processes of the database.
async fn backends(admin: &mut PgConnection) -> Vec<i32> {
    let sql = "select pid from pg_stat_activity where datname = current_database()";
    sqlx::query_scalar(sql).fetch_all(admin).await.unwrap()
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(outcome: &Result<T, StoreError>, reason: &str) {
    assert!(matches!(outcome, Err(StoreError::Unavailable(text)) if text.contains(reason)), "{outcome:?}");
}

fn message(user: &str, content: Option<&str>) -> UpdateUser {
    update(user, UserChange::StatusMessage(content.map(|content| (content.to_owned(), None))))
}

/// A busy machine can add the tenth of a second that is left, so a write has several attempts.
#[tokio::test]
async fn a_write_that_takes_less_than_half_a_second_to_the_database_applies() {
    let mut far = Far::new().await;
    let before = far.rows().await;
    far.proxy.set(Network::Slow(IN_TIME));
    let apply = far.stores.iter().map(|(write, store)| async move {
        eventually("the write applies", async || {
            write.run(store.as_ref(), start() + MINUTE / 2, write.user()).await.is_ok()
        })
        .await;
    });
    join_all(apply).await;
    let after = far.rows().await;
    for user in Write::ALL.map(Write::user) {
        let of_user = |rows: &[String]| -> Vec<String> {
            rows.iter().filter(|row| row.contains(&format!(",{user},"))).cloned().collect()
        };
        assert_ne!(of_user(&before), of_user(&after), "{user}");
    }
}

#[tokio::test]
async fn a_write_that_takes_more_than_half_a_second_to_the_database_changes_nothing_and_fails() {
    let mut far = Far::new().await;
    let before = far.rows().await;
    far.proxy.set(Network::Slow(LATE));
    for outcome in far.run(start() + MINUTE).await {
        assert_unavailable(&outcome, "reached the database more than 500ms after it began");
    }
    assert_eq!(far.rows().await, before);
}

#[tokio::test]
async fn a_write_that_arrives_after_its_caller_gave_up_changes_nothing() {
    let mut far = Far::new().await;
    let before = far.rows().await;
    far.proxy.set(Network::Slow(MUCH_LATER));
    for outcome in far.run(start() + MINUTE).await {
        assert_unavailable(&outcome, "took longer than 2s");
    }
    far.ended().await;
    assert_eq!(far.rows().await, before);
}

#[tokio::test]
async fn a_write_that_arrives_after_its_caller_gave_up_undoes_no_newer_write() {
    let mut far = Far::new().await;
    far.proxy.set(Network::Hung);
    for outcome in far.run(start() + MINUTE).await {
        assert_unavailable(&outcome, "took longer than 2s");
    }
    let newer = start() + 2 * MINUTE;
    for user in Write::ALL.map(Write::user) {
        far.near.set(newer, &["a", "b"].map(|session| set(user, session, Pair::AVAILABLE, HOUR))).await;
        assert_eq!(far.near.clear(newer, &[key(user, "b")]).await, [true]);
        let content = (user != Write::Set.user()).then_some("newer");
        far.near.store.update_user(newer, &message(user, content)).await.unwrap();
    }
    let before = far.rows().await;
    far.proxy.set(Network::Up);
    far.ended().await;
    assert_eq!(far.rows().await, before);
}

#[tokio::test]
async fn a_set_that_arrives_after_a_clear_found_no_session_opens_none() {
    let mut far = Far::new().await;
    far.proxy.set(Network::Hung);
    let (_, store) = &far.stores[0];
    let outcome = store.set_sessions(start(), &[set("u", "new", IN_A_CALL, HOUR)]).await;
    assert_unavailable(&outcome, "took longer than 2s");
    assert_eq!(far.near.clear(start() + MINUTE, &[key("u", "new")]).await, [false]);
    far.proxy.set(Network::Up);
    // The other stores still have their connections.
    far.stores.clear();
    far.ended().await;
    assert_eq!(far.near.load(start() + MINUTE, "u").await, []);
}

/// A row looks newer because the clock is behind, although the write is not late.
#[tokio::test]
async fn a_write_of_a_replica_whose_clock_is_behind_applies() {
    let subject = Subject::new(Engine::Postgres).await;
    let ahead = start() + MINUTE / 4;
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
    subject.store.update_user(ahead, &message("u", Some("ahead"))).await.unwrap();
    subject.store.update_user(start(), &message("u", Some("behind"))).await.unwrap();
    assert_eq!(subject.user(ahead, "u").await.status_message.unwrap().content, "behind");
    subject.store.update_user(start(), &message("u", None)).await.unwrap();
    assert_eq!(subject.user(ahead, "u").await.status_message, None);
}
