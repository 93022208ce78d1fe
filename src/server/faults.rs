//! What clients do that costs them a request or a connection: one counter and one line in the log
//! for each kind.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use strum::{EnumCount, IntoStaticStr};
use tracing::warn;

use crate::telemetry::{Api, ConnectionMetrics, LogThrottle};

/// The time without a fault of a kind after which the next one is logged again.
const QUIET: Duration = Duration::from_secs(10);

/// A client's fault, or a limit that it reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr)]
pub(super) enum Fault {
    /// A client did not take its response in time, so the request was cut.
    StalledRequest,
    /// A connection has as many requests as it may have: the client holds further ones back.
    StreamsMax,
    /// An HTTP/2 request was refused before it was one, for instance for its `:authority`.
    MalformedRequest,
    /// A request was refused because the requests of its connection take too much memory.
    ConnectionMemory,
    /// A request was refused because all clients together take too much memory.
    RequestMemory,
    /// A connection was closed because all connections together take too much memory.
    Connections,
    /// A connection was closed because its client cancelled too many requests.
    Resets,
}

impl Fault {
    /// What to tell the operator.
    const fn message(self) -> &'static str {
        match self {
            Self::StalledRequest => "request cut: the client did not take its response",
            Self::StreamsMax => {
                "a connection has reached --streams-max: its client holds further requests back until others \
                 end, so it needs more connections"
            }
            Self::MalformedRequest => {
                "HTTP/2 request refused before it was read: it is malformed; a gRPC client in C++, Python, PHP \
                 or Ruby with several addresses in its target needs the channel option grpc.default_authority"
            }
            Self::ConnectionMemory => "request refused: the requests of its connection take too much memory",
            Self::RequestMemory => "request refused: all requests together take too much memory",
            Self::Connections => "connection refused: all connections together take too much memory",
            Self::Resets => "connection closed: its client cancelled too many requests",
        }
    }
}

/// Records the faults of one client.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    peer: Option<SocketAddr>,
    shared: Arc<Shared>,
}

/// The faults of all clients of an API.
#[derive(Debug)]
struct Shared {
    api: Option<Api>,
    metrics: ConnectionMetrics,
    throttles: [LogThrottle; Fault::COUNT],
}

/// Records the faults of each client. Clones share the counters.
#[derive(Clone, Debug)]
pub struct ClientFaults(Arc<Shared>);

impl ClientFaults {
    /// The faults of the clients of `api`; `None` for the admin API.
    #[must_use]
    pub fn new(api: Option<Api>, metrics: ConnectionMetrics) -> Self {
        Self(Arc::new(Shared { api, metrics, throttles: [const { LogThrottle::new(QUIET) }; Fault::COUNT] }))
    }

    /// The faults of one client.
    pub(super) fn of(&self, peer: Option<SocketAddr>) -> Faults {
        Faults { peer, shared: Arc::clone(&self.0) }
    }
}

impl Faults {
    /// Counts a fault, and logs it unless others of its kind were logged a short time ago.
    pub(super) fn record(&self, fault: Fault) {
        let Shared { api, throttles, .. } = &*self.shared;
        if let Some(counter) = self.counter(fault) {
            counter.inc();
        }
        if throttles.get(fault as usize).is_some_and(LogThrottle::fails) {
            let peer = self.peer.map_or_else(String::new, |peer| peer.to_string());
            warn!(api = api.map_or("admin", Api::as_str), peer, "{}", fault.message());
        }
    }

    /// The number of requests under way.
    pub(super) fn under_way(&self) -> &Gauge {
        &self.shared.metrics.under_way
    }

    fn counter(&self, fault: Fault) -> Option<&Counter> {
        let metrics = &self.shared.metrics;
        Some(match fault {
            Fault::StalledRequest => &metrics.requests_stalled,
            Fault::StreamsMax => &metrics.streams_max_reached,
            Fault::MalformedRequest => &metrics.requests_malformed,
            Fault::ConnectionMemory => &metrics.requests_over_connection_memory,
            Fault::RequestMemory => &metrics.requests_over_memory,
            Fault::Connections => &metrics.refused_for_memory,
            // Counted with the other reasons for which a connection is closed.
            Fault::Resets => return None,
        })
    }
}
