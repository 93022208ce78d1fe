//! Metrics that belong together, and are counted in one place.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::seconds;
use crate::clock::Stopwatch;

/// The metrics of watching; clones are the same.
#[derive(Clone, Debug)]
pub struct WatchMetrics {
    /// The streams that watch.
    pub streams: Gauge,
    /// The users that are watched.
    pub users: Gauge,
    /// The users that invalidations named, watched or not.
    pub invalidations: Counter,
    /// The users that were read.
    pub reads: Counter,
    /// The presences that were sent.
    pub sent: Counter,
    /// Those that took the place of one that had not been sent.
    pub coalesced: Counter,
    /// The streams of which that is so, until they have taken everything.
    pub slow_readers: Gauge,
    /// From an invalidation, or a transition, until what it changed is sent.
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
        registry.register("watch_streams", "Streams that watch users", metrics.streams.clone());
        registry.register("watch_users", "Users that are watched", metrics.users.clone());
        registry.register(
            "watch_invalidations",
            "Users of whom a write was heard",
            metrics.invalidations.clone(),
        );
        registry.register("watch_reads", "Users read for those who watch", metrics.reads.clone());
        registry.register("watch_sent", "Presences sent to those who watch", metrics.sent.clone());
        let help = "Presences that took the place of one that had not been sent yet";
        registry.register("watch_coalesced", help, metrics.coalesced.clone());
        let help = "Streams that take presences more slowly than they change";
        registry.register("watch_slow_readers", help, metrics.slow_readers.clone());
        let help = "Time from hearing of a change, or its instant, to sending it";
        registry.register_with_unit("watch_delay", help, Unit::Seconds, metrics.delay.clone());
        metrics
    }
}

/// The metrics of what encrypts and what lets in.
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
            "When the certificate in --tls-cert, or the first behind it, expires, since 1970; 0 without TLS",
            Unit::Seconds,
            metrics.certificate_expiry.clone(),
        );
        registry.register("token_keys", "Keys in force to verify tokens with", metrics.token_keys.clone());
        registry.register(
            "token_key_errors",
            "Attempts to read the keys of tokens that failed",
            metrics.token_key_errors.clone(),
        );
        metrics
    }
}

/// The metrics of reads that may be old; clones are the same.
#[derive(Clone, Debug)]
pub struct ReplicaMetrics {
    /// 1 while the replica answers.
    pub up: Gauge,
    /// Those that the replica answered.
    pub answered: Counter,
    /// Those that it did not, so that the database was asked.
    pub passed_on: Counter,
}

impl ReplicaMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics =
            Self { up: Gauge::default(), answered: Counter::default(), passed_on: Counter::default() };
        let help = "1 while the read replica answers; 0 if it does not, or there is none";
        registry.register("read_replica_up", help, metrics.up.clone());
        registry.register(
            "read_replica_reads",
            "Reads that the read replica answered",
            metrics.answered.clone(),
        );
        let help = "Reads for the read replica that went to the database, because it was away";
        registry.register("read_replica_reads_passed_on", help, metrics.passed_on.clone());
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
    /// Counts a call whose statement did not begin, or end, in time.
    pub fn given_up(&self) {
        self.calls_given_up.inc();
    }

    /// Counts a statement of so many members that starts now.
    #[must_use]
    pub fn start(&self, members: usize) -> StatementTimer<'_> {
        self.members.observe(f64::from(u32::try_from(members).unwrap_or(u32::MAX)));
        StatementTimer { metrics: self, stopwatch: Stopwatch::start() }
    }
}

/// A statement that is running.
#[derive(Debug)]
pub struct StatementTimer<'a> {
    metrics: &'a StatementMetrics,
    stopwatch: Stopwatch,
}

impl StatementTimer<'_> {
    /// The statement has ended.
    pub fn finish(self, ok: bool) {
        self.metrics.duration.observe(self.stopwatch.elapsed().as_secs_f64());
        if !ok {
            self.metrics.errors.inc();
        }
    }
}
