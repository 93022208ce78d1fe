//! The composition root: the only place that knows every part.

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
    server::{Slots, Tls, accept, bind, connections_max},
    service::{ReplicaHealth, Streams},
    settings::Settings,
    store::{Database, OpenError, Store},
    telemetry::{Api, Metrics, Traces},
    watch::{self, Hub, Sources},
    worker::{Parts, Worker},
};

/// The connections that the main runtime keeps for itself, for health and the
/// cleanup.
const OWN_CONNECTIONS: u32 = 2;

/// Its connections to the read replica, to ask whether it answers.
const REPLICA_CONNECTIONS: u32 = 1;

/// How long closing the main runtime's own connections may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings do not go together.
    #[error("{0}")]
    Settings(String),
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The system gives us no address to listen on, or no thread.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Where the service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// gRPC.
    pub grpc: SocketAddr,
    /// Graph's HTTP/JSON.
    pub http: SocketAddr,
    /// Probes and metrics.
    pub admin: SocketAddr,
}

/// The service, running.
#[derive(Debug)]
pub struct App {
    addresses: Addresses,
    database: Arc<Database>,
    /// The main runtime's own.
    store: Arc<dyn Store>,
    health: Health,
    /// Asks the store; ends at `stop`.
    health_loop: JoinHandle<()>,
    /// Removes what ended long ago; ends at `stop`.
    cleanup: JoinHandle<()>,
    /// Tells those who watch; ends at `stop`.
    hub: JoinHandle<()>,
    /// the admin listener, which answers until the end.
    admin: JoinHandle<()>,
    acceptors: JoinSet<()>,
    traces: Traces,
    workers: Vec<oneshot::Receiver<()>>,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// Connects to the database, the way that the settings say.
pub async fn connect(settings: &Settings) -> Result<Database, OpenError> {
    let (url, postgres) = (settings.database_url.expose(), &settings.postgres);
    let database = match &postgres.database_direct_url {
        Some(direct_url) => Database::connect_through_pgbouncer(url, direct_url.expose()).await?,
        None => Database::connect(url).await?,
    };
    Ok(database.with_connection_max_age(postgres.database_connection_max_age))
}

/// Connects to the database and makes sure that its schema can be used.
pub async fn open_database(settings: &Settings) -> Result<Arc<Database>, OpenError> {
    let database = connect(settings).await?;
    if !settings.no_migrate {
        database.migrate().await?;
    }
    database.check().await?;
    Ok(Arc::new(database))
}

/// How much each batcher takes on.
const fn limits(settings: &Settings) -> Limits {
    Limits {
        batch_max: settings.batch_max,
        queue_max: settings.queue_max,
        concurrent_statements: settings.concurrent_statements,
    }
}

/// The most connections to PostgreSQL that a replica with these settings opens: its
/// workers', its own, and the watch hub's, one of which listens. Past a pgbouncer there is
/// that one, and when it starts, one that migrates.
#[must_use]
pub fn database_connections(settings: &Settings) -> u32 {
    if settings.postgres.database_direct_url.is_some() {
        return 2;
    }
    let workers = u32::try_from(settings.workers.number()).unwrap_or(u32::MAX);
    workers
        .saturating_mul(Batches::connections(limits(settings)))
        .saturating_add(OWN_CONNECTIONS + watch::CONNECTIONS + 1)
}

/// The read replica, if there is one. It need not be there yet.
fn read_replica(settings: &Settings) -> Result<Option<Arc<Database>>, OpenError> {
    let postgres = &settings.postgres;
    let Some(url) = &postgres.database_read_url else { return Ok(None) };
    let replica = Database::for_reads(url.expose(), postgres.postgres_pgbouncer)?;
    Ok(Some(Arc::new(replica.with_connection_max_age(postgres.database_connection_max_age))))
}

impl App {
    /// Starts everything; it serves once this returns.
    pub async fn start(settings: &Settings, clock: Clock) -> Result<Self, StartError> {
        let parts = parts(settings, clock).await?;
        let grpc = bind("--grpc-addr", settings.grpc_addr)?;
        let http = bind("--http-addr", settings.http_addr)?;
        let admin = bind("--admin-addr", settings.admin_addr)?;
        let addresses =
            Addresses { grpc: grpc.local_addr()?, http: http.local_addr()?, admin: admin.local_addr()? };
        let Parts { database, replica, clock, metrics, traces, health, stop, abort, streams, .. } =
            parts.clone();
        let workers =
            start_workers(if database.has_one_writer() { 1 } else { settings.workers.number() }, &parts)
                .await?;

        let store = database.open(OWN_CONNECTIONS);
        let health_loop = tokio::spawn(health.clone().watch(
            Arc::clone(&database),
            Arc::clone(&store),
            clock.clone(),
            stop.clone(),
        ));
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
            stop.clone(),
        ));
        let replica = replica.map(|(replica, health)| {
            let store = replica.open(REPLICA_CONNECTIONS);
            // It closes its connection by itself, if there is time.
            tokio::spawn(health.watch(Arc::clone(&store), clock, stop.clone()));
            store
        });
        let stores = pools([Arc::clone(&store), watched], replica, &workers);
        let admin = tokio::spawn(admin::serve(
            Admin {
                health: health.clone(),
                metrics: metrics.clone(),
                stores: stores.into(),
                limits: settings.limits,
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
            hub,
            admin,
            acceptors,
            traces,
            workers,
            stop,
            abort,
        })
    }

