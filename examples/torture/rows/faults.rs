//! A database that is slow, silent, away, full, or takes no writes.
//!
//! Each fault lasts for some seconds under more callers than the queues hold. All of
//! them must be answered in time and with the right code, the memory must not grow
//! with them, and the service must work again by itself.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use presenced::{
    clock::Stopwatch,
    grpc::pb::{Activity, Availability, GetPresenceRequest, SetPresenceRequest},
};
use sqlx::PgConnection;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Code;

use super::{
    Client, Row,
    cluster::{Cluster, own},
    connect,
};
use crate::support::{
    process::Process,
    proxy::{Network, Proxy},
};

/// Within this everybody is answered, a busy machine's delay included.
const ANSWERED_WITHIN: Duration = Duration::from_millis(3_500);
/// Within this a write succeeds again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// What a fault may add to the memory, in MiB: full queues and open connections.
const MEMORY: u64 = 100;
/// Callers that share a connection.
const CALLERS_OF_A_CONNECTION: usize = 200;
/// How long a caller that was refused waits.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// For how long a fault is tried again and again to be had, or a service to be back.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub callers: usize,
    pub lasts: Duration,
}

/// What may be answered while it lasts, beside RESOURCE_EXHAUSTED and UNAVAILABLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fails {
    /// Nothing is done.
    Everything,
    /// Reads go on.
    Writes,
    /// Some things may be done.
    Something,
}

/// All faults of the network.
pub async fn network(load: Load) -> Vec<Row> {
    let cluster = Cluster::start(&[]).await;
    let faults = [
        ("2 s slow", Network::Slow(Duration::from_secs(2)), Fails::Everything),
        ("hung: accepts, and never answers", Network::Hung, Fails::Everything),
        ("cut off", Network::Cut, Fails::Everything),
        ("reset", Network::Reset, Fails::Everything),
        ("sent byte by byte", Network::Trickle, Fails::Something),
    ];
    let mut rows = Vec::new();
    for (name, network, fails) in faults {
        let (proxy, url) = Proxy::to(&cluster.url()).await;
        let bench = Bench::start(name, &url, load).await;
        proxy.set(network);
        let felt = bench.suffer().await;
        proxy.set(Network::Up);
        rows.push(bench.recover(felt, fails).await);
    }
    rows
}
