//! The metrics of connections and of what clients do wrong.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::telemetry::Api;

/// The metrics of all clients. Clones share them.
#[derive(Clone, Debug)]
pub struct ClientMetrics {
    connections: Family<ApiLabels, Gauge>,
    connections_refused: Family<ReasonLabels, Counter>,
    connections_timed_out: Family<ReasonLabels, Counter>,
    under_way: Family<ApiLabels, Gauge>,
    requests_cut: Family<ReasonLabels, Counter>,
    requests_refused: Family<ReasonLabels, Counter>,
    streams_max_reached: Family<ApiLabels, Counter>,
    memory: Family<MemoryLabels, Gauge>,
    memory_max: Family<MemoryLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    api: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemoryLabels {
    part: &'static str,
}

/// The metrics of one API's connections.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    /// Open connections.
    pub open: Gauge,
    /// Connections closed because of `--connections-max`.
    pub refused: Counter,
    /// Connections closed because connections take too much memory.
    pub refused_for_memory: Counter,
    /// Requests under way.
    pub under_way: Gauge,
    /// Requests cut because the client did not take the response.
    pub requests_stalled: Counter,
    /// Requests cut because they did not complete within `--drain-timeout`.
    pub requests_undrained: Counter,
    /// Requests that HTTP/2 refused as malformed.
    pub requests_malformed: Counter,
    /// Requests refused because those of their connection take too much memory.
    pub requests_over_connection_memory: Counter,
    /// Requests refused because all take too much memory.
    pub requests_over_memory: Counter,
    /// Connections that reached `--streams-max`.
    pub streams_max_reached: Counter,
}

impl ClientMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            connections: Family::default(),
            connections_refused: Family::default(),
            connections_timed_out: Family::default(),
            under_way: Family::default(),
            requests_cut: Family::default(),
            requests_refused: Family::default(),
            streams_max_reached: Family::default(),
            memory: Family::default(),
            memory_max: Family::default(),
        };
        registry.register("connections", "Open connections of clients", metrics.connections.clone());
        let help = "Connections closed at once because of a limit, by reason";
        registry.register("connections_refused", help, metrics.connections_refused.clone());
        let help =
            "Connections closed because the client timed out or cancelled too many requests, by reason";
        registry.register("connections_timed_out", help, metrics.connections_timed_out.clone());
        let help = "Requests whose response has not been sent completely, streams included";
        registry.register("requests_under_way", help, metrics.under_way.clone());
        let help = "Requests whose response was cut, by reason";
        registry.register("requests_cut", help, metrics.requests_cut.clone());
        let help = "Requests refused before an operation began, by reason";
        registry.register("requests_refused", help, metrics.requests_refused.clone());
        let help = "Times that an HTTP/2 connection reached --streams-max";
        registry.register("streams_max_reached", help, metrics.streams_max_reached.clone());
        let help = "Memory that clients have taken of their budget, by part";
        registry.register_with_unit("client_memory", help, Unit::Bytes, metrics.memory.clone());
        let help = "Memory that clients may take, by part";
        registry.register_with_unit("client_memory_max", help, Unit::Bytes, metrics.memory_max.clone());
        metrics
    }

    /// The metrics of one API's connections.
    #[must_use]
    pub fn of(&self, api: Api) -> ConnectionMetrics {
        let api = api.as_str();
        let counter = |family: &Family<ReasonLabels, Counter>, reason| {
            family.get_or_create_owned(&ReasonLabels { api, reason })
        };
        ConnectionMetrics {
            open: self.connections.get_or_create_owned(&ApiLabels { api }),
            refused: counter(&self.connections_refused, "connections_max"),
            refused_for_memory: counter(&self.connections_refused, "memory"),
            under_way: self.under_way.get_or_create_owned(&ApiLabels { api }),
            requests_stalled: counter(&self.requests_cut, "send_timeout"),
            requests_undrained: counter(&self.requests_cut, "drain_timeout"),
            requests_malformed: counter(&self.requests_refused, "malformed"),
            requests_over_connection_memory: counter(&self.requests_refused, "connection_memory"),
            requests_over_memory: counter(&self.requests_refused, "memory"),
            streams_max_reached: self.streams_max_reached.get_or_create_owned(&ApiLabels { api }),
        }
    }

    /// Counts the requests that are under way as cut at the end of the drain timeout. Returns their
    /// number.
    #[must_use]
    pub fn cut_requests(&self) -> u64 {
        let cut = Api::ALL.map(|api| {
            let metrics = self.of(api);
            let requests = u64::try_from(metrics.under_way.get()).unwrap_or_default();
            metrics.requests_undrained.inc_by(requests);
            requests
        });
        cut.into_iter().sum()
    }

    /// Counts a connection that was closed because its client timed out.
    pub fn connection_timed_out(&self, api: Api, reason: &'static str) {
        self.connections_timed_out.get_or_create(&ReasonLabels { api: api.as_str(), reason }).inc();
    }

    /// Sets the memory of one part of the budget.
    pub fn set_memory(&self, part: &'static str, taken: usize, max: usize) {
        let gauge = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.memory.get_or_create(&MemoryLabels { part }).set(gauge(taken));
        self.memory_max.get_or_create(&MemoryLabels { part }).set(gauge(max));
    }
}

impl ConnectionMetrics {
    /// Metrics that are not registered, for the admin API.
    #[must_use]
    pub fn unregistered() -> Self {
        ClientMetrics::register(&mut Registry::default()).of(Api::Http)
    }
}
