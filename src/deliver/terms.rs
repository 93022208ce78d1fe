//! What the lease loop and the delivery of one subscription tell each other.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    clock::Stopwatch,
    store::{DeliveryReport, Subscription},
};

/// The time by which a request must end before the lease does: it has 10 s, and the clocks of two machines
/// differ a little.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// The subscription and its lease.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) subscription: Arc<Subscription>,
    /// Runs since before the lease was taken or renewed.
    pub(super) leased: Stopwatch,
    /// The duration of the lease.
    pub(super) lease: Duration,
    /// Whether the replica gives the subscription up: no request may begin.
    pub(super) ends: bool,
}

impl Terms {
    /// Whether a request may begin.
    pub(super) fn may_send(&self) -> bool {
        !self.ends && self.leased.elapsed() + LEASE_MARGIN.min(self.lease / 2) <= self.lease
    }
}

/// The place of a delivery's report.
#[derive(Clone, Debug)]
pub(super) struct Report(Arc<Mutex<State>>);

/// What a delivery reports.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// What the database keeps.
    pub(super) report: DeliveryReport,
    /// The number of owed presences, for the metrics.
    pub(super) owed: usize,
    /// Whether the authorization has ended.
    pub(super) is_paused: bool,
    /// Whether the receiver ended the subscription.
    pub(super) is_gone: bool,
    /// The number of notifications in this generation. It survives a panic of the delivery, since receivers
    /// ignore a number that they know.
    pub(super) count: u64,
}

impl Report {
    pub(super) fn new(subscription: &Subscription) -> Self {
        let report = DeliveryReport {
            key: subscription.key,
            generation: subscription.generation,
            delivered_through: subscription.delivered_through,
            failing_since: subscription.failing_since,
            last_error: subscription.last_error.clone(),
            reauthorization_sent: None,
        };
        Self(Arc::new(Mutex::new(State { report, owed: 0, is_paused: false, is_gone: false, count: 0 })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of a delivery.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) terms: watch::Receiver<Terms>,
    pub(super) report: Report,
}
