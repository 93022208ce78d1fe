//! Retries of writes that failed or got no response.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use presenced_tools::{
    ledger::{Ledger, Writers},
    pb::{Activity, Availability, BatchGetPresencesRequest, SetPresenceRequest},
    process::Process,
    proxy::{Network, Proxy},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Client, Row, cluster::Cluster, connect};

/// A timeout that no machine should reach.
const PATIENCE: Duration = Duration::from_mins(10);

/// The time within which delayed writes arrive.
const SETTLED: Duration = Duration::from_secs(1);

/// The faults of the network, and their length: at any moment of a statement, and for longer
/// than its timeout. Bytes that were held back arrive before new ones.
const FAULTS: [(Network, Duration); 5] = [
    (Network::Reset, Duration::from_millis(50)),
    (Network::Cut, Duration::from_millis(300)),
    (Network::Hung, Duration::from_millis(700)),
    (Network::Slow(Duration::from_millis(700)), Duration::from_millis(2_500)),
    (Network::Hung, Duration::from_millis(2_200)),
];

/// Breaks the network between the service and its database under writers, until this number of
/// writes has succeeded after a retry.
pub async fn retried(retries: usize) -> Row {
    let cluster = Cluster::start(&[]).await;
    let (proxy, url) = Proxy::to(&cluster.url()).await;
    let process = Process::start(&url, &[]).await;
    let ledger = Arc::new(Ledger::default());
    let mut lost = 0;
    let mut faults = FAULTS.iter().cycle().enumerate();
    while ledger.retried() < retries {
        let (time, (fault, lasts)) = faults.next().unwrap();
        let writers = Writers::start(&ledger, process.grpc, time);
        timeout(PATIENCE, ledger.reaches(ledger.acknowledged() + 200))
            .await
            .expect("writes are acknowledged");
        proxy.set(*fault);
        sleep(*lasts).await;
        proxy.set(Network::Up);
        // Enough for a new write to each key.
        timeout(PATIENCE, ledger.reaches(ledger.acknowledged() + 2_000))
            .await
            .expect("writes are acknowledged again");
        writers.stop().await;
        sleep(SETTLED).await;
        lost += ledger.lost(process.grpc).await;
    }
    Row {
        property: "failed writes without the right effect after their retry".to_owned(),
        tried: format!(
            "{} failed, {} successful after a retry; {} acknowledged",
            ledger.failed(),
            ledger.retried(),
            ledger.acknowledged()
        ),
        figure: format!("{} right after, {lost} later", ledger.wrong()),
        held: ledger.wrong() == 0 && lost == 0,
    }
}

/// Cuts one of two replicas off from the database without closing connections, and repeats its
/// failed writes at the other replica. Then the network lets the delayed writes through.
pub async fn late(users: usize, silence: Duration) -> Row {
    let cluster = Cluster::start(&[]).await;
    let (proxy, url) = Proxy::to(&cluster.url()).await;
    let silent = Process::start(&url, &[]).await;
    let other = Process::start(&cluster.url(), &[]).await;
    let (silent, other) = ((connect(silent.grpc), silent), (connect(other.grpc), other));
    // Opens the database connections of the worker that the client reaches.
    let _ = set_all(&silent.0, users, Availability::Busy).await;
    proxy.set(Network::Hung);
    let stopwatch = Instant::now();
    let failed = users - set_all(&silent.0, users, Availability::Busy).await;
    let acknowledged = set_all(&other.0, users, Availability::DoNotDisturb).await;
    sleep(silence.saturating_sub(stopwatch.elapsed())).await;
    proxy.set(Network::Up);
    sleep(SETTLED).await;
    let user_ids = (0..users).map(user_id).collect();
    let response = other
        .0
        .clone()
        .batch_get_presences(BatchGetPresencesRequest { user_ids, ..Default::default() })
        .await;
    let presences = response.unwrap().into_inner().presences;
    let undone =
        presences.iter().filter(|presence| presence.availability() != Availability::DoNotDisturb).count();
    Row {
        property: "acknowledged writes undone by older writes that failed and arrived late".to_owned(),
        tried: format!(
            "{failed} failed at one replica, {acknowledged} successful at the other; network hung for {silence:?}"
        ),
        figure: undone.to_string(),
        held: undone == 0 && failed > 0 && acknowledged == users,
    }
}

fn user_id(user: usize) -> String {
    format!("user-{user}")
}

/// Sets all users at once. Returns the number of acknowledged sets.
async fn set_all(client: &Client, users: usize, availability: Availability) -> usize {
    let activity = if availability == Availability::Busy { Activity::InACall } else { Activity::Presenting };
    let mut calls = JoinSet::new();
    for user in 0..users {
        let request = SetPresenceRequest {
            user_id: user_id(user),
            session_id: "app".to_owned(),
            availability: availability.into(),
            activity: activity.into(),
            expiration_duration: None,
            ..Default::default()
        };
        let mut client = client.clone();
        calls.spawn(async move { client.set_presence(request).await.is_ok() });
    }
    calls.join_all().await.into_iter().filter(|done| *done).count()
}
