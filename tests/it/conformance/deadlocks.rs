//! A write locks its rows in the order of their keys, so two writes never wait for each other.
//! SQLite has one writer, so there no two writes run at once.

use std::{sync::Arc, time::Duration};

use presenced::{
    clock::Stopwatch,
    presence::Pair,
    store::{Database, ExtendSession, SessionKey, SetSession, Store, StoreError, UpdateUser},
};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use super::{HOUR, IN_A_CALL, MINUTE, Subject, clears, extension, hold, key, message, start, update};
use crate::support::{database::Engine, number, wait::eventually};

/// The number of keys in a batch.
const BATCH_MAX: usize = 50;
/// The users that share all writes.
const USERS: u32 = 6;
/// The sessions of a user that many writes have in common.
const COMMON_SESSIONS: u32 = 20;
/// One key of this many is of a session that only few writes have in common. So most users soon have
/// more than 100 sessions, and each opening removes some.
const ONE_NEW_OF: u32 = 4;

/// A random key.
fn random_key() -> SessionKey {
    let user = format!("u{}", fastrand::u32(..USERS));
    let is_new = fastrand::u32(..ONE_NEW_OF) == 0;
    let session = if is_new { fastrand::u32(1_000..1_400) } else { fastrand::u32(..COMMON_SESSIONS) };
    key(&user, &format!("s{session}"))
}

/// A batch of random keys, in a random order.
fn random_keys() -> Vec<SessionKey> {
    (0..fastrand::usize(1..=BATCH_MAX)).map(|_| random_key()).collect()
}

fn random_sets() -> Vec<SetSession> {
    let pair = [Pair::AVAILABLE, Pair::AWAY, IN_A_CALL][fastrand::usize(..3)];
    random_keys().into_iter().map(|key| SetSession { key, ..hold("u", "s", pair, HOUR) }).collect()
}

fn random_extensions() -> Vec<ExtendSession> {
    random_keys().into_iter().map(|key| ExtendSession { key, ..extension("u", "s", HOUR) }).collect()
}

/// Removes a page of the sessions that were not set since they were read.
async fn clean_up(store: &dyn Store) -> Result<(), StoreError> {
    let sessions = store.scan_sessions(start(), Some(&random_key()), 100).await?;
    store.remove_sessions(start() + HOUR, &sessions).await?;
    let users = store.scan_users(start(), None, 100).await?;
    store.remove_users(&users).await.map(drop)
}

/// Runs random calls for a while. Returns their number.
async fn run(store: Arc<dyn Store>, length: Duration) -> Result<usize, StoreError> {
    let (stopwatch, mut calls) = (Stopwatch::start(), 0);
    while stopwatch.elapsed() < length {
        let now = start() + fastrand::u32(..1_000) * (MINUTE / 1_000);
        match fastrand::u32(..10) {
            0..4 => drop(store.set_sessions(now, &random_sets()).await?),
            4..6 => drop(store.clear_sessions(now, &clears(&random_keys())).await?),
            6..8 => drop(store.extend_sessions(now, &random_extensions()).await?),
            8 => {
                let update = UpdateUser { user: random_key().user, ..update("u", message("hi")) };
                store.update_user(now, &update).await?;
            }
            _ => clean_up(store.as_ref()).await?,
        }
        calls += 1;
    }
    Ok(calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_the_same_rows_in_any_order_never_wait_for_each_other() {
    let seconds = number("PRESENCE_TEST_DEADLOCK_SECONDS", 3);
    let length = Duration::from_secs(u64::try_from(seconds).unwrap());
    let subject = Subject::new(Engine::Postgres).await;
    let mut running = JoinSet::new();
    let mut stores = Vec::new();
    for _ in 0..2 {
        let store = Database::connect(subject.url()).await.unwrap().open(2);
        for _ in 0..2 {
            running.spawn(run(Arc::clone(&store), length));
        }
        stores.push(store);
    }
    let mut calls = 0;
    for outcome in running.join_all().await {
        calls += outcome.unwrap();
    }
    assert!(calls > 0);
    println!("{calls} calls in {seconds} s");
    for store in stores {
        store.close().await;
    }
    assert_eq!(deadlocks(&subject).await, 0, "deadlocks among {calls} calls");
}

/// The deadlocks that the database counted. A server process adds its own at its end.
pub async fn deadlocks(subject: &Subject) -> i64 {
    subject.store.close().await;
    let mut admin = PgConnection::connect(subject.url()).await.unwrap();
    let others = "select count(*) from pg_stat_activity \
                  where datname = current_database() and pid <> pg_backend_pid() \
                  and application_name not ilike 'citus%'";
    eventually("the other server processes end", async || {
        sqlx::query_scalar::<_, i64>(others).fetch_one(&mut admin).await.unwrap() == 0
    })
    .await;
    let sql = "select deadlocks from pg_stat_database where datname = current_database()";
    sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap()
}
