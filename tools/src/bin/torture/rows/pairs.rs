//! A set at one replica, and a get at another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use presenced_tools::pb::{Activity, Availability, GetPresenceRequest, SetPresenceRequest};
use tokio::{task::JoinSet, time::sleep};

use super::{Client, Row, cluster::Cluster, connect};
use presenced_tools::process::Process;

const USERS: usize = 32;
/// The pause before a retry.
const RETRY_AFTER: Duration = Duration::from_millis(20);
const STATES: [(Availability, Activity); 3] = [
    (Availability::Busy, Activity::InACall),
    (Availability::Away, Activity::Away),
    (Availability::DoNotDisturb, Activity::Presenting),
];

/// Sets at one replica, and gets at the next one as soon as the set is acknowledged, `pairs` times.
pub async fn read_your_writes(replicas: usize, pairs: usize) -> Row {
    let cluster = Cluster::start(&[]).await;
    let mut processes = Vec::new();
    for _ in 0..replicas {
        processes.push(Process::start(&cluster.url(), &[]).await);
    }
    let left = Arc::new(AtomicUsize::new(pairs));
    let mut users = JoinSet::new();
    for user in 0..USERS {
        let clients = processes.iter().map(|process| connect(process.grpc)).collect();
        users.spawn(one_user(format!("user-{user}"), clients, Arc::clone(&left)));
    }
    let results = users.join_all().await;
    let [tried, stale, retries] = [0, 1, 2].map(|of| results.iter().map(|result| result[of]).sum::<usize>());
    Row {
        property: format!("reads that missed the set before them, {replicas} replica(s)"),
        tried: format!("{tried} sets, each followed by a get at the next one"),
        figure: format!("{stale} ({retries} retries)"),
        held: stale == 0,
    }
}

/// Runs the pairs of one user. Returns the numbers of sets, stale gets and retries.
async fn one_user(user_id: String, mut clients: Vec<Client>, left: Arc<AtomicUsize>) -> [usize; 3] {
    let [mut tried, mut stale, mut retries] = [0; 3];
    let replicas = clients.len();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let shown = STATES[tried % STATES.len()];
        let set = SetPresenceRequest {
            user_id: user_id.clone(),
            session_id: "app".to_owned(),
            availability: shown.0.into(),
            activity: shown.1.into(),
            expiration_duration: None,
            ..Default::default()
        };
        while clients[tried % replicas].set_presence(set.clone()).await.is_err() {
            retries += 1;
            sleep(RETRY_AFTER).await;
        }
        let get = GetPresenceRequest { user_id: user_id.clone(), ..Default::default() };
        let reader = &mut clients[(tried + 1) % replicas];
        let mut response = reader.get_presence(get.clone()).await;
        while response.is_err() {
            retries += 1;
            sleep(RETRY_AFTER).await;
            response = reader.get_presence(get.clone()).await;
        }
        let presence = response.unwrap().into_inner().presence.unwrap_or_default();
        stale += usize::from((presence.availability(), presence.activity()) != shown);
        tried += 1;
    }
    [tried, stale, retries]
}
