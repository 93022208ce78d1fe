//! the admin listener: probes and metrics. It may listen anywhere, and so shows
//! nothing about users.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
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
    server::{Connections, Protocol, next},
    settings::LimitSettings,
    store::{PoolUse, Store},
    telemetry::Metrics,
};

/// How long `presenced healthcheck` waits for its answer.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// The connections that may be open at once: a few scrapers and probes.
const CONNECTIONS_MAX: usize = 128;

/// What the admin listener shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// For `/readyz`.
    pub health: Health,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// The stores, for the gauges of their pools, by whose they are.
    pub stores: Arc<[(&'static str, Arc<dyn Store>)]>,
    /// What one client may take.
    pub limits: LimitSettings,
}

/// Serves the admin listener; never ends by itself.
pub async fn serve(admin: Admin, listener: TcpListener) {
    let limits = admin.limits;
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin);
    let stop = CancellationToken::new();
    let connections = Connections { protocol: Protocol::Http1Or2, service: router, limits, tls: None, stop };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = next(&listener).await;
        // One too many is closed at once.
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            let served = connections.clone().serve(stream);
            tokio::spawn(async move {
                served.await;
                drop(slot);
            });
        }
    }
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
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], admin.metrics.encode())
}

/// Asks `/readyz` at `address`, for containers that have no curl; the error
/// says what is wrong.
pub async fn healthcheck(address: SocketAddr) -> io::Result<()> {
    match ask_readyz(address).await? {
        (true, _) => Ok(()),
        (false, state) => Err(io::Error::other(format!("not ready: {state}"))),
    }
}

/// Whether what answers `/readyz` at `address` is ready, and what it says of its
/// state.
pub async fn ask_readyz(mut address: SocketAddr) -> io::Result<(bool, String)> {
    if address.ip().is_unspecified() {
        let loopback =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET /readyz HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(HEALTHCHECK_TIMEOUT, ask).await??;
    let state = answer.lines().last().unwrap_or_default().to_owned();
    Ok((answer.split(' ').nth(1) == Some("200"), state))
}
