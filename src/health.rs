//! The health of the service: a loop checks the store and writes a state, which probes
//! read. The state turns to not ready and back to ready.
//!
//! All replicas share the database. One slow response must not take all of them out of the load
//! balancer, so the service is not ready only after every check has failed for a while. One check
//! that succeeds makes it ready again; checks overlap until then, so that one that hangs delays
//! nothing.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{Mutex, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    clock::{Stopwatch, about},
    grpc::Serving,
    store::{Database, Store},
    telemetry::Metrics,
};

/// The time between the beginnings of two checks. It varies, so that replicas do not check together.
const INTERVAL: Duration = Duration::from_secs(1);

/// The same after a failed check. It bounds the time until a recovery is noticed.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The timeout of a check.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The maximum number of checks that run at once after a failed one.
const CHECKS_MAX: usize = 3;

/// The time for which every check must have failed before the service is not ready, and the number
/// of failed checks.
const FAILING_MAX: Duration = Duration::from_secs(3);
const FAILURES_MIN: u32 = 3;

/// The number of checks after which every statement is checked, too. After a failed check, each
/// check does.
const STATEMENTS_EVERY: u64 = 10;

/// Whether the service is ready, and if not, the reason. Anonymous callers may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The store has not responded yet.
    Starting,
    /// The service is ready.
    Ready,
    /// The store does not respond.
    StoreUnavailable,
    /// The service is about to exit.
    Stopping,
}

impl Readiness {
    /// The text for probes and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::StoreUnavailable => "store unavailable",
            Self::Stopping => "stopping",
        }
    }
}

/// The state, and its subscribers.
#[derive(Clone, Debug)]
pub struct Health {
    state: watch::Sender<Readiness>,
    /// What gRPC health checks report.
    serving: watch::Sender<Serving>,
    metrics: Metrics,
    /// Locked during a change, so that all subscribers see the states in the same order.
    changing: Arc<Mutex<()>>,
}

impl Health {
    /// A state that is not ready yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let (state, serving) = (watch::Sender::new(Readiness::Starting), watch::Sender::new(Serving::No));
        metrics.set_ready(false);
        Self { state, serving, metrics, changing: Arc::default() }
    }

    /// The current state.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        *self.state.borrow()
    }

    /// What gRPC health checks report.
    #[must_use]
    pub fn serving(&self) -> watch::Receiver<Serving> {
        self.serving.subscribe()
    }

    /// Checks the store every second until `stop`. The check also keeps the service's clock at
    /// the time of the database, so it follows at once when a statement was late.
    pub async fn watch(self, database: Arc<Database>, store: Arc<dyn Store>, stop: CancellationToken) {
        stop.run_until_cancelled(self.check_repeatedly(&database, &*store)).await;
    }

    async fn check_repeatedly(&self, database: &Database, store: &dyn Store) {
        let (mut checks, mut failing) = (FuturesUnordered::new(), Failing::default());
        for number in 0_u64.. {
            let begun = Stopwatch::start();
            // A database can respond and yet lack a column or a privilege.
            let statements = number.is_multiple_of(STATEMENTS_EVERY) || !self.is_well(&failing);
            let statements = statements && number > 0;
            checks.push(async move { (number, begun, check(database, store, statements).await) });
            loop {
                let (interval, checks_max) =
                    if self.is_well(&failing) { (INTERVAL, 1) } else { (RETRY_INTERVAL, CHECKS_MAX) };
                let next = async {
                    tokio::select! {
                        () = sleep(about(interval).saturating_sub(begun.elapsed())) => {}
                        () = database.clock().is_doubted() => {}
                    }
                };
                let may_begin = checks.len() < checks_max;
                tokio::select! {
                    Some((number, begun, outcome)) = checks.next() => {
                        self.metrics.set_clock_skew(database.clock().skew_millis());
                        match outcome {
                            Ok(()) => {
                                failing.succeeded(number);
                                self.change(Readiness::Ready).await;
                            }
                            Err(error) => {
                                debug!(error, "the check of the store failed");
                                let lasts = failing.failed(number, begun);
                                // A service that starts is not ready yet.
                                if lasts || self.readiness() == Readiness::Starting {
                                    self.set_unavailable(database, error).await;
                                }
                            }
                        }
                    }
                    () = next, if may_begin => break,
                }
            }
        }
    }

    /// Whether the service is ready and the last check succeeded.
    fn is_well(&self, failing: &Failing) -> bool {
        failing.since.is_none() && self.readiness() == Readiness::Ready
    }

    /// Turns to not ready, and logs the reason once.
    async fn set_unavailable(&self, database: &Database, error: String) {
        let is_new = self.readiness() != Readiness::StoreUnavailable;
        self.change(Readiness::StoreUnavailable).await;
        if is_new {
            let because = database.connection_error().await.unwrap_or(error);
            warn!(store = database.describe(), because, "store unavailable");
        }
    }

    /// Turns to not ready for good, and ends the streams that watch the gRPC health
    /// service.
    pub async fn stop(&self) {
        self.change(Readiness::Stopping).await;
    }

    /// Writes a new state and notifies all subscribers. After a stop, the state never changes.
    async fn change(&self, now: Readiness) {
        let _changing = self.changing.lock().await;
        let before = self.readiness();
        if before == Readiness::Stopping {
            return;
        }
        self.state.send_replace(now);
        self.metrics.set_ready(now == Readiness::Ready);
        let serving = match now {
            Readiness::Ready => Serving::Yes,
            Readiness::Stopping => Serving::Stopping,
            Readiness::Starting | Readiness::StoreUnavailable => Serving::No,
        };
        // Streams of health checks send a status only when it changes.
        self.serving.send_if_modified(|before| std::mem::replace(before, serving) != serving);
        if before != now {
            info!(before = before.as_str(), now = now.as_str(), "health changed");
        }
    }
}

