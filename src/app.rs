//! The composition root: it builds, starts and stops every part of the service.

use std::{future::poll_fn, io, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    admin::{self, Admin},
    auth::Authenticator,
    batch::{Batches, Limits},
    cleanup,
    clock::Clock,
    health::Health,
    sampler,
    server::{ClientFaults, Memory, Slots, Tls, accept, bind, connections_max, memory_limit},
    service::{Holds, ReplicaHealth, Streams},
    settings::{Settings, UnknownProperties},
    store::{Database, OpenError, Store},
    telemetry::{Api, Metrics, Traces},
    watch::{self, Hub, Sources},
    worker::{Parts, Worker},
};

/// The main runtime's connections to the database: for the health check, the cleanup and the sampler.
const OWN_CONNECTIONS: u32 = 3;

/// The main runtime's connections to the read replica, for the check that it is available.
const REPLICA_CONNECTIONS: u32 = 1;

/// The time for closing the main runtime's connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The reason why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are invalid together.
    #[error("{0}")]
    Settings(String),
    /// The database is unreachable or incompatible.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The system refused an address or a thread.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The addresses of a running service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The gRPC API.
    pub grpc: SocketAddr,
    /// The HTTP API.
    pub http: SocketAddr,
    /// The admin API: probes and metrics.
    pub admin: SocketAddr,
}

