//! Groups of metrics, each recorded by one part of the service.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::buckets::seconds;
use crate::clock::Stopwatch;

/// The metrics of watching. Clones share them.
#[derive(Clone, Debug)]
pub struct WatchMetrics {
    /// Open streams.
    pub streams: Gauge,
    /// Watched users.
    pub users: Gauge,
    /// Users named by invalidations, watched or not.
    pub invalidations: Counter,
    /// Users read for watchers.
    pub reads: Counter,
    /// Presences sent.
    pub sent: Counter,
    /// Presences replaced by a newer one before they were sent.
    pub coalesced: Counter,
    /// Streams with a replaced presence, until their client has read everything.
    pub slow_readers: Gauge,
    /// Time from an invalidation or a transition to sending the new presence.
    pub delay: Histogram,
}

impl WatchMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            streams: Gauge::default(),
            users: Gauge::default(),
            invalidations: Counter::default(),
            reads: Counter::default(),
            sent: Counter::default(),
            coalesced: Counter::default(),
            slow_readers: Gauge::default(),
            delay: seconds(),
        };
        registry.register("watch_streams", "Open streams that watch users", metrics.streams.clone());
        registry.register("watch_users", "Watched users", metrics.users.clone());
        registry.register(
            "watch_invalidations",
            "Users named by invalidations, watched or not",
            metrics.invalidations.clone(),
        );
        registry.register("watch_reads", "Users read for watchers", metrics.reads.clone());
        registry.register("watch_sent", "Presences sent to watchers", metrics.sent.clone());
        let help = "Presences replaced by a newer one before they were sent";
        registry.register("watch_coalesced", help, metrics.coalesced.clone());
        let help = "Streams whose client reads presences more slowly than they change";
        registry.register("watch_slow_readers", help, metrics.slow_readers.clone());
        let help = "Time from an invalidation or a transition to sending the new presence";
        registry.register_with_unit("watch_delay", help, Unit::Seconds, metrics.delay.clone());
        metrics
    }
}

/// The metrics of streams that watch users or hold sessions. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct StreamMetrics {
    /// Open streams that hold a session.
    pub(super) holds: Gauge,
    ended: Family<StreamLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    operation: &'static str,
    reason: &'static str,
}

impl StreamMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Ended streams that watched users or held a session, by operation and reason";
        registry.register("hold_streams", "Open streams that hold a session", metrics.holds.clone());
        registry.register("streams_ended", help, metrics.ended.clone());
        metrics
    }

    /// Counts a stream that has ended.
    pub fn ended(&self, operation: &'static str, reason: &'static str) {
        self.ended.get_or_create(&StreamLabels { operation, reason }).inc();
    }
}

/// The metrics of certificates and of the keys of tokens.
pub(super) struct KeyMetrics {
    pub(super) certificate_expiry: Gauge,
    pub(super) token_keys: Gauge,
    pub(super) token_key_errors: Counter,
}

impl KeyMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            certificate_expiry: Gauge::default(),
            token_keys: Gauge::default(),
            token_key_errors: Counter::default(),
        };
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            "Unix time at which the first certificate in --tls-cert expires; 0 without TLS",
            Unit::Seconds,
            metrics.certificate_expiry.clone(),
        );
        registry.register("token_keys", "Keys that verify access tokens", metrics.token_keys.clone());
        registry.register(
            "token_key_errors",
            "Failed attempts to read the keys that verify access tokens",
            metrics.token_key_errors.clone(),
        );
        metrics
    }
}

/// The metrics of the history.
pub(super) struct HistoryMetrics {
    pub(super) spans: Counter,
    pub(super) bytes: Gauge,
    pub(super) oldest_span: Gauge,
}

impl HistoryMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics =
            Self { spans: Counter::default(), bytes: Gauge::default(), oldest_span: Gauge::default() };
        let help = "Spans that this replica wrote to the history";
        registry.register("history_spans", help, metrics.spans.clone());
        let help = "Size of the history with its indexes, read once a minute; on SQLite an estimate";
        registry.register_with_unit("history", help, Unit::Bytes, metrics.bytes.clone());
        let help =
            "Unix time at which the oldest span of the history ended, read once a minute; 0 without a span";
        registry.register_with_unit(
            "history_oldest_span_timestamp",
            help,
            Unit::Seconds,
            metrics.oldest_span.clone(),
        );
        metrics
    }
}

/// The metrics of the read replica. Clones share them.
#[derive(Clone, Debug)]
pub struct ReplicaMetrics {
    /// 1 while the replica responds.
    pub up: Gauge,
    /// Reads that the replica served.
    pub reads: Counter,
    /// Reads that the database served because the replica was unavailable.
    pub fallbacks: Counter,
}

impl ReplicaMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { up: Gauge::default(), reads: Counter::default(), fallbacks: Counter::default() };
        let help = "1 while the read replica responds; 0 while it does not, or without a read replica";
        registry.register("read_replica_up", help, metrics.up.clone());
        registry.register("read_replica_reads", "Reads that the read replica served", metrics.reads.clone());
        let help = "Reads that the database served because the read replica was unavailable";
        registry.register("read_replica_fallbacks", help, metrics.fallbacks.clone());
        metrics
    }
}

/// The metrics of one statement.
#[derive(Clone, Debug)]
pub struct StatementMetrics {
    pub(super) duration: Histogram,
    pub(super) errors: Counter,
    pub(super) members: Histogram,
    pub(super) calls_given_up: Counter,
}

impl StatementMetrics {
    /// Counts a call whose statement did not begin or end in time.
    pub fn given_up(&self) {
        self.calls_given_up.inc();
    }

    /// Starts measuring a statement that serves `members` calls.
    #[must_use]
    pub fn start(&self, members: usize) -> StatementTimer<'_> {
        self.members.observe(f64::from(u32::try_from(members).unwrap_or(u32::MAX)));
        StatementTimer { metrics: self, stopwatch: Stopwatch::start() }
    }
}

/// Measures a running statement.
#[derive(Debug)]
pub struct StatementTimer<'a> {
    metrics: &'a StatementMetrics,
    stopwatch: Stopwatch,
}

impl StatementTimer<'_> {
    /// Ends the measurement; `ok` is whether the statement succeeded.
    pub fn finish(self, ok: bool) {
        self.metrics.duration.observe(self.stopwatch.elapsed().as_secs_f64());
        if !ok {
            self.metrics.errors.inc();
        }
    }
}