/// Checks that the store responds, and if `statements` that it can run each statement.
async fn check(database: &Database, store: &dyn Store, statements: bool) -> Result<(), String> {
    match timeout(CHECK_TIMEOUT, store.database_time()).await {
        Ok(Ok(_)) if statements => database.can_run_statements().await,
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no response within {CHECK_TIMEOUT:?}")),
    }
}

/// The checks that failed since the last success. Checks can end in another order than they began.
#[derive(Debug, Default)]
struct Failing {
    /// The number of the latest check that succeeded.
    succeeded: u64,
    /// The beginning of the first check that failed since.
    since: Option<Stopwatch>,
    failures: u32,
}

impl Failing {
    fn succeeded(&mut self, number: u64) {
        *self = Self { succeeded: self.succeeded.max(number), since: None, failures: 0 };
    }

    /// Records a failed check. Returns whether the failure has lasted too long.
    fn failed(&mut self, number: u64, begun: Stopwatch) -> bool {
        if number < self.succeeded {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        let since = self.since.get_or_insert(begun);
        since.elapsed() >= FAILING_MAX && self.failures >= FAILURES_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_store_is_unavailable_after_several_failures_over_some_seconds() {
        // How long each check takes until it fails.
        for (took, expected) in [(0, 7), (500, 4), (1_500, 3)] {
            let (mut failing, mut checks, took) = (Failing::default(), 1, Duration::from_millis(took));
            loop {
                let begun = Stopwatch::start();
                sleep(took).await;
                if failing.failed(checks, begun) {
                    break;
                }
                sleep(RETRY_INTERVAL).await;
                checks += 1;
            }
            assert_eq!(checks, expected, "each fails after {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_ends_the_failure_also_of_checks_that_began_before_it() {
        let mut failing = Failing::default();
        let begun = Stopwatch::start();
        sleep(FAILING_MAX).await;
        assert!(!failing.failed(1, begun) && !failing.failed(2, begun));
        failing.succeeded(4);
        assert!(!failing.failed(3, begun) && failing.since.is_none(), "an older check that hung");
        assert!(!failing.failed(5, begun) && !failing.failed(6, begun) && failing.failed(7, begun));
    }
}