/// A running service.
#[derive(Debug)]
pub struct App {
    addresses: Addresses,
    database: Arc<Database>,
    /// The store of the main runtime.
    store: Arc<dyn Store>,
    health: Health,
    /// Checks the health; ends at `stop`.
    health_loop: JoinHandle<()>,
    /// Removes old sessions; ends at `stop`.
    cleanup: JoinHandle<()>,
    /// Samples the size of the history; ends at `stop`.
    sampler: JoinHandle<()>,
    /// Notifies watchers; ends at `stop`.
    hub: JoinHandle<()>,
    /// Serves the admin API until the end of a stop.
    admin: JoinHandle<()>,
    acceptors: JoinSet<()>,
    traces: Traces,
    workers: Vec<oneshot::Receiver<()>>,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// Connects to the database, through a pgbouncer if the settings say so.
pub async fn connect(settings: &Settings) -> Result<Database, OpenError> {
    let (url, postgres) = (settings.database_url.expose(), &settings.postgres);
    let database = match &postgres.database_direct_url {
        Some(direct_url) => Database::connect_through_pgbouncer(url, direct_url.expose()).await?,
        None => Database::connect(url).await?,
    };
    let database = database.with_connection_max_age(postgres.database_connection_max_age);
    Ok(database.with_history(!settings.history.is_zero()))
}

/// Connects to the database, migrates it unless the settings forbid that, and checks its
/// schema.
pub async fn open_database(settings: &Settings, clock: &Clock) -> Result<Arc<Database>, OpenError> {
    let database = connect(settings).await?.with_clock(clock.database_clock());
    if !settings.no_migrate {
        database.migrate().await?;
    }
    database.check().await?;
    Ok(Arc::new(database))
}

/// The limits of each batcher.
const fn limits(settings: &Settings) -> Limits {
    Limits {
        batch_max: settings.batch_max,
        queue_max: settings.queue_max,
        concurrent_statements: settings.concurrent_statements,
    }
}

/// The maximum number of connections to PostgreSQL that a replica with these settings
/// opens: those of the workers, of the main runtime and of the watch hub, the listener's, and that
/// of the check of all statements. With a pgbouncer, only the last two reach PostgreSQL directly.
#[must_use]
pub fn database_connections(settings: &Settings) -> u32 {
    if settings.postgres.database_direct_url.is_some() {
        return 2;
    }
    let workers = u32::try_from(settings.workers.number()).unwrap_or(u32::MAX);
    workers
        .saturating_mul(Batches::connections(limits(settings)))
        .saturating_add(OWN_CONNECTIONS + watch::CONNECTIONS + 2)
}

/// The read replica, if the settings name one. It may be unavailable at start.
fn read_replica(settings: &Settings) -> Result<Option<Arc<Database>>, OpenError> {
    let postgres = &settings.postgres;
    let Some(url) = &postgres.database_read_url else { return Ok(None) };
    let replica = Database::for_reads(url.expose(), postgres.postgres_pgbouncer)?;
    Ok(Some(Arc::new(replica.with_connection_max_age(postgres.database_connection_max_age))))
}

impl App {
    /// Starts the service. Once this returns, the service accepts requests.
    pub async fn start(settings: &Settings, clock: Clock) -> Result<Self, StartError> {
        let mut parts = Box::pin(parts(settings, clock)).await?;
        let grpc = bind("--grpc-addr", settings.grpc_addr)?;
        let http = bind("--http-addr", settings.http_addr)?;
        let admin = bind("--admin-addr", settings.admin_addr)?;
        let addresses =
            Addresses { grpc: grpc.local_addr()?, http: http.local_addr()?, admin: admin.local_addr()? };
        parts.grpc_addr = addresses.grpc;
        let Parts { database, replica, clock, metrics, traces, health, stop, abort, streams, memory, .. } =
            parts.clone();
        let workers =
            start_workers(if database.has_one_writer() { 1 } else { settings.workers.number() }, &parts)
                .await?;

        let store = database.open(OWN_CONNECTIONS);
        let health_loop =
            tokio::spawn(health.clone().watch(Arc::clone(&database), Arc::clone(&store), stop.clone()));
        let watched = database.open(watch::CONNECTIONS);
        let sources = Sources {
            store: Arc::clone(&watched),
            invalidations: database.invalidations(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let hub = tokio::spawn(watch::run(streams.hub, sources, stop.clone()));
        let cleanup = tokio::spawn(cleanup::run(
            Arc::clone(&store),
            clock.clone(),
            metrics.clone(),
            settings.retention,
            settings.history,
            stop.clone(),
        ));
        let sampler = tokio::spawn(sampler::run(Arc::clone(&store), metrics.clone(), stop.clone()));
        tokio::spawn({
            let (database, stop) = (Arc::clone(&database), stop.clone());
            async move { database.follow_shards(stop).await }
        });
        let replica = replica.map(|(replica, health)| {
            let store = replica.open(REPLICA_CONNECTIONS);
            // The task closes its connection when it ends, if the process lives long enough.
            tokio::spawn(health.watch(Arc::clone(&store), clock, stop.clone()));
            store
        });
        let stores = pools([Arc::clone(&store), watched], replica, &workers);
        let admin = tokio::spawn(admin::serve(
            Admin {
                health: health.clone(),
                metrics: metrics.clone(),
                database: Arc::clone(&database),
                stores: stores.into(),
                limits: settings.limits,
                memory,
            },
            admin,
        ));

        let listeners = [(Api::Grpc, grpc), (Api::Http, http)];
        let acceptors = accept_all(listeners, settings, &metrics, &workers, &stop);
        info!(
            grpc = %addresses.grpc,
            http = %addresses.http,
            admin = %addresses.admin,
            workers = workers.len(),
            "listening"
        );
        let workers = workers.into_iter().map(|worker| worker.ended).collect();
        Ok(Self {
            addresses,
            database,
            store,
            health,
            health_loop,
            cleanup,
            sampler,
            hub,
            admin,
            acceptors,
            traces,
            workers,
            stop,
            abort,
        })
    }

    /// The addresses, with the real port where the settings name port 0.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until a worker or the watch hub ends unexpectedly, and returns its name. The
    /// process can't continue without it.
    pub async fn task_ended(&mut self) -> String {
        poll_fn(|context| {
            let mut workers = self.workers.iter_mut();
            if let Some(index) = workers.position(|worker| Pin::new(worker).poll(context).is_ready()) {
                return Poll::Ready(worker_name(index));
            }
            Pin::new(&mut self.hub).poll(context).map(|_| "watch hub".to_owned())
        })
        .await
    }

    /// Stops the service: health turns to not ready, new connections are refused, and
    /// requests under way complete. Requests that are still under way after `drain_timeout`,
    /// or when `abort` resolves, are dropped. Returns whether all completed.
    pub async fn stop(mut self, drain_timeout: Duration, abort: impl Future<Output = ()>) -> bool {
        self.health.stop().await;
        self.stop.cancel();
        while self.acceptors.join_next().await.is_some() {}

        let drained = {
            let workers = async {
                for worker in &mut self.workers {
                    // An error means that the worker has ended, too.
                    let _ = worker.await;
                }
            };
            tokio::select! {
                drained = timeout(drain_timeout, workers) => drained.is_ok(),
                () = abort => false,
            }
        };
        self.abort.cancel();
        self.admin.abort();
        // A database that does not respond must not delay the exit.
        let close = async {
            // An error means that the task has ended, too.
            let _ = (&mut self.health_loop).await;
            let _ = (&mut self.cleanup).await;
            let _ = (&mut self.sampler).await;
            let _ = (&mut self.hub).await;
            self.store.close().await;
            self.database.close().await;
        };
        // Nor must a collector of traces.
        let _ = tokio::join!(timeout(CLOSE_TIMEOUT, close), self.traces.stop());
        if drained {
            info!("drained: all requests under way completed");
        } else {
            warn!("not drained: requests under way were dropped");
        }
        drained
    }
}

/// Builds the parts that all workers share. Invalid settings are reported before the
/// database is contacted.
async fn parts(settings: &Settings, clock: Clock) -> Result<Parts, StartError> {
    settings.check().map_err(StartError::Settings)?;
    let (stop, metrics) = (CancellationToken::new(), Metrics::new());
    let authenticator = Authenticator::start(&settings.auth, clock.clone(), &metrics, stop.clone()).await;
    let authenticator = authenticator.map_err(StartError::Settings)?;
    let tls = Tls::open(&settings.tls, &metrics, stop.clone()).map_err(StartError::Settings)?;
    if tls.is_none() && !settings.is_local() {
        warn!(
            "requests and tokens are unencrypted: give --tls-cert and --tls-key, unless a proxy encrypts them"
        );
    }
    let database = Box::pin(open_database(settings, &clock)).await?;
    info!(store = database.describe(), "database opened");
    let traces = match &settings.traces.otlp_endpoint {
        Some(endpoint) => {
            Traces::export(endpoint.as_str(), settings.traces.otlp_sample_ratio, database.system())
        }
        None => Ok(Traces::off()),
    };
    let replica = read_replica(settings)?;
    if let Some(replica) = &replica {
        info!(store = replica.describe(), "read replica configured");
    }
    let faults = |api| ClientFaults::new(Some(api), metrics.clients().of(api));
    let has_tenants = settings.auth.jwt_issuer.as_ref().is_some_and(|issuer| issuer.contains("{tenantid}"));
    let (users_max, tenant_max) =
        (settings.streams.watch_users_max, settings.streams.tenant_users_max(has_tenants));
    let hub = Hub::new(users_max, tenant_max, metrics.watch(), database.invalidation_switch());
    Ok(Parts {
        traces: traces.map_err(StartError::Settings)?,
        database,
        replica: replica.map(|replica| (replica, ReplicaHealth::new(metrics.replica()))),
        limits: limits(settings),
        client_limits: settings.limits,
        memory: Memory::new(memory_limit(settings.limits.memory_max_bytes)),
        faults: (faults(Api::Grpc), faults(Api::Http)),
        grpc_addr: settings.grpc_addr,
        authenticator,
        tls,
        reject_unknown: settings.unknown_properties == UnknownProperties::Reject,
        cors_origins: settings.auth.cors_origins.clone().into(),
        reflection: !settings.auth.no_reflection,
        clock,
        health: Health::new(metrics.clone()),
        streams: Streams {
            hub,
            holds: Holds::new(&settings.streams, metrics.hold_streams()),
            metrics: metrics.streams(),
            settings: settings.streams,
            stop: stop.clone(),
        },
        user_ids: settings.user_ids,
        metrics,
        stop,
        abort: CancellationToken::new(),
    })
}

/// All stores, each with the name of its pool in the metrics.
fn pools(
    main: [Arc<dyn Store>; 2],
    replica: Option<Arc<dyn Store>>,
    workers: &[Worker],
) -> Vec<(&'static str, Arc<dyn Store>)> {
    let replicas = workers.iter().filter_map(|worker| worker.stores.replica.clone());
    let workers = workers.iter().map(|worker| ("workers", Arc::clone(&worker.stores.primary)));
    let main = main.map(|store| ("main", store)).into_iter();
    main.chain(workers).chain(replica.into_iter().chain(replicas).map(|store| ("replica", store))).collect()
}

async fn start_workers(number: usize, parts: &Parts) -> io::Result<Vec<Worker>> {
    let mut workers = Vec::with_capacity(number);
    for index in 0..number {
        workers.push(Worker::start(worker_name(index), parts.clone()).await?);
    }
    Ok(workers)
}

fn worker_name(index: usize) -> String {
    format!("worker-{index}")
}

/// Accepts connections for the workers until `stop`.
fn accept_all(
    listeners: [(Api, TcpListener); 2],
    settings: &Settings,
    metrics: &Metrics,
    workers: &[Worker],
    stop: &CancellationToken,
) -> JoinSet<()> {
    let slots = connections_max(settings.limits.connections_max);
    let mut acceptors = JoinSet::new();
    for (api, listener) in listeners {
        let incoming = workers.iter().map(|worker| worker.incoming.clone()).collect();
        let slots = Slots::new(slots, metrics.clients().of(api));
        acceptors.spawn(accept(api, listener, slots, incoming, stop.clone()));
    }
    acceptors
}
