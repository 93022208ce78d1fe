//! Delivers change notifications. Each replica leases subscriptions, follows their users in the hub as a
//! stream would, and sends the newest presences to their receivers.
//!
//! The row of a subscription says through which time its changes were delivered. So a replica that takes
//! one over finds in the rows of its users what is owed; there is no outbox. A lost replica causes
//! repetitions, never a loss.
//!
//! The deliverer has a thread and a runtime of its own, so that encryption delays no request.

mod backoff;
mod delivery;
mod message;
mod owed;
mod payload;
mod source;
mod terms;

use std::{collections::HashMap, io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime,
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    clock::{Clock, Stopwatch},
    notify::{Receivers, ServiceKeys},
    store::{
        ClaimSubscriptions, Database, DeliveryReport, ReleaseSubscriptions, Store, Subscription,
        SubscriptionKey,
    },
    telemetry::{Metrics, NotificationMetrics},
    watch::Hub,
};
use delivery::{Delivery, Shared};
use source::Source;
use terms::{Assigned, Report, State, Terms};

/// The connections to the database.
pub const CONNECTIONS: u32 = 2;
/// The interval at which reports are written and leases renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// The interval at which the keys are read.
const KEYS_INTERVAL: Duration = Duration::from_mins(1);
/// The subscriptions that a replica takes over at once, so that several replicas share them.
const TAKE_MAX: u32 = 500;
/// The time for which a stop waits for requests under way. One takes 10 s at most.
const STOP_TIMEOUT: Duration = Duration::from_secs(11);

/// What a deliverer needs.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The database.
    pub database: Arc<Database>,
    /// The source of changes.
    pub hub: Hub,
    /// Sends to receivers.
    pub receivers: Receivers,
    /// The keys that sign tokens.
    pub keys: ServiceKeys,
    /// Notified when a subscription was made in this process.
    pub created: Arc<Notify>,
    /// The clock.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    /// The duration of a lease. Only tests replace it.
    pub lease: Duration,
}

/// Starts the deliverer on its own thread. It ends after `stop`, when the requests under way have ended
/// and its leases were given back. Fails if the system refuses a thread or a runtime.
pub fn start(parts: Parts, stop: CancellationToken) -> io::Result<oneshot::Receiver<()>> {
    let (mut end, ended) = oneshot::channel();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("deliverer".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = run(parts, stop) => {}
                // The service was dropped without a stop, so nothing waits for this thread.
                () = end.closed() => {}
            }
        });
        drop(runtime);
        // The receiver may have been dropped.
        let _ = end.send(());
    })?;
    Ok(ended)
}

async fn run(parts: Parts, stop: CancellationToken) {
    let store = parts.database.open(CONNECTIONS);
    let Parts { hub, receivers, keys, created, clock, metrics, lease, .. } = parts;
    let source = Source { hub, store: Arc::clone(&store), clock: clock.clone() };
    let metrics = metrics.notifications();
    let shared = Shared { source, receivers, keys, clock, metrics: metrics.clone() };
    let owner = Uuid::from_u128(fastrand::u128(..));
    let mut deliverer = Deliverer { shared, store, owner, lease, running: HashMap::new(), keys_read: None };
    loop {
        let pause = async {
            tokio::select! {
                () = sleep(RENEWAL.min(lease / 4)) => {}
                () = created.notified() => {}
            }
        };
        let took_all = deliverer.renew().await;
        if !took_all && stop.run_until_cancelled(pause).await.is_none() {
            break;
        }
        if stop.is_cancelled() {
            break;
        }
    }
    deliverer.stop().await;
}

/// A subscription that this replica delivers.
struct Running {
    generation: u64,
    terms: watch::Sender<Terms>,
    report: Report,
    task: JoinHandle<()>,
}

struct Deliverer {
    shared: Shared,
    store: Arc<dyn Store>,
    owner: Uuid,
    lease: Duration,
    running: HashMap<SubscriptionKey, Running>,
    /// Runs since the keys were read.
    keys_read: Option<Stopwatch>,
}

