//! The delivery of one subscription, while this replica has its lease.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use tokio::time::sleep;
use tracing::{debug, info};

use super::{
    backoff::pause,
    message::Message,
    owed::Owed,
    payload::Secrets,
    source::Source,
    terms::{Assigned, Terms},
};
use crate::{
    clock::Clock,
    notify::{Order, Outcome, PRESENCES_MAX, Receivers, ServiceKeys, Url},
    presence::{Presence, Timestamp},
    store::{Authorized, Subscription},
    telemetry::NotificationMetrics,
    watch::Update,
};

/// The interval at which a quiet delivery reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The time before `delivered_through` whose changes are owed again after a takeover: a write can commit
/// that much later than its time.
const TAKEOVER_MARGIN: Duration = Duration::from_secs(15);

/// What all deliveries share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) source: Source,
    pub(super) receivers: Receivers,
    pub(super) keys: ServiceKeys,
    pub(super) clock: Clock,
    pub(super) metrics: NotificationMetrics,
}

/// A delivery.
pub(super) struct Delivery {
    shared: Shared,
    assigned: Assigned,
    owed: Owed,
    secrets: Option<(Arc<Subscription>, Secrets)>,
    /// Consecutive failures.
    failures: u32,
    /// No request begins before this time.
    not_before: Timestamp,
    /// Whether every first presence was added.
    is_complete: bool,
}

/// What a delivery does next.
enum Next {
    Post,
    Reauthorize(Authorized),
    /// Wait until this time, or until something happens.
    Wait(Option<Timestamp>),
}

impl Delivery {
    pub(super) fn new(shared: Shared, assigned: Assigned) -> Self {
        let subscription = Arc::clone(&assigned.terms.borrow().subscription);
        let now = shared.clock.now();
        // A time in the future means that the clock stepped back, so it says nothing.
        let is_known = subscription.delivered_through <= now;
        let since = if is_known {
            subscription.delivered_through - TAKEOVER_MARGIN
        } else {
            Timestamp::from_millis(0)
        };
        let request = &subscription.request;
        let owed = Owed::new(request.format, request.settle_time, since, subscription.generation > 1);
        let not_before = Timestamp::from_millis(0);
        Self { shared, assigned, owed, secrets: None, failures: 0, not_before, is_complete: false }
    }

