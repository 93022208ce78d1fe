//! The composition root: it builds, starts and stops every part of the service.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    admin::Admin,
    auth::{Authenticator, KeptCurrent},
    batch::{Batches, Limits},
    clock::Clock,
    deliver,
    health::Health,
    notify::{ReceiverSettings, Receivers, ServiceKeys},
    server::{CertificateReader, ClientFaults, Hosts, Memory, Tls, bind, memory_limit},
    service::{Holds, InputSettings, ReplicaHealth, Streams, Subscriptions},
    settings::{Settings, SubscriptionSettings, UnknownProperties},
    store::{Database, OpenError, Store},
    tasks::{self, ADMIN, Background, EndedTask, Handles, Tasks},
    telemetry::{Api, Metrics, Traces},
    watch::{self, Hub},
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

/// How a stop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Every response was sent completely.
    Complete,
    /// Requests were still under way at the end of the drain timeout: their clients were too slow, or
    /// the database was.
    TimedOut,
    /// The stop was interrupted.
    Interrupted,
}

/// A running service.
#[derive(Debug)]
pub struct App {
    addresses: Addresses,
    database: Arc<Database>,
    /// The store of the main runtime.
    store: Arc<dyn Store>,
    health: Health,
    metrics: Metrics,
    tasks: Tasks,
    handles: Handles,
    traces: Traces,
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
        .saturating_add(OWN_CONNECTIONS + watch::CONNECTIONS + deliver::CONNECTIONS + 2)
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
        let (mut parts, auth, certificates) = Box::pin(parts(settings, clock)).await?;
        let grpc = bind("--grpc-addr", settings.grpc_addr)?;
        let http = bind("--http-addr", settings.http_addr)?;
        let admin = bind("--admin-addr", settings.admin_addr)?;
        let addresses =
            Addresses { grpc: grpc.local_addr()?, http: http.local_addr()?, admin: admin.local_addr()? };
        parts.grpc_addr = addresses.grpc;
        let Parts { database, metrics, traces, health, stop, abort, memory, .. } = parts.clone();
        let workers =
            start_workers(if database.has_one_writer() { 1 } else { settings.workers.number() }, &parts)
                .await?;
        let number = workers.len();

        let (store, watched) = (database.open(OWN_CONNECTIONS), database.open(watch::CONNECTIONS));
        let replica = parts.replica.as_ref().map(|(replica, _)| replica.open(REPLICA_CONNECTIONS));
        let stores = pools([Arc::clone(&store), Arc::clone(&watched)], replica.clone(), &workers);
        let admin_api = Admin {
            health: health.clone(),
            metrics: metrics.clone(),
            database: Arc::clone(&database),
            stores: stores.into(),
            limits: settings.limits,
            memory,
            hosts: Hosts::of_admin(settings),
        };
        let background = Background {
            store: Arc::clone(&store),
            watched,
            replica,
            auth,
            certificates,
            admin: (admin_api, admin),
            listeners: [(Api::Grpc, grpc), (Api::Http, http)],
            workers,
            deliverer: start_deliverer(settings, &parts)?,
        };
        let tasks = Tasks::new(stop.clone());
        let handles = tasks::start(&tasks, settings, &parts, background);
        info!(
            grpc = %addresses.grpc,
            http = %addresses.http,
            admin = %addresses.admin,
            workers = number,
            "listening"
        );
        Ok(Self { addresses, database, store, health, metrics, tasks, handles, traces, stop, abort })
    }

    /// The addresses, with the real port where the settings name port 0.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The background tasks.
    #[must_use]
    pub const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Waits until a background task ends unexpectedly. The service is broken without it.
    pub async fn task_ended(&self) -> EndedTask {
        self.tasks.ended().await
    }

    /// Stops the service: health turns to not ready, new connections are refused, and
    /// requests under way complete. Requests that are still under way after `drain_timeout`,
    /// or when `abort` resolves, are cut, and counted in the log and the metrics.
    pub async fn stop(self, drain_timeout: Duration, abort: impl Future<Output = ()>) -> Drain {
        self.health.stop().await;
        self.stop.cancel();
        let Handles { acceptors, workers, store_users } = self.handles;
        join_all(acceptors).await;

        let drain = tokio::select! {
            drained = timeout(drain_timeout, join_all(workers)) => match drained {
                Ok(_) => Drain::Complete,
                Err(_) => Drain::TimedOut,
            },
            () = abort => Drain::Interrupted,
        };
        let cut = if drain == Drain::Complete { 0 } else { self.metrics.clients().cut_requests() };
        self.abort.cancel();
        self.tasks.end(ADMIN);
        // A database that does not respond must not delay the exit.
        let close = async {
            join_all(store_users).await;
            self.store.close().await;
            self.database.close().await;
        };
        // Nor must a collector of traces.
        let _ = tokio::join!(timeout(CLOSE_TIMEOUT, close), self.traces.stop());
        match drain {
            Drain::Complete => info!("drained: every response was sent completely"),
            Drain::TimedOut | Drain::Interrupted => {
                warn!(requests = cut, "not drained: requests under way were cut");
            }
        }
        drain
    }
}

