//! Writes that were answered as failed, or not at all, and are sent again.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    Row,
    cluster::Cluster,
    ledger::{Ledger, Writers},
};
use crate::support::{
    process::Process,
    proxy::{Network, Proxy},
};

/// Longer than it takes on any machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// What a statement may take at most, and what was on its way has arrived after.
const LATE: Duration = Duration::from_secs(2);

/// How the network breaks, and for how long: at any moment of a statement, and for
/// longer than one may take. What it holds up it hands on before anything new.
const FAULTS: [(Network, Duration); 5] = [
    (Network::Reset, Duration::from_millis(50)),
    (Network::Cut, Duration::from_millis(300)),
    (Network::Hung, Duration::from_millis(700)),
    (Network::Slow(Duration::from_millis(700)), Duration::from_millis(2_500)),
    (Network::Hung, Duration::from_millis(2_200)),
];

/// Some connections are late by more than a statement may take, while others work: the
/// service gives up on what was sent on them, and it arrives after that.
const HELD_UP: [(Network, Duration); 1] = [(Network::Slow(LATE), Duration::from_millis(100))];

/// Breaks the network between the service and its database under writers, until so many
/// writes have been done by another sending.
pub async fn sent_again(retries: usize) -> Row {
    let property = "writes answered as failed that did not do what they asked for when sent again";
    under(&FAULTS, property, retries).await
}

/// The same with statements that arrive after they were given up.
pub async fn late(retries: usize) -> Row {
    let property = "acknowledged writes undone by one before, given up and held up for 2 s in the network";
    under(&HELD_UP, property, retries).await
}

async fn under(faults: &[(Network, Duration)], property: &str, retries: usize) -> Row {
    let cluster = Cluster::start(&[]).await;
    let (proxy, url) = Proxy::to(&cluster.url()).await;
    let process = Process::start(&url, &[]).await;
    let ledger = Arc::new(Ledger::default());
    let mut lost = 0;
    let mut faults = faults.iter().cycle().enumerate();
    while ledger.sent_again() < retries {
        let (time, (fault, lasts)) = faults.next().unwrap();
        let writers = Writers::start(&ledger, process.grpc, time);
        timeout(PATIENCE, ledger.reaches(ledger.acknowledged() + 200))
            .await
            .expect("writes are acknowledged");
        proxy.set(*fault);
        sleep(*lasts).await;
        proxy.set(Network::Up);
        // So long that each key is written again.
        timeout(PATIENCE, ledger.reaches(ledger.acknowledged() + 2_000)).await.expect("it works again");
        writers.stop().await;
        sleep(LATE).await;
        lost += ledger.lost(process.grpc).await;
    }
    Row {
        property: property.to_owned(),
        tried: format!(
            "{} failed, {} done by another sending; {} acknowledged",
            ledger.failed(),
            ledger.sent_again(),
            ledger.acknowledged()
        ),
        figure: format!("{} at once, {lost} later", ledger.wrong()),
        held: ledger.wrong() == 0 && lost == 0,
    }
}
