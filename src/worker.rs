//! A worker: a thread with its own single-threaded runtime. It owns everything that a
//! request uses, from the client's connection to the database connection. Workers share
//! nothing, so a response never wakes another thread.

use std::{io, net::SocketAddr, sync::Arc, thread};

use tokio::{
    net::TcpStream,
    runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    auth::Authenticator,
    batch::{Batches, Limits, Reads},
    clock::Clock,
    graph, grpc,
    health::Health,
    notify::ServiceKeys,
    server::{ClientFaults, Connections, Hosts, Incoming, Memory, Protocol, Tls},
    service::{InputSettings, Replica, ReplicaHealth, Service, Streams, Subscriptions},
    settings::LimitSettings,
    store::{Database, Store},
    telemetry::{Api, Metrics, Traces},
};

/// The accepted connections that may wait for a worker.
const INCOMING_MAX: usize = 128;

/// The parts that all workers share.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The database.
    pub database: Arc<Database>,
    /// The read replica, if there is one.
    pub replica: Option<(Arc<Database>, ReplicaHealth)>,
    /// The limits of each batcher.
    pub limits: Limits,
    /// The limits of one client.
    pub client_limits: LimitSettings,
    /// The memory of all clients.
    pub memory: Memory,
    /// Counts and logs what the clients of the gRPC API and of the HTTP API do wrong.
    pub faults: (ClientFaults, ClientFaults),
    /// The address of the gRPC API.
    pub grpc_addr: SocketAddr,
    /// Authenticates callers.
    pub authenticator: Authenticator,
    /// The TLS of the gRPC API and of the HTTP API; none if they are unencrypted.
    pub tls: Option<(Tls, Tls)>,
    /// Whether the HTTP API refuses unknown properties and query options.
    pub reject_unknown: bool,
    /// Origins whose pages may call the HTTP API.
    pub cors_origins: Arc<[String]>,
    /// The hosts that requests to the HTTP API may name.
    pub hosts: Hosts,
    /// Whether clients may read descriptions of the API without authentication.
    pub reflection: bool,
    /// The clock.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    /// The exporter of traces.
    pub traces: Traces,
    /// The health, for the gRPC health service.
    pub health: Health,
    /// The parts that streams share.
    pub streams: Streams,
    /// What the settings say about valid input.
    pub input: InputSettings,
    /// What the operations on subscriptions share.
    pub subscriptions: Subscriptions,
    /// The keys that sign tokens in notifications.
    pub service_keys: ServiceKeys,
    /// Ends the worker when all requests under way have completed.
    pub stop: CancellationToken,
    /// Ends the worker at once.
    pub abort: CancellationToken,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Sends connections to the worker. The worker ends after all senders have been dropped.
    pub incoming: mpsc::Sender<Incoming>,
    /// Its stores. They belong to the worker's runtime: other threads may only read their state.
    pub stores: Stores,
    /// Its operations, which are there to be supervised.
    pub service: Arc<Service>,
    /// Resolves when the worker has ended.
    pub ended: oneshot::Receiver<()>,
}

/// The stores of a worker.
#[derive(Clone, Debug)]
pub struct Stores {
    /// The store on the database.
    pub primary: Arc<dyn Store>,
    /// The store on the read replica, if there is one.
    pub replica: Option<Arc<dyn Store>>,
}

impl Stores {
    async fn close(&self) {
        self.primary.close().await;
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
    }
}

impl Worker {
    /// Starts a worker. Fails if the system refuses a thread or a runtime.
    pub async fn start(name: String, parts: Parts) -> io::Result<Self> {
        let (incoming, sockets) = mpsc::channel(INCOMING_MAX);
        let (started, start) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name(name.clone()).spawn(move || {
            let abort = parts.abort.clone();
            runtime.block_on(abort.run_until_cancelled(run(parts, sockets, started)));
            drop(runtime);
            // The receiver may have been dropped.
            let _ = end.send(());
        })?;
        let (stores, service) = start.await.map_err(io::Error::other)??;
        Ok(Self { name, incoming, stores, service, ended })
    }
}