/// Builds the parts that all workers share, and what keeps them current. Invalid settings are reported
/// before the database is contacted.
async fn parts(
    settings: &Settings,
    clock: Clock,
) -> Result<(Parts, KeptCurrent, Option<CertificateReader>), StartError> {
    settings.check().map_err(StartError::Settings)?;
    let (stop, metrics) = (CancellationToken::new(), Metrics::new());
    let authenticator = Authenticator::open(&settings.auth, clock.clone(), &metrics).await;
    let (authenticator, kept_current) = authenticator.map_err(StartError::Settings)?;
    let tls = Tls::open(&settings.tls, &metrics).map_err(StartError::Settings)?;
    let (tls, certificates) = tls.map(|(grpc, http, reader)| ((grpc, http), reader)).unzip();
    if tls.is_none() && !settings.is_local() {
        warn!(
            "requests and tokens are unencrypted: give --tls-cert and --tls-key, unless a proxy encrypts them"
        );
    }
    let database = Box::pin(open_database(settings, &clock)).await?;
    info!(store = database.describe(), "database opened");
    let traces = match &settings.traces.otlp_endpoint {
        Some(endpoint) => {
            Traces::export(endpoint.expose(), settings.traces.otlp_sample_ratio, database.system())
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
    let receivers = receivers(settings).map_err(StartError::Settings)?;
    let mut subscriptions = Subscriptions::new(receivers, &settings.subscriptions);
    // A replica that takes a subscription over finds what changed in the ended sessions.
    subscriptions.limits.age_max = subscriptions.limits.age_max.min(settings.retention);
    let parts = Parts {
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
        hosts: Hosts::of_http(settings),
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
        subscriptions,
        service_keys: ServiceKeys::default(),
        input: InputSettings { user_ids: settings.user_ids, session_min: settings.session_min },
        metrics,
        stop,
        abort: CancellationToken::new(),
    };
    Ok((parts, kept_current, certificates))
}

/// A client for receivers of notifications. The error names the invalid setting.
fn receivers(settings: &Settings) -> Result<Receivers, String> {
    let SubscriptionSettings { subscription_allow, subscription_ca, .. } = &settings.subscriptions;
    Receivers::new(&ReceiverSettings {
        allowed: subscription_allow.clone(),
        extra_roots: subscription_ca.clone(),
        ..ReceiverSettings::default()
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

fn start_deliverer(settings: &Settings, parts: &Parts) -> Result<oneshot::Receiver<()>, StartError> {
    let deliverer = deliver::Parts {
        database: Arc::clone(&parts.database),
        hub: parts.streams.hub.clone(),
        // Its connections belong to the deliverer's runtime.
        receivers: receivers(settings).map_err(StartError::Settings)?,
        keys: parts.service_keys.clone(),
        created: Arc::clone(&parts.subscriptions.created),
        clock: parts.clock.clone(),
        metrics: parts.metrics.clone(),
        lease: settings.subscriptions.lease,
    };
    Ok(deliver::start(deliverer, parts.stop.clone())?)
}

async fn start_workers(number: usize, parts: &Parts) -> io::Result<Vec<Worker>> {
    let mut workers = Vec::with_capacity(number);
    for index in 0..number {
        workers.push(Worker::start(format!("worker-{index}"), parts.clone()).await?);
    }
    Ok(workers)
}
