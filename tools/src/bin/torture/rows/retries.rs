//! Writes that were answered as failed, or not at all, and are sent again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use presenced_tools::{
    pb::{Activity, Availability, BatchGetPresencesRequest, SetPresenceRequest},
    process::Process,
    proxy::{Network, Proxy},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Client, Row,
    cluster::Cluster,
    connect,
    ledger::{Ledger, Writers},
};

/// Longer than it takes on any machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// By then what was on its way has arrived.
const SETTLED: Duration = Duration::from_secs(1);

/// How the network breaks, and for how long: at any moment of a statement, and for
/// longer than one may take. What it holds up it hands on before anything new.
const FAULTS: [(Network, Duration); 5] = [
    (Network::Reset, Duration::from_millis(50)),
    (Network::Cut, Duration::from_millis(300)),
    (Network::Hung, Duration::from_millis(700)),
    (Network::Slow(Duration::from_millis(700)), Duration::from_millis(2_500)),
    (Network::Hung, Duration::from_millis(2_200)),
];

/// Breaks the network between the service and its database under writers, until so many
/// writes have been done by another sending.
pub async fn sent_again(retries: usize) -> Row {
    let cluster = Cluster::start(&[]).await;
    let (proxy, url) = Proxy::to(&cluster.url()).await;
    let process = Process::start(&url, &[]).await;
    let ledger = Arc::new(Ledger::default());
    let mut lost = 0;
    let mut faults = FAULTS.iter().cycle().enumerate();
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
        sleep(SETTLED).await;
        lost += ledger.lost(process.grpc).await;
    }
    Row {
        property: "writes answered as failed that did not do what they asked for when sent again".to_owned(),
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

/// One of two replicas is cut off from the database in silence, and what it could not do
/// is done by the other one; then what was on its way arrives.
pub async fn late(users: usize, silence: Duration) -> Row {
    let cluster = Cluster::start(&[]).await;
    let (proxy, url) = Proxy::to(&cluster.url()).await;
    let silent = Process::start(&url, &[]).await;
    let other = Process::start(&cluster.url(), &[]).await;
    let (silent, other) = ((connect(silent.grpc), silent), (connect(other.grpc), other));
    // Its connections to the database are open, those of the worker that is called.
    let _ = set_all(&silent.0, users, Availability::Busy).await;
    proxy.set(Network::Hung);
    let stopwatch = Instant::now();
    let failed = users - set_all(&silent.0, users, Availability::Busy).await;
    let acknowledged = set_all(&other.0, users, Availability::DoNotDisturb).await;
    sleep(silence.saturating_sub(stopwatch.elapsed())).await;
    proxy.set(Network::Up);
    sleep(SETTLED).await;
    let user_ids = (0..users).map(user_id).collect();
    let answer = other.0.clone().batch_get_presences(BatchGetPresencesRequest { user_ids }).await;
    let presences = answer.unwrap().into_inner().presences;
    let undone =
        presences.iter().filter(|presence| presence.availability() != Availability::DoNotDisturb).count();
    Row {
        property: "acknowledged writes undone by older ones, which had failed and arrived late".to_owned(),
        tried: format!(
            "{failed} failed at one replica, {acknowledged} done by the other; {silence:?} of silence"
        ),
        figure: undone.to_string(),
        held: undone == 0 && failed > 0 && acknowledged == users,
    }
}

fn user_id(user: usize) -> String {
    format!("user-{user}")
}

/// Sets all at once; how many were acknowledged.
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
        };
        let mut client = client.clone();
        calls.spawn(async move { client.set_presence(request).await.is_ok() });
    }
    calls.join_all().await.into_iter().filter(|done| *done).count()
}