/// Reports the result of the start, then serves until all senders of `sockets` have been
/// dropped and all requests under way have completed.
async fn run(
    parts: Parts,
    mut sockets: mpsc::Receiver<Incoming>,
    started: oneshot::Sender<io::Result<(Stores, Arc<Service>)>>,
) {
    let (stores, service, apis) = match open(&parts) {
        Ok(opened) => opened,
        Err(error) => return drop(started.send(Err(error))),
    };
    drop(started.send(Ok((stores.clone(), service))));

    let connections = TaskTracker::new();
    while let Some(Incoming { api, stream, slot }) = sockets.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                let (metrics, apis) = (parts.metrics.clone(), apis.clone());
                connections.spawn(async move {
                    let timed_out = match api {
                        Api::Grpc => apis.grpc.serve(stream).await,
                        Api::Http => apis.graph.serve(stream).await,
                    };
                    if let Some(timed_out) = timed_out {
                        metrics.clients().connection_timed_out(api, timed_out.as_str());
                    }
                    drop(slot);
                });
            }
            Err(error) => warn!(%error, "connection lost on its way to the worker"),
        }
    }
    connections.close();
    connections.wait().await;
    stores.close().await;
}

#[derive(Clone)]
struct Apis {
    grpc: Connections<grpc::GrpcApi>,
    graph: Connections<graph::HttpApi>,
}

/// Opens the store on this runtime, and builds the APIs on it.
fn open(parts: &Parts) -> io::Result<(Stores, Arc<Service>, Apis)> {
    let Parts { database, limits, clock, metrics, .. } = parts;
    let primary = database.open(Batches::connections(*limits));
    let batches = Batches::start(&primary, clock, metrics, *limits);
    let (replica, reads) = parts
        .replica
        .as_ref()
        .map(|(database, health)| {
            let store = database.open(Reads::connections(*limits));
            let reads = Reads::start_on_replica(&store, clock, metrics, *limits);
            (store, Replica { reads, health: health.clone() })
        })
        .unzip();
    let service = Arc::new(Service::new(
        batches,
        reads,
        clock.clone(),
        parts.streams.clone(),
        parts.input,
        parts.subscriptions.clone(),
    ));
    let grpc = grpc::GrpcState {
        service: Arc::clone(&service),
        authenticator: parts.authenticator.clone(),
        metrics: metrics.clone(),
        traces: parts.traces.clone(),
        limits: parts.client_limits,
        reflection: parts.reflection,
    };
    let grpc = grpc::GrpcApi::new(grpc, parts.health.serving()).map_err(io::Error::other)?;
    let graph = graph::HttpState {
        service: Arc::clone(&service),
        authenticator: parts.authenticator.clone(),
        web: grpc::Web::new(grpc.clone(), parts.grpc_addr),
        clock: clock.clone(),
        metrics: metrics.clone(),
        traces: parts.traces.clone(),
        limits: parts.client_limits,
        encrypted: parts.tls.is_some(),
        reject_unknown: parts.reject_unknown,
        cors_origins: Arc::clone(&parts.cors_origins),
        hosts: parts.hosts.clone(),
        service_keys: parts.service_keys.clone(),
    };
    let graph = graph::HttpApi::new(graph, parts.reflection).map_err(io::Error::other)?;
    let (grpc_tls, http_tls) = parts.tls.clone().unzip();
    let (grpc_faults, http_faults) = parts.faults.clone();
    let grpc = Connections {
        protocol: Protocol::Http2,
        service: grpc,
        refuse: grpc::GrpcApi::refuse,
        limits: parts.client_limits,
        memory: parts.memory.clone(),
        faults: grpc_faults,
        tls: grpc_tls,
        stop: parts.stop.clone(),
    };
    let graph = Connections {
        protocol: Protocol::Http1Or2,
        service: graph,
        refuse: graph::HttpApi::refuse,
        limits: parts.client_limits,
        memory: parts.memory.clone(),
        faults: http_faults,
        tls: http_tls,
        stop: parts.stop.clone(),
    };
    Ok((Stores { primary, replica }, service, Apis { grpc, graph }))
}
