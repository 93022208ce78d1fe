//! SIGKILL to the service and to its database, under load.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::{Row, cluster::Cluster};
use presenced_tools::{
    ledger::{Ledger, Writers},
    process::Process,
};

/// The limit of the time between the database's return and the first success.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// A timeout that no machine should reach.
const PATIENCE: Duration = Duration::from_mins(10);

/// Kills the service on the database at `url` this many times under writers, until the given
/// number of writes is acknowledged.
pub async fn service(engine: &str, url: &str, kills: usize, acknowledged: usize) -> Row {
    let ledger = Arc::new(Ledger::default());
    let mut lost = 0;
    let mut process = Process::start(url, &[]).await;
    for kill in 0..kills {
        let writers = Writers::start(&ledger, process.grpc, kill);
        // The kill comes early or late in the stream, always right after a response.
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
        property: format!("{engine}: acknowledged writes lost to SIGKILL of the service"),
        tried: format!("{kills} kills, {} acknowledged", ledger.acknowledged()),
        figure: format!("{lost} lost, {} wrong", ledger.wrong()),
        held: lost == 0 && ledger.wrong() == 0,
    }
}

/// Kills PostgreSQL with all its backends this many times, under a service that keeps running.
pub async fn postgres(cluster: &mut Cluster, kills: usize, acknowledged: usize) -> Vec<Row> {
    let ledger = Arc::new(Ledger::default());
    let (mut lost, mut slowest) = (0, Duration::ZERO);
    let process = Process::start(&cluster.url(), &[]).await;
    for kill in 0..kills {
        let writers = Writers::start(&ledger, process.grpc, kill);
        let enough = ledger.acknowledged() + acknowledged.div_ceil(kills);
        timeout(PATIENCE, ledger.reaches(enough)).await.expect("writes are acknowledged");
        cluster.kill();
        // A pause, so that the service notices.
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
            property: "PostgreSQL: acknowledged writes lost to SIGKILL of all its processes".to_owned(),
            tried: tried.clone(),
            figure: format!("{lost} lost, {} wrong", ledger.wrong()),
            held: lost == 0 && ledger.wrong() == 0,
        },
        Row {
            property: "PostgreSQL: first success after its return, without a restart of the service"
                .to_owned(),
            tried,
            figure: format!("{slowest:.3?} at most"),
            held: slowest <= BACK_WITHIN,
        },
    ]
}

/// Kills a worker node of Citus this many times, under a service that keeps running. `kill` and
/// `restart` are commands for the shell.
pub async fn nodes(url: &str, kill: &str, restart: &str, kills: usize, acknowledged: usize) -> Row {
    let ledger = Arc::new(Ledger::default());
    let (mut lost, mut slowest) = (0, Duration::ZERO);
    let process = Process::start(url, &[]).await;
    for number in 0..kills {
        let writers = Writers::start(&ledger, process.grpc, number);
        let enough = ledger.acknowledged() + acknowledged.div_ceil(kills);
        timeout(PATIENCE, ledger.reaches(enough)).await.expect("writes are acknowledged");
        shell(kill);
        // A pause, so that the service notices.
        sleep(Duration::from_millis(200 * (number as u64 % 4))).await;
        shell(restart);
        let back = Instant::now();
        writers.stop().await;
        // This reads all users, until it succeeds.
        lost += timeout(PATIENCE, ledger.lost(process.grpc)).await.expect("all users are readable again");
        slowest = slowest.max(back.elapsed());
    }
    Row {
        property: "Citus: acknowledged writes lost to SIGKILL of a worker node".to_owned(),
        tried: format!("{kills} kills, {} acknowledged", ledger.acknowledged()),
        figure: format!("{lost} lost, {} wrong; readable again within {slowest:.1?}", ledger.wrong()),
        held: lost == 0 && ledger.wrong() == 0,
    }
}

fn shell(command: &str) {
    let status = std::process::Command::new("sh").args(["-c", command]).status().expect("sh runs");
    assert!(status.success(), "{command}: {status}");
}