impl Deliverer {
    /// Writes reports, renews leases, and takes subscriptions over. Returns whether more may wait.
    async fn renew(&mut self) -> bool {
        self.remove_gone().await;
        if self.keys_read.is_none_or(|last| last.elapsed() >= KEYS_INTERVAL) {
            match self.shared.keys.refresh(&*self.store, &self.shared.clock).await {
                Ok(()) => self.keys_read = Some(Stopwatch::start()),
                Err(error) => debug!(%error, "reading the keys that sign tokens failed"),
            }
        }
        let leased = Stopwatch::start();
        let (owner, lease, reports) = (self.owner, self.lease, self.reports());
        let claim = ClaimSubscriptions { owner, lease, take_max: TAKE_MAX, reports };
        let reported: Vec<_> = claim.reports.iter().map(|report| report.key).collect();
        let before = self.running.len();
        match self.store.claim_subscriptions(self.shared.clock.now(), &claim).await {
            Ok(subscriptions) => {
                let taken = subscriptions.len().saturating_sub(before);
                self.assign(subscriptions, leased);
                self.observe(&reported);
                u32::try_from(taken).is_ok_and(|taken| taken >= TAKE_MAX)
            }
            Err(error) => {
                // Deliveries go on until their leases are short.
                debug!(%error, "renewing the leases of subscriptions failed");
                false
            }
        }
    }

    fn reports(&self) -> Vec<DeliveryReport> {
        self.running.values().map(|running| running.report.lock().report.clone()).collect()
    }

    /// Starts, continues and ends deliveries, so that those of `subscriptions` run.
    fn assign(&mut self, subscriptions: Vec<Subscription>, leased: Stopwatch) {
        let mut before = std::mem::take(&mut self.running);
        for subscription in subscriptions {
            let (key, generation) = (subscription.key, subscription.generation);
            let terms =
                Terms { subscription: Arc::new(subscription), leased, lease: self.lease, ends: false };
            let same = before.remove(&key).filter(|running| running.generation == generation);
            let running = match same {
                Some(running) if !running.task.is_finished() => {
                    running.terms.send_replace(terms);
                    running
                }
                // After a panic the report goes on, with the number of its notifications.
                Some(Running { report, .. }) => self.begin(generation, terms, report),
                None => {
                    let report = Report::new(&terms.subscription);
                    self.begin(generation, terms, report)
                }
            };
            self.running.insert(key, running);
        }
        // Those that were deleted or have expired, and those that another replica took over.
        for (_, running) in before {
            running.terms.send_modify(|terms| terms.ends = true);
        }
    }

    fn begin(&self, generation: u64, terms: Terms, report: Report) -> Running {
        let (terms, received) = watch::channel(terms);
        let assigned = Assigned { terms: received, report: report.clone() };
        let delivery = Delivery::new(self.shared.clone(), assigned);
        Running { generation, terms, report, task: tokio::spawn(delivery.run()) }
    }

    /// Deletes the subscriptions whose receivers ended them.
    async fn remove_gone(&mut self) {
        let gone = self.running.iter().filter(|(_, running)| running.report.lock().is_gone);
        for key in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Err(error) = self.store.delete_subscription(&key).await {
                debug!(%error, "removing a subscription that its receiver ended failed");
            }
        }
    }

    /// Sets the gauges.
    fn observe(&self, reported: &[SubscriptionKey]) {
        let metrics: &NotificationMetrics = &self.shared.metrics;
        let (mut active, mut failing, mut paused, mut owed, mut oldest) = (0, 0, 0, 0, 0.0_f64);
        let now = self.shared.clock.now();
        for running in reported.iter().filter_map(|key| self.running.get(key)) {
            let State { report, owed: number, is_paused, .. } = running.report.lock().clone();
            owed += number;
            if number > 0 {
                oldest = oldest.max(now.since(report.delivered_through).as_secs_f64());
            }
            let state = match (is_paused, report.failing_since) {
                (true, _) => &mut paused,
                (false, Some(_)) => &mut failing,
                (false, None) => &mut active,
            };
            *state += 1;
        }
        for (state, number) in [("active", active), ("failing", failing), ("paused", paused)] {
            metrics.set_subscriptions(state, number);
        }
        metrics.owed.set(i64::try_from(owed).unwrap_or(i64::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "an age in seconds")]
        metrics.oldest_owed.set(oldest as i64);
    }

    /// Lets the requests under way end, and gives the leases back.
    async fn stop(mut self) {
        for running in self.running.values() {
            running.terms.send_modify(|terms| terms.ends = true);
        }
        let tasks = self.running.values_mut().map(|running| &mut running.task);
        if timeout(STOP_TIMEOUT, futures_util::future::join_all(tasks)).await.is_err() {
            warn!("a request with notifications did not end in time");
        }
        let release = ReleaseSubscriptions { owner: self.owner, reports: self.reports() };
        if let Err(error) = self.store.release_subscriptions(self.shared.clock.now(), &release).await {
            debug!(%error, "giving the leases of subscriptions back failed; they end by themselves");
        }
        self.store.close().await;
    }
}
