//! Replicas that are replaced one after the other, under callers with gRPC's retry policy.

use std::{
    collections::BTreeMap,
    error::Error as _,
    net::SocketAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use presenced_tools::pb::{Activity, Availability, GetPresenceRequest, SetPresenceRequest};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};
use tonic::{Code, Status};

use super::{Client, Row, cluster::Cluster, connect};
use presenced_tools::process::Process;

const REPLICAS: usize = 3;
const CALLERS: usize = 64;
/// A caller's pause after a response.
const PACE: Duration = Duration::from_millis(10);
/// The retry policy of a gRPC service config: five attempts, and a random part of a backoff
/// that starts at 100 ms and doubles up to 1 s.
const ATTEMPTS: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The time between two stops with all replicas running.
const PAUSE: Duration = Duration::from_millis(500);

/// The addresses that name resolution returns; one changes with each restart.
type Addresses = Arc<RwLock<Vec<SocketAddr>>>;

/// Replaces each of three replicas, `rounds` times.
pub async fn restart(rounds: usize) -> Row {
    let cluster = Cluster::start(&[]).await;
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(Process::start(&cluster.url(), &[]).await);
    }
    let addresses: Addresses = Arc::new(RwLock::new(replicas.iter().map(|replica| replica.grpc).collect()));
    let (over, mut callers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for caller in 0..CALLERS {
        callers.spawn(call(caller, Arc::clone(&addresses), Arc::clone(&over)));
    }
    let (mut drains, mut unclean) = (Vec::new(), 0);
    for turn in 0..rounds * REPLICAS {
        sleep(PAUSE).await;
        let mut old = replicas.remove(0);
        let stopwatch = Instant::now();
        old.signal("TERM");
        let (code, log) = spawn_blocking(move || old.wait()).await.unwrap();
        drains.push(stopwatch.elapsed());
        if code != Some(0) {
            unclean += 1;
            println!("replica {turn} ended with {code:?}: {log}");
        }
        let new = Process::start(&cluster.url(), &[]).await;
        addresses.write().unwrap()[turn % REPLICAS] = new.grpc;
        replicas.push(new);
    }
    over.store(true, Ordering::Relaxed);
    let mut all = Called::default();
    for called in callers.join_all().await {
        all.calls += called.calls;
        all.failed += called.failed;
        for (why, times) in called.retried {
            *all.retried.entry(why).or_default() += times;
        }
    }
    drains.sort_unstable();
    Row {
        property: "calls that failed while replicas were replaced, with gRPC's retry policy".to_owned(),
        tried: format!("{} restarts of {REPLICAS} replicas, {} calls", drains.len(), all.calls),
        figure: format!(
            "{} failed, retried {:?}; drained in {:.3?} to {:.3?}, {unclean} not cleanly",
            all.failed,
            all.retried,
            drains[0],
            drains[drains.len() - 1]
        ),
        held: all.failed == 0 && unclean == 0,
    }
}

/// The calls of one caller.
#[derive(Default)]
struct Called {
    calls: usize,
    failed: usize,
    /// The number of retries by reason.
    retried: BTreeMap<String, usize>,
}

async fn call(caller: usize, addresses: Addresses, over: Arc<AtomicBool>) -> Called {
    let (mut done, mut connections) = (Called::default(), BTreeMap::new());
    let mut replica = caller;
    while !over.load(Ordering::Relaxed) {
        done.calls += 1;
        for attempt in 1..=ATTEMPTS {
            // The next address in turn, like gRPC's round_robin.
            replica += 1;
            let address = addresses.read().unwrap()[replica % REPLICAS];
            let client = connections.entry(address).or_insert_with(|| connect(address));
            let Err(status) = one(client, caller, done.calls).await else { break };
            let why =
                format!("{:?}{}", status.code(), if is_of_transport(&status) { " (transport)" } else { "" });
            if attempt == ATTEMPTS || !is_retried(&status) {
                println!("failed after {attempt} attempts: {status:?}");
                done.failed += 1;
                break;
            }
            *done.retried.entry(why).or_default() += 1;
            let longest = (BACKOFF * 2_u32.pow(attempt - 1)).min(BACKOFF_MAX);
            sleep(longest.mul_f64(fastrand::f64())).await;
        }
        sleep(PACE).await;
    }
    done
}

async fn one(client: &mut Client, caller: usize, call: usize) -> Result<(), Status> {
    let user_id = format!("user-{caller}");
    if call.is_multiple_of(2) {
        return client.get_presence(GetPresenceRequest { user_id, ..Default::default() }).await.map(drop);
    }
    let request = SetPresenceRequest {
        user_id,
        session_id: "app".to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        expiration_duration: None,
        ..Default::default()
    };
    client.set_presence(request).await.map(drop)
}

/// Whether a service config retries this status. For a lost connection, tonic's client reports
/// other codes than gRPC's own clients, which report UNAVAILABLE.
fn is_retried(status: &Status) -> bool {
    status.code() == Code::Unavailable || is_of_transport(status)
}

/// Whether the status comes from the client's own transport and not from a response.
fn is_of_transport(status: &Status) -> bool {
    status.source().is_some()
}
