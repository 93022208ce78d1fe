//! `kill -9` of the service and of its database, under load.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::{
    Row,
    cluster::Cluster,
    ledger::{Ledger, Writers},
};
use presenced_tools::process::Process;

/// Within this a write succeeds again after the database is back.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Longer than it takes on any machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// Kills the service at `url` again and again under writers, until so many writes
/// are acknowledged.
pub async fn service(engine: &str, url: &str, kills: usize, acknowledged: usize) -> Row {
    let ledger = Arc::new(Ledger::default());
    let mut lost = 0;
    let mut process = Process::start(url, &[]).await;
    for kill in 0..kills {
        let writers = Writers::start(&ledger, process.grpc, kill);
        // From at once to well into the stream, always right after an answer.
        let share = acknowledged / kills * (kill % 10 * 2 + 1) / 10;
        let at_the_end = if kill + 1 == kills { acknowledged } else { 0 };
        let enough = at_the_end.max(ledger.acknowledged() + share.max(1));
        timeout(PATIENCE, ledger.reaches(enough)).await.expect("writes are acknowledged");
        process.kill();
        writers.stop().await;
        process = Process::start(url, &[]).await;
        lost += ledger.lost(process.grpc).await;
    }
    Row {
        property: format!("{engine}: acknowledged writes lost to kill -9 of the service"),
        tried: format!("{kills} kills, {} acknowledged", ledger.acknowledged()),
        figure: format!("{lost} lost, {} wrong", ledger.wrong()),
        held: lost == 0 && ledger.wrong() == 0,
    }
}

/// Kills PostgreSQL with all its backends again and again, under a service that is
/// not restarted.
pub async fn postgres(cluster: &mut Cluster, kills: usize, acknowledged: usize) -> Vec<Row> {
    let ledger = Arc::new(Ledger::default());
    let (mut lost, mut slowest) = (0, Duration::ZERO);
    let process = Process::start(&cluster.url(), &[]).await;
    for kill in 0..kills {
        let writers = Writers::start(&ledger, process.grpc, kill);
        let enough = ledger.acknowledged() + acknowledged.div_ceil(kills);
        timeout(PATIENCE, ledger.reaches(enough)).await.expect("writes are acknowledged");
        cluster.kill();
        // It is away for a while, so that the service has noticed.
        sleep(Duration::from_millis(200 * (kill as u64 % 4))).await;
        cluster.restart().await;
        let back = Instant::now();
        let before = ledger.acknowledged();
        timeout(PATIENCE, ledger.reaches(before + 1)).await.expect("writes are acknowledged again");
        slowest = slowest.max(back.elapsed());
        writers.stop().await;
        lost += ledger.lost(process.grpc).await;
    }
    let tried = format!("{kills} kills, {} acknowledged", ledger.acknowledged());
    vec![
        Row {
            property: "PostgreSQL: acknowledged writes lost to its kill -9 with all backends".to_owned(),
            tried: tried.clone(),
            figure: format!("{lost} lost, {} wrong", ledger.wrong()),
            held: lost == 0 && ledger.wrong() == 0,
        },
        Row {
            property: "PostgreSQL: first success after it is back, with no restart of ours".to_owned(),
            tried,
            figure: format!("{slowest:.3?} at most"),
            held: slowest <= BACK_WITHIN,
        },
    ]
}
