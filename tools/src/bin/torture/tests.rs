//! The rows of the table with small numbers, against a debug build.

use std::{env, time::Duration};

use crate::rows::{Row, callers::Load, cluster::Cluster, deliveries, faults, kills, retries, rolling};

/// The tests kill processes and never the machine, so no write has to reach the disk.
const NO_FSYNC: &str = "fsync=off";

/// A small load, because other tests run at the same time.
const LOAD: Load = Load { callers: 200, length: Duration::from_secs(3) };

fn assert_held(rows: impl IntoIterator<Item = Row>) {
    for row in rows {
        println!("{row:?}");
        assert!(row.held, "{row:?}");
    }
}

/// The number of kills of the service, on each engine.
fn kills() -> usize {
    env::var("PRESENCE_TEST_KILLS").map_or(10, |text| text.parse().expect("a number in PRESENCE_TEST_KILLS"))
}

#[tokio::test]
async fn acknowledged_writes_to_sqlite_survive_kill_9_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("presence.db").display());
    assert_held([kills::service("SQLite", &url, kills(), kills() * 200).await]);
}

#[tokio::test]
async fn acknowledged_writes_to_postgres_survive_kill_9_of_the_service() {
    let cluster = Cluster::start(&[NO_FSYNC]).await;
    assert_held([kills::service("PostgreSQL", &cluster.url(), kills(), kills() * 200).await]);
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9_of_postgres() {
    let mut cluster = Cluster::start(&[NO_FSYNC]).await;
    assert_held(kills::postgres(&mut cluster, 3, 1_000).await);
}

/// Without this test, a ledger that reports no loss would prove nothing.
#[tokio::test]
async fn the_ledger_reports_the_losses_of_a_database_that_commits_asynchronously() {
    let mut cluster = Cluster::start(&["synchronous_commit=off", "wal_writer_delay=10s"]).await;
    let rows = kills::postgres(&mut cluster, 2, 1_000).await;
    assert!(!rows[0].held, "{rows:?}");
}

/// The duration of a lease, in seconds.
fn lease() -> u64 {
    env::var("PRESENCE_TEST_LEASE").map_or(1, |text| text.parse().expect("a number in PRESENCE_TEST_LEASE"))
}

#[tokio::test]
async fn change_notifications_survive_kill_9_and_failing_receivers() {
    assert_held([deliveries::kills(kills(), lease(), &[NO_FSYNC]).await]);
}

#[tokio::test]
async fn a_retried_write_takes_effect() {
    assert_held([retries::retried(200).await]);
}

#[tokio::test]
async fn no_retried_call_fails_while_replicas_are_replaced() {
    assert_held([rolling::restart(1).await]);
}

#[tokio::test]
async fn a_slow_or_resetting_database_is_reported_in_time_and_recovers() {
    assert_held(faults::network(LOAD).await);
}

#[tokio::test]
async fn a_database_without_free_connections_is_reported_in_time_and_recovers() {
    assert_held([faults::out_of_connections(LOAD).await]);
}

#[tokio::test]
async fn a_read_only_database_is_reported_in_time_and_recovers() {
    assert_held([faults::read_only(LOAD).await]);
}
