//! Whether the service can do its work: a loop asks the store and writes a
//! state, probes read it. It goes both ways.

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
    grpc::SERVICE_NAME,
    presence::Timestamp,
    store::{Database, Store, StoreError},
    telemetry::Metrics,
};

/// How often the store is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How far this machine's clock may be from the database's. Past it, sessions
/// set here would seem to end, and to fade, too early or too late elsewhere.
pub const SKEW_MAX: Duration = Duration::from_secs(2);

/// The names that gRPC health checks ask for: the server, and the service.
const NAMES: [&str; 2] = ["", SERVICE_NAME];

/// Whether the service can do its work, and if not, why; fit for strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The store has not answered yet.
    Starting,
    /// It can.
    Ready,
    /// The store does not answer.
    StoreUnavailable,
    /// The clock is more than 2 s off the database's.
    ClockSkew,
    /// It is about to end.
    Stopping,
}

impl Readiness {
    /// A word for probes and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::StoreUnavailable => "store unavailable",
            Self::ClockSkew => "clock more than 2 s off the database's",
            Self::Stopping => "stopping",
        }
    }
}

/// The state, and those who are told of it.
#[derive(Clone, Debug)]
pub struct Health {
    state: watch::Sender<Readiness>,
    reporter: HealthReporter,
    metrics: Metrics,
    /// Held while a state is told, so that all hear of the states in one order.
    telling: Arc<Mutex<()>>,
}

impl Health {
    /// Not ready yet.
    pub async fn new(metrics: Metrics) -> Self {
        let (state, reporter) = (watch::Sender::new(Readiness::Starting), HealthReporter::new());
        let health = Self { state, reporter, metrics, telling: Arc::default() };
        health.tell(Readiness::Starting).await;
        health
    }

    /// The state now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        *self.state.borrow()
    }

    /// What the gRPC health service reads.
    #[must_use]
    pub fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }

    /// Asks the store again and again until `stop`.
    pub async fn watch(
        self,
        database: Arc<Database>,
        store: Arc<dyn Store>,
        clock: Clock,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            let (readiness, error) = match ask(&*store, &clock, &self.metrics).await {
                Ok(readiness) => (readiness, String::new()),
                Err(error) => (Readiness::StoreUnavailable, error.to_string()),
            };
            let turned = readiness != self.readiness();
            self.tell(readiness).await;
            if turned && readiness == Readiness::StoreUnavailable {
                let because = database.connection_error().await.unwrap_or(error);
                warn!(store = database.describe(), because, "the store is unavailable");
            }
            stop.run_until_cancelled(sleep(INTERVAL)).await;
        }
    }

    /// The service is about to end: not ready from now on, and the streams of
    /// those who watch the gRPC health service end.
    pub async fn stop(&self) {
        self.tell(Readiness::Stopping).await;
        let mut reporter = self.reporter.clone();
        for name in NAMES {
            reporter.clear_service_status(name).await;
        }
    }

    /// Writes a new state and tells everybody; after a stop there is none.
    async fn tell(&self, now: Readiness) {
        let _telling = self.telling.lock().await;
        let before = self.readiness();
        if before == Readiness::Stopping {
            return;
        }
        self.state.send_replace(now);
        self.metrics.set_ready(now == Readiness::Ready);
        let status = if now == Readiness::Ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
        if before != now {
            info!(before = before.as_str(), now = now.as_str(), "health");
        }
    }
}

async fn ask(store: &dyn Store, clock: &Clock, metrics: &Metrics) -> Result<Readiness, StoreError> {
    let before = clock.now();
    let database =
        store.database_time().await.inspect_err(|error| debug!(%error, "the store does not answer"))?;
    let after = clock.now();
    let skew_ms = skew_ms(before, database, after);
    metrics.set_clock_skew(skew_ms);
    if is_skewed(skew_ms) {
        warn!(%database, ours = %after, "the clock is off the database's");
        return Ok(Readiness::ClockSkew);
    }
    Ok(Readiness::Ready)
}

/// How far our clock is off the database's, which read its own somewhere between our
/// two readings: milliseconds, and more than nothing if ours is fast.
#[must_use]
pub fn skew_ms(before: Timestamp, database: Timestamp, after: Timestamp) -> i64 {
    let off = |ours: Timestamp| ours.as_millis().saturating_sub(database.as_millis());
    off(before).max(0).saturating_add(off(after).min(0))
}

/// Whether that is more than [`SKEW_MAX`].
#[must_use]
pub const fn is_skewed(skew_ms: i64) -> bool {
    Duration::from_millis(skew_ms.unsigned_abs()).as_millis() > SKEW_MAX.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_what_lies_outside_of_the_two_readings() {
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