    /// Runs until the replica gives the subscription up. A request under way ends first.
    pub(super) async fn run(mut self) {
        let subscription = Arc::clone(&self.assigned.terms.borrow().subscription);
        let (source, mut terms) = (self.shared.source.clone(), self.assigned.terms.clone());
        let Some(followed) = ends(&mut terms, source.follow(&subscription, &self.assigned.report)).await
        else {
            return;
        };
        loop {
            if self.assigned.terms.borrow().ends {
                return;
            }
            // First the time, then the updates before it.
            let known_through = self.shared.source.hub.known_through();
            while let Some(update) = followed.try_next() {
                self.add(update);
            }
            self.report(known_through);
            match self.next() {
                Next::Post => self.post().await,
                Next::Reauthorize(authorized) => self.reauthorize(authorized).await,
                Next::Wait(until) => {
                    let due = async {
                        match until {
                            Some(at) => self.shared.clock.wait_until(at).await,
                            None => std::future::pending().await,
                        }
                    };
                    let mut terms = self.assigned.terms.clone();
                    terms.mark_unchanged();
                    let update = tokio::select! {
                        update = followed.next() => Some(update),
                        changed = terms.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            None
                        }
                        () = due => None,
                        () = sleep(REPORT_INTERVAL) => None,
                    };
                    if let Some(update) = update {
                        self.add(update);
                    }
                }
            }
        }
    }

    fn terms(&self) -> Terms {
        self.assigned.terms.borrow().clone()
    }

    fn add(&mut self, update: Update) {
        let now = self.shared.clock.now();
        match update {
            Update::Presence(update) if self.is_complete => self.owed.add(update.presence, now),
            Update::Presence(update) => {
                self.owed.add_first(update.presence, update.noticed.is_some(), now);
            }
            Update::SnapshotComplete => self.is_complete = true,
            Update::Exceeded(_) => {
                self.assigned.report.lock().report.last_error =
                    Some("the limit of watched users is reached (--watch-users-max)".to_owned());
            }
        }
    }

    /// Reports what was delivered.
    fn report(&self, known_through: Timestamp) {
        let (terms, now) = (self.terms(), self.shared.clock.now());
        let mut state = self.assigned.report.lock();
        state.owed = self.owed.len();
        state.is_paused = terms.subscription.authorized.is_some_and(|authorized| authorized.until <= now);
        if self.is_complete {
            let through = self.owed.oldest().map_or(known_through, |oldest| oldest.min(known_through));
            state.report.delivered_through = state.report.delivered_through.max(through);
        }
    }

    fn next(&self) -> Next {
        let (terms, now) = (self.terms(), self.shared.clock.now());
        let authorized = terms.subscription.authorized;
        if !terms.may_send() || authorized.is_some_and(|authorized| authorized.until <= now) {
            return Next::Wait(None);
        }
        if now < self.not_before {
            return Next::Wait(Some(self.not_before));
        }
        let asked = self.assigned.report.lock().report.reauthorization_sent;
        let due =
            authorized.filter(|it| !it.reauthorization_sent && asked != Some(it.at) && it.is_short(now));
        if let Some(authorized) = due.filter(|_| has_lifecycle(&terms.subscription)) {
            return Next::Reauthorize(authorized);
        }
        match self.owed.next_due() {
            Some(due) if due <= now => Next::Post,
            due => Next::Wait(due),
        }
    }

    /// Sends what is due.
    async fn post(&mut self) {
        let (subscription, now) = (self.terms().subscription, self.shared.clock.now());
        let mut sent = self.owed.take(PRESENCES_MAX, now);
        let key = self.shared.keys.signing();
        let order = self.next_order(&subscription);
        let Some(secrets) = self.secrets(&subscription) else { return };
        let built = secrets.notification(&subscription, order, &sent, key.as_deref(), now);
        let message = match built {
            Ok((message, number)) => {
                sent.truncate(number);
                message
            }
            Err(error) => return self.failed(&error.to_string(), None),
        };
        if self.send(&subscription.request.url, message).await {
            self.acknowledged(sent);
        }
    }

    /// Asks the subscriber to authorize the subscription again.
    async fn reauthorize(&mut self, authorized: Authorized) {
        let (subscription, now) = (self.terms().subscription, self.shared.clock.now());
        let order = self.next_order(&subscription);
        let Some(secrets) = self.secrets(&subscription) else { return };
        let message = match secrets.reauthorization(&subscription, order, now) {
            Ok(message) => message,
            Err(error) => return self.failed(&error.to_string(), None),
        };
        let request = &subscription.request;
        let url = request.lifecycle_url.as_ref().unwrap_or(&request.url).clone();
        if self.send(&url, message).await {
            self.assigned.report.lock().report.reauthorization_sent = Some(authorized.at);
        }
    }

    fn next_order(&self, subscription: &Subscription) -> Order {
        let mut state = self.assigned.report.lock();
        state.count += 1;
        Order { generation: subscription.generation, count: state.count }
    }

    /// The secrets of the subscription as it is now.
    fn secrets(&mut self, subscription: &Arc<Subscription>) -> Option<&Secrets> {
        let is_current = self
            .secrets
            .as_ref()
            .is_some_and(|(of, _)| Arc::ptr_eq(of, subscription) || of.request == subscription.request);
        if !is_current {
            match Secrets::of(subscription) {
                Ok(secrets) => self.secrets = Some((Arc::clone(subscription), secrets)),
                Err(error) => {
                    self.failed(&error, None);
                    return None;
                }
            }
        }
        self.secrets.as_ref().map(|(_, secrets)| secrets)
    }

    /// Sends a notification. Returns whether the receiver acknowledged it.
    async fn send(&mut self, url: &str, message: Message) -> bool {
        let Ok(url) = Url::parse(url) else {
            self.failed("the stored URL cannot be read", None);
            return false;
        };
        let outcome = self.shared.receivers.post(&url, headers(message.headers), message.body.into()).await;
        self.shared.metrics.posted(outcome.kind());
        match outcome {
            Outcome::Delivered(_) => {
                self.failures = 0;
                let mut state = self.assigned.report.lock();
                (state.report.failing_since, state.report.last_error) = (None, None);
                return true;
            }
            Outcome::Gone => {
                let subscription_id = self.terms().subscription.key.subscription_id;
                info!(%subscription_id, "the receiver answered 410 and so ended the subscription");
                self.assigned.report.lock().is_gone = true;
                self.failed(&outcome.to_string(), None);
            }
            Outcome::Rejected { retry_after, .. } => self.failed(&outcome.to_string(), retry_after),
            Outcome::Unreachable { .. } => self.failed(&outcome.to_string(), None),
        }
        false
    }

    /// Notes a failure, after which no request begins for a while.
    fn failed(&mut self, words: &str, retry_after: Option<Duration>) {
        let now = self.shared.clock.now();
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause(self.failures, retry_after);
        let subscription = self.terms().subscription;
        debug!(subscription = %subscription.key.subscription_id, words, "a notification was not delivered");
        let mut state = self.assigned.report.lock();
        state.report.failing_since.get_or_insert(now);
        state.report.last_error = Some(words.to_owned());
    }

    fn acknowledged(&mut self, sent: Vec<Arc<Presence>>) {
        let now = self.shared.clock.now();
        let metrics = &self.shared.metrics;
        metrics.delivered.inc_by(u64::try_from(sent.len()).unwrap_or_default());
        for presence in &sent {
            metrics.delay.observe(now.since(presence.sequence_number.changed_at()).as_secs_f64());
        }
        self.owed.acknowledge(sent);
    }
}

/// The headers of a notification.
fn headers(named: Vec<(&'static str, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    for (name, value) in named {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    headers
}

/// Whether the subscriber can be asked to authorize the subscription again.
fn has_lifecycle(subscription: &Subscription) -> bool {
    use crate::store::NotificationFormat;
    let request = &subscription.request;
    request.lifecycle_url.is_some() || request.format == NotificationFormat::Service
}

/// The result of `work`, unless the replica gives the subscription up before.
async fn ends<T>(
    terms: &mut tokio::sync::watch::Receiver<Terms>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        result = work => Some(result),
        _ = terms.wait_for(|terms| terms.ends) => None,
    }
}
