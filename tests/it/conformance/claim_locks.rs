//! Claims of several replicas at the same time, and while subscriptions are written. SQLite has one writer,
//! so there no two writes run at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use presenced::{
    clock::Stopwatch,
    presence::Timestamp,
    store::{
        CreateSubscription, Database, DeliveryReport, ReleaseSubscriptions, Store, StoreError, Subscription,
        SubscriptionKey, UpdateSubscription,
    },
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    HOUR, MINUTE, Subject,
    claims::{LEASE, claim_of, generations},
    deadlocks::deadlocks,
    history::author,
    key, start,
    subscriptions::{subscribe, subscription_key},
};
use crate::support::{database::Engine, number, wait::eventually};

/// A statement that changes the expiry of a subscription.
fn expire_at(number: u128, expires_at: Timestamp) -> AssertSqlSafe<String> {
    let (id, expires_at) = (Uuid::from_u128(number), expires_at.as_millis());
    AssertSqlSafe(format!(
        "update presence_subscriptions set expires_at = {expires_at} where subscription_id = '{id}'"
    ))
}

#[tokio::test]
async fn a_subscription_that_is_being_changed_stays_with_its_replica_and_no_other_one_waits() {
    let subject = Subject::new(Engine::Postgres).await;
    for number in 1..=3 {
        subject.create(start(), &subscribe(number)).await;
    }
    assert_eq!(subject.claim(start(), 9).await, [(1, 1), (2, 1), (3, 1)]);
    let mut other = PgConnection::connect(subject.url()).await.unwrap();
    let mut writing = other.begin().await.unwrap();
    writing.execute(expire_at(1, start() + 9 * HOUR)).await.unwrap();
    let deleted =
        format!("delete from presence_subscriptions where subscription_id = '{}'", Uuid::from_u128(2));
    writing.execute(AssertSqlSafe(deleted)).await.unwrap();
    // If this claim waited for the change, it would time out.
    assert_eq!(subject.claim(start() + LEASE, 8).await, [(3, 2)]);
    let store = subject.database.open(1);
    let claim = claim_of(9, 100, vec![]);
    let claimed = tokio::spawn(async move { store.claim_subscriptions(start() + LEASE, &claim).await });
    let mut admin = PgConnection::connect(subject.url()).await.unwrap();
    eventually("the claim waits for the change", async || {
        let waits = "select count(*) from pg_stat_activity where datname = current_database() and \
                     wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut admin).await.unwrap() == 1
    })
    .await;
    writing.commit().await.unwrap();
    let claimed = claimed.await.unwrap().unwrap();
    assert_eq!(generations(&claimed), [(1, 1)], "the other one was deleted");
    assert_eq!(claimed[0].expires_at, start() + 9 * HOUR);
    assert_eq!(subject.subscription(start() + 8 * HOUR, 1).await.as_ref(), claimed.first());
    assert_eq!(subject.claim(start() + LEASE, 8).await, [(3, 2)], "the lease was renewed");
}

#[tokio::test]
async fn an_expired_subscription_that_is_being_written_is_kept() {
    let subject = Subject::new(Engine::Postgres).await;
    for number in 1..=2 {
        subject.create(start(), &subscribe(number)).await;
    }
    let mut other = PgConnection::connect(subject.url()).await.unwrap();
    let mut writing = other.begin().await.unwrap();
    writing.execute(expire_at(1, start() + 9 * HOUR)).await.unwrap();
    // If the removal waited for the write, it would time out.
    assert_eq!(subject.store.remove_expired_subscriptions(start() + 2 * HOUR).await.unwrap(), 1);
    writing.commit().await.unwrap();
    assert!(subject.subscription(start() + 2 * HOUR, 1).await.is_some());
}

/// The number of subscriptions at the start.
const SUBSCRIPTIONS: u32 = 300;
/// The users who make subscriptions.
const USERS: u32 = 4;

/// What the replicas of a test have in common.
#[derive(Default)]
struct Shared {
    /// The seconds since the start.
    seconds: AtomicU32,
    /// The last subscription that was created.
    last: AtomicU32,
    /// The replica that had a subscription in a generation.
    owners: Mutex<HashMap<(SubscriptionKey, u64), u128>>,
    takeovers: AtomicU32,
}

impl Shared {
    fn now(&self) -> Timestamp {
        start() + self.seconds.load(Ordering::Relaxed) * Duration::from_secs(1)
    }

