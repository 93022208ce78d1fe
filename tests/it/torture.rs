//! What `scripts/torture` does, a few times only.

use std::time::Duration;

use crate::{
    rows::{Row, callers::Load, cluster::Cluster, faults, kills, retries, rolling},
    support::{
        database::{Engine, TestDatabase},
        number, on_every_engine,
    },
};

/// The tests kill processes, never the machine: the disk need not be waited for.
const NO_FSYNC: &str = "fsync=off";

on_every_engine![what_was_acknowledged_outlives_kill_9];

fn hold(rows: impl IntoIterator<Item = Row>) {
    for row in rows {
        println!("{row:?}");
        assert!(row.held, "{row:?}");
    }
}

async fn what_was_acknowledged_outlives_kill_9(engine: Engine) {
    let kills = number("PRESENCE_TEST_KILLS", 10);
    let database = TestDatabase::new(engine).await;
    hold([kills::service(&format!("{engine:?}"), &database.url, kills, kills * 200).await]);
}

#[tokio::test]
async fn what_was_acknowledged_outlives_kill_9_of_postgres() {
    let mut cluster = Cluster::start(&[NO_FSYNC]).await;
    hold(kills::postgres(&mut cluster, 3, 1_000).await);
}

/// Or a ledger without a loss would say nothing.
#[tokio::test]
async fn the_ledger_notices_what_a_database_that_promises_too_much_has_lost() {
    let mut cluster = Cluster::start(&["synchronous_commit=off", "wal_writer_delay=10s"]).await;
    let rows = kills::postgres(&mut cluster, 2, 1_000).await;
    assert!(!rows[0].held, "{rows:?}");
}

/// Few, for other tests run beside it.
const LOAD: Load = Load { callers: 200, lasts: Duration::from_secs(3) };

#[tokio::test]
async fn a_write_that_is_sent_again_does_what_it_asked_for() {
    hold([retries::sent_again(200).await]);
}

#[tokio::test]
async fn replicas_that_are_replaced_fail_no_call_that_is_retried() {
    hold([rolling::restart(1).await]);
}

#[tokio::test]
async fn a_database_that_is_slow_or_resets_is_reported_in_time_and_comes_back() {
    hold(faults::network(LOAD).await);
}

#[tokio::test]
async fn a_database_that_is_out_of_connections_is_reported_in_time_and_comes_back() {
    hold([faults::out_of_connections(LOAD).await]);
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_reported_in_time_and_comes_back() {
    hold([faults::read_only(LOAD).await]);
}
