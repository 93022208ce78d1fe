//! The metrics of change notifications.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::buckets::minutes;

/// The outcomes of a request, and the states of a subscription.
const OUTCOMES: [&str; 8] =
    ["delivered", "gone", "rejected", "timeout", "no_connection", "tls_failed", "forbidden", "broken"];
const STATES: [&str; 3] = ["active", "failing", "paused"];

/// The metrics of change notifications. Clones share them.
#[derive(Clone, Debug)]
pub struct NotificationMetrics {
    posts: Family<OutcomeLabels, Counter>,
    /// Presences that receivers acknowledged.
    pub delivered: Counter,
    /// Time from a change to the answer 2xx.
    pub delay: Histogram,
    subscriptions: Family<StateLabels, Gauge>,
    /// Presences that are owed.
    pub owed: Gauge,
    /// Age of the oldest change that is owed, in seconds.
    pub oldest_owed: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl NotificationMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            posts: Family::default(),
            delivered: Counter::default(),
            delay: minutes(),
            subscriptions: Family::default(),
            owed: Gauge::default(),
            oldest_owed: Gauge::default(),
        };
        let help = "Requests with notifications, by outcome";
        registry.register("notification_posts", help, metrics.posts.clone());
        let help = "Presences that receivers of notifications acknowledged";
        registry.register("notifications_delivered", help, metrics.delivered.clone());
        let help = "Time from a change to the receiver's answer 2xx";
        registry.register_with_unit("notification_delay", help, Unit::Seconds, metrics.delay.clone());
        let help = "Subscriptions that this replica delivers, by state";
        registry.register("subscriptions", help, metrics.subscriptions.clone());
        registry.register("notifications_owed", "Presences that are owed to receivers", metrics.owed.clone());
        let help = "Age of the oldest change that a receiver has not acknowledged";
        registry.register_with_unit(
            "notification_oldest_owed",
            help,
            Unit::Seconds,
            metrics.oldest_owed.clone(),
        );
        // They exist before the first event, so that a rate has its first step.
        for outcome in OUTCOMES {
            drop(metrics.posts.get_or_create(&OutcomeLabels { outcome }));
        }
        for state in STATES {
            metrics.set_subscriptions(state, 0);
        }
        metrics
    }

    /// Counts a request with notifications.
    pub fn posted(&self, outcome: &'static str) {
        self.posts.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Sets the number of subscriptions in a state.
    pub fn set_subscriptions(&self, state: &'static str, number: i64) {
        self.subscriptions.get_or_create(&StateLabels { state }).set(number);
    }
}
