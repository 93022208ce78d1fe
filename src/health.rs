//! The health of the service: a loop checks the store and writes a state, which probes
//! read. The state turns to not ready and back to ready.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{debug, info, warn};

use crate::{
    clock::Clock,
    presence::Timestamp,
    store::{Database, Store, StoreError},
    telemetry::Metrics,
};

/// The time between two checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The maximum difference between this machine's clock and the database's. Beyond it,
/// sessions that this replica sets would end and fade too early or too late on others.
pub const SKEW_MAX: Duration = Duration::from_secs(2);

/// The name by which a gRPC health check asks about the whole server.
const SERVER_NAME: &str = "";

/// Whether the service is ready, and if not, the reason. Anonymous callers may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The store has not responded yet.
    Starting,
    /// The service is ready.
    Ready,
    /// The store does not respond.
    StoreUnavailable,
    /// The clock differs from the database's by more than 2 s.
    ClockSkew,
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
            Self::ClockSkew => "clock differs from the database's by more than 2 s",
            Self::Stopping => "stopping",
        }
    }
}

/// The state, and its subscribers.
#[derive(Clone, Debug)]
pub struct Health {
    state: watch::Sender<Readiness>,
    reporter: HealthReporter,
    /// The names for gRPC health checks: the server and its service.
    names: [&'static str; 2],
    metrics: Metrics,
    /// Locked during a change, so that all subscribers see the states in the same order.
    changing: Arc<Mutex<()>>,
}

impl Health {
    /// A state that is not ready yet. `service` is the name of the gRPC service.
    pub async fn new(service: &'static str, metrics: Metrics) -> Self {
        let (state, reporter) = (watch::Sender::new(Readiness::Starting), HealthReporter::new());
        let names = [SERVER_NAME, service];
        let health = Self { state, reporter, names, metrics, changing: Arc::default() };
        health.change(Readiness::Starting).await;
        health
    }

    /// The current state.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        *self.state.borrow()
    }

    /// The state of the gRPC health service.
    #[must_use]
    pub fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }

    /// Checks the store every second until `stop`.
    pub async fn watch(
        self,
        database: Arc<Database>,
        store: Arc<dyn Store>,
        clock: Clock,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            let (readiness, error) = match check(&*store, &clock, &self.metrics).await {
                Ok(readiness) => (readiness, String::new()),
                Err(error) => (Readiness::StoreUnavailable, error.to_string()),
            };
            let is_new = readiness != self.readiness();
            self.change(readiness).await;
            if is_new && readiness == Readiness::StoreUnavailable {
                let because = database.connection_error().await.unwrap_or(error);
                warn!(store = database.describe(), because, "store unavailable");
            }
            stop.run_until_cancelled(sleep(INTERVAL)).await;
        }
    }

    /// Turns to not ready for good, and ends the streams that watch the gRPC health
    /// service.
    pub async fn stop(&self) {
        self.change(Readiness::Stopping).await;
        let mut reporter = self.reporter.clone();
        for name in self.names {
            reporter.clear_service_status(name).await;
        }
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
        let status = if now == Readiness::Ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in self.names {
            self.reporter.set_service_status(name, status).await;
        }
        if before != now {
            info!(before = before.as_str(), now = now.as_str(), "health changed");
        }
    }
}

/// Checks that the store responds, and that its clock agrees with ours.
async fn check(store: &dyn Store, clock: &Clock, metrics: &Metrics) -> Result<Readiness, StoreError> {
    let before = clock.now();
    let database =
        store.database_time().await.inspect_err(|error| debug!(%error, "store does not respond"))?;
    let after = clock.now();
    let skew_ms = skew_ms(before, database, after);
    metrics.set_clock_skew(skew_ms);
    if is_skewed(skew_ms) {
        warn!(%database, ours = %after, skew_ms, "clock differs from the database's");
        return Ok(Readiness::ClockSkew);
    }
    Ok(Readiness::Ready)
}

/// The least possible difference between our clock and the database's, in milliseconds;
/// positive if ours is ahead. The database read its clock between our two readings.
#[must_use]
pub fn skew_ms(before: Timestamp, database: Timestamp, after: Timestamp) -> i64 {
    let off = |ours: Timestamp| ours.as_millis().saturating_sub(database.as_millis());
    off(before).max(0).saturating_add(off(after).min(0))
}

/// Whether the difference is more than [`SKEW_MAX`].
#[must_use]
pub const fn is_skewed(skew_ms: i64) -> bool {
    Duration::from_millis(skew_ms.unsigned_abs()).as_millis() > SKEW_MAX.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skew_is_the_distance_of_the_databases_time_from_our_two_readings() {
        let at = Timestamp::from_millis;
        for (before, database, after, skew, skewed) in [
            (1_000, 1_000, 1_000, 0, false),
            (1_000, 1_500, 9_000, 0, false),
            (5_000, 3_000, 6_000, 2_000, false),
            (5_001, 3_000, 6_000, 2_001, true),
            (0, 3_000, 1_000, -2_000, false),
            (0, 3_001, 1_000, -2_001, true),
        ] {
            assert_eq!(skew_ms(at(before), at(database), at(after)), skew);
            assert_eq!(is_skewed(skew), skewed, "{skew}");
        }
    }
}
