//! The admin API: probes and metrics. It needs no authentication and may listen on any
//! address, so it shows nothing about users.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    health::{Health, Readiness},
    server::{ClientFaults, Connections, Hosts, Memory, MemoryUse, Protocol, next as next_connection},
    settings::LimitSettings,
    store::{Database, PoolUse, Store},
    telemetry::{ConnectionMetrics, Metrics},
};

/// The time for which `presenced healthcheck` waits for a response.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum number of open connections: enough for some scrapers and probes.
const CONNECTIONS_MAX: usize = 128;

/// The state that the admin API shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// For `/readyz`.
    pub health: Health,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// The database, for the number of spans that this process appended.
    pub database: Arc<Database>,
    /// The stores, for the gauges of their connections, each with the name of its pool.
    pub stores: Arc<[(&'static str, Arc<dyn Store>)]>,
    /// The limits of one client.
    pub limits: LimitSettings,
    /// The memory of the clients of the two APIs, for `/metrics`.
    pub memory: Memory,
    /// The hosts that requests may name.
    pub hosts: Hosts,
}

/// Serves the admin API; never ends.
pub async fn serve(admin: Admin, listener: TcpListener) {
    let (limits, hosts) = (admin.limits, admin.hosts.clone());
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
        .layer(from_fn_with_state(hosts, check_host));
    let stop = CancellationToken::new();
    let connections = Connections {
        protocol: Protocol::Http1Or2,
        service: router,
        refuse: |_, _| StatusCode::SERVICE_UNAVAILABLE.into_response(),
        limits,
        // Its own: probes and metrics must work while clients take all they may.
        memory: Memory::new(0),
        faults: ClientFaults::new(None, ConnectionMetrics::unregistered()),
        tls: None,
        stop,
    };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = next_connection(&listener).await;
        // Beyond the maximum, the connection is closed at once.
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            let served = connections.clone().serve(stream);
            tokio::spawn(async move {
                served.await;
                drop(slot);
            });
        }
    }
}

/// Refuses pages that reach this address under a name of their own.
async fn check_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if hosts.serve(&request) {
        return next.run(request).await;
    }
    let message = "only localhost, IP addresses and --allowed-hosts are served here\n";
    (StatusCode::MISDIRECTED_REQUEST, message).into_response()
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let readiness = admin.health.readiness();
    let status = if readiness == Readiness::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{}\n", readiness.as_str()))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut pools = BTreeMap::<_, PoolUse>::new();
    for (pool, store) in admin.stores.iter() {
        let (sum, more) = (pools.entry(*pool).or_default(), store.pool_use());
        (sum.open, sum.idle) = (sum.open + more.open, sum.idle + more.idle);
    }
    for (pool, PoolUse { open, idle }) in pools {
        admin.metrics.set_pool_connections(pool, "busy", open.saturating_sub(idle));
        admin.metrics.set_pool_connections(pool, "idle", idle);
    }
    for MemoryUse { part, max, taken } in admin.memory.parts() {
        admin.metrics.clients().set_memory(part, taken, max);
    }
    admin.metrics.set_history_spans(admin.database.spans_appended());
    admin.metrics.set_sessions_evicted(admin.database.evictions());
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], admin.metrics.encode())
}

/// Asks `/readyz` at `address`, for containers without curl. Fails if the service is
/// unreachable or not ready.
pub async fn healthcheck(address: SocketAddr) -> io::Result<()> {
    match ask_readyz(address).await? {
        (true, _) => Ok(()),
        (false, state) => Err(io::Error::other(format!("not ready: {state}"))),
    }
}

/// Asks `/readyz` at `address`. Returns whether the service is ready, and its state.
pub async fn ask_readyz(mut address: SocketAddr) -> io::Result<(bool, String)> {
    if address.ip().is_unspecified() {
        let loopback =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET /readyz HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        Ok::<_, io::Error>(response)
    };
    let response = timeout(HEALTHCHECK_TIMEOUT, ask).await??;
    let state = response.lines().last().unwrap_or_default().to_owned();
    Ok((response.split(' ').nth(1) == Some("200"), state))
}
