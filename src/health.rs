//! The health of the service: a loop checks the store and writes a state, which probes
//! read. The state turns to not ready and back to ready.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    grpc::Serving,
    store::{Database, Store},
    telemetry::Metrics,
};

/// The time between two checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The number of checks after which every statement is checked, too. While the service is not
/// ready, each check does.
const STATEMENTS_EVERY: u32 = 10;

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
        let mut checks = 0_u32;
        while !stop.is_cancelled() {
            let responds = store.database_time().await.map(drop).map_err(|error| error.to_string());
            // A database can respond and yet lack a column or a privilege.
            let is_due = checks.is_multiple_of(STATEMENTS_EVERY) || self.readiness() != Readiness::Ready;
            let usable = match responds {
                Ok(()) if is_due && checks > 0 => database.can_run_statements().await,
                responds => responds,
            };
            checks = checks.wrapping_add(1);
            let (readiness, error) = match usable {
                Ok(()) => (Readiness::Ready, String::new()),
                Err(error) => {
                    debug!(error, "store unavailable");
                    (Readiness::StoreUnavailable, error)
                }
            };
            self.metrics.set_clock_skew(database.clock().skew_millis());
            let is_new = readiness != self.readiness();
            self.change(readiness).await;
            if is_new && readiness == Readiness::StoreUnavailable {
                let because = database.connection_error().await.unwrap_or(error);
                warn!(store = database.describe(), because, "store unavailable");
            }
            let next = async {
                tokio::select! {
                    () = sleep(INTERVAL) => {}
                    () = database.clock().is_doubted() => {}
                }
            };
            stop.run_until_cancelled(next).await;
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