    /// Where it listens; a port that was 0 is known now.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Resolves when a worker, or the hub, has ended by itself, which is a fault: the
    /// process can't serve what it served.
    pub async fn part_ended(&mut self) {
        poll_fn(|context| {
            let worker_ended =
                self.workers.iter_mut().any(|worker| Pin::new(worker).poll(context).is_ready());
            let ended = worker_ended || Pin::new(&mut self.hub).poll(context).is_ready();
            if ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Stops: not ready, then no new connections, then waits until the requests
    /// under way are answered, for `drain_timeout` at most or until `hurry`.
    /// Says whether they were.
    pub async fn stop(mut self, drain_timeout: Duration, hurry: impl Future<Output = ()>) -> bool {
        self.health.stop().await;
        self.stop.cancel();
        while self.acceptors.join_next().await.is_some() {}

        let drained = {
            let workers = async {
                for worker in &mut self.workers {
                    // An error, too, says that it has ended.
                    let _ = worker.await;
                }
            };
            tokio::select! {
                drained = timeout(drain_timeout, workers) => drained.is_ok(),
                () = hurry => false,
            }
        };
        self.abort.cancel();
        self.admin.abort();
        // A database that hangs must not hold up the end.
        let close = async {
            // An error says that it has ended, too.
            let _ = (&mut self.health_loop).await;
            let _ = (&mut self.cleanup).await;
            let _ = (&mut self.hub).await;
            self.store.close().await;
            self.database.close().await;
        };
        // Nor must a collector.
        let _ = tokio::join!(timeout(CLOSE_TIMEOUT, close), self.traces.stop());
        if drained {
            info!("drained: every request under way was answered");
        } else {
            warn!("not drained: requests under way were dropped");
        }
        drained
    }
}

/// What all workers are made of. What is wrong with the settings shows before the
/// database is asked.
async fn parts(settings: &Settings, clock: Clock) -> Result<Parts, StartError> {
    settings.check().map_err(StartError::Settings)?;
    let (stop, metrics) = (CancellationToken::new(), Metrics::new());
    let authenticator = Authenticator::start(&settings.auth, clock.clone(), &metrics, stop.clone()).await;
    let authenticator = authenticator.map_err(StartError::Settings)?;
    let tls = Tls::open(&settings.tls, &metrics, stop.clone()).map_err(StartError::Settings)?;
    if tls.is_none() && !settings.is_local() {
        warn!("calls and tokens travel unencrypted: give --tls-cert and --tls-key, or see to it otherwise");
    }
    let database = open_database(settings).await?;
    info!(store = database.describe(), "store");
    let traces = match &settings.traces.otlp_endpoint.0 {
        Some(endpoint) => Traces::export(endpoint, settings.traces.otlp_sample_ratio, database.system()),
        None => Ok(Traces::off()),
    };
    let replica = read_replica(settings)?;
    if let Some(replica) = &replica {
        info!(store = replica.describe(), "read replica");
    }
    Ok(Parts {
        traces: traces.map_err(StartError::Settings)?,
        database,
        replica: replica.map(|replica| (replica, ReplicaHealth::new(metrics.replica()))),
        limits: limits(settings),
        client_limits: settings.limits,
        authenticator,
        tls,
        cors_origins: settings.auth.cors_origins.clone().into(),
        reflection: !settings.auth.no_reflection,
        clock,
        health: Health::new(metrics.clone()).await,
        streams: Streams {
            hub: Hub::new(settings.streams.watch_users_max, metrics.watch()),
            held: metrics.hold_streams(),
            settings: settings.streams,
            stop: stop.clone(),
        },
        metrics,
        stop,
        abort: CancellationToken::new(),
    })
}

/// All stores, by whose they are.
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
        workers.push(Worker::start(format!("worker-{index}"), parts.clone()).await?);
    }
    Ok(workers)
}

/// Takes connections in for the workers until `stop`.
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
        let slots = Slots::new(slots, metrics.connections(api));
        acceptors.spawn(accept(api, listener, slots, incoming, stop.clone()));
    }
    acceptors
}