    fn random_key(&self) -> SubscriptionKey {
        subscription_key(fastrand::u32(1..=self.last.load(Ordering::Relaxed)).into())
    }

    async fn create(&self, store: &dyn Store) -> Result<(), StoreError> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let user = format!("u{}", fastrand::u32(..USERS));
        let create = CreateSubscription {
            created_by: author("app", Some(&user)),
            expires_at: self.now() + fastrand::u32(1..60) * MINUTE,
            ..subscribe(number.into())
        };
        store.create_subscription(self.now(), &create).await.map(drop)
    }

    /// Checks that no other replica had one of these subscriptions in this generation.
    fn check(&self, replica: u128, claimed: &[Subscription]) {
        let mut owners = self.owners.lock().unwrap();
        for Subscription { key, generation, .. } in claimed {
            let owner = owners.entry((*key, *generation)).or_insert_with(|| {
                self.takeovers.fetch_add(1, Ordering::Relaxed);
                replica
            });
            assert_eq!(*owner, replica, "{key:?}, generation {generation}");
        }
    }
}

fn reports_of(claimed: &[Subscription], now: Timestamp) -> Vec<DeliveryReport> {
    let report = |subscription: &Subscription| DeliveryReport {
        key: subscription.key,
        generation: subscription.generation,
        delivered_through: now,
        failing_since: None,
        last_error: None,
        reauthorization_sent: None,
    };
    claimed.iter().filter(|_| fastrand::bool()).map(report).collect()
}

/// Runs random calls of a replica for a while. Returns their number.
async fn run(
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    replica: u128,
    length: Duration,
) -> Result<usize, StoreError> {
    let (stopwatch, mut calls) = (Stopwatch::start(), 0);
    let mut claimed = Vec::new();
    while stopwatch.elapsed() < length {
        let now = shared.now();
        match fastrand::u32(..20) {
            0..10 => {
                let claim = claim_of(replica, fastrand::u32(..100), reports_of(&claimed, now));
                claimed = store.claim_subscriptions(now, &claim).await?;
                shared.check(replica, &claimed);
            }
            10 => {
                let reports = reports_of(&claimed, now);
                let release = ReleaseSubscriptions { owner: Uuid::from_u128(replica), reports };
                store.release_subscriptions(now, &release).await?;
                shared.seconds.fetch_add(fastrand::u32(..60), Ordering::Relaxed);
            }
            11 => drop(store.delete_subscription(&shared.random_key()).await?),
            12 => drop(store.remove_expired_subscriptions(now).await?),
            13 => {
                let user = key(&format!("u{}", fastrand::u32(..USERS)), "x").user;
                store.erase_user(&user).await?;
            }
            14..17 => {
                let (key, expires_at) = (shared.random_key(), Some(now + HOUR));
                let update =
                    UpdateSubscription { key, expires_at, authorized_until: expires_at, request: None };
                store.update_subscription(now, &update).await?;
            }
            _ => {
                for _ in 0..SUBSCRIPTIONS / 10 {
                    shared.create(&*store).await?;
                }
            }
        }
        calls += 1;
    }
    Ok(calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_each_generation_one_replica_has_a_subscription_and_no_two_wait_for_each_other() {
    let seconds = number("PRESENCE_TEST_DEADLOCK_SECONDS", 3);
    let length = Duration::from_secs(u64::try_from(seconds).unwrap());
    let subject = Subject::new(Engine::Postgres).await;
    let shared = Arc::new(Shared::default());
    for _ in 0..SUBSCRIPTIONS {
        shared.create(&*subject.store).await.unwrap();
    }
    let mut running = JoinSet::new();
    let mut stores = Vec::new();
    for replica in 1..=4 {
        let store = Database::connect(subject.url()).await.unwrap().open(1);
        running.spawn(run(Arc::clone(&store), Arc::clone(&shared), replica, length));
        stores.push(store);
    }
    let mut calls = 0;
    for outcome in running.join_all().await {
        calls += outcome.unwrap();
    }
    let takeovers = shared.takeovers.load(Ordering::Relaxed);
    println!("{calls} calls in {seconds} s, {takeovers} takeovers");
    assert!(takeovers > SUBSCRIPTIONS, "{takeovers}");
    for store in stores {
        store.close().await;
    }
    assert_eq!(deadlocks(&subject).await, 0, "deadlocks among {calls} calls");
}
