//! Every metric with its name, help, labels and buckets.

mod buckets;
mod clients;
mod groups;
mod notifications;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Api;
use crate::presence::Timestamp;
use buckets::{members, seconds};
pub use clients::{ClientMetrics, ConnectionMetrics};
use groups::{HistoryMetrics, KeyMetrics};
pub use groups::{ReplicaMetrics, StatementMetrics, StreamMetrics, WatchMetrics};
pub use notifications::NotificationMetrics;

/// The metrics of the process, which all its workers share. Clones share them, too.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_duration: Family<OperationLabels, Histogram, fn() -> Histogram>,
    statement_duration: Family<StatementLabels, Histogram, fn() -> Histogram>,
    statement_errors: Family<StatementLabels, Counter>,
    batch_members: Family<StatementLabels, Histogram, fn() -> Histogram>,
    calls_given_up: Family<StatementLabels, Counter>,
    ignored_input: Family<IgnoredLabels, Counter>,
    pool_connections: Family<PoolLabels, Gauge>,
    ready: Gauge,
    clock_skew: Gauge<f64, AtomicU64>,
    clients: ClientMetrics,
    keys: KeyMetrics,
    sessions_removed: Counter,
    sessions_evicted: Counter,
    history: HistoryMetrics,
    streams: StreamMetrics,
    watch: WatchMetrics,
    replica: ReplicaMetrics,
    notifications: NotificationMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    api: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IgnoredLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatementLabels {
    statement: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
    state: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers all metrics, at zero.
    #[must_use]
    pub fn new() -> Self {
        let requests = Family::default();
        let request_duration = Family::new_with_constructor(seconds as fn() -> Histogram);
        let statement_duration = Family::new_with_constructor(seconds as fn() -> Histogram);
        let statement_errors = Family::default();
        let batch_members = Family::new_with_constructor(members as fn() -> Histogram);
        let calls_given_up = Family::default();
        let ignored_input = Family::default();
        let pool_connections = Family::default();
        let (ready, clock_skew) = (Gauge::default(), Gauge::default());
        let (sessions_removed, sessions_evicted) = (Counter::default(), Counter::default());

        let mut registry = Registry::with_prefix("presence");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the service", build);
        registry.register("requests", "Requests by operation, API and response code", requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time from a request to its response",
            Unit::Seconds,
            request_duration.clone(),
        );
        let help = "Requests with properties or query options that were ignored because they are unknown";
        registry.register("ignored_input", help, ignored_input.clone());
        registry.register_with_unit(
            "statement_duration",
            "Time of a batch's statement, including the wait for a connection",
            Unit::Seconds,
            statement_duration.clone(),
        );
        registry.register("statement_errors", "Failed statements", statement_errors.clone());
        registry.register(
            "batch_members",
            "Calls, or members of batch calls, in one statement",
            batch_members.clone(),
        );
        registry.register(
            "calls_given_up",
            "Calls whose statement did not begin or end in time",
            calls_given_up.clone(),
        );
        registry.register(
            "pool_connections",
            "Connections to the database and its read replica, by pool and state",
            pool_connections.clone(),
        );
        registry.register("ready", "1 while the service is ready, else 0", ready.clone());
        let help = "Time by which this machine's clock is ahead of the database's; negative if it is behind";
        registry.register_with_unit("clock_skew", help, Unit::Seconds, clock_skew.clone());
        let clients = ClientMetrics::register(&mut registry);
        let keys = KeyMetrics::register(&mut registry);
        registry.register(
            "sessions_removed",
            "Ended sessions removed after the retention time",
            sessions_removed.clone(),
        );
        registry.register(
            "sessions_evicted",
            "Live sessions cleared because their application or their user had too many",
            sessions_evicted.clone(),
        );
        let history = HistoryMetrics::register(&mut registry);
        let streams = StreamMetrics::register(&mut registry);
        let watch = WatchMetrics::register(&mut registry);
        let replica = ReplicaMetrics::register(&mut registry);
        let notifications = NotificationMetrics::register(&mut registry);

        Self(Arc::new(Families {
            registry,
            requests,
            request_duration,
            statement_duration,
            statement_errors,
            batch_members,
            calls_given_up,
            ignored_input,
            pool_connections,
            ready,
            clock_skew,
            clients,
            keys,
            sessions_removed,
            sessions_evicted,
            history,
            streams,
            watch,
            replica,
            notifications,
        }))
    }

    /// Records a request that has ended.
    pub(super) fn record_request(
        &self,
        api: Api,
        operation: &'static str,
        code: &'static str,
        took: Duration,
    ) {
        let api = api.as_str();
        self.0.requests.get_or_create(&RequestLabels { operation, api, code }).inc();
        self.0
            .request_duration
            .get_or_create(&OperationLabels { operation, api })
            .observe(took.as_secs_f64());
    }

    /// Counts a request whose unknown properties or query options were ignored.
    pub fn input_ignored(&self, operation: &'static str) {
        self.0.ignored_input.get_or_create(&IgnoredLabels { operation }).inc();
    }

    /// The metrics of one statement of the store.
    #[must_use]
    pub fn statement(&self, statement: &'static str) -> StatementMetrics {
        let labels = StatementLabels { statement };
        StatementMetrics {
            duration: self.0.statement_duration.get_or_create_owned(&labels),
            errors: self.0.statement_errors.get_or_create_owned(&labels),
            members: self.0.batch_members.get_or_create_owned(&labels),
            calls_given_up: self.0.calls_given_up.get_or_create_owned(&labels),
        }
    }

    /// Sets whether the service is ready.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.set(i64::from(ready));
    }

    /// Sets the milliseconds by which this machine's clock is ahead of the database's.
    pub fn set_clock_skew(&self, millis: i64) {
        // An f64 holds every i32.
        let millis = i32::try_from(millis.clamp(i32::MIN.into(), i32::MAX.into())).unwrap_or_default();
        self.0.clock_skew.set(f64::from(millis) / 1_000.0);
    }

    /// The metrics of one API's clients.
    #[must_use]
    pub fn clients(&self) -> &ClientMetrics {
        &self.0.clients
    }

    /// Sets the time at which the first certificate of the APIs expires; `None` without TLS.
    pub fn set_certificate_expiry(&self, end: Option<Timestamp>) {
        self.0.keys.certificate_expiry.set(end.map_or(0, |end| end.as_millis() / 1_000));
    }

    /// Sets the number of keys that verify tokens.
    pub fn set_token_keys(&self, keys: usize) {
        self.0.keys.token_keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// Counts a failed attempt to read the keys of tokens.
    pub fn token_keys_failed(&self) {
        self.0.keys.token_key_errors.inc();
    }

    /// Counts ended sessions that were removed after the retention time.
    pub fn sessions_removed(&self, sessions: u64) {
        self.0.sessions_removed.inc_by(sessions);
    }

    /// Sets the number of live sessions that this process cleared for lack of room.
    pub fn set_sessions_evicted(&self, sessions: u64) {
        // Of two concurrent scrapes, the later may have the lower number.
        self.0.sessions_evicted.inner().fetch_max(sessions, Ordering::Relaxed);
    }

    /// Sets the number of spans that this process appended to the history.
    pub fn set_history_spans(&self, spans: u64) {
        // Of two concurrent scrapes, the later may have the lower number.
        self.0.history.spans.inner().fetch_max(spans, Ordering::Relaxed);
    }

    /// Sets the size of the history, and the end of its oldest span; `None` without a span.
    pub fn set_history(&self, bytes: u64, oldest_ended_at: Option<Timestamp>) {
        self.0.history.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.0.history.oldest_span.set(oldest_ended_at.map_or(0, |end| end.as_millis() / 1_000));
    }

    /// The gauge of streams that hold a session.
    #[must_use]
    pub fn hold_streams(&self) -> Gauge {
        self.0.streams.holds.clone()
    }

    /// The metrics of streams.
    #[must_use]
    pub fn streams(&self) -> StreamMetrics {
        self.0.streams.clone()
    }

    /// The metrics of watching.
    #[must_use]
    pub fn watch(&self) -> WatchMetrics {
        self.0.watch.clone()
    }

    /// The metrics of change notifications.
    #[must_use]
    pub fn notifications(&self) -> NotificationMetrics {
        self.0.notifications.clone()
    }

    /// The metrics of the read replica.
    #[must_use]
    pub fn replica(&self) -> ReplicaMetrics {
        self.0.replica.clone()
    }

    /// Sets the number of a pool's database connections in a state.
    pub fn set_pool_connections(&self, pool: &'static str, state: &'static str, connections: u32) {
        self.0.pool_connections.get_or_create(&PoolLabels { pool, state }).set(i64::from(connections));
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }
}
